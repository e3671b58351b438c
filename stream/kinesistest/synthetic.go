package kinesistest

import "fmt"

// synthesis is the older part of a shard whose records are made when they are read.
type synthesis struct {
	count   int
	arrival int64 // unix ms, of all of them
	record  func(i int) Entry
}

// synthesisStep is the distance between the counters of made records.
const synthesisStep = 8

// Synthesize makes an empty shard hold n records that take no memory: record is asked for
// the i-th one, 0 <= i < n, whenever it is read, and must always return the same. It is
// called concurrently; what it returns must not change. All of them arrived now. What is
// put later comes behind them. Records, Drop and the other functions that look at or damage
// what is stored do not see them.
func (st *Stream) Synthesize(id string, n int, record func(i int) Entry) error {
	now := st.srv.nowMs()
	return st.inShard(id, func(sh *shard) error {
		if sh.counter != 0 {
			return fmt.Errorf("synthesize records of shard %s of %s: it has had records", id, st.name)
		}
		sh.synthesis = synthesis{n, now, record}
		sh.counter = uint64(n) * synthesisStep
		return nil
	})
}

// views appends made records from a counter on. The caller holds the shard's lock.
func (y *synthesis) views(dst []view, from uint64, limit, maxBytes int) ([]view, int) {
	size := 0
	i := 0
	if from > 0 {
		i = int((from - 1) / synthesisStep)
	}
	for ; i < y.count && len(dst) < limit; i++ {
		e := y.record(i)
		n := len(e.Key) + len(e.Data)
		if size+n > maxBytes {
			break
		}
		size += n
		dst = append(dst, view{counter: uint64(i+1) * synthesisStep, arrival: y.arrival, key: []byte(e.Key), data: e.Data})
	}
	return dst, size
}

// firstAt is the counter of the first made record that arrived at or after ms.
func (y *synthesis) firstAt(ms int64) (uint64, bool) {
	return synthesisStep, y.count > 0 && y.arrival >= ms
}

// left says that made records lie at or behind a counter.
func (y *synthesis) left(from uint64) bool {
	return from <= uint64(y.count)*synthesisStep && y.count > 0
}

// trim forgets the made records if they arrived before ms.
func (y *synthesis) trim(ms int64) {
	if y.arrival < ms {
		*y = synthesis{}
	}
}

// Discard hands every record that is put from now on to a function instead of storing it;
// nil stores again. The function is called in the order of sequence numbers within a shard,
// concurrently for different shards, and must not keep the record's data.
func (st *Stream) Discard(take func(shard string, r Record)) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.discard = take
}
