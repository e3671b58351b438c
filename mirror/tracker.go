package mirror

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/internal/clock"
)

// A tracker knows what is done and what is under way. Everything that goes into one
// checkpoint is read under its lock, so that rows, floor and counts belong together.
type tracker struct {
	mu      sync.Mutex
	rows    map[string]*rowState
	counts  bridge.Counts
	ends    map[string]bridge.Position // last acknowledged place of each target partition
	log     bridge.Position            // last place that the ledger acknowledged
	began   time.Time                  // when the floor was noted that the run began with
	letters map[string]bridge.Position // last acknowledged place of dead letters
	open    []*window                  // in the order in which they began
	index   map[string]*indexState     // by target partition
	entries []bridge.IndexEntry
	marks   int                 // of index, not passed
	passing map[string]*passing // by source partition
	dirty   bool
	clock   clock.Clock // of the source, by the last page that is done
}

type rowState struct {
	bridge.Row
	moved   bool          // since the last checkpoint
	durable bool          // the end is in a saved checkpoint
	lag     time.Duration // behind the newest record; negative if not known
	left    int64         // records behind what is done; negative if not known
	counted time.Time     // when left was true
	asked   time.Time     // for the last page that is done
	began   time.Time     // when the source was asked where the workflow begins
	pace    pace
}

// A window is one page on its way. It remembers what was acknowledged when it began:
// whatever it writes stands behind that, so as long as it is open a restart must look
// from there.
type window struct {
	floor bridge.Floor
	log   bridge.Position // of the ledger when it began, then of its own acks
	began bridge.Position // log when it began
	// landed is what was stored in each target partition, place its index by partition, and
	// marks the records in the order of their acknowledgements.
	landed []landing
	place  map[string]int
	marks  []mark
	// letters are the ends of where its dead letters went; nil if it has none.
	letters map[string]bridge.Position
}

func newTracker(cp bridge.Checkpoint, found presence) *tracker {
	t := &tracker{
		rows:    map[string]*rowState{},
		counts:  cp.Counts,
		ends:    map[string]bridge.Position{},
		log:     cp.Floor.Log,
		began:   cp.Floor.At,
		letters: maps.Clone(cp.Floor.DeadLetters),
		index:   map[string]*indexState{},
		passing: map[string]*passing{},
		dirty:   true,
	}
	for _, row := range cp.Rows {
		t.rows[row.Partition] = &rowState{Row: row, durable: row.Ended, lag: -1, left: -1}
	}
	for p, at := range cp.Floor.Partitions {
		t.ends[p] = at
	}
	// Everything that the checkpoint covers can stand in any target partition.
	for _, row := range cp.Rows {
		for p := range t.ends {
			t.indexOf(p).raise(row.Partition, row.Position)
		}
	}
	// What the scan found is on the target, but not done until its flow has come past it.
	// Until then the floor stays where it is: a window that is open from the start.
	for l, there := range found.lanes {
		for p := range there.where {
			t.indexOf(p).raise(l.source, there.last)
		}
	}
	t.await(found)
	return t
}

// await keeps the floor where it is until each flow has come past what was found of it.
func (t *tracker) await(found presence) {
	for l, there := range found.lanes {
		if s := t.rows[l.source]; s != nil && (s.Ended || !there.last.After(s.Position)) {
			continue
		}
		w := t.passing[l.source]
		if w == nil {
			w = &passing{window: t.begin()}
			w.window.floor.At = t.began // what was found was written before now
			t.passing[l.source] = w
		}
		if there.last.After(w.until) {
			w.until = there.last
		}
	}
}

// A passing is the window of a flow that has not yet come past what the scan found.
type passing struct {
	window *window
	until  bridge.Position
}

// expect takes the partitions that there are: what was found of others no flow will pass.
func (t *tracker) expect(parts []bridge.Partition) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for name, p := range t.passing {
		if !slices.ContainsFunc(parts, func(l bridge.Partition) bool { return l.ID == name }) {
			t.close(p.window)
			delete(t.passing, name)
		}
	}
}

