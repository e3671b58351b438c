package positions_test

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/positions"
)

// A fact is one source record, and what became of it.
type fact struct {
	pos      bridge.Position
	subs     int // user records in its aggregate
	key      int
	at       time.Time
	dead     bool
	consumed bool
	stands   int // how often on the target
}

// A shard is a source partition.
type shard struct {
	bridge.Partition
	facts   []*fact
	read    int // facts that the mirror's flow has taken
	carried int // facts before this are done
	ended   bool
	page    []*fact
	window  *window
}

// A window is a page under way, as the mirror keeps it.
type window struct {
	floor map[string]bridge.Position
	ends  map[string]bridge.Position
	last  map[string]bridge.Position
	n     map[string]int
}

// A stand is one place of a target partition; r is nil if what stands there is not the
// mirror's.
type stand struct {
	at bridge.Position
	s  *shard
	r  *fact
}

type lane struct {
	id      string
	stood   []stand
	from    int // what stands before this was removed
	stable  int // what stands before this is decided
	next    int64
	sub     uint32
	removed bridge.Position
	closed  bool
}

// A world is a source, a mirror that was stopped at some moment, and a target.
type world struct {
	rng    *rand.Rand
	kafka  bool // the target is; the source is the other
	shards []*shard
	lanes  []*lane
	keys   []int // lane of each key
	index  []bridge.IndexEntry
	rows   []bridge.Row
	dead   []bridge.Coordinate
	ends   map[string]bridge.Position
	open   []*window
	below  map[string]map[string]bridge.Position
	since  map[string]int
	saved  map[*shard]int
	long   bool
	every  int
	// What the case holds, for the shares that are printed: a position inside an aggregate,
	// a shard without a lease, an offset that holds nothing.
	inside, missing, holes bool
}

func (w *world) chance(p float64) bool { return w.rng.Float64() < p }

func newWorld(seed uint64, kafka bool) *world {
	w := &world{
		rng: rand.New(rand.NewPCG(seed, 77)), kafka: kafka, ends: map[string]bridge.Position{},
		below: map[string]map[string]bridge.Position{}, since: map[string]int{}, saved: map[*shard]int{},
	}
	w.long, w.every = w.chance(0.5), 1+w.rng.IntN(6)
	for i := range 1 + w.rng.IntN(4) {
		w.lanes = append(w.lanes, &lane{id: w.laneID(i)})
	}
	for range 6 {
		w.keys = append(w.keys, w.rng.IntN(len(w.lanes)))
	}
	if kafka {
		w.plant()
	} else {
		for i := range 1 + w.rng.IntN(4) {
			w.shards = append(w.shards, &shard{Partition: bridge.Partition{ID: strconv.Itoa(i)}})
		}
	}
	for _, s := range w.shards {
		w.fill(s)
	}
	w.mirror()
	w.trim()
	return w
}

func (w *world) laneID(i int) string {
	if w.kafka {
		return strconv.Itoa(i)
	}
	return fmt.Sprintf("shardId-%012d", i)
}

// plant grows a tree of shards by splits and merges.
func (w *world) plant() {
	var open []*shard
	add := func(parents ...string) {
		s := &shard{Partition: bridge.Partition{ID: fmt.Sprintf("shardId-%012d", len(w.shards)), Parents: parents}}
		w.shards, open = append(w.shards, s), append(open, s)
	}
	for range 1 + w.rng.IntN(3) {
		add()
	}
	for range w.rng.IntN(4) {
		i := w.rng.IntN(len(open))
		s := open[i]
		s.Closed = true
		open = slices.Delete(open, i, i+1)
		if len(open) > 0 && w.chance(0.4) {
			other := open[0]
			other.Closed = true
			open = open[1:]
			add(s.ID, other.ID)
			continue
		}
		add(s.ID)
		add(s.ID)
	}
}

// seq is the n-th position of a partition.
func (w *world) seq(kinesis bool, n int64) string {
	if kinesis && w.long {
		return fmt.Sprintf("4959033827149025660855969253836157109592157598%010d", n)
	}
	return strconv.FormatInt(n, 10)
}

func (w *world) fill(s *shard) {
	if w.chance(0.15) {
		return // idle
	}
	n, at := int64(w.rng.IntN(3)), int64(1_700_000_000_000)
	for range 1 + w.rng.IntN(25) {
		subs := 1
		if w.kafka && w.chance(0.2) {
			subs = 2 + w.rng.IntN(4)
		}
		at += int64(w.rng.IntN(5)) - 1 // arrival times go back now and then
		for i := range subs {
			s.facts = append(s.facts, &fact{
				pos:  bridge.Position{Seq: w.seq(w.kafka, n), Sub: uint32(i)},
				subs: subs, key: w.rng.IntN(len(w.keys)), at: time.UnixMilli(at),
			})
		}
		n += 1 + int64(w.rng.IntN(3))
	}
}

