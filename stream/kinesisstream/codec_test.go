package kinesisstream_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/schemas"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	smithy "github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/google/go-cmp/cmp"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesisstream"
)

var (
	getRecords = smithy.NewOperationSchema(schemas.GetRecords, schemas.GetRecordsInput, schemas.GetRecordsOutput)
	putRecords = smithy.NewOperationSchema(schemas.PutRecords, schemas.PutRecordsInput, schemas.PutRecordsOutput)
)

func protocolOf(t testing.TB, c kinesisstream.Codec) smithyhttp.ClientProtocol {
	t.Helper()
	p, err := kinesisstream.ProtocolOf(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// answer is what the service says with a body.
func answer(status int, kind string, body []byte) *smithyhttp.Response {
	return &smithyhttp.Response{Response: &http.Response{
		StatusCode: status, Header: http.Header{"Content-Type": {kind}},
		ContentLength: int64(len(body)), Body: io.NopCloser(bytes.NewReader(body)),
	}}
}

const jsonType = "application/x-amz-json-1.1"

// agree decodes a body with both decoders and compares results and errors.
func agree(t testing.TB, ours, stock smithyhttp.ClientProtocol, op *smithy.OperationSchema, make func() smithy.Deserializable, status int, body []byte) (failed bool) {
	t.Helper()
	got, want := make(), make()
	kept := bytes.Clone(body)
	err := ours.DeserializeResponse(t.Context(), op, kinesis.TypeRegistry, answer(status, jsonType, body), got)
	wantErr := stock.DeserializeResponse(t.Context(), op, kinesis.TypeRegistry, answer(status, jsonType, kept), want)
	if fmt.Sprint(err) != fmt.Sprint(wantErr) || reflect.TypeOf(err) != reflect.TypeOf(wantErr) {
		t.Fatalf("body %q:\n got error %v\nwant error %v", body, err, wantErr)
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("body %q: %s", body, cmp.Diff(want, got, cmp.AllowUnexported(kinesis.GetRecordsOutput{}, kinesis.PutRecordsOutput{}, types.Record{}, types.PutRecordsResultEntry{}, types.ChildShard{}, types.HashKeyRange{})))
	}
	if !bytes.Equal(body, kept) {
		t.Fatalf("the body was changed: %q", kept)
	}
	return err != nil
}

func newGet() smithy.Deserializable { return &kinesis.GetRecordsOutput{} }
func newPut() smithy.Deserializable { return &kinesis.PutRecordsOutput{} }

// A maker writes answers as no service does, but each of them JSON.
type maker struct {
	*rand.Rand
	odd int // how much of what the usual answer does not have, at most 100
}

func (m maker) maybe(percent int) bool { return m.IntN(100*100) < percent*m.odd }

func (m maker) space() string {
	if m.maybe(8) {
		return []string{" ", "\n", "\t\r ", "  "}[m.IntN(4)]
	}
	return ""
}

func (m maker) text(n int) string {
	var b strings.Builder
	b.WriteByte('"')
	for range n {
		switch {
		case m.maybe(3):
			b.WriteString([]string{`\"`, `\\`, `\/`, `\b`, `\f`, `\n`, `\r`, `\t`, `\u00e9`, `\ud83d\ude00`, `\u0000`, `\uD83d`, `\ude00\u0041`, "é", "😀", "\xff", "\u2028"}[m.IntN(17)])
		default:
			b.WriteByte("0123456789abcdefXYZ,:{}[]' /"[m.IntN(28)])
		}
	}
	return b.String() + `"`
}

func (m maker) data() string {
	n := m.IntN(40)
	if m.IntN(20) == 0 {
		n = m.IntN(3000)
	}
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(m.Uint32())
	}
	s := base64.StdEncoding.EncodeToString(b)
	if m.maybe(3) && len(s) > 4 {
		i := m.IntN(len(s))
		s = s[:i] + []string{"\\n", "\\r\\n", "=", "-", "\\u0041", "AAAA", " ", "\n\n\n\n", "\r\n\r\n"}[m.IntN(9)] + s[i:]
	}
	return `"` + s + `"`
}

func (m maker) number(digits int) string {
	n := fmt.Sprint(m.Uint64N(uint64(1) << (4 * m.IntN(digits))))
	switch {
	case m.maybe(3):
		return "-" + n
	case m.maybe(3):
		return n + []string{".5", "e3", "E-2", "0123456789012345", ".0", "E+1", "E99", "e400"}[m.IntN(8)]
	}
	return n
}

func (m maker) time() string {
	ms := m.Int64N(1 << 42)
	switch m.IntN(4) {
	case 0:
		return fmt.Sprintf("%d.%03d", ms/1000, ms%1000)
	case 1:
		return strings.Replace(fmt.Sprintf("%.12E", float64(ms)/1000), "E+0", "E", 1)
	case 2:
		return fmt.Sprint(ms / 1000)
	}
	if m.maybe(30) {
		return []string{`"NaN"`, `"Infinity"`, `"-infinity"`, `"x"`, "1e20", "-1.5", "0", "1E-7", "9007199254740993", "1441215410.8670001"}[m.IntN(10)]
	}
	return fmt.Sprintf("%d.%d", ms/1000, m.IntN(1000))
}

// value is one of any kind, which nobody asked for.
func (m maker) value(depth int) string {
	switch k := m.IntN(8); {
	case k == 0 && depth < 4:
		return "[" + m.list(m.IntN(3), func() string { return m.value(depth + 1) }) + "]"
	case k == 1 && depth < 4:
		return "{" + m.list(m.IntN(3), func() string { return m.text(3) + ":" + m.value(depth+1) }) + "}"
	case k == 2:
		return m.number(12)
	case k == 3:
		return []string{"true", "false", "null", "-0.5e7"}[m.IntN(4)]
	}
	return m.text(m.IntN(20))
}

func (m maker) list(n int, item func() string) string {
	var all []string
	for range n {
		all = append(all, m.space()+item()+m.space())
	}
	return strings.Join(all, ",")
}

func (m maker) object(members map[string]func() string, usual ...string) string {
	names := append([]string{}, usual...)
	if m.maybe(100) {
		m.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		names = append(names, append(usual, "Other", "Another", "records", `D\u0061ta`)[m.IntN(len(usual)+4)])
		names = names[m.IntN(3):]
	}
	i := -1
	return "{" + m.list(len(names), func() string {
		i++
		value := "null"
		if make := members[names[i]]; make == nil {
			value = m.value(0)
		} else if !m.maybe(5) {
			value = make()
		}
		return `"` + names[i] + `"` + m.space() + ":" + m.space() + value
	}) + "}"
}

func (m maker) page() string {
	record := func() string {
		if m.maybe(3) {
			return "null"
		}
		return m.object(map[string]func() string{
			"SequenceNumber":              func() string { return m.text(56) },
			"PartitionKey":                func() string { return m.text(m.IntN(20)) },
			"Data":                        m.data,
			"ApproximateArrivalTimestamp": m.time,
			"EncryptionType":              func() string { return `"KMS"` },
			`D\u0061ta`:                   m.data,
		}, "SequenceNumber", "ApproximateArrivalTimestamp", "Data", "PartitionKey", "EncryptionType")
	}
	child := func() string {
		return m.object(map[string]func() string{
			"ShardId":      func() string { return m.text(20) },
			"ParentShards": func() string { return "[" + m.list(m.IntN(3), func() string { return m.text(20) }) + "]" },
			"HashKeyRange": func() string {
				return m.object(map[string]func() string{"StartingHashKey": func() string { return m.text(30) }, "EndingHashKey": func() string { return m.text(30) }}, "StartingHashKey", "EndingHashKey")
			},
		}, "ShardId", "ParentShards", "HashKeyRange")
	}
	usual := []string{"MillisBehindLatest", "NextShardIterator", "Records"}
	if m.maybe(10) {
		usual = append(usual, "ChildShards")
	}
	return m.space() + m.object(map[string]func() string{
		"MillisBehindLatest": func() string { return m.number(12) },
		"NextShardIterator":  func() string { return m.text(200) },
		"Records":            func() string { return "[" + m.list(m.IntN(6), record) + "]" },
		"ChildShards":        func() string { return "[" + m.list(m.IntN(3), child) + "]" },
	}, usual...)
}

func (m maker) putAnswer() string {
	result := func() string {
		if m.maybe(3) {
			return "null"
		}
		names := []string{"SequenceNumber", "ShardId"}
		if m.IntN(4) == 0 {
			names = []string{"ErrorCode", "ErrorMessage"}
		}
		text := func() string { return m.text(m.IntN(60)) }
		return m.object(map[string]func() string{"SequenceNumber": text, "ShardId": text, "ErrorCode": text, "ErrorMessage": text}, names...)
	}
	return m.space() + m.object(map[string]func() string{
		"FailedRecordCount": func() string { return m.number(8) },
		"EncryptionType":    func() string { return `"NONE"` },
		"Records":           func() string { return "[" + m.list(m.IntN(6), result) + "]" },
	}, "FailedRecordCount", "EncryptionType", "Records")
}

// mutate damages a body in one or a few places.
func (m maker) mutate(body []byte) []byte {
	b := bytes.Clone(body)
	for range 1 + m.IntN(3) {
		if len(b) == 0 {
			return b
		}
		i := m.IntN(len(b))
		switch m.IntN(5) {
		case 0:
			b[i] = `{}[]",:\ntf0.eE-= `[m.IntN(18)]
		case 1:
			b = b[:i]
		case 2:
			b = append(b[:i:i], b[min(i+1+m.IntN(4), len(b)):]...)
		case 3:
			b = append(append(b[:i:i], `{}[]",:\ntf0.eE-= `[m.IntN(18)]), b[i:]...)
		case 4:
			b[i] ^= 1 << m.IntN(8)
		}
	}
	return b
}

// TestCodecAgreesWithTheSDK decodes answers of all kinds, whole and damaged, with both.
func TestCodecAgreesWithTheSDK(t *testing.T) {
	const seed, n = 41, 4_000
	ours, stock := protocolOf(t, kinesisstream.CodecJSON), protocolOf(t, kinesisstream.CodecSDK)
	for name, c := range map[string]struct {
		op   *smithy.OperationSchema
		make func() smithy.Deserializable
		body func(maker) string
	}{
		"GetRecords": {getRecords, newGet, maker.page},
		"PutRecords": {putRecords, newPut, maker.putAnswer},
	} {
		t.Run(name, func(t *testing.T) {
			usual := maker{Rand: rand.New(rand.NewPCG(seed, 0))}
			var own, damaged, refused int
			for i := range n {
				body := []byte(c.body(usual))
				if !kinesisstream.DecodeJSON(body, c.make()) {
					t.Fatalf("a usual answer needs the SDK's decoder: %q", body)
				}
				agree(t, ours, stock, c.op, c.make, 200, body)
				odd := maker{usual.Rand, []int{3, 20, 100}[i%3]}
				body = []byte(c.body(odd))
				for range 3 {
					if kinesisstream.DecodeJSON(body, c.make()) {
						own++
					}
					damaged++
					if agree(t, ours, stock, c.op, c.make, []int{200, 200, 200, 204, 200, 200, 200, 500}[i%8], body) {
						refused++
					}
					body = odd.mutate(body)
				}
			}
			t.Logf("seed %d: %d usual answers; %d odd or damaged ones, of which %d were decoded without the SDK and %d refused", seed, n, damaged, own, refused)
			if own < damaged/10 || refused < damaged/10 {
				t.Error("too few of one kind: the comparison shows nothing")
			}
		})
	}
}

func FuzzCodecPage(f *testing.F) { fuzzCodec(f, getRecords, newGet, maker.page) }
func FuzzCodecPut(f *testing.F)  { fuzzCodec(f, putRecords, newPut, maker.putAnswer) }

func fuzzCodec(f *testing.F, op *smithy.OperationSchema, make func() smithy.Deserializable, body func(maker) string) {
	rng := rand.New(rand.NewPCG(42, 0))
	for i := range 60 {
		f.Add(200, []byte(body(maker{rng, 30 * (i % 3)})))
	}
	for _, s := range []string{"", "null", "{}", "[]", `{"Records":null}`, `{"Records":[{}]}`, `{"Records":[{"Data":""}]}`, `{"Records":[{"Data":"===="}]}`} {
		f.Add(200, []byte(s))
	}
	f.Add(400, []byte(`{"__type":"ExpiredIteratorException","message":"Iterator expired"}`))
	ours, stock := protocolOf(f, kinesisstream.CodecJSON), protocolOf(f, kinesisstream.CodecSDK)
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		agree(t, ours, stock, op, make, status, body)
	})
}

