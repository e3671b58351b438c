package kinesisstream_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	smithy "github.com/aws/smithy-go"
	"github.com/fxamacker/cbor/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/kinesis-msk-bridge/bridge/stream/kinesisstream"
)

const cborType = "application/x-amz-cbor-1.1"

func mustJSON(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A cborRecord and its like are what another library makes of the same bytes.
type cborRecord struct {
	SequenceNumber, PartitionKey *string
	Data                         []byte
	ApproximateArrivalTimestamp  *cbor.RawTag
	EncryptionType               string
}

type cborPage struct {
	Records            []*cborRecord
	NextShardIterator  *string
	MillisBehindLatest *int64
	ChildShards        []types.ChildShard
}

func (p cborPage) output(t testing.TB) *kinesis.GetRecordsOutput {
	out := &kinesis.GetRecordsOutput{NextShardIterator: p.NextShardIterator, MillisBehindLatest: p.MillisBehindLatest, ChildShards: p.ChildShards}
	if p.Records != nil {
		out.Records = make([]types.Record, len(p.Records))
	}
	for i, r := range p.Records {
		if r == nil {
			continue
		}
		out.Records[i] = types.Record{SequenceNumber: r.SequenceNumber, PartitionKey: r.PartitionKey, Data: r.Data, EncryptionType: types.EncryptionType(r.EncryptionType)}
		if r.ApproximateArrivalTimestamp != nil {
			var ms int64
			if err := cbor.Unmarshal(r.ApproximateArrivalTimestamp.Content, &ms); err != nil {
				t.Fatal(err)
			}
			out.Records[i].ApproximateArrivalTimestamp = aws.Time(time.UnixMilli(ms).UTC())
		}
	}
	return out
}

// A cborMaker writes answers in the many ways that CBOR allows: with and without lengths,
// texts in pieces, unknown members, tags.
type cborMaker struct{ *rand.Rand }

func (m cborMaker) text(b []byte, s string, inPieces bool) []byte {
	if !inPieces || m.IntN(4) > 0 {
		return append(m.head(b, 3, uint64(len(s))), s...)
	}
	b = append(b, 0x7f)
	for len(s) > 0 {
		n := 1 + m.IntN(len(s))
		for n < len(s) && !utf8.RuneStart(s[n]) {
			n++
		}
		b, s = append(m.head(b, 3, uint64(n)), s[:n]...), s[n:]
	}
	return append(b, 0xff)
}

// head writes a length in its shortest form or a longer one.
func (m cborMaker) head(b []byte, major byte, n uint64) []byte {
	switch size := m.IntN(4); {
	case n < 24 && size < 3:
		return append(b, major<<5|byte(n))
	case n < 1<<8 && size < 2:
		return append(b, major<<5|24, byte(n))
	case n < 1<<16:
		return append(b, major<<5|25, byte(n>>8), byte(n))
	}
	return append(b, major<<5|27, byte(n>>56), byte(n>>48), byte(n>>40), byte(n>>32), byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
}

func (m cborMaker) many(b []byte, major byte, n int, item func([]byte) []byte) []byte {
	endless := m.IntN(2) == 0
	if endless {
		b = append(b, major<<5|31)
	} else {
		b = m.head(b, major, uint64(n))
	}
	for range n {
		b = item(b)
	}
	if endless {
		b = append(b, 0xff)
	}
	return b
}

func (m cborMaker) object(b []byte, members map[string]func([]byte) []byte) []byte {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if m.IntN(10) > 0 {
			names = append(names, name)
		}
	}
	i := -1
	return m.many(b, 5, len(names), func(b []byte) []byte {
		i++
		b = m.text(b, names[i], false)
		if m.IntN(12) == 0 {
			return append(b, 0xf6)
		}
		return members[names[i]](b)
	})
}

func (m cborMaker) value(b []byte, depth int) []byte {
	switch k := m.IntN(9); {
	case k == 0 && depth < 5:
		return m.many(b, 4, m.IntN(4), func(b []byte) []byte { return m.value(b, depth+1) })
	case k == 1 && depth < 5:
		return m.many(b, 5, m.IntN(2), func(b []byte) []byte { return m.value(m.text(b, "x", false), depth+1) })
	case k == 2:
		return m.head(b, 1, m.Uint64N(1<<40))
	case k == 3:
		return append(b, []byte{0xf4, 0xf5, 0xf6, 0xf7}[m.IntN(4)])
	case k == 4:
		return append(b, 0xfb, 1, 2, 3, 4, 5, 6, 7, 8)
	case k == 5:
		return append(m.head(b, 2, 3), "\x01\xff\x02"...)
	case k == 6:
		return m.head(append(b, 0xc2), 2, 0) // a tag around no bytes: the number 0
	}
	return m.text(b, "some text", true)
}

func (m cborMaker) str(n int) func([]byte) []byte {
	return func(b []byte) []byte { return m.text(b, "é0123456789abcdefghijklmnopqrst"[:n-n%2], true) }
}

func (m cborMaker) page() []byte {
	unknown := func(b []byte) []byte { return m.value(b, 0) }
	record := func(b []byte) []byte {
		if m.IntN(10) == 0 {
			return append(b, 0xf6)
		}
		return m.object(b, map[string]func([]byte) []byte{
			"SequenceNumber": m.str(30), "PartitionKey": m.str(m.IntN(12)), "EncryptionType": m.str(4), "Other": unknown,
			"Data": func(b []byte) []byte {
				n := m.IntN(400)
				return append(m.head(b, 2, uint64(n)), make([]byte, n)...)
			},
			"ApproximateArrivalTimestamp": func(b []byte) []byte { return m.head(append(b, 0xc1), byte(m.IntN(2)), m.Uint64N(1<<42)) },
		})
	}
	child := func(b []byte) []byte {
		return m.object(b, map[string]func([]byte) []byte{
			"ShardId":      m.str(8),
			"ParentShards": func(b []byte) []byte { return m.many(b, 4, m.IntN(3), m.str(6)) },
			"HashKeyRange": func(b []byte) []byte {
				return m.object(b, map[string]func([]byte) []byte{"StartingHashKey": m.str(9), "EndingHashKey": m.str(9), "Other": unknown})
			},
			"Other": unknown,
		})
	}
	return m.object(nil, map[string]func([]byte) []byte{
		"MillisBehindLatest": func(b []byte) []byte { return m.head(b, 0, m.Uint64N(1<<40)) },
		"NextShardIterator":  m.str(20), "Other": unknown,
		"Records":     func(b []byte) []byte { return m.many(b, 4, m.IntN(5), record) },
		"ChildShards": func(b []byte) []byte { return m.many(b, 4, m.IntN(3), child) },
	})
}

// TestCBORAgreesWithAnotherLibrary decodes pages in all forms that CBOR allows.
func TestCBORAgreesWithAnotherLibrary(t *testing.T) {
	const seed, n = 44, 3_000
	t.Logf("seed %d", seed)
	m := cborMaker{rand.New(rand.NewPCG(seed, 0))}
	p := protocolOf(t, kinesisstream.CodecCBOR)
	for range n {
		body := m.page()
		var theirs cborPage
		if err := cbor.Unmarshal(body, &theirs); err != nil {
			t.Fatalf("%x: %v", body, err)
		}
		got, want := &kinesis.GetRecordsOutput{}, theirs.output(t)
		if err := p.DeserializeResponse(t.Context(), getRecords, kinesis.TypeRegistry, answer(200, cborType, body), got); err != nil {
			t.Fatalf("%x: %v", body, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%x: %s", body, cmp.Diff(want, got, cmp.Exporter(func(reflect.Type) bool { return true })))
		}
		// Cut anywhere, it is no page.
		cut := body[:m.IntN(len(body))]
		err := p.DeserializeResponse(t.Context(), getRecords, kinesis.TypeRegistry, answer(200, cborType, bytes.Clone(cut)), newGet())
		var wrong *smithy.DeserializationError
		if len(cut) > 0 && !errors.As(err, &wrong) {
			t.Fatalf("%x cut to %d bytes: %v", body, len(cut), err)
		}
	}
}

func FuzzCodecCBOR(f *testing.F) {
	m := cborMaker{rand.New(rand.NewPCG(45, 0))}
	for range 40 {
		f.Add(false, 200, m.page())
	}
	f.Add(true, 200, []byte("\xa2\x71FailedRecordCount\x00\x67Records\x81\xa2\x6eSequenceNumber\x611\x67ShardId\x612"))
	f.Add(true, 400, []byte("\xa2\x66__type\x78\x18ExpiredIteratorException\x67message\x61x"))
	f.Add(false, 200, []byte("\xa1\x67Records\x9b\x7f\xff\xff\xff\xff\xff\xff\xff"))
	f.Add(false, 200, []byte("\xa1\x67ReCords\x9f\xa0\xff")) // names that differ in case are others
	// A name that comes twice has no one meaning.
	strict, err := cbor.DecOptions{FieldNameMatching: cbor.FieldNameMatchingCaseSensitive, DupMapKey: cbor.DupMapKeyEnforcedAPF}.DecMode()
	if err != nil {
		f.Fatal(err)
	}
	p := protocolOf(f, kinesisstream.CodecCBOR)
	f.Fuzz(func(t *testing.T, put bool, status int, body []byte) {
		op, out := getRecords, newGet()
		if put {
			op, out = putRecords, newPut()
		}
		err := p.DeserializeResponse(t.Context(), op, kinesis.TypeRegistry, answer(status, cborType, body), out)
		if good := status >= 200 && status < 300; !good && err == nil {
			t.Errorf("status %d is no error", status)
		}
		var theirs cborPage
		if page, ok := out.(*kinesis.GetRecordsOutput); ok && err == nil && len(body) > 0 && strict.Unmarshal(body, &theirs) == nil && len(theirs.Records) != len(page.Records) {
			t.Errorf("%x: %d records, another library finds %d", body, len(page.Records), len(theirs.Records))
		}
	})
}

// TestCBORErrorsAreTheSDKs decodes errors that came in CBOR, and in JSON in spite of it.
func TestCBORErrorsAreTheSDKs(t *testing.T) {
	said := map[string]string{"__type": "ExpiredIteratorException", "message": "Iterator \"x\" expired"}
	inCBOR, err := cbor.Marshal(said)
	if err != nil {
		t.Fatal(err)
	}
	for name, a := range map[string]struct {
		kind string
		body []byte
	}{"CBOR": {cborType, inCBOR}, "JSON": {jsonType, mustJSON(t, said)}, "JSON by mistake": {cborType, mustJSON(t, said)}} {
		err := protocolOf(t, kinesisstream.CodecCBOR).DeserializeResponse(t.Context(), getRecords, kinesis.TypeRegistry, answer(400, a.kind, a.body), newGet())
		var expired *types.ExpiredIteratorException
		if !errors.As(err, &expired) || expired.ErrorMessage() != said["message"] {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// TestCBORRequests reads back what is sent.
func TestCBORRequests(t *testing.T) {
	in := &kinesis.PutRecordsInput{StreamName: aws.String("s"), StreamARN: aws.String("arn"), StreamId: aws.String("id"), DryRun: aws.Bool(true), Records: []types.PutRecordsRequestEntry{
		{Data: bytes.Repeat([]byte{7}, 70_000), PartitionKey: aws.String("é"), ExplicitHashKey: aws.String("12")}, {Data: []byte{}, PartitionKey: aws.String("k")}, {},
	}}
	var put struct {
		StreamName, StreamARN, StreamId *string
		DryRun                          *bool
		Records                         []types.PutRecordsRequestEntry
	}
	if err := cbor.Unmarshal(kinesisstream.AppendPutCBOR(nil, in), &put); err != nil {
		t.Fatal(err)
	}
	if got := (&kinesis.PutRecordsInput{StreamName: put.StreamName, StreamARN: put.StreamARN, StreamId: put.StreamId, DryRun: put.DryRun, Records: put.Records}); !reflect.DeepEqual(got, in) {
		t.Errorf("got %+v", got)
	}
	for _, limit := range []int32{-1, 0, 23, 24, 255, 10_000, 1 << 30} {
		got := request(t, protocolOf(t, kinesisstream.CodecCBOR), getRecords, &kinesis.GetRecordsInput{ShardIterator: aws.String("it"), Limit: aws.Int32(limit), DryRun: aws.Bool(false)})
		_, body, _ := bytes.Cut([]byte(got), []byte("true")) // behind the flag for a stream that can be rewound
		var get map[string]any
		if err := cbor.Unmarshal(body, &get); err != nil {
			t.Fatalf("%q: %v", got, err)
		}
		if fmt.Sprint(get["Limit"]) != fmt.Sprint(limit) || get["ShardIterator"] != "it" || get["DryRun"] != false || len(get) != 3 {
			t.Errorf("got %v", get)
		}
	}
}
