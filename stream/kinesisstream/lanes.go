package kinesisstream

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/kpl"
)

// A queue holds what waits to be put, by partition key. PutRecords may store a record and
// refuse an earlier one of the same call, and calls can overtake each other; so of each key
// only the first parcel of what waits may be under way.
type queue struct {
	mu    sync.Mutex
	lanes map[string]*lane
	spare *lane   // lanes to be used again, linked by next
	ready []*lane // whose first record may be put
	run   []*bridge.Record
	wake  chan struct{}
}

// maxParcel is how many records are packed together at most.
const maxParcel = 1000

// A lane is what waits for one partition key, as a list.
type lane struct {
	key         string
	first, last *item
	busy        bool  // the first records are ready or under way
	next        *lane // while it is spare

	hash   kpl.HashKey // of key, once it was asked for
	hashed bool
}

// An item is one record of one Write.
type item struct {
	rec  *bridge.Record
	ack  *bridge.Ack
	of   *write
	next *item // of its lane
}

// A write is one call of Write.
type write struct {
	left int // items without a fate
	done chan struct{}
}

func newQueue() *queue {
	return &queue{lanes: map[string]*lane{}, wake: make(chan struct{}, 1)}
}

// errHeldBack is the fate of a record whose key has a refused one before it.
var errHeldBack = fmt.Errorf("held back behind a record of its key that was refused: %w", bridge.ErrTransient)

// add puts each record behind what waits for its key. One that can never be put keeps the
// later ones of its key in this call back.
func (q *queue) add(recs []bridge.Record, acks []bridge.Ack, check func(*bridge.Record) error) *write {
	w := &write{done: make(chan struct{})}
	items := make([]item, len(recs))
	var blocked map[string]bool
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range recs {
		if blocked[string(recs[i].Key)] {
			acks[i].Err = errHeldBack
			continue
		}
		if err := check(&recs[i]); err != nil {
			acks[i].Err = err
			if blocked == nil {
				blocked = map[string]bool{}
			}
			blocked[string(recs[i].Key)] = true
			continue
		}
		w.left++
		items[i] = item{rec: &recs[i], ack: &acks[i], of: w}
		l := q.lane(recs[i].Key)
		l.push(&items[i])
		q.offer(l)
	}
	if w.left == 0 {
		close(w.done)
	}
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return w
}

// lane is the lane of a key, which is made if nothing waits for it.
func (q *queue) lane(key []byte) *lane {
	l := q.lanes[string(key)]
	if l != nil {
		return l
	}
	if l = q.spare; l != nil {
		q.spare = l.next
		*l = lane{key: string(key)}
	} else {
		l = &lane{key: string(key)}
	}
	q.lanes[l.key] = l
	return l
}

func (l *lane) push(it *item) {
	if l.first == nil {
		l.first = it
	} else {
		l.last.next = it
	}
	l.last = it
}

// wait returns when something was added since the last wait, d has passed, or ctx ends.
func (q *queue) wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-q.wake:
	case <-timer.C:
	}
}

// offer lets the first records of a lane be put, unless some of it are under way.
func (q *queue) offer(l *lane) {
	if !l.busy && l.first != nil {
		l.busy = true
		q.ready = append(q.ready, l)
	}
}

// A parcel is one Kinesis record of a PutRecords: the first records of a lane, under whose
// key it is put, and in the format KPLShard those of more lanes behind them.
type parcel struct {
	part
	more []part
	data []byte
}

// A part is the first n records of a lane.
type part struct {
	*lane
	n int
}

// take removes as many lanes from ready as one PutRecords can carry parcels of. Lanes are
// put together by what home says of them; nil is each by itself.
func (q *queue) take(c codec, home func(*lane) string) []parcel {
	q.mu.Lock()
	defer q.mu.Unlock()
	if home != nil {
		return q.takeHomes(c, home)
	}
	var batch []parcel
	size, most := 0, maxParcel
	if c.ledgered() {
		most = 1
	}
	for len(batch) < min(len(q.ready), maxPutRecords) {
		l := q.ready[len(batch)]
		data, n := c.pack(q.records(l, most), maxPack)
		if size += len(l.key) + len(data); size > maxPutBytes {
			break
		}
		batch = append(batch, parcel{part: part{l, n}, data: data})
	}
	q.ready = q.ready[len(batch):]
	return batch
}

// records are those that one parcel of at most so many could hold. They are good until the
// next call.
func (q *queue) records(l *lane, most int) []*bridge.Record {
	q.run = q.run[:0]
	for it := l.first; it != nil && len(q.run) < most; it = it.next {
		q.run = append(q.run, it.rec)
	}
	return q.run
}

// resolve gives the records of each parcel of a put their fate: the places behind its ack,
// or its error.
func (q *queue) resolve(batch []parcel, acks []bridge.Ack) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, p := range batch {
		q.settle(p.part, acks[i], 0)
		sub := p.n
		for _, other := range p.more {
			q.settle(other, acks[i], sub)
			sub += other.n
		}
	}
}

// settle gives the records of one part their fate; the first of them is number sub of its
// parcel.
func (q *queue) settle(p part, ack bridge.Ack, sub int) {
	if ack.Err == nil {
		p.stored(p.n, ack, sub)
	} else {
		p.refused(ack)
	}
	q.free(p.lane)
}

// free lets a lane go on of which nothing is under way any more.
func (q *queue) free(l *lane) {
	l.busy = false
	if l.first == nil {
		delete(q.lanes, l.key)
		l.next, q.spare = q.spare, l
		return
	}
	q.offer(l)
}

// stored takes the first n records out of the lane, as stored in one parcel from sub on.
func (l *lane) stored(n int, ack bridge.Ack, sub int) {
	for i := range n {
		it := l.first
		l.first = it.next
		*it.ack = ack
		it.ack.Position.Sub = uint32(sub + i)
		it.of.finish()
	}
}

// refused takes the first record out of the lane, and the later ones of its Write, since
// the engine will bring that one again before them. Those of other Writes are put again.
func (l *lane) refused(ack bridge.Ack) {
	first := l.first
	rest := first.next
	*first.ack = ack
	first.of.finish()
	l.first, l.last = nil, nil
	for it := rest; it != nil; it = rest {
		rest, it.next = it.next, nil
		if it.of != first.of {
			l.push(it)
			continue
		}
		it.ack.Err = errHeldBack
		it.of.finish()
	}
}

func (w *write) finish() {
	if w.left--; w.left == 0 {
		close(w.done)
	}
}