// know gives each partition a row, so that a restart can tell one that was there from one
// that came and went while nobody looked. A shard that others were closed for held nothing
// when the listing of the given time was made, which lacked it, unless it has children already:
// then it is older.
func (t *tracker) know(parts []bridge.Partition, since time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	hasChild := map[string]bool{}
	for _, s := range t.rows {
		for _, p := range s.Parents {
			hasChild[p] = true
		}
	}
	for _, p := range parts {
		if t.rows[p.ID] == nil {
			s := &rowState{Row: bridge.Row{Partition: p.ID, Parents: p.Parents}, moved: true, lag: -1, left: -1}
			if len(p.Parents) > 0 && !hasChild[p.ID] {
				s.Tip = since
			}
			t.rows[p.ID], t.dirty = s, true
		}
	}
}

// unknown are the partitions of which it is not known where the workflow begins.
func (t *tracker) unknown() (ids []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, s := range t.rows {
		if s.Position.IsZero() && s.First.IsZero() && s.Tip.IsZero() && !s.Ended {
			ids = append(ids, id)
		}
	}
	return ids
}

// begins notes where the workflow begins in a partition.
func (t *tracker) begins(id string, first bridge.Position, tip time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.rows[id]
	s.First, s.Tip, s.moved, t.dirty = first.Clone(), tip, true, true
	s.began = time.Now()
}

// beginFor is for how long what was said to be the beginning of a partition may move.
const beginFor = time.Minute

// beganNow reports whether the source was asked a moment ago where the workflow begins.
func (t *tracker) beganNow(id string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.rows[id]
	return s != nil && s.Position.IsZero() && time.Since(s.began) < beginFor
}

// row returns what is known of a partition, and whether it is known at all.
func (t *tracker) row(partition string) (row bridge.Row, known bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.rows[partition]; s != nil {
		return s.Row, true
	}
	return bridge.Row{}, false
}

// over reports whether the end of the partition is in a saved checkpoint.
func (t *tracker) over(partition string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.rows[partition]
	return s != nil && s.durable
}

// begin opens the window of a page that is about to be written.
func (t *tracker) begin() *window {
	t.mu.Lock()
	defer t.mu.Unlock()
	w := &window{
		floor: t.now(),
		log:   t.log,
		began: t.log,
		place: map[string]int{},
	}
	// Pages under way now may still store records behind these ends, whose intents the
	// ledger took before: look from where the oldest of them began.
	if len(t.open) > 0 {
		w.floor.Log = t.open[0].began
	}
	t.open = append(t.open, w)
	return w
}

// now is the floor if nothing is under way.
func (t *tracker) now() bridge.Floor {
	return bridge.Floor{Partitions: maps.Clone(t.ends), Log: t.log, DeadLetters: maps.Clone(t.letters), At: time.Now()}
}

// reached takes where the target ended a moment ago. What pages that begin from now on
// write stands behind that; those that are open keep the floor that they began with.
func (t *tracker) reached(ends map[string]bridge.Position) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for p, at := range ends {
		if at.After(t.ends[p]) {
			t.ends[p] = at
		}
	}
}

// floor is where a restart must look from: what the oldest open page saw when it began.
func (t *tracker) floor() bridge.Floor {
	if len(t.open) > 0 {
		return t.open[0].floor
	}
	return t.now()
}

// acked notes that one record of the page, which is of that source partition, stands on the
// target. The page's flow calls it.
func (w *window) acked(a bridge.Ack, partition string, origin bridge.Position) {
	i, known := w.place[a.Partition]
	if !known {
		i = len(w.landed)
		w.place[a.Partition] = i
		w.landed = append(w.landed, landing{source: partition, target: a.Partition})
	}
	l := &w.landed[i]
	l.n++
	if a.Position.After(l.end) {
		l.end = a.Position
	}
	if a.Log.After(w.log) {
		w.log = a.Log
	}
	w.marks = append(w.marks, mark{a.Position, origin, i})
}

// buried notes that one record of the page is durable as a dead letter.
func (w *window) buried(a bridge.Ack) {
	if w.letters == nil {
		w.letters = map[string]bridge.Position{}
	}
	if a.Position.After(w.letters[a.Partition]) {
		w.letters[a.Partition] = a.Position
	}
}

