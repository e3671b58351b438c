package verify

import (
	"errors"
	"math/big"
	"slices"

	"github.com/kinesis-msk-bridge/bridge"
)

// A hole is a range of a target partition that cannot be read any more: its head, if that was
// trimmed, or what retention removed before the run came there. In a topic the records of one
// source partition stand in order, so what was read on both sides of a hole bounds which
// records can have stood in it.
type hole struct {
	// After is the last position that was read before the hole, Before the first one behind
	// it. Both are zero if they are not known.
	After, Before bridge.Position
	// Tops is, by source partition, the greatest coordinate that was read before the hole.
	Tops map[int]bridge.Position
	// Edges are, by source partition, the first coordinates that were read behind it, and
	// Heads the greatest of the first ones, where other keys overtake.
	Edges map[int][]bridge.Position
	Heads map[int]head
}

// edge is how many coordinates behind a hole say where it ends. The one in the middle counts:
// a copy of an old record, or a record with a wrong coordinate, can be among them.
const edge = 5

// note notes a coordinate that was read behind the hole.
func (h *hole) note(source int, at bridge.Position, keyed bool) {
	if keyed {
		e := h.Heads[source]
		if e.N >= headRecords {
			return
		}
		if e.N++; at.After(e.Top) {
			e.Top = at.Clone()
		}
		if h.Heads == nil {
			h.Heads = map[int]head{}
		}
		h.Heads[source] = e
		return
	}
	if len(h.Edges[source]) >= edge {
		return
	}
	if h.Edges == nil {
		h.Edges = map[int][]bridge.Position{}
	}
	h.Edges[source] = append(h.Edges[source], at.Clone())
}

// mayHold reports whether the record at a coordinate, of a source partition with such
// ancestors, can have stood in the hole.
func (h *hole) mayHold(source int, at bridge.Position, ancestors map[int]bool) bool {
	if top, ok := h.Tops[source]; ok && !at.After(top) {
		return false
	}
	if e, ok := h.Heads[source]; ok {
		return !at.After(e.Top)
	}
	for a := range ancestors {
		if len(h.Edges[a]) > edge/2 {
			return false // a shard is written when its parents are, and one of those stands behind the hole
		}
	}
	list := slices.SortedFunc(slices.Values(h.Edges[source]), bridge.Position.Compare)
	return len(list) == 0 || list[len(list)/2].After(at)
}

// reason says why a record that can have stood in the hole cannot be judged.
func (h *hole) reason(partition string) string {
	if h.After.IsZero() {
		return "it may have stood among the oldest records of target partition " + partition + ", which are gone"
	}
	return "it may have stood in target partition " + partition + " behind " + h.After.String() + ", where records were removed before they were read"
}

// uncovered is the range of the hole for the Result.
func (h *hole) uncovered(partition string) Uncovered {
	u := Uncovered{Side: "target", Partition: partition, After: h.After, Through: preceding(h.Before), Class: Unverifiable, Counted: true,
		Reason: "records were removed before they were read: retention or deletion has passed the run"}
	if h.After.IsZero() {
		u.Reason = "its oldest records are gone: retention or deletion has moved its beginning"
	}
	return u
}

// preceding is the greatest position before one, as far as numbers tell.
func preceding(at bridge.Position) bridge.Position {
	if at.Sub > 0 {
		return bridge.Position{Seq: at.Seq, Sub: at.Sub - 1}
	}
	if offset, err := at.Offset(); err == nil {
		return bridge.OffsetPosition(offset - 1)
	}
	n, ok := new(big.Int).SetString(at.Seq, 10)
	if !ok || n.Sign() == 0 {
		return bridge.Position{}
	}
	return bridge.Position{Seq: n.Sub(n, big.NewInt(1)).String(), Sub: 1<<32 - 1}
}

// dig notes that a target partition continues behind a gap. The lock is held.
func (r *run) dig(t *targetPart, before bridge.Position) {
	h := &hole{After: t.Through, Before: before.Clone()}
	if !r.keyed {
		h.Tops = map[int]bridge.Position{}
		for p, top := range r.Marks {
			if p.Target == t.Index {
				h.Tops[p.Source] = *top
			}
		}
	}
	t.Holes = append(t.Holes, h)
}

// noteHoles notes a record behind the last hole of its partition. The lock is held.
func (r *run) noteHoles(t *targetPart, p *placed, source int) {
	n := len(t.Holes)
	if n == 0 || p.foreign {
		return
	}
	h := t.Holes[n-1]
	if h.Before.IsZero() {
		h.Before = p.position.Clone()
	}
	h.note(source, p.at, r.keyed)
}

// holeOf is the hole of a target partition in which a record can have stood, nil if there is
// none. The drill can have met holes of its own. The lock is held.
func (d *drill) holeOf(t *targetPart, source int, at bridge.Position) *hole {
	for _, list := range [][]*hole{t.Holes, d.holes[t.Index]} {
		for _, h := range list {
			if h.mayHold(source, at, d.r.Sources[source].ancestors) {
				return h
			}
		}
	}
	return nil
}

// gapOf is the gap that an error reports, if reading can continue behind it: records are gone
// from behind through on. A log that ends before through, or was cut, is none.
func gapOf(err error, through bridge.Position) (*bridge.GapError, bool) {
	var gap *bridge.GapError
	if !errors.As(err, &gap) || through.After(gap.After) {
		return nil, false
	}
	return gap, gap.Before.IsZero() || gap.Before.After(through)
}
