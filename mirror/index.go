package mirror

import (
	"maps"
	"slices"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
)

const (
	// indexRecords is how many records of a target partition stand between two entries of
	// the position index at most: what a translation of positions reads of it.
	indexRecords = 1000
	indexAge     = 10 * time.Second
	// mostMarks bounds what is kept while a page is held up and all others go on. What is
	// beyond that is indexed more coarsely.
	mostMarks = 1 << 19
)

// A mark is one record that stands in a target partition.
type mark struct {
	at      bridge.Position // there
	origin  bridge.Position // in its source partition
	landing int             // of its window
}

// A landing is what one page stored in one target partition.
type landing struct {
	source, target string          // partitions
	end            bridge.Position // greatest place
	n              int             // how many records
	marks          []mark          // of them, once the page is done
}

// deal gives each landing its marks, in the order in which they stand there.
func (w *window) deal() {
	all, used := make([]mark, len(w.marks)), 0
	for i := range w.landed {
		l := &w.landed[i]
		l.marks = all[used : used : used+l.n]
		used += l.n
	}
	for _, m := range w.marks {
		l := &w.landed[m.landing]
		l.marks = append(l.marks, m)
	}
	inOrder := func(a, b mark) int { return a.at.Compare(b.at) }
	for i := range w.landed {
		// They mostly stand in the order in which they were acknowledged.
		if marks := w.landed[i].marks; !slices.IsSortedFunc(marks, inOrder) {
			slices.SortFunc(marks, inOrder)
		}
	}
}

// An indexState is on its way to the next entry of one target partition.
type indexState struct {
	below  map[string]bridge.Position // covers all records up to at
	behind []landing                  // of each finished page what stands behind at, in order
	n      int                        // records passed since the last entry
	at     bridge.Position            // of the last record that was passed
	since  time.Time                  // of the last entry
}

// indexOf returns what is known of a target partition. The first record that is passed makes
// an entry, whatever another process left without one.
func (t *tracker) indexOf(target string) *indexState {
	s := t.index[target]
	if s == nil {
		s = &indexState{below: map[string]bridge.Position{}, n: indexRecords - 1, since: time.Now()}
		t.index[target] = s
	}
	return s
}

func (s *indexState) raise(source string, at bridge.Position) {
	if at.After(s.below[source]) {
		s.below[source] = at.Clone()
	}
}

// extendIndex adds entries to the index of each target partition that gained enough. They
// stand at or before the floor: pages that are under way write behind it, so that what
// stands there is known record by record.
func (t *tracker) extendIndex(w *window) {
	w.deal()
	for _, l := range w.landed {
		s := t.indexOf(l.target)
		s.behind = append(s.behind, l)
		t.marks += l.n
	}
	floor := t.floor()
	for p, s := range t.index {
		for {
			l, n := s.next(floor.Partitions[p])
			if n == 0 {
				break
			}
			t.entries = s.pass(l, n, t.entries)
			t.marks -= n
		}
		s.behind = slices.DeleteFunc(s.behind, func(l landing) bool { return len(l.marks) == 0 })
		t.entries = s.age(p, t.entries)
	}
	if t.marks > mostMarks {
		for _, s := range t.index {
			s.coarsen()
		}
		t.marks = 0
	}
}

// next is the landing whose first mark is the next one on the way to the floor, and how many
// of its marks stand there before one of another does; 0 at the floor.
func (s *indexState) next(floor bridge.Position) (first *landing, n int) {
	until := floor
	for i := range s.behind {
		l := &s.behind[i]
		if len(l.marks) == 0 || l.marks[0].at.After(until) {
			continue
		}
		if at := l.marks[0].at; first != nil && at.After(first.marks[0].at) {
			until = at
			continue
		}
		if first != nil {
			until = first.marks[0].at
		}
		first = l
	}
	if first == nil {
		return nil, 0
	}
	if n = slices.IndexFunc(first.marks, func(m mark) bool { return m.at.After(until) }); n < 0 {
		n = len(first.marks)
	}
	return first, n
}

// pass goes past the first n records of a landing and appends the entries that are due: at
// the last of several that stand at one place.
func (s *indexState) pass(l *landing, n int, out []bridge.IndexEntry) []bridge.IndexEntry {
	below := s.below[l.source]
	for _, m := range l.marks[:n] {
		if s.n >= indexRecords && m.at.After(s.at) {
			s.raise(l.source, below)
			out = s.enter(l.target, out)
		}
		if m.origin.After(below) {
			below = m.origin
		}
		s.at = m.at
		s.n++
	}
	s.raise(l.source, below)
	l.marks = l.marks[n:]
	return out
}

// age appends the entry that is due at the last record that was passed.
func (s *indexState) age(target string, out []bridge.IndexEntry) []bridge.IndexEntry {
	known := !s.at.IsZero()
	if known && (s.n >= indexRecords || s.n > 0 && time.Since(s.since) >= indexAge) {
		out = s.enter(target, out)
	}
	return out
}

func (s *indexState) enter(target string, out []bridge.IndexEntry) []bridge.IndexEntry {
	s.n, s.since = 0, time.Now()
	return append(out, bridge.IndexEntry{Partition: target, Position: s.at.Clone(), Below: maps.Clone(s.below)})
}

// coarsen forgets the records that were not passed: each may stand at any place from now on.
func (s *indexState) coarsen() {
	for _, l := range s.behind {
		for _, m := range l.marks {
			s.raise(l.source, m.origin)
		}
	}
	s.behind = nil
}
