package verify

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
)

// A verdictOf collects what one drill pass says.
type outcome struct {
	findings []Finding
	windows  []*window // of each finding, nil if it has none
	// left is, by window and cell, source minus first occurrences minus dead letters.
	left map[*window]map[int]tally
	// repeats are, by window, what is there again.
	repeats map[*window]tally
}

// byPlace is the order of the target.
func byPlace(a, b *item) int {
	return cmp.Or(cmp.Compare(a.t.Index, b.t.Index), a.place.Compare(b.place))
}

func (o *outcome) add(w *window, f Finding) {
	f.First = time.Now().UTC()
	if f.Records == 0 {
		f.Records = 1
	}
	o.findings = append(o.findings, f)
	o.windows = append(o.windows, w)
}

// judge joins both sides by coordinate. The run's lock is held.
func (d *drill) judge() *outcome {
	o := &outcome{left: map[*window]map[int]tally{}, repeats: map[*window]tally{}}
	for _, list := range d.target {
		slices.SortFunc(list, byPlace)
	}
	firsts := map[coord]*item{}
	var repeats []*item
	for c, src := range d.source {
		w := d.window(c.Source, src.at)
		f, more := d.judgeOne(o, w, src, d.target[c])
		if f != nil {
			firsts[c] = f
		}
		repeats = append(repeats, more...)
	}
	for c, list := range d.target {
		if d.source[c] == nil {
			d.invented(o, list)
		}
	}
	d.judgeStrays(o)
	d.judgeRepeats(o, repeats)
	d.judgeOrder(o, firsts)
	return o
}

// settle books what a cell still lacks.
func (d *drill) settle(o *outcome, w *drillWindow, src, found *item, dead bool) {
	if !w.has(src.cell) {
		return
	}
	cells := o.left[w.w]
	if cells == nil {
		cells = map[int]tally{}
		o.left[w.w] = cells
	}
	t := cells[src.cell]
	t.add(d.bound(src), src.size)
	switch {
	case found != nil:
		t.sub(d.bound(found), found.size)
	case dead:
		t.sub(d.bound(src), src.size)
	}
	cells[src.cell] = t
}

func (d *drill) bound(i *item) digest { return d.r.canon.bind(i.content, i.s.ID, i.at) }

// judgeOne compares a record of the source with all that was found at its coordinate. It
// returns the first occurrence, if that is fit to judge order by, and equal repeats.
func (d *drill) judgeOne(o *outcome, w *drillWindow, src *item, copies []*item) (first *item, repeats []*item) {
	var own, foreign []*item
	for _, c := range copies {
		if c.foreign {
			foreign = append(foreign, c)
		} else {
			own = append(own, c)
		}
	}
	dead, isDead := d.dead[coordOf(src.s.Index, src.at)]
	best := choose(src, own)
	stands := best
	if best == nil && len(foreign) > 0 {
		stands = foreign[0] // changed, so that its provenance does not hold, but there
	}
	d.settle(o, w, src, stands, isDead && dead == src.content)
	switch {
	case best == nil && len(foreign) > 0 && w.has(src.cell):
		what := src.fields.differ(foreign[0].fields)
		if len(what) == 0 {
			what = []string{"provenance"}
		}
		o.add(w.w, d.finding(Corrupt, src, foreign[0], what))
		foreign = foreign[1:]
	case best == nil && isDead:
		if dead != src.content {
			o.add(w.w, d.finding(Corrupt, src, nil, []string{"dead letter"}))
		}
	case best == nil && w.has(src.cell):
		f := d.absent(src)
		f.change.sub(d.bound(src), src.size)
		o.add(w.w, f)
	case best != nil && best.content != src.content:
		f := d.finding(Corrupt, src, best, src.fields.differ(best.fields))
		f.change.sub(d.bound(src), src.size)
		f.change.add(d.bound(best), best.size)
		o.add(w.w, f)
	case best != nil && !d.inPlace(src, best):
		o.add(w.w, d.finding(Misrouted, src, best, nil))
	default:
		first = best
	}
	for _, c := range own {
		switch {
		case c == best:
		case c.content == src.content && !d.inPlace(src, c):
			f := d.finding(Misrouted, src, c, nil)
			f.Reason = "a copy in a partition where its key does not belong"
			o.add(w.w, f)
		case c.content == src.content:
			repeats = append(repeats, c)
		default:
			o.add(w.w, d.finding(Corrupt, src, c, src.fields.differ(c.fields)))
		}
	}
	for _, c := range foreign {
		f := d.finding(Extra, src, c, nil)
		f.Reason = "a copy that the mirror did not write"
		o.add(w.w, f)
	}
	return first, repeats
}