// done closes the window of a page all of whose records are accounted for.
func (t *tracker) done(partition string, w *window, b bridge.Batch, c bridge.Counts) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.rows[partition]
	if b.Through.After(s.Position) {
		s.Position, s.Batch, s.moved, t.dirty = b.Through.Clone(), b.Last, true, true
		s.First = bridge.Position{}
	}
	if b.Ended {
		s.Ended, s.moved, t.dirty = true, true, true
	}
	t.clock.Note(b.Asked, b.Clock)
	if b.Behind == 0 {
		s.atTip(&b)
		t.dirty = t.dirty || s.moved
	}
	s.lag, s.left, s.asked, s.counted = b.Behind, left(&b), b.Asked, b.Asked
	s.pace.done(time.Now())
	t.counts.Add(c)
	t.close(w)
	for _, l := range w.landed {
		if l.end.After(t.ends[l.target]) {
			t.ends[l.target] = l.end
		}
	}
	if w.log.After(t.log) {
		t.log = w.log
	}
	t.bury(w.letters)
	if p := t.passing[partition]; p != nil && (b.Ended || !p.until.After(s.Position)) {
		t.close(p.window)
		delete(t.passing, partition)
	}
	t.extendIndex(w)
}

// sourceTime is what the source's clock showed when this machine's showed at, and whether that is
// known. Records expire by the one, and the other may differ from it.
func (t *tracker) sourceTime(at time.Time) (time.Time, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.clock.At(at)
}

// atTip notes when the partition was seen to hold nothing behind its position, by the clock that
// its records expire by if the source said it. The first such time is saved at once.
func (s *rowState) atTip(b *bridge.Batch) {
	s.moved = s.moved || s.Tip.IsZero()
	if s.Tip = b.Clock; s.Tip.IsZero() {
		s.Tip = b.Asked
	}
}

// bury raises the ends of where dead letters go. The lock is held.
func (t *tracker) bury(letters map[string]bridge.Position) {
	if t.letters == nil {
		t.letters = letters
		return
	}
	for p, at := range letters {
		if at.After(t.letters[p]) {
			t.letters[p] = at
		}
	}
}

func (t *tracker) close(w *window) {
	t.open = slices.DeleteFunc(t.open, func(o *window) bool { return o == w })
}

// cut takes what goes into the next checkpoint. With all it holds every row, else those
// that moved. It is Clean if nothing is open. The returned function puts it back if it
// could not be saved.
func (t *tracker) cut(all bool) (cp bridge.Checkpoint, restore func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var taken []*rowState
	for _, name := range slices.Sorted(maps.Keys(t.rows)) {
		if s := t.rows[name]; s.moved || all {
			cp.Rows = append(cp.Rows, s.Row)
			taken = append(taken, s)
			s.moved = false
		}
	}
	cp.Floor, cp.Clean = t.floor(), len(t.open) == 0
	cp.Counts = t.counts
	cp.Index, t.entries = t.entries, nil
	t.dirty = false
	return cp, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		for _, s := range taken {
			s.moved = true
		}
		t.entries = append(cp.Index, t.entries...)
		t.dirty = true
	}
}

// saved notes which ends are durable now and returns them.
func (t *tracker) saved(cp bridge.Checkpoint) (ended []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, row := range cp.Rows {
		if s := t.rows[row.Partition]; s != nil && row.Ended && !s.durable {
			s.durable = true
			ended = append(ended, row.Partition)
		}
	}
	for _, p := range cp.Forget {
		delete(t.rows, p)
		for _, s := range t.index {
			delete(s.below, p)
		}
	}
	return ended
}

func (t *tracker) isDirty() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.dirty
}

// allRows returns every row, in the order of their names.
func (t *tracker) allRows() []bridge.Row {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []bridge.Row
	for _, name := range slices.Sorted(maps.Keys(t.rows)) {
		out = append(out, t.rows[name].Row)
	}
	return out
}

func (t *tracker) rewound(n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts.Rewind += n
	t.dirty = true
}
