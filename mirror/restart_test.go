package mirror_test

import (
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
)

// calm makes a world in which nothing goes wrong by itself.
func calm(t *testing.T, from, to memstream.Flavour, partitions int) *world {
	w := newWorld(t, 1, from, to)
	w.src = memstream.New(memstream.Config{Flavour: from, Name: "source", Partitions: partitions, Calm: true})
	w.dst = memstream.New(memstream.Config{Flavour: to, Name: "target", Partitions: 3, Calm: true})
	if to == memstream.Kafka {
		w.keys = byHash(3)
	}
	return w
}

// crash runs a worker until so many records are on the target and none of them is in a
// checkpoint, and cuts it.
func (w *world) crash(ctx context.Context, after int) {
	w.t.Helper()
	m := w.open()
	m.Interval = time.Hour
	ctx, cut := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	for w.judge().records < after {
		wait(ctx, time.Millisecond)
	}
	cut()
	if err := <-done; !ended(err) {
		w.t.Fatalf("the worker that was cut ended with %v", err)
	}
}

// A record that is missing while a later one of its lane is there must not be written now.
func TestHoleInALaneIsNotFilled(t *testing.T) {
	for _, compacted := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			ctx := t.Context()
			w := calm(t, memstream.Kinesis, memstream.Kafka, 1)
			w.produce(ctx, 30, 1)
			w.crash(ctx, 30)
			var lane []memstream.Stored
			for _, recs := range w.dst.Snapshot() {
				if len(recs) > 0 {
					lane = recs
				}
			}
			hole := lane[4].Record
			if err := w.dst.Remove(hole.Partition, hole.Position); err != nil {
				t.Fatal(err)
			}
			m := w.open()
			m.Compacted, m.UntilCaughtUp = compacted, true
			err := w.end(ctx, m)
			if compacted {
				if err != nil || w.final().Counts.Present != 30 || w.final().Counts.Written != 0 {
					t.Errorf("compacted target: %v, %+v; want 30 present and none written", err, w.final().Counts)
				}
				return
			}
			var gap *bridge.GapError
			if !errors.As(err, &gap) || gap.Before != lane[29].Record.Origin.Position || bridge.Hint(err) == "" {
				t.Errorf("hole in a lane: %v; want a gap that names the later record %s", err, lane[29].Record.Origin.Position)
			}
			if n := len(w.dst.Everything()); n != 30 {
				t.Errorf("the target holds %d records that ever arrived, want 30: the hole was filled", n)
			}
		})
	}
}

// Holes between lanes are what a crash leaves, and are filled.
func TestHolesBetweenLanesAreFilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		w := calm(t, memstream.Kinesis, memstream.Kafka, 1)
		w.produce(ctx, 90, 30)
		slow := "1"
		w.dst.SetFaults(func(op memstream.Op) memstream.Fault {
			if op.Kind == memstream.OpAppend && op.Partition == slow {
				return memstream.Fault{Delay: time.Hour}
			}
			return memstream.Fault{}
		})
		there := 0
		for _, rows := range w.produced {
			there += len(rows)
		}
		ctx2, cut := context.WithCancel(ctx)
		m := w.open()
		done := make(chan error, 1)
		go func() { done <- m.Run(ctx2) }()
		wait(ctx, time.Minute)
		cut()
		<-done
		v := w.judge()
		if v.records == 0 || v.records == there {
			t.Fatalf("not exercised: %d of %d records arrived before the crash", v.records, there)
		}
		w.dst.SetFaults(nil)
		w.catchUp(ctx)
		w.expectClean(w.judge())
		if c := w.final().Counts; c.Present != int64(v.records) || c.Written != int64(there-v.records) {
			t.Errorf("%+v; want %d present, %d written", c, v.records, there-v.records)
		}
	})
}

// A page is half on the target when another shard's page behind it is checkpointed.
func TestFloorWaitsForTheOldestOpenPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		w := calm(t, memstream.Kinesis, memstream.Kafka, 2)
		w.dst.SetFaults(func(op memstream.Op) memstream.Fault {
			if op.Kind == memstream.OpAppend && op.Partition == "1" {
				return memstream.Fault{Delay: time.Hour}
			}
			return memstream.Fault{}
		})
		runCtx, cut := context.WithCancel(ctx)
		m := w.open()
		done := make(chan error, 1)
		go func() { done <- m.Run(runCtx) }()
		w.put(ctx, w.keyFor(0, "0"), 0)
		w.put(ctx, w.keyFor(0, "1"), 0)
		wait(ctx, time.Minute)
		w.put(ctx, w.keyFor(1, "0"), 0)
		wait(ctx, time.Minute)
		w.put(ctx, w.keyFor(0, "0"), 0) // behind the page that hangs
		cut()
		<-done
		w.dst.SetFaults(nil)
		if n := w.final().Counts.Read; n < 1 {
			t.Fatalf("not exercised: %d records were checkpointed before the crash", n)
		}
		w.catchUp(ctx)
		w.expectClean(w.judge())
	})
}