// choose is the copy that counts as the first: the earliest of those that are right in
// most.
func choose(src *item, own []*item) (best *item) {
	rank := func(c *item) int {
		switch {
		case c.content == src.content && c.right:
			return 0
		case c.content == src.content:
			return 1
		}
		return 2
	}
	for _, c := range own {
		if best == nil || rank(c) < rank(best) {
			best = c
		}
	}
	return best
}

// inPlace reports whether a record stands where its key belongs.
func (d *drill) inPlace(src, c *item) bool {
	if d.r.keyed {
		return c.t.hash.holdsKey(src.raw)
	}
	return src.expected == "" || c.t.ID == src.expected
}

func (d *drill) finding(class Class, src, c *item, what []string) Finding {
	f := Finding{Class: class, What: what}
	if src != nil {
		f.Source = Place{Partition: src.s.ID, Position: src.at, Time: src.time}
		f.Key, f.Expected = keyText(src.key), src.expected
	}
	if c != nil {
		f.Target = Place{Partition: c.t.ID, Position: c.place, Time: c.time}
		if src == nil {
			f.Key = keyText(c.key)
		}
		if src == nil && c.s != nil {
			f.Source = Place{Partition: c.s.ID, Position: c.at}
		}
	}
	return f
}

// absent says what it means that a record is nowhere: missing, unless there is a reason
// why it cannot be seen, or cannot be there yet.
func (d *drill) absent(src *item) Finding {
	r := d.r
	f := d.finding(Missing, src, nil, nil)
	if r.acked != nil && src.at.After(r.acked[src.s.ID].Position) {
		f.Class, f.Reason = Unread, "the mirror has not acknowledged it yet"
		return f
	}
	if r.deadLost {
		f.Class, f.Reason = Unread, "it may be among the dead letters, which cannot be read"
		return f
	}
	if d.noDead != "" {
		f.Class, f.Reason = Unread, d.noDead
		return f
	}
	for _, t := range r.Targets {
		if !d.belongs(t, src) {
			continue
		}
		switch h := d.holeOf(t, src.s.Index, src.at); {
		case t.Lost != "":
			f.Class, f.Reason = Unread, "target partition "+t.ID+" was not read to its end"
		case d.unread[t.Index] != "":
			f.Class, f.Reason = Unread, d.unread[t.Index]
		case h != nil && r.v.Ledger == nil:
			f.Class, f.Reason, f.hole, f.in = Unverifiable, h.reason(t.ID), h, t.ID
		}
	}
	if r.v.Ledger == nil && f.Class == Missing {
		if shard, may := d.mayHaveExpired(src); may {
			f.Class, f.Reason = Unverifiable, "it may have stood before the oldest records that "+shard+" still has"
		}
	}
	if at, ok := d.ledgered(src); ok && f.Class == Missing {
		f.Reason = "the ledger says that it stands in " + at.Partition + " at " + at.Seq
		if d.expired(at) {
			f.Class, f.Reason = Unverifiable, "the ledger says that it was stored, and the place has expired"
		}
	} else if f.Class == Missing && d.unledgered(src) {
		f.Class, f.Reason, f.forgot = Unverifiable, "the ledger has forgotten the entries that may have spoken of it", true
	}
	return f
}

// belongs reports whether a record of the source should stand in a target partition.
func (d *drill) belongs(t *targetPart, src *item) bool {
	if d.r.keyed {
		return t.hash.holdsKey(src.raw)
	}
	return src.expected == "" || src.expected == t.ID
}

// begins reports whether a record that stands behind later ones of its key may be a copy, whose
// first occurrence nobody can read any more.
func (d *drill) begins(src, c *item) (reason string, h *hole) {
	if h := d.holeOf(c.t, c.s.Index, c.at); h != nil {
		return h.reason(c.t.ID), h
	}
	if d.r.v.Ledger == nil {
		if shard, may := d.mayHaveExpired(src); may {
			return "it may have stood before the oldest records that " + shard + " still has", nil
		}
	}
	if at, ok := d.ledgered(src); ok && d.expired(at) {
		return "the ledger says that it was stored, and the place has expired", nil
	}
	return "", nil
}

// ledgered is where the ledger says that a record stands.
func (d *drill) ledgered(src *item) (spot, bool) {
	if d.placeOf == nil {
		d.placeOf = map[coord]spot{}
		for at, known := range d.spots {
			if s := d.r.sourceByID[known.origin.Partition]; s != nil {
				d.placeOf[coordOf(s.Index, known.origin.Position)] = at
			}
		}
	}
	at, ok := d.placeOf[coordOf(src.s.Index, src.at)]
	return at, ok
}

// expired reports whether a place is before the first record that a shard still has.
func (d *drill) expired(at spot) bool {
	t := d.r.targetByID[at.Partition]
	p, err := bridge.ParsePosition(at.Seq)
	if t == nil || err == nil && (t.First.IsZero() || t.First.After(p)) {
		return true
	}
	for _, h := range append(slices.Clone(t.Holes), d.holes[t.Index]...) {
		if p.After(h.After) && (h.Before.IsZero() || h.Before.After(p)) {
			return true
		}
	}
	return false
}

