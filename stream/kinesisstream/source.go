package kinesisstream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"golang.org/x/sync/semaphore"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/kpl"
)

// A SourceConfig says how to read.
type SourceConfig struct {
	// Share is the part of each shard's read budget (5 calls/s, 2 MB/s) that may be used,
	// above 0 and at most 1; 1 if zero. All readers of a Source share it. Other consumers
	// that poll use the same budget.
	Share float64
	// PageRecords is how many records one answer may hold, 1 to 10,000; that is the
	// service's limit, and is what zero means.
	PageRecords int
	// NoRates reads as fast as answers come, from a server without the service's rates.
	NoRates bool
	// ExplicitHashKey is called for each record whose key does not hash into its shard:
	// its producer chose the shard, and the key says nothing of order. Nil ignores them.
	ExplicitHashKey func(shard string)
	// Aggregation says which user records of KPL aggregates are delivered.
	Aggregation kpl.Mode
	// Stamp judges what a mirror wrote into the stream in the formats KPL and Envelope. Nil
	// takes all for producers' data.
	Stamp *bridge.Stamp
	// Restore says that a mirror, of whichever workflow, wrote the stream: headers, null
	// values and times that its formats carry are those of the records.
	Restore bool
	// KeepCopied is for who compares: a provenance header whose tag does not hold is left as
	// the last of the headers, and so is that of a user record that is the workflow's own but
	// for a hash key or an outer key that no mirror gives it; both are Foreign.
	KeepCopied bool
	// ManyKeys is for who compares, too: the workflow writes the format KPLShard. Its user
	// records stand under other outer keys, and those that the mode drops are left out, for
	// they stand elsewhere, too.
	ManyKeys bool
}

// A Source reads a stream. It implements bridge.Source.
type Source struct {
	*Client
	conf   SourceConfig
	budget *budget
	edge   edge
}

var _ bridge.Source = (*Source)(nil)

// Source returns the stream as a source.
func (c *Client) Source(conf SourceConfig) *Source {
	conf.Share = min(max(cmpOr(conf.Share, 1), 0.01), 1)
	return &Source{Client: c, conf: conf, budget: &budget{next: map[string]time.Time{}}, edge: edge{turn: semaphore.NewWeighted(1)}}
}

// LeastRetention is how long every stream keeps its records.
const LeastRetention = 24 * time.Hour

// Limits of one shard, for all who poll it together.
const (
	callsPerSecond = 5
	bytesPerSecond = 2 << 20
	// idlePoll is how often a shard that holds nothing new is asked.
	idlePoll = time.Second
	// longestRead bounds how long a Read keeps asking while answers are empty.
	longestRead = 2 * time.Second
	maxRecords  = 10_000
	// pieceRecords is how many user records a Read returns at most, or those of one Kinesis
	// record if it holds more. Ten MiB of small user records would take hundreds of MiB
	// unpacked, which nobody has reserved.
	pieceRecords = 16_384
)

// A reader polls one shard.
type reader struct {
	client   *Client
	conf     SourceConfig
	shard    string
	start    bridge.Start
	iterator *string // nil before it is opened again
	// last is the position behind which the next page begins: all up to it was handed out.
	last bridge.Position
	proof
	next   time.Time // when this reader asks again
	budget *budget   // of the shard; nil for a reader alone
	idle   time.Duration
	keys   kpl.HashRange // of the shard, the whole range if it was not listed
	unpack unpacker
	answer answer
}

// An answer is a page that is handed out in pieces.
type answer struct {
	rest   []types.Record // not handed out yet
	batch  bridge.Batch   // what the answer says of the whole page
	page   []types.Record
	now    moment
	before bridge.Position // the last record before the page
}

// Open gets an iterator. A position must be of this shard, or is ErrForeignPosition.
func (s *Source) Open(ctx context.Context, partition string, from bridge.Start) (bridge.Reader, error) {
	for _, at := range []bridge.Position{from.After, from.First} {
		if _, err := bridge.ParsePosition(at.String()); err != nil {
			return nil, err
		}
	}
	r := newReader(s.Client, s.conf, partition, from)
	if !s.conf.NoRates {
		r.budget = s.budget
	}
	return r, r.open(ctx)
}

