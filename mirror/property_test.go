package mirror_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
)

var directions = []struct {
	name     string
	from, to memstream.Flavour
}{
	{"kinesis to kafka", memstream.Kinesis, memstream.Kafka},
	{"kafka to kinesis", memstream.Kafka, memstream.Kinesis},
	{"kinesis to kinesis", memstream.Kinesis, memstream.Kinesis},
	{"kafka to kafka", memstream.Kafka, memstream.Kafka},
}

// Workers are killed, drained, and taken over from while they live, at random moments,
// while producers write and shards split and merge on both sides.
func TestNothingIsLostThroughKillsAndReshards(t *testing.T) {
	for _, d := range directions {
		t.Run(d.name, func(t *testing.T) {
			var total totals
			for seed := range uint64(runs(30, 2000)) {
				synctest.Test(t, func(t *testing.T) { total.add(chaos(t, seed, d.from, d.to)) })
				if t.Failed() {
					return
				}
			}
			total.report(t)
		})
	}
}

type totals struct {
	runs, records, kills, takeovers, drains, reshards int
	present                                           int64
}

func (a *totals) add(b totals) {
	a.runs++
	a.records += b.records
	a.kills += b.kills
	a.takeovers += b.takeovers
	a.drains += b.drains
	a.reshards += b.reshards
	a.present += b.present
}

// report prints what was exercised, and fails if it was not: a run of kills after which
// nothing was ever found on the target proves nothing.
func (a *totals) report(t *testing.T) {
	t.Logf("seeds 0..%d: %d records, %d kills, %d take-overs, %d drains, %d reshards, %d found present; lost 0, duplicated 0, reordered 0",
		a.runs-1, a.records, a.kills, a.takeovers, a.drains, a.reshards, a.present)
	if a.present == 0 || a.kills == 0 || a.takeovers == 0 || a.drains == 0 {
		t.Errorf("not exercised: %+v", *a)
	}
}

func chaos(t *testing.T, seed uint64, from, to memstream.Flavour) (n totals) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w := newWorld(t, seed, from, to)
	w.heartbeat = 7 * time.Second
	var producing sync.WaitGroup
	producing.Go(func() { w.produce(ctx, 400, 9) })
	stopReshard := make(chan struct{})
	var resharding sync.WaitGroup
	var reshards atomic.Int64
	for _, s := range []*memstream.Stream{w.src, w.dst} {
		rng := rand.New(rand.NewPCG(seed, 3))
		resharding.Go(func() { reshards.Add(int64(reshard(ctx, rng, s, stopReshard))) })
	}
	resharding.Go(func() { w.others(ctx, rand.New(rand.NewPCG(seed, 4)), stopReshard) })
	var zombies sync.WaitGroup
	for range 3 + w.rng.IntN(4) {
		runCtx, kill := context.WithCancel(ctx)
		m := w.open()
		done := make(chan error, 1)
		zombies.Go(func() { done <- m.Run(runCtx) })
		wait(ctx, time.Duration(w.rng.IntN(15_000))*time.Millisecond)
		if to == memstream.Kafka && w.rng.IntN(3) == 0 {
			n.takeovers++ // the old one lives on and must find out by itself
			defer kill()
			continue
		}
		if w.rng.IntN(4) == 0 {
			n.drains++ // at whatever moment of its life
			m.Drain()
			if err := <-done; err != nil {
				t.Fatalf("seed %d: a drained worker ended with %v", seed, err)
			}
			kill()
			continue
		}
		kill()
		if err := <-done; !ended(err) {
			t.Fatalf("seed %d: a killed worker ended with %v", seed, err)
		}
		n.kills++
	}
	producing.Wait()
	close(stopReshard)
	resharding.Wait()
	n.reshards = int(reshards.Load())
	w.catchUp(ctx)
	cancel()
	zombies.Wait()
	v := w.judge()
	w.expectClean(v)
	n.records = v.records
	n.present = w.final().Counts.Present
	if to == memstream.Kinesis {
		n.takeovers = 1 // not counted there: Kinesis cannot fence
	}
	if c := w.final().Counts; c.Read != int64(w.rows) {
		t.Fatalf("seed %d: %d records were produced and %d counted as read: %+v", seed, w.rows, c.Read, c)
	}
	return n
}

