package kinesisstream_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/fxamacker/cbor/v2"

	"github.com/kinesis-msk-bridge/bridge/stream/kinesisstream"
)

// aPut has n records of size bytes.
func aPut(n, size int) *kinesis.PutRecordsInput {
	rng := rand.New(rand.NewPCG(1, 1))
	in := &kinesis.PutRecordsInput{StreamName: aws.String("s")}
	for range n {
		data := make([]byte, size)
		for i := range data {
			data[i] = byte(rng.Uint32())
		}
		in.Records = append(in.Records, types.PutRecordsRequestEntry{Data: data, PartitionKey: aws.String(fmt.Sprintf("key-%06d", rng.IntN(1e6)))})
	}
	return in
}

// aPage is an answer with n records of size bytes, in JSON or CBOR.
func aPage(t testing.TB, n, size int, inCBOR bool) []byte {
	t.Helper()
	var b bytes.Buffer
	fmt.Fprint(&b, `{"MillisBehindLatest":0,"NextShardIterator":"AAAAAAAAAAE","Records":[`)
	type record struct {
		SequenceNumber              string
		ApproximateArrivalTimestamp cbor.Tag
		Data                        []byte
		PartitionKey                string
	}
	var all []record
	for i, e := range aPut(n, size).Records {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"SequenceNumber":"49590338271490256608559692538361571095921575%012d","ApproximateArrivalTimestamp":1.441215410867E9,"Data":%s,"PartitionKey":%q}`, i, mustJSON(t, e.Data), *e.PartitionKey)
		all = append(all, record{fmt.Sprintf("49590338271490256608559692538361571095921575%012d", i), cbor.Tag{Number: 1, Content: 1441215410867}, e.Data, *e.PartitionKey})
	}
	b.WriteString("]}")
	if !inCBOR {
		return b.Bytes()
	}
	out, err := cbor.Marshal(map[string]any{"MillisBehindLatest": 0, "NextShardIterator": "AAAAAAAAAAE", "Records": all})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// again is a body that can be read over and over.
type again struct{ *bytes.Reader }

func (again) Close() error { return nil }

// fewest is how many allocations do takes when it finds again what it put by, which the
// race detector makes it lose now and then.
func fewest(do func()) float64 {
	n := testing.AllocsPerRun(1, do)
	for range 8 {
		n = min(n, testing.AllocsPerRun(1, do))
	}
	return n
}

// TestCodecAllocates holds how many pieces of memory a page and a put take, whatever the
// number of records.
func TestCodecAllocates(t *testing.T) {
	for _, codec := range []kinesisstream.Codec{kinesisstream.CodecJSON, kinesisstream.CodecCBOR} {
		kind := map[kinesisstream.Codec]string{kinesisstream.CodecJSON: jsonType, kinesisstream.CodecCBOR: cborType}[codec]
		p := protocolOf(t, codec)
		for _, n := range []int{1, 400, 3_000} {
			body := again{bytes.NewReader(aPage(t, n, 100, codec == kinesisstream.CodecCBOR))}
			a := answer(200, kind, nil)
			a.Body, a.ContentLength = body, body.Size()
			allocs := fewest(func() {
				_, _ = body.Seek(0, io.SeekStart)
				out := &kinesis.GetRecordsOutput{}
				if err := p.DeserializeResponse(t.Context(), getRecords, kinesis.TypeRegistry, a, out); err != nil || len(out.Records) != n {
					t.Fatal(len(out.Records), err)
				}
			})
			if allocs > 10 {
				t.Errorf("%s: a page of %d records takes %v allocations, 10 are allowed", codec, n, allocs)
			}
		}
	}
	in := aPut(500, 1000)
	for name, appendPut := range map[string]func([]byte, *kinesis.PutRecordsInput) []byte{"JSON": kinesisstream.AppendPutJSON, "CBOR": kinesisstream.AppendPutCBOR} {
		if allocs := fewest(func() { appendPut(nil, in) }); allocs > 5 {
			t.Errorf("%s: a put takes %v allocations, 5 are allowed", name, allocs)
		}
	}
}

func BenchmarkDecodePage(b *testing.B) {
	for _, codec := range kinesisstream.Codecs() {
		kind, inCBOR := jsonType, codec == kinesisstream.CodecCBOR
		if inCBOR {
			kind = cborType
		}
		for _, size := range []int{100, 1024} {
			b.Run(fmt.Sprintf("%s/%d", codec, size), func(b *testing.B) {
				const n = 400
				p := protocolOf(b, codec)
				body := again{bytes.NewReader(aPage(b, n, size, inCBOR))}
				a := answer(200, kind, nil)
				a.Body, a.ContentLength = body, body.Size()
				b.ReportAllocs()
				for b.Loop() {
					_, _ = body.Seek(0, io.SeekStart)
					if err := p.DeserializeResponse(b.Context(), getRecords, kinesis.TypeRegistry, a, newGet()); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/record")
			})
		}
	}
}

func BenchmarkEncodePut(b *testing.B) {
	for _, codec := range kinesisstream.Codecs() {
		for _, size := range []int{100, 1024} {
			b.Run(fmt.Sprintf("%s/%d", codec, size), func(b *testing.B) {
				const n = 500
				p, in := protocolOf(b, codec), aPut(n, size)
				b.ReportAllocs()
				for b.Loop() {
					req := smithyhttp.NewStackRequest().(*smithyhttp.Request)
					if err := p.SerializeRequest(b.Context(), putRecords, in, req); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/record")
			})
		}
	}
}
