package memstream

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
)

// Put is what producers do who know nothing of the mirror. The fate of each record is in
// its ack. On Kinesis a refused record does not keep later ones back, whatever their key,
// as with PutRecords; on Kafka the records of one partition are stored or refused as one
// batch. Records with an Origin are refused: see PutCopy.
//
// Kinesis stores key and value alone, and a nil value as an empty one. Kafka keeps Time if
// it is set.
func (s *Stream) Put(ctx context.Context, recs ...bridge.Record) ([]bridge.Ack, error) {
	for i := range recs {
		if !recs[i].Origin.IsZero() {
			return nil, fmt.Errorf("put record %d with an origin: %w", i, bridge.ErrRefused)
		}
	}
	return s.PutCopy(ctx, "", recs...)
}

// PutCopy is Put for a producer that copies what it read from somewhere, with the
// provenance that the given workflow wrote: the header of a record is that of its Origin.
// Foreign says that the header's tag does not hold where it is put now; if it is false the
// copy is an identical one on the topic that it was read from.
func (s *Stream) PutCopy(ctx context.Context, workflow string, recs ...bridge.Record) ([]bridge.Ack, error) {
	acks := make([]bridge.Ack, len(recs))
	for from := 0; from < len(recs); {
		to := s.call(recs, from)
		if err := s.native(ctx, workflow, recs, from, to, acks); err != nil {
			return nil, err
		}
		from = to
	}
	return acks, nil
}

// call is the end of the run from from on that goes out as one call.
func (s *Stream) call(recs []bridge.Record, from int) int {
	if s.cfg.Flavour == Kinesis {
		return min(from+putRecords, len(recs))
	}
	to := from + 1
	for to < len(recs) && recs[to].Partition == recs[from].Partition {
		to++
	}
	return to
}

func (s *Stream) native(ctx context.Context, workflow string, recs []bridge.Record, from, to int, acks []bridge.Ack) error {
	kind := OpAppend
	if s.cfg.Flavour == Kinesis {
		kind = OpPut
	}
	op := Op{Kind: kind, Partition: recs[from].Partition, Records: to - from, Worker: Producer}
	if kind == OpPut {
		op.Partition = ""
	}
	err := s.ask(ctx, op)
	if ctx.Err() != nil {
		return err
	}
	var list []Stored
	var now []int
	for i := from; i < to; i++ {
		acks[i].Err = err
		if err == nil {
			acks[i].Err = s.check(&recs[i])
		}
		if acks[i].Err != nil {
			continue
		}
		st := stored(&recs[i])
		st.Native, st.Workflow = true, workflow
		if s.cfg.Flavour == Kinesis && workflow == "" {
			st.Record.Headers = nil
			st.Record.Value = append([]byte{}, st.Record.Value...)
		}
		list, now = append(list, st), append(now, i)
	}
	if kind == OpPut {
		return s.putEach(list, acks, now)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.land(list, acks, now)
}

// Producer is the Worker of an Op of Put, PutCopy and PutAggregate.
const Producer = "producer"

// PutAggregate puts user records as one aggregated Kinesis record: they share a sequence
// number and differ in Sub. It is placed by the key of the first, which all should have.
func (s *Stream) PutAggregate(ctx context.Context, recs ...bridge.Record) ([]bridge.Ack, error) {
	acks := make([]bridge.Ack, len(recs))
	if s.cfg.Flavour != Kinesis || len(recs) == 0 {
		return nil, fmt.Errorf("put an aggregate of %d to %s: %w", len(recs), s.cfg.Name, bridge.ErrRefused)
	}
	if err := s.ask(ctx, Op{Kind: OpPut, Records: 1, Worker: Producer}); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := s.place(recs[0].Key)
	if err != nil {
		return nil, err
	}
	at := s.take(p)
	for i := range recs {
		st := stored(&recs[i])
		st.Native = true
		st.Record.Subs = uint32(len(recs))
		at.Sub = uint32(i)
		s.store(p, st, at)
		acks[i] = bridge.Ack{Partition: p.id, Position: at}
	}
	s.touch()
	return acks, nil
}

// stored clones a record.
func stored(r *bridge.Record) Stored {
	c := *r
	c.Key, c.Value = bytes.Clone(r.Key), bytes.Clone(r.Value)
	c.Headers = slices.Clone(r.Headers)
	for i := range c.Headers {
		c.Headers[i].Value = bytes.Clone(c.Headers[i].Value)
	}
	c.Subs = 1
	return Stored{Record: c}
}

// putEach is what the service does with the records of a PutRecords call: each for
// itself.
func (s *Stream) putEach(list []Stored, acks []bridge.Ack, now []int) error {
	for j, i := range now {
		s.mu.Lock()
		p, err := s.place(list[j].Record.Key)
		s.mu.Unlock()
		if err != nil {
			return err
		}
		// The shard can be split between these two steps; nobody knows the difference.
		f := s.inj.ask(Op{Kind: OpPutRecord, Partition: p.id, Records: 1, Key: list[j].Record.Key})
		if f.Err != nil && !f.Took {
			acks[i].Err = f.Err
			continue
		}
		s.mu.Lock()
		if p, err = s.place(list[j].Record.Key); err == nil {
			at := s.take(p)
			s.store(p, list[j], at)
			acks[i] = bridge.Ack{Partition: p.id, Position: at}
			s.touch()
		}
		s.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// place is the open shard that holds a key. The lock is held.
func (s *Stream) place(key []byte) (*part, error) {
	if s.deleted {
		return nil, s.missing()
	}
	h := hashOf(key)
	for _, p := range s.parts {
		if !p.closed && p.bounds.holds(h) {
			return p, nil
		}
	}
	return nil, fmt.Errorf("no open shard of %s holds the key's hash: %w", s.cfg.Name, bridge.ErrTransient)
}

// take gives out the next position of a partition. Sequence numbers have gaps, and so
// have offsets, between which producers' transactions leave their markers.
func (s *Stream) take(p *part) bridge.Position {
	n := draw(s.cfg.Seed, Op{Kind: "take", Partition: p.id, N: int(p.next)})
	if s.cfg.Flavour == Kinesis {
		p.next += 1 + int64(n%1000)
		return p.position(p.next, Kinesis)
	}
	if !s.cfg.Calm && n%16 == 0 {
		p.marker(s.now())
	}
	at := p.position(p.next, Kafka)
	p.next++
	return at
}

// land appends the records of one batch to its partition. The lock is held.
func (s *Stream) land(list []Stored, acks []bridge.Ack, now []int) error {
	if s.deleted {
		return s.missing()
	}
	for j, i := range now {
		p, ok := s.byID[list[j].Record.Partition]
		if !ok {
			return fmt.Errorf("partition %q of %s: %w", list[j].Record.Partition, s.cfg.Name, bridge.ErrMissing)
		}
		at := s.take(p)
		s.store(p, list[j], at)
		acks[i] = bridge.Ack{Partition: p.id, Position: at}
	}
	s.touch()
	return nil
}

// store puts one record at a position. The lock is held.
func (s *Stream) store(p *part, st Stored, at bridge.Position) {
	now := s.now()
	r := &st.Record
	r.Partition, r.Position = p.id, at
	if s.cfg.Flavour == Kinesis && !s.cfg.Restores || r.Time.IsZero() {
		r.Time = now
	}
	r.Time = r.Time.Truncate(time.Millisecond)
	p.log = append(p.log, entry{Stored: st, arrived: now})
	s.all = append(s.all, st)
}
