package verify

import (
	"context"
	"crypto/md5"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
)

// A placed record is what a run keeps of a record of the target while it books it.
type placed struct {
	prepared
	origin   bridge.Coordinate // zero: a stray
	foreign  bool              // origin is only claimed
	position bridge.Position   // on the target
	right    bool              // it stands where its key belongs
	slot     uint16            // first bits of the hash that places its key, if one does
	// tag is over key and value, as a ledger notes it; of records without a coordinate.
	tag uint64
}

// waitForParents returns when the parents of a shard are read: the order of a key that
// moved is only seen so.
func (r *run) waitForParents(ctx context.Context, t *targetPart) error {
	for _, id := range t.Parents {
		r.mu.Lock()
		p := r.targetByID[id]
		r.mu.Unlock()
		if p == nil {
			continue
		}
		select {
		case <-p.ready:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// readTarget reads one partition of the target and books it.
func (r *run) readTarget(ctx context.Context, t *targetPart) error {
	if err := r.waitForParents(ctx, t); err != nil {
		return err
	}
	err := r.followTarget(ctx, t)
	if err != nil && (ctx.Err() != nil || final(err)) {
		return err
	}
	if err != nil && errors.Is(err, bridge.ErrMissing) && r.recheck(ctx) != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		t.Lost = err.Error()
		r.uncovered(Uncovered{Side: "target", Partition: t.ID, After: t.Through, Class: classOf(err), Reason: err.Error()})
	}
	t.finish()
	return nil
}

func (r *run) followTarget(ctx context.Context, t *targetPart) error {
	if t.Done {
		return nil
	}
	w := r.walkTarget(t)
	d := r.canon.digester()
	for {
		b, err := r.nextOfTarget(ctx, t, w)
		if err == nil && !t.Begun {
			err = r.probeHead(ctx, t) // now: before, its head could still go
		}
		if err == nil {
			err = r.takeTarget(ctx, d, t, b)
		}
		if err != nil {
			return errors.Join(err, w.close())
		}
		if t.Done {
			return w.close()
		}
	}
}

func (r *run) walkTarget(t *targetPart) *walk {
	return &walk{r: r, src: r.v.Target, side: "target", id: t.ID, start: bridge.Start{After: t.Through, Tip: t.Tip}, through: t.Through, pace: &t.pace}
}

// nextOfTarget is the next page of a target partition, behind any gap before it.
func (r *run) nextOfTarget(ctx context.Context, t *targetPart, w *walk) (bridge.Batch, error) {
	for {
		b, gap, err := w.next(ctx)
		if err != nil || gap == nil {
			return b, err
		}
		if !t.Begun {
			continue // a head, which is looked for when the first page was read
		}
		r.mu.Lock()
		r.dig(t, gap.Before)
		r.mu.Unlock()
		r.v.Logger.Warn("the target was trimmed before it was read", "partition", t.ID, "reason", gap.Error())
	}
}

// probeHead finds out whether the oldest records of a partition are gone. Only where
// positions are offsets can that be asked for.
func (r *run) probeHead(ctx context.Context, t *targetPart) error {
	if _, ok := r.v.Target.(bridge.Ender); !ok {
		return nil
	}
	gone, first, err := r.headGone(ctx, r.v.Target, t.ID)
	if err != nil || !gone {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	t.HeadLost = true
	t.Holes = append(t.Holes, &hole{Before: first})
	return nil
}

// headGone reports whether offset 1 is no longer kept although later ones are, and the first
// that is kept.
func (r *run) headGone(ctx context.Context, s bridge.Source, partition string) (gone bool, first bridge.Position, err error) {
	reader, err := ask(ctx, r.v, "the beginning of "+partition, func(ctx context.Context) (bridge.Reader, error) {
		return s.Open(ctx, partition, bridge.Start{After: bridge.OffsetPosition(0)})
	})
	var gap *bridge.GapError
	if errors.As(err, &gap) {
		return gap.Before.After(bridge.OffsetPosition(1)), gap.Before, nil
	}
	if err != nil {
		return false, first, fmt.Errorf("look at the beginning of %s: %w", partition, err)
	}
	return false, first, reader.Close()
}

// takeTarget books one page, once the source was read up to the coordinates in it.
func (r *run) takeTarget(ctx context.Context, d *digester, t *targetPart, b bridge.Batch) error {
	if cap(t.page) < len(b.Records) {
		t.page = make([]placed, len(b.Records))
	}
	list := t.page[:len(b.Records)]
	for i := range b.Records {
		list[i] = r.place(d, t, &b.Records[i])
	}
	if err := r.await(ctx, list); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bookTarget(t, t.Through, list)
	if b.Through.After(t.Through) {
		t.Through = b.Through.Clone()
	}
	t.Begun = true
	if b.Behind == 0 && !b.Asked.IsZero() {
		t.SeenAt, t.Tip = b.Asked, tipOf(&b)
	}
	t.Ended = b.Ended
	if r.reached(t, b) {
		t.finish()
	}
	return nil
}

// reached reports whether a partition was read to the end of the scope. The lock is held.
func (r *run) reached(t *targetPart, b bridge.Batch) bool {
	switch {
	case b.Ended:
		t.SeenAt = b.Asked
		return true
	case r.until.IsZero():
		return false
	case b.Behind == 0 && b.Asked.After(r.until):
		return true
	}
	if r.targetEnds != nil {
		end, ok := r.targetEnds[t.ID]
		return ok && !end.After(t.Through)
	}
	n := len(b.Records)
	return n > 0 && r.keyed && arrivedBehind(&b.Records[n-1], &b, r.until.Add(margin))
}

// place computes what is booked of a record of the target.
func (r *run) place(d *digester, t *targetPart, rec *bridge.Record) placed {
	p := placed{origin: rec.Origin, position: rec.Position}
	headers := rec.Headers
	if rec.Foreign {
		p.origin, headers = claim(rec)
		p.foreign = !p.origin.IsZero()
		if p.foreign && p.origin.Stream != claimOf(r.source) {
			p.origin, p.foreign = bridge.Coordinate{}, false
		}
	}
	if r.v.Content || !p.foreign && p.origin.Stream != r.sourceName {
		p.origin = bridge.Coordinate{}
	}
	own := bridge.Record{Key: rec.Key, Value: rec.Value, Headers: headers, Time: rec.Time}
	p.time = rec.Time
	p.key = d.keyHash(rec.Key)
	p.cell = cellOf(p.key)
	p.content, p.size = d.of(rec.Key, &own)
	p.right, p.slot = r.placedRight(d, t, rec, p.origin.Partition)
	if p.origin.IsZero() {
		p.tag = r.tagger.Digest(rec.Key, rec.Value)
	} else {
		p.bind(d.canon)
	}
	return p
}

// bind notes what follows from a record's coordinate.
func (p *placed) bind(c *canon) {
	p.at = p.origin.Position
	p.digest = c.bind(p.content, p.origin.Partition, p.at)
}

// placedRight reports whether a record that came from a source partition belongs into one of
// the target, and the first bits of the hash that says so, if it is one.
func (r *run) placedRight(d *digester, t *targetPart, rec *bridge.Record, origin string) (right bool, slot uint16) {
	if r.keyed {
		sum := md5.Sum(rec.Key)
		return t.hash.holds(&sum), binary.BigEndian.Uint16(sum[:])
	}
	d.asked.Key, d.asked.Value, d.asked.Partition = rec.Key, rec.Value, origin
	route, err := r.v.Keys.Route(&d.asked)
	return err != nil || route.Partition == "" || route.Partition == t.ID, 0
}

// claim is the coordinate that a copied provenance header names, and the headers without
// it. It is zero if there is none.
func claim(rec *bridge.Record) (bridge.Coordinate, []bridge.Header) {
	for i := len(rec.Headers) - 1; i >= 0; i-- {
		if rec.Headers[i].Key != bridge.ProvenanceHeader {
			continue
		}
		p, err := bridge.DecodeProvenance(rec.Headers[i].Value)
		if err != nil {
			break
		}
		rest := append(append([]bridge.Header(nil), rec.Headers[:i]...), rec.Headers[i+1:]...)
		return bridge.Coordinate{Stream: claimName(p.Source), Partition: p.Partition, Position: p.Position}, rest
	}
	return bridge.Coordinate{}, rec.Headers
}

func claimName(id uint32) string { return fmt.Sprintf("#%08x", id) }

func claimOf(i bridge.Identity) string { return claimName(bridge.SourceID(i)) }

// await returns when the windows of all coordinates are known.
func (r *run) await(ctx context.Context, list []placed) error {
	want := farthest(list)
	stop := context.AfterFunc(ctx, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.cond.Broadcast()
	})
	defer stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	for c, at := range want {
		listed := r.lists
		for !r.known(c, at, listed) {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			r.cond.Wait()
		}
	}
	return nil
}

// A claimed is a source partition that records of the target name, truly or not.
type claimed struct {
	partition string
	foreign   bool
}

// farthest is the greatest coordinate of each source partition. Records of one mostly stand
// together, so that a partition is looked up once for many of them.
func farthest(list []placed) map[claimed]bridge.Position {
	far := map[claimed]bridge.Position{}
	var last claimed
	var top bridge.Position
	for i := range list {
		o := &list[i].origin
		if o.IsZero() {
			continue
		}
		if c := (claimed{o.Partition, list[i].foreign}); c != last {
			far[last] = top
			last, top = c, far[c]
		}
		if o.Position.After(top) {
			top = o.Position
		}
	}
	far[last] = top
	delete(far, claimed{}) // that no record names
	return far
}

// known reports whether the window of a coordinate is known, or never will be: while a
// run goes on, a shard that is not listed may be new, and a coordinate that is only claimed
// need never come. The lock is held.
func (r *run) known(c claimed, at bridge.Position, listed int) bool {
	s := r.sourceByID[c.partition]
	if s != nil && s.covers(at) {
		return true
	}
	if !r.v.Continuous || s != nil && !c.foreign {
		return s == nil
	}
	return r.lists > listed+1
}

// bookTarget books records in the order of their partition, which were read behind a
// position. The lock is held.
func (r *run) bookTarget(t *targetPart, after bridge.Position, list []placed) {
	last := t.Last
	a := passage{r: r, t: t}
	for i := range list {
		p := &list[i]
		if t.First.IsZero() {
			t.First = p.position.Clone() // of whatever key: it says what has expired
		}
		if r.keys != nil && !r.keys[p.key] {
			continue
		}
		r.TargetGot += p.size
		last = p.position
		if r.v.Content {
			r.bookTargetContent(t, p)
			continue
		}
		if p.origin.IsZero() {
			if !r.early(t, after, p) {
				r.stray(t, after, p)
			}
			continue
		}
		r.bookPlaced(&a, after, p)
	}
	a.stretch()
	if last != t.Last {
		t.Last = last.Clone()
	}
}

// A passage is a run of records that follow each other on a target partition. What those of
// one source partition, and of one window, have in common is looked up at the first of them
// and noted behind the last. The run's lock is held.
type passage struct {
	r     *run
	t     *targetPart
	s     *sourcePart // nil if there was no record yet
	w     *window
	after bridge.Position // what was read before the records in w
	last  bridge.Position // the last of them on the target
}

// enter goes on with a source partition, or another one. It returns nil if none of that name
// is listed.
func (a *passage) enter(partition string) *sourcePart {
	if a.s != nil && a.s.ID == partition {
		return a.s
	}
	a.s = a.r.sourceByID[partition]
	return a.s
}

// in notes that the record at a position, in a page that began behind after, is of a window.
func (a *passage) in(w *window, after, position bridge.Position) {
	if a.w != w || a.after != after {
		a.stretch()
		a.w, a.after = w, after
	}
	a.last = position
}

// stretch notes where the records of a window stand.
func (a *passage) stretch() {
	if a.w != nil && a.w.extend(a.t.Index, a.after, a.last.Clone()) {
		a.r.spans++
		a.r.widen()
	}
	a.w = nil
}

// count counts a record in scope.
func (t *targetPart) count(p *placed) {
	t.Records++
	t.Bytes += p.size
}

// stray keeps a record that no coordinate leads to. The lock is held.
func (r *run) stray(t *targetPart, after bridge.Position, p *placed) {
	if r.v.Ledger != nil && !r.v.Select.From.IsZero() && p.time.Before(r.v.Select.From) {
		return // older than all that is in scope
	}
	t.count(p)
	r.Foreign++
	if r.v.Natives {
		return
	}
	if len(r.Strays) >= maxStrays {
		if r.v.Ledger != nil {
			r.Overflow[Unverifiable]++ // the ledger may speak of it
			return
		}
		r.Overflow[Extra]++
		return
	}
	r.Strays = append(r.Strays, stray{
		Target: t.Index, After: after, Position: p.position.Clone(), Key: p.key, Time: p.time, Cell: p.cell, Tag: p.tag,
	})
}

// bookPlaced books a record with a coordinate, in a passage. The lock is held.
func (r *run) bookPlaced(a *passage, after bridge.Position, p *placed) {
	t, s := a.t, a.enter(p.origin.Partition)
	if s == nil {
		r.unknown(p)
		return
	}
	r.noteHoles(t, p, s.Index) // of what is out of scope, too
	if !r.chosen(s) || !s.Start.IsZero() && !p.at.After(s.Start) {
		return
	}
	if r.below(s, p) {
		return
	}
	i := s.find(p.at)
	if p.foreign && (i < 0 || s.Windows[i].Cells == nil) {
		r.stray(t, after, p) // neither ahead nor again: the mirror did not write it
		return
	}
	if i < 0 {
		r.Ahead++
		if p.at.After(r.Farthest[s.ID]) {
			r.Farthest[s.ID] = p.at.Clone()
		}
		return
	}
	t.count(p)
	if !p.foreign {
		r.noteHead(t, s, p.at)
	}
	w := s.Windows[i]
	if w.Cells == nil {
		r.late(t, s, w, p)
		return
	}
	a.in(w, after, p.position)
	if p.foreign {
		r.Foreign++
		w.suspect(p.cell)
		return
	}
	if !p.right {
		w.suspect(p.cell)
	}
	r.occur(t, s, w, p)
}

// unknown notes a record of a partition that was not listed. The lock is held.
func (r *run) unknown(p *placed) {
	id := p.origin.Partition
	if only := r.v.Select.Partitions; len(only) > 0 && !slices.Contains(only, id) {
		return
	}
	r.Unknown[id] = true
	r.BeforeOf[id]++
}

// below handles a coordinate before the first one that the source still has.
func (r *run) below(s *sourcePart, p *placed) bool {
	at := p.at
	if !s.headless || at.After(s.Through) || !s.First.IsZero() && !s.First.After(at) {
		return false
	}
	if r.beforeScope(s, p) {
		r.Before++
	} else {
		r.uncovered(Uncovered{Side: "source", Partition: s.ID, Through: at.Clone(), Class: Unverifiable,
			Reason: "the target holds older records than the source still has"})
	}
	return true
}

// beforeScope reports whether what stands before the first record in scope stands before the
// scope, too: the source still holds a record from before it, so nothing in between has expired.
// If it does not, a record that was mirrored from a shard tells by its time, which is when it
// arrived there. The lock is held.
func (r *run) beforeScope(s *sourcePart, p *placed) bool {
	if r.v.from().IsZero() {
		return false
	}
	if !s.Oldest.IsZero() && (s.First.IsZero() || s.First.After(s.Oldest)) {
		return true
	}
	_, offsets := r.v.Source.(bridge.Ender)
	return !offsets && r.v.Keeps.Time && !p.foreign && p.time.Before(r.v.from())
}

// occur tells first occurrences from repeats. The lock is held.
func (r *run) occur(t *targetPart, s *sourcePart, w *window, p *placed) {
	r.Suspects++
	if r.bitmapped {
		r.occurByBit(t, s, w, p)
		return
	}
	where := pair{t.Index, s.Index}
	o, top := r.Marks.visit(where, p.at)
	if o != first {
		w.Repeats.add(p.digest, p.size)
		s.between(p.cell, p.at, top)
		r.afterChildren(t, s, p) // it may be the first one after all, and late
		return
	}
	r.Suspects--
	r.firstHere(w, p)
	r.afterChildren(t, s, p)
}

func (r *run) firstHere(w *window, p *placed) {
	w.Firsts.add(p.digest, p.size)
	w.Cells[w.index(p.cell)].sub(p.digest, p.size)
}

// afterChildren suspects a record that stands behind records of a descendant of its
// shard. The lock is held.
func (r *run) afterChildren(t *targetPart, s *sourcePart, p *placed) {
	for _, d := range s.descendants {
		top := r.Marks[pair{t.Index, d}]
		if top == nil {
			continue
		}
		r.Suspects++
		s.behind(p.cell, p.at)
		child := r.Sources[d]
		child.between(p.cell, bridge.Position{}, *top)
		if n := len(child.Windows); n > 0 {
			child.Windows[0].suspect(p.cell)
		}
	}
}

// beyond reports whether an offset is beyond all that this partition, and those that it
// descends from, hold of a source partition, and notes it. One that is was not overtaken,
// and is no copy of one that was met here. The lock is held.
func (t *targetPart) beyond(source int, offset int64) bool {
	head := int64(0)
	for _, p := range t.line {
		if source < len(p.Heads) {
			head = max(head, p.Heads[source])
		}
	}
	if offset < head {
		return false
	}
	for source >= len(t.Heads) {
		t.Heads = append(t.Heads, 0)
	}
	t.Heads[source] = offset + 1
	return true
}

// occurByBit is for targets where keys overtake each other. Bitmap and table are of the
// source partition, and what they hold depends on how far each partition of the target was
// read; so they are asked only of records that others have overtaken where they stand. The
// lock is held.
func (r *run) occurByBit(t *targetPart, s *sourcePart, w *window, p *placed) {
	offset, err := p.at.Offset()
	if err != nil {
		offset = -1
	}
	if s.seen == nil {
		s.seen, s.last = newBitmap(), newOrderTable(len(r.Sources))
	}
	beyond := t.beyond(s.Index, offset)
	if o := s.seen.visit(offset); o == again || o == unsure && !beyond {
		w.Repeats.add(p.digest, p.size)
		w.suspect(p.cell)
		return
	}
	r.firstHere(w, p)
	ahead := s.last.visit(p.key, p.slot, offset)
	if beyond || ahead < 0 {
		r.Suspects--
		return
	}
	s.between(p.cell, p.at, bridge.OffsetPosition(ahead))
}

// late is a record of a window that was judged and let go: it was there before. The lock
// is held.
func (r *run) late(t *targetPart, s *sourcePart, w *window, p *placed) {
	class := Duplicate
	if w.Repeats.add(p.digest, p.size); !p.right {
		class = Misrouted
	}
	r.find(Finding{
		Class: class, Source: Place{Partition: s.ID, Position: p.at}, Target: Place{Partition: t.ID, Position: p.position.Clone()},
		Key: keyText(p.key), Records: 1, First: time.Now().UTC(), Confirmed: time.Now().UTC(),
		Reason: "its window was judged before; not compared",
	}, w)
}

// widen keeps the places of windows within their bound: the oldest are let go. The lock
// is held.
func (r *run) widen() {
	for r.spans > maxSpans {
		before := r.spans
		for _, s := range r.Sources {
			for _, w := range s.Windows {
				if !w.Wide && r.spans > maxSpans && len(w.Spans) > 0 {
					r.spans -= len(w.Spans)
					w.Spans, w.Wide = nil, true
				}
			}
		}
		if r.spans == before {
			return
		}
	}
}
