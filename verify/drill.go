package verify

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
)

// A coord is a coordinate in a drill.
type coord struct {
	Source int
	Seq    string
	Sub    uint32
}

func coordOf(source int, at bridge.Position) coord { return coord{source, at.Seq, at.Sub} }

// An item is one record in a drill, of either side.
type item struct {
	s  *sourcePart
	at bridge.Position // in the source

	t       *targetPart // nil for a record of the source
	place   bridge.Position
	ordinal int64 // counts the records that were read of the partition
	right   bool
	foreign bool
	late    bool // a copy, of a put that got no answer in its time

	key      uint64
	cell     int
	content  digest
	size     int64
	fields   fields
	time     time.Time
	expected string // target partition, if that can be said
	raw      []byte // the key on the target, for placement by hash
}

// A drillWindow is a window of which some cells are looked at.
type drillWindow struct {
	s     *sourcePart
	w     *window
	cells [cellsPerWindow / 64]uint64
}

func (d *drillWindow) has(cell int) bool { return d.cells[cell/64]&(1<<(cell%64)) != 0 }

// A drill re-reads chosen cells on both sides and joins them by coordinate.
type drill struct {
	r        *run
	windows  map[int][]*drillWindow // by source partition, in order
	source   map[coord]*item
	target   map[coord][]*item // in the order of reading
	dead     map[coord]digest
	strays   map[spot]*item
	wanted   map[spot]bool // strays to look at again
	spots    map[spot]ledgerSpot
	placeOf  map[coord]spot                  // where the ledger says that a record stands; made when needed
	tags     map[uint64]bool                 // of strays
	pending  []*pendingItem                  // records of which the ledger does not speak, with such a tag
	open     doubts                          // intents of whose fate the ledger does not speak
	late     doubts                          // intents whose record can land late, as a copy
	head     bridge.Position                 // up to where the ledger has forgotten its entries
	noLedger string                          // why it cannot be read
	intents  map[keyOfSource]bridge.Position // the oldest of each chosen key in the entries that it kept
	oldest   map[keyOfSource]bridge.Position // found on the target; made when needed
	tail     bool                            // read the target on to its end, too
	lost     map[*window]string              // why a window cannot be judged
	unread   map[int]string                  // why a target partition cannot be read again
	holes    map[int][]*hole                 // of target partitions, met by this drill
	from     map[*window]bridge.Position     // where the source begins by now, if records of the window are gone
	gone     map[*window]int64               // how many of them
	noDead   string                          // why the dead letters cannot be read

	mu sync.Mutex // guards what the readers of several partitions change
}

// A ledgerSpot is what the ledger says of one place on the target.
type ledgerSpot struct {
	origin bridge.Coordinate
	key    []byte // nil if it is not known
	late   bool   // a copy
}

