package kinesisstream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/kinesis-msk-bridge/bridge"
)

// round puts one parcel of each lane: intents, put, results. It fails if the sink
// must stop.
func (s *Sink) round(ctx context.Context, batch []parcel) error {
	entry, deadline, err := s.intend(ctx, batch)
	if err != nil {
		return err
	}
	s.late.calls()
	defer func() { s.rewound(s.late.settled()) }()
	out, err := s.put(ctx, batch, deadline)
	switch {
	case err == nil && len(out.Records) == len(batch):
		return s.answered(ctx, batch, entry, out.Records)
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil && !uncertain(err):
		return s.refused(batch, entry, s.classify("PutRecords", err))
	}
	return s.find(ctx, batch, entry, deadline)
}

// intend writes ahead what is about to be put, together with what came of the last put. No
// later record of a key is thus put before the earlier one's result is durable. The put
// must be over by the deadline, PutTimeout after the writing began: whoever fences this
// sink does so before it waits for that long, and then looks for what was intended. If the
// ledger used up half of the time, the intents are withdrawn and written again.
func (s *Sink) intend(ctx context.Context, batch []parcel) (at bridge.Position, deadline time.Time, err error) {
	e := bridge.LedgerEntry{Settled: s.settled}
	if s.codec.ledgered() {
		e.Intents = make([]bridge.Intent, len(batch))
		for i, p := range batch {
			e.Intents[i] = s.intent(p)
		}
	}
	for {
		began := time.Now()
		if at, err = s.conf.Ledger.Append(ctx, e); err != nil {
			return at, began, fmt.Errorf("write ahead in the ledger: %w", err)
		}
		s.settled = nil
		if err := s.conf.Watch.Alive(); err != nil {
			return at, began, err
		}
		if time.Since(began) < s.conf.PutTimeout/2 {
			return at, began.Add(s.conf.PutTimeout), nil
		}
		e.Settled = unstored(at, len(e.Intents))
	}
}

// intent is what the ledger is told of a parcel of one record.
func (s *Sink) intent(p parcel) bridge.Intent {
	r := p.first.rec
	return bridge.Intent{Origin: r.Origin, Key: p.key, Time: r.Time, Digest: s.codec.mark(r).digest}
}

// unstored says of every intent of an entry that it was not put.
func unstored(entry bridge.Position, n int) []bridge.Settled {
	out := make([]bridge.Settled, n)
	for i := range out {
		out[i] = bridge.Settled{Entry: entry, Index: i}
	}
	return out
}

// put is one PutRecords, which is given up at the deadline.
func (s *Sink) put(ctx context.Context, batch []parcel, deadline time.Time) (*kinesis.PutRecordsOutput, error) {
	name, arn := s.ids()
	in := &kinesis.PutRecordsInput{StreamName: name, StreamARN: arn, Records: make([]types.PutRecordsRequestEntry, len(batch))}
	for i, p := range batch {
		in.Records[i] = types.PutRecordsRequestEntry{PartitionKey: &p.key, Data: p.data}
	}
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	return s.api.PutRecords(ctx, in)
}

// answered deals with the answer to one put, record by record.
func (s *Sink) answered(ctx context.Context, batch []parcel, entry bridge.Position, results []types.PutRecordsResultEntry) error {
	acks := make([]bridge.Ack, len(batch))
	for i := range results {
		r := &results[i]
		if r.ErrorCode == nil && r.SequenceNumber != nil && r.ShardId != nil {
			acks[i] = bridge.Ack{Partition: *r.ShardId, Position: bridge.Position{Seq: *r.SequenceNumber}}
			continue
		}
		class := codes[aws.ToString(r.ErrorCode)]
		if class == nil {
			class = bridge.ErrTransient
		}
		acks[i].Err = fmt.Errorf("put record: %s: %w", aws.ToString(r.ErrorCode), class)
	}
	batch, acks, err := s.atHome(ctx, batch, acks)
	if err != nil {
		return err
	}
	s.resolve(batch, entry, acks)
	return nil
}

// resolve passes on what became of one put: to the ledger with its next entry, and to
// whoever waits for the records.
func (s *Sink) resolve(batch []parcel, entry bridge.Position, acks []bridge.Ack) {
	if s.codec.ledgered() {
		s.settled = slices.Grow(s.settled, len(batch))
	}
	for i, p := range batch {
		a := &acks[i]
		if a.Err == nil {
			a.Log = entry
			s.advance(a.Partition, a.Position)
			s.remember(p, a)
		}
		if s.codec.ledgered() {
			s.settled = append(s.settled, bridge.Settled{
				Entry: entry, Index: i, Stored: a.Err == nil, Partition: a.Partition, Position: a.Position,
				Doubt: a.Err == errNotThere,
			})
		}
	}
	s.queue.resolve(batch, acks)
}

// remember lets looks for late copies know a record as this sink's own.
func (s *Sink) remember(p parcel, a *bridge.Ack) {
	if s.late.stored(p.key, func() mark { return s.codec.mark(p.first.rec) }, a.Partition, a.Position) {
		s.unwatched("more records were put than can be told from copies")
	}
}

// refused deals with a call that was certainly not carried out.
func (s *Sink) refused(batch []parcel, entry bridge.Position, err error) error {
	acks := make([]bridge.Ack, len(batch))
	for i := range acks {
		acks[i].Err = err
	}
	s.resolve(batch, entry, acks)
	if bridge.Retryable(err) {
		return nil
	}
	return err
}

// find deals with a call whose fate is unknown. It is not repeated: what it stored is on
// the shards once its time is over and what was stored can be read, and only then.
func (s *Sink) find(ctx context.Context, batch []parcel, entry bridge.Position, deadline time.Time) error {
	if err := pause(ctx, time.Until(deadline.Add(s.conf.ReadDelay))); err != nil {
		return err
	}
	doubts := map[string]*doubt{}
	for i, p := range batch {
		doubts[p.key] = &doubt{entry: entry, index: i, mark: s.codec.mark(p.first.rec)}
	}
	if err := s.look(ctx, doubts, deadline.Add(-s.conf.PutTimeout)); err != nil {
		return err
	}
	acks := make([]bridge.Ack, len(batch))
	for i, p := range batch {
		if d := doubts[p.key]; d.shard != "" {
			acks[i] = bridge.Ack{Partition: d.shard, Position: d.at}
		} else {
			acks[i].Err = errNotThere
		}
	}
	s.resolve(batch, entry, acks)
	return nil
}

var errNotThere = fmt.Errorf("a put got no answer, and did not take effect in its time: %w", bridge.ErrTransient)

// clockSkew is more than a time that this program noted, translated to the service's clock, may
// be off: the clocks of the machines that noted times differ, and are corrected.
const clockSkew = 15 * time.Minute

// readBack tries until it succeeds, fails for good, or ctx ends. Nothing else can be done
// meanwhile: what may not be put twice must be known.
func (s *Sink) readBack(ctx context.Context, what string, try func() error) error {
	wait := 50 * time.Millisecond
	for {
		err := try()
		if err == nil || !bridge.Retryable(err) {
			return err
		}
		if e := pause(ctx, wait); e != nil {
			return errors.Join(e, fmt.Errorf("%s: %w", what, err))
		}
		wait = min(2*wait, 5*time.Second)
	}
}