func newReader(c *Client, conf SourceConfig, shard string, from bridge.Start) *reader {
	conf.PageRecords = min(max(cmpOr(conf.PageRecords, maxRecords), 1), maxRecords)
	r := &reader{client: c, conf: conf, shard: shard, start: from, last: from.After, keys: kpl.FullRange()}
	r.proof = proof{at: !from.After.IsZero(), tip: from.Tip}
	r.begins = from.After.IsZero() && (!from.First.IsZero() || !from.Tip.IsZero())
	c.mu.Lock()
	defer c.mu.Unlock()
	r.created = c.info.Created
	if h := c.shards[shard].HashKeyRange; h != nil {
		if keys, err := kpl.ParseHashRange(aws.ToString(h.StartingHashKey), aws.ToString(h.EndingHashKey)); err == nil {
			r.keys = keys
		}
	}
	r.unpack = unpacker{shard: shard, keys: r.keys, conf: &r.conf}
	return r
}

// open gets an iterator. It stands AT the last record while that one's presence is the proof
// that nothing behind it has expired, and AFTER it once a page with it was handed out.
func (r *reader) open(ctx context.Context) error {
	name, arn := r.client.ids()
	in := &kinesis.GetShardIteratorInput{StreamName: name, StreamARN: arn, ShardId: &r.shard}
	switch {
	case !r.last.IsZero() && r.at:
		in.ShardIteratorType, in.StartingSequenceNumber = types.ShardIteratorTypeAtSequenceNumber, &r.last.Seq
	case !r.last.IsZero():
		in.ShardIteratorType, in.StartingSequenceNumber = types.ShardIteratorTypeAfterSequenceNumber, &r.last.Seq
	case !r.start.At.IsZero():
		in.ShardIteratorType, in.Timestamp = types.ShardIteratorTypeAtTimestamp, &r.start.At
	default:
		in.ShardIteratorType = types.ShardIteratorTypeTrimHorizon
	}
	asked := time.Now()
	out, err := call(ctx, r.client, r.client.api.GetShardIterator, in)
	if err != nil {
		err = r.client.classify("GetShardIterator for "+r.shard, err)
		if errors.Is(err, bridge.ErrRefused) && !r.last.IsZero() {
			err = fmt.Errorf("%w: %w", bridge.ErrForeignPosition, err)
		}
		return r.gone(ctx, err)
	}
	r.iterator = out.ShardIterator
	theirs := clockOf(out.ResultMetadata)
	r.client.hears(theirs)
	r.opens(moment{asked, theirs})
	return nil
}

// Wait returns when the budget of the shard allows to ask, or at once while a page is handed
// out.
func (r *reader) Wait(ctx context.Context) error {
	if len(r.answer.rest) > 0 {
		return nil
	}
	next := r.next
	if free := r.budget.free(r.shard); free.After(next) {
		next = free
	}
	return pause(ctx, time.Until(next))
}

// Read asks the shard when its budget allows, and again while the answers are empty, for
// at most two seconds.
func (r *reader) Read(ctx context.Context) (bridge.Batch, error) {
	until := time.Now().Add(longestRead)
	for {
		if err := r.Wait(ctx); err != nil {
			return bridge.Batch{}, err
		}
		if len(r.answer.rest) == 0 {
			if !r.budget.take(r.shard, r.gap()) {
				continue // another reader of the shard was first
			}
			if again, err := r.ask(ctx); err != nil {
				return bridge.Batch{}, err
			} else if again {
				continue
			}
		}
		b := r.piece()
		if len(b.Records) > 0 || b.Ended || b.Behind == 0 || !time.Now().Before(until) {
			return b, nil
		}
	}
}

// ask is one GetRecords. With again, its answer does not prove that it follows the page before
// it, and the next call asks AT the last record.
func (r *reader) ask(ctx context.Context) (again bool, err error) {
	if r.iterator == nil {
		if err := r.open(ctx); err != nil {
			return false, err
		}
	}
	asked := time.Now()
	out, err := r.getRecords(ctx)
	if err != nil {
		r.paced(0, time.Since(asked), false)
		return false, err
	}
	now := moment{asked, clockOf(out.ResultMetadata)}
	b := bridge.Batch{Behind: -1, Asked: asked, Clock: now.clock, Ended: out.NextShardIterator == nil}
	if out.MillisBehindLatest != nil {
		b.Behind = time.Duration(*out.MillisBehindLatest) * time.Millisecond
	}
	bytes := 0
	for i := range out.Records {
		bytes += len(out.Records[i].Data) + len(aws.ToString(out.Records[i].PartitionKey))
	}
	r.paced(bytes, 0, len(out.Records) == 0 && b.Behind == 0)
	if follows, err := r.follows(ctx, out.Records, &b, now); err != nil || !follows {
		return err == nil, err
	}
	r.iterator = out.NextShardIterator
	r.answer = answer{rest: out.Records, batch: b, page: out.Records, now: now, before: r.last}
	return false, nil
}

