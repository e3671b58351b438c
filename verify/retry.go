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

// ask is retry with an end: one call may take a minute, and all of them together the stall
// time. A continuous run asks again for ever.
func ask[T any](ctx context.Context, v *Verifier, what string, try func(ctx context.Context) (T, error)) (T, error) {
	stall := v.Stall
	if v.Continuous {
		stall = 0
	}
	return askFor(ctx, stall, what, try)
}

// askFor is ask with another stall time; 0 asks for ever.
func askFor[T any](ctx context.Context, stall time.Duration, what string, try func(ctx context.Context) (T, error)) (T, error) {
	began, patience := time.Now(), callPatience
	if stall > 0 {
		patience = min(patience, stall)
	}
	return retry(ctx, func() (T, error) {
		call, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		got, err := try(call)
		if err != nil && call.Err() != nil && ctx.Err() == nil {
			err = fmt.Errorf("no answer within %s: %w", patience, bridge.ErrTransient)
		}
		if err != nil && bridge.Retryable(err) && stall > 0 && time.Since(began) >= stall {
			err = &stallError{what, stall, err}
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