// drillPass looks at the windows' cells of one pass. With tail the target is read on to
// its end, where late records are.
func (r *run) drillPass(ctx context.Context, windows []*drillWindow, strays []stray, tail bool) (*drill, error) {
	d := &drill{
		r: r, windows: map[int][]*drillWindow{}, source: map[coord]*item{}, target: map[coord][]*item{},
		dead: map[coord]digest{}, strays: map[spot]*item{}, wanted: map[spot]bool{}, spots: map[spot]ledgerSpot{},
		tags: map[uint64]bool{}, open: doubts{}, late: doubts{}, intents: map[keyOfSource]bridge.Position{}, tail: tail, lost: map[*window]string{},
		unread: map[int]string{}, holes: map[int][]*hole{}, from: map[*window]bridge.Position{}, gone: map[*window]int64{},
	}
	for _, w := range windows {
		d.windows[w.s.Index] = append(d.windows[w.s.Index], w)
	}
	for _, s := range strays {
		d.wanted[spotOf(r.Targets[s.Target].ID, s.Position)], d.tags[s.Tag] = true, true
	}
	for _, step := range []func(context.Context) error{
		d.readLedger, func(ctx context.Context) error { return d.readTargets(ctx, strays) }, d.readSources, d.readDead,
	} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// window is the chosen window that holds a position, nil if none does.
func (d *drill) window(source int, at bridge.Position) *drillWindow {
	list := d.windows[source]
	i, _ := slices.BinarySearchFunc(list, at, func(w *drillWindow, at bridge.Position) int { return w.w.Through.Compare(at) })
	if i < len(list) && at.After(list[i].w.After) {
		return list[i]
	}
	return nil
}

// readLedger notes where the chosen records stand, if they do not say so themselves.
func (d *drill) readLedger(ctx context.Context) error {
	if d.r.v.Ledger == nil {
		return nil
	}
	intents := openEntries{}
	after := bridge.Position{}
	read := func(ctx context.Context) iter.Seq2[bridge.LedgerEntry, error] { return d.r.v.Ledger.Read(ctx, after) }
	err := each(ctx, d.r.v, "the ledger", read, func(e bridge.LedgerEntry, err error) (bool, error) {
		if head, gone := bridge.LedgerHead(err, after); gone {
			after, d.head = head, head
			return true, fmt.Errorf("the ledger begins later: %w", bridge.ErrTransient)
		}
		if err != nil {
			return false, err
		}
		d.ledgerEntry(e, intents)
		after = e.At
		return true, nil
	})
	if err != nil && (ctx.Err() != nil || final(err)) {
		return fmt.Errorf("read the ledger again: %w", err)
	}
	if err != nil {
		d.noLedger = "the ledger cannot be read: " + err.Error()
		d.loseAll(d.noLedger)
	}
	for intent := range intents.all {
		if d.concerns(intent) {
			d.open.add(intent)
		}
	}
	d.r.mu.Lock()
	defer d.r.mu.Unlock()
	if d.r.Join == nil {
		return nil
	}
	for at, known := range d.r.Join.Resolved { // when the target was read
		d.spots[at] = ledgerSpot{known.Origin, nil, known.Late}
		if !d.open.remove(known.Digest, known.Origin) {
			d.late.remove(known.Digest, known.Origin)
		}
	}
	return nil
}

func (d *drill) ledgerEntry(e bridge.LedgerEntry, intents openEntries) {
	for i := range e.Settled {
		s := &e.Settled[i]
		intent, ok := intents.settle(s)
		if !ok {
			continue
		}
		at := spotOf(s.Partition, s.Position)
		switch concerned := d.concerns(&intent); {
		case s.Stored && (concerned || d.wanted[at]):
			d.spots[at] = ledgerSpot{intent.Origin, []byte(intent.Key), false}
		case s.Doubt && !s.Stored && concerned:
			d.late.add(&intent)
		}
	}
	intents.add(&e, func(i *bridge.Intent) bool { return len(d.wanted) > 0 || d.concerns(i) })
	for i := range e.Intents {
		if intent := &e.Intents[i]; d.chosen(*intent) {
			d.noteIntent(intent)
		}
	}
}

// concerns reports whether an intent is of a chosen cell, or like a stray that is looked at.
func (d *drill) concerns(i *bridge.Intent) bool { return d.tags[i.Digest] || d.chosen(*i) }

// noteIntent notes which intents the ledger begins with, where it has forgotten older ones.
func (d *drill) noteIntent(i *bridge.Intent) {
	s := d.r.sourceByID[i.Origin.Partition]
	k := keyOfSource{s.Index, d.r.canon.keyHash([]byte(i.Key))}
	if low, ok := d.intents[k]; !ok || low.After(i.Origin.Position) {
		d.intents[k] = i.Origin.Position
	}
}

// unledgered reports whether the ledger may have spoken of a record in entries that it has
// forgotten: it speaks of no older one of the record's key, which kept its order.
func (d *drill) unledgered(src *item) bool {
	if d.r.v.Ledger == nil || d.head.IsZero() {
		return false
	}
	low, ok := d.intents[keyOfSource{src.s.Index, src.key}]
	return !ok || !src.at.After(low)
}

// A pendingItem is a record of which the ledger does not speak, and that can be one in doubt.
type pendingItem struct {
	placed
	it *item
}

// resolve gives records of which the ledger does not speak the coordinates of intents that are
// in doubt, as the run did when it read the target.
func (d *drill) resolve() {
	slices.SortFunc(d.pending, func(a, b *pendingItem) int {
		return cmp.Or(a.position.Compare(b.position), cmp.Compare(a.it.t.Index, b.it.t.Index))
	})
	for _, p := range d.pending {
		at := spotOf(p.it.t.ID, p.position)
		origin, ok := d.open.take(p.tag)
		if !ok {
			origin, ok = d.late.take(p.tag)
			p.it.late = ok
		}
		if !ok {
			continue
		}
		delete(d.strays, at)
		d.wanted[at] = false
		if p.origin = origin; d.r.sourceByID[origin.Partition] != nil {
			p.bind(d.r.canon)
			d.keep(p.it, &p.placed, true)
		}
	}
}

// chosen reports whether an intent's record belongs to a cell that is looked at.
func (d *drill) chosen(i bridge.Intent) bool {
	s := d.r.sourceByID[i.Origin.Partition]
	if s == nil {
		return false
	}
	w := d.window(s.Index, i.Origin.Position)
	return w != nil && w.has(d.r.canon.cell([]byte(i.Key)))
}

func (d *drill) loseAll(reason string) {
	for _, list := range d.windows {
		for _, w := range list {
			d.lost[w.w] = reason
		}
	}
}
