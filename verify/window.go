package verify

import (
	"sort"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
)

const (
	// cellsPerWindow is how many cells a window begins with; a power of two.
	cellsPerWindow = 1024
	// maxCells bounds the cells of all windows, 32 bytes each. Above it the windows with
	// the most cells have theirs folded in half: a cell that differs then costs more
	// reading, and nothing is missed.
	maxCells = 1 << 20
	// maxSpans bounds how many places of windows on target partitions are kept.
	maxSpans = 1 << 19
)

// A span is where the records of one window stand on one target partition: behind After,
// up to Last.
type span struct{ After, Last bridge.Position }

// A window is a run of records of one source partition, behind After up to Through.
type window struct {
	After, First, Through bridge.Position
	Headless              bool      // what stood directly before it is gone
	From, To              time.Time // the records' own times
	Arrived               time.Time // when the first record arrived
	ClosedAt              time.Time // zero while it grows

	Source, Firsts, Dead, Repeats tally
	Dropped                       int64

	// Cells holds source minus first occurrences minus dead letters, by the lower bits of
	// the key's cell. It is nil once the window was judged and let go.
	Cells []tally
	// Suspect has a bit for each of the cells that a window begins with.
	Suspect [cellsPerWindow / 64]uint64
	// Spans is by target partition. Wide says that it is not kept: anywhere.
	Spans map[int]span
	Wide  bool

	Cell    int // how many cells it had
	Drilled int
	Done    bool
	Open    int64 // of its records, not judged
	Found   Findings
	Reason  string
	Verdict Verdict
}

func newWindow(after bridge.Position) *window {
	return &window{After: after, Cells: make([]tally, cellsPerWindow), Spans: map[int]span{}}
}

func (w *window) index(cell int) int { return cell & (len(w.Cells) - 1) }

func (w *window) suspect(cell int) { w.Suspect[cell/64] |= 1 << (cell % 64) }

func (w *window) suspected(cell int) bool { return w.Suspect[cell/64]&(1<<(cell%64)) != 0 }

// bad reports whether a cell must be looked at record by record.
func (w *window) bad(cell int) bool {
	return w.suspected(cell) || !w.Cells[w.index(cell)].isZero()
}

// fold halves the cells.
func (w *window) fold() {
	half := len(w.Cells) / 2
	for i := range half {
		w.Cells[i].merge(w.Cells[half+i])
	}
	w.Cells = append([]tally(nil), w.Cells[:half]...)
}

// extend notes that a record of the window stands on a target partition at last, in a
// page that began behind after.
func (w *window) extend(partition int, after, last bridge.Position) (grew bool) {
	if w.Wide {
		return false
	}
	s, ok := w.Spans[partition]
	if !ok {
		w.Spans[partition] = span{after, last}
		return true
	}
	if s.After.After(after) {
		s.After = after
	}
	if last.After(s.Last) {
		s.Last = last
	}
	w.Spans[partition] = s
	return false
}

// A sourcePart is one source partition with its windows, which touch each other.
type sourcePart struct {
	ID      string
	Index   int // parents before their children
	Parents []string
	Closed  bool

	Windows []*window
	// Through is up to where it was read, Ended that there is no more, Done that the run
	// reads no further.
	Through bridge.Position
	// Tip is when nothing was behind Through, by the service's clock; zero if it is not known.
	Tip   time.Time
	First bridge.Position // of the first record
	// Oldest is what the source still held when reading began behind a time.
	Oldest bridge.Position
	// LastRecord is the last record read in scope.
	LastRecord bridge.Position
	Start      bridge.Position // the scope begins behind it
	Ended      bool
	Done       bool
	Lost       string // why the rest could not be read; empty if it could

	Records, Bytes int64
	Unordered      int64     // records of it whose key has no order to keep
	hash           hashRange // of the keys that Kinesis places there

	ancestors   map[int]bool
	descendants []int
	// headless: what was before the first record may be gone.
	headless bool
	reading  bool
	dry      bool            // it gave nothing more, before its end
	skips    bool            // a gap was met, and nothing behind it yet
	skipped  bridge.Position // the end of the last gap
	pace     pace
	seen     *bitmap
	last     *orderTable
}

// covers reports whether the window of a position is known, if there is one.
func (s *sourcePart) covers(at bridge.Position) bool {
	return s.Done || !at.After(s.Through)
}

// find is the index of the window that holds a position, -1 if none does.
func (s *sourcePart) find(at bridge.Position) int {
	i := sort.Search(len(s.Windows), func(i int) bool { return !at.After(s.Windows[i].Through) })
	if i == len(s.Windows) || !at.After(s.Windows[i].After) {
		return -1
	}
	return i
}

// between marks a cell in all windows from that of one position to that of another.
func (s *sourcePart) between(cell int, from, to bridge.Position) {
	i := sort.Search(len(s.Windows), func(i int) bool { return !from.After(s.Windows[i].Through) })
	for ; i < len(s.Windows) && to.After(s.Windows[i].After); i++ {
		s.Windows[i].suspect(cell)
	}
}

// all marks a cell from a position to the end.
func (s *sourcePart) behind(cell int, from bridge.Position) {
	if n := len(s.Windows); n > 0 {
		s.between(cell, from, s.Windows[n-1].Through)
	}
}
