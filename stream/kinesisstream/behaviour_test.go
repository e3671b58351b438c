package kinesisstream_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/bridgetest"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
)

// A plain is a Kinesis as the SDK alone sees it.
type plain struct {
	url string
	sdk *kinesis.Client
}

func newPlain(url string) *plain {
	return &plain{url, kinesis.New(kinesis.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(url), HTTPClient: &http.Client{Transport: kinesistest.HideWriterTo(http.DefaultTransport)}, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", ""),
	})}
}

// stream makes a stream of two shards and returns its name.
func (p *plain) stream(t testing.TB) string {
	t.Helper()
	name := fmt.Sprint("s-", streams.Add(1))
	if _, err := p.sdk.CreateStream(t.Context(), &kinesis.CreateStreamInput{StreamName: &name, ShardCount: aws.Int32(2)}); err != nil {
		t.Fatal(err)
	}
	if err := p.active(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	return name
}

// active waits until the stream can be used.
func (p *plain) active(ctx context.Context, name string) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		d, err := p.sdk.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: &name})
		if err != nil || d.StreamDescriptionSummary.StreamStatus == types.StreamStatusActive {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// putOne is a producer. Kinesis has no null values.
func (p *plain) putOne(name string) putFunc {
	return func(ctx context.Context, r bridge.Record) (bridge.Ack, error) {
		data := append([]byte{}, r.Value...)
		out, err := p.sdk.PutRecord(ctx, &kinesis.PutRecordInput{StreamName: &name, PartitionKey: aws.String(string(r.Key)), Data: data})
		if err != nil {
			return bridge.Ack{}, err
		}
		return bridge.Ack{Partition: *out.ShardId, Position: bridge.Position{Seq: *out.SequenceNumber}}, nil
	}
}

func (p *plain) shards(ctx context.Context, name string) ([]types.Shard, error) {
	list, err := p.sdk.ListShards(ctx, &kinesis.ListShardsInput{StreamName: &name})
	if err != nil {
		return nil, err
	}
	return list.Shards, nil
}

// split halves a shard.
func (p *plain) split(ctx context.Context, name, shard string) error {
	list, err := p.shards(ctx, name)
	if err != nil {
		return err
	}
	for _, s := range list {
		if *s.ShardId != shard {
			continue
		}
		lo, _ := new(big.Int).SetString(*s.HashKeyRange.StartingHashKey, 10)
		hi, _ := new(big.Int).SetString(*s.HashKeyRange.EndingHashKey, 10)
		at := lo.Add(lo, hi).Rsh(lo, 1).String()
		if _, err := p.sdk.SplitShard(ctx, &kinesis.SplitShardInput{StreamName: &name, ShardToSplit: &shard, NewStartingHashKey: &at}); err != nil {
			return err
		}
		return p.active(ctx, name)
	}
	return fmt.Errorf("there is no shard %s", shard)
}

// read is one page from the beginning of a shard.
func (p *plain) read(ctx context.Context, name, shard string, limit int32) (*kinesis.GetRecordsOutput, error) {
	it, err := p.sdk.GetShardIterator(ctx, &kinesis.GetShardIteratorInput{StreamName: &name, ShardId: &shard, ShardIteratorType: types.ShardIteratorTypeTrimHorizon})
	if err != nil {
		return nil, err
	}
	return p.sdk.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: it.ShardIterator, Limit: &limit})
}

// A behaviour is a check on an empty stream of two shards. It returns how the server
// differs from the service, or nil.
type behaviour = func(ctx context.Context, stream string) error

// behaviours are what the adapters take a Kinesis to do.
func (p *plain) behaviours() map[string]behaviour {
	return map[string]behaviour{
		"record limit": p.recordLimit, "records a call": p.recordsACall, "request limit": p.requestLimit,
		"behind": p.behind, "closed parent": p.closedParent, "past the last hash key": p.lastHash,
	}
}

// hold runs the checks on one server, whose known gaps must be there.
func (p *plain) hold(t *testing.T, server string, known []bridgetest.Gap, checks map[string]behaviour) {
	for name, check := range checks {
		t.Run(name, func(t *testing.T) {
			differs := check(t.Context(), p.stream(t))
			for _, gap := range known {
				if gap.Server != server || gap.Test != name {
					continue
				}
				if differs == nil {
					t.Errorf("known gap of %s %s is closed, strike it out: %s", gap.Server, gap.Version, gap.Behaviour)
				}
				t.Logf("known gap of %s %s: %s: %v", gap.Server, gap.Version, gap.Behaviour, differs)
				return
			}
			if differs != nil {
				t.Error(differs)
			}
		})
	}
}

