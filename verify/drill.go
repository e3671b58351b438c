package verify

import (
	"context"
	"fmt"
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
	r       *run
	windows map[int][]*drillWindow // by source partition, in order
	source  map[coord]*item
	target  map[coord][]*item // in the order of reading
	dead    map[coord]digest
	strays  map[spot]*item
	wanted  map[spot]bool // strays to look at again
	spots   map[spot]ledgerSpot
	copies  map[uint64][]coord              // what the ledger intended, by tag of key and value
	placeOf map[coord]spot                  // where the ledger says that a record stands; made when needed
	tagOf   map[spot]uint64                 // of strays
	tags    map[uint64]bool                 // of all strays
	doubts  map[uint64]bridge.Coordinate    // intents of whose fate the ledger does not speak
	oldest  map[keyOfSource]bridge.Position // found on the target; made when needed
	tail    bool                            // read the target on to its end, too
	lost    map[*window]string              // why a window cannot be judged
	unread  map[int]string                  // why a target partition cannot be read again
	holes   map[int][]*hole                 // of target partitions, met by this drill
	from    map[*window]bridge.Position     // where the source begins by now, if records of the window are gone
	gone    map[*window]int64               // how many of them
	noDead  string                          // why the dead letters cannot be read

	mu sync.Mutex // guards what the readers of several partitions change
}

// A ledgerSpot is what the ledger says of one place on the target.
type ledgerSpot struct {
	origin bridge.Coordinate
	key    []byte
}

// drillPass looks at the windows' cells of one pass. With tail the target is read on to
// its end, where late records are.
func (r *run) drillPass(ctx context.Context, windows []*drillWindow, strays []stray, tail bool) (*drill, error) {
	d := &drill{
		r: r, windows: map[int][]*drillWindow{}, source: map[coord]*item{}, target: map[coord][]*item{},
		dead: map[coord]digest{}, strays: map[spot]*item{}, wanted: map[spot]bool{}, spots: map[spot]ledgerSpot{},
		copies: map[uint64][]coord{}, tagOf: map[spot]uint64{}, tags: map[uint64]bool{}, tail: tail, lost: map[*window]string{},
		unread: map[int]string{}, holes: map[int][]*hole{}, from: map[*window]bridge.Position{}, gone: map[*window]int64{},
	}
	for _, w := range windows {
		d.windows[w.s.Index] = append(d.windows[w.s.Index], w)
	}
	for _, s := range strays {
		at := spotOf(r.Targets[s.Target].ID, s.Position)
		d.wanted[at], d.tagOf[at], d.tags[s.Tag] = true, s.Tag, true
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
	_, err := retry(ctx, func() (struct{}, error) {
		clear(intents)
		for e, err := range d.r.v.Ledger.Read(ctx, bridge.Position{}) {
			if err != nil {
				return struct{}{}, err
			}
			d.ledgerEntry(e, intents)
		}
		return struct{}{}, nil
	})
	if err != nil && (ctx.Err() != nil || final(err)) {
		return fmt.Errorf("read the ledger again: %w", err)
	}
	if err != nil {
		d.loseAll("the ledger cannot be read: " + err.Error())
	}
	d.doubts = map[uint64]bridge.Coordinate{}
	for intent := range intents.all {
		d.doubts[intent.Digest] = intent.Origin
	}
	return nil
}

// resolve gives a record that no entry of the ledger speaks of the coordinate of an intent
// whose fate is in doubt, if there is one for its key and value.
func (d *drill) resolve(at spot, rec *bridge.Record) {
	if len(d.doubts) == 0 {
		return
	}
	tag := d.r.tagger.Digest(rec.Key, rec.Value)
	if origin, ok := d.doubts[tag]; ok {
		d.spots[at] = ledgerSpot{origin, append([]byte(nil), rec.Key...)}
		delete(d.doubts, tag)
	}
}

func (d *drill) ledgerEntry(e bridge.LedgerEntry, intents openEntries) {
	for i := range e.Settled {
		s := &e.Settled[i]
		intent, ok := intents.settle(s)
		if at := spotOf(s.Partition, s.Position); ok && s.Stored && (d.wanted[at] || d.chosen(intent)) {
			d.spots[at] = ledgerSpot{intent.Origin, []byte(intent.Key)}
		}
	}
	intents.add(&e, func(i *bridge.Intent) bool { return len(d.wanted) > 0 || d.chosen(*i) })
	for i := range e.Intents {
		intent := &e.Intents[i]
		if s := d.r.sourceByID[intent.Origin.Partition]; s != nil && d.tags[intent.Digest] {
			d.copies[intent.Digest] = append(d.copies[intent.Digest], coordOf(s.Index, intent.Origin.Position))
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
