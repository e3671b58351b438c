// Package clock translates between this machine's clock and a service's.
//
// Records arrive and expire by the clock of the service that keeps them, and this machine's
// clock may differ from it by any amount. A Clock holds one moment by both clocks. It promises no
// more than the service's answers tell: those of Kinesis are dated to the second.
package clock

import "time"

// A Clock is one moment by this machine's clock and by a service's. The zero Clock knows nothing
// of the service. It is not safe for concurrent use.
type Clock struct{ here, there time.Time }

// Note takes the moment of an answer: here by this machine's clock, there by the service's. It
// does nothing if one of them is zero.
func (c *Clock) Note(here, there time.Time) {
	if !here.IsZero() && !there.IsZero() {
		c.here, c.there = here.Round(0), there
	}
}

// At returns what the service's clock showed when this machine's showed t, and whether that is
// known. If it is not, it returns t.
func (c *Clock) At(t time.Time) (at time.Time, known bool) {
	if c.there.IsZero() {
		return t, false
	}
	return c.there.Add(t.Round(0).Sub(c.here)), true
}
