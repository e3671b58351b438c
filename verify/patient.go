package verify

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
)

// errSilent is the end of a reading that gave no answer.
var errSilent = errors.New("no answer")

// patient is an iterator that ends with an error if the next value does not come within the
// stall time. How long the caller takes between two values does not count. A continuous run can
// try again.
func patient[T any](ctx context.Context, v *Verifier, what string, read func(context.Context) iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		call, cancel := context.WithCancel(ctx)
		defer cancel()
		watch := time.AfterFunc(v.Stall, cancel)
		defer watch.Stop()
		silent := func() error {
			v.Logger.Warn("no answer", "side", what, "after", v.Stall.String())
			if v.Continuous {
				return errors.Join(errSilent, bridge.ErrTransient)
			}
			return &stallError{what, v.Stall, errSilent}
		}
		for x, err := range read(call) {
			watch.Stop()
			if err != nil && call.Err() != nil && ctx.Err() == nil {
				err = silent()
			}
			if !yield(x, err) || err != nil {
				return
			}
			watch.Reset(v.Stall)
		}
		if call.Err() != nil && ctx.Err() == nil {
			var none T
			yield(none, silent())
		}
	}
}

// each calls fn for all that a reading yields, and reads again if that fails for now: as long as
// fn reports, at least once a stall time, that it got further.
func each[T any](ctx context.Context, v *Verifier, what string, read func(context.Context) iter.Seq2[T, error], fn func(T, error) (further bool, err error)) error {
	moved := time.Now()
	_, err := retry(ctx, func() (struct{}, error) {
		for x, err := range patient(ctx, v, what, read) {
			further, err := fn(x, err)
			if further {
				moved = time.Now()
			}
			if err != nil {
				return struct{}{}, v.stalled(what, moved, err)
			}
		}
		return struct{}{}, nil
	})
	return err
}

// stalled is an error of a reading, final if it did not get further for the stall time.
func (v *Verifier) stalled(what string, moved time.Time, err error) error {
	if bridge.Retryable(err) && !v.Continuous && time.Since(moved) >= v.Stall {
		return &stallError{what, v.Stall, err}
	}
	return err
}
