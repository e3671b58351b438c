package kinesistest_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
)

// TestSynthesize reads made records, then stored ones behind them, from every place.
func TestSynthesize(t *testing.T) {
	srv, client, clock := standing(t, 1, unlimited())
	st := srv.Stream("s")
	const n = 5000
	made := func(i int) kinesistest.Entry {
		return kinesistest.Entry{Key: fmt.Sprintf("key-%d", i%10), Data: fmt.Appendf(nil, "record %d", i)}
	}
	if err := st.Synthesize(first, n, made); err != nil {
		t.Fatal(err)
	}
	clock.Advance(time.Second)
	putAt(t, srv, clock, "ab")
	all := drainBy(t, client, 700)
	if len(all) != n+2 || string(all[n].Data) != "a" || string(all[n+1].Data) != "b" {
		t.Fatalf("read %d records", len(all))
	}
	for i, r := range all[:n] {
		if w := made(i); string(r.Data) != string(w.Data) || *r.PartitionKey != w.Key || !r.ApproximateArrivalTimestamp.Equal(birth) {
			t.Fatalf("record %d: got %s of %s", i, r.Data, *r.PartitionKey)
		}
		if i > 0 && bigOf(t, *r.SequenceNumber).Cmp(bigOf(t, *all[i-1].SequenceNumber)) <= 0 {
			t.Fatalf("record %d has number %s", i, *r.SequenceNumber)
		}
	}
	for _, i := range []int{0, 1, 2499, n - 1, n} {
		for kind, want := range map[types.ShardIteratorType]int{"AT_SEQUENCE_NUMBER": i, "AFTER_SEQUENCE_NUMBER": i + 1} {
			it, err := client.GetShardIterator(context.Background(), &kinesis.GetShardIteratorInput{StreamName: aws.String("s"), ShardId: aws.String(first),
				ShardIteratorType: kind, StartingSequenceNumber: all[i].SequenceNumber})
			if err != nil {
				t.Fatal(err)
			}
			page, err := client.GetRecords(context.Background(), &kinesis.GetRecordsInput{ShardIterator: it.ShardIterator, Limit: aws.Int32(1)})
			if err != nil {
				t.Fatal(err)
			}
			if got := *page.Records[0].SequenceNumber; got != *all[want].SequenceNumber {
				t.Errorf("%s of record %d: got %s, want %s", kind, i, got, *all[want].SequenceNumber)
			}
		}
	}
	for at, want := range map[time.Duration]string{-time.Second: "record 0", 0: "record 0", time.Millisecond: "a", 1500 * time.Millisecond: "b"} {
		page, err := client.GetRecords(context.Background(), &kinesis.GetRecordsInput{ShardIterator: iteratorSince(t, client, birth.Add(at))})
		if err != nil || string(page.Records[0].Data) != want {
			t.Errorf("at %v: got %v (%v), want %q", at, page, err, want)
		}
	}
	if err := st.Synthesize(first, 1, made); err == nil {
		t.Error("a shard with records was given others")
	}
	clock.Set(birth.Add(24*time.Hour + time.Millisecond))
	if got, _ := values(t, client, iteratorAt(t, client, types.ShardIteratorTypeTrimHorizon)); got != "ab" {
		t.Errorf("after their retention: got %q", got)
	}
}

// drainBy reads the first shard of "s" in pages of limit records.
func drainBy(t testing.TB, client *kinesis.Client, limit int32) []types.Record {
	t.Helper()
	var all []types.Record
	for it := iteratorAt(t, client, types.ShardIteratorTypeTrimHorizon); ; {
		page, err := client.GetRecords(context.Background(), &kinesis.GetRecordsInput{ShardIterator: it, Limit: &limit})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, page.Records...)
		if *page.MillisBehindLatest == 0 {
			return all
		}
		it = page.NextShardIterator
	}
}

func TestDiscard(t *testing.T) {
	srv, client, _ := standing(t, 1, unlimited())
	st := srv.Stream("s")
	var got []kinesistest.Record
	st.Discard(func(shard string, r kinesistest.Record) {
		if shard != first {
			t.Errorf("shard: got %s", shard)
		}
		r.Data = bytes.Clone(r.Data)
		got = append(got, r)
	})
	out, err := putLetters(client, "abc")
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range got {
		if r.SequenceNumber != *out.Records[i].SequenceNumber || string(r.Data) != "abc"[i:i+1] || r.Key != "k"+string(r.Data) {
			t.Errorf("record %d: got %+v", i, r)
		}
	}
	st.Discard(nil)
	if _, err := putLetters(client, "d"); err != nil || len(got) != 3 || stored(t, srv) != "d" {
		t.Errorf("stored %q, discarded %d (%v)", stored(t, srv), len(got), err)
	}
}
