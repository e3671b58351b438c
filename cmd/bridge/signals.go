package main

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"
)

// A relay gives signals to the command that asks for them. Until one does, a signal ends
// the context of the command: nothing is under way that would have to be finished.
type relay struct {
	mu    sync.Mutex
	taker chan os.Signal // nil until a command takes the signals
	end   context.CancelCauseFunc
}

// interruptible returns a context that a signal ends, until takeSignals is called.
func (a *app) interruptible(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, end := context.WithCancelCause(ctx)
	a.relay = &relay{end: end}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case sig := <-a.signals:
				a.relay.give(sig)
			case <-stop:
				return
			}
		}
	}()
	return ctx, func() {
		close(stop)
		<-stopped
		end(context.Canceled)
	}
}

func (r *relay) give(sig os.Signal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.taker == nil {
		r.end(interrupted{sig})
		return
	}
	select {
	case r.taker <- sig:
	default: // the command has more than it can use
	}
}

// takeSignals gives all further signals to the caller.
func (a *app) takeSignals() <-chan os.Signal {
	if a.relay == nil {
		return a.signals
	}
	a.relay.mu.Lock()
	defer a.relay.mu.Unlock()
	if a.relay.taker == nil {
		a.relay.taker = make(chan os.Signal, 2)
	}
	return a.relay.taker
}

// interruption is err, or the signal that ended the command if err says no more than that.
func interruption(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	if errors.As(cause, new(interrupted)) && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
		return cause
	}
	return err
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
