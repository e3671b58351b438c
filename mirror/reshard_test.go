package mirror_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/mirror"
	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
)

// backlog is how many records a parent must still hold unread while its child waits.
const backlog = 1000

// A reshardRun is what one run of splits and merges showed.
type reshardRun struct {
	verdict
	splits, merges, waited, restarts int
	most                             int // unread records of the parents of one waiting child
}

func (a *reshardRun) add(b reshardRun) {
	a.records += b.records
	a.lost += b.lost
	a.duplicated += b.duplicated
	a.reordered += b.reordered
	a.splits += b.splits
	a.merges += b.merges
	a.waited += b.waited
	a.restarts += b.restarts
	a.most = max(a.most, b.most)
}

// Shards split and merge at random under load, and in each run a child waits while its
// parents hold at least a thousand unread records. Every third run is killed meanwhile.
func TestReshardsUnderLoad(t *testing.T) {
	var total reshardRun
	n := runs(10, 100)
	for seed := range uint64(n) {
		synctest.Test(t, func(t *testing.T) {
			r := reshardUnderLoad(t, seed)
			if r.waited == 0 {
				t.Errorf("seed %d: not exercised: no child waited for a parent with %d unread records, the most were %d", seed, backlog, r.most)
			}
			total.add(r)
		})
		if t.Failed() {
			return
		}
	}
	t.Logf("seeds 0..%d: %d records, %d splits, %d merges, %d restarts, %d children waited for parents with %d to %d unread records; lost %d, duplicated %d, reordered %d",
		n-1, total.records, total.splits, total.merges, total.restarts, total.waited, backlog, total.most, total.lost, total.duplicated, total.reordered)
	if total.splits == 0 || total.merges == 0 || total.restarts == 0 {
		t.Errorf("not exercised: %+v", total)
	}
}

func reshardUnderLoad(t *testing.T, seed uint64) (n reshardRun) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w := newWorld(t, seed, memstream.Kinesis, memstream.Kafka)
	w.src = memstream.New(memstream.Config{Flavour: memstream.Kinesis, Name: "source", Partitions: 1 + w.rng.IntN(2), Seed: seed})
	w.burst(ctx, 2600)
	var feeding sync.WaitGroup
	feeding.Go(func() {
		for range 30 {
			w.burst(ctx, 60)
			wait(ctx, 300*time.Millisecond)
		}
	})
	watch := &childWatch{w: w}
	m, stop := w.watched(ctx, watch)
	rng := rand.New(rand.NewPCG(seed, 9))
	for step := range 6 {
		s, g := w.reshardOnce(t, rng)
		n.splits += s
		n.merges += g
		for range 8 {
			watch.look(m)
			wait(ctx, 60*time.Millisecond)
		}
		wait(ctx, time.Duration(rng.IntN(1500))*time.Millisecond)
		if seed%3 == 0 && step%2 == 1 {
			stop()
			m, stop = w.watched(ctx, watch)
			n.restarts++
		}
	}
	feeding.Wait()
	stop()
	w.catchUp(ctx)
	n.verdict = w.judge()
	w.expectClean(n.verdict)
	n.waited, n.most = watch.waited(), watch.most
	return n
}

// watched runs a mirror until stop, and looks at it whenever a flow begins.
func (w *world) watched(ctx context.Context, watch *childWatch) (m *mirror.Mirror, stop func()) {
	m = w.open()
	m.Discover = 100 * time.Millisecond
	m.Hooks.Started = func(p string) {
		w.expectParentsEnded(p)
		watch.look(m)
	}
	ctx, cut := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	return m, func() {
		cut()
		if err := <-done; !ended(err) {
			w.t.Errorf("seed %d: a killed worker ended with %v", w.seed, err)
		}
	}
}

// burst puts n records in a row, each key's in order, as fast as the stream takes them.
func (w *world) burst(ctx context.Context, n int) {
	for range n {
		w.mu.Lock()
		key := fmt.Sprint("key-", w.rows%41)
		w.mu.Unlock()
		w.put(ctx, key, 0)
	}
}

// reshardOnce splits a random open shard, or merges two, whichever can be done.
func (w *world) reshardOnce(t *testing.T, rng *rand.Rand) (splits, merges int) {
	var open []bridge.Partition
	for _, p := range w.partitions(w.src) {
		if !p.Closed {
			open = append(open, p)
		}
	}
	p := open[rng.IntN(len(open))]
	if rng.IntN(2) == 0 {
		for _, q := range open {
			if _, err := w.src.Merge(p.ID, q.ID); err == nil {
				return 0, 1
			}
		}
	}
	if _, _, err := w.src.Split(p.ID); err != nil {
		t.Fatal(err)
	}
	return 1, 0
}

// A childWatch looks for children that wait while their parents hold many unread records.
type childWatch struct {
	w    *world
	mu   sync.Mutex
	seen map[string]bool
	most int
}

// waited counts those of them that had something to wait with.
func (c *childWatch) waited() (n int) {
	snap := c.w.src.Snapshot()
	for child := range c.seen {
		if len(snap[child]) > 0 {
			n++
		}
	}
	return n
}

func (c *childWatch) look(m *mirror.Mirror) {
	progress := m.Progress()
	at := map[string]bridge.Position{}
	for _, p := range progress.Partitions {
		at[p.Partition] = p.Position
	}
	snap := c.w.src.Snapshot()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seen == nil {
		c.seen = map[string]bool{}
	}
	for _, p := range progress.Partitions {
		unread := 0
		for _, parent := range p.Waiting {
			for _, s := range snap[parent] {
				if s.Record.Position.After(at[parent]) {
					unread++
				}
			}
		}
		c.most = max(c.most, unread)
		if unread >= backlog {
			c.seen[p.Partition] = true
		}
	}
}

