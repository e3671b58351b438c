package mirror_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/mirror"
	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
)

// A source log that is cut back and written again, however far, is a gap with its range,
// whether the mirror runs meanwhile or starts later, and also if it ends when it is caught up.
func TestCutSourceLogIsAGap(t *testing.T) {
	for _, running := range []bool{true, false} {
		for _, again := range []int{0, 5, 10, 25} {
			t.Run(fmt.Sprintf("running %t, %d new", running, again), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { cutLog(t, running, false, again) })
			})
		}
	}
	for _, again := range []int{0, 5, 10, 25} {
		t.Run(fmt.Sprintf("until caught up, %d new", again), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { cutLog(t, false, true, again) })
		})
	}
}

func cutLog(t *testing.T, running, untilCaughtUp bool, again int) {
	src := memstream.New(memstream.Config{Partitions: 1, Calm: true})
	dst := memstream.New(memstream.Config{Partitions: 1, Calm: true})
	cps := memstream.NewCheckpoints(nil)
	put := func(value string, n int) (last bridge.Position) {
		for range n {
			acks, err := src.Put(t.Context(), bridge.Record{Key: []byte("k"), Value: []byte(value), Partition: "0"})
			if err != nil {
				t.Fatal(err)
			}
			last = acks[0].Position
		}
		return last
	}
	begin := func() (*mirror.Mirror, chan error) {
		m := &mirror.Mirror{Source: src.Source("wf"), Sink: dst.Sink(memstream.SinkConfig{Workflow: "wf"}), Checkpoints: cps.Open(), Keys: byHash(1), UntilCaughtUp: untilCaughtUp}
		ended := make(chan error, 1)
		go func() { ended <- m.Run(t.Context()) }()
		return m, ended
	}
	kept := put("kept", 10)
	lost := put("lost", 10)
	m, ended := begin()
	wait(t.Context(), time.Minute)
	if n := dst.Len(); n != 20 {
		t.Fatalf("%d records on the target, want 20", n)
	}
	if !running && !untilCaughtUp {
		m.Drain()
	}
	if !running {
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
	}
	if err := src.LoseTail("0", kept); err != nil {
		t.Fatal(err)
	}
	put("new", again)
	if !running {
		_, ended = begin()
	}
	err := <-ended
	after, _ := lost.Offset()
	var gap *bridge.GapError
	if !errors.As(err, &gap) || gap.After != kept || gap.Before != bridge.OffsetPosition(after+1) {
		t.Errorf("the mirror ended with %v, want a gap behind %s up to %d", err, kept, after+1)
	}
	for _, s := range dst.Snapshot()["0"] {
		if string(s.Record.Value) == "new" {
			t.Fatalf("a record from behind the cut is on the target, those before it are not")
		}
	}
}
