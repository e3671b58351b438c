package mirror_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
)

// An end that is deleted, or deleted and created again under its name, ends the mirror within
// seconds, idle or not, and then nothing more is written.
func TestEndsThatChangeEndTheMirror(t *testing.T) {
	flavours := []memstream.Flavour{memstream.Kinesis, memstream.Kafka}
	for _, from := range flavours {
		for _, to := range flavours {
			for _, what := range []string{"source", "target"} {
				for _, how := range []string{"deleted", "recreated"} {
					for _, busy := range []bool{true, false} {
						synctest.Test(t, func(t *testing.T) { changesAnEnd(t, from, to, what, how, busy) })
					}
				}
			}
		}
	}
}

func changesAnEnd(t *testing.T, from, to memstream.Flavour, what, how string, busy bool) {
	ctx := t.Context()
	w := calm(t, from, to, 1)
	done := make(chan error, 1)
	m := w.open()
	go func() { done <- m.Run(ctx) }()
	w.produce(ctx, 20, 3)
	wait(ctx, time.Minute)
	end := w.src
	if what == "target" {
		end = w.dst
	}
	if end.Delete(); how == "recreated" {
		end.Recreate()
	}
	if busy && (what == "target" || how == "recreated") {
		w.produce(ctx, 5, 3)
	}
	select {
	case err := <-done:
		if err == nil || bridge.Retryable(err) {
			t.Errorf("%s of %v to %v was %s, busy %v: the mirror ended with %v", what, from, to, how, busy, err)
		}
		if !busy && !errors.Is(err, bridge.ErrChanged) && what == "target" {
			t.Errorf("%s of %v to %v was %s: the mirror ended with %v, want ErrChanged", what, from, to, how, err)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("%s of %v to %v was %s, busy %v: the mirror goes on", what, from, to, how, busy)
	}
	if how == "deleted" {
		return
	}
	n := w.dst.Len()
	w.produce(ctx, 5, 3)
	wait(ctx, time.Minute)
	if w.dst.Len() != n {
		t.Errorf("%s of %v to %v was %s: %d records were written behind that", what, from, to, how, w.dst.Len()-n)
	}
}
