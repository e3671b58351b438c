package main

import (
	"context"
	"os"
	"time"
)

// A stopper turns signals into two wishes: the first one asks to drain, and the second,
// or a drain that takes too long, cuts.
type stopper struct {
	drain context.Context // its cause says which signal asked
	cut   context.Context // its cause says why
	done  context.CancelFunc
}

// newStopper watches signals until done is called. Ending parent cuts, too.
func newStopper(parent context.Context, signals <-chan os.Signal, patience time.Duration) *stopper {
	cut, cutNow := context.WithCancelCause(parent)
	drain, drainNow := context.WithCancelCause(cut)
	watching, done := context.WithCancel(parent)
	s := &stopper{drain: drain, cut: cut}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case sig := <-signals:
			drainNow(interrupted{sig})
		case <-watching.Done():
			return
		}
		late := time.NewTimer(patience)
		defer late.Stop()
		select {
		case sig := <-signals:
			cutNow(interrupted{sig})
		case <-late.C:
			cutNow(errGaveUp)
		case <-watching.Done():
		}
	}()
	s.done = func() {
		done()
		<-ended
		cutNow(context.Canceled)
	}
	return s
}
