package positions

import (
	"context"
	"iter"
	"slices"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
)

// An Entry is one record that the mirror wrote.
type Entry struct {
	At bridge.Position // in the target partition
	// Source is the source partition, and First the position there.
	Source string
	First  bridge.Position
	// Last is, for an aggregate that was forwarded whole, the position of its last user
	// record; zero for any other.
	Last bridge.Position
	// Time is when the source record arrived there.
	Time time.Time
	// Copied says that somebody else than the mirror wrote it, with the mirror's
	// coordinate. It is a record that a consumer gets, but proves nothing of the original.
	Copied bool
}

func (e Entry) last() bridge.Position {
	if e.Last.IsZero() {
		return e.First
	}
	return e.Last
}

// An Extent is what can be read of one target partition.
type Extent struct {
	Partition string `json:"partition"`
	// Removed is the last position that retention took away, zero if it took nothing.
	Removed bridge.Position `json:"removed,omitzero"`
	// Through is the last position that a consumer can read now: for Kafka the one before
	// the last stable offset, never the high watermark. Zero if there is none.
	Through bridge.Position `json:"through,omitzero"`
	// Ended: the partition gets no more records.
	Ended bool `json:"ended,omitempty"`
	// Compacted: superseded records are removed.
	Compacted bool `json:"compacted,omitempty"`
}

// A Target is what the mirror wrote, as it stands at one moment.
type Target struct {
	// Extents are taken before anything else of a plan is read: what is appended later is
	// behind every position of the plan.
	Extents []Extent
	// Read yields the mirror's records of a partition behind after up to through, in
	// order. It ends after its first error. What others wrote is not yielded.
	Read func(ctx context.Context, partition string, after, through bridge.Position) iter.Seq2[Entry, error]
	// Index holds entries of the position index, in any order, or none.
	Index []bridge.IndexEntry
	// Keyed: records are in order only by key, as on Kinesis, and not by source partition.
	Keyed bool
}

// index sorts the entries of the position index by target partition.
func (t *Target) index() map[string][]bridge.IndexEntry {
	out := map[string][]bridge.IndexEntry{}
	for _, e := range t.Index {
		out[e.Partition] = append(out[e.Partition], e)
	}
	for _, list := range out {
		slices.SortStableFunc(list, func(a, b bridge.IndexEntry) int { return a.Position.Compare(b.Position) })
	}
	return out
}

// lastBelow is the position of an entry at or before which everything satisfies below:
// the greatest such if the entries are those of a mirror that was never restarted, and
// otherwise one that is not far from it. It is zero if there is none.
func lastBelow(entries []bridge.IndexEntry, below func(source string, at bridge.Position) bool) bridge.Position {
	lo, hi := -1, len(entries) // entries[lo] satisfies it, entries[hi] does not
	for lo+1 < hi {
		mid := (lo + hi) / 2
		if all(entries[mid].Below, below) {
			lo = mid
		} else {
			hi = mid
		}
	}
	if lo < 0 {
		return bridge.Position{}
	}
	return entries[lo].Position
}

func all(m map[string]bridge.Position, ok func(string, bridge.Position) bool) bool {
	for s, at := range m {
		if !ok(s, at) {
			return false
		}
	}
	return true
}

func later(a, b bridge.Position) bridge.Position {
	if a.After(b) {
		return a
	}
	return b
}

// A place is one source position, or in order by source partition all up to it.
type place struct{ target, source string }

type record struct {
	source string
	at     bridge.Position
}

// A memory knows which records it was shown. Where the mirror keeps order by source
// partition it is enough to know the last one of each.
type memory struct {
	keyed bool
	last  map[place]bridge.Position
	each  map[record]struct{}
}

func (t *Target) memory() *memory {
	return &memory{keyed: t.Keyed, last: map[place]bridge.Position{}, each: map[record]struct{}{}}
}

func (m *memory) has(target string, e Entry) bool {
	if m.keyed {
		_, ok := m.each[record{e.Source, e.last()}]
		return ok
	}
	at, ok := m.last[place{target, e.Source}]
	return ok && !e.last().After(at)
}

// add reports whether e is new.
func (m *memory) add(target string, e Entry) bool {
	if m.has(target, e) {
		return false
	}
	if m.keyed {
		m.each[record{e.Source, e.last()}] = struct{}{}
	} else {
		m.last[place{target, e.Source}] = e.last()
	}
	return true
}
