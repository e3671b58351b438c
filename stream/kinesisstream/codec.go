package kinesisstream

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	smithy "github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/kinesis-msk-bridge/bridge"
)

// A Codec says who encodes PutRecords and decodes GetRecords, where nearly all of a
// mirror's time goes. Whatever else there is to say to the service, the SDK says itself.
type Codec string

const (
	// CodecJSON is this package's own codec for the JSON that the SDK speaks. It decodes
	// what the service sends in the usual form and hands everything else, with all
	// errors, to the SDK's decoder, so that both always agree.
	CodecJSON Codec = "json"
	// CodecCBOR speaks application/x-amz-cbor-1.1, as the SDK for Java does: less work
	// for both sides. The SDK for Go does not know it.
	CodecCBOR Codec = "cbor"
	// CodecSDK is the SDK's own, for an independent witness.
	CodecSDK Codec = "sdk"
)

// Codecs are all of them, the default first.
func Codecs() []Codec { return []Codec{CodecJSON, CodecCBOR, CodecSDK} }

// Plug puts the codec in the place of the SDK's own, in a function that is given to
// kinesis.New; empty is CodecJSON. It wraps ErrRefused for any other name.
func (c Codec) Plug(o *kinesis.Options) error {
	stock := guarded{o.Protocol}
	switch c {
	case CodecSDK:
		o.Protocol = stock
	case CodecCBOR, CodecJSON, "":
		p := &protocol{ClientProtocol: stock, cbor: c == CodecCBOR}
		o.Protocol = p
		o.APIOptions = append(slices.Clone(o.APIOptions), p.lend)
	default:
		return fmt.Errorf("codec %q is none of %v: %w", string(c), Codecs(), bridge.ErrRefused)
	}
	return nil
}

// guarded is the SDK's own, which panics where a time in an answer is no number.
type guarded struct{ smithyhttp.ClientProtocol }

func (g guarded) DeserializeResponse(ctx context.Context, s *smithy.OperationSchema, types *smithy.TypeRegistry, resp *smithyhttp.Response, out smithy.Deserializable) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = &smithy.DeserializationError{Err: fmt.Errorf("the SDK's decoder failed: %v", cause)}
		}
	}()
	return g.ClientProtocol.DeserializeResponse(ctx, s, types, resp, out)
}

const (
	typeJSON     = "application/x-amz-json-1.1"
	typeCBOR     = "application/x-amz-cbor-1.1"
	targetPrefix = "Kinesis_20131202."
)

// A protocol is the SDK's own but for the bodies of the two operations that carry
// records. It is safe for concurrent use.
type protocol struct {
	smithyhttp.ClientProtocol
	cbor    bool
	scratch sync.Pool // of *scratch
	bodies  sync.Pool // of *lent
}

// SerializeRequest encodes PutRecords, and GetRecords in CBOR.
func (p *protocol) SerializeRequest(ctx context.Context, s *smithy.OperationSchema, in smithy.Serializable, req *smithyhttp.Request) error {
	var body []byte
	op, kind := "PutRecords", typeJSON
	switch v := in.(type) {
	case *kinesis.PutRecordsInput:
		lent := lentTo(ctx)
		if p.cbor {
			lent.b, kind = appendPutCBOR(lent.b[:0], v), typeCBOR
		} else {
			lent.b = appendPutJSON(lent.b[:0], v)
		}
		body = lent.b
	case *kinesis.GetRecordsInput:
		if !p.cbor {
			return p.ClientProtocol.SerializeRequest(ctx, s, in, req)
		}
		op, kind, body = "GetRecords", typeCBOR, appendGetCBOR(nil, v)
	default:
		return p.ClientProtocol.SerializeRequest(ctx, s, in, req)
	}
	req.Method = http.MethodPost
	if req.URL.Path == "" {
		req.URL.Path = "/"
	}
	req.Header.Set("X-Amz-Target", targetPrefix+op)
	req.Header.Set("Content-Type", kind)
	filled, err := req.SetStream(bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("set stream: %w", err)
	}
	*req = *filled
	return nil
}

