package verify

import (
	"maps"
	"slices"

	"github.com/kinesis-msk-bridge/bridge"
)

// An openEntry is an entry of the ledger of which not all is settled.
type openEntry struct {
	Intents []bridge.Intent
	Done    []bool
	Open    int
}

// openEntries are those that were read so far, by their place in the ledger.
type openEntries map[string]*openEntry

// add opens an entry for those of its intents that are wanted; nil wants all.
func (o openEntries) add(e *bridge.LedgerEntry, wanted func(*bridge.Intent) bool) {
	open := &openEntry{Intents: e.Intents, Done: make([]bool, len(e.Intents))}
	for i := range e.Intents {
		if open.Done[i] = wanted != nil && !wanted(&e.Intents[i]); !open.Done[i] {
			open.Open++
		}
	}
	if open.Open > 0 {
		o[e.At.String()] = open
	}
}

// settle is the intent that a result speaks of, and whether there is one that nothing spoke
// of before.
func (o openEntries) settle(s *bridge.Settled) (bridge.Intent, bool) {
	at := s.Entry.String()
	e := o[at]
	if e == nil || s.Index < 0 || s.Index >= len(e.Intents) || e.Done[s.Index] {
		return bridge.Intent{}, false
	}
	e.Done[s.Index] = true
	if e.Open--; e.Open == 0 {
		delete(o, at)
	}
	return e.Intents[s.Index], true
}

// all yields every intent that nothing has spoken of, in the order of the ledger.
func (o openEntries) all(yield func(*bridge.Intent) bool) {
	places := slices.SortedFunc(maps.Keys(o), func(a, b string) int { return bridge.Position{Seq: a}.Compare(bridge.Position{Seq: b}) })
	for _, at := range places {
		e := o[at]
		for i := range e.Intents {
			if !e.Done[i] && !yield(&e.Intents[i]) {
				return
			}
		}
	}
}

// Doubts are intents by the digest of key and value, in the order of the ledger.
type doubts map[uint64][]bridge.Coordinate

func (d doubts) add(i *bridge.Intent) { d[i.Digest] = append(d[i.Digest], i.Origin) }

// take is the first intent with a digest, which is then no longer in doubt.
func (d doubts) take(digest uint64) (bridge.Coordinate, bool) {
	list := d[digest]
	if len(list) == 0 {
		return bridge.Coordinate{}, false
	}
	d[digest] = list[1:]
	return list[0], true
}

// remove takes one intent out, and reports whether it was there.
func (d doubts) remove(digest uint64, origin bridge.Coordinate) bool {
	i := slices.Index(d[digest], origin)
	if i >= 0 {
		d[digest] = slices.Delete(d[digest], i, i+1)
	}
	return i >= 0
}

// clone is a copy to take from.
func (d doubts) clone() doubts {
	out := doubts{}
	for digest, list := range d {
		out[digest] = slices.Clone(list)
	}
	return out
}

// A spokenOf is the coordinate of one place.
type spokenOf struct {
	At     bridge.Position
	Origin bridge.Coordinate
}

// A spoken is what the ledger says of one partition of a target: which coordinates stand where, in
// the order of places. It is asked in that order, so that a look is a step.
type spoken struct {
	List  []spokenOf
	Mixed bool // List is not sorted
	next  int
	far   bridge.Position // the farthest place of those of the last piece
}

func (s *spoken) add(at bridge.Position, origin bridge.Coordinate) {
	if n := len(s.List); n > 0 && !at.After(s.List[n-1].At) {
		s.Mixed = true
	}
	s.List = append(s.List, spokenOf{at, origin})
	if at.After(s.far) {
		s.far = at
	}
}

func (s *spoken) sort() {
	if s.Mixed {
		slices.SortStableFunc(s.List, func(a, b spokenOf) int { return a.At.Compare(b.At) })
		s.Mixed, s.next = false, 0
	}
}

// find is the coordinate of a place, and whether there is one.
func (s *spoken) find(at bridge.Position) (bridge.Coordinate, bool) {
	s.sort()
	if s.next >= len(s.List) || s.List[s.next].At != at {
		if n := len(s.List); n == 0 || at.After(s.List[n-1].At) {
			return bridge.Coordinate{}, false
		}
		i, ok := slices.BinarySearchFunc(s.List, at, func(o spokenOf, at bridge.Position) int { return o.At.Compare(at) })
		if s.next = i; !ok {
			return bridge.Coordinate{}, false
		}
	}
	origin := s.List[s.next].Origin
	s.next++
	return origin, true
}

// forget drops all up to a place, and returns how many are left.
func (s *spoken) forget(through bridge.Position) int {
	s.sort()
	n, _ := slices.BinarySearchFunc(s.List, through, func(o spokenOf, at bridge.Position) int {
		if o.At.After(at) {
			return 1
		}
		return -1
	})
	s.List = slices.Delete(s.List, 0, n)
	s.next = 0
	return len(s.List)
}
