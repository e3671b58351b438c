package verify

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
)

// A prepared record is what a run keeps of one while it books it.
type prepared struct {
	at      bridge.Position // in the source
	time    time.Time       // the record's own
	arrived time.Time       // by the service's clock; time if the service does not say
	content digest
	digest  digest // the content bound to its coordinate
	size    int64
	cell    int
	key     uint64
	dropped bool // not to be on the target, as declared
	// unordered: its key has no order to keep.
	unordered bool
}

// margin is how much later than a moment a page must be asked for to prove, if it says
// that nothing is behind it, that all that arrived before the moment was read.
const margin = 2 * time.Second

// A limit is where reading a source partition ends.
type limit struct {
	set bool
	at  bridge.Position // if set: all up to here
	// until: else all that arrived up to this time; zero is for ever.
	until time.Time
}

// limits says for each source partition where the scope ends, once.
func (r *run) limits(ctx context.Context) (map[string]limit, error) {
	v := r.v
	until := r.FenceAt
	ends := map[string]bridge.Position(nil)
	if !v.Continuous {
		var err error
		if ends, err = r.ends(ctx, "source", v.Source); err != nil {
			return nil, err
		}
	}
	out := map[string]limit{}
	for _, s := range r.Sources {
		l := limit{until: until}
		if end, ok := ends[s.ID]; ok {
			l = limit{set: true, at: end}
			r.cutBack(s, end)
		}
		if row, ok := r.acked[s.ID]; r.acked != nil && !v.Final && !v.Continuous {
			if !ok || !l.set || l.at.After(row.Position) {
				l = limit{set: true, at: row.Position}
			}
		}
		if p, ok := v.Select.Through[s.ID]; ok && (!l.set || l.at.After(p)) {
			l = limit{set: true, at: p}
		}
		if v.Continuous {
			l = limit{}
		}
		out[s.ID] = l
	}
	return out, nil
}

// cutBack notes a source partition that ends before what the mirror has acknowledged: it was
// cut back, or another one was put in its place.
func (r *run) cutBack(s *sourcePart, end bridge.Position) {
	row, ok := r.acked[s.ID]
	if !ok || !r.chosen(s) || !row.Position.After(end) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.uncovered(Uncovered{Side: "source", Partition: s.ID, After: end, Through: row.Position, Class: Unverifiable,
		Reason: "it ends before what the mirror has acknowledged: its log was cut back"})
}

// from is the time at which the scope begins: that of the range, or where the workflow began
// to read if that was later.
func (v *Verifier) from() time.Time {
	if v.Start.After(v.Select.From) {
		return v.Start
	}
	return v.Select.From
}

// readSource reads one source partition up to its limit and books it. An error ends the
// run; what concerns the partition alone is noted.
func (r *run) readSource(ctx context.Context, s *sourcePart, l limit) error {
	err := r.readPart(ctx, s, l)
	if err == nil || ctx.Err() != nil || final(err) {
		if err == nil {
			r.endsEarly(s, l)
			r.sourceDone(s, "")
		}
		return err
	}
	if errors.Is(err, bridge.ErrMissing) && r.recheck(ctx) != nil {
		return err
	}
	r.mu.Lock()
	r.uncovered(Uncovered{Side: "source", Partition: s.ID, After: s.Through, Through: l.at, Class: classOf(err), Reason: err.Error()})
	r.mu.Unlock()
	r.sourceDone(s, err.Error())
	return nil
}

// endsEarly notes a shard that ended before its limit, or gave nothing more: what was behind
// has expired.
func (r *run) endsEarly(s *sourcePart, l limit) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if (s.Ended || s.dry) && l.set && l.at.After(s.Through) {
		r.uncovered(Uncovered{Side: "source", Partition: s.ID, After: s.Through, Through: l.at, Class: Unverifiable,
			Reason: "it ends before what the mirror has acknowledged: its records have expired"})
	}
}

// recheck tells a partition that is gone from a stream that is.
func (r *run) recheck(ctx context.Context) error {
	now, err := ask(ctx, r.v, "the source", r.v.Source.Identity)
	if err == nil && now != r.source {
		err = fmt.Errorf("the source was deleted and created anew: %w", bridge.ErrChanged)
	}
	if err == nil {
		now, err = ask(ctx, r.v, "the target", r.v.Target.Identity)
		if err == nil && now != r.target {
			err = fmt.Errorf("the target was deleted and created anew: %w", bridge.ErrChanged)
		}
	}
	return err
}

