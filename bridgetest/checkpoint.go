package bridgetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
)

// A CheckpointHarness leads TestCheckpointStore to a store.
type CheckpointHarness struct {
	Server string // whose gaps are in Known
	// New makes an empty place for the checkpoint of one task, for one test.
	New   func(t testing.TB) CheckpointPlace
	Known []Gap
}

// A CheckpointPlace is where the checkpoint of one task lies.
type CheckpointPlace struct {
	// Open is a new worker of the task, which fences every older one.
	Open func(ctx context.Context) (bridge.CheckpointStore, error)
	// Damage makes what is stored unreadable; nil if the harness cannot.
	Damage func(ctx context.Context) error
}

// TestCheckpointStore runs every test of the contract of a bridge.CheckpointStore.
func TestCheckpointStore(t *testing.T, h CheckpointHarness) {
	runParts(t, h.Server, h.Known, h.New, []part[CheckpointPlace]{
		{"load nothing", testLoadNothing},
		{"round trip", testCheckpointRoundTrip},
		{"rows are merged", testRowsMerged},
		{"forget", testForget},
		{"checkpoint fence", testCheckpointFence},
		{"many saves", testManySaves},
		{"many rows", testManyRows},
		{"damage", testDamage},
		{"save cancel", testSaveCancel},
	})
}

func (p CheckpointPlace) open(t *env) bridge.CheckpointStore {
	t.Helper()
	return retry(t, "open the store", func() (bridge.CheckpointStore, error) { return p.Open(t.ctx) })
}

func (t *env) load(s bridge.CheckpointStore) bridge.Checkpoint {
	t.Helper()
	return retry(t, "load", func() (bridge.Checkpoint, error) { return s.Load(t.ctx) })
}

func (t *env) save(s bridge.CheckpointStore, c bridge.Checkpoint) {
	t.Helper()
	retry(t, "save", func() (struct{}, error) { return struct{}{}, s.Save(t.ctx, c) })
}

// full is a checkpoint in which nothing is zero.
func full() bridge.Checkpoint {
	at := time.Date(2026, 11, 24, 14, 0, 0, 123e6, time.UTC)
	seq := strings.Repeat("9", 56)
	return bridge.Checkpoint{
		Source: bridge.Identity{Name: "kinesis:arn:aws:kinesis:us-east-1:1:stream/a", Incarnation: "1700000000000"},
		Target: bridge.Identity{Name: "kafka:cluster/topic", Incarnation: "id"},
		Keymap: "murmur2(12)",
		Rows: []bridge.Row{
			{Partition: "shardId-000000000000", Position: bridge.Position{Seq: seq, Sub: 1<<32 - 1}, Ended: true, Parents: []string{"a", "b"}, Tip: at},
			{Partition: "shardId-000000000001", Position: bridge.Position{Seq: "0"}},
			{Partition: "shardId-000000000002", First: bridge.Position{Seq: seq}},
		},
		Floor: bridge.Floor{
			Partitions: map[string]bridge.Position{"0": bridge.OffsetPosition(1<<62 + 1), "11": bridge.OffsetPosition(0)},
			Log:        bridge.OffsetPosition(77),
		},
		Clean: true,
		At:    at,
		Counts: bridge.Counts{
			Read: 1<<60 + 1, Written: 2, Present: 3, DeadLettered: 4, Dropped: 5, LoopSkipped: 6, Foreign: 7, Rewind: 8,
		},
		Index: []bridge.IndexEntry{{
			Partition: "0", Position: bridge.OffsetPosition(9),
			Below: map[string]bridge.Position{"shardId-000000000000": {Seq: seq}},
		}},
	}
}

