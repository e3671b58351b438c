package kinesisstream_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesisstream"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
)

// sized makes a record for a stream whose records have at most limit bytes. What a key, the
// format and its frame take of them is measured, not computed.
func sized(n, value int) bridge.Record {
	return bridge.Record{
		Key: []byte("känguru"), Value: bytes.Repeat([]byte{byte('a' + n)}, value), Subs: 1,
		Origin: bridge.Coordinate{Stream: origin.String(), Partition: "0", Position: bridge.OffsetPosition(int64(1000 + n))},
	}
}

// A record of exactly the stream's limit goes through each format and codec and comes back
// whole; with one byte more it is refused by name. The server alone draws the same line.
func TestRecordLimit(t *testing.T) {
	for _, limit := range []int{1 << 20, 10 << 20} {
		t.Run(fmt.Sprint(limit>>20, " MiB"), func(t *testing.T) {
			for _, format := range formats {
				for _, codec := range []kinesisstream.Codec{kinesisstream.CodecJSON, kinesisstream.CodecCBOR} {
					if limit > 1<<20 && codec == kinesisstream.CodecCBOR && format != kinesisstream.Raw {
						continue // the bytes are the same
					}
					t.Run(fmt.Sprint(format, "/", codec), func(t *testing.T) {
						t.Parallel()
						recordLimit(t, limit, format, codec)
					})
				}
			}
		})
	}
}

func recordLimit(t *testing.T, limit int, format kinesisstream.Format, codec kinesisstream.Codec) {
	srv := fast(t)
	sdk := newPlain(srv.URL()).sdk
	name := fmt.Sprint("s-", streams.Add(1))
	_, err := sdk.CreateStream(t.Context(), &kinesis.CreateStreamInput{StreamName: &name, ShardCount: aws.Int32(1), MaxRecordSizeInKiB: aws.Int32(int32(limit >> 10))})
	if err != nil {
		t.Fatal(err)
	}
	conf := config(srv, name)
	conf.Codec, conf.Timeout = codec, enough
	client, err := kinesisstream.Dial(t.Context(), conf)
	if err != nil {
		t.Fatal(err)
	}
	w := open(t.Context(), t, client, memstream.NewLog(nil), format, enough)
	st := srv.Stream(name)
	write := func(n, value int) (stored int, err error) {
		acks, err := w.sink.Write(t.Context(), []bridge.Record{sized(n, value)})
		if err != nil || acks[0].Err != nil {
			return 0, errors.Join(err, acks[0].Err)
		}
		recs, err := st.Records(acks[0].Partition)
		last := recs[len(recs)-1]
		return len(last.Key) + len(last.Data), err
	}
	value := limit - 1000
	stored, err := write(0, value)
	if err != nil {
		t.Fatal(err)
	}
	value += limit - stored
	if err := st.Trim(st.Shards()[0].ID, 1); err != nil {
		t.Fatal(err)
	}
	for n, d := range []int{-1, 0, 1} {
		stored, err := write(1+n, value+d)
		if d > 0 && !errors.Is(err, bridge.ErrOversize) || d <= 0 && (err != nil || stored != limit+d) {
			t.Errorf("%d bytes of %d: stored %d, %v", limit+d, limit, stored, err)
		}
	}
	_, err = sdk.PutRecord(t.Context(), &kinesis.PutRecordInput{StreamName: &name, PartitionKey: aws.String("känguru"), Data: make([]byte, limit+1-len("känguru"))})
	if err := refuses("the SDK's record of one byte more", err); err != nil {
		t.Error(err)
	}
	// At the service's rates 10 MiB take a shard's budget of five seconds, whatever their format.
	packed := format != kinesisstream.Raw
	r, err := client.Source(kinesisstream.SourceConfig{Stamp: w.stamp, Restore: packed, NoRates: packed}).Open(t.Context(), st.Shards()[0].ID, bridge.Start{})
	if err != nil {
		t.Fatal(err)
	}
	var got []bridge.Record
	for len(got) < 2 {
		b, err := r.Read(t.Context())
		if err != nil && !bridge.Retryable(err) {
			t.Fatal(err)
		}
		got = append(got, b.Records...)
	}
	for n, size := range []int{value - 1, value} {
		if want := sized(1+n, size); !bytes.Equal(got[n].Value, want.Value) || !bytes.Equal(got[n].Key, want.Key) {
			t.Errorf("record %d came back with %d bytes of %d, or others", n, len(got[n].Value), size)
		}
	}
}

// One call carries 500 records and no more, and 10 MiB of keys and data and no more.
func TestRequestLimits(t *testing.T) {
	full := slices.Repeat([]int{1 << 20}, 9)
	for _, c := range []struct {
		what  string
		sizes []int // key and data of each record
		calls []int // records of each
	}{
		{"499 records", slices.Repeat([]int{10}, 499), []int{499}},
		{"500 records", slices.Repeat([]int{10}, 500), []int{500}},
		{"501 records", slices.Repeat([]int{10}, 501), []int{500, 1}},
		{"10 MiB less a byte", append(slices.Clone(full), 1<<20-1), []int{10}},
		{"10 MiB", append(slices.Clone(full), 1<<20), []int{10}},
		{"10 MiB and a byte", append(slices.Clone(full), 1<<20-9, 10), []int{10, 1}},
	} {
		t.Run(c.what, func(t *testing.T) {
			srv := fast(t)
			st := stream(t, srv, 2)
			var mu sync.Mutex
			var calls []int
			srv.SetFault(func(call kinesistest.Call) kinesistest.Fault {
				if call.Op == "PutRecords" {
					mu.Lock()
					defer mu.Unlock()
					calls = append(calls, len(call.Entries))
				}
				return kinesistest.Fault{}
			})
			var recs []bridge.Record
			for n, size := range c.sizes {
				r := sized(n, 0)
				r.Key = fmt.Appendf(nil, "%06d", n)
				r.Value = make([]byte, size-len(r.Key))
				recs = append(recs, r)
			}
			w := open(t.Context(), t, dial(t, srv, st.Name()), memstream.NewLog(nil), kinesisstream.Raw, enough)
			if err := writeAll(t.Context(), w.sink, recs, len(recs)); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(calls, c.calls) {
				t.Errorf("calls of %v records, want %v", calls, c.calls)
			}
			sum := 0
			var entries []types.PutRecordsRequestEntry
			for _, r := range recs {
				entries = append(entries, types.PutRecordsRequestEntry{PartitionKey: aws.String(string(r.Key)), Data: r.Value})
				sum += len(r.Key) + len(r.Value)
			}
			_, err := newPlain(srv.URL()).sdk.PutRecords(t.Context(), &kinesis.PutRecordsInput{StreamName: aws.String(st.Name()), Records: entries})
			if over := refuses("", err) == nil; over != (len(c.calls) > 1) {
				t.Errorf("%d records of %d bytes in one call of the SDK: %v", len(recs), sum, err)
			}
		})
	}
}
