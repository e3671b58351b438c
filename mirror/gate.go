package mirror

import (
	"context"
	"sync"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
)

// Limits bound the intake of a mirror. The zero Limits bound nothing.
type Limits struct {
	// Paused stops the intake: what was read already is still brought to the target, and
	// what a read brings that was under way then waits.
	Paused bool
	// RecordsPerSecond and BytesPerSecond bound all partitions together; 0 is no bound.
	RecordsPerSecond, BytesPerSecond int64
}

// A Gate holds the intake of a mirror back: it is asked before each read. Checkpoints,
// heartbeats and the session with the target go on meanwhile. How large a page is shows
// only when it was read, so a bound holds over time and not for each second: after a page
// the intake waits for as long as the bound gives that page.
//
// A Gate is safe for concurrent use and may be shared by mirrors that follow each other.
// The zero Gate, and a nil one, holds nothing back.
type Gate struct {
	mu      sync.Mutex
	limits  Limits
	due     time.Time     // the intake may go on from here
	changed chan struct{} // closed by Set
}

// Set replaces the limits and forgets what waiting the old ones had led to.
func (g *Gate) Set(l Limits) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if l == g.limits {
		return
	}
	g.limits, g.due = l, time.Time{}
	if g.changed != nil {
		close(g.changed)
		g.changed = nil
	}
}

// Limits returns what was set last.
func (g *Gate) Limits() Limits {
	if g == nil {
		return Limits{}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.limits
}

// look returns how long to wait, negative if only for a change, and what tells of one.
func (g *Gate) look() (time.Duration, <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.changed == nil {
		g.changed = make(chan struct{})
	}
	if g.limits.Paused {
		return -1, g.changed
	}
	return max(time.Until(g.due), 0), g.changed
}

// pass waits until the next page may be read, or ctx ends.
func (g *Gate) pass(ctx context.Context) error {
	if g == nil {
		return nil
	}
	for {
		wait, changed := g.look()
		if wait == 0 {
			return ctx.Err()
		}
		if err := await(ctx, wait, changed); err != nil {
			return err
		}
	}
}

// hold waits while the gate is paused: a read that was asked for before can return long
// after.
func (g *Gate) hold(ctx context.Context) error {
	if g == nil {
		return nil
	}
	for {
		wait, changed := g.look()
		if wait >= 0 {
			return nil
		}
		if err := await(ctx, wait, changed); err != nil {
			return err
		}
	}
}

// await waits for a time, or for ever if it is negative, or for a change.
func await(ctx context.Context, d time.Duration, changed <-chan struct{}) error {
	var late <-chan time.Time
	if d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		late = t.C
	}
	select {
	case <-late:
	case <-changed:
	case <-ctx.Done():
	}
	return ctx.Err()
}

// took notes what was read.
func (g *Gate) took(recs []bridge.Record) {
	if g == nil || len(recs) == 0 {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	var cost time.Duration
	if n := g.limits.RecordsPerSecond; n > 0 {
		cost = share(int64(len(recs)), n)
	}
	if n := g.limits.BytesPerSecond; n > 0 {
		var bytes int64
		for i := range recs {
			bytes += int64(recs[i].Size())
		}
		cost = max(cost, share(bytes, n))
	}
	if cost == 0 {
		return
	}
	if now := time.Now(); g.due.Before(now) {
		g.due = now
	}
	g.due = g.due.Add(cost)
}

// share is how long n takes at a rate.
func share(n, perSecond int64) time.Duration {
	return time.Duration(float64(n) / float64(perSecond) * float64(time.Second))
}
