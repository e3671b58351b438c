package positions

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/kinesis-msk-bridge/bridge"
)

// A Backward is what Back translates.
type Backward struct {
	Target Target
	// Consumed are the bounds of the target partitions.
	Consumed Frontier
	// Sources are the source partitions as they are listed now; each gets a line.
	Sources []bridge.Partition
	// Rows say how far the mirror is known to be.
	Rows []bridge.Row
	// DeadLetters are all records that the mirror did not write but set aside.
	DeadLetters []bridge.Coordinate
	// LatestValueOnly accepts a compacted target.
	LatestValueOnly bool
	// CountLimit bounds how many records are read only to count repeats; negative is no
	// bound.
	CountLimit int64
}

// Back finds the position of each source partition. It returns an error only if the
// target could not be read.
func Back(ctx context.Context, b Backward) (Plan, error) {
	w := &back{
		Backward: b, index: b.Target.index(), near: map[string]bridge.Position{}, consumed: b.Target.memory(),
		furthest: map[string]bridge.Position{}, first: map[string]bridge.Position{}, doubt: map[string][]placed{},
		at: map[string][]Entry{},
	}
	w.checkExtents()
	for _, step := range []func(context.Context) error{w.lookNear, w.lookAhead, w.lookFar} {
		if err := step(ctx); err != nil {
			return Plan{}, err
		}
	}
	w.settle()
	if err := w.count(ctx); err != nil {
		return Plan{}, err
	}
	return w.plan, nil
}

// A back is a translation under way.
type back struct {
	Backward
	plan  Plan
	index map[string][]bridge.IndexEntry
	// near is, for each target partition, the position of the last index entry that the
	// consumer is past.
	near     map[string]bridge.Position
	consumed *memory
	// at holds what stands exactly where the consumer begins.
	at map[string][]Entry
	// furthest is the last position of each source partition that was seen consumed.
	furthest map[string]bridge.Position
	// first is the first unconsumed position of each source partition.
	first map[string]bridge.Position
	// doubt holds records behind the consumer that may be copies of consumed ones.
	doubt map[string][]placed
}

type placed struct {
	target string
	Entry
}

// checkExtents finds what was removed before it was consumed.
func (w *back) checkExtents() {
	for _, x := range w.Target.Extents {
		b := w.Consumed[x.Partition]
		if !x.Removed.IsZero() && !b.Covers(x.Removed) {
			w.plan.Problems = append(w.plan.Problems, removed(x.Partition, b.At, x.Removed, "the consumer has not consumed all of them"))
		}
		if x.Compacted && !w.LatestValueOnly {
			w.plan.Problems = append(w.plan.Problems, compacted(x.Partition))
		}
	}
}

// read calls fn for the entries behind after up to through.
func (w *back) read(ctx context.Context, partition string, after, through bridge.Position, fn func(Entry)) error {
	if !through.After(after) {
		return nil
	}
	for e, err := range w.Target.Read(ctx, partition, after, through) {
		if err != nil {
			return fmt.Errorf("read partition %s of the target: %w", partition, err)
		}
		w.plan.Read++
		fn(e)
	}
	return nil
}

// split is the last position that the consumer of a target partition has consumed or may
// have consumed; entries up to there are judged by its bound.
func (w *back) split(x Extent) bridge.Position {
	b := w.Consumed[x.Partition]
	if b.All || b.At.After(x.Through) {
		return x.Through
	}
	return b.At
}

// lookNear remembers what was consumed since the last index entry before the consumer.
func (w *back) lookNear(ctx context.Context) error {
	for _, x := range w.Target.Extents {
		b := w.Consumed[x.Partition]
		for _, e := range w.index[x.Partition] {
			if b.Covers(e.Position) {
				w.near[x.Partition] = e.Position
			}
		}
		from := later(w.near[x.Partition], x.Removed)
		if err := w.read(ctx, x.Partition, from, w.split(x), func(e Entry) {
			if b.Covers(e.At) {
				w.remember(x.Partition, e, nil)
			} else {
				w.at[x.Partition] = append(w.at[x.Partition], e)
			}
		}); err != nil {
			return err
		}
	}
	return nil
}

// remember notes that e is consumed. If there is a threshold for each source partition,
// what is before it is not kept.
func (w *back) remember(target string, e Entry, threshold map[string]bridge.Position) {
	if e.Copied {
		return
	}
	w.furthest[e.Source] = later(w.furthest[e.Source], e.last())
	if t, ok := threshold[e.Source]; threshold == nil || ok && !t.After(e.last()) {
		w.consumed.add(target, e)
	}
}

// lookAhead finds the first record of each source partition behind the consumer of which
// it is certain that no copy was consumed.
func (w *back) lookAhead(ctx context.Context) error {
	ceiling := w.ceilings()
	for _, x := range w.Target.Extents {
		judge := func(e Entry) {
			at, found := w.first[e.Source]
			switch {
			case found && !at.After(e.First) || w.consumed.has(x.Partition, e):
			case e.last().After(ceiling(x.Partition, e.Source)):
				w.first[e.Source] = e.First
			default:
				w.doubt[e.Source] = append(w.doubt[e.Source], placed{x.Partition, e})
			}
		}
		for _, e := range w.at[x.Partition] {
			judge(e)
		}
		if err := w.read(ctx, x.Partition, later(w.split(x), x.Removed), x.Through, judge); err != nil {
			return err
		}
	}
	return nil
}

