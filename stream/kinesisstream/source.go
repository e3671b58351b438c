package kinesisstream

import (
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/kinesis-msk-bridge/bridge"
)

// A SourceConfig says how to read.
type SourceConfig struct {
	// Share is the part of each shard's read budget (5 calls/s, 2 MB/s) that may be used,
	// above 0 and at most 1; 1 if zero. Other consumers that poll use the same budget.
	Share float64
	// PageRecords is how many records one answer may hold, 1 to 10,000; that is the
	// service's limit, and is what zero means.
	PageRecords int
	// NoRates reads as fast as answers come, from a server without the service's rates.
	NoRates bool
	// ExplicitHashKey is called for each record whose key does not hash into its shard:
	// its producer chose the shard, and the key says nothing of order. Nil ignores them.
	ExplicitHashKey func(shard string)
}

// A Source reads a stream. It implements bridge.Source.
type Source struct {
	*Client
	conf SourceConfig
}

var _ bridge.Source = (*Source)(nil)

// Source returns the stream as a source.
func (c *Client) Source(conf SourceConfig) *Source {
	conf.Share = min(max(cmpOr(conf.Share, 1), 0.01), 1)
	conf.PageRecords = min(max(cmpOr(conf.PageRecords, maxRecords), 1), maxRecords)
	return &Source{Client: c, conf: conf}
}

// Limits of one shard, for all who poll it together.
const (
	callsPerSecond = 5
	bytesPerSecond = 2 << 20
	// idlePoll is how often a shard that holds nothing new is asked.
	idlePoll = time.Second
	// longestRead bounds how long a Read keeps asking while answers are empty.
	longestRead = 2 * time.Second
	maxRecords  = 10_000
)

// A reader polls one shard.
type reader struct {
	client   *Client
	conf     SourceConfig
	shard    string
	start    bridge.Start
	opened   bool
	iterator *string
	// last is the position behind which the next page begins: all up to it was handed out.
	last bridge.Position
	// proved: what stands behind start.After is known to follow it without a hole.
	proved bool
	next   time.Time // when the shard may be asked again
	idle   time.Duration
	poison error // a record that cannot be handed out; everything before it was
	lo, hi *big.Int
}

// Open gets an iterator. A position must be of this shard, or is ErrForeignPosition.
func (s *Source) Open(ctx context.Context, partition string, from bridge.Start) (bridge.Reader, error) {
	if _, err := bridge.ParsePosition(from.After.String()); err != nil {
		return nil, err
	}
	r := &reader{client: s.Client, conf: s.conf, shard: partition, start: from, last: from.After}
	// Where nothing was ever read, nothing can have been lost, unless the shard was seen
	// empty once: what came since may have expired.
	r.proved = from.After.IsZero() && from.Tip.IsZero()
	r.bounds()
	return r, r.open(ctx)
}

// bounds notes the shard's hash range, if it was listed.
func (r *reader) bounds() {
	r.client.mu.Lock()
	defer r.client.mu.Unlock()
	if h := r.client.shards[r.shard].HashKeyRange; h != nil {
		r.lo, _ = new(big.Int).SetString(aws.ToString(h.StartingHashKey), 10)
		r.hi, _ = new(big.Int).SetString(aws.ToString(h.EndingHashKey), 10)
	}
}

