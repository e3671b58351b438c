package kinesisstream

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/kpl"
)

// A LetterConfig says how dead letters are put.
type LetterConfig struct {
	Codec *bridge.LetterCodec // required
	// Watch is asked before each put; nil is always alive.
	Watch *bridge.Watch
	// PutTimeout is how long a put may be under way; 10 s if zero. A restart waits for that
	// long before it looks what is there.
	PutTimeout time.Duration
}

// DeadLetters keeps dead letters in a stream, one record each, and no longer than the
// stream's retention. Kinesis fences nobody: what a worker that lost its task can still
// put are copies, and readers take the first of each coordinate. It implements
// bridge.DeadLetters and bridge.Recoverable.
type DeadLetters struct {
	client *Client
	conf   LetterConfig
	opened time.Time
	closed atomic.Bool
}

var (
	_ bridge.DeadLetters = (*DeadLetters)(nil)
	_ bridge.Recoverable = (*DeadLetters)(nil)
)

// DeadLetters makes the stream a place of dead letters.
func (c *Client) DeadLetters(conf LetterConfig) *DeadLetters {
	conf.PutTimeout = cmpOr(conf.PutTimeout, 10*time.Second)
	return &DeadLetters{client: c, conf: conf, opened: time.Now()}
}

// Limits of one PutRecords call; the bytes leave room for what JSON adds.
const (
	letterRecords = 500
	letterBytes   = 4 << 20
	// letterTries bounds how often records are put that were refused for now.
	letterTries = 6
)

// Put puts each letter under a key of its own.
func (d *DeadLetters) Put(ctx context.Context, letters []bridge.DeadLetter) ([]bridge.Ack, error) {
	entries := make([]types.PutRecordsRequestEntry, len(letters))
	for i, l := range letters {
		data, err := d.conf.Codec.Encode(l)
		if err != nil {
			return nil, err
		}
		key := d.conf.Codec.Name(l.Origin)
		if most := d.client.Info().MaxRecordSize; len(data)+len(key) > most {
			return nil, fmt.Errorf("dead letter of %d bytes, stream %s takes %d a record: %w", len(data), d.client.name(), most, bridge.ErrOversize)
		}
		entries[i] = types.PutRecordsRequestEntry{PartitionKey: &key, Data: data}
	}
	acks := make([]bridge.Ack, len(letters))
	for from := 0; from < len(entries); {
		to, size := from, 0
		for to < len(entries) && to-from < letterRecords && (to == from || size+len(entries[to].Data) <= letterBytes) {
			size += len(entries[to].Data)
			to++
		}
		if err := d.put(ctx, entries[from:to], acks[from:to]); err != nil {
			return nil, err
		}
		from = to
	}
	return acks, nil
}

// put is one call, and more for those records that were refused for now.
func (d *DeadLetters) put(ctx context.Context, entries []types.PutRecordsRequestEntry, acks []bridge.Ack) error {
	left := make([]int, len(entries))
	for i := range left {
		left[i] = i
	}
	for try := 0; ; try++ {
		var last error
		var err error
		if left, last, err = d.putOnce(ctx, entries, left, acks); err != nil || len(left) == 0 {
			return err
		}
		if try == letterTries {
			return fmt.Errorf("put %d dead letters into %s: %w", len(left), d.client.name(), last)
		}
		if err := pause(ctx, 50*time.Millisecond<<try); err != nil {
			return err
		}
	}
}

// putOnce puts the entries whose numbers are in todo and returns those that are left.
func (d *DeadLetters) putOnce(ctx context.Context, entries []types.PutRecordsRequestEntry, todo []int, acks []bridge.Ack) (left []int, last, err error) {
	if d.closed.Load() {
		return nil, nil, fmt.Errorf("keep dead letters in %s: the place is closed: %w", d.client.name(), bridge.ErrRefused)
	}
	if err := d.conf.Watch.Alive(); err != nil {
		return nil, nil, err
	}
	name, arn := d.client.ids()
	in := &kinesis.PutRecordsInput{StreamName: name, StreamARN: arn}
	for _, i := range todo {
		in.Records = append(in.Records, entries[i])
	}
	call, cancel := context.WithTimeout(ctx, d.conf.PutTimeout)
	defer cancel()
	out, err := d.client.api.PutRecords(call, in)
	if err != nil {
		return nil, nil, d.client.classify("PutRecords", err)
	}
	if len(out.Records) != len(todo) {
		return nil, nil, fmt.Errorf("PutRecords of %d records answered for %d: %w", len(todo), len(out.Records), bridge.ErrTransient)
	}
	for j, r := range out.Records {
		if r.ErrorCode != nil || r.SequenceNumber == nil || r.ShardId == nil {
			last = fmt.Errorf("%s: %w", aws.ToString(r.ErrorCode), bridge.ErrThrottled)
			left = append(left, todo[j])
			continue
		}
		acks[todo[j]] = bridge.Ack{Partition: d.place(*r.ShardId), Position: bridge.Position{Seq: *r.SequenceNumber}}
	}
	return left, last, nil
}

