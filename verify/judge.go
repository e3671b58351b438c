package verify

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"
)

const (
	// passes is how often differences are looked at again until they stay the same.
	passes = 5
	// maxFindings bounds the differences of one pass that are held one by one.
	maxFindings = 1 << 18
)

// A seenKey tells one difference from another, from pass to pass. Other is no part of it:
// which record overtook another, and how long a rewind is, can change while records arrive.
type seenKey struct {
	class          Class
	source, target spot
}

func keyOf(f *Finding) seenKey {
	return seenKey{f.Class, spotOf(f.Source.Partition, f.Source.Position), spotOf(f.Target.Partition, f.Target.Position)}
}

// A sighting is one difference of a pass.
type sighting struct {
	f Finding
	w *window
}

type excess struct {
	w     *window
	class Class
}

// A pass is all that one look at the suspect cells showed.
type pass struct {
	most  int // that are held in seen
	seen  map[seenKey]sighting
	order []seenKey        // of seen, the same at every look
	more  map[excess]int64 // beyond maxFindings
	left  map[*window]map[int]tally
	lost  map[*window]string // why a window cannot be judged
	gone  map[*window]int64  // how many of its records the source has forgotten
	// repeats are, by window, what is there again.
	repeats map[*window]tally
}

// newPass is a pass that holds at most so many differences one by one.
func newPass(most int) *pass {
	return &pass{most: most, seen: map[seenKey]sighting{}, more: map[excess]int64{}, left: map[*window]map[int]tally{}, lost: map[*window]string{},
		gone: map[*window]int64{}, repeats: map[*window]tally{}}
}

// closedWindows are the windows that can be judged: all if closed is zero, else those
// that were closed before, and are not judged yet.
func (r *run) closedWindows(closed time.Time) []*drillWindow {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []*drillWindow
	for _, s := range r.Sources {
		for _, w := range s.Windows {
			if !w.Done && (closed.IsZero() || !w.ClosedAt.IsZero() && w.ClosedAt.Before(closed)) {
				list = append(list, &drillWindow{s: s, w: w})
			}
		}
	}
	return list
}