// invented are records with a coordinate at which the source has nothing.
func (d *drill) invented(o *outcome, list []*item) {
	for _, c := range list {
		w := d.window(c.s.Index, c.at)
		if from, forgot := d.from[w.w]; forgot && (from.IsZero() || from.After(c.at)) {
			continue // the source may have held it
		}
		f := d.finding(Extra, nil, c, nil)
		if d.r.v.Compacted {
			f.Class, f.Reason = Unverifiable, "the source is compacted and may have held it"
		}
		o.add(w.w, f)
	}
}

// judgeStrays are records without a coordinate: extra, unless the ledger may have spoken of
// them where it cannot be read.
func (d *drill) judgeStrays(o *outcome) {
	for at, c := range d.strays {
		f := d.finding(Extra, nil, c, nil)
		f.Reason = "it has no coordinate of this workflow's source"
		if d.noLedger != "" {
			f.Class, f.Reason = Unread, d.noLedger
		} else if class, reason := d.r.ledgerUnknown(at.Partition, c.place); reason != "" {
			f.Class, f.Reason, f.forgot = class, reason, class == Unverifiable
		}
		o.add(nil, f)
	}
}

// judgeRepeats tells single duplicates from runs that stand there again in their order.
func (d *drill) judgeRepeats(o *outcome, repeats []*item) {
	slices.SortFunc(repeats, byPlace)
	for _, c := range repeats {
		w := d.window(c.s.Index, c.at).w
		t := o.repeats[w]
		t.add(d.bound(c), c.size)
		o.repeats[w] = t
	}
	for i := 0; i < len(repeats); {
		j := i + 1
		for j < len(repeats) && follows(repeats[j-1], repeats[j]) && !repeats[j-1].late && !repeats[j].late {
			j++
		}
		src := d.source[coordOf(repeats[i].s.Index, repeats[i].at)]
		class := Duplicate
		if j-i > 1 {
			class = Rewind
		}
		if repeats[i].late {
			class = Rewind
		}
		f := d.finding(class, src, repeats[i], nil)
		f.Records = int64(j - i)
		if repeats[i].late {
			f.Reason = "a copy of a put that got no answer in its time"
		} else if class == Rewind {
			last := repeats[j-1]
			f.Other = Place{Partition: last.t.ID, Position: last.place}
			f.Reason = fmt.Sprintf("%d records stand there again in their order, up to %s", j-i, last.at)
		}
		o.add(d.window(src.s.Index, src.at).w, f)
		i = j
	}
}

// follows reports whether b stands directly behind a, and does so on the source, too.
func follows(a, b *item) bool {
	return a.t == b.t && a.s == b.s && b.ordinal == a.ordinal+1 && b.at.After(a.at)
}

// judgeOrder looks at the first occurrences of each key.
func (d *drill) judgeOrder(o *outcome, firsts map[coord]*item) {
	byKey := map[uint64][]*item{}
	for c, f := range firsts {
		src := d.source[c]
		byKey[src.key] = append(byKey[src.key], f)
	}
	for _, list := range byKey {
		slices.SortFunc(list, byPlace)
		d.judgeKey(o, list)
	}
}

// judgeKey reports each record that stands behind one that came later on the source.
func (d *drill) judgeKey(o *outcome, list []*item) {
	d.r.overtaken(list, func(c, by *item) {
		src := d.source[coordOf(c.s.Index, c.at)]
		f := d.finding(Reordered, src, c, nil)
		f.Other = Place{Partition: by.s.ID, Position: by.at}
		if reason, h := d.begins(src, c); reason != "" {
			f.Class, f.Reason, f.hole, f.in = Unverifiable, "it stands behind later records of its key, and "+reason, h, c.t.ID
		}
		o.add(d.window(c.s.Index, c.at).w, f)
	})
}

// overtaken calls fn for each record of a key that stands behind one that came later on the
// source. The list is in the order of the target. The one that overtook is of the record's
// own source partition, if there is one, else of its first descendant that has one.
func (r *run) overtaken(list []*item, fn func(c, by *item)) {
	tops := map[int]*item{} // by source partition
	for n, c := range list {
		if n > 0 && !r.keyed && list[n-1].t != c.t {
			clear(tops) // the order of two partitions of a topic is not known
		}
		for _, i := range append([]int{c.s.Index}, c.s.descendants...) {
			top := tops[i]
			if top == nil || i == c.s.Index && !top.at.After(c.at) {
				continue
			}
			fn(c, top)
			break
		}
		if top := tops[c.s.Index]; top == nil || c.at.After(top.at) {
			tops[c.s.Index] = c
		}
	}
}
