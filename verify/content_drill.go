package verify

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
)

// A keyed is one record in a drill of content mode.
type keyed struct {
	part    int // index of its partition
	place   Place
	content digest
	id      uint64 // keyed hash of the record's own id; 0 if it has none
	later   bool   // of the source, behind the fence
	right   bool   // of the target, where its key belongs
	order   int    // of reading
}

// A contentDrill holds all records of chosen cells, by key.
type contentDrill struct {
	r              *run
	cells          [cellsPerWindow / 64]uint64
	source, target map[uint64][]keyed
	n              int
}

func (d *contentDrill) has(cell int) bool { return d.cells[cell/64]&(1<<(cell%64)) != 0 }

// judgeContent looks at the cells that differ until they stay the same.
func (r *run) judgeContent(ctx context.Context) error {
	r.mu.Lock()
	cells, n := r.suspects()
	r.All.Drilled = n
	r.mu.Unlock()
	var confirmed []sighting
	last := &pass{}
	if n > 0 {
		var err error
		confirmed, last, err = r.confirm(ctx, func(ctx context.Context, _ bool) (*pass, error) { return r.lookContent(ctx, cells) })
		if err != nil {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.All
	for _, s := range confirmed {
		c.Found.add(s.f.Class, s.f.Records)
		r.sample(s.f)
	}
	for e, n := range last.more {
		c.Found.add(e.class, n)
	}
	c.Verdict = Consistent
	switch {
	case c.Found.bad() > 0:
		c.Verdict = Inconsistent
	case c.Found.Unread > 0:
		c.Verdict, c.Reason = Inconclusive, "differences changed with every look"
	case c.Residues < sixteenths:
		c.Verdict, c.Reason = Inconclusive, "the order of "+c.orderCoverage()+" of the keys was followed"
	}
	// What is there again, and what came behind the fence, is not compared.
	copies := c.Target.N - (c.Source.N - c.Found.Missing) - c.Found.Extra
	c.Copies = max(copies, c.Found.Duplicate)
	return nil
}

// lookContent drills all suspect cells once, in rounds that fit into memory.
func (r *run) lookContent(ctx context.Context, cells [cellsPerWindow / 64]uint64) (*pass, error) {
	p := newPass(r.v.most)
	perCell := 1 + (r.All.Source.N+r.All.Target.N)/cellsPerWindow
	group := max(int(int64(r.v.DrillRecords)/perCell), 1)
	var now [cellsPerWindow / 64]uint64
	n := 0
	flush := func() error {
		if n == 0 {
			return nil
		}
		d := &contentDrill{r: r, cells: now, source: map[uint64][]keyed{}, target: map[uint64][]keyed{}}
		if err := d.read(ctx); err != nil {
			return err
		}
		o := d.judge()
		p.take(o)
		now, n = [cellsPerWindow / 64]uint64{}, 0
		return nil
	}
	for cell := range cellsPerWindow {
		if cells[cell/64]&(1<<(cell%64)) == 0 {
			continue
		}
		now[cell/64] |= 1 << (cell % 64)
		if n++; n >= group {
			if err := flush(); err != nil {
				return nil, err
			}
		}
	}
	return p, flush()
}

// read reads both sides to what they hold now, the target first: what it holds beyond the
// fence stands on the source, too, and is no invention.
func (d *contentDrill) read(ctx context.Context) error {
	r := d.r
	scan := &drill{r: r}
	dg := r.canon.digester()
	for _, t := range r.targets() {
		began := time.Now()
		err := scan.scan(ctx, r.v.Target, t.ID, bridge.Position{}, time.Time{}, func(b bridge.Batch) bool {
			for i := range b.Records {
				p := r.place(dg, t, &b.Records[i])
				if d.wants(&p.prepared) {
					d.add(d.target, p.key, keyed{part: t.Index, content: p.content, id: d.idOf(&b.Records[i]), right: p.right,
						place: Place{Partition: t.ID, Position: p.position.Clone(), Time: p.time}})
				}
			}
			return b.Ended || b.Behind == 0 && b.Asked.After(began) || scan.passed(b, began)
		})
		if err != nil {
			return fmt.Errorf("read target partition %s again: %w", t.ID, err)
		}
	}
	for _, s := range r.Sources {
		if !r.chosen(s) {
			continue
		}
		began := time.Now()
		start := bridge.Start{After: s.Start, At: r.v.Select.From}
		err := scan.scanFrom(ctx, r.v.Source, s.ID, start, func(b bridge.Batch) bool {
			for i := range b.Records {
				rec := &b.Records[i]
				p := r.prepare(dg, s.ID, rec)
				if d.wants(&p) && !p.dropped {
					d.add(d.source, p.key, keyed{part: s.Index, content: p.content, id: d.idOf(rec), later: rec.Position.After(s.LastRecord),
						place: Place{Partition: s.ID, Position: rec.Position.Clone(), Time: rec.Time}})
				}
			}
			return b.Ended || b.Behind == 0 && b.Asked.After(began) || scan.passed(b, began)
		})
		if err != nil {
			return fmt.Errorf("read source partition %s again: %w", s.ID, err)
		}
	}
	return nil
}

func (d *contentDrill) wants(p *prepared) bool {
	return d.has(p.cell) && (d.r.keys == nil || d.r.keys[p.key])
}

func (d *contentDrill) add(side map[uint64][]keyed, key uint64, k keyed) {
	d.n++
	k.order = d.n
	side[key] = append(side[key], k)
}

func (d *contentDrill) idOf(rec *bridge.Record) uint64 {
	if d.r.v.RecordID == nil {
		return 0
	}
	id := d.r.v.RecordID(rec)
	if id == nil {
		return 0
	}
	return d.r.canon.keyHash(id) | 1
}

// judge compares key by key.
func (d *contentDrill) judge() *outcome {
	o := &outcome{}
	keys := map[uint64]bool{}
	for k := range d.source {
		keys[k] = true
	}
	for k := range d.target {
		keys[k] = true
	}
	for k := range keys {
		d.judgeKey(o, k)
	}
	return o
}

// judgeKey matches the records of one key content by content, the first with the first,
// and looks whether what matches is in order.
func (d *contentDrill) judgeKey(o *outcome, key uint64) {
	source, target := d.source[key], d.target[key]
	byOrder := func(a, b keyed) int { return cmp.Or(cmp.Compare(a.part, b.part), cmp.Compare(a.order, b.order)) }
	slices.SortStableFunc(source, byOrder)
	slices.SortStableFunc(target, byOrder)
	free := map[digest][]int{} // of each content, which of the source are not matched yet
	had := map[digest]bool{}
	for i, s := range source {
		free[s.content] = append(free[s.content], i)
		had[s.content] = true
	}
	top := -1
	for _, t := range target {
		list := free[t.content]
		f := Finding{Target: t.place, Key: keyText(key)}
		switch {
		case len(list) == 0 && had[t.content]:
			f.Class = Duplicate
		case len(list) == 0:
			f.Class = Extra
			if i := known(source, free, t.id); i >= 0 {
				free[source[i].content] = slices.DeleteFunc(free[source[i].content], func(j int) bool { return j == i })
				f.Class, f.Source, f.What = Corrupt, source[i].place, []string{"content"}
			}
		default:
			i := list[0]
			free[t.content] = list[1:]
			f.Source = source[i].place
			switch {
			case !t.right:
				f.Class = Misrouted
			case i < top && d.related(source[i], source[top]):
				f.Class, f.Other = Reordered, Place{Partition: source[top].place.Partition, Position: source[top].place.Position}
			}
			if t.right {
				top = max(top, i)
			}
		}
		if f.Class != "" {
			o.add(nil, f)
		}
	}
	for i, s := range source {
		if left := free[s.content]; slices.Contains(left, i) && !s.later {
			o.add(nil, Finding{Class: Missing, Source: s.place, Key: keyText(key)})
		}
	}
}

// known is which unmatched record of the source has an id, -1 if none.
func known(source []keyed, free map[digest][]int, id uint64) int {
	for i, s := range source {
		if id != 0 && s.id == id && slices.Contains(free[s.content], i) {
			return i
		}
	}
	return -1
}

// related reports whether the order of two records of one key is known.
func (d *contentDrill) related(a, b keyed) bool {
	return a.part == b.part || d.r.Sources[b.part].ancestors[a.part]
}
