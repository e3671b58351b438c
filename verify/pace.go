package verify

import (
	"fmt"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
)

const (
	// leastBehind is more than lies between two reads of a partition that holds nothing new.
	leastBehind = 5 * time.Second
	// stalledAfter is how long a partition may give nothing before it is named.
	stalledAfter = time.Minute
)

// A pace is how this process gets on with reading one partition. The run's lock guards it.
type pace struct {
	tip    time.Time     // when it was last read to its end, or as good as
	behind time.Duration // what its last page said; 1 ms if there is more and it did not say
	since  time.Time     // when the read at work began; zero if there is none
	// idle is for how long reads have brought nothing although there is more.
	idle    time.Duration
	through bridge.Position
	end     bridge.Position         // where reading ends, zero if that is not known
	open    *bridge.OpenTransaction // that keeps the rest from being read
	told    bool                    // that it is stalled

	bytes, records int64
	first, last    time.Time // of the records
}

// begins notes that a read begins.
func (r *run) begins(p *pace) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p.since = time.Now()
}

// ended notes what a read has brought. It is an error if there should have been more for too
// long: a service that answers and gives nothing holds a run up as well as one that fails.
func (r *run) ended(p *pace, b bridge.Batch, err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	spent := now.Sub(p.since)
	p.since = time.Time{}
	if err != nil {
		p.idle += spent
		return err
	}
	if p.behind = b.Behind; b.Behind < 0 {
		p.behind = time.Millisecond
	}
	ahead := p.end.After(b.Through)
	moved := len(b.Records) > 0 || b.Through.After(p.through) || b.Ended || b.Behind == 0 && !ahead
	p.through, p.open = b.Through, b.Open
	if b.Behind >= 0 && b.Behind <= max(r.v.Settle, leastBehind) {
		p.tip = now
	}
	for i := range b.Records {
		p.bytes += int64(b.Records[i].Size())
	}
	if n := len(b.Records); n > 0 {
		if p.records += int64(n); p.first.IsZero() {
			p.first = arrival(&b.Records[0])
		}
		p.last = arrival(&b.Records[n-1])
	}
	if moved {
		p.idle = 0
		return nil
	}
	p.idle += spent
	if b.Open != nil && p.idle >= r.v.Settle && !r.v.Continuous {
		return openError(b.Open)
	}
	if p.idle > r.v.Stall && !r.v.Continuous {
		return fmt.Errorf("stalled for %s: it gives nothing, and its end is ahead: %w", r.v.Stall, bridge.ErrRefused)
	}
	return nil
}

// late reports whether the partition was not read to its end for a while.
func (p *pace) late(most time.Duration) bool { return time.Since(p.tip) > most }

// stalled is for how long the partition has given nothing, if that is worth a word.
func (p *pace) stalled(now time.Time) (time.Duration, bool) {
	idle := p.idle
	if !p.since.IsZero() {
		idle += now.Sub(p.since)
	}
	return idle, idle > stalledAfter
}

// offsets is how many offsets are left, if the end is known as one.
func (p *pace) offsets() (int64, bool) {
	end, err1 := p.end.Offset()
	at, err2 := p.through.Offset()
	return max(end-at, 0), err1 == nil && err2 == nil && !p.end.IsZero() && len(p.end.Seq) < 20
}

// left is how many bytes are still to be read, as far as they were like those before: by
// offsets where there are any, else by time.
func (p *pace) left() (int64, bool) {
	if p.records == 0 {
		return 0, !p.tip.IsZero() && p.behind == 0 && p.end.IsZero()
	}
	if n, ok := p.offsets(); ok {
		return n * p.bytes / p.records, true
	}
	if p.behind == 0 {
		return 0, true
	}
	span := p.last.Sub(p.first)
	if span <= 0 {
		return 0, false
	}
	return int64(float64(p.bytes) * p.behind.Seconds() / span.Seconds()), true
}

// A side adds up the paces of its partitions.
type side struct {
	bytes, left  int64
	parts, known int64
	byTime       bool // what is left is guessed by time
}

func (s *side) add(p *pace, done bool) {
	s.bytes += p.bytes
	s.parts++
	if _, ok := p.offsets(); !ok && !done {
		s.byTime = true
	}
	if done {
		s.known++
		return
	}
	if left, ok := p.left(); ok {
		s.left += left
		s.known++
	}
}

// like guesses what is left by another side that knows its own, and holds the same records.
func (s *side) like(got int64, other *side, otherGot int64) {
	if s.byTime && !other.byTime && other.known == other.parts {
		s.left, s.known = max(otherGot+other.left-got, 0), s.parts
	}
}

// eta is how long the rest takes at the rate so far; zero if nobody can tell. Partitions of
// which nothing is known yet count as the mean of the others.
func (s *side) eta(elapsed time.Duration) (left int64, d time.Duration) {
	if s.known == 0 || s.bytes == 0 {
		return -1, 0
	}
	unknown := s.parts - s.known
	left = s.left + unknown*(s.bytes+s.left)/s.known
	return left, time.Duration(float64(elapsed) * float64(left) / float64(s.bytes))
}
