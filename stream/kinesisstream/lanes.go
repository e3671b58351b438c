package kinesisstream

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
)

// A queue holds what waits to be put, by partition key. PutRecords may store a record and
// refuse an earlier one of the same call, and calls can overtake each other; so of each key
// only the first parcel of what waits may be under way.
type queue struct {
	mu    sync.Mutex
	lanes map[string]*lane
	ready []*lane // whose first record may be put
	wake  chan struct{}
}

// maxParcel is how many records are packed together at most.
const maxParcel = 1000

// A lane is what waits for one partition key.
type lane struct {
	key   string
	items []*item
	busy  bool // the first records are ready or under way
}

// An item is one record of one Write.
type item struct {
	rec *bridge.Record
	ack *bridge.Ack
	of  *write
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
	blocked := map[string]bool{}
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range recs {
		key := string(recs[i].Key)
		if blocked[key] {
			acks[i].Err = errHeldBack
			continue
		}
		if err := check(&recs[i]); err != nil {
			acks[i].Err = err
			blocked[key] = true
			continue
		}
		w.left++
		l := q.lanes[key]
		if l == nil {
			l = &lane{key: key}
			q.lanes[key] = l
		}
		l.items = append(l.items, &item{&recs[i], &acks[i], w})
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
	if !l.busy && len(l.items) > 0 {
		l.busy = true
		q.ready = append(q.ready, l)
	}
}

// A parcel is one Kinesis record of a PutRecords: the first records of a lane.
type parcel struct {
	*lane
	n    int // records in it
	data []byte
}

// take removes as many lanes from ready as one PutRecords can carry parcels of.
func (q *queue) take(c codec) []parcel {
	q.mu.Lock()
	defer q.mu.Unlock()
	var batch []parcel
	size, most := 0, maxParcel
	if c.ledgered() {
		most = 1
	}
	for len(batch) < min(len(q.ready), maxPutRecords) {
		l := q.ready[len(batch)]
		data, n := c.pack(l.records(most), maxPack)
		if size += len(l.key) + len(data); size > maxPutBytes {
			break
		}
		batch = append(batch, parcel{l, n, data})
	}
	q.ready = q.ready[len(batch):]
	return batch
}

// records are those that one parcel of at most so many could hold.
func (l *lane) records(most int) []*bridge.Record {
	out := make([]*bridge.Record, 0, min(len(l.items), most))
	for _, it := range l.items[:cap(out)] {
		out = append(out, it.rec)
	}
	return out
}

// resolve gives the records of a parcel their fate: the places behind ack, or its error.
// After a failure the later ones of the first one's Write are held back, since the engine
// will bring that one again before them; those of other Writes are put again.
func (q *queue) resolve(p parcel, ack bridge.Ack) {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := p.lane
	if ack.Err == nil {
		for i, it := range l.items[:p.n] {
			*it.ack = ack
			it.ack.Position.Sub = uint32(i)
			it.of.finish()
		}
		l.items = l.items[p.n:]
	} else {
		first := l.items[0]
		*first.ack = ack
		first.of.finish()
		l.items = l.items[1:]
		rest := l.items[:0]
		for _, it := range l.items {
			if it.of != first.of {
				rest = append(rest, it)
				continue
			}
			it.ack.Err = errHeldBack
			it.of.finish()
		}
		l.items = rest
	}
	l.busy = false
	if len(l.items) == 0 {
		delete(q.lanes, l.key)
	}
	q.offer(l)
}

func (w *write) finish() {
	if w.left--; w.left == 0 {
		close(w.done)
	}
}