// keyFor finds a key that a shard owns and that goes to a target partition.
func (w *world) keyFor(shard int, target string) string {
	parts := w.partitions(w.src)
	for i := 0; ; i++ {
		key := fmt.Sprint("key/", shard, "/", i)
		sum := md5.Sum([]byte(key))
		hash := new(big.Int).SetBytes(sum[:])
		first, _ := new(big.Int).SetString(parts[shard].FirstHash, 10)
		last, _ := new(big.Int).SetString(parts[shard].LastHash, 10)
		route, _ := w.keys.Route(&bridge.Record{Key: []byte(key)})
		if hash.Cmp(first) >= 0 && hash.Cmp(last) <= 0 && route.Partition == target {
			return key
		}
	}
}

// A second crash before the flows have come past what the first one left must not forget it.
func TestFloorStaysUntilWhatWasFoundIsPassed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		w := calm(t, memstream.Kinesis, memstream.Kafka, 2)
		w.produce(ctx, 200, 20)
		w.crash(ctx, 200)
		// One shard cannot be read for now; new records of the other one move its row on.
		blocked := w.partitions(w.src)[0].ID
		w.src.SetFaults(func(op memstream.Op) memstream.Fault {
			if op.Kind == memstream.OpRead && op.Partition == blocked {
				return memstream.Fault{Err: bridge.ErrThrottled}
			}
			return memstream.Fault{}
		})
		w.produce(ctx, 200, 20)
		ctx2, cut := context.WithCancel(ctx)
		m := w.open()
		done := make(chan error, 1)
		go func() { done <- m.Run(ctx2) }()
		wait(ctx, time.Minute)
		cut()
		<-done
		w.src.SetFaults(nil)
		w.catchUp(ctx)
		w.expectClean(w.judge())
	})
}

func TestCrashRightAfterACleanStopIsNotClean(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		w := calm(t, memstream.Kinesis, memstream.Kafka, 1)
		w.produce(ctx, 20, 3)
		w.catchUp(ctx)
		w.produce(ctx, 20, 3)
		w.crash(ctx, 40)
		w.catchUp(ctx)
		w.expectClean(w.judge())
		if w.final().Counts.Present == 0 {
			t.Error("not exercised: nothing was found on the target")
		}
	})
}

// Without a checkpoint, as if its topic had been deleted, the target is read whole.
func TestLostCheckpointIsNoBlindStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		w := calm(t, memstream.Kinesis, memstream.Kafka, 2)
		w.produce(ctx, 100, 7)
		w.catchUp(ctx)
		w.cps = memstream.NewCheckpoints(nil)
		w.catchUp(ctx)
		w.expectClean(w.judge())
		if c := w.final().Counts; c.Present != 100 || c.Written != 0 {
			t.Errorf("%+v; want 100 present and none written", c)
		}
	})
}

func TestLineageOnFirstStartAndOnResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		w := calm(t, memstream.Kinesis, memstream.Kafka, 1)
		first := w.partitions(w.src)[0].ID
		left, _, err := w.src.Split(first)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.src.ExpireShard(first); err != nil {
			t.Fatal(err)
		}
		w.produce(ctx, 50, 9)
		w.catchUp(ctx)
		w.expectClean(w.judge()) // an expired parent is normal on the first start

		w.produce(ctx, 50, 9)
		if _, _, err := w.src.Split(left); err != nil {
			t.Fatal(err)
		}
		if err := w.src.ExpireShard(left); err != nil {
			t.Fatal(err)
		}
		before := w.final()
		err = w.end(ctx, w.open())
		var gap *bridge.GapError
		if !errors.As(err, &gap) || gap.Partition != left {
			t.Fatalf("a parent expired while we were away: %v; want a gap in %s", err, left)
		}
		for _, row := range before.Rows {
			if row.Partition == left && gap.After != row.Position {
				t.Errorf("the gap begins behind %s, want the checkpoint %s", gap.After, row.Position)
			}
		}
		if n := len(w.cps.History()); !w.cps.History()[n-1].Clean {
			t.Error("a start that was refused wrote a checkpoint")
		}
	})
}

// A shard that came and went while nobody looked is a gap; so is a partition from nowhere.
func TestUnseenParentAndPartitionFromNowhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		w := calm(t, memstream.Kinesis, memstream.Kafka, 1)
		w.produce(ctx, 10, 3)
		w.catchUp(ctx)
		mid, _, err := w.src.Split(w.partitions(w.src)[0].ID)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := w.src.Split(mid); err != nil {
			t.Fatal(err)
		}
		if err := w.src.ExpireShard(mid); err != nil {
			t.Fatal(err)
		}
		var gap *bridge.GapError
		if err := w.end(ctx, w.open()); !errors.As(err, &gap) || gap.Partition != mid {
			t.Errorf("a shard was born and expired unseen: %v; want a gap in %s", err, mid)
		}

		k := calm(t, memstream.Kafka, memstream.Kafka, 2)
		k.produce(ctx, 10, 3)
		k.catchUp(ctx)
		k.src.Grow(1)
		if err := k.end(ctx, k.open()); !errors.Is(err, bridge.ErrChanged) || bridge.Hint(err) == "" {
			t.Errorf("a third partition appeared: %v; want ErrChanged with a hint", err)
		}
	})
}

