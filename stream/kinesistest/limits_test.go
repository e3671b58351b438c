package kinesistest_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go"

	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
)

var birth = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// standing runs a server on a clock that stands still, with one stream "s".
func standing(t testing.TB, shards int, cfg kinesistest.Config) (*kinesistest.Server, *kinesis.Client, *kinesistest.Clock) {
	t.Helper()
	clock := kinesistest.NewClock(birth)
	cfg.Clock, cfg.After = clock.Now, clock.After
	srv, client := start(t, cfg)
	if _, err := srv.CreateStream("s", shards); err != nil {
		t.Fatal(err)
	}
	return srv, client, clock
}

// code is the type of the error that the service answered; "" for none.
func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

const throttled = "ProvisionedThroughputExceededException"

// put sends n records of the given size, keys included, and returns how many were stored.
func put(t testing.TB, client *kinesis.Client, n, size int) int {
	t.Helper()
	in := &kinesis.PutRecordsInput{StreamName: aws.String("s")}
	for range n {
		in.Records = append(in.Records, types.PutRecordsRequestEntry{PartitionKey: aws.String("k"), Data: make([]byte, size-1)})
	}
	out, err := client.PutRecords(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range out.Records {
		if r.ErrorCode == nil {
			n--
			continue
		}
		if *r.ErrorCode != throttled || !strings.Contains(*r.ErrorMessage, "shardId-000000000000 in stream s under account 000000000000") {
			t.Errorf("refused entry: got %s: %s", *r.ErrorCode, *r.ErrorMessage)
		}
	}
	if int(*out.FailedRecordCount) != n {
		t.Errorf("FailedRecordCount: got %d, want %d", *out.FailedRecordCount, n)
	}
	return len(in.Records) - n
}

func TestWriteRecordRate(t *testing.T) {
	srv, client, clock := standing(t, 1, kinesistest.Config{})
	for i, step := range []struct {
		advance         time.Duration
		n, want, thrown int
	}{
		{0, 500, 500, 0},
		{0, 499, 499, 0}, // one below the limit
		{0, 2, 1, 1},     // reaches it, and one above
		{999 * time.Microsecond, 1, 0, 1},
		{time.Microsecond, 2, 1, 1}, // a millisecond earns one
		{time.Hour, 500, 500, 0},    // and an hour no more than a second's worth
		{0, 500, 500, 0},
		{0, 1, 0, 1},
	} {
		clock.Advance(step.advance)
		if got := put(t, client, step.n, 2); got != step.want {
			t.Errorf("step %d: stored %d of %d, want %d", i, got, step.n, step.want)
		}
	}
	if c := srv.Counts("PutRecords"); c.Throttled != 4 || c.Stored != 2001 || c.Failed != 4 {
		t.Errorf("counts: got %+v", c)
	}
}

func TestWriteByteRate(t *testing.T) {
	_, client, clock := standing(t, 1, kinesistest.Config{})
	const limit = 1 << 20
	if got := put(t, client, 1, limit-10); got != 1 {
		t.Fatal("a record below the limit was refused")
	}
	if got := put(t, client, 1, 11); got != 0 {
		t.Error("one byte too many was stored")
	}
	if got := put(t, client, 1, 10); got != 1 {
		t.Error("what fits exactly was refused")
	}
	clock.Advance(time.Second)
	if got := put(t, client, 1, limit); got != 1 {
		t.Error("a record of a whole second's worth was refused")
	}
	// Refusing one entry does not refuse what is behind it: 2 and 3 do not fit, 4 does.
	clock.Advance(time.Second)
	in := &kinesis.PutRecordsInput{StreamName: aws.String("s")}
	for _, n := range []int{limit - 100, 200, 200, 50} {
		in.Records = append(in.Records, types.PutRecordsRequestEntry{PartitionKey: aws.String("k"), Data: make([]byte, n-1)})
	}
	out, err := client.PutRecords(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	for i, stored := range []bool{true, false, false, true} {
		if (out.Records[i].SequenceNumber != nil) != stored {
			t.Errorf("entry %d: got %v, want stored %v", i, out.Records[i], stored)
		}
	}
	_, err = client.PutRecord(context.Background(), &kinesis.PutRecordInput{StreamName: aws.String("s"), PartitionKey: aws.String("k"), Data: make([]byte, 100)})
	if code(err) != throttled {
		t.Errorf("PutRecord on a full shard: got %v", err)
	}
}

// TestLargeRecordIsPaidFor stores ten seconds' worth at once, and then nothing for as long.
func TestLargeRecordIsPaidFor(t *testing.T) {
	srv, client, clock := standing(t, 1, kinesistest.Config{})
	arn := srv.Stream("s").ARN()
	if _, err := client.UpdateMaxRecordSize(context.Background(), &kinesis.UpdateMaxRecordSizeInput{StreamARN: &arn, MaxRecordSizeInKiB: aws.Int32(10240)}); err != nil {
		t.Fatal(err)
	}
	if got := put(t, client, 1, 10<<20); got != 1 {
		t.Fatal("a record of 10 MiB was refused")
	}
	clock.Advance(9 * time.Second)
	if got := put(t, client, 1, 10); got != 0 {
		t.Error("the shard was free after 9 s")
	}
	clock.Advance(time.Second)
	if got := put(t, client, 1, 10); got != 1 {
		t.Error("the shard was blocked after 10 s")
	}
}

func TestRatesOff(t *testing.T) {
	_, client, _ := standing(t, 1, kinesistest.Config{Limits: kinesistest.Limits{Off: true}})
	for range 5 {
		if got := put(t, client, 500, 1<<10); got != 500 {
			t.Fatalf("stored %d of 500 with the limits off", got)
		}
	}
	for range 30 {
		iteratorAt(t, client, types.ShardIteratorTypeTrimHorizon)
		if _, err := client.DescribeStreamSummary(context.Background(), &kinesis.DescribeStreamSummaryInput{StreamName: aws.String("s")}); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(drain(t, client, "s", "shardId-000000000000")); n != 2500 {
		t.Errorf("read %d, want 2500", n)
	}
}

// iteratorAt returns an iterator of the first shard of "s".
func iteratorAt(t testing.TB, client *kinesis.Client, kind types.ShardIteratorType) *string {
	t.Helper()
	out, err := client.GetShardIterator(context.Background(), &kinesis.GetShardIteratorInput{
		StreamName: aws.String("s"), ShardId: aws.String("shardId-000000000000"), ShardIteratorType: kind,
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.ShardIterator
}

func TestReadCallRate(t *testing.T) {
	_, client, clock := standing(t, 1, kinesistest.Config{})
	it := iteratorAt(t, client, types.ShardIteratorTypeTrimHorizon)
	read := func() string {
		_, err := client.GetRecords(context.Background(), &kinesis.GetRecordsInput{ShardIterator: it})
		return code(err)
	}
	for i := range 5 {
		if got := read(); got != "" {
			t.Fatalf("call %d: %s", i, got)
		}
	}
	if got := read(); got != throttled {
		t.Errorf("sixth call: got %q", got)
	}
	clock.Advance(199 * time.Millisecond)
	if got := read(); got != throttled {
		t.Errorf("after 199 ms: got %q", got)
	}
	clock.Advance(time.Millisecond)
	if got := read(); got != "" {
		t.Errorf("after 200 ms: got %q", got)
	}
	if got := read(); got != throttled {
		t.Errorf("second call after 200 ms: got %q", got)
	}
}

func TestIteratorCallRate(t *testing.T) {
	_, client, clock := standing(t, 2, kinesistest.Config{})
	get := func(shard string) string {
		_, err := client.GetShardIterator(context.Background(), &kinesis.GetShardIteratorInput{
			StreamName: aws.String("s"), ShardId: &shard, ShardIteratorType: types.ShardIteratorTypeLatest})
		return code(err)
	}
	for range 5 {
		if got := get("shardId-000000000000"); got != "" {
			t.Fatal(got)
		}
	}
	if got := get("shardId-000000000000"); got != throttled {
		t.Errorf("sixth call: got %q", got)
	}
	if got := get("shardId-000000000001"); got != "" {
		t.Errorf("another shard: got %q", got)
	}
	clock.Advance(200 * time.Millisecond)
	if got := get("shardId-000000000000"); got != "" {
		t.Errorf("after 200 ms: got %q", got)
	}
}

// fill stores n records of the given size without limits.
func fill(t testing.TB, st *kinesistest.Stream, n, size int) {
	t.Helper()
	data := bytes.Repeat([]byte{'x'}, size-1)
	for range n {
		if err := st.Put(kinesistest.Entry{Key: "k", Data: data}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReadByteRate(t *testing.T) {
	srv, client, clock := standing(t, 1, kinesistest.Config{})
	fill(t, srv.Stream("s"), 30, 1<<20)
	it := iteratorAt(t, client, types.ShardIteratorTypeTrimHorizon)
	read := func(limit int32) (int, string) {
		t.Helper()
		out, err := client.GetRecords(context.Background(), &kinesis.GetRecordsInput{ShardIterator: it, Limit: aws.Int32(limit)})
		if err != nil {
			return 0, code(err)
		}
		it = out.NextShardIterator
		return len(out.Records), ""
	}
	for i, step := range []struct {
		advance time.Duration
		limit   int32
		want    int
	}{
		{0, 1, 1}, {0, 1, 1}, // 2 MiB: the second's worth
		{0, 1, 0},
		{499 * time.Millisecond, 1, 1}, // anything left is enough for a call
		{0, 1, 0},
		{2 * time.Second, 10000, 10},      // 10 MiB, however many are asked for
		{4999 * time.Millisecond, 1, 0},   // blocks for 5 s
		{time.Millisecond, 1, 0},          // to the millisecond: nothing is left yet
		{time.Millisecond, 1, 1},          //
		{time.Minute, 10000, 10},          //
		{5001 * time.Millisecond, 100, 6}, // the rest
	} {
		clock.Advance(step.advance)
		got, err := read(step.limit)
		if got != step.want || (err != "") != (step.want == 0) {
			t.Errorf("step %d: got %d records (%s), want %d", i, got, err, step.want)
		}
	}
}

func TestRequestLimits(t *testing.T) {
	_, client, _ := standing(t, 1, kinesistest.Config{Limits: kinesistest.Limits{Off: true}})
	entry := func(key string, size int) types.PutRecordsRequestEntry {
		return types.PutRecordsRequestEntry{PartitionKey: &key, Data: make([]byte, size)}
	}
	many := func(n int, e types.PutRecordsRequestEntry) (out []types.PutRecordsRequestEntry) {
		for range n {
			out = append(out, e)
		}
		return out
	}
	rest := func(n int) []types.PutRecordsRequestEntry {
		return append(many(9, entry("k", 1<<20-1)), entry("k", n-1))
	}
	long := strings.Repeat("k", 256)
	hash := entry("k", 1)
	hash.ExplicitHashKey = aws.String("340282366920938463463374607431768211456")
	top := entry("k", 1)
	top.ExplicitHashKey = aws.String("340282366920938463463374607431768211455")
	for _, tc := range []struct {
		name    string
		entries []types.PutRecordsRequestEntry
		want    string
	}{
		{"no record", nil, "ValidationException"},
		{"500 records", many(500, entry("k", 1)), ""},
		{"501 records", many(501, entry("k", 1)), "ValidationException"},
		{"key of 256", many(1, entry(long, 1)), ""},
		{"key of 257", many(1, entry(long+"k", 1)), "ValidationException"},
		{"256 characters of two bytes", many(1, entry(strings.Repeat("ü", 256), 1)), ""},
		{"128 characters of two units", many(1, entry(strings.Repeat("🙂", 128), 1)), ""},
		{"129 characters of two units", many(1, entry(strings.Repeat("🙂", 129), 1)), "ValidationException"},
		{"empty key", many(1, entry("", 1)), "ValidationException"},
		{"no data", many(1, entry("k", 0)), ""},
		{"record of 1 MiB with key", many(1, entry("k", 1<<20-1)), ""},
		{"record of 1 MiB and one byte", many(1, entry("k", 1<<20)), "ValidationException"},
		{"request of 10 MiB", rest(1 << 20), ""},
		{"request of 10 MiB less one byte", rest(1<<20 - 1), ""},
		{"request of 10 MiB and one byte", append(rest(1<<20-1), entry("k", 1)), "InvalidArgumentException"},
		{"hash key 2^128-1", many(1, top), ""},
		{"hash key 2^128", many(1, hash), "InvalidArgumentException"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.entries == nil {
				tc.entries = []types.PutRecordsRequestEntry{}
			}
			_, err := client.PutRecords(context.Background(), &kinesis.PutRecordsInput{StreamName: aws.String("s"), Records: tc.entries})
			if got := code(err); got != tc.want {
				t.Errorf("got %q (%v), want %q", got, err, tc.want)
			}
		})
	}
}

func TestControlRates(t *testing.T) {
	_, client, clock := standing(t, 1, kinesistest.Config{})
	ctx := context.Background()
	calls := map[string]struct {
		rate int
		do   func() error
	}{
		"DescribeStreamSummary": {20, func() error {
			_, err := client.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: aws.String("s")})
			return err
		}},
		"DescribeStream": {10, func() error {
			_, err := client.DescribeStream(ctx, &kinesis.DescribeStreamInput{StreamName: aws.String("s")})
			return err
		}},
		"ListStreams": {5, func() error {
			_, err := client.ListStreams(ctx, &kinesis.ListStreamsInput{})
			return err
		}},
		"DescribeLimits": {1, func() error {
			_, err := client.DescribeLimits(ctx, &kinesis.DescribeLimitsInput{})
			return err
		}},
	}
	for op, c := range calls {
		for i := range c.rate {
			if err := c.do(); err != nil {
				t.Errorf("%s, call %d: %v", op, i, err)
			}
		}
		if got := code(c.do()); got != "LimitExceededException" {
			t.Errorf("%s above its rate: got %q", op, got)
		}
	}
	clock.Advance(time.Second)
	for op, c := range calls {
		if err := c.do(); err != nil {
			t.Errorf("%s after a second: %v", op, err)
		}
	}
}
