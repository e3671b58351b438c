package verify

import (
	"github.com/kinesis-msk-bridge/bridge"
)

// bitmapSize is how many offsets below the greatest one a bitmap remembers.
const bitmapSize = 1 << 20

// A bitmap tells first occurrences from repeats on a target where keys overtake each
// other: one bit an offset, in a window of fixed size below the greatest one.
type bitmap struct {
	Bits []uint64
	Max  int64 // -1 if nothing was seen
}

func newBitmap() *bitmap { return &bitmap{Bits: make([]uint64, bitmapSize/64), Max: -1} }

func (b *bitmap) slot(offset int64) (word int, bit uint64) {
	i := offset & (bitmapSize - 1)
	return int(i / 64), 1 << (i % 64)
}

// An occurrence is what a tracker says of a coordinate.
type occurrence int

const (
	first  occurrence = iota
	again             // it was there before
	unsure            // too far back to tell
)

// visit says whether an offset was seen before, and notes that it was.
func (b *bitmap) visit(offset int64) occurrence {
	if offset <= b.Max-bitmapSize {
		return unsure
	}
	b.advance(offset)
	word, bit := b.slot(offset)
	if b.Bits[word]&bit != 0 {
		return again
	}
	b.Bits[word] |= bit
	return first
}

// advance forgets what falls out of the window.
func (b *bitmap) advance(offset int64) {
	if offset <= b.Max {
		return
	}
	if offset-b.Max >= bitmapSize {
		clear(b.Bits)
	} else {
		for o := b.Max + 1; o <= offset; o++ {
			word, bit := b.slot(o)
			b.Bits[word] &^= bit
		}
	}
	b.Max = offset
}

const (
	// orderSets is how many sets the tables of all source partitions share; leastSets is what
	// each has at least, mostSets at most: powers of two.
	orderSets = 1 << 16
	leastSets = 1 << 12
	mostSets  = 1 << 14
	orderWays = 8
)

// An orderTable holds the last offset of each key hash in sets of fixed size. What was
// put out of a set is remembered as one offset: a key that is not in the set was last
// seen at that offset or before.
type orderTable struct {
	Keys    []uint64
	Offsets []int64 // one more than the offset; 0 is free
	Evicted []int64 // by set, one more than the offset
}

// newOrderTable makes one of so many tables.
func newOrderTable(tables int) *orderTable {
	sets := mostSets
	for sets > leastSets && sets*tables > orderSets {
		sets /= 2
	}
	return orderTableOf(sets)
}

func orderTableOf(sets int) *orderTable {
	return &orderTable{
		Keys: make([]uint64, sets*orderWays), Offsets: make([]int64, sets*orderWays), Evicted: make([]int64, sets),
	}
}

// visit notes that a key's first occurrence at offset came by, and returns up to where a
// later record of that key may have come before it; -1 if none can. slot are the first bits
// of the hash that places the key: keys of one shard share sets with few others, so that it
// does not matter how far the shards were read.
func (t *orderTable) visit(key uint64, slot uint16, offset int64) (ahead int64) {
	set := int(slot) * len(t.Evicted) >> 16
	from := set * orderWays
	oldest := from
	for i := from; i < from+orderWays; i++ {
		if t.Offsets[i] != 0 && t.Keys[i] == key {
			ahead = t.Offsets[i] - 1
			if ahead < offset {
				t.Offsets[i], ahead = offset+1, -1
			}
			return ahead
		}
		if t.Offsets[i] < t.Offsets[oldest] {
			oldest = i
		}
	}
	ahead = -1
	if gone := t.Evicted[set] - 1; gone > offset {
		ahead = gone
	}
	t.Evicted[set] = max(t.Evicted[set], t.Offsets[oldest])
	t.Keys[oldest], t.Offsets[oldest] = key, offset+1
	return ahead
}

// A pair is one source partition on its way to one target partition, where the records
// of a correct mirror are in order.
type pair struct{ Target, Source int }

// watermarks tell first occurrences from repeats where lanes are in order.
type watermarks map[pair]*bridge.Position

// visit says whether a position is beyond all before it, and which was the greatest of those;
// it is zero if there was none.
func (w watermarks) visit(p pair, at bridge.Position) (o occurrence, top bridge.Position) {
	mark := w[p]
	if mark == nil {
		begun := at
		w[p] = &begun
		return first, top
	}
	if top = *mark; !at.After(top) {
		return again, top
	}
	*mark = at
	return first, top
}