// reshard splits and merges at random until it is told to stop.
func reshard(ctx context.Context, rng *rand.Rand, s *memstream.Stream, stop <-chan struct{}) (n int) {
	for {
		select {
		case <-stop:
			return n
		case <-time.After(time.Duration(1000+rng.IntN(15_000)) * time.Millisecond):
		}
		var open []bridge.Partition
		parts, _ := s.Partitions(ctx)
		for _, p := range parts {
			if !p.Closed && p.FirstHash != "" {
				open = append(open, p)
			}
		}
		if len(open) == 0 {
			return n
		}
		p := open[rng.IntN(len(open))]
		if rng.IntN(2) == 0 {
			if _, _, err := s.Split(p.ID); err == nil {
				n++
			}
			continue
		}
		for _, q := range open {
			if _, err := s.Merge(p.ID, q.ID); err == nil {
				n++
				break
			}
		}
	}
}

// A child waits while its parent holds many unread records.
func TestChildWaitsForParent(t *testing.T) {
	for seed := range uint64(runs(20, 100)) {
		synctest.Test(t, func(t *testing.T) {
			ctx := t.Context()
			w := newWorld(t, seed, memstream.Kinesis, memstream.Kafka)
			w.produce(ctx, 1500, 5)
			w.cps.SetFaults(func(op memstream.Op) memstream.Fault {
				return memstream.Fault{Delay: 7 * time.Second} // longer than the time to list
			})
			m := w.open()
			started := map[string]int64{}
			var mu sync.Mutex
			m.Hooks.Started = func(p string) {
				mu.Lock()
				defer mu.Unlock()
				started[p] = m.Progress().Counts.Read
				w.expectParentsEnded(p)
			}
			parts, _ := w.src.Partitions(ctx)
			var children []string
			for _, p := range parts {
				a, b, err := w.src.Split(p.ID)
				if err != nil {
					t.Fatal(err)
				}
				children = append(children, a, b)
			}
			w.produce(ctx, 200, 5)
			m.UntilCaughtUp = true
			if err := w.end(ctx, m); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			w.expectClean(w.judge())
			for _, c := range children {
				if _, ok := started[c]; !ok {
					t.Fatalf("seed %d: child %s was never read", seed, c)
				}
			}
			if first := started[children[0]]; len(parts) == 1 && first < 1500 {
				t.Fatalf("seed %d: a child began when %d of its parent's 1500 records were done", seed, first)
			}
		})
	}
}

// expectParentsEnded fails unless the end of each parent is in a saved checkpoint.
func (w *world) expectParentsEnded(partition string) {
	over := map[string]bool{}
	for _, cp := range w.cps.History() {
		for _, row := range cp.Rows {
			over[row.Partition] = row.Ended
		}
	}
	for _, p := range w.partitions(w.src) {
		for _, parent := range p.Parents {
			if p.ID == partition && !over[parent] {
				w.t.Errorf("seed %d: %s began before the end of %s was checkpointed", w.seed, partition, parent)
			}
		}
	}
}

func TestStates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		w := newWorld(t, 1, memstream.Kinesis, memstream.Kafka)
		w.produce(ctx, 50, 3)
		w.catchUp(ctx)
		if !w.final().Clean {
			t.Error("a drained stop is not clean")
		}
		m := w.open()
		m.Keys = byHash(99)
		if err := w.end(ctx, m); !errors.Is(err, bridge.ErrState) {
			t.Errorf("another keymap: %v, want ErrState", err)
		}
		w.dst.Recreate()
		if err := w.end(ctx, w.open()); !errors.Is(err, bridge.ErrChanged) || bridge.Hint(err) == "" {
			t.Errorf("recreated target: %v, want ErrChanged with a hint", err)
		}
	})
}
