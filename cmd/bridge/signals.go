package main

import (
	"context"
	"errors"
	"os"
	"time"
)

// listen watches the signals of the program. One that comes while no stopper watches ends
// the context, with the signal as its cause: so every command ends that needs no drain.
func (a *app) listen(parent context.Context) (ctx context.Context, done func()) {
	ctx, end := context.WithCancelCause(parent)
	watching, unwatch := context.WithCancel(context.Background())
	incoming, handed := a.signals, make(chan os.Signal, 2)
	a.signals = handed
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case sig := <-incoming:
				if a.stoppers.Load() == 0 {
					end(interrupted{sig})
					continue
				}
				select {
				case handed <- sig:
				default: // it was told often enough
				}
			case <-watching.Done():
				return
			}
		}
	}()
	return ctx, func() {
		unwatch()
		<-ended
		end(nil)
		a.signals = incoming
	}
}

// interruption is what a command ends with whose context a signal ended. What it has to say of
// something half done, or that it was done all the same, says more.
func interruption(ctx context.Context, err error) error {
	var i interrupted
	if err == nil || errors.Is(err, errPartly) || !errors.As(context.Cause(ctx), &i) {
		return err
	}
	return i
}

// stopper watches signals in the place of listen, until done is called.
func (a *app) stopper(parent context.Context, patience time.Duration) *stopper {
	a.stoppers.Add(1)
	s := newStopper(parent, a.signals, patience)
	done := s.done
	s.done = func() {
		a.stoppers.Add(-1)
		done()
	}
	return s
}

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
