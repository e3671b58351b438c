package mirror

import (
	"maps"
	"slices"
	"strings"
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

// A mark is one record that stands on the target.
type mark struct {
	target string          // partition
	at     bridge.Position // there
	source string          // partition
	origin bridge.Position // there
}

// inOrder sorts by where records stand.
func inOrder(a, b mark) int {
	if a.target != b.target {
		return strings.Compare(a.target, b.target)
	}
	return a.at.Compare(b.at)
}

// An indexState is on its way to the next entry of one target partition.
type indexState struct {
	below  map[string]bridge.Position // covers all records up to at
	behind [][]mark                   // of each finished page what stands behind at, in order
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
		s.below[source] = at
	}
}

// extendIndex adds entries to the index of each target partition that gained enough. They
// stand at or before the floor: pages that are under way write behind it, so that what
// stands there is known record by record.
func (t *tracker) extendIndex(partition string, w *window) {
	for i := range w.marks {
		w.marks[i].source = partition
	}
	slices.SortFunc(w.marks, inOrder)
	for marks := w.marks; len(marks) > 0; {
		n := slices.IndexFunc(marks, func(m mark) bool { return m.target != marks[0].target })
		if n < 0 {
			n = len(marks)
		}
		s := t.indexOf(marks[0].target)
		s.behind = append(s.behind, marks[:n])
		t.marks += n
		marks = marks[n:]
	}
	floor := t.floor()
	for p, s := range t.index {
		t.passed = s.reached(floor.Partitions[p], t.passed[:0])
		t.marks -= len(t.passed)
		t.entries = s.pass(p, t.passed, t.entries)
	}
	if t.marks > mostMarks {
		for _, s := range t.index {
			s.coarsen()
		}
		t.marks = 0
	}
}

// reached takes out what stands up to the floor, in the order in which it stands there, and
// appends it.
func (s *indexState) reached(floor bridge.Position, out []mark) []mark {
	for i, marks := range s.behind {
		n, _ := slices.BinarySearchFunc(marks, floor, func(m mark, floor bridge.Position) int {
			if m.at.After(floor) {
				return 1
			}
			return -1
		})
		out = append(out, marks[:n]...)
		s.behind[i] = marks[n:]
	}
	s.behind = slices.DeleteFunc(s.behind, func(marks []mark) bool { return len(marks) == 0 })
	slices.SortFunc(out, inOrder)
	return out
}

// pass goes past records and appends the entries that are due: at the last of several that
// stand at one place.
func (s *indexState) pass(target string, marks []mark, out []bridge.IndexEntry) []bridge.IndexEntry {
	for _, m := range marks {
		if s.n >= indexRecords && m.at.After(s.at) {
			out = s.enter(target, out)
		}
		s.raise(m.source, m.origin)
		s.at = m.at
		s.n++
	}
	known := !s.at.IsZero()
	if known && (s.n >= indexRecords || s.n > 0 && time.Since(s.since) >= indexAge) {
		out = s.enter(target, out)
	}
	return out
}

func (s *indexState) enter(target string, out []bridge.IndexEntry) []bridge.IndexEntry {
	s.n, s.since = 0, time.Now()
	return append(out, bridge.IndexEntry{Partition: target, Position: s.at, Below: maps.Clone(s.below)})
}

// coarsen forgets the records that were not passed: each may stand at any place from now on.
func (s *indexState) coarsen() {
	for _, marks := range s.behind {
		for _, m := range marks {
			s.raise(m.source, m.origin)
		}
	}
	s.behind = nil
}
