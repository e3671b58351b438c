package mirror

import (
	"context"
	"fmt"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
)

// DefaultPatience is for how long a start waits for a service.
const DefaultPatience = 2 * time.Minute

// AtStart asks until ask succeeds, fails for good, or has failed for as long as patience
// (DefaultPatience if zero) in a way that may pass: nobody answers, or the service asks for
// less. Between two tries it calls pause, which ends it with an error.
func AtStart[T any](patience time.Duration, pause func(d time.Duration, why error) error, ask func() (T, error)) (T, error) {
	patience = orElse(patience, DefaultPatience)
	wait := NewBackOff()
	var began time.Time
	for {
		v, err := ask()
		if err == nil || !bridge.Retryable(err) {
			return v, err
		}
		if began.IsZero() {
			began = time.Now()
		}
		d := wait.NextBackOff()
		if time.Since(began)+d > patience {
			return v, bridge.WithHint(fmt.Errorf("%w; gave up after %s", err, patience), bridge.Hint(err))
		}
		if err := pause(d, err); err != nil {
			return v, err
		}
	}
}

func atStart[T any](ctx context.Context, r *run, op string, ask func(context.Context) (T, error)) (T, error) {
	return AtStart(r.m.StartPatience, func(d time.Duration, why error) error { return r.pause(ctx, d, op, "", why) },
		func() (T, error) { return ask(ctx) })
}
