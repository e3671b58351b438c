package bridge

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// A Watch notices that the process stood still (stopped, paused, starved) for longer
// than a session lasts, after which another worker may own its task. Every adapter asks
// it before it writes. The clock is the monotonic one. A nil *Watch is always alive.
type Watch struct {
	limit time.Duration
	start time.Time
	beat  atomic.Int64 // since start, of the last time that somebody looked
	dead  atomic.Int64 // how long the process stood still, once that was too long
}

// NewWatch returns a Watch for sessions of the given length, which must be positive.
func NewWatch(limit time.Duration) *Watch {
	return &Watch{limit: limit, start: time.Now()}
}

// Alive returns an error that wraps ErrFenced once more than the limit has passed
// between two looks, and from then on always.
func (w *Watch) Alive() error {
	if w == nil {
		return nil
	}
	now := int64(time.Since(w.start))
	for {
		last := w.beat.Load()
		if now <= last {
			break
		}
		if time.Duration(now-last) > w.limit {
			w.dead.CompareAndSwap(0, now-last)
			break
		}
		if w.beat.CompareAndSwap(last, now) {
			break
		}
	}
	if d := w.dead.Load(); d > 0 {
		return fmt.Errorf("stood still for %s, longer than the session of %s: %w",
			time.Duration(d).Round(time.Millisecond), w.limit, ErrFenced)
	}
	return nil
}

// Run looks four times per session until ctx ends, so that a busy moment without writes
// is not taken for a stop. It returns the error of Alive as soon as there is one.
func (w *Watch) Run(ctx context.Context) error {
	t := time.NewTicker(w.limit / 4)
	defer t.Stop()
	for {
		if err := w.Alive(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}