// open gets an iterator. A position that was stored is opened AT its record, whose
// presence proves that nothing behind it has expired; AFTER is only for a record that this
// reader handed out itself.
func (r *reader) open(ctx context.Context) error {
	name, arn := r.client.ids()
	in := &kinesis.GetShardIteratorInput{StreamName: name, StreamARN: arn, ShardId: &r.shard}
	switch {
	case !r.last.IsZero() && r.last != r.start.After:
		in.ShardIteratorType, in.StartingSequenceNumber = types.ShardIteratorTypeAfterSequenceNumber, &r.last.Seq
	case !r.last.IsZero():
		in.ShardIteratorType, in.StartingSequenceNumber = types.ShardIteratorTypeAtSequenceNumber, &r.last.Seq
	case !r.start.At.IsZero():
		in.ShardIteratorType, in.Timestamp = types.ShardIteratorTypeAtTimestamp, &r.start.At
	default:
		in.ShardIteratorType = types.ShardIteratorTypeTrimHorizon
	}
	out, err := r.client.api.GetShardIterator(ctx, in)
	if err != nil {
		err = r.client.classify("GetShardIterator for "+r.shard, err)
		if errors.Is(err, bridge.ErrRefused) && !r.last.IsZero() {
			return fmt.Errorf("%w: %w", bridge.ErrForeignPosition, err)
		}
		return err
	}
	r.iterator = out.ShardIterator
	return nil
}

// Read asks the shard when its budget allows, and again while the answers are empty, for
// at most two seconds.
func (r *reader) Read(ctx context.Context) (bridge.Batch, error) {
	if r.poison != nil {
		return bridge.Batch{}, r.poison
	}
	until := time.Now().Add(longestRead)
	for {
		if err := pause(ctx, time.Until(r.next)); err != nil {
			return bridge.Batch{}, err
		}
		b, err := r.ask(ctx)
		if err != nil || len(b.Records) > 0 || b.Ended || b.Behind == 0 || !time.Now().Before(until) {
			return b, err
		}
	}
}

// ask is one GetRecords.
func (r *reader) ask(ctx context.Context) (bridge.Batch, error) {
	asked := time.Now()
	_, arn := r.client.ids()
	out, err := r.client.api.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: r.iterator, StreamARN: arn, Limit: aws.Int32(int32(r.conf.PageRecords))})
	if err != nil {
		r.paced(0, time.Since(asked), false)
		if isCode(err, expiredIterator) {
			if err := r.open(ctx); err != nil {
				return bridge.Batch{}, err
			}
			return bridge.Batch{}, fmt.Errorf("read %s: its iterator expired: %w", r.shard, bridge.ErrTransient)
		}
		return bridge.Batch{}, r.client.classify("GetRecords of "+r.shard, err)
	}
	b := bridge.Batch{Behind: -1, Asked: asked, Ended: out.NextShardIterator == nil}
	if out.MillisBehindLatest != nil {
		b.Behind = time.Duration(*out.MillisBehindLatest) * time.Millisecond
	}
	bytes := 0
	for i := range out.Records {
		bytes += len(out.Records[i].Data) + len(aws.ToString(out.Records[i].PartitionKey))
	}
	r.paced(bytes, 0, len(out.Records) == 0 && b.Behind == 0)
	if err := r.prove(out.Records, b); err != nil {
		return bridge.Batch{}, err
	}
	b.Records = r.records(out.Records)
	if n := len(out.Records); n > 0 && r.poison == nil {
		r.last = bridge.Position{Seq: aws.ToString(out.Records[n-1].SequenceNumber)}
	} else if n := len(b.Records); n > 0 {
		r.last = b.Records[n-1].Position
	}
	b.Through = r.last
	if r.poison != nil {
		b.Ended, b.Behind = false, -1
		if len(b.Records) == 0 {
			return bridge.Batch{}, r.poison
		}
		return b, nil
	}
	if r.iterator = out.NextShardIterator; b.Ended && b.Through.IsZero() {
		b.Through = r.start.After
	}
	return b, nil
}

// paced sets when the shard may be asked again: as its budget allows, and seldom while it
// is idle. The first answer that holds something ends the idling.
func (r *reader) paced(bytes int, failed time.Duration, idle bool) {
	gap := time.Duration(float64(time.Second) / (callsPerSecond * r.conf.Share))
	byBytes := time.Duration(float64(bytes) / (bytesPerSecond * r.conf.Share) * float64(time.Second))
	r.idle = min(max(2*r.idle, gap), max(idlePoll, gap))
	if !idle {
		if r.idle = 0; r.conf.NoRates && failed == 0 {
			gap, byBytes = 0, 0
		}
	}
	r.next = time.Now().Add(max(gap, byBytes, r.idle) - failed)
}