// refusal is the code with which a call was refused, empty if it was not.
func refusal(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

// refuses are the codes of a request that is wrong, whichever of them a server chooses.
func refuses(what string, err error) error {
	switch code := refusal(err); code {
	case "ValidationException", "InvalidArgumentException":
		return nil
	default:
		return fmt.Errorf("%s: %q", what, code)
	}
}

// recordLimit: data and key of one record together have at most 1 MiB.
func (p *plain) recordLimit(ctx context.Context, name string) error {
	for _, size := range []int{1<<20 - 1, 1 << 20} {
		if _, err := p.put(ctx, name, 1, size); err != nil {
			return fmt.Errorf("a record of %d bytes: %w", size, err)
		}
	}
	_, err := p.put(ctx, name, 1, 1<<20+1)
	return refuses("a record of 1 MiB and one byte", err)
}

// put puts n records of that size, key included, in one call.
func (p *plain) put(ctx context.Context, name string, n, size int) (*kinesis.PutRecordsOutput, error) {
	in := &kinesis.PutRecordsInput{StreamName: &name}
	for range n {
		in.Records = append(in.Records, types.PutRecordsRequestEntry{PartitionKey: aws.String("k"), Data: bytes.Repeat([]byte{'v'}, size-1)})
	}
	return p.sdk.PutRecords(ctx, in)
}

// recordsACall: 500 are taken, in order; 501 are not.
func (p *plain) recordsACall(ctx context.Context, name string) error {
	out, err := p.put(ctx, name, 500, 2)
	if err != nil {
		return err
	}
	var last bridge.Position
	for i, r := range out.Records {
		at := bridge.Position{Seq: aws.ToString(r.SequenceNumber)}
		if !at.After(last) {
			return fmt.Errorf("record %d of a call stands at %s, the one before it at %s", i, at, last)
		}
		last = at
	}
	_, err = p.put(ctx, name, 501, 2)
	return refuses("501 records", err)
}

// requestLimit: data and keys of one call have at most 10 MiB.
func (p *plain) requestLimit(ctx context.Context, name string) error {
	if out, err := p.put(ctx, name, 10, 1<<20); err != nil || *out.FailedRecordCount != 0 {
		return fmt.Errorf("a request of 10 MiB: %w", err)
	}
	_, err := p.put(ctx, name, 11, 1<<20)
	return refuses("a request of 11 MiB", err)
}

// behind: a page that is not the last says for how long what follows has been there.
func (p *plain) behind(ctx context.Context, name string) error {
	out, err := p.put(ctx, name, 6, 10)
	if err != nil {
		return err
	}
	const old = 100 * time.Millisecond
	select {
	case <-time.After(old):
	case <-ctx.Done():
		return ctx.Err()
	}
	page, err := p.read(ctx, name, *out.Records[0].ShardId, 2)
	if err != nil {
		return err
	}
	if said := aws.ToInt64(page.MillisBehindLatest); len(page.Records) != 2 || said < old.Milliseconds() {
		return fmt.Errorf("%d of 6 records, %d ms behind the last", len(page.Records), said)
	}
	return nil
}

// closedParent: a split shard stays, and names its children at its end.
func (p *plain) closedParent(ctx context.Context, name string) error {
	list, err := p.shards(ctx, name)
	if err != nil {
		return err
	}
	parent := *list[0].ShardId
	if err := p.split(ctx, name, parent); err != nil {
		return err
	}
	page, err := p.read(ctx, name, parent, 10)
	if err != nil {
		return err
	}
	if page.NextShardIterator != nil || len(page.ChildShards) != 2 {
		return fmt.Errorf("the end of a shard has a next iterator: %t, and %d children", page.NextShardIterator != nil, len(page.ChildShards))
	}
	return nil
}

// lastHash: there is no hash key 2^128.
func (p *plain) lastHash(ctx context.Context, name string) error {
	top := new(big.Int).Lsh(big.NewInt(1), 128)
	for past, hash := range []*big.Int{new(big.Int).Sub(top, big.NewInt(1)), top} {
		_, err := p.sdk.PutRecord(ctx, &kinesis.PutRecordInput{StreamName: &name, PartitionKey: aws.String("k"), Data: []byte("v"), ExplicitHashKey: aws.String(hash.String())})
		if past == 0 && err != nil {
			return err
		} else if past == 1 {
			return refuses("hash key 2^128", err)
		}
	}
	return nil
}

// The server in this process is as the service.
func TestBehaviours(t *testing.T) {
	p := newPlain(fast(t).URL())
	p.hold(t, "kinesistest", nil, p.behaviours())
}
