package verify

import (
	"time"

	"github.com/kinesis-msk-bridge/bridge"
)

// noteClock takes the clock of a page of the source.
func (r *run) noteClock(b *bridge.Batch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clock.Note(b.Asked, b.Clock)
}

// sourceTime is what the source's clock showed at a moment of this machine's clock, by which
// records expire. It is that moment if the source does not tell its clock.
func (r *run) sourceTime(at time.Time) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	at, _ = r.clock.At(at)
	return at
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