// judge drills what is suspect in the given windows until it stays the same, and notes
// the verdict of each.
func (r *run) judge(ctx context.Context, windows []*drillWindow) error {
	r.mu.Lock()
	var bad []*drillWindow
	for _, d := range windows {
		d.w.Drilled = 0
		for cell := range cellsPerWindow {
			if d.w.bad(cell) {
				d.cells[cell/64] |= 1 << (cell % 64)
				d.w.Drilled++
			}
		}
		if d.w.Drilled > 0 {
			bad = append(bad, d)
		}
	}
	strays := r.Strays
	r.mu.Unlock()
	confirmed, last := []sighting(nil), newPass(0)
	if len(bad) > 0 || len(strays) > 0 {
		var err error
		confirmed, last, err = r.confirm(ctx, func(ctx context.Context, again bool) (*pass, error) { return r.look(ctx, bad, strays, again) })
		if err != nil {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Strays = r.Strays[len(strays):]
	for _, d := range windows {
		if last.lost[d.w] == "" && last.gone[d.w] == 0 {
			r.correct(d.w, last)
		}
	}
	open := map[*window]*Uncovered{}
	for _, s := range confirmed {
		r.find(s.f, s.w)
		if s.f.hole != nil {
			r.uncovered(s.f.hole.uncovered(s.f.in))
		}
		if s.f.forgot && r.Join != nil {
			r.uncovered(Uncovered{Side: "ledger", Through: r.Join.Head, Class: Unverifiable, Counted: true, Reason: "it has forgotten its oldest entries"})
		}
		if u := open[s.w]; !s.f.open() || s.w == nil {
			continue
		} else if u == nil || s.f.Source.Position.After(u.Through) {
			open[s.w] = &Uncovered{Through: s.f.Source.Position, Class: s.f.Class, Reason: s.f.Reason}
		}
	}
	for _, d := range windows {
		r.close(d, last, open[d.w])
	}
	return nil
}

// confirm looks until two looks in a row show the same, settle apart. If none do, it returns
// what the last two share, and the rest of the last one as not settled.
func (r *run) confirm(ctx context.Context, look func(ctx context.Context, again bool) (*pass, error)) ([]sighting, *pass, error) {
	before := &pass{}
	for n := 1; ; n++ {
		now, err := look(ctx, n > 1)
		if err != nil {
			return nil, nil, err
		}
		same, rest := now.common(before)
		// Where there are more than are held, those that were held twice stand for all.
		full := len(now.seen) >= now.most && len(same) > 0
		switch {
		case len(now.seen) == 0 || n > 1 && (len(rest) == 0 || full):
			now.more = least(now.more, before.more)
			return same, now, nil
		case n == passes:
			now.more = least(now.more, before.more)
			return append(same, rest...), now, nil
		}
		before = now
		if err := pause(ctx, r.v.Settle); err != nil {
			return nil, nil, err
		}
	}
}

// common divides the differences of a pass: those that an earlier pass showed, too, with the
// time of then, and the others, as not settled.
func (p *pass) common(before *pass) (same, rest []sighting) {
	for _, k := range p.order {
		s := p.seen[k]
		old, ok := before.seen[k]
		if !ok {
			s.f.Class, s.f.What = Unread, nil
			s.f.Reason = fmt.Sprintf("not settled: the last look shows it as %s, the one before did not", k.class)
			rest = append(rest, s)
			continue
		}
		s.f.Confirmed, s.f.First = s.f.First, old.f.First
		p.seen[k] = s
		same = append(same, s)
	}
	return same, rest
}

func least(a, b map[excess]int64) map[excess]int64 {
	out := map[excess]int64{}
	for k, n := range a {
		if m := min(n, b[k]); m > 0 {
			out[k] = m
		}
	}
	return out
}

// look drills all suspect cells once, in as many rounds as their number needs.
func (r *run) look(ctx context.Context, bad []*drillWindow, strays []stray, tail bool) (*pass, error) {
	p := newPass(r.v.most)
	for i, group := range r.groups(bad) {
		with := strays
		if i > 0 {
			with = nil
		}
		d, err := r.drillPass(ctx, group, with, tail)
		if err != nil {
			return nil, fmt.Errorf("look at what differs: %w", err)
		}
		r.mu.Lock()
		o := d.judge()
		r.mu.Unlock()
		p.takeOpen(d)
		p.take(o)
	}
	return p, nil
}

// takeOpen takes over what a drill could not judge.
func (p *pass) takeOpen(d *drill) {
	for w, reason := range d.lost {
		p.lost[w] = reason
	}
	for w, n := range d.gone {
		p.gone[w] = max(p.gone[w], n)
	}
}

// sorted is an order of the differences that is the same at every look, so that the same
// ones are held if there are too many.
func (o *outcome) sorted() []int {
	order := make([]int, len(o.findings))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int {
		a, b := &o.findings[i], &o.findings[j]
		return cmp.Or(cmp.Compare(a.Class, b.Class), cmp.Compare(a.Source.Partition, b.Source.Partition), a.Source.Position.Compare(b.Source.Position),
			cmp.Compare(a.Target.Partition, b.Target.Partition), a.Target.Position.Compare(b.Target.Position))
	})
	return order
}

func (p *pass) take(o *outcome) {
	for _, i := range o.sorted() {
		f, w := o.findings[i], o.windows[i]
		if p.lost[w] != "" {
			continue
		}
		if len(p.seen) >= p.most {
			p.more[excess{w, f.Class}] += f.Records
			continue
		}
		k := keyOf(&f)
		if _, ok := p.seen[k]; !ok {
			p.order = append(p.order, k)
		}
		p.seen[k] = sighting{f, w}
	}
	for w, t := range o.repeats {
		sum := p.repeats[w]
		sum.merge(t)
		p.repeats[w] = sum
	}
	for w, cells := range o.left {
		if p.left[w] == nil {
			p.left[w] = map[int]tally{}
		}
		for c, t := range cells {
			p.left[w][c] = t
		}
	}
}

// groups divides the suspect cells so that no round holds too many records. All windows of
// one cell stay together: order is judged among them.
func (r *run) groups(bad []*drillWindow) [][]*drillWindow {
	var load [cellsPerWindow]int64
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, d := range bad {
		for cell := range cellsPerWindow {
			if d.has(cell) {
				load[cell] += 1 + (d.w.Source.N+d.w.Repeats.N)/cellsPerWindow
			}
		}
	}
	var out [][]*drillWindow
	for from := 0; from < cellsPerWindow; {
		to, sum := from, int64(0)
		for to < cellsPerWindow && (to == from || sum+load[to] <= int64(r.v.DrillRecords)) {
			sum += load[to]
			to++
		}
		if sum > 0 {
			out = append(out, only(bad, from, to))
		}
		from = to
	}
	if len(out) == 0 {
		out = append(out, nil)
	}
	return out
}

// only keeps of each window the cells from one to another.
func only(bad []*drillWindow, from, to int) []*drillWindow {
	var out []*drillWindow
	for _, d := range bad {
		part := &drillWindow{s: d.s, w: d.w}
		any := false
		for cell := from; cell < to; cell++ {
			if d.has(cell) {
				part.cells[cell/64] |= 1 << (cell % 64)
				any = true
			}
		}
		if any {
			out = append(out, part)
		}
	}
	return out
}

// correct puts what an exact join found in the place of what was counted on the way. The
// lock is held.
func (r *run) correct(w *window, p *pass) {
	if w.Drilled > 0 {
		w.Repeats = p.repeats[w] // and not what was only overtaken
	}
	exact := map[int]tally{}
	for cell, t := range p.left[w] {
		i := w.index(cell)
		sum := exact[i]
		sum.merge(t)
		exact[i] = sum
	}
	for i, t := range exact {
		if w.Cells[i].isZero() {
			continue
		}
		w.Firsts.merge(w.Cells[i])
		w.Firsts.remove(t)
		w.Cells[i] = t
	}
	for cell := range cellsPerWindow {
		// A cell that differed only by what the source never had.
		if _, ok := exact[w.index(cell)]; !ok && !w.Cells[w.index(cell)].isZero() {
			w.Firsts.merge(w.Cells[w.index(cell)])
			w.Cells[w.index(cell)] = tally{}
		}
	}
}

// find notes a confirmed difference. The lock is held.
func (r *run) find(f Finding, w *window) {
	if r.v.Continuous && !r.tell(&f) {
		return
	}
	if w != nil {
		w.Found.add(f.Class, f.Records)
	} else {
		r.Loose.add(f.Class, f.Records)
	}
	r.sample(f)
}

// sample keeps a difference if there are not enough of its class yet. The lock is held.
func (r *run) sample(f Finding) {
	if r.Sampled[f.Class] < r.v.MaxSamples {
		r.Sampled[f.Class]++
		r.Confirmed = append(r.Confirmed, f)
	}
}

// open reports whether a finding says that something could not be judged.
func (f *Finding) open() bool { return f.Class == Unread || f.Class == Unverifiable }

// close gives a window its verdict, and notes what of it was not judged: the records that u
// ends with, those that the source has forgotten, or all. The lock is held.
func (r *run) close(d *drillWindow, p *pass, u *Uncovered) {
	w := d.w
	for e, n := range p.more {
		if e.w == w {
			w.Found.add(e.class, n)
		}
	}
	w.Done = true
	if n := p.gone[w]; n > 0 {
		w.Found.add(Unverifiable, max(n*int64(w.Drilled)/cellsPerWindow, 1))
		u = &Uncovered{Through: w.Through, Class: Unverifiable, Reason: "the source has forgotten its records meanwhile"}
	}
	if reason := p.lost[w]; reason != "" {
		w.Found.add(Unread, max(w.Source.N, 1))
		u = &Uncovered{Through: w.Through, Class: Unread, Reason: reason}
	}
	w.Open = w.Found.Unread + w.Found.Unverifiable
	if w.Open > 0 && u == nil { // beyond what is held one by one
		u = &Uncovered{Through: w.Through, Class: Unread, Reason: "some of its records could not be judged"}
	}
	switch {
	case w.Found.bad() > 0:
		w.Verdict = Inconsistent
	case u != nil:
		w.Verdict, w.Reason = Inconclusive, u.Reason
	default:
		w.Verdict = Consistent
	}
	if u != nil {
		u.Side, u.Partition, u.After, u.Records = "source", d.s.ID, w.After, w.Open
		r.uncovered(*u)
	}
}

// add counts.
func (f *Findings) add(c Class, n int64) {
	switch c {
	case Missing:
		f.Missing += n
	case Extra:
		f.Extra += n
	case Corrupt:
		f.Corrupt += n
	case Duplicate:
		f.Duplicate += n
	case Reordered:
		f.Reordered += n
	case Misrouted:
		f.Misrouted += n
	case Rewind:
		f.Rewind++
	case Unread:
		f.Unread += n
	case Unverifiable:
		f.Unverifiable += n
	}
}

// ByClass is the count of each class, those that are 0 too.
func (f *Findings) ByClass() map[Class]int64 {
	return map[Class]int64{
		Missing: f.Missing, Extra: f.Extra, Corrupt: f.Corrupt, Duplicate: f.Duplicate, Reordered: f.Reordered,
		Misrouted: f.Misrouted, Rewind: f.Rewind, Unread: f.Unread, Unverifiable: f.Unverifiable,
	}
}

func (f *Findings) merge(g Findings) {
	f.Missing += g.Missing
	f.Extra += g.Extra
	f.Corrupt += g.Corrupt
	f.Duplicate += g.Duplicate
	f.Reordered += g.Reordered
	f.Misrouted += g.Misrouted
	f.Rewind += g.Rewind
	f.Unread += g.Unread
	f.Unverifiable += g.Unverifiable
}

// bad counts what makes a run inconsistent.
func (f *Findings) bad() int64 {
	return f.Missing + f.Extra + f.Corrupt + f.Reordered + f.Misrouted
}