// DeserializeResponse decodes the answers that carry records or their fates.
func (p *protocol) DeserializeResponse(ctx context.Context, s *smithy.OperationSchema, types *smithy.TypeRegistry, resp *smithyhttp.Response, out smithy.Deserializable) error {
	stock := func(body []byte) error {
		// The caller closes the body that it gave, whatever was decoded instead.
		was := resp.Body
		defer func() { resp.Body = was }()
		resp.Body = io.NopCloser(bytes.NewReader(body))
		return p.ClientProtocol.DeserializeResponse(ctx, s, types, resp, out)
	}
	isCBOR := strings.HasPrefix(resp.Header.Get("Content-Type"), typeCBOR)
	good := resp.StatusCode >= 200 && resp.StatusCode < 300
	if !carries(out) || !good && !isCBOR {
		return p.ClientProtocol.DeserializeResponse(ctx, s, types, resp, out)
	}
	w := p.take()
	defer p.give(w)
	body, err := w.read(resp)
	switch {
	case err != nil:
		return &smithy.DeserializationError{Err: err}
	case !good:
		return stock(errorAsJSON(body))
	case !isCBOR:
		if w.decodeJSON(body, out) {
			return nil
		}
		return stock(body)
	case len(body) == 0:
		return nil
	}
	if err := w.decodeCBOR(body, out); err != nil {
		return &smithy.DeserializationError{Err: err}
	}
	return nil
}

func carries(out smithy.Deserializable) bool {
	switch out.(type) {
	case *kinesis.GetRecordsOutput, *kinesis.PutRecordsOutput:
		return true
	}
	return false
}

// A scratch is what is needed while one answer is decoded. Nothing that is handed out
// points into it.
type scratch struct {
	body    bytes.Buffer
	text    []byte // the strings of the answer, one behind the other
	records []recordSpans
	results []resultSpans
}

// largestKept bounds the body that a scratch may hold on to: an answer of 10 MiB in
// base64 with 10,000 records' framing is below it.
const largestKept = 24 << 20

func (p *protocol) take() *scratch {
	if w, ok := p.scratch.Get().(*scratch); ok {
		return w
	}
	return &scratch{}
}

func (p *protocol) give(w *scratch) {
	if w.body.Cap() <= largestKept {
		p.scratch.Put(w)
	}
}

// read returns the whole body, which is valid until the next read.
func (w *scratch) read(resp *smithyhttp.Response) ([]byte, error) {
	w.body.Reset()
	if n := resp.ContentLength; n > 0 && n <= largestKept-bytes.MinRead {
		w.body.Grow(int(n) + bytes.MinRead)
	}
	if _, err := w.body.ReadFrom(resp.Body); err != nil {
		return nil, err
	}
	return w.body.Bytes(), nil
}

// decodeJSON is false if the SDK's decoder must decide; then out was not touched.
func (w *scratch) decodeJSON(body []byte, out smithy.Deserializable) bool {
	s := &jsonScanner{b: body, text: w.text[:0]}
	defer func() { w.text = s.text }()
	switch v := out.(type) {
	case *kinesis.GetRecordsOutput:
		p := page{records: w.records[:0]}
		p.readJSON(s)
		w.records = p.records
		return !s.bad && p.fill(body, s.text, v)
	case *kinesis.PutRecordsOutput:
		a := putAnswer{results: w.results[:0]}
		a.readJSON(s)
		w.results = a.results
		if !s.bad {
			a.fill(s.text, v)
		}
	}
	return !s.bad
}

// decodeCBOR fills out, or says that body is not what the service sends.
func (w *scratch) decodeCBOR(body []byte, out smithy.Deserializable) error {
	s := &cborScanner{b: body, text: w.text[:0]}
	defer func() { w.text = s.text }()
	switch v := out.(type) {
	case *kinesis.GetRecordsOutput:
		p := page{raw: true, records: w.records[:0]}
		p.readCBOR(s)
		w.records = p.records
		if !s.bad && !p.fill(body, s.text, v) {
			s.bad = true
		}
	case *kinesis.PutRecordsOutput:
		a := putAnswer{results: w.results[:0]}
		a.readCBOR(s)
		w.results = a.results
		if !s.bad {
			a.fill(s.text, v)
		}
	}
	if s.bad {
		return fmt.Errorf("answer of %d bytes is no CBOR of %T at byte %d", len(body), out, s.i)
	}
	return nil
}
