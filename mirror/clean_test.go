package mirror_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
)

// A drain can come before the flows have passed what a crash left on the target. Nothing
// is under way then, but a start that did not look would write it a second time.
func TestDrainBeforeWhatWasFoundIsPassedIsNotClean(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		w := calm(t, memstream.Kinesis, memstream.Kafka, 2)
		w.produce(ctx, 60, 7)
		w.crash(ctx, 60)
		blockReads(w.src)
		m := w.open()
		done := make(chan error, 1)
		go func() { done <- m.Run(ctx) }()
		wait(ctx, time.Minute)
		m.Drain()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if w.final().Clean {
			t.Error("the checkpoint is clean although 60 records behind it stand on the target")
		}
		w.src.SetFaults(nil)
		w.catchUp(ctx)
		w.expectClean(w.judge())
		if c := w.final(); c.Counts.Present != 60 || !c.Clean {
			t.Errorf("clean %v, %+v; want 60 present, and clean once they are passed", c.Clean, c.Counts)
		}
	})
}

// blockReads throttles every read, whatever is open.
func blockReads(s *memstream.Stream) {
	s.SetFaults(func(op memstream.Op) memstream.Fault {
		if op.Kind == memstream.OpRead {
			return memstream.Fault{Err: bridge.ErrThrottled}
		}
		return memstream.Fault{}
	})
}

// A drain during the look at the target ends it, and leaves the checkpoint as it was.
func TestDrainDuringTheScan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		w := calm(t, memstream.Kinesis, memstream.Kafka, 1)
		w.produce(ctx, 40, 3)
		w.crash(ctx, 40)
		before := len(w.cps.History())
		w.dst.SetFaults(func(op memstream.Op) memstream.Fault {
			if op.Kind == memstream.OpTail {
				return memstream.Fault{Delay: time.Hour}
			}
			return memstream.Fault{}
		})
		m := w.open()
		done := make(chan error, 1)
		began := time.Now()
		go func() { done <- m.Run(ctx) }()
		wait(ctx, time.Second)
		m.Drain()
		if err := <-done; err != nil || time.Since(began) > 2*time.Second {
			t.Errorf("drained during a scan: %v after %s; want nil at once", err, time.Since(began))
		}
		if n := len(w.cps.History()); n != before {
			t.Errorf("%d checkpoints, want the %d from before: nothing was learned", n, before)
		}
		w.dst.SetFaults(nil)
		w.catchUp(ctx)
		w.expectClean(w.judge())
	})
}

// What was found of a shard that has ended needs no flow to come past it: the floor moves
// on, and a stop is clean.
func TestFloorPassesWhatWasFoundOfEndedShards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		w := calm(t, memstream.Kinesis, memstream.Kafka, 2)
		shard := w.partitions(w.src)[0].ID
		// A page hangs on the way to partition 2 while the other shard ends: the floor stays
		// below what the ended shard wrote.
		w.dst.SetFaults(func(op memstream.Op) memstream.Fault {
			if op.Kind == memstream.OpAppend && op.Partition == "2" {
				return memstream.Fault{Delay: time.Hour}
			}
			return memstream.Fault{}
		})
		w.put(ctx, w.keyFor(1, "2"), 0)
		runCtx, cut := context.WithCancel(ctx)
		m := w.open()
		done := make(chan error, 1)
		go func() { done <- m.Run(runCtx) }()
		wait(ctx, 10*time.Second)
		for range 20 {
			w.put(ctx, w.keyFor(0, "0"), 0)
		}
		if _, _, err := w.src.Split(shard); err != nil {
			t.Fatal(err)
		}
		wait(ctx, time.Minute)
		cut()
		<-done
		w.dst.SetFaults(nil)
		over := false
		for _, cp := range w.cps.History() {
			for _, row := range cp.Rows {
				over = over || row.Partition == shard && row.Ended
			}
		}
		if !over {
			t.Fatal("not exercised: the shard has not ended before the crash")
		}
		w.produce(ctx, 50, 9)
		w.catchUp(ctx)
		w.expectClean(w.judge())
		if !w.final().Clean {
			t.Error("a drained stop is not clean because of what an ended shard wrote")
		}
	})
}

// Checkpoints fail at every moment: a store that comes back is waited for, one that never
// takes the record is an error, and neither loses nor repeats a record.
func TestStoreFails(t *testing.T) {
	for _, class := range []error{bridge.ErrTransient, bridge.ErrDenied, bridge.ErrLostTrack} {
		synctest.Test(t, func(t *testing.T) {
			ctx := t.Context()
			w := calm(t, memstream.Kinesis, memstream.Kafka, 2)
			w.produce(ctx, 300, 7)
			failed := 0
			w.cps.SetFaults(func(op memstream.Op) memstream.Fault {
				if op.Kind == memstream.OpSave && op.N >= 2 && failed < 3 {
					failed++
					return memstream.Fault{Err: class, Took: failed == 2}
				}
				return memstream.Fault{}
			})
			m := w.open()
			m.UntilCaughtUp = true
			err := w.end(ctx, m)
			if bridge.Retryable(class) != (err == nil) || err != nil && !errors.Is(err, class) {
				t.Errorf("store that fails with %v: the mirror ended with %v", class, err)
			}
			w.cps.SetFaults(nil)
			w.catchUp(ctx)
			w.expectClean(w.judge())
			if failed == 0 {
				t.Errorf("not exercised: no save failed")
			}
		})
	}
}

// A sink that is of no more use ends the run, even if the next one could succeed: whoever
// called begins anew with a look at the target.
func TestSinkThatLostTrackEndsTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		w := calm(t, memstream.Kinesis, memstream.Kafka, 1)
		w.produce(ctx, 300, 7)
		w.dst.SetFaults(func(op memstream.Op) memstream.Fault {
			if op.Kind != memstream.OpAppend || op.N != 2 {
				return memstream.Fault{}
			}
			return memstream.Fault{Err: bridge.ErrLostTrack, Cut: true, Took: true}
		})
		m := w.open()
		if err := w.end(ctx, m); !errors.Is(err, bridge.ErrLostTrack) {
			t.Errorf("the mirror ended with %v", err)
		}
		w.dst.SetFaults(nil)
		w.catchUp(ctx)
		w.expectClean(w.judge())
		if w.final().Counts.Present == 0 {
			t.Error("not exercised: nothing was found on the target")
		}
	})
}

// What is asked at the start may be throttled a few times.
func TestThrottledStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		w := calm(t, memstream.Kafka, memstream.Kafka, 1)
		w.produce(ctx, 20, 3)
		var mu sync.Mutex
		failed := map[memstream.OpKind]int{}
		throttled := func(op memstream.Op) memstream.Fault {
			mu.Lock()
			defer mu.Unlock()
			if op.N <= 2 && op.Kind != memstream.OpTail {
				failed[op.Kind]++
				return memstream.Fault{Err: bridge.ErrThrottled}
			}
			return memstream.Fault{}
		}
		w.src.SetFaults(throttled)
		w.cps.SetFaults(throttled)
		w.catchUp(ctx)
		w.expectClean(w.judge())
		for _, kind := range []memstream.OpKind{memstream.OpLoad, memstream.OpEnds, memstream.OpSave, memstream.OpRead} {
			if failed[kind] == 0 {
				t.Errorf("not exercised: %s was never throttled", kind)
			}
		}
	})
}
