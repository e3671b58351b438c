package kinesistest

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/fxamacker/cbor/v2"
)

const (
	jsonType     = "application/x-amz-json-1.1"
	cborType     = "application/x-amz-cbor-1.1"
	targetPrefix = "Kinesis_20131202."
	// maxBody bounds a request: 10 MiB in base64, with room for the rest.
	maxBody = 20 << 20
)

// request is one call under way.
type request struct {
	srv   *Server
	now   int64 // unix ms, when the operation began
	cbor  bool
	known bool // operation and caller are known: errors speak the request's codec
	call  Call
	fault Fault
	event Event
	// answering is called when the answer is about to be sent; nil if nobody waits for it.
	answering func()
}

// input is a decoded request: it says what it is about, and can be carried out.
type input interface {
	// describe fills in Stream, Shard and, if entries are wanted, Entries.
	describe(s *Server, c *Call, entries bool)
	// run carries the operation out and returns what is to be encoded; nil for an empty
	// body.
	run(r *request) (any, *Error)
}

// direct is an output or input with its own fast codec.
type direct interface {
	appendJSON(b []byte) []byte
	appendCBOR(b []byte) []byte
}

type decoder interface {
	decodeJSON(body []byte) error
	decodeCBOR(body []byte) error
}

// releaser gives buffers back once the answer is written.
type releaser interface{ release() }

// buffer returns an empty buffer, to be given back with s.buffers.Put.
func (s *Server) buffer() *bytes.Buffer {
	b, ok := s.buffers.Get().(*bytes.Buffer)
	if !ok {
		return new(bytes.Buffer)
	}
	b.Reset()
	return b
}

// ServeHTTP answers one request, as the socket does: for tests that want to put a proxy or
// a middleware of their own in front. Connections can only be cut if w can be hijacked.
func (s *Server) ServeHTTP(w http.ResponseWriter, hr *http.Request) {
	begin := time.Now()
	body := s.buffer()
	defer s.buffers.Put(body)
	// The whole body is read before anything else: a client whose request is cut off in
	// the middle of sending it sees another error than the one meant for it.
	if _, err := io.Copy(body, io.LimitReader(hr.Body, maxBody+1)); err != nil || !s.enter() {
		cut(w)
		return
	}
	defer s.calls.Done()
	r := &request{srv: s, cbor: isCBOR(hr), now: s.nowMs()}
	if body.Len() > maxBody {
		s.answerError(w, r, &Error{413, "RequestEntityTooLargeException", ""})
		return
	}
	in, err := s.accept(hr, r, body.Bytes())
	if rel, ok := in.(releaser); ok {
		defer rel.release()
	}
	if err != nil {
		s.latency(hr.Context(), begin)
		s.answerError(w, r, err)
		return
	}
	s.perform(w, hr, r, in, begin)
}

// isCBOR says which codec a request speaks.
func isCBOR(hr *http.Request) bool {
	kind, _, _ := strings.Cut(hr.Header.Get("Content-Type"), ";")
	return strings.EqualFold(strings.TrimSpace(kind), cborType)
}

// accept finds out what a request wants and who sent it, and decodes it. On an error the
// input may still be there, to be released.
func (s *Server) accept(hr *http.Request, r *request, body []byte) (input, *Error) {
	op, ok := strings.CutPrefix(hr.Header.Get("X-Amz-Target"), targetPrefix)
	in := s.newInput(op)
	if hr.Method != http.MethodPost || !ok || in == nil {
		return nil, &Error{400, "UnknownOperationException", ""}
	}
	r.call.Op = op
	r.call.N = s.events.begin(op)
	if err := s.authenticate(hr, r); err != nil {
		return in, err
	}
	r.known = true
	if err := r.decode(body, in); err != nil {
		return in, &Error{400, "SerializationException", err.Error()}
	}
	fault, deny := s.hooks()
	in.describe(s, &r.call, fault != nil || deny != nil)
	if deny != nil && deny(r.call) {
		return in, s.denied(r)
	}
	if fault != nil {
		r.fault = fault(r.call)
	}
	return in, nil
}