// TestCodecBreaksOff reads bodies that end early: the error is that of the connection.
func TestCodecBreaksOff(t *testing.T) {
	broken := errors.New("connection reset")
	for _, codec := range kinesisstream.Codecs() {
		for _, length := range []int64{-1, 3, 1 << 40} {
			a := answer(200, jsonType, nil)
			a.ContentLength, a.Body = length, io.NopCloser(io.MultiReader(strings.NewReader(`{"Records":[`), failing{broken}))
			err := protocolOf(t, codec).DeserializeResponse(t.Context(), getRecords, kinesis.TypeRegistry, a, newGet())
			var want *smithy.DeserializationError
			if !errors.As(err, &want) || !errors.Is(err, broken) {
				t.Errorf("%s: got %v", codec, err)
			}
		}
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func someKey(m maker) string {
	k := strings.ToValidUTF8(m.text(m.IntN(30)), "?")
	if m.IntN(4) == 0 {
		return string([]byte{byte(m.Uint32()), 'x', byte(m.Uint32()), 0x7f, '\n'}) + k + "\u2028\u2029é"
	}
	return k
}

// TestPutsAreWrittenAsTheSDKDoes compares requests byte for byte.
func TestPutsAreWrittenAsTheSDKDoes(t *testing.T) {
	const seed = 43
	t.Logf("seed %d", seed)
	m := maker{rand.New(rand.NewPCG(seed, 0)), 100}
	ours, stock := protocolOf(t, kinesisstream.CodecJSON), protocolOf(t, kinesisstream.CodecSDK)
	optional := func() *string {
		if m.IntN(2) == 0 {
			return nil
		}
		return aws.String(someKey(m))
	}
	for range 3000 {
		in := &kinesis.PutRecordsInput{StreamName: optional(), StreamARN: optional(), StreamId: optional()}
		if m.IntN(8) == 0 {
			in.DryRun = aws.Bool(m.IntN(2) == 0)
		}
		for range m.IntN(5) {
			e := types.PutRecordsRequestEntry{PartitionKey: optional(), ExplicitHashKey: optional()}
			if n := m.IntN(50); n > 0 {
				e.Data = []byte(m.text(n))[:n-1]
			}
			in.Records = append(in.Records, e)
		}
		got, want := request(t, ours, putRecords, in), request(t, stock, putRecords, in)
		if got != want {
			t.Fatalf("\n got %q\nwant %q", got, want)
		}
	}
}

// request is all that goes onto the wire.
func request(t testing.TB, p smithyhttp.ClientProtocol, op *smithy.OperationSchema, in smithy.Serializable) string {
	t.Helper()
	req := smithyhttp.NewStackRequest().(*smithyhttp.Request)
	if err := p.SerializeRequest(context.Background(), op, in, req); err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(req.GetStream())
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(req.Method, req.URL, req.Header, req.ContentLength, req.IsStreamSeekable(), string(body))
}

// TestNoAnswerPanics reads a time that makes the SDK's decoder panic.
func TestNoAnswerPanics(t *testing.T) {
	body := []byte(`{"Records":[{"ApproximateArrivalTimestamp":"NaN"}]}`)
	for _, codec := range kinesisstream.Codecs() {
		err := protocolOf(t, codec).DeserializeResponse(t.Context(), getRecords, kinesis.TypeRegistry, answer(200, jsonType, body), newGet())
		var want *smithy.DeserializationError
		if !errors.As(err, &want) || !strings.Contains(err.Error(), "NaN") {
			t.Errorf("%s: got %v", codec, err)
		}
	}
}

func TestUnknownCodecIsRefused(t *testing.T) {
	c := config(fast(t), "s")
	c.Codec = "xml"
	if _, err := kinesisstream.Dial(t.Context(), c); !errors.Is(err, bridge.ErrRefused) {
		t.Errorf("got %v", err)
	}
}
