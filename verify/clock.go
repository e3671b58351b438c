package verify

import (
	"time"

	"github.com/kinesis-msk-bridge/bridge"
)

// A serviceClock relates a service's clock to this machine's: the same moment by both. Records
// expire by the service's clock, and this machine's may differ from it.
type serviceClock struct{ here, there time.Time }

// note takes the clock of a page.
func (c *serviceClock) note(b *bridge.Batch) {
	if !b.Clock.IsZero() && !b.Asked.IsZero() {
		c.here, c.there = b.Asked.Round(0), b.Clock
	}
}

// at is what the service's clock showed when this machine's showed t. It is t if the service has
// not told its clock.
func (c *serviceClock) at(t time.Time) time.Time {
	if c.there.IsZero() {
		return t
	}
	return c.there.Add(t.Round(0).Sub(c.here))
}

// noteClock takes the clock of a page of one side.
func (r *run) noteClock(side string, b *bridge.Batch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if side == "source" {
		r.sourceClock.note(b)
	} else {
		r.targetClock.note(b)
	}
}

// sourceTime is what the source's clock showed at a moment of this machine's clock.
func (r *run) sourceTime(at time.Time) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sourceClock.at(at)
}

// tipOf is the moment of a page that said that nothing was behind it, for a bridge.Start.
func tipOf(b *bridge.Batch) time.Time {
	if b.Clock.IsZero() {
		return b.Asked
	}
	return b.Clock
}

// later is the later of two moments.
func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
