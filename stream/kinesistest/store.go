package kinesistest

import (
	"slices"
	"sort"
)

// blockBytes and blockRecords bound a block: large enough that bookkeeping vanishes, small
// enough that trimming frees memory soon.
const (
	blockBytes   = 256 << 10
	blockRecords = 1024
)

// entry is the bookkeeping of one record: 32 bytes. Key and data lie behind each other in
// the arena of its block.
type entry struct {
	counter uint64
	arrival int64 // unix ms
	off     uint32
	dataLen uint32
	keyLen  uint16
	flags   uint8
}

const (
	flagNoKey = 1 << iota // the producer gave no partition key
	flagKMS
)

// block holds some records of a shard. Bytes in an arena are never changed once written,
// so that a view stays valid after the shard's lock was released.
type block struct {
	entries []entry
	arena   []byte
	newest  int64 // the latest arrival among the entries

	away   bool  // the arena is in the server's file,
	at     int64 // there,
	length int   // and so long
}

// view is a record as it is stored. Key and data belong to the store.
type view struct {
	counter   uint64
	arrival   int64
	key, data []byte
	flags     uint8
}

func (b *block) view(e *entry) view {
	data := e.off + uint32(e.keyLen)
	return view{
		counter: e.counter, arrival: e.arrival, flags: e.flags,
		key:  b.arena[e.off:data:data],
		data: b.arena[data : data+e.dataLen : data+e.dataLen],
	}
}

// add copies key and data into the arena and describes them. It returns the entry without
// putting it anywhere.
func (b *block) add(v view) entry {
	e := entry{
		counter: v.counter, arrival: v.arrival, flags: v.flags,
		off: uint32(len(b.arena)), keyLen: uint16(len(v.key)), dataLen: uint32(len(v.data)),
	}
	b.arena = append(append(b.arena, v.key...), v.data...)
	b.newest = max(b.newest, v.arrival)
	return e
}

// store is what a shard holds: records in the order of their counters. Whoever uses it
// holds the shard's lock.
type store struct {
	blocks []*block
	count  int
	bytes  int64
	spill  *spill // where full blocks go; nil keeps them
	// read is the arena of the block that was read back last: the next page may begin in the
	// middle of it.
	read struct {
		of    *block
		arena []byte
	}
}

// load is a block as it is in memory.
func (s *store) load(b *block) (*block, error) {
	if !b.away {
		return b, nil
	}
	if s.read.of != b {
		arena, err := s.spill.load(b)
		if err != nil {
			return nil, err
		}
		s.read.of, s.read.arena = b, arena
	}
	return &block{entries: b.entries, arena: s.read.arena, newest: b.newest}, nil
}

// home takes all blocks back into memory, for who changes them.
func (s *store) home() error {
	for i, b := range s.blocks {
		back, err := s.load(b)
		if err != nil {
			return err
		}
		s.blocks[i] = back
	}
	s.read.of, s.read.arena = nil, nil
	return nil
}

// append stores a record behind all others.
func (s *store) append(v view) {
	n := len(v.key) + len(v.data)
	var b *block
	if len(s.blocks) > 0 {
		b = s.blocks[len(s.blocks)-1]
	}
	if b == nil || len(b.entries) >= blockRecords || len(b.arena) > 0 && len(b.arena)+n > blockBytes {
		if b != nil {
			s.spill.put(b)
		}
		b = s.newBlock(n)
	}
	b.entries = append(b.entries, b.add(v))
	s.count++
	s.bytes += int64(n)
}

// newBlock adds a block. The first ones of a shard start small: many streams of tests hold
// a handful of records.
func (s *store) newBlock(n int) *block {
	b := &block{}
	if len(s.blocks) > 0 {
		last := s.blocks[len(s.blocks)-1]
		b.entries = make([]entry, 0, min(blockRecords, 2*len(last.entries)))
		b.arena = make([]byte, 0, max(n, min(blockBytes, 2*(len(last.arena)+last.length))))
	}
	s.blocks = append(s.blocks, b)
	return b
}

