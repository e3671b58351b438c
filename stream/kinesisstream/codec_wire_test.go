package kinesisstream_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	smithy "github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/kinesis-msk-bridge/bridge/stream/kinesisstream"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
)

// wires dials one stream with each codec; the SDK's is the last.
func wires(t *testing.T, srv *kinesistest.Server, name string) (all []*kinesis.Client) {
	t.Helper()
	for _, codec := range kinesisstream.Codecs() {
		c := config(srv, name)
		c.Codec = codec
		k, err := kinesisstream.Dial(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, k.API())
	}
	return all
}

// TestCodecsAgreeOverTheWire puts with each codec and reads with each: records, errors of
// single records and of calls, the end of a shard.
func TestCodecsAgreeOverTheWire(t *testing.T) {
	at := time.UnixMilli(1_700_000_000_123)
	srv := start(t, kinesistest.Config{Limits: kinesistest.Limits{Off: true}, Clock: func() time.Time { return at }})
	st := stream(t, srv, 2)
	clients := wires(t, srv, st.Name())
	var put []types.PutRecordsRequestEntry
	for i, key := range []string{"a", "é", "\U0001f600", "\"\\/\n\u2028", strings.Repeat("k", 256), "0"} {
		put = append(put, types.PutRecordsRequestEntry{PartitionKey: aws.String(key), Data: []byte(strings.Repeat("\x00\xff\n", i*i*i))})
	}
	srv.SetFault(func(c kinesistest.Call) kinesistest.Fault {
		if c.Op == "PutRecords" {
			return kinesistest.Fault{FailEntries: map[int]string{1: ""}}
		}
		return kinesistest.Fault{}
	})
	var answers []*kinesis.PutRecordsOutput
	for i, c := range clients {
		out, err := c.PutRecords(t.Context(), &kinesis.PutRecordsInput{StreamName: aws.String(st.Name()), Records: put})
		if err != nil {
			t.Fatalf("codec %d: %v", i, err)
		}
		for j := range out.Records { // the numbers differ
			if (out.Records[j].SequenceNumber == nil) != (j == 1) {
				t.Errorf("codec %d, record %d: %+v", i, j, out.Records[j])
			}
			out.Records[j].SequenceNumber = nil
		}
		answers = append(answers, out)
	}
	srv.SetFault(nil)
	same(t, answers)
	if _, _, err := st.Split(st.Shards()[0].ID, middle(t, st, st.Shards()[0].ID)); err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, sh := range st.Shards()[:2] {
		total += readAll(t, clients, st.Name(), sh.ID)
	}
	if want := len(clients) * (len(put) - 1); total != want {
		t.Errorf("read %d records, want %d", total, want)
	}
}

// readAll reads a shard page by page with all clients at once.
func readAll(t *testing.T, clients []*kinesis.Client, name, shard string) (total int) {
	t.Helper()
	it, err := clients[0].GetShardIterator(t.Context(), &kinesis.GetShardIteratorInput{StreamName: &name, ShardId: &shard, ShardIteratorType: types.ShardIteratorTypeTrimHorizon})
	if err != nil {
		t.Fatal(err)
	}
	next := it.ShardIterator
	for next != nil {
		var pages []*kinesis.GetRecordsOutput
		for i, c := range clients {
			page, err := c.GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: next, Limit: aws.Int32(4)})
			if err != nil {
				t.Fatalf("codec %d: %v", i, err)
			}
			pages = append(pages, page)
		}
		next = pages[0].NextShardIterator
		total += len(pages[0].Records)
		ended := next == nil
		for _, p := range pages { // iterators are made anew for each
			if (p.NextShardIterator == nil) != ended {
				t.Error("codecs do not agree about the end")
			}
			p.NextShardIterator = nil
		}
		same(t, pages)
		if ended && len(pages[0].ChildShards) == 0 {
			t.Error("an ended shard without children: the comparison shows nothing")
		}
		if len(pages[0].Records) == 0 && *pages[0].MillisBehindLatest == 0 {
			return total
		}
	}
	return total
}

// same compares what all codecs made of one thing.
func same[T any](t *testing.T, all []*T) {
	t.Helper()
	for i := range all {
		reflect.ValueOf(all[i]).Elem().FieldByName("ResultMetadata").SetZero()
	}
	for i, got := range all {
		if want := all[len(all)-1]; !reflect.DeepEqual(got, want) {
			t.Errorf("codec %d: %s", i, cmp.Diff(want, got, cmp.Exporter(func(reflect.Type) bool { return true })))
		}
	}
}

// TestCodecErrorsAgreeOverTheWire lets calls fail in the ways of the service.
func TestCodecErrorsAgreeOverTheWire(t *testing.T) {
	srv := fast(t)
	st := stream(t, srv, 1)
	clients := wires(t, srv, st.Name())
	for name, fault := range map[string]kinesistest.Fault{
		"throttled": {Error: kinesistest.Throttled()},
		"failed":    {Error: kinesistest.InternalFailure()},
		"cut":       {Truncate: true},
		"none":      {},
	} {
		srv.SetFault(func(kinesistest.Call) kinesistest.Fault { return fault })
		var texts []string
		for _, c := range clients {
			_, err := c.GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: aws.String("not one")})
			var said smithy.APIError
			if texts = append(texts, fmt.Sprint(err != nil)); errors.As(err, &said) {
				texts[len(texts)-1] += said.ErrorCode() + ": " + said.ErrorMessage()
			}
			if errors.As(err, &said) == (name == "cut") {
				t.Errorf("%s: got %v", name, err)
			}
		}
		for _, text := range texts {
			if text != texts[len(texts)-1] || !strings.HasPrefix(text, "true") {
				t.Errorf("%s: %q", name, texts)
			}
		}
	}
}