// piece returns the next records of the page that was asked for last. With the last of them
// the page is accepted.
func (r *reader) piece() bridge.Batch {
	a := &r.answer
	b := a.batch
	b.Records, a.rest = r.records(a.rest)
	b.Through = r.last
	if len(a.rest) > 0 {
		if b.Ended = false; b.Behind == 0 {
			b.Behind = time.Millisecond // the rest of the page
		}
		return b
	}
	r.accept(a.page, &b, a.now, r.last.After(a.before))
	r.answer = answer{}
	return b
}

// getRecords asks for the next page.
func (r *reader) getRecords(ctx context.Context) (*kinesis.GetRecordsOutput, error) {
	_, arn := r.client.ids()
	limit := cmpOr(r.conf.PageRecords, maxRecords)
	if r.at {
		limit = max(limit, 2) // the last record again, and one more
	}
	out, err := call(ctx, r.client, r.client.api.GetRecords, &kinesis.GetRecordsInput{ShardIterator: r.iterator, StreamARN: arn, Limit: aws.Int32(int32(limit))})
	switch {
	case err == nil:
		return out, nil
	case isCode(err, expiredIterator):
		r.iterator = nil
		return nil, fmt.Errorf("read %s: its iterator expired: %w", r.shard, bridge.ErrTransient)
	}
	return nil, r.gone(ctx, r.client.classify("GetRecords of "+r.shard, err))
}

// paced sets when the shard may be asked again: as its budget allows, and seldom while it
// is idle. The first answer that holds something ends the idling.
func (r *reader) paced(bytes int, failed time.Duration, idle bool) {
	gap := r.gap()
	byBytes := time.Duration(float64(bytes) / (bytesPerSecond * r.conf.Share) * float64(time.Second))
	r.idle = min(max(2*r.idle, gap), max(idlePoll, gap))
	if !idle {
		if r.idle = 0; r.conf.NoRates && failed == 0 {
			gap, byBytes = 0, 0
		}
	}
	now := time.Now()
	r.next = now.Add(max(gap, byBytes, r.idle) - failed)
	r.budget.spend(r.shard, now.Add(max(gap, byBytes)-failed))
}

// gap is how long a call stands for.
func (r *reader) gap() time.Duration {
	return time.Duration(float64(time.Second) / (callsPerSecond * r.conf.Share))
}

// A budget is what the readers of a source may use of each shard together. A nil one
// bounds nothing.
type budget struct {
	mu   sync.Mutex
	next map[string]time.Time // when a shard may be asked again, by anybody
}

func (b *budget) free(shard string) time.Time {
	if b == nil {
		return time.Time{}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.next[shard]
}

// take reports whether a shard may be asked now, and if so lets nobody else for a while.
func (b *budget) take(shard string, gap time.Duration) bool {
	if b == nil {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if now.Before(b.next[shard]) {
		return false
	}
	b.next[shard] = now.Add(gap)
	return true
}

// spend puts off the next call for what the last one has brought.
func (b *budget) spend(shard string, next time.Time) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if next.After(b.next[shard]) {
		b.next[shard] = next
	}
}

// records makes records of a page, without what was handed out already, and notes how far it
// goes. It stops behind pieceRecords, and returns what is left.
func (r *reader) records(page []types.Record) (out []bridge.Record, rest []types.Record) {
	out = make([]bridge.Record, 0, len(page))
	done := r.last
	r.unpack.page(page)
	for i := range page {
		if len(out) >= pieceRecords {
			return out, page[i:]
		}
		n := len(out)
		out = r.unpack.append(out, &page[i])
		at := bridge.Position{Seq: aws.ToString(page[i].SequenceNumber)}
		if len(out) > n {
			at = out[len(out)-1].Position
		}
		if at.After(r.last) {
			r.last = at
		}
		if r.at && i == 0 && !done.IsZero() {
			rest := slices.DeleteFunc(out[n:], func(b bridge.Record) bool { return !b.Position.After(done) })
			out = out[:n+len(rest)]
		}
		if r.conf.ExplicitHashKey != nil && page[i].PartitionKey != nil && !r.keys.Contains(kpl.KeyHash([]byte(*page[i].PartitionKey))) {
			r.conf.ExplicitHashKey(r.shard)
		}
	}
	return out, nil
}

// Close ends nothing on the service's side.
func (r *reader) Close() error { return nil }