// differs says how two checkpoints differ, but for their index; empty if they do not.
func differs(got, want bridge.Checkpoint) string {
	byPartition := func(a, b bridge.Row) int { return strings.Compare(a.Partition, b.Partition) }
	a := slices.SortedFunc(slices.Values(got.Rows), byPartition)
	b := slices.SortedFunc(slices.Values(want.Rows), byPartition)
	switch {
	case got.Source != want.Source || got.Target != want.Target || got.Keymap != want.Keymap:
		return fmt.Sprintf("of %s to %s by %s", got.Source, got.Target, got.Keymap)
	case got.Counts != want.Counts:
		return fmt.Sprintf("counts %+v, want %+v", got.Counts, want.Counts)
	case got.Clean != want.Clean:
		return fmt.Sprintf("clean %v", got.Clean)
	case !got.At.Equal(want.At):
		return fmt.Sprintf("time %v, want %v", got.At, want.At)
	case !maps.Equal(got.Floor.Partitions, want.Floor.Partitions) || got.Floor.Log != want.Floor.Log:
		return fmt.Sprintf("floor %v, want %v", got.Floor, want.Floor)
	case len(a) != len(b):
		return fmt.Sprintf("%d rows, want %d", len(a), len(b))
	case len(got.Forget) > 0 || len(got.Index) > 0:
		return fmt.Sprintf("forget %v and index %v, want none loaded", got.Forget, got.Index)
	}
	for i := range a {
		if a[i].Partition != b[i].Partition || a[i].Position != b[i].Position || a[i].First != b[i].First || a[i].Ended != b[i].Ended ||
			!slices.Equal(a[i].Parents, b[i].Parents) || !a[i].Tip.Equal(b[i].Tip) {
			return fmt.Sprintf("row %+v, want %+v", a[i], b[i])
		}
	}
	return ""
}

func (t *env) expectLoaded(s bridge.CheckpointStore, want bridge.Checkpoint) {
	t.Helper()
	if d := differs(t.load(s), want); d != "" {
		t.Fatalf("loaded: %s", d)
	}
}

func testLoadNothing(t *env, p CheckpointPlace) {
	s := p.open(t)
	if c := t.load(s); !c.At.IsZero() || len(c.Rows) > 0 {
		t.Errorf("loaded from nothing: %+v", c)
	}
	if c := t.load(p.open(t)); !c.At.IsZero() {
		t.Errorf("loaded from nothing by a second worker: %+v", c)
	}
}

func testCheckpointRoundTrip(t *env, p CheckpointPlace) {
	s, want := p.open(t), full()
	t.save(s, want)
	t.expectLoaded(p.open(t), want)
	// Nothing at all is something, too: it replaces what is not a row.
	s = p.open(t)
	empty := bridge.Checkpoint{Source: want.Source, Target: want.Target, Keymap: want.Keymap, At: want.At.Add(time.Second)}
	t.save(s, empty)
	empty.Rows = want.Rows
	t.expectLoaded(s, empty)
	t.expectLoaded(p.open(t), empty)
}

func testRowsMerged(t *env, p CheckpointPlace) {
	s, all := p.open(t), full()
	t.save(s, all)
	moved := all
	moved.At = all.At.Add(time.Second)
	moved.Rows = []bridge.Row{
		{Partition: "shardId-000000000001", Position: bridge.Position{Seq: "12", Sub: 3}, Tip: all.At},
		{Partition: "shardId-000000000003", Parents: []string{"shardId-000000000000"}},
	}
	t.save(s, moved)
	want := moved
	want.Rows = []bridge.Row{all.Rows[0], moved.Rows[0], all.Rows[2], moved.Rows[1]}
	t.expectLoaded(s, want)
	t.expectLoaded(p.open(t), want)
}

func testForget(t *env, p CheckpointPlace) {
	s, all := p.open(t), full()
	t.save(s, all)
	next := all
	next.Rows, next.Forget = nil, []string{"shardId-000000000000", "never heard of"}
	t.save(s, next)
	want := all
	want.Rows = all.Rows[1:]
	t.expectLoaded(s, want)
	t.expectLoaded(p.open(t), want)
	// A partition that was forgotten can come back.
	next.Forget, next.Rows = nil, all.Rows[:1]
	s = p.open(t)
	t.save(s, next)
	t.expectLoaded(p.open(t), all)
}