// authenticate reads the signature's scope. Any credentials are good; none are not.
func (s *Server) authenticate(hr *http.Request, r *request) *Error {
	auth := hr.Header.Get("Authorization")
	if auth == "" {
		return &Error{400, "MissingAuthenticationTokenException", "Missing Authentication Token"}
	}
	_, scope, ok := strings.Cut(auth, "Credential=")
	scope, _, _ = strings.Cut(scope, ",")
	parts := strings.Split(strings.TrimSpace(scope), "/")
	if !strings.HasPrefix(auth, "AWS4-") || !ok || len(parts) < 5 {
		return &Error{400, "IncompleteSignatureException", "Authorization header requires 'Credential' parameter."}
	}
	// The access key may hold slashes; what follows it has a fixed form.
	n := len(parts)
	r.call.AccessKeyID, r.call.Region = strings.Join(parts[:n-4], "/"), parts[n-3]
	if s.cfg.StrictRegion && r.call.Region != s.cfg.Region {
		return &Error{400, "InvalidSignatureException",
			"Credential should be scoped to a valid region, not '" + r.call.Region + "'. "}
	}
	return nil
}

func (s *Server) denied(r *request) *Error {
	return AccessDenied("User: arn:aws:iam::" + s.cfg.Account + ":user/" + r.call.AccessKeyID +
		" is not authorized to perform: kinesis:" + r.call.Op + " on resource: arn:aws:kinesis:" +
		s.cfg.Region + ":" + s.cfg.Account + ":stream/" + r.call.Stream +
		" because no identity-based policy allows the kinesis:" + r.call.Op + " action")
}

// decode reads the body into the input. An empty body is an empty object.
func (r *request) decode(body []byte, in input) error {
	if len(body) == 0 {
		if r.cbor {
			body = []byte{0xa0}
		} else {
			body = []byte("{}")
		}
	}
	d, own := in.(decoder)
	switch {
	case own && r.cbor:
		return d.decodeCBOR(body)
	case own:
		return d.decodeJSON(body)
	case r.cbor:
		return cbor.Unmarshal(body, in)
	}
	return json.Unmarshal(body, in)
}

// perform carries out an accepted call, with its fault.
func (s *Server) perform(w http.ResponseWriter, hr *http.Request, r *request, in input, begin time.Time) {
	f := &r.fault
	r.event.Faulted = !f.isZero()
	if !s.hold(f.Delay, f.Wait) || f.Cut {
		r.event.Cut = true
		s.finish(r)
		cut(w)
		return
	}
	if f.Error != nil {
		s.latency(hr.Context(), begin)
		s.answerError(w, r, f.Error)
		return
	}
	r.event.Gone = hr.Context().Err() != nil
	r.now = s.nowMs()
	var out any
	err := r.throttleControl()
	if err == nil {
		out, err = in.run(r)
	}
	s.latency(hr.Context(), begin)
	held := s.hold(f.LateDelay, f.LateWait)
	if r.answering != nil {
		r.answering()
	}
	if !held || f.LateCut {
		r.event.Cut, r.event.Late = true, err == nil
		s.finish(r)
		cut(w)
		return
	}
	if err == nil && f.LateError != nil {
		r.event.Late, err = true, f.LateError
	}
	if err != nil {
		s.answerError(w, r, err)
		return
	}
	s.answer(w, r, out)
}

func (r *request) throttleControl() *Error {
	if r.srv.controlLimit(r.call.Op, r.call.Stream, r.now) {
		return nil
	}
	return limitExceeded("Rate exceeded for %s under account %s.", r.call.Op, r.srv.cfg.Account)
}

