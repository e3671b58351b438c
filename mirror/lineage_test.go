package mirror_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
)

// expectGap fails unless err is a gap in one partition behind a position.
func expectGap(t *testing.T, what string, err error, partition string, after bridge.Position) {
	t.Helper()
	var gap *bridge.GapError
	if !errors.As(err, &gap) || gap.Partition != partition || gap.After != after {
		t.Errorf("%s: %v; want a gap in %s behind %s", what, err, partition, after)
	}
}

// A child waits for its parent, which cannot be read for longer than the retention; the
// child was closed meanwhile, and expires while it waits. Nobody would ever notice.
func TestChildExpiresWhileItWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		w := calm(t, memstream.Kinesis, memstream.Kafka, 1)
		w.produce(ctx, 20, 3)
		parent := w.partitions(w.src)[0].ID
		child, _, err := w.src.Split(parent)
		if err != nil {
			t.Fatal(err)
		}
		w.produce(ctx, 20, 3)
		if _, _, err := w.src.Split(child); err != nil {
			t.Fatal(err)
		}
		blockReads(w.src)
		m := w.open()
		done := make(chan error, 1)
		go func() { done <- m.Run(ctx) }()
		wait(ctx, time.Minute)
		if err := w.src.ExpireShard(child); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-done:
			expectGap(t, "a child expired while it waited", err, child, bridge.Position{})
		case <-time.After(time.Hour):
			t.Fatal("a child expired while it waited, and nothing was said for an hour")
		}
	})
}

// A shard that expires while it is read, or before its flow could open it, is a gap that
// begins at the checkpoint.
func TestShardExpiresUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		w := calm(t, memstream.Kinesis, memstream.Kafka, 1)
		w.produce(ctx, 20, 3)
		shard := w.partitions(w.src)[0].ID
		w.src.SetFaults(func(op memstream.Op) memstream.Fault {
			if op.Kind == memstream.OpOpen {
				return memstream.Fault{Err: bridge.ErrThrottled}
			}
			return memstream.Fault{}
		})
		m := w.open()
		done := make(chan error, 1)
		go func() { done <- m.Run(ctx) }()
		wait(ctx, time.Minute)
		if _, _, err := w.src.Split(shard); err != nil {
			t.Fatal(err)
		}
		if err := w.src.ExpireShard(shard); err != nil {
			t.Fatal(err)
		}
		w.src.SetFaults(nil)
		expectGap(t, "a shard expired before it was opened", <-done, shard, bridge.Position{})
	})
}

// A partition that was seen to hold nothing and is resumed after more than the retention
// may have held records meanwhile: that is no clean start from its oldest record.
func TestEmptyPartitionThatWasTrimmedIsAGap(t *testing.T) {
	for _, from := range []memstream.Flavour{memstream.Kinesis, memstream.Kafka} {
		synctest.Test(t, func(t *testing.T) {
			ctx := t.Context()
			w := calm(t, from, memstream.Kafka, 1)
			m := w.open()
			time.AfterFunc(time.Minute, m.Drain)
			if err := m.Run(ctx); err != nil {
				t.Fatal(err)
			}
			p := w.partitions(w.src)[0].ID
			w.produce(ctx, 20, 3)
			snap := w.src.Snapshot()[p]
			if err := w.src.Trim(p, snap[9].Record.Position); err != nil {
				t.Fatal(err)
			}
			wait(ctx, 25*time.Hour)
			err := w.end(ctx, w.open())
			expectGap(t, "an empty partition was filled and trimmed", err, p, bridge.Position{})
		})
	}
}

// Nothing is wrong with a shard that was idle for longer than the retention while a mirror
// looked on, and stopped for less than it.
func TestIdleForLongerThanTheRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		w := calm(t, memstream.Kinesis, memstream.Kafka, 2)
		w.src = memstream.New(memstream.Config{Flavour: memstream.Kinesis, Name: "source", Partitions: 2, Calm: true, Wait: time.Minute})
		w.produce(ctx, 40, 7)
		m := w.open()
		m.Interval = time.Minute
		done := make(chan error, 1)
		go func() { done <- m.Run(ctx) }()
		wait(ctx, 72*time.Hour)
		m.Drain()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if n := w.src.Len(); n != 0 {
			t.Fatalf("not exercised: the stream still holds %d records", n)
		}
		wait(ctx, 12*time.Hour)
		w.produce(ctx, 40, 7)
		wait(ctx, time.Hour)
		w.catchUp(ctx)
		w.expectClean(w.judge())
		// Away for longer than the retention with nothing to prove it: that may be a gap.
		wait(ctx, 48*time.Hour)
		if err := w.end(ctx, w.open()); !errors.Is(err, bridge.ErrGap) {
			t.Errorf("away for two days with a retention of one: %v, want a possible gap", err)
		}
	})
}