// testCheckpointFence: the older worker can save nothing, whether the newer one did or
// not, and cannot fence the newer one by trying.
func testCheckpointFence(t *env, p CheckpointPlace) {
	old, want := p.open(t), full()
	t.save(old, want)
	young := p.open(t)
	stale := want
	stale.Keymap = "stale"
	for range 3 {
		if err := old.Save(t.ctx, stale); !errors.Is(err, bridge.ErrFenced) {
			t.Fatalf("save by a worker that lost the task: %v, want ErrFenced", err)
		}
	}
	t.expectLoaded(young, want)
	want.At = want.At.Add(time.Minute)
	t.save(young, want)
	if err := old.Save(t.ctx, stale); !errors.Is(err, bridge.ErrFenced) {
		t.Errorf("save by a worker that lost the task: %v, want ErrFenced", err)
	}
	t.expectLoaded(p.open(t), want)
}

// testManySaves: whatever the store does to keep a start short, all rows are there after
// a thousand saves and more.
func testManySaves(t *env, p CheckpointPlace) {
	rng := rand.New(rand.NewPCG(seed, 1))
	s, model := p.open(t), map[string]bridge.Row{}
	var c bridge.Checkpoint
	for i := range 1100 {
		c = full()
		c.At = c.At.Add(time.Duration(i) * time.Second)
		c.Counts.Read = int64(i)
		c.Clean = false
		c.Rows, c.Index = nil, nil
		for range rng.IntN(3) {
			r := bridge.Row{Partition: fmt.Sprint("p", rng.IntN(20)), Position: bridge.OffsetPosition(int64(i)), Ended: rng.IntN(9) == 0}
			c.Rows = append(slices.DeleteFunc(c.Rows, func(o bridge.Row) bool { return o.Partition == r.Partition }), r)
			model[r.Partition] = r
		}
		if i%50 == 49 {
			id := fmt.Sprint("p", rng.IntN(20))
			c.Rows = slices.DeleteFunc(c.Rows, func(o bridge.Row) bool { return o.Partition == id })
			c.Forget = []string{id}
			delete(model, id)
		}
		t.save(s, c)
		if i == 500 {
			s = p.open(t)
		}
	}
	c.Forget, c.Rows = nil, slices.Collect(maps.Values(model))
	t.expectLoaded(s, c)
	t.expectLoaded(p.open(t), c)
}

func testManyRows(t *env, p CheckpointPlace) {
	s, c := p.open(t), full()
	c.Rows = nil
	for i := range 9000 {
		c.Rows = append(c.Rows, bridge.Row{
			Partition: fmt.Sprintf("shardId-%012d", i),
			Position:  bridge.Position{Seq: fmt.Sprintf("49%054d", i)},
		})
	}
	t.save(s, c)
	t.expectLoaded(p.open(t), c)
}

func testDamage(t *env, p CheckpointPlace) {
	if p.Damage == nil {
		return
	}
	t.save(p.open(t), full())
	t.fatal(p.Damage(t.ctx), "damage")
	_, err := try(t, func() (bridge.CheckpointStore, error) { return p.Open(t.ctx) })
	if err == nil {
		s := p.open(t)
		_, err = try(t, func() (bridge.Checkpoint, error) { return s.Load(t.ctx) })
	}
	if !errors.Is(err, bridge.ErrState) {
		t.Errorf("load what is damaged: %v, want ErrState", err)
	}
}

// testSaveCancel: a save that is given up is either there as a whole or not at all.
func testSaveCancel(t *env, p CheckpointPlace) {
	s, first := p.open(t), full()
	t.save(s, first)
	ctx, cancel := context.WithCancel(t.ctx)
	cancel()
	second := full()
	second.At, second.Keymap = first.At.Add(time.Hour), "second"
	err := s.Save(ctx, second)
	got := t.load(p.open(t))
	isFirst, isSecond := differs(got, first) == "", differs(got, second) == ""
	if !isFirst && !isSecond || err == nil && !isSecond {
		t.Errorf("a save that was given up with %v left %+v", err, got)
	}
}
