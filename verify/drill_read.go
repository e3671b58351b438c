package verify

import (
	"context"
	"errors"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kinesis-msk-bridge/bridge"
)

// readTargets reads the chosen places of the target, its partitions side by side.
func (d *drill) readTargets(ctx context.Context, strays []stray) error {
	d.r.mu.Lock()
	ranges := d.ranges(strays)
	d.r.mu.Unlock()
	group, work := errgroup.WithContext(ctx)
	group.SetLimit(d.r.v.Parallel)
	for _, t := range d.r.targets() {
		group.Go(func() error { return d.readPlaces(work, t, ranges[t.Index]) })
	}
	err := group.Wait()
	d.resolve()
	return err
}

func (d *drill) readPlaces(ctx context.Context, t *targetPart, list []span) error {
	for i, s := range list {
		if err := d.readTarget(ctx, t, s, d.tail && i == len(list)-1); err != nil {
			return err
		}
	}
	at := d.r.reading(t)
	if d.tail && (len(list) == 0 || list[len(list)-1].Last.Compare(at.through) < 0) && !at.ended {
		return d.readTarget(ctx, t, span{After: at.through, Last: at.through}, true)
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
	return reading{t.First, t.Through, t.Tip, t.Ended}
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
	at := d.r.reading(t)
	w := &walk{r: d.r, src: d.r.v.Target, side: "target", id: t.ID, start: bridge.Start{After: s.After}, through: s.After, pace: &pace{}}
	if !s.After.IsZero() {
		w.start.Tip = at.seen // with no position it would say that the partition was empty then
	}
	for first, done := true, false; !done; {
		b, gap, err := w.next(ctx)
		switch {
		case err != nil:
			err = errors.Join(err, w.close())
			if ctx.Err() != nil || final(err) {
				return err
			}
			d.mu.Lock()
			defer d.mu.Unlock()
			d.unread[t.Index] = "target partition " + t.ID + " cannot be read again: " + err.Error()
			return nil
		case gap != nil:
			d.dig(t, s.After)
			first = false
			continue
		}
		if first && len(b.Records) > 0 && s.After.IsZero() && !at.first.IsZero() && b.Records[0].Position.After(at.first) {
			d.dig(t, s.After)
		}
		for i := range b.Records {
			rec := &b.Records[i]
			n++
			first = false
			if toEnd || !rec.Position.After(s.Last) {
				d.take(dg, t, rec, n)
			}
		}
		d.r.got(0, size(b.Records))
		if done = b.Ended || !s.Last.After(b.Through) || b.Behind == 0 && b.Asked.After(began); toEnd {
			done = b.Ended || b.Behind == 0 && b.Asked.After(began) && !s.Last.After(b.Through) || d.passed(b, began)
		}
	}
	return w.close()
}

// dig notes that records of a target partition were removed since they were booked.
func (d *drill) dig(t *targetPart, after bridge.Position) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.holes[t.Index] = append(d.holes[t.Index], &hole{After: after})
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
	known, ok := d.spots[at]
	if ok {
		rec.Origin = known.origin
	}
	p := d.r.place(dg, t, rec)
	if d.r.keys != nil && !d.r.keys[p.key] {
		return
	}
	it := &item{
		t: t, place: rec.Position.Clone(), ordinal: ordinal, right: p.right, foreign: p.foreign, late: known.late,
		key: p.key, cell: p.cell, content: p.content, size: p.size, time: rec.Time, fields: dg.fields(rec.Key, rec),
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if p.origin.IsZero() || p.foreign && d.wanted[at] {
		if d.wanted[at] {
			d.strays[at] = it
		}
		if d.r.v.Ledger != nil && len(d.open[p.tag])+len(d.late[p.tag]) > 0 {
			p.position = it.place
			d.pending = append(d.pending, &pendingItem{p, it})
		}
		return
	}
	d.keep(it, &p, ok && known.key != nil && d.r.canon.cell(known.key) != p.cell)
}

// keep keeps a record with a coordinate if it is of a chosen cell, or, with another key than
// the mirror wrote, if it is of a chosen window. The lock is held.
func (d *drill) keep(it *item, p *placed, anyCell bool) {
	s := d.r.sourceByID[p.origin.Partition]
	if s == nil {
		return
	}
	it.s, it.at = s, p.origin.Position.Clone()
	if list := d.holes[it.t.Index]; len(list) > 0 && !p.foreign {
		list[len(list)-1].note(s.Index, it.at, d.r.keyed)
	}
	if s.headless && s.First.After(it.at) {
		return // older than the scope
	}
	if w := d.window(s.Index, it.at); w != nil && (anyCell || w.has(p.cell)) {
		c := coordOf(s.Index, it.at)
		d.target[c] = append(d.target[c], it)
	}
}

// readSources reads the chosen windows of the source, its partitions side by side: the chosen
// cells, and what the records found on the target claim to be.
func (d *drill) readSources(ctx context.Context) error {
	group, work := errgroup.WithContext(ctx)
	group.SetLimit(d.r.v.Parallel)
	for _, list := range d.windows {
		group.Go(func() error {
			for from := 0; from < len(list); {
				to := from + 1
				for to < len(list) && list[to].w.After == list[to-1].w.Through && !list[to].w.Headless {
					to++
				}
				if err := d.readWindows(work, list[from:to]); err != nil {
					return err
				}
				from = to
			}
			return nil
		})
	}
	return group.Wait()
}

// readWindows reads windows that touch each other in one go.
func (d *drill) readWindows(ctx context.Context, list []*drillWindow) error {
	s := list[0].s
	dg := d.r.canon.digester()
	began := time.Now()
	start := bridge.Start{After: list[0].w.After, Tip: d.r.sourceTime(began)}
	switch {
	case list[0].w.Headless:
		start = bridge.Start{} // nothing stands directly before it
	case start.After.IsZero():
		start = bridge.Start{At: d.r.v.Select.From}
	}
	w := &walk{r: d.r, src: d.r.v.Source, side: "source", id: s.ID, start: start, through: start.After, pace: &pace{}}
	met := make([]int64, len(list))
	first, at := bridge.Position{}, 0
	for done := false; !done; {
		b, gap, err := w.next(ctx)
		if gap != nil {
			continue
		}
		if err != nil {
			err = errors.Join(err, w.close())
			if ctx.Err() != nil || final(err) {
				return err
			}
			d.loseWindows(list[at:], "the source cannot be read again: "+err.Error())
			return nil
		}
		for i := range b.Records {
			rec := &b.Records[i]
			for at < len(list) && rec.Position.After(list[at].w.Through) {
				at++
			}
			if at == len(list) {
				break
			}
			if first.IsZero() {
				first = rec.Position.Clone()
			}
			if list[at].w.First.After(rec.Position) {
				continue // before the scope
			}
			met[at] += d.takeSource(dg, list[at], rec)
		}
		d.r.got(size(b.Records), 0)
		done = at == len(list) || b.Ended || !list[len(list)-1].w.Through.After(b.Through)
		if !done && len(b.Records) == 0 && b.Behind == 0 && b.Asked.After(began.Add(margin)) {
			d.loseWindows(list[at:], "the source ends before what was read of it")
			done = true
		}
	}
	d.forgotten(list, met, first)
	return w.close()
}

func (d *drill) loseWindows(list []*drillWindow, reason string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, w := range list {
		d.lost[w.w] = reason
	}
}

// forgotten notes what the source does not hold any more of the windows.
func (d *drill) forgotten(list []*drillWindow, met []int64, first bridge.Position) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, w := range list {
		had := w.w.Source.N + w.w.Dropped
		if n := had - met[i]; n > 0 && !d.r.v.Compacted && (first.IsZero() || first.After(w.w.First)) {
			d.gone[w.w], d.from[w.w] = n, first
		}
	}
}

// takeSource keeps a record of the source if it belongs to a chosen cell, or if a record of the
// target names it. It returns 1 if the record was counted when the window was read, else 0.
func (d *drill) takeSource(dg *digester, w *drillWindow, rec *bridge.Record) int64 {
	p := d.r.prepare(dg, w.s.ID, rec)
	c := coordOf(w.s.Index, rec.Position)
	_, met := d.target[c]
	switch {
	case d.r.keys != nil && !d.r.keys[p.key]:
		return 0
	case p.dropped || !met && !w.has(p.cell):
		return 1
	}
	key, expected := rec.Key, ""
	if route, err := d.r.v.Keys.Route(rec); err == nil {
		key, expected = route.Key, route.Partition
	}
	at := rec.Position.Clone()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.source[coordOf(w.s.Index, at)] = &item{
		s: w.s, at: at, key: p.key, cell: p.cell, content: p.content, size: p.size, time: rec.Time,
		fields: dg.fields(key, rec), expected: expected, raw: append([]byte(nil), key...),
	}
	return 1
}
