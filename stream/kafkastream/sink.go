package kafkastream

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"

	"github.com/kinesis-msk-bridge/bridge"
)

// A SinkConfig says how a session's target topic is written.
type SinkConfig struct {
	// Stamp writes the provenance header of records that have an Origin. Required.
	Stamp *bridge.Stamp
	// Recheck is how often writes make sure that the topic is still the same one; 5 s if
	// zero.
	Recheck time.Duration
}

// A Sink appends records to the topic that its session is for. It implements bridge.Sink,
// bridge.Recoverable and bridge.Ender.
type Sink struct {
	session *Session
	stamp   *bridge.Stamp
	recheck time.Duration
	began   time.Time
	checked atomic.Int64 // nanoseconds since began
	closed  atomic.Bool
}

var (
	_ bridge.Sink        = (*Sink)(nil)
	_ bridge.Recoverable = (*Sink)(nil)
	_ bridge.Ender       = (*Sink)(nil)
)

// Sink returns the sink for the session's target, which must have one.
func (s *Session) Sink(c SinkConfig) *Sink {
	return &Sink{session: s, stamp: c.Stamp, recheck: cmpOr(c.Recheck, defaultRecheck), began: time.Now()}
}

// Identity asks the cluster, and does not mind if the topic is another one by now.
func (k *Sink) Identity(ctx context.Context) (bridge.Identity, error) {
	t, err := k.session.client.lookup(ctx, k.session.target.Name)
	if err != nil {
		return bridge.Identity{}, err
	}
	return t.Identity(), nil
}

// Partitions lists the partitions in their order. It wraps ErrChanged if the topic is not
// the one that the session was opened for.
func (k *Sink) Partitions(ctx context.Context) ([]bridge.Partition, error) {
	if err := k.check(ctx); err != nil {
		return nil, err
	}
	out := make([]bridge.Partition, k.session.target.Partitions)
	for i := range out {
		out[i].ID = strconv.Itoa(i)
	}
	return out, nil
}

// Ends returns the position before the high watermark of each partition: behind it stands
// nothing yet, whoever wrote. A partition that never held anything has the zero Position.
func (k *Sink) Ends(ctx context.Context) (map[string]bridge.Position, error) {
	target := k.session.target
	next, err := k.session.client.listOffsets(ctx, target.Name, target.numbers(), sarama.OffsetNewest, sarama.ReadUncommitted)
	if err != nil {
		return nil, err
	}
	ends := make(map[string]bridge.Position, len(next))
	for p, offset := range next {
		ends[strconv.Itoa(int(p))] = bridge.OffsetPosition(offset - 1)
	}
	return ends, nil
}

func (k *Sink) check(ctx context.Context) error {
	was := k.session.target
	now, err := k.session.client.lookup(ctx, was.Name)
	switch {
	case errors.Is(err, bridge.ErrMissing):
		return wire{k.session.client}.gone(ctx, was.Name)
	case err != nil:
		return err
	case now.ID != was.ID:
		return bridge.WithHint(fmt.Errorf("topic %s was deleted and created anew (id %s, was %s): %w", was.Name, now.ID, was.ID, bridge.ErrChanged),
			"what was written is gone with the old topic: begin a new workflow")
	case now.Partitions != was.Partitions:
		return bridge.WithHint(fmt.Errorf("topic %s has %d partitions, had %d: %w", was.Name, now.Partitions, was.Partitions, bridge.ErrChanged),
			"keys would go to other partitions than before: begin a new workflow with a new topic")
	}
	return nil
}

// checkNowAndThen lets one write of many ask whether the topic is still the same one. That
// nobody answers is the producer's to deal with.
func (k *Sink) checkNowAndThen(ctx context.Context) error {
	last, now := k.checked.Load(), int64(time.Since(k.began))
	if time.Duration(now-last) < k.recheck || !k.checked.CompareAndSwap(last, now) {
		return nil
	}
	if err := k.check(ctx); err != nil && !bridge.Retryable(err) {
		return err
	}
	return nil
}

