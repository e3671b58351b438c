package verify

import (
	"context"
	"errors"
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
