package memstream

import (
	"context"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
)

// A Transaction is that of a producer of a Kafka-like stream. While it is open, readers of
// its partitions get nothing from its first record on, whoever wrote it.
type Transaction struct {
	s     *Stream
	id    string
	since time.Time
	open  bool
	parts map[*part]bool
}

// Begin opens a transaction under a transactional id.
func (s *Stream) Begin(id string) *Transaction {
	return &Transaction{s: s, id: id, since: time.Now(), open: true, parts: map[*part]bool{}}
}

// producer is the producer id that belongs to the transactional id.
func (t *Transaction) producer() int64 {
	h := fnv.New32a()
	h.Write([]byte(t.id))
	return int64(h.Sum32())
}

// Put appends records inside the transaction, one after the other.
func (t *Transaction) Put(ctx context.Context, recs ...bridge.Record) ([]bridge.Ack, error) {
	acks := make([]bridge.Ack, len(recs))
	for i := range recs {
		if err := t.s.ask(ctx, Op{Kind: OpAppend, Partition: recs[i].Partition, Records: 1, Worker: Producer}); err != nil {
			return nil, err
		}
		st := stored(&recs[i])
		st.Native = true
		t.s.mu.Lock()
		err := t.s.land([]Stored{st}, acks, []int{i})
		if p := t.s.byID[recs[i].Partition]; err == nil {
			p.log[len(p.log)-1].txn = t
			t.parts[p] = true
		}
		t.s.mu.Unlock()
		if err != nil {
			return nil, err
		}
	}
	return acks, nil
}

// End commits or aborts: each partition of the transaction gets its marker.
func (t *Transaction) End(commit bool) error {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	if !t.open {
		return fmt.Errorf("end transaction %s, which is over: %w", t.id, bridge.ErrRefused)
	}
	t.open = false
	for p := range t.parts {
		for i := range p.log {
			if p.log[i].txn == t {
				p.log[i].gone = !commit
			}
		}
		p.marker(t.s.now())
	}
	t.s.touch()
	return nil
}

// held returns the first entry from index i on that belongs to an open transaction, and
// the number of entries if none does.
func (p *part) held(i int) (int, *bridge.OpenTransaction) {
	for ; i < len(p.log); i++ {
		if t := p.log[i].txn; t != nil && t.open {
			return i, &bridge.OpenTransaction{Partition: p.id, First: p.log[i].at(), Producer: t.producer(), ID: t.id, Since: t.since}
		}
	}
	return len(p.log), nil
}