// Write appends each record to its Partition, a decimal number, with its headers, its
// provenance behind them, and its Time. It returns when each has been acknowledged by all
// in-sync replicas or refused for good: what passes is tried again inside.
func (k *Sink) Write(ctx context.Context, recs []bridge.Record) ([]bridge.Ack, error) {
	if k.closed.Load() {
		return nil, fmt.Errorf("write to %s: the sink is closed: %w", k.session.target.Name, bridge.ErrRefused)
	}
	if err := k.checkNowAndThen(ctx); err != nil {
		return nil, err
	}
	if k.session.adopted.open() {
		k.session.adopted.over.Store(true)
	}
	acks := make([]bridge.Ack, len(recs))
	pieces, places, err := k.split(recs)
	if err != nil {
		return nil, err
	}
	if err := k.session.producer.append(ctx, pieces...); err != nil {
		return nil, err
	}
	for i, at := range places {
		pc := pieces[at.piece]
		acks[i].Partition = recs[i].Partition
		switch offset := pc.offsets[at.entry]; {
		case offset >= 0:
			acks[i].Position = bridge.OffsetPosition(offset)
		case pc.refused == at.entry:
			acks[i].Err = pc.err
		default:
			acks[i].Err = errHeldBack
		}
	}
	return acks, nil
}

// errHeldBack is the fate of a record whose lane has a refused one before it.
var errHeldBack = fmt.Errorf("held back behind a record that was refused: %w", bridge.ErrTransient)

// A slot says where in which piece a record went.
type slot struct{ piece, entry int }

// split sorts records by partition, in order. All headers share two slices and all
// provenance one.
func (k *Sink) split(recs []bridge.Record) ([]*piece, []slot, error) {
	target := k.session.target
	places := make([]slot, len(recs))
	counts := make([]int, target.Partitions)
	numbers := make([]int32, len(recs))
	headers := len(recs)
	for i := range recs {
		n, err := strconv.ParseUint(recs[i].Partition, 10, 31)
		if err != nil || int(n) >= target.Partitions {
			return nil, nil, fmt.Errorf("write to %s: it has no partition %q: %w", target.Name, recs[i].Partition, bridge.ErrRefused)
		}
		numbers[i] = int32(n)
		counts[n]++
		headers += len(recs[i].Headers)
	}
	index := make([]int, target.Partitions)
	var pieces []*piece
	for n, c := range counts {
		if c > 0 {
			index[n] = len(pieces)
			pieces = append(pieces, newPiece(partitionID{target.Name, int32(n)}, make([]entry, 0, c)))
		}
	}
	made := headerArena{values: make([]sarama.RecordHeader, 0, headers), pointers: make([]*sarama.RecordHeader, 0, headers), bytes: make([]byte, 0, 64*len(recs))}
	for i := range recs {
		pc := pieces[index[numbers[i]]]
		places[i] = slot{index[numbers[i]], len(pc.entries)}
		pc.entries = append(pc.entries, entry{
			Record: sarama.Record{Key: recs[i].Key, Value: recs[i].Value, Headers: made.of(&recs[i], k.stamp)},
			time:   recs[i].Time.Truncate(time.Millisecond),
		})
	}
	for _, pc := range pieces {
		pc.offsets, pc.left = make([]int64, len(pc.entries)), len(pc.entries)
	}
	return pieces, places, nil
}

// A headerArena holds the headers of many records in few allocations.
type headerArena struct {
	values   []sarama.RecordHeader
	pointers []*sarama.RecordHeader
	bytes    []byte
}

func (a *headerArena) of(r *bridge.Record, stamp *bridge.Stamp) []*sarama.RecordHeader {
	begin := len(a.pointers)
	for _, h := range r.Headers {
		a.add([]byte(h.Key), h.Value)
	}
	if !r.Origin.IsZero() {
		from := len(a.bytes)
		a.bytes = stamp.Append(a.bytes, r)
		a.add(provenanceName, a.bytes[from:len(a.bytes):len(a.bytes)])
	}
	return a.pointers[begin:len(a.pointers):len(a.pointers)]
}

func (a *headerArena) add(key, value []byte) {
	a.values = append(a.values, sarama.RecordHeader{Key: key, Value: value})
	a.pointers = append(a.pointers, &a.values[len(a.values)-1])
}

var provenanceName = []byte(bridge.ProvenanceHeader)

// Close ends the writing. The session owns what the sink uses.
func (k *Sink) Close() error {
	k.closed.Store(true)
	return nil
}