// prove makes sure that nothing between the stored position and this page has expired
// unread: the page begins with the very record, or the shard was seen to end there less
// than the retention ago.
func (r *reader) prove(page []types.Record, b bridge.Batch) error {
	if r.proved {
		return nil
	}
	if len(page) > 0 && !r.start.After.IsZero() && aws.ToString(page[0].SequenceNumber) == r.start.After.Seq {
		r.proved = true
		return nil
	}
	if len(page) == 0 && !b.Ended && b.Behind != 0 {
		return nil // an empty answer on the way says nothing
	}
	retention := r.client.Info().Retention
	if !r.start.Tip.IsZero() && time.Since(r.start.Tip) < retention {
		r.proved = r.proved || len(page) > 0
		return nil
	}
	if len(page) > 0 && r.start.After.IsZero() && r.start.Tip.IsZero() {
		r.proved = true
		return nil
	}
	gap := &bridge.GapError{Stream: "stream " + r.client.name(), Partition: r.shard, After: r.start.After}
	if len(page) > 0 {
		gap.Before = bridge.Position{Seq: aws.ToString(page[0].SequenceNumber)}
	}
	seen := "was never seen to end there"
	if !r.start.Tip.IsZero() {
		seen = "was last seen to end there at " + r.start.Tip.UTC().Format(time.RFC3339)
	}
	gap.Reason = fmt.Sprintf("possible gap: the record at the checkpoint has expired, the shard %s, and the retention is %s", seen, retention)
	return bridge.WithHint(gap, "raise the stream's retention for the next time; what is gone must come from the producers")
}

// records makes records of a page, without what stands at or before the start.
func (r *reader) records(page []types.Record) []bridge.Record {
	out := make([]bridge.Record, 0, len(page))
	for i := range page {
		rec := &page[i]
		at := bridge.Position{Seq: aws.ToString(rec.SequenceNumber)}
		if !at.After(r.start.After) && !r.start.After.IsZero() {
			continue
		}
		if isAggregate(rec.Data) {
			err := fmt.Errorf("record %s of %s is a KPL aggregate: %w", at, r.shard, bridge.ErrUndecodable)
			r.poison = bridge.WithHint(err, "streams with aggregated records are not available in this version")
			return out
		}
		b := bridge.Record{Value: rec.Data, Partition: r.shard, Position: at, Subs: 1, Time: aws.ToTime(rec.ApproximateArrivalTimestamp).UTC().Truncate(time.Millisecond)}
		if b.Value == nil {
			b.Value = []byte{}
		}
		if rec.PartitionKey != nil {
			b.Key = []byte(*rec.PartitionKey)
			r.checkHash(b.Key)
		}
		out = append(out, b)
	}
	return out
}

func (r *reader) checkHash(key []byte) {
	if r.conf.ExplicitHashKey == nil || r.lo == nil || r.hi == nil {
		return
	}
	sum := md5.Sum(key)
	h := new(big.Int).SetBytes(sum[:])
	if h.Cmp(r.lo) < 0 || h.Cmp(r.hi) > 0 {
		r.conf.ExplicitHashKey(r.shard)
	}
}

// Close ends nothing on the service's side.
func (r *reader) Close() error { return nil }

// magic begins every aggregated record of the Kinesis Producer Library.
const magic = "\xf3\x89\x9a\xc2"

// isAggregate reports whether data is an aggregated record whose checksum, the MD5 at its
// end, holds. Readers of KPL take anything else for a plain record.
func isAggregate(data []byte) bool {
	if !hasMagic(data) || len(data) <= len(magic)+md5.Size {
		return false
	}
	body, sum := data[len(magic):len(data)-md5.Size], data[len(data)-md5.Size:]
	return md5.Sum(body) == [md5.Size]byte(sum)
}

func hasMagic(data []byte) bool { return len(data) >= len(magic) && string(data[:len(magic)]) == magic }