// answer encodes and sends a result.
func (s *Server) answer(w http.ResponseWriter, r *request, out any) {
	if rel, ok := out.(releaser); ok {
		defer rel.release()
	}
	buf := s.buffer()
	defer s.buffers.Put(buf)
	if err := r.encode(buf, out); err != nil {
		s.cfg.Logger.Error("encode answer", "op", r.call.Op, "error", err)
		s.answerError(w, r, InternalFailure())
		return
	}
	s.send(w, r, 200, r.cbor, buf.Bytes())
}

func (r *request) encode(buf *bytes.Buffer, out any) error {
	if out == nil {
		return nil
	}
	var b []byte
	var err error
	d, own := out.(direct)
	switch {
	case own && r.cbor:
		b = d.appendCBOR(buf.AvailableBuffer())
	case own:
		b = d.appendJSON(buf.AvailableBuffer())
	case r.cbor:
		b, err = cbor.Marshal(out)
	default:
		b, err = json.Marshal(out)
	}
	if err != nil {
		return err
	}
	buf.Write(b)
	return nil
}

// answerError sends an error. Errors of operations speak the codec of the request; what is
// refused before an operation is reached is told in JSON, whatever was asked.
func (s *Server) answerError(w http.ResponseWriter, r *request, e *Error) {
	r.event.Error = e.Type
	body := map[string]string{"__type": e.Type}
	if e.Message != "" {
		body["message"] = e.Message
	}
	var b []byte
	var err error
	useCBOR := r.cbor && r.known
	if useCBOR {
		b, err = cbor.Marshal(body)
	} else {
		b, err = json.Marshal(body)
	}
	if err != nil {
		s.cfg.Logger.Error("encode error", "op", r.call.Op, "error", err)
	}
	s.send(w, r, e.Status, useCBOR, b)
}

// send writes an answer, or as much of it as a fault leaves.
func (s *Server) send(w http.ResponseWriter, r *request, status int, inCBOR bool, body []byte) {
	h := w.Header()
	h.Set("Content-Type", jsonType)
	if inCBOR {
		h.Set("Content-Type", cborType)
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("X-Amzn-Requestid", requestID())
	h.Set("Date", s.Now().UTC().Format(http.TimeFormat))
	if r.fault.Truncate {
		r.event.Cut, r.event.Late = true, r.event.Error == ""
	}
	s.finish(r)
	w.WriteHeader(status)
	if !r.fault.Truncate {
		// A client that has hung up is its own affair.
		_, _ = w.Write(body)
		return
	}
	_, _ = w.Write(body[:len(body)/2])
	_ = http.NewResponseController(w).Flush()
	cut(w)
}

// cut closes the connection of a request.
func cut(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return // the server is closing, or the connection has gone
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		// A reset rather than an orderly end: what a broken network looks like.
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// finish writes down what becomes of a request, before the client can know: a test that has
// its answer finds the event in the log.
func (s *Server) finish(r *request) {
	if r.call.Op == "" {
		return
	}
	e := &r.event
	e.Time = s.Now()
	e.Op, e.N, e.Stream, e.Shard = r.call.Op, r.call.N, r.call.Stream, r.call.Shard
	s.events.add(*e)
	s.cfg.Logger.Debug("kinesis", "op", e.Op, "stream", e.Stream, "shard", e.Shard,
		"stored", e.Stored, "failed", e.Failed, "served", e.Served, "error", e.Error)
}

// requestID is a random UUID.
func requestID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails; see crypto/rand
	b[6], b[8] = b[6]&0xf|0x40, b[8]&0x3f|0x80
	var out [36]byte
	hex.Encode(out[:8], b[:4])
	hex.Encode(out[9:13], b[4:6])
	hex.Encode(out[14:18], b[6:8])
	hex.Encode(out[19:23], b[8:10])
	hex.Encode(out[24:], b[10:])
	out[8], out[13], out[18], out[23] = '-', '-', '-', '-'
	return string(out[:])
}

// errBody says that a body is not what the operation takes.
var errBody = errors.New("malformed request body")
