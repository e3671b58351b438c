package kinesistest_test

import (
	"context"
	"math/big"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
)

const first = "shardId-000000000000"

func unlimited() kinesistest.Config {
	return kinesistest.Config{Limits: kinesistest.Limits{Off: true}}
}

// records is what a shard of "s" holds, seen from inside.
func records(t testing.TB, srv *kinesistest.Server, shard string) []kinesistest.Record {
	t.Helper()
	all, err := srv.Stream("s").Records(shard)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// values reads once and returns the values in the answer, joined.
func values(t testing.TB, client *kinesis.Client, it *string) (string, *kinesis.GetRecordsOutput) {
	t.Helper()
	out, err := client.GetRecords(context.Background(), &kinesis.GetRecordsInput{ShardIterator: it})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, r := range out.Records {
		b.Write(r.Data)
	}
	return b.String(), out
}

// putAt stores one record for each byte of data, a second apart.
func putAt(t testing.TB, srv *kinesistest.Server, clock *kinesistest.Clock, data string) {
	t.Helper()
	for i := range len(data) {
		if err := srv.Stream("s").Put(kinesistest.Entry{Key: "k", Data: []byte(data[i : i+1])}); err != nil {
			t.Fatal(err)
		}
		clock.Advance(time.Second)
	}
}

func TestIteratorTypes(t *testing.T) {
	srv, client, clock := standing(t, 1, unlimited())
	putAt(t, srv, clock, "abcd")
	stored := records(t, srv, first)
	seq := func(i int) *string { return &stored[i].SequenceNumber }
	at := func(d time.Duration) *time.Time { return aws.Time(birth.Add(d)) }
	tests := []struct {
		name string
		in   kinesis.GetShardIteratorInput
		want string // values, or the error
	}{
		{"trim horizon", kinesis.GetShardIteratorInput{ShardIteratorType: "TRIM_HORIZON"}, "abcd"},
		{"latest", kinesis.GetShardIteratorInput{ShardIteratorType: "LATEST"}, ""},
		{"at the first", kinesis.GetShardIteratorInput{ShardIteratorType: "AT_SEQUENCE_NUMBER", StartingSequenceNumber: seq(0)}, "abcd"},
		{"at the third", kinesis.GetShardIteratorInput{ShardIteratorType: "AT_SEQUENCE_NUMBER", StartingSequenceNumber: seq(2)}, "cd"},
		{"after the third", kinesis.GetShardIteratorInput{ShardIteratorType: "AFTER_SEQUENCE_NUMBER", StartingSequenceNumber: seq(2)}, "d"},
		{"after the last", kinesis.GetShardIteratorInput{ShardIteratorType: "AFTER_SEQUENCE_NUMBER", StartingSequenceNumber: seq(3)}, ""},
		{"at a time", kinesis.GetShardIteratorInput{ShardIteratorType: "AT_TIMESTAMP", Timestamp: at(time.Second)}, "bcd"},
		{"a millisecond before", kinesis.GetShardIteratorInput{ShardIteratorType: "AT_TIMESTAMP", Timestamp: at(999 * time.Millisecond)}, "bcd"},
		{"a millisecond behind", kinesis.GetShardIteratorInput{ShardIteratorType: "AT_TIMESTAMP", Timestamp: at(1001 * time.Millisecond)}, "cd"},
		{"before the stream", kinesis.GetShardIteratorInput{ShardIteratorType: "AT_TIMESTAMP", Timestamp: at(-time.Hour)}, "abcd"},
		{"now", kinesis.GetShardIteratorInput{ShardIteratorType: "AT_TIMESTAMP", Timestamp: at(4 * time.Second)}, ""},
		{"in the future", kinesis.GetShardIteratorInput{ShardIteratorType: "AT_TIMESTAMP", Timestamp: at(4001 * time.Millisecond)}, "InvalidArgumentException"},
		{"no time", kinesis.GetShardIteratorInput{ShardIteratorType: "AT_TIMESTAMP"}, "InvalidArgumentException"},
		{"no number", kinesis.GetShardIteratorInput{ShardIteratorType: "AT_SEQUENCE_NUMBER"}, "InvalidArgumentException"},
		{"number with latest", kinesis.GetShardIteratorInput{ShardIteratorType: "LATEST", StartingSequenceNumber: seq(0)}, "InvalidArgumentException"},
		{"not a number", kinesis.GetShardIteratorInput{ShardIteratorType: "AT_SEQUENCE_NUMBER", StartingSequenceNumber: aws.String("17")}, "InvalidArgumentException"},
		{"unknown type", kinesis.GetShardIteratorInput{ShardIteratorType: "OLDEST"}, "ValidationException"},
		{"unknown shard", kinesis.GetShardIteratorInput{ShardIteratorType: "LATEST", ShardId: aws.String("shardId-000000000001")}, "ResourceNotFoundException"},
		{"unknown stream", kinesis.GetShardIteratorInput{ShardIteratorType: "LATEST", StreamName: aws.String("t")}, "ResourceNotFoundException"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			in := tc.in
			if in.StreamName == nil {
				in.StreamName = aws.String("s")
			}
			if in.ShardId == nil {
				in.ShardId = aws.String(first)
			}
			out, err := client.GetShardIterator(context.Background(), &in)
			if err != nil {
				if code(err) != tc.want {
					t.Errorf("got %v, want %q", err, tc.want)
				}
				return
			}
			if got, _ := values(t, client, out.ShardIterator); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

// TestLatestWaits reads what comes after the iterator was given, although it was asked for
// before.
func TestLatestWaits(t *testing.T) {
	srv, client, clock := standing(t, 1, unlimited())
	putAt(t, srv, clock, "ab")
	it := iteratorAt(t, client, types.ShardIteratorTypeLatest)
	putAt(t, srv, clock, "cd")
	got, out := values(t, client, it)
	if got != "cd" {
		t.Fatalf("got %q, want %q", got, "cd")
	}
	if got, _ := values(t, client, it); got != "cd" {
		t.Errorf("the same iterator again: got %q, want %q", got, "cd")
	}
	if got, _ := values(t, client, out.NextShardIterator); got != "" {
		t.Errorf("the next one: got %q, want nothing", got)
	}
}

// TestForeignNumbers uses numbers of another shard, of another stream and of none.
func TestForeignNumbers(t *testing.T) {
	srv, client, _ := standing(t, 2, unlimited())
	other, err := srv.CreateStream("other", 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, st := range []*kinesistest.Stream{srv.Stream("s"), other} {
		if err := st.Put(kinesistest.Entry{Key: "a", Data: []byte("x")}, kinesistest.Entry{Key: "user-123", Data: []byte("y")}); err != nil {
			t.Fatal(err)
		}
	}
	foreign, err := other.Records(first)
	if err != nil {
		t.Fatal(err)
	}
	own := records(t, srv, first)[0].SequenceNumber
	next := new(big.Int).Add(bigOf(t, own), big.NewInt(1)).String()
	for _, tc := range []struct{ name, seq, message string }{
		{"of the other shard", records(t, srv, "shardId-000000000001")[0].SequenceNumber, "It encodes shardId-000000000001"},
		{"of another stream", foreign[0].SequenceNumber, "did not come from this stream"},
		{"one more", next, "is invalid"},
	} {
		for _, kind := range []types.ShardIteratorType{types.ShardIteratorTypeAtSequenceNumber, types.ShardIteratorTypeAfterSequenceNumber} {
			_, err := client.GetShardIterator(context.Background(), &kinesis.GetShardIteratorInput{
				StreamName: aws.String("s"), ShardId: aws.String(first), ShardIteratorType: kind, StartingSequenceNumber: &tc.seq})
			if code(err) != "InvalidArgumentException" || !strings.Contains(err.Error(), tc.message) {
				t.Errorf("%s, %s: got %v, want %q", tc.name, kind, err, tc.message)
			}
		}
	}
}

func TestIteratorExpires(t *testing.T) {
	srv, client, clock := standing(t, 1, unlimited())
	putAt(t, srv, clock, "a")
	it := iteratorAt(t, client, types.ShardIteratorTypeTrimHorizon)
	clock.Advance(5 * time.Minute)
	got, out := values(t, client, it)
	if got != "a" {
		t.Errorf("after exactly five minutes: got %q", got)
	}
	clock.Advance(time.Millisecond)
	_, err := client.GetRecords(context.Background(), &kinesis.GetRecordsInput{ShardIterator: it})
	if code(err) != "ExpiredIteratorException" {
		t.Errorf("a millisecond later: got %v", err)
	}
	if _, err := client.GetRecords(context.Background(), &kinesis.GetRecordsInput{ShardIterator: out.NextShardIterator}); err != nil {
		t.Errorf("the next iterator has five minutes of its own: %v", err)
	}
	if got := srv.Counts("GetRecords").ExpiredIterators; got != 1 {
		t.Errorf("counted %d expired iterators, want 1", got)
	}
}

func TestBogusIterators(t *testing.T) {
	_, client, _ := standing(t, 1, unlimited())
	_, foreign, _ := standing(t, 1, unlimited())
	good := *iteratorAt(t, client, types.ShardIteratorTypeLatest)
	for name, it := range map[string]string{
		"text": "iterator", "changed": "B" + good[1:], "cut": good[:len(good)-4],
		"of another server": *iteratorAt(t, foreign, types.ShardIteratorTypeLatest),
	} {
		_, err := client.GetRecords(context.Background(), &kinesis.GetRecordsInput{ShardIterator: &it})
		if code(err) != "InvalidArgumentException" {
			t.Errorf("%s: got %v", name, err)
		}
	}
	for _, limit := range []int32{0, 10001} {
		_, err := client.GetRecords(context.Background(), &kinesis.GetRecordsInput{ShardIterator: &good, Limit: &limit})
		if code(err) != "InvalidArgumentException" {
			t.Errorf("limit %d: got %v", limit, err)
		}
	}
}

// TestPagesAndLag reads page by page and follows MillisBehindLatest.
func TestPagesAndLag(t *testing.T) {
	srv, client, clock := standing(t, 1, unlimited())
	putAt(t, srv, clock, "abcde") // at 0, 1 … 4 s; it is 5 s now
	it := iteratorAt(t, client, types.ShardIteratorTypeTrimHorizon)
	for i, want := range []struct {
		values string
		behind int64
	}{{"ab", 4000}, {"cd", 2000}, {"e", 0}, {"", 0}} {
		out, err := client.GetRecords(context.Background(), &kinesis.GetRecordsInput{ShardIterator: it, Limit: aws.Int32(2)})
		if err != nil {
			t.Fatal(err)
		}
		var got strings.Builder
		for _, r := range out.Records {
			got.Write(r.Data)
		}
		if got.String() != want.values || *out.MillisBehindLatest != want.behind || out.NextShardIterator == nil {
			t.Errorf("page %d: got %q, %d ms behind; want %q, %d ms", i, got.String(), *out.MillisBehindLatest, want.values, want.behind)
		}
		it = out.NextShardIterator
	}
}

// TestRetention trims by the clock, and never brings anything back.
func TestRetention(t *testing.T) {
	srv, client, clock := standing(t, 1, unlimited())
	ctx := context.Background()
	putAt(t, srv, clock, "abc") // at 0, 1 and 2 s
	old := records(t, srv, first)[0].SequenceNumber
	set := func(increase bool, hours int32) error {
		if increase {
			_, err := client.IncreaseStreamRetentionPeriod(ctx, &kinesis.IncreaseStreamRetentionPeriodInput{StreamName: aws.String("s"), RetentionPeriodHours: &hours})
			return err
		}
		_, err := client.DecreaseStreamRetentionPeriod(ctx, &kinesis.DecreaseStreamRetentionPeriodInput{StreamName: aws.String("s"), RetentionPeriodHours: &hours})
		return err
	}
	clock.Set(birth.Add(24 * time.Hour))
	if got, _ := values(t, client, iteratorAt(t, client, types.ShardIteratorTypeTrimHorizon)); got != "abc" {
		t.Errorf("at exactly 24 h: got %q", got)
	}
	clock.Advance(time.Millisecond)
	if err := set(true, 48); err != nil {
		t.Fatal(err)
	}
	if got, _ := values(t, client, iteratorAt(t, client, types.ShardIteratorTypeTrimHorizon)); got != "bc" {
		t.Errorf("raised after the first had gone: got %q, want %q", got, "bc")
	}
	clock.Set(birth.Add(40 * time.Hour))
	putAt(t, srv, clock, "d")
	if got, _ := values(t, client, iteratorAt(t, client, types.ShardIteratorTypeTrimHorizon)); got != "bcd" {
		t.Errorf("after 40 of 48 h: got %q", got)
	}
	// A trimmed number is no error: reading begins at what is left.
	out, err := client.GetShardIterator(ctx, &kinesis.GetShardIteratorInput{StreamName: aws.String("s"), ShardId: aws.String(first),
		ShardIteratorType: types.ShardIteratorTypeAtSequenceNumber, StartingSequenceNumber: &old})
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := values(t, client, out.ShardIterator); got != "bcd" {
		t.Errorf("at a trimmed number: got %q, want %q", got, "bcd")
	}
	if err := set(false, 24); err != nil {
		t.Fatal(err)
	}
	if got := records(t, srv, first); len(got) != 1 || string(got[0].Data) != "d" {
		t.Errorf("lowered to 24 h: got %v", got)
	}
	for _, tc := range []struct {
		increase bool
		hours    int32
	}{{true, 23}, {false, 23}, {true, 8761}, {false, 25}} {
		if got := code(set(tc.increase, tc.hours)); got != "InvalidArgumentException" {
			t.Errorf("increase %v to %d: got %q", tc.increase, tc.hours, got)
		}
	}
}

func TestNumbersGrowWithGaps(t *testing.T) {
	srv, _, clock := standing(t, 1, unlimited())
	for range 50 {
		putAt(t, srv, clock, "x")
		clock.Advance(-3 * time.Second) // the clock goes backwards all the time
	}
	all := records(t, srv, first)
	for i := 1; i < len(all); i++ {
		if d := new(big.Int).Sub(bigOf(t, all[i].SequenceNumber), bigOf(t, all[i-1].SequenceNumber)); d.Cmp(new(big.Int).Lsh(big.NewInt(1), 81)) < 0 {
			t.Fatalf("record %d: number %s after %s: no gap", i, all[i].SequenceNumber, all[i-1].SequenceNumber)
		}
	}
}

func TestSequenceNumberForOrdering(t *testing.T) {
	srv, client, _ := standing(t, 2, unlimited())
	put := func(key, after string) (string, string) {
		in := &kinesis.PutRecordInput{StreamName: aws.String("s"), PartitionKey: &key, Data: []byte("x")}
		if after != "" {
			in.SequenceNumberForOrdering = &after
		}
		out, err := client.PutRecord(context.Background(), in)
		if err != nil {
			return "", code(err)
		}
		return *out.SequenceNumber, ""
	}
	one, _ := put("a", "")
	two, err := put("a", one)
	if err != "" || bigOf(t, two).Cmp(bigOf(t, one)) <= 0 {
		t.Errorf("second: got %s (%s), first %s", two, err, one)
	}
	if _, err := put("user-123", two); err != "" {
		t.Errorf("number of another shard: %s", err)
	}
	ahead, perr := kinesistest.ParseSequence(two)
	if perr != nil {
		t.Fatal(perr)
	}
	ahead.Counter++
	for name, after := range map[string]string{"not a number": "1", "in front of the tip": kinesistest.FormatSequence(ahead)} {
		if _, err := put("a", after); err != "InvalidArgumentException" {
			t.Errorf("%s: got %q", name, err)
		}
	}
	if n := len(records(t, srv, first)); n != 2 {
		t.Errorf("stored %d, want 2", n)
	}
}

// TestManyPages checks the block structure of the store against a plain list.
func TestManyPages(t *testing.T) {
	srv, client, _ := standing(t, 1, unlimited())
	r := seeded(t)
	st := srv.Stream("s")
	const n = 5000
	for i := range n {
		data := append([]byte(strconv.Itoa(i)+" "), make([]byte, r.IntN(600))...)
		if err := st.Put(kinesistest.Entry{Key: "k" + strconv.Itoa(i), Data: data}); err != nil {
			t.Fatal(err)
		}
	}
	stored := records(t, srv, first)
	for range 40 {
		from, limit := r.IntN(n), 1+r.IntN(3000)
		it, err := client.GetShardIterator(context.Background(), &kinesis.GetShardIteratorInput{StreamName: aws.String("s"), ShardId: aws.String(first),
			ShardIteratorType: types.ShardIteratorTypeAfterSequenceNumber, StartingSequenceNumber: &stored[from].SequenceNumber})
		if err != nil {
			t.Fatal(err)
		}
		out, err := client.GetRecords(context.Background(), &kinesis.GetRecordsInput{ShardIterator: it.ShardIterator, Limit: aws.Int32(int32(limit))})
		if err != nil {
			t.Fatal(err)
		}
		if want := min(limit, n-from-1); len(out.Records) != want {
			t.Fatalf("from %d, limit %d: got %d records, want %d", from, limit, len(out.Records), want)
		}
		for i, rec := range out.Records {
			if w := stored[from+1+i]; *rec.PartitionKey != w.Key || string(rec.Data) != string(w.Data) || *rec.SequenceNumber != w.SequenceNumber {
				t.Fatalf("record %d behind %d: got key %s, want %s", i, from, *rec.PartitionKey, w.Key)
			}
		}
	}
}

// iteratorSince returns an iterator of the first shard of "s" at a time.
func iteratorSince(t testing.TB, client *kinesis.Client, at time.Time) *string {
	t.Helper()
	out, err := client.GetShardIterator(context.Background(), &kinesis.GetShardIteratorInput{
		StreamName: aws.String("s"), ShardId: aws.String(first), ShardIteratorType: types.ShardIteratorTypeAtTimestamp, Timestamp: &at,
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.ShardIterator
}
