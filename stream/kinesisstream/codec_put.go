package kinesisstream

import (
	"encoding/base64"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

// appendPutJSON writes a request byte for byte as the SDK does, behind b.
func appendPutJSON(b []byte, in *kinesis.PutRecordsInput) []byte {
	if need := putSize(in); cap(b)-len(b) < need {
		b = append(make([]byte, 0, len(b)+need), b...)
	}
	begin := len(b) + 1
	b = append(b, '{')
	if in.DryRun != nil {
		b = appendName(b, begin, "DryRun")
		b = append(b, boolText(*in.DryRun)...)
	}
	if in.Records != nil {
		b = append(appendName(b, begin, "Records"), '[')
		for i := range in.Records {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendEntryJSON(b, &in.Records[i])
		}
		b = append(b, ']')
	}
	b = appendMember(b, begin, "StreamARN", in.StreamARN)
	b = appendMember(b, begin, "StreamId", in.StreamId)
	b = appendMember(b, begin, "StreamName", in.StreamName)
	return append(b, '}')
}

// putSize is enough for a request unless its keys need many escapes.
func putSize(in *kinesis.PutRecordsInput) int {
	n := 256 + length(in.StreamARN) + length(in.StreamId) + length(in.StreamName)
	for i := range in.Records {
		r := &in.Records[i]
		n += base64.StdEncoding.EncodedLen(len(r.Data)) + length(r.PartitionKey) + length(r.ExplicitHashKey) + 64
	}
	return n
}

func length(s *string) int {
	if s == nil {
		return 0
	}
	return len(*s)
}

func boolText(v bool) string {
	if v {
		return "true"
	}
	return "false"
}

func appendEntryJSON(b []byte, r *types.PutRecordsRequestEntry) []byte {
	begin := len(b) + 1
	b = append(b, '{')
	if r.Data != nil {
		b = append(b, `"Data":"`...)
		b = append(appendBase64(b, r.Data), '"')
	}
	b = appendMember(b, begin, "ExplicitHashKey", r.ExplicitHashKey)
	b = appendMember(b, begin, "PartitionKey", r.PartitionKey)
	return append(b, '}')
}

// appendName writes the name of a member of the object whose members begin at begin.
func appendName(b []byte, begin int, name string) []byte {
	if len(b) > begin {
		b = append(b, ',')
	}
	return append(append(append(b, '"'), name...), `":`...)
}

func appendMember(b []byte, begin int, name string, value *string) []byte {
	if value == nil {
		return b
	}
	return appendString(appendName(b, begin, name), *value)
}

// appendString quotes a string. Bytes that are no UTF-8 become U+FFFD, which the service
// would refuse otherwise.
func appendString(b []byte, v string) []byte {
	b = append(b, '"')
	done := 0
	for i := 0; i < len(v); {
		if c := v[i]; c >= 0x20 && c < 0x7f && c != '"' && c != '\\' {
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(v[i:])
		if r >= utf8.RuneSelf && r != '\u2028' && r != '\u2029' && (r != utf8.RuneError || n > 1) {
			i += n
			continue
		}
		b = appendEscape(append(b, v[done:i]...), r)
		i += n
		done = i
	}
	return append(append(b, v[done:]...), '"')
}

func appendEscape(b []byte, r rune) []byte {
	const hex = "0123456789abcdef"
	switch r {
	case '"', '\\':
		return append(b, '\\', byte(r))
	case '\n':
		return append(b, `\n`...)
	case '\r':
		return append(b, `\r`...)
	case '\t':
		return append(b, `\t`...)
	case utf8.RuneError:
		return utf8.AppendRune(b, r)
	}
	return append(b, '\\', 'u', hex[r>>12], hex[r>>8&15], hex[r>>4&15], hex[r&15])
}

// resultSpans says where in the text the parts of one result are.
type resultSpans struct {
	sequence, shard, code, message span
	has                            uint8
}

// What a result has.
const (
	hasNumber = 1 << iota
	hasShard
	hasCode
	hasMessage
)

// A putAnswer is one answer of PutRecords while it is decoded.
type putAnswer struct {
	results    []resultSpans
	listed     bool
	failed     int64
	hasFailed  bool
	encryption span
}

func (a *putAnswer) readJSON(s *jsonScanner) {
	s.expect('{')
	for n := 0; s.more(n, '}'); n++ {
		name := s.name()
		if s.null() {
			continue
		}
		switch string(name) {
		case "Records":
			a.listed, a.results = true, a.results[:0]
			a.readResults(s)
		case "FailedRecordCount":
			a.hasFailed, a.failed = true, s.natural()
			s.bad = s.bad || a.failed > 1<<31-1
		case "EncryptionType":
			a.encryption = s.keep()
		default:
			s.skip(0)
		}
	}
}

func (a *putAnswer) readResults(s *jsonScanner) {
	s.expect('[')
	for n := 0; s.more(n, ']'); n++ {
		if n == maxPutRecords {
			s.bad = true // more than were asked for
			return
		}
		a.results = append(a.results, resultSpans{})
		if !s.null() {
			a.results[n].readJSON(s)
		}
	}
}

func (r *resultSpans) readJSON(s *jsonScanner) {
	s.expect('{')
	for n := 0; s.more(n, '}'); n++ {
		name := s.name()
		if s.null() {
			continue
		}
		if at, bit := r.field(string(name)); at != nil {
			r.has |= bit
			*at = s.keep()
		} else {
			s.skip(0)
		}
	}
}

// field is where a member of a result goes, nil for one that nobody knows.
func (r *resultSpans) field(name string) (*span, uint8) {
	switch name {
	case "SequenceNumber":
		return &r.sequence, hasNumber
	case "ShardId":
		return &r.shard, hasShard
	case "ErrorCode":
		return &r.code, hasCode
	case "ErrorMessage":
		return &r.message, hasMessage
	}
	return nil, 0
}

// fill makes out of an answer: one piece of memory holds all strings.
func (a *putAnswer) fill(text []byte, out *kinesis.PutRecordsOutput) {
	texts := string(text)
	out.EncryptionType = types.EncryptionType(a.encryption.in(texts))
	if a.hasFailed {
		failed := int32(a.failed)
		out.FailedRecordCount = &failed
	}
	if !a.listed {
		return
	}
	out.Records = make([]types.PutRecordsResultEntry, len(a.results))
	held := make([]struct{ sequence, shard, code, message string }, len(a.results))
	for i := range a.results {
		r, h, o := &a.results[i], &held[i], &out.Records[i]
		for _, f := range []struct {
			bit uint8
			at  span
			dst *string
			out **string
		}{
			{hasNumber, r.sequence, &h.sequence, &o.SequenceNumber},
			{hasShard, r.shard, &h.shard, &o.ShardId},
			{hasCode, r.code, &h.code, &o.ErrorCode},
			{hasMessage, r.message, &h.message, &o.ErrorMessage},
		} {
			if r.has&f.bit != 0 {
				*f.dst = f.at.in(texts)
				*f.out = f.dst
			}
		}
	}
}
