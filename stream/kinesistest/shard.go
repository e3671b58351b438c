package kinesistest

import (
	"fmt"
	"math/rand/v2"
	"sync"
)

// shard is one shard of a stream, from its creation until it has expired.
type shard struct {
	index       uint32
	id          string
	first, last hashKey
	parents     []*shard // none, one (a split) or two (a merge)
	children    []*shard // set when closed; guarded by the stream's lock
	createdSec  int64    // what its sequence numbers begin with
	mark        uint8    // what else they carry
	createdMs   int64
	closedMs    int64 // guarded by the stream's lock, as are the next two
	closed      bool
	expired     bool

	mu        sync.Mutex // guards what follows
	store     store
	synthesis synthesis // what lies in front of the store
	counter   uint64    // of the last record ever stored
	gaps      rand.PCG
	// Rates are charged here, so that one shard's load never touches another's.
	writeRecords, writeBytes, readCalls, readBytes, iterators bucket
}

func shardID(index uint32) string { return fmt.Sprintf("shardId-%012d", index) }

// sequence is the sequence number of a record with the given counter.
func (sh *shard) sequence(counter uint64, arrivalMs int64) sequence {
	return sequence{
		created: sh.createdSec, shard: sh.index, counter: counter, mark: sh.mark,
		written: max(floorSeconds(arrivalMs), sh.createdSec),
	}
}

// trim removes what arrived before ms. The caller holds mu.
func (sh *shard) trim(ms int64) {
	sh.store.trim(0, ms)
	sh.synthesis.trim(ms)
}

// issued says that a number is one of this shard's.
func (sh *shard) issued(seq sequence) bool {
	return seq.shard == sh.index && seq.created == sh.createdSec && seq.mark == sh.mark
}

// starting is the first number of the shard; no record ever has it.
func (sh *shard) starting() sequence { return sh.sequence(0, sh.createdMs) }

// ending is the number that a closed shard ends with; all its records have smaller ones.
func (sh *shard) ending() sequence { return sh.sequence(lastCounter, sh.closedMs) }

// nextCounter draws the counter of the next record. The service shares a counter among
// shards, so that numbers have gaps; here they are wide enough for Insert to find a number at
// one place 16 times. The caller holds mu.
func (sh *shard) nextCounter() uint64 {
	sh.counter += 1<<16 + sh.gaps.Uint64()&0xffff
	return sh.counter
}

// admit charges a record of n bytes to the shard's write rates, or refuses it and charges
// nothing. The caller holds mu.
func (sh *shard) admit(now int64, n int, l Limits) bool {
	if l.Off {
		return true
	}
	records, room := sh.writeRecords.left(now, l.WriteRecords), sh.writeBytes.left(now, l.WriteBytes)
	if records < 1 || room < 1 || n <= l.WriteBytes && room < int64(n) {
		return false
	}
	sh.writeRecords.take(1)
	sh.writeBytes.take(n)
	return true
}

// admitRead charges a GetRecords call, or refuses it. The caller holds mu.
func (sh *shard) admitRead(now int64, l Limits) bool {
	if l.Off {
		return true
	}
	if sh.readCalls.left(now, l.ReadCalls) < 1 || sh.readBytes.left(now, l.ReadBytes) < 1 {
		return false
	}
	sh.readCalls.take(1)
	return true
}

// served charges what a GetRecords call answered. The caller holds mu.
func (sh *shard) served(n int, l Limits) {
	switch {
	case l.Off:
	case n > l.ReadBytes:
		sh.readBytes.takeAll(n, l.ReadBytes)
	default:
		sh.readBytes.take(n)
	}
}

// admitIterator charges a GetShardIterator call, or refuses it. The caller holds mu.
func (sh *shard) admitIterator(now int64, l Limits) bool {
	if l.Off {
		return true
	}
	if sh.iterators.left(now, l.IteratorCalls) < 1 {
		return false
	}
	sh.iterators.take(1)
	return true
}

// floorSeconds is ms in whole seconds, rounded down.
func floorSeconds(ms int64) int64 {
	if ms < 0 {
		return -((-ms + 999) / 1000)
	}
	return ms / 1000
}
