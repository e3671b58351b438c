package mirror

import (
	"time"

	"github.com/kinesis-msk-bridge/bridge"
)

// A pace tells a flow that is held back on purpose from one that does not get on. The
// tracker's lock guards it.
type pace struct {
	since    time.Time     // when the last page was done, or the flow began
	held     time.Duration // of the time since then, how long the gate held its reads back
	holding  time.Time     // since when it does so now; zero if not
	carrying time.Time     // since when a page is on its way; zero if none is
}

// done begins anew with a page that is done. The next one may be held back by now.
func (p *pace) done(now time.Time) {
	holding := p.holding
	*p = pace{since: now}
	if !holding.IsZero() {
		p.holding = now
	}
}

func (p *pace) heldFor(now time.Time) time.Duration {
	if p.holding.IsZero() {
		return p.held
	}
	return p.held + now.Sub(p.holding)
}

// flows notes that the flow of a partition begins.
func (t *tracker) flows(partition string) {
	t.pace(partition, func(p *pace, now time.Time) { p.since = now })
}

// carries notes that a page of it is on its way to the target.
func (t *tracker) carries(partition string) {
	t.pace(partition, func(p *pace, now time.Time) { p.carrying = now })
}

// holds notes that the gate holds its reads back from now on, or no more.
func (t *tracker) holds(partition string, on bool) {
	t.pace(partition, func(p *pace, now time.Time) {
		p.held, p.holding = p.heldFor(now), time.Time{}
		if on {
			p.holding = now
		}
	})
}

func (t *tracker) pace(partition string, note func(p *pace, now time.Time)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.rows[partition]; s != nil {
		note(&s.pace, time.Now())
	}
}

// left is how many records can be behind a batch; negative if that is not known.
func left(b *bridge.Batch) int64 {
	if b.Behind == 0 || b.Ended {
		return 0
	}
	end, err := b.End.Offset()
	if err != nil {
		return -1
	}
	through, err := b.Through.Offset()
	if err != nil {
		return -1
	}
	return max(end-through, 0)
}

// countedFor is how long a number of records behind is believed. An idle partition is read more
// often than that; behind one that is not read anything may have come.
const countedFor = 15 * time.Second

// leftAt is how many records are behind what is done, negative if that is not known any more.
func (s *rowState) leftAt(now time.Time) int64 {
	if now.Sub(s.counted) > countedFor {
		return -1
	}
	return s.left
}

// unread reports whether there is a partition whose number of records behind is not known any
// more, because no page of it was done for a while.
func (t *tracker) unread() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	for _, s := range t.rows {
		if !s.Ended && now.Sub(s.counted) > countedFor/2 {
			return true
		}
	}
	return false
}

// ending takes where the partitions of the source ended at a time.
func (t *tracker) ending(ends map[string]bridge.Position, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for p, end := range ends {
		if s := t.rows[p]; s != nil {
			s.left, s.counted = left(&bridge.Batch{Behind: -1, End: end, Through: s.Position}), at
		}
	}
}