// mirror carries pages of random shards until it is stopped, and crashes on the way.
func (w *world) mirror() {
	steps := w.total()/2 + w.rng.IntN(8+3*w.total())
	for range steps {
		switch {
		case w.chance(0.02):
			w.crash()
		case w.chance(0.05):
			for _, s := range w.shards {
				w.saved[s] = s.carried
			}
		case w.chance(0.03):
			w.reshard()
		default:
			w.step(w.shards[w.rng.IntN(len(w.shards))])
		}
	}
	w.report()
}

func (w *world) total() int {
	n := 0
	for _, s := range w.shards {
		n += len(s.facts)
	}
	return n
}

func (w *world) ready(s *shard) bool {
	for _, p := range s.Parents {
		if !w.shard(p).ended {
			return false
		}
	}
	return !s.ended
}

func (w *world) shard(id string) *shard {
	return w.shards[slices.IndexFunc(w.shards, func(s *shard) bool { return s.ID == id })]
}

// step opens a page of the shard, writes one of its records, or closes it.
func (w *world) step(s *shard) {
	switch {
	case !w.ready(s):
	case s.window == nil:
		n := min(s.read+1+w.rng.IntN(6), len(s.facts))
		s.page, s.read = slices.Clone(s.facts[s.read:n]), n
		s.window = &window{floor: w.floor(), ends: map[string]bridge.Position{}, last: map[string]bridge.Position{}, n: map[string]int{}}
		w.open = append(w.open, s.window)
	case len(s.page) == 0:
		w.close(s)
	default:
		w.write(s)
	}
}

// write appends one record of the page: of each lane, or each key, the first one.
func (w *world) write(s *shard) {
	i := w.rng.IntN(len(s.page))
	for j, r := range s.page {
		if j == i || w.kafka && w.keys[r.key] == w.keys[s.page[i].key] || !w.kafka && r.key == s.page[i].key {
			i = j
			break
		}
	}
	r := s.page[i]
	s.page = slices.Delete(s.page, i, i+1)
	switch {
	case r.dead:
	case r.stands == 0 && w.chance(0.03):
		r.dead = true
		w.dead = append(w.dead, bridge.Coordinate{Partition: s.ID, Position: r.pos})
	case r.stands > 0 && w.chance(0.6):
		// found: it is there already
	default:
		l := w.lanes[w.keys[r.key]]
		at := w.append(l, s, r)
		s.window.ends[l.id] = at
		s.window.n[l.id]++
	}
	if r.stands > 0 {
		l := w.lanes[w.keys[r.key]]
		if r.pos.After(s.window.last[l.id]) {
			s.window.last[l.id] = r.pos
		}
	}
}

// append puts r at the end of a lane, behind what others put there.
func (w *world) append(l *lane, s *shard, r *fact) bridge.Position {
	for w.chance(0.15) {
		l.sub = 0
		if w.chance(0.5) {
			l.stood = append(l.stood, stand{at: w.place(l)}) // somebody else's record
		} else {
			l.next++ // a marker, or an aborted record
			w.holes = true
		}
	}
	if !w.kafka && len(l.stood) > 0 && w.chance(0.2) {
		l.sub++
		l.next--
	} else {
		l.sub = 0
	}
	at := w.place(l)
	l.stood = append(l.stood, stand{at: at, s: s, r: r})
	r.stands++
	return at
}

func (w *world) place(l *lane) bridge.Position {
	l.next++
	return bridge.Position{Seq: w.seq(!w.kafka, l.next-1), Sub: l.sub}
}

func (w *world) floor() map[string]bridge.Position {
	if len(w.open) > 0 {
		return w.open[0].floor
	}
	out := map[string]bridge.Position{}
	for l, at := range w.ends {
		out[l] = at
	}
	return out
}

func (w *world) close(s *shard) {
	s.carried = s.read
	s.ended = s.Closed && s.carried == len(s.facts)
	win := s.window
	s.window = nil
	w.open = slices.DeleteFunc(w.open, func(o *window) bool { return o == win })
	for l, at := range win.ends {
		if at.After(w.ends[l]) {
			w.ends[l] = at
		}
	}
	floor := w.floor()
	for l, at := range win.last {
		w.raise(l, s.ID, at)
		w.since[l] += win.n[l]
		if pos := floor[l]; w.since[l] >= w.every && !pos.IsZero() {
			w.entry(l, pos)
		}
	}
}