func (d *DeadLetters) place(shard string) string { return d.placeOf() + shard }
func (d *DeadLetters) placeOf() string           { return "stream:" + d.client.name() + "/" }

// Tail reads the shards from the floor to their tips, after the puts of an older worker
// have had their time. That letters before it have expired is no gap.
func (d *DeadLetters) Tail(ctx context.Context, from bridge.Floor) iter.Seq2[bridge.Placed, error] {
	return func(yield func(bridge.Placed, error) bool) {
		if from.Clean {
			return
		}
		err := pause(ctx, time.Until(d.opened.Add(d.conf.PutTimeout)))
		if err != nil {
			yield(bridge.Placed{}, err)
			return
		}
		floor := map[string]bridge.Position{}
		for place, at := range from.Partitions {
			if shard, ok := strings.CutPrefix(place, d.placeOf()); ok {
				floor[shard] = at
			}
		}
		for f, err := range scanLetters(ctx, d.client, d.conf.Codec, floor) {
			p := bridge.Placed{Partition: d.place(f.shard), Position: f.at, Origin: f.Origin, Digest: bridge.ContentDigest(f.Key, f.Value, time.Time{})}
			if !yield(p, err) || err != nil {
				return
			}
		}
	}
}

// Digest is that of key and value.
func (d *DeadLetters) Digest(r *bridge.Record) uint64 {
	return bridge.ContentDigest(r.Key, r.Value, time.Time{})
}

// Close makes further puts fail.
func (d *DeadLetters) Close() error {
	d.closed.Store(true)
	return nil
}

// ReadDeadLetters yields the letters of the codec's workflow in a stream, each coordinate
// once.
func ReadDeadLetters(ctx context.Context, c *Client, codec *bridge.LetterCodec) iter.Seq2[bridge.DeadLetter, error] {
	return func(yield func(bridge.DeadLetter, error) bool) {
		seen := map[bridge.Coordinate]bool{}
		for f, err := range scanLetters(ctx, c, codec, nil) {
			if err == nil && seen[f.Origin] {
				continue
			}
			seen[f.Origin] = true
			if !yield(f.DeadLetter, err) || err != nil {
				return
			}
		}
	}
}

// A foundLetter is a dead letter and where it stands.
type foundLetter struct {
	bridge.DeadLetter
	shard string
	at    bridge.Position
}

// scanLetters yields the workflow's letters behind the floor, shard by shard. What is no
// letter of its is left alone.
func scanLetters(ctx context.Context, c *Client, codec *bridge.LetterCodec, floor map[string]bridge.Position) iter.Seq2[foundLetter, error] {
	return func(yield func(foundLetter, error) bool) {
		shards, err := again(ctx, func() ([]bridge.Partition, error) { return c.Partitions(ctx) })
		if err != nil {
			yield(foundLetter{}, err)
			return
		}
		for _, shard := range shards {
			if !scanLetterShard(ctx, c, codec, shard.ID, floor[shard.ID], yield) {
				return
			}
		}
	}
}

func scanLetterShard(ctx context.Context, c *Client, codec *bridge.LetterCodec, shard string, after bridge.Position, yield func(foundLetter, error) bool) bool {
	r := newReader(c, SourceConfig{Share: 1, Aggregation: kpl.Opaque}, shard, bridge.Start{After: after})
	r.lax = true // letters may expire
	began := time.Now()
	_, err := again(ctx, func() (struct{}, error) { return struct{}{}, r.open(ctx) })
	for err == nil {
		var b bridge.Batch
		if b, err = again(ctx, func() (bridge.Batch, error) { return r.Read(ctx) }); err != nil {
			break
		}
		for _, rec := range b.Records {
			l, ours, bad := codec.Decode(rec.Value)
			if bad == nil && ours && !yield(foundLetter{l, shard, rec.Position}, nil) {
				return false
			}
		}
		if b.Ended || b.Behind == 0 && b.Asked.After(began) {
			return true
		}
	}
	yield(foundLetter{}, fmt.Errorf("read the dead letters in %s: %w", shard, err))
	return false
}

// again tries until it succeeds, fails for good, or ctx ends.
func again[T any](ctx context.Context, try func() (T, error)) (T, error) {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		v, err := try()
		if err == nil || !bridge.Retryable(err) {
			return v, err
		}
		if e := pause(ctx, wait); e != nil {
			return v, errors.Join(e, err)
		}
	}
}