// A mirror is killed in each phase of a reshard, and goes on from there.
func TestRestartInEachPhaseOfAReshard(t *testing.T) {
	phases := []struct {
		name    string
		reached func(s phase) bool
	}{
		{"before it is listed", func(s phase) bool { return s.listed == 0 }},
		{"while the parent is read", func(s phase) bool { return s.listed > 0 && !s.ended && s.read > 0 }},
		{"when the parent was read to its end, and that is in no checkpoint", func(s phase) bool { return s.ended && !s.durable }},
		{"when the end is in a checkpoint, and no child has begun", func(s phase) bool { return s.durable && s.started == 0 }},
		{"when one child has begun", func(s phase) bool { return s.started > 0 && s.children == 0 }},
		{"when a child has moved", func(s phase) bool { return s.children > 0 }},
	}
	for _, merge := range []bool{false, true} {
		for _, ph := range phases {
			name := "split, " + ph.name
			if merge {
				name = "merge, " + ph.name
			}
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { killInPhase(t, merge, ph.reached) })
			})
		}
	}
}

// A phase is how far a reshard has come, for the mirror.
type phase struct {
	listed         int // partitions that the mirror knows beside the parents
	read           int64
	ended, durable bool // all parents
	started        int  // children
	children       int  // that have a position
}

func killInPhase(t *testing.T, merge bool, reached func(phase) bool) {
	ctx := t.Context()
	shards := 1
	if merge {
		shards = 2
	}
	w := calm(t, memstream.Kinesis, memstream.Kafka, shards)
	parents := map[string]bool{}
	for _, p := range w.partitions(w.src) {
		parents[p.ID] = true
	}
	w.burst(ctx, 1500)
	readingSlowly(w)
	m := w.open()
	m.Interval, m.Discover = 400*time.Millisecond, 300*time.Millisecond
	var mu sync.Mutex
	started := 0
	m.Hooks.Started = func(p string) {
		w.expectParentsEnded(p)
		mu.Lock()
		defer mu.Unlock()
		if !parents[p] {
			started++
		}
	}
	runCtx, cut := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- m.Run(runCtx) }()
	wait(ctx, 50*time.Millisecond)
	w.reshardAll(t, merge)
	w.burst(ctx, 300)
	for range 100_000 {
		mu.Lock()
		s := w.phase(m, parents, started)
		mu.Unlock()
		if reached(s) {
			break
		}
		wait(ctx, time.Millisecond)
	}
	mu.Lock()
	s := w.phase(m, parents, started)
	mu.Unlock()
	if !reached(s) {
		t.Fatalf("not exercised: the phase was never met, the last was %+v", s)
	}
	cut()
	<-done
	w.cps.SetFaults(nil)
	w.dst.SetFaults(nil)
	w.catchUp(ctx)
	w.expectClean(w.judge())
}

// readingSlowly makes each step take long enough to be caught.
func readingSlowly(w *world) {
	w.cps.SetFaults(func(memstream.Op) memstream.Fault { return memstream.Fault{Delay: 30 * time.Millisecond} })
	w.dst.SetFaults(func(op memstream.Op) memstream.Fault {
		if op.Kind == memstream.OpAppend {
			return memstream.Fault{Delay: 20 * time.Millisecond}
		}
		return memstream.Fault{}
	})
	w.src.SetFaults(func(op memstream.Op) memstream.Fault {
		if op.Kind == memstream.OpOpen || op.Kind == memstream.OpPartitions {
			return memstream.Fault{Delay: 20 * time.Millisecond}
		}
		return memstream.Fault{}
	})
}

func (w *world) reshardAll(t *testing.T, merge bool) {
	parts := w.partitions(w.src)
	var err error
	if merge {
		_, err = w.src.Merge(parts[0].ID, parts[1].ID)
	} else {
		_, _, err = w.src.Split(parts[0].ID)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) phase(m *mirror.Mirror, parents map[string]bool, started int) phase {
	s := phase{ended: true, durable: true, started: started}
	progress := m.Progress()
	s.read = progress.Counts.Read
	for _, p := range progress.Partitions {
		switch {
		case parents[p.Partition]:
			s.ended = s.ended && p.Ended
		case !p.Position.IsZero():
			s.children++
			fallthrough
		default:
			s.listed++
		}
	}
	over := map[string]bool{}
	for _, cp := range w.cps.History() {
		for _, row := range cp.Rows {
			over[row.Partition] = row.Ended
		}
	}
	for p := range parents {
		s.durable = s.durable && over[p]
	}
	s.ended = s.ended && len(progress.Partitions) > 0
	return s
}

// The rows of shards that are over and gone are forgotten once their children have rows,
// and a stream that is resharded for months leaves no trail behind it.
func TestEndedShardsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		w := calm(t, memstream.Kinesis, memstream.Kafka, 1)
		w.src = memstream.New(memstream.Config{Flavour: memstream.Kinesis, Name: "source", Calm: true, Wait: time.Minute})
		m := w.open()
		m.Interval, m.Discover = time.Minute, time.Minute
		done := make(chan error, 1)
		go func() { done <- m.Run(ctx) }()
		rng := rand.New(rand.NewPCG(3, 0))
		for range 20 {
			w.burst(ctx, 10)
			w.reshardOnce(t, rng)
			wait(ctx, 13*time.Hour)
		}
		wait(ctx, 49*time.Hour)
		m.Drain()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		w.expectClean(w.judge())
		cp, err := w.cps.Open().Load(ctx)
		if err != nil {
			t.Fatal(err)
		}
		listed := len(w.partitions(w.src))
		if len(cp.Rows) > listed {
			t.Errorf("%d rows for %d listed shards", len(cp.Rows), listed)
		}
	})
}