func classOf(err error) Class {
	if errors.Is(err, bridge.ErrGap) || errors.Is(err, bridge.ErrMissing) {
		return Unverifiable
	}
	return Unread
}

func (r *run) sourceDone(s *sourcePart, lost string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s.Done, s.Lost = true, lost
	if lost != "" {
		s.closeLast() // it can be judged as far as it was read
	}
	r.cond.Broadcast()
}

func (r *run) readPart(ctx context.Context, s *sourcePart, l limit) error {
	if s.Done || l.set && !l.at.After(s.Through) {
		return nil
	}
	if r.v.Content {
		if err := r.waitForSources(ctx, s); err != nil {
			return err
		}
	}
	start := bridge.Start{After: s.Through, Tip: s.Tip}
	if s.Through.IsZero() {
		start.Tip = time.Time{} // what was seen of a part says nothing of the whole
		start.After, start.At = r.v.Select.After[s.ID], r.v.from()
		r.mu.Lock()
		s.Start = start.After
		r.mu.Unlock()
		if !start.After.IsZero() {
			start.At = time.Time{}
		}
	}
	if !start.At.IsZero() {
		if _, err := r.oldest(ctx, s); err != nil {
			return err
		}
	}
	reader := &walk{r: r, src: r.v.Source, side: "source", id: s.ID, start: start, through: start.After, pace: &s.pace}
	r.mu.Lock()
	s.pace.end = l.at
	hash := s.hash
	r.mu.Unlock()
	d := r.canon.digester()
	var list []prepared
	for began := s.Through.IsZero(); ; began = false {
		b, gap, err := reader.next(ctx)
		if gap != nil && err == nil {
			r.meetGap(s, gap)
			continue
		}
		if err == nil && began {
			err = r.head(ctx, s) // again: until now, its head could still go
		}
		if err != nil {
			return errors.Join(err, reader.close())
		}
		r.passGap(s, b, l)
		recs, over := r.within(&b, l)
		list = list[:0]
		for i := range recs {
			p := r.prepare(d, s.ID, &recs[i])
			p.unordered = recs[i].Key == nil || !hash.holdsKey(recs[i].Key)
			list = append(list, p)
		}
		if r.bookSource(s, list, b, over, l) {
			return reader.close()
		}
	}
}

// open begins to read a partition.
func (r *run) open(ctx context.Context, side bridge.Source, what, partition string, start bridge.Start, p *pace) (bridge.Reader, error) {
	r.begins(p)
	reader, err := ask(ctx, r.v, what, func(ctx context.Context) (bridge.Reader, error) { return side.Open(ctx, partition, start) })
	r.mu.Lock()
	defer r.mu.Unlock()
	p.since = time.Time{}
	return reader, err
}

// readOn reads one page, again if that failed for now, but not for ever.
func (r *run) readOn(ctx context.Context, reader bridge.Reader, p *pace) (bridge.Batch, error) {
	if r.main != nil {
		if err := r.main.giveWay(ctx); err != nil {
			return bridge.Batch{}, err
		}
	}
	r.begins(p)
	b, err := ask(ctx, r.v, "a read", reader.Read)
	return b, r.ended(p, b, err)
}

// within cuts off what is behind the limit; over says that it was reached.
func (r *run) within(b *bridge.Batch, l limit) (in []bridge.Record, over bool) {
	to := r.v.Select.To
	for i := range b.Records {
		rec := &b.Records[i]
		switch {
		case l.set && rec.Position.After(l.at):
			return b.Records[:i], true
		case !l.set && arrivedBehind(rec, b, l.until):
			return b.Records[:i], true
		case !to.IsZero() && arrival(rec).After(to):
			return b.Records[:i], true
		}
	}
	return b.Records, false
}

// prepare computes what is booked of a source record: as it should stand on the target.
func (r *run) prepare(d *digester, partition string, rec *bridge.Record) prepared {
	key := rec.Key
	if route, err := r.v.Keys.Route(rec); err == nil {
		key = route.Key
	}
	p := prepared{at: rec.Position, time: rec.Time, arrived: arrival(rec), key: d.keyHash(key)}
	p.cell = cellOf(p.key)
	// What came from the target is home, and what no reader is given was never to be carried.
	p.dropped = rec.IsBack(r.targetName) || rec.Refused != nil && errors.Is(rec.Refused, bridge.ErrDropped)
	p.content, p.size = d.of(key, rec)
	p.digest = d.bind(p.content, partition, rec.Position)
	return p
}

