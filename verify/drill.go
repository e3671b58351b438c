package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
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

// readTargets reads the chosen places of the target.
func (d *drill) readTargets(ctx context.Context, strays []stray) error {
	d.r.mu.Lock()
	ranges := d.ranges(strays)
	d.r.mu.Unlock()
	for _, t := range d.r.targets() {
		list := ranges[t.Index]
		for i, s := range list {
			if err := d.readTarget(ctx, t, s, d.tail && i == len(list)-1); err != nil {
				return err
			}
		}
		at := d.r.reading(t)
		if d.tail && (len(list) == 0 || list[len(list)-1].Last.Compare(at.through) < 0) && !at.ended {
			if err := d.readTarget(ctx, t, span{After: at.through, Last: at.through}, true); err != nil {
				return err
			}
		}
	}
	return nil
}

// A reading is how far a partition of the target was read for now.
type reading struct {
	first, through bridge.Position
	seen           time.Time
	ended          bool
}

func (r *run) reading(t *targetPart) reading {
	r.mu.Lock()
	defer r.mu.Unlock()
	return reading{t.First, t.Through, t.SeenAt, t.Ended}
}

// got counts bytes that were read once more.
func (r *run) got(source, target int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.SourceGot += source
	r.TargetGot += target
}

// ranges joins the places of all chosen windows, by target partition and in order. The
// lock is held.
func (d *drill) ranges(strays []stray) map[int][]span {
	all := map[int][]span{}
	for _, list := range d.windows {
		for _, w := range list {
			for t, s := range w.w.Spans {
				all[t] = append(all[t], s)
			}
			if w.w.Wide {
				for _, t := range d.r.Targets {
					all[t.Index] = append(all[t.Index], span{Last: t.Through})
				}
			}
		}
	}
	for _, s := range strays {
		all[s.Target] = append(all[s.Target], span{s.After, s.Position})
	}
	for t, list := range all {
		slices.SortFunc(list, func(a, b span) int { return a.After.Compare(b.After) })
		joined := list[:1]
		for _, s := range list[1:] {
			last := &joined[len(joined)-1]
			if s.After.After(last.Last) {
				joined = append(joined, s)
			} else if s.Last.After(last.Last) {
				last.Last = s.Last
			}
		}
		all[t] = joined
	}
	return all
}

// readTarget reads one place; with toEnd up to what the partition holds now.
func (d *drill) readTarget(ctx context.Context, t *targetPart, s span, toEnd bool) error {
	began := time.Now()
	dg := d.r.canon.digester()
	n := int64(0)
	first := true
	at := d.r.reading(t)
	err := d.scan(ctx, d.r.v.Target, t.ID, s.After, at.seen, func(b bridge.Batch) bool {
		for i := range b.Records {
			rec := &b.Records[i]
			n++
			if first && s.After.IsZero() && rec.Position.After(at.first) && !at.first.IsZero() {
				d.loseAll("target partition " + t.ID + ": its oldest records were removed meanwhile")
			}
			first = false
			if toEnd || !rec.Position.After(s.Last) {
				d.take(dg, t, rec, n)
			}
		}
		d.r.got(0, size(b.Records))
		if !toEnd {
			return b.Ended || !s.Last.After(b.Through) || b.Behind == 0 && b.Asked.After(began)
		}
		return b.Ended || b.Behind == 0 && b.Asked.After(began) && !s.Last.After(b.Through) || d.passed(b, began)
	})
	if err != nil && (ctx.Err() != nil || final(err)) {
		return err
	}
	if err != nil {
		d.loseAll("target partition " + t.ID + " cannot be read again: " + err.Error())
	}
	return nil
}

// passed reports whether a live partition was read to what it held when the drill began.
func (d *drill) passed(b bridge.Batch, began time.Time) bool {
	n := len(b.Records)
	return n > 0 && d.r.keyed && arrivedBehind(&b.Records[n-1], &b, began.Add(margin)) || time.Since(began) > d.r.v.Stall
}

func size(recs []bridge.Record) (n int64) {
	for i := range recs {
		n += int64(recs[i].Size())
	}
	return n
}