func (w *world) entry(l string, pos bridge.Position) {
	below := map[string]bridge.Position{}
	for s, at := range w.below[l] {
		below[s] = at
	}
	w.index = append(w.index, bridge.IndexEntry{Partition: l, Position: pos, Below: below})
	w.since[l] = 0
}

func (w *world) raise(l, s string, at bridge.Position) {
	if w.below[l] == nil {
		w.below[l] = map[string]bridge.Position{}
	}
	if at.After(w.below[l][s]) {
		w.below[l][s] = at
	}
}

// crash begins again from the last saved rows: everything that they cover may be anywhere.
func (w *world) crash() {
	w.open = nil
	for _, s := range w.shards {
		s.read, s.carried, s.ended, s.page, s.window = w.saved[s], w.saved[s], false, nil, nil
		s.ended = s.Closed && s.carried == len(s.facts)
	}
	for _, l := range w.lanes {
		if len(l.stood) == 0 {
			continue
		}
		w.ends[l.id] = l.stood[len(l.stood)-1].at
		for _, st := range l.stood {
			if st.r != nil {
				w.raise(l.id, st.s.ID, st.r.pos)
			}
		}
		for _, s := range w.shards {
			if s.carried > 0 {
				w.raise(l.id, s.ID, s.facts[s.carried-1].pos)
			}
		}
	}
}

// reshard closes a shard of the target; its keys go to a new one.
func (w *world) reshard() {
	if w.kafka || len(w.lanes) > 6 {
		return
	}
	i := w.rng.IntN(len(w.lanes))
	w.lanes = append(w.lanes, &lane{id: w.laneID(len(w.lanes))})
	w.lanes[i].closed = true
	for k, l := range w.keys {
		if l == i {
			w.keys[k] = len(w.lanes) - 1
		}
	}
}

// report makes the rows of the last checkpoint. Those of parents can be forgotten.
func (w *world) report() {
	for _, s := range w.shards {
		s.carried = w.saved[s] + w.rng.IntN(s.carried-w.saved[s]+1)
		if s.carried < len(s.facts) || !s.Closed {
			s.ended = false
		}
	}
	forget := w.chance(0.5)
	for _, s := range w.shards {
		if forget && s.ended && w.chance(0.7) {
			continue
		}
		row := bridge.Row{Partition: s.ID, Parents: s.Parents, Ended: s.ended}
		if s.carried > 0 {
			row.Position = s.facts[s.carried-1].pos
		}
		w.rows = append(w.rows, row)
	}
	if w.chance(0.2) {
		w.index = nil // it was lost, or never kept
	}
}

// trim takes away the head of some lanes, and leaves the tail of some undecided.
func (w *world) trim() {
	some := w.chance(0.4)
	for _, l := range w.lanes {
		l.stable = len(l.stood)
		if w.kafka && w.chance(0.15) {
			l.stable = w.rng.IntN(len(l.stood) + 1)
		}
		if some && len(l.stood) > 0 && w.chance(0.5) {
			l.from = w.rng.IntN(l.stable/4 + 2)
			l.from = min(l.from, l.stable)
			if l.from > 0 {
				l.removed = l.stood[l.from-1].at
			}
		}
	}
}

// target is what can be read; with undecided all of it.
func (w *world) target(undecided bool) positions.Target {
	t := positions.Target{Index: w.index, Keyed: !w.kafka}
	for _, l := range w.lanes {
		x := positions.Extent{Partition: l.id, Removed: l.removed, Ended: l.closed}
		if n := w.end(l, undecided); n > 0 {
			x.Through = l.stood[n-1].at
		}
		if x.Removed.After(x.Through) {
			x.Through = x.Removed
		}
		t.Extents = append(t.Extents, x)
	}
	w.rng.Shuffle(len(t.Index), func(i, j int) { t.Index[i], t.Index[j] = t.Index[j], t.Index[i] })
	t.Read = func(_ context.Context, partition string, after, through bridge.Position) iter.Seq2[positions.Entry, error] {
		return w.entries(partition, after, through)
	}
	return t
}

func (w *world) end(l *lane, undecided bool) int {
	if undecided {
		return len(l.stood)
	}
	return l.stable
}

func (w *world) entries(partition string, after, through bridge.Position) iter.Seq2[positions.Entry, error] {
	return func(yield func(positions.Entry, error) bool) {
		l := w.lanes[slices.IndexFunc(w.lanes, func(l *lane) bool { return l.id == partition })]
		for i, st := range l.stood {
			if st.r == nil || i < l.from || !st.at.After(after) || st.at.After(through) {
				continue
			}
			if !yield(positions.Entry{At: st.at, Source: st.s.ID, First: st.r.pos, Time: st.r.at}, nil) {
				return
			}
		}
	}
}