// place is where a record lies; block == len(blocks) is behind the last.
type place struct{ block, entry int }

// find is the place of the first record with the counter or a greater one.
func (s *store) find(counter uint64) place {
	bi := sort.Search(len(s.blocks), func(i int) bool {
		e := s.blocks[i].entries
		return e[len(e)-1].counter >= counter
	})
	if bi == len(s.blocks) {
		return place{bi, 0}
	}
	entries := s.blocks[bi].entries
	return place{bi, sort.Search(len(entries), func(i int) bool { return entries[i].counter >= counter })}
}

// firstAt is the counter of the first record, in stored order, that arrived at or after
// ms; ok is false if there is none.
func (s *store) firstAt(ms int64) (counter uint64, ok bool) {
	for _, b := range s.blocks {
		if b.newest < ms {
			continue
		}
		for i := range b.entries {
			if b.entries[i].arrival >= ms {
				return b.entries[i].counter, true
			}
		}
	}
	return 0, false
}

// at is the place of the i-th record; ok is false outside.
func (s *store) at(i int) (p place, ok bool) {
	if i < 0 || i >= s.count {
		return place{}, false
	}
	for bi, b := range s.blocks {
		if i < len(b.entries) {
			return place{bi, i}, true
		}
		i -= len(b.entries)
	}
	return place{}, false
}

// page appends views of the records from p on until limit or maxBytes is reached. It
// returns their bytes too. An error is that of reading a block back.
func (s *store) page(dst []view, p place, limit, maxBytes int) ([]view, int, error) {
	size := 0
	for ; p.block < len(s.blocks) && len(dst) < limit; p = (place{p.block + 1, 0}) {
		b, err := s.load(s.blocks[p.block])
		if err != nil {
			return dst, size, err
		}
		for ; p.entry < len(b.entries); p.entry++ {
			e := &b.entries[p.entry]
			n := int(e.keyLen) + int(e.dataLen)
			if len(dst) >= limit || size+n > maxBytes {
				return dst, size, nil
			}
			dst = append(dst, b.view(e))
			size += n
		}
	}
	return dst, size, nil
}

// remove takes the record at p out. Its bytes stay until the block goes.
func (s *store) remove(p place) {
	b := s.blocks[p.block]
	s.count--
	s.bytes -= int64(b.entries[p.entry].keyLen) + int64(b.entries[p.entry].dataLen)
	b.entries = slices.Delete(b.entries, p.entry, p.entry+1)
	if len(b.entries) == 0 {
		s.blocks = slices.Delete(s.blocks, p.block, p.block+1)
	}
}

// replace puts v in the place of the record at p.
func (s *store) replace(p place, v view) {
	b := s.blocks[p.block]
	e := b.add(v)
	old := b.entries[p.entry]
	s.bytes += int64(e.keyLen) + int64(e.dataLen) - int64(old.keyLen) - int64(old.dataLen)
	b.entries[p.entry] = e
}

// insert puts v in front of the record at p, whose block exists.
func (s *store) insert(p place, v view) {
	b := s.blocks[p.block]
	b.entries = slices.Insert(b.entries, p.entry, b.add(v))
	s.count++
	s.bytes += int64(len(v.key) + len(v.data))
}

// trim removes records from the front: n of them, and then those that arrived before ms.
// It returns how many went.
func (s *store) trim(n int, ms int64) int {
	gone := 0
	for len(s.blocks) > 0 {
		b := s.blocks[0]
		i := 0
		for i < len(b.entries) && (gone < n || b.entries[i].arrival < ms) {
			s.bytes -= int64(b.entries[i].keyLen) + int64(b.entries[i].dataLen)
			i++
			gone++
		}
		if i < len(b.entries) {
			b.entries = b.entries[i:]
			break
		}
		s.blocks[0] = nil
		s.blocks = s.blocks[1:]
	}
	s.count -= gone
	return gone
}