// scan reads a partition behind a position until fn has enough.
func (d *drill) scan(ctx context.Context, src bridge.Source, partition string, after bridge.Position, tip time.Time, fn func(bridge.Batch) bool) error {
	return d.scanFrom(ctx, src, partition, bridge.Start{After: after, Tip: tip}, fn)
}

func (d *drill) scanFrom(ctx context.Context, src bridge.Source, partition string, start bridge.Start, fn func(bridge.Batch) bool) error {
	reader, err := ask(ctx, d.r.v, partition, func(ctx context.Context) (bridge.Reader, error) { return src.Open(ctx, partition, start) })
	if err != nil {
		return err
	}
	var p pace
	for {
		b, err := d.r.readOn(ctx, reader, &p)
		if err != nil {
			return errors.Join(err, reader.Close())
		}
		if fn(b) {
			return reader.Close()
		}
	}
}

// take keeps a record of the target if it belongs to a chosen cell or is a wanted stray.
func (d *drill) take(dg *digester, t *targetPart, rec *bridge.Record, ordinal int64) {
	at := spotOf(t.ID, rec.Position)
	if _, ok := d.spots[at]; !ok {
		d.resolve(at, rec)
	}
	known, ok := d.spots[at]
	if ok {
		rec.Origin = known.origin
	}
	p := d.r.place(dg, t, rec)
	if d.r.keys != nil && !d.r.keys[p.key] {
		return
	}
	it := &item{
		t: t, place: rec.Position.Clone(), ordinal: ordinal, right: p.right, foreign: p.foreign,
		key: p.key, cell: p.cell, content: p.content, size: p.size, time: rec.Time, fields: dg.fields(rec.Key, rec),
	}
	if p.origin.IsZero() || p.foreign && d.wanted[at] {
		if d.wanted[at] {
			d.strays[at] = it
		}
		return
	}
	s := d.r.sourceByID[p.origin.Partition]
	if s == nil {
		return
	}
	it.s, it.at = s, p.origin.Position.Clone()
	w := d.window(s.Index, it.at)
	if w == nil || !w.has(p.cell) && !(ok && w.has(d.r.canon.cell(known.key))) {
		return
	}
	c := coordOf(s.Index, it.at)
	d.target[c] = append(d.target[c], it)
}

// readSources reads the chosen windows of the source: the chosen cells, and what the
// records found on the target claim to be.
func (d *drill) readSources(ctx context.Context) error {
	for _, s := range d.r.Sources {
		for _, w := range d.windows[s.Index] {
			if err := d.readWindow(ctx, w); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *drill) readWindow(ctx context.Context, w *drillWindow) error {
	dg := d.r.canon.digester()
	first := true
	start := w.w.After
	err := d.scan(ctx, d.r.v.Source, w.s.ID, start, time.Now(), func(b bridge.Batch) bool {
		for i := range b.Records {
			rec := &b.Records[i]
			if rec.Position.After(w.w.Through) {
				return true
			}
			if first && rec.Position.After(w.w.First) && start.IsZero() && d.r.keys == nil {
				d.lost[w.w] = "the source has forgotten its records meanwhile"
			}
			first = false
			d.takeSource(dg, w, rec)
		}
		d.r.got(size(b.Records), 0)
		return b.Ended || !w.w.Through.After(b.Through)
	})
	if err != nil && (ctx.Err() != nil || final(err)) {
		return err
	}
	if err != nil {
		d.lost[w.w] = "the source cannot be read again: " + err.Error()
	}
	return nil
}

func (d *drill) takeSource(dg *digester, w *drillWindow, rec *bridge.Record) {
	p := d.r.prepare(dg, w.s.ID, rec)
	c := coordOf(w.s.Index, rec.Position)
	_, met := d.target[c]
	if p.dropped || d.r.keys != nil && !d.r.keys[p.key] || !met && !w.has(p.cell) {
		return
	}
	key, expected := rec.Key, ""
	if route, err := d.r.v.Keys.Route(rec); err == nil {
		key, expected = route.Key, route.Partition
	}
	at := rec.Position.Clone()
	d.source[coordOf(w.s.Index, at)] = &item{
		s: w.s, at: at, key: p.key, cell: p.cell, content: p.content, size: p.size, time: rec.Time,
		fields: dg.fields(key, rec), expected: expected, raw: append([]byte(nil), key...),
	}
}