// ceilings says behind which position no record of a source partition was consumed other
// than those that are remembered.
func (w *back) ceilings() func(target, source string) bridge.Position {
	each := map[place]bridge.Position{}
	for target, list := range w.index {
		for _, e := range list {
			if e.Position != w.near[target] {
				continue
			}
			for source, at := range e.Below {
				key := place{target, source}
				if w.Target.Keyed {
					key.target = "" // a copy can be in any target partition
				}
				each[key] = later(each[key], at)
			}
		}
	}
	return func(target, source string) bridge.Position {
		if w.Target.Keyed {
			target = ""
		}
		return each[place{target, source}]
	}
}

// lookFar reads further back, where records in doubt or the records around dead letters
// may have been consumed, and decides.
func (w *back) lookFar(ctx context.Context) error {
	threshold := w.thresholds()
	if len(threshold) == 0 {
		return nil
	}
	for _, x := range w.Target.Extents {
		from := lastBelow(w.index[x.Partition], func(source string, at bridge.Position) bool {
			t, ok := threshold[source]
			return !ok || t.After(at)
		})
		from = later(from, x.Removed)
		through := w.near[x.Partition]
		if err := w.read(ctx, x.Partition, from, through, func(e Entry) { w.remember(x.Partition, e, threshold) }); err != nil {
			return err
		}
	}
	for source, list := range w.doubt {
		for _, e := range list {
			if !w.consumed.has(e.target, e.Entry) {
				w.unconsumed(source, e.First)
			}
		}
	}
	return nil
}

// thresholds says of each source partition from which position on it must be known what
// was consumed.
func (w *back) thresholds() map[string]bridge.Position {
	out := map[string]bridge.Position{}
	lower := func(source string, at bridge.Position) {
		if t, ok := out[source]; !ok || t.After(at) {
			out[source] = at
		}
	}
	for source, list := range w.doubt {
		for _, e := range list {
			lower(source, e.last())
		}
	}
	for _, d := range w.DeadLetters {
		if !w.furthest[d.Partition].After(d.Position) {
			lower(d.Partition, d.Position)
		}
	}
	return out
}

func (w *back) unconsumed(source string, at bridge.Position) {
	if first, ok := w.first[source]; !ok || first.After(at) {
		w.first[source] = at
	}
}

// settle makes the lines. A dead letter behind all that was consumed of its partition is
// unconsumed like any other record; one that the consumer has come past is listed.
func (w *back) settle() {
	for _, d := range w.DeadLetters {
		if !w.furthest[d.Partition].After(d.Position) {
			w.unconsumed(d.Partition, d.Position)
		} else {
			w.plan.Unconsumed = append(w.plan.Unconsumed, d)
		}
	}
	if n := len(w.plan.Unconsumed); n > 0 {
		w.plan.Problems = append(w.plan.Problems, unconsumedLetters(n))
	}
	rows, names, family := map[string]bridge.Row{}, map[string]bool{}, lineage{}
	for _, s := range w.Sources {
		names[s.ID] = true
		family.add(s.ID, s.Parents)
	}
	for _, r := range w.Rows {
		rows[r.Partition], names[r.Partition] = r, true
		family.add(r.Partition, r.Parents)
	}
	seen := family.ancestors(rows)
	for name := range w.first {
		names[name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		row, known := rows[name]
		// The row of a partition is forgotten once it ended and its children have rows.
		if !known && seen[name] {
			row.Ended = true
		}
		w.plan.Lines = append(w.plan.Lines, Line{Partition: name, Known: true, Counted: true, Bound: w.bound(name, row)})
	}
}

// A lineage holds the parents of each partition.
type lineage map[string][]string

func (l lineage) add(name string, parents []string) { l[name] = append(l[name], parents...) }

// ancestors are all partitions that one of rows descends from.
func (l lineage) ancestors(rows map[string]bridge.Row) map[string]bool {
	out := map[string]bool{}
	var mark func(name string)
	mark = func(name string) {
		for _, p := range l[name] {
			if !out[p] {
				out[p] = true
				mark(p)
			}
		}
	}
	for name := range rows {
		mark(name)
	}
	return out
}

// bound is where a source partition goes on. What is behind its row may not all be on the
// target yet: of two records the later one can be there alone.
func (w *back) bound(name string, row bridge.Row) Bound {
	at, found := w.first[name]
	switch {
	case found && (row.Ended || !at.After(row.Position)):
		return Next(at)
	case row.Ended:
		return Everything()
	}
	return Through(row.Position)
}

// count finds how many consumed records are behind the new positions.
func (w *back) count(ctx context.Context) error {
	lines := map[string]*Line{}
	for i := range w.plan.Lines {
		lines[w.plan.Lines[i].Partition] = &w.plan.Lines[i]
	}
	seen := w.Target.memory()
	for _, x := range w.Target.Extents {
		from := lastBelow(w.index[x.Partition], func(source string, at bridge.Position) bool {
			return lines[source] == nil || lines[source].Bound.Covers(at)
		})
		for e, err := range w.Target.Read(ctx, x.Partition, later(from, x.Removed), w.split(x)) {
			if err != nil {
				return fmt.Errorf("read partition %s of the target: %w", x.Partition, err)
			}
			if w.CountLimit >= 0 && w.plan.Counted >= w.CountLimit {
				for _, l := range lines {
					l.Counted = false
				}
				return nil
			}
			w.plan.Counted++
			if w.again(x.Partition, e, lines[e.Source], seen) {
				lines[e.Source].Replays++
			}
		}
	}
	return nil
}

// again reports whether a record was consumed, for the first time there, and is behind the
// new position of its source partition.
func (w *back) again(target string, e Entry, l *Line, seen *memory) bool {
	if e.Copied || !w.Consumed[target].Covers(e.At) {
		return false
	}
	return seen.add(target, e) && l != nil && !l.Bound.Consumed(e)
}