// A record comes back only if it came from the very stream that is written to.
func TestLoopRuleAndCopies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		w := calm(t, memstream.Kafka, memstream.Kafka, 1)
		home, err := w.dst.Identity(ctx)
		if err != nil {
			t.Fatal(err)
		}
		rec := func(value, stream string, foreign bool) bridge.Record {
			return bridge.Record{Key: []byte("k"), Value: []byte(value), Partition: "0", Foreign: foreign,
				Origin: bridge.Coordinate{Stream: stream, Partition: "0", Position: bridge.OffsetPosition(1)}}
		}
		if _, err := w.src.PutCopy(ctx, "wf", rec("0", home.String(), false), rec("1", "elsewhere", false), rec("2", home.String(), true)); err != nil {
			t.Fatal(err)
		}
		// Another workflow brought one of these from the target, and one from elsewhere.
		back, other := rec("3", "", false), rec("4", "", false)
		back.Origin, other.Origin = bridge.Coordinate{}, bridge.Coordinate{}
		back.CameFrom, other.CameFrom = home.String(), "elsewhere"
		if _, err := w.src.Put(ctx, back, other); err != nil {
			t.Fatal(err)
		}
		w.catchUp(ctx)
		var got []string
		for _, p := range w.dst.Snapshot() {
			for _, s := range p {
				got = append(got, string(s.Record.Value))
			}
		}
		slices.Sort(got)
		c := w.final().Counts
		if !slices.Equal(got, []string{"1", "2", "4"}) || c.LoopSkipped != 2 || c.Foreign != 1 || c.Written != 3 || !c.Balanced() {
			t.Errorf("target holds %v, counts %+v; want 1, 2 and 4, two skipped, one foreign", got, c)
		}
	})
}

// Every index entry covers all records at or before it: what it claims is never too small.
func TestIndexCoversWhatStandsBelow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		w := newWorld(t, 5, memstream.Kinesis, memstream.Kafka)
		w.produce(ctx, 3000, 40)
		m := w.open()
		runCtx, cut := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() { done <- m.Run(runCtx) }()
		wait(ctx, 20*time.Second)
		cut()
		<-done
		w.produce(ctx, 9000, 40)
		w.catchUp(ctx)
		snap := w.dst.Snapshot()
		entries := w.cps.Index()
		for _, e := range entries {
			for _, s := range snap[e.Partition] {
				if s.Record.Position.After(e.Position) {
					break
				}
				from := s.Record.Origin
				if from.Position.After(e.Below[from.Partition]) {
					t.Fatalf("entry at %s/%s claims %s for %s, but %s stands at %s",
						e.Partition, e.Position, e.Below[from.Partition], from.Partition, from.Position, s.Record.Position)
				}
			}
		}
		per := map[string]int{}
		for _, e := range entries {
			per[e.Partition]++
		}
		if len(entries) < 5 {
			t.Errorf("12,000 records gave %d index entries: %v", len(entries), slices.Sorted(maps.Keys(per)))
		}
	})
}

// An idle mirror writes heartbeats only, and they say when each partition was seen empty.
func TestIdleMirrorWritesHeartbeatsOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		w := calm(t, memstream.Kinesis, memstream.Kafka, 3)
		w.produce(ctx, 10, 3)
		m := w.open()
		done := make(chan error, 1)
		go func() { done <- m.Run(ctx) }()
		wait(ctx, time.Minute)
		busy := len(w.cps.History())
		wait(ctx, time.Hour)
		idle := w.cps.History()[busy:]
		if len(idle) < 5 || len(idle) > 7 {
			t.Errorf("%d checkpoints in an idle hour, want one every ten minutes", len(idle))
		}
		last := idle[len(idle)-1]
		for _, row := range last.Rows {
			if age := last.At.Sub(row.Tip); age > time.Minute {
				t.Errorf("heartbeat says that %s was last seen empty %s before it", row.Partition, age)
			}
		}
		if len(last.Rows) != 3 {
			t.Errorf("heartbeat holds %d rows, want all 3", len(last.Rows))
		}
		cancel()
		<-done
	})
}

func TestDrainFinishesAndIsClean(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		w := newWorld(t, 3, memstream.Kafka, memstream.Kinesis)
		w.produce(ctx, 500, 5)
		m := w.open()
		var once bool
		m.Hooks.Handed = func(int) {
			if !once {
				once = true
				m.Drain()
				m.Drain()
			}
		}
		if err := m.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if c := w.final(); !c.Clean || c.Counts.Read == 0 || c.Counts.Read >= 500 {
			t.Errorf("drained with clean %v and %d of 500 read; want clean and only what was under way", c.Clean, c.Counts.Read)
		}
		w.catchUp(ctx)
		w.expectClean(w.judge())
		if p := m.Progress(); !p.Counts.Balanced() || len(p.Partitions) == 0 {
			t.Errorf("progress after the end: %+v", p)
		}
	})
}
