package verify

import (
	"time"

	"github.com/kinesis-msk-bridge/bridge"
)

// meetGap notes that records of a source partition were removed before they were read. Where
// the gap ends is known with the first page behind it.
func (r *run) meetGap(s *sourcePart, gap *bridge.GapError) {
	r.v.Logger.Warn("the source was trimmed before it was read", "partition", s.ID, "reason", gap.Error())
	r.mu.Lock()
	defer r.mu.Unlock()
	s.skips = true
}

// passGap notes the range of a gap once the first page behind it, or the end of the partition,
// was read. What comes behind it is booked in a window of its own.
func (r *run) passGap(s *sourcePart, b bridge.Batch, l limit) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !s.skips || len(b.Records) == 0 && !b.Through.After(s.Through) && !b.Ended && b.Behind != 0 {
		return
	}
	s.skips = false
	end, any := goneUpTo(s, &b, l)
	if !any {
		return
	}
	r.uncovered(Uncovered{Side: "source", Partition: s.ID, After: s.Through, Through: end, Class: Unverifiable,
		Reason: "records were removed before they were read: retention or deletion has passed the run"})
	s.closeLast()
	if s.skipped = end; !r.v.Content && !end.IsZero() {
		s.Through = end
	}
}

// closeLast closes the window that grows, if there is one. The run's lock is held.
func (s *sourcePart) closeLast() {
	if n := len(s.Windows); n > 0 && s.Windows[n-1].ClosedAt.IsZero() {
		s.Windows[n-1].ClosedAt = time.Now()
	}
}

// goneUpTo is where a gap ends of which b is the first page behind it, and whether it is in scope.
// The end is zero if nothing is there to tell it.
func goneUpTo(s *sourcePart, b *bridge.Batch, l limit) (end bridge.Position, any bool) {
	end = b.Through
	if len(b.Records) > 0 {
		end = preceding(b.Records[0].Position)
	}
	if l.set && end.After(l.at) {
		end = l.at
	}
	if end.After(s.Through) {
		return end, true
	}
	return bridge.Position{}, len(b.Records) == 0 && !(l.set && !l.at.After(s.Through))
}
