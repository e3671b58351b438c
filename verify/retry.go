package verify

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/kinesis-msk-bridge/bridge"
)

// retry calls try until it succeeds, fails for good, or ctx ends.
func retry[T any](ctx context.Context, try func() (T, error)) (T, error) {
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval = 20 * time.Millisecond
	wait.MaxInterval = 5 * time.Second
	for {
		v, err := try()
		if err == nil || !bridge.Retryable(err) || ctx.Err() != nil {
			return v, err
		}
		if err := pause(ctx, wait.NextBackOff()); err != nil {
			return v, err
		}
	}
}

// callPatience is how long one call of a run may take to answer.
const callPatience = time.Minute

// A stallError says that something gave no answer, or only refusals, for too long.
type stallError struct {
	what string
	d    time.Duration
	err  error // the last one
}

func (e *stallError) Error() string {
	return fmt.Sprintf("%s: stalled for %s: %s", e.what, e.d, e.err)
}

func (e *stallError) Unwrap() error { return bridge.ErrRefused }

// errNoAnswer is the cause that ends a call which takes too long.
var errNoAnswer = fmt.Errorf("no answer within %s: %w", callPatience, bridge.ErrTransient)

// ask is retry with an end: one call may take a minute, and all of them together the stall
// time. A continuous run asks again for ever.
func ask[T any](ctx context.Context, v *Verifier, what string, try func(ctx context.Context) (T, error)) (T, error) {
	began := time.Now()
	return retry(ctx, func() (T, error) {
		call, cancel := context.WithTimeoutCause(ctx, min(callPatience, v.Stall), errNoAnswer)
		defer cancel()
		got, err := try(call)
		if err != nil && call.Err() != nil && ctx.Err() == nil {
			err = errNoAnswer
		}
		if err != nil && bridge.Retryable(err) && !v.Continuous && time.Since(began) >= v.Stall {
			err = &stallError{what, v.Stall, err}
		}
		return got, err
	})
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return context.Cause(ctx)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// final reports whether an error ends the run. What concerns one partition alone does
// not: it leaves a range uncovered.
func final(err error) bool {
	if errors.Is(err, bridge.ErrGap) {
		return false
	}
	for _, class := range []error{bridge.ErrChanged, bridge.ErrDenied, bridge.ErrState, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, class) {
			return true
		}
	}
	return false
}

// giveUp ends a run that cannot go on because something gives no answer: what was not judged
// until then stays so.
func (r *run) giveUp(why *stallError) {
	r.mu.Lock()
	r.uncovered(Uncovered{Side: "run", Partition: "*", Class: Unread, Reason: why.Error()})
	r.mu.Unlock()
	r.setPhase(phaseDone)
}