// bookSource adds one page to the windows, and reports whether the limit was reached.
func (r *run) bookSource(s *sourcePart, list []prepared, b bridge.Batch, over bool, l limit) (done bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	for i := range list {
		r.bookRecord(s, &list[i], now)
	}
	through := b.Through
	switch {
	case over && len(list) > 0:
		through = s.Through
	case over:
		through = bridge.Position{}
	case l.set && through.After(l.at):
		through = l.at
	}
	s.LastRecord = s.LastRecord.Clone()
	if through.After(s.Through) {
		s.Through = through.Clone()
		if !r.v.Content {
			r.growing(s).Through = s.Through
		}
	}
	if n := len(s.Windows); n > 0 {
		r.cut(s.Windows[n-1], now, b.Ended)
	}
	if b.Behind == 0 && !over && through == b.Through {
		s.Tip = tipOf(&b)
	}
	s.Ended = b.Ended
	done = over || b.Ended || l.set && !l.at.After(s.Through)
	if l.set && !done && len(b.Records) == 0 && b.Behind == 0 && b.Asked.After(r.FenceAt.Add(margin)) {
		done, s.dry = true, true
	}
	if !l.set && !l.until.IsZero() && b.Behind == 0 && b.Asked.After(l.until.Add(margin)) {
		done = true
	}
	if r.v.Continuous {
		done = b.Ended
	}
	r.cond.Broadcast()
	return done
}

// bookRecord adds one record to its window. The lock is held.
func (r *run) bookRecord(s *sourcePart, p *prepared, now time.Time) {
	if r.keys != nil && !r.keys[p.key] {
		return
	}
	if p.unordered {
		s.Unordered++
	}
	if r.v.Content {
		r.bookContent(s, p)
		s.Through, s.LastRecord = p.at, p.at
		return
	}
	w := r.growing(s)
	if w.First.IsZero() {
		w.First, w.From, w.Arrived = p.at.Clone(), p.time, p.arrived
	}
	if s.First.IsZero() {
		s.First = w.First
	}
	w.To = p.time
	s.Records++
	s.Bytes += p.size
	r.SourceGot += p.size
	if p.dropped {
		w.Dropped++
	} else {
		w.Source.add(p.digest, p.size)
		w.Cells[w.index(p.cell)].add(p.digest, p.size)
	}
	s.Through, s.LastRecord = p.at, p.at
	w.Through = p.at
	if w.Source.N >= int64(r.v.WindowRecords) || p.arrived.Sub(w.Arrived) > r.v.Window {
		s.Through = p.at.Clone()
		w.Through = s.Through
		w.ClosedAt = now
	}
}

// growing is the window that takes the next record. The lock is held.
func (r *run) growing(s *sourcePart) *window {
	after := s.Start
	if n := len(s.Windows); n > 0 {
		if w := s.Windows[n-1]; w.ClosedAt.IsZero() {
			return w
		}
		after = s.Windows[n-1].Through
	}
	w := newWindow(after)
	if s.skipped.After(after) {
		w.After, w.Headless = s.skipped, true
	}
	w.Cell = cellsPerWindow
	s.Windows = append(s.Windows, w)
	r.cells += cellsPerWindow
	r.fold()
	return w
}

// cut closes a window that has grown for long enough. The lock is held.
func (r *run) cut(w *window, now time.Time, ended bool) {
	if w.ClosedAt.IsZero() && (ended || r.v.Continuous && !w.From.IsZero() && now.Sub(w.From) > r.v.Window) {
		w.ClosedAt = now
	}
}

// fold keeps the cells of all windows within their bound. The lock is held.
func (r *run) fold() {
	for r.cells > maxCells {
		most := 0
		for _, s := range r.Sources {
			for _, w := range s.Windows {
				most = max(most, len(w.Cells))
			}
		}
		if most <= 1 {
			return
		}
		for _, s := range r.Sources {
			for _, w := range s.Windows {
				if len(w.Cells) == most && r.cells > maxCells {
					r.cells -= most / 2
					w.fold()
				}
			}
		}
	}
}
