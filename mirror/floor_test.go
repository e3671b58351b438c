package mirror_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
)

// Others write to the target while the mirror has nothing to do, and retention removes what
// they wrote first. A start after a crash must look behind the last heartbeat only: what
// stood before it is neither there any more nor of any interest.
func TestHeartbeatMovesTheFloorPastOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		w := calm(t, memstream.Kinesis, memstream.Kafka, 1)
		w.put(ctx, w.keyFor(0, "0"), 0)
		runCtx, cut := context.WithCancel(ctx)
		m := w.open()
		done := make(chan error, 1)
		go func() { done <- m.Run(runCtx) }()
		for range 60 {
			for _, p := range []string{"0", "1", "2"} {
				if _, err := w.dst.Put(ctx, bridge.Record{Key: []byte("native"), Value: []byte("x"), Partition: p}); err != nil {
					t.Fatal(err)
				}
			}
			wait(ctx, time.Minute)
		}
		floor := w.final().Floor.Partitions
		for _, p := range []string{"0", "1", "2"} {
			if at, _ := floor[p].Offset(); at < 45 {
				t.Errorf("the floor of partition %s is %s behind an hour and 60 records of others", p, floor[p])
			}
			if err := w.dst.Trim(p, floor[p]); err != nil {
				t.Fatal(err)
			}
		}
		wait(ctx, time.Second) // off the beat of the checkpoints
		w.put(ctx, w.keyFor(0, "1"), 0)
		for w.judge().records < 2 { // until it is written; it is in no checkpoint then
			wait(ctx, time.Millisecond)
		}
		cut()
		<-done
		w.catchUp(ctx)
		if c := w.final().Counts; c.Present != 1 || c.Written != 1 {
			t.Errorf("%+v; want the first record written and the second found", c)
		}
	})
}

// The floor of a heartbeat must not pass a page that is under way, whatever the target's
// end is then.
func TestHeartbeatKeepsTheFloorOfOpenPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		w := calm(t, memstream.Kinesis, memstream.Kafka, 1)
		w.dst.SetFaults(func(op memstream.Op) memstream.Fault {
			if op.Kind == memstream.OpAppend && op.Partition == "1" {
				return memstream.Fault{Delay: 2 * time.Hour}
			}
			return memstream.Fault{}
		})
		var recs []bridge.Record
		for _, target := range []string{"0", "1"} {
			for range 20 {
				recs = append(recs, bridge.Record{Key: []byte(w.keyFor(0, target)), Value: []byte(target)})
			}
		}
		if _, err := w.src.Put(ctx, recs...); err != nil {
			t.Fatal(err)
		}
		runCtx, cut := context.WithCancel(ctx)
		m := w.open()
		done := make(chan error, 1)
		go func() { done <- m.Run(runCtx) }()
		wait(ctx, time.Hour) // six heartbeats while the page is half on the target
		cut()
		<-done
		if n := w.dst.Len(); n != 20 {
			t.Fatalf("not exercised: %d of the page's records are on the target, want 20", n)
		}
		w.dst.SetFaults(nil)
		w.catchUp(ctx)
		if n, c := w.dst.Len(), w.final().Counts; n != 40 || c.Present != 20 || c.Written != 20 {
			t.Errorf("%d records on the target, %+v; want 20 found and 20 written", n, c)
		}
	})
}

// The target does not say where it ends when it is asked: the next checkpoint asks again,
// and until then the floor stays where it was.
func TestFloorIsAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		w := calm(t, memstream.Kinesis, memstream.Kafka, 1)
		began := time.Now()
		w.dst.SetFaults(func(op memstream.Op) memstream.Fault {
			if op.Kind == memstream.OpEnds && time.Since(began) < 2*time.Second {
				return memstream.Fault{Err: bridge.ErrTransient}
			}
			return memstream.Fault{}
		})
		runCtx, cut := context.WithCancel(ctx)
		m := w.open()
		done := make(chan error, 1)
		go func() { done <- m.Run(runCtx) }()
		wait(ctx, time.Second)
		if floor := w.final().Floor.Partitions; len(floor) > 0 {
			t.Errorf("not exercised: the first floor is %v", floor)
		}
		w.put(ctx, w.keyFor(0, "0"), 0)
		wait(ctx, time.Minute)
		cut()
		<-done
		if floor := w.final().Floor.Partitions; len(floor) != 3 {
			t.Errorf("a minute later the floor is %v, want one for each of 3 partitions", floor)
		}
	})
}

// All that the first seconds of a workflow wrote is removed from the target before a restart
// looks for it, so that no record of a lane is missing before another. That is told all the
// same: else it would be written again, behind what consumers have read.
func TestTargetTrimmedInTheFirstSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		w := calm(t, memstream.Kinesis, memstream.Kafka, 1)
		w.produce(ctx, 40, 7)
		runCtx, cut := context.WithCancel(ctx)
		m := w.open()
		m.Interval = time.Hour
		done := make(chan error, 1)
		go func() { done <- m.Run(runCtx) }()
		for w.judge().records < 40 {
			wait(ctx, time.Millisecond)
		}
		cut()
		<-done
		if c := w.final().Counts; c.Written != 0 {
			t.Fatalf("not exercised: %d records are in the checkpoint", c.Written)
		}
		for p, snap := range w.dst.Snapshot() {
			if n := len(snap); n > 0 {
				if err := w.dst.Trim(p, snap[n-1].Record.Position); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := w.end(ctx, w.open()); !errors.Is(err, bridge.ErrGap) {
			t.Errorf("what was written is gone: %v, want a gap", err)
		}
	})
}

// Nothing of the mirror's behind the floor of a checkpoint was written before the floor says,
// also in the runs behind a crash, which have not come past what they found.
func TestFloorSaysSinceWhen(t *testing.T) {
	const seed = 11
	t.Logf("seed %d", seed)
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		w := newWorld(t, seed, memstream.Kafka, memstream.Kinesis)
		for n := range 6 {
			w.produce(ctx, 400, 20)
			w.crash(ctx, 40*(n+1))
			wait(ctx, time.Hour)
		}
		w.catchUp(ctx)
		w.expectClean(w.judge())
		known, behind := 0, 0
		for i, cp := range w.cps.History() {
			if cp.Floor.At.IsZero() {
				if i > 0 && len(cp.Floor.Partitions) > 0 && !w.cps.History()[i-1].Floor.At.IsZero() {
					t.Errorf("checkpoint %d does not know since when, the one before it did", i)
				}
				continue
			}
			known++
			for _, s := range w.dst.Everything() {
				if s.Native || !s.Record.Position.After(cp.Floor.Partitions[s.Record.Partition]) {
					continue
				}
				if behind++; s.Record.Time.Before(cp.Floor.At.Truncate(time.Millisecond)) {
					t.Fatalf("checkpoint %d says that nothing behind its floor was written before %s, and %s of %s was at %s", i, cp.Floor.At, s.Record.Position, s.Record.Partition, s.Record.Time)
				}
			}
		}
		if known < 5 || behind == 0 {
			t.Errorf("not exercised: %d floors, %d records behind them", known, behind)
		}
	})
}
