package kinesisstream

import (
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

// What of a value an answer has; what it does not have is nil.
const (
	hasSequence = 1 << iota
	hasKey
	hasData
	hasArrival
)

// recordSpans says where the parts of a record are: its data in the body, the rest in the
// text.
type recordSpans struct {
	sequence, key, encryption, data span
	arrival                         int64 // ms since 1970
	has                             uint8
}

// A page is one answer of GetRecords while it is decoded.
type page struct {
	raw         bool // data stands in the body as it is, else in base64
	records     []recordSpans
	listed      bool // there is a list, which may be empty
	next        span
	hasNext     bool
	behind      int64
	hasBehind   bool
	childShards []types.ChildShard
}

func (p *page) readJSON(s *jsonScanner) {
	s.expect('{')
	for n := 0; s.more(n, '}'); n++ {
		name := s.name()
		if s.null() {
			continue
		}
		switch string(name) {
		case "Records":
			s.bad = s.bad || p.listed // whether the first list was good would not be known
			p.listed = true
			p.readRecords(s)
		case "NextShardIterator":
			p.hasNext, p.next = true, s.keep()
		case "MillisBehindLatest":
			p.hasBehind, p.behind = true, s.natural()
		case "ChildShards":
			s.bad = true // once in the life of a shard: not worth a decoder
		default:
			s.skip(0)
		}
	}
}

func (p *page) readRecords(s *jsonScanner) {
	s.expect('[')
	for n := 0; s.more(n, ']'); n++ {
		if n == maxRecords {
			s.bad = true // more than the service gives
			return
		}
		p.records = append(p.records, recordSpans{})
		if !s.null() {
			p.records[n].readJSON(s)
		}
	}
}

func (r *recordSpans) readJSON(s *jsonScanner) {
	s.expect('{')
	for n := 0; s.more(n, '}'); n++ {
		name := s.name()
		if s.null() {
			continue
		}
		switch string(name) {
		case "SequenceNumber":
			r.has, r.sequence = r.has|hasSequence, s.keep()
		case "PartitionKey":
			r.has, r.key = r.has|hasKey, s.keep()
		case "Data":
			s.bad = s.bad || r.has&hasData != 0
			r.has, r.data = r.has|hasData, s.quoted()
		case "ApproximateArrivalTimestamp":
			r.has, r.arrival = r.has|hasArrival, s.millis()
		case "EncryptionType":
			r.encryption = s.keep()
		default:
			s.skip(0)
		}
	}
}

// dataLen is how many bytes src stands for, if it can be decoded.
func (p *page) dataLen(src []byte) int {
	n, pad := len(src), 0
	if p.raw {
		return n
	}
	for pad < 2 && pad < n && src[n-1-pad] == '=' {
		pad++
	}
	return max(n/4*3-pad, 0)
}

// decode is false if src is not exactly what an encoder writes without line breaks: the
// decoder skips those, but a string of JSON must not hold them.
func (p *page) decode(dst, src []byte) bool {
	if p.raw {
		copy(dst, src)
		return true
	}
	if len(src)%4 != 0 {
		return false
	}
	n, err := decodeBase64(dst, src)
	return err == nil && n == len(dst)
}

// A recordTexts holds what the pointers of one record point to.
type recordTexts struct {
	sequence, key string
	arrival       time.Time
}

// fill makes out of a page: one piece of memory holds all data, one all strings. It is
// false if the data cannot be decoded; then out was not touched.
func (p *page) fill(body, text []byte, out *kinesis.GetRecordsOutput) bool {
	texts := string(text)
	var records []types.Record
	if p.listed {
		records = make([]types.Record, len(p.records))
		if !p.fillData(body, records) {
			return false
		}
		p.fillTexts(texts, records)
		out.Records = records
	}
	out.ChildShards = p.childShards
	if p.hasNext {
		next := p.next.in(texts)
		out.NextShardIterator = &next
	}
	if p.hasBehind {
		behind := p.behind
		out.MillisBehindLatest = &behind
	}
	return true
}

func (p *page) fillData(body []byte, records []types.Record) bool {
	size := 0
	for i := range p.records {
		size += p.dataLen(p.records[i].data.of(body))
	}
	arena := make([]byte, size)
	for i := range p.records {
		r := &p.records[i]
		if r.has&hasData == 0 {
			continue
		}
		src := r.data.of(body)
		n := p.dataLen(src)
		if !p.decode(arena[:n:n], src) {
			return false
		}
		records[i].Data, arena = arena[:n:n], arena[n:]
	}
	return true
}

func (p *page) fillTexts(texts string, records []types.Record) {
	held := make([]recordTexts, len(p.records))
	for i := range p.records {
		r, h, out := &p.records[i], &held[i], &records[i]
		if r.has&hasSequence != 0 {
			h.sequence = r.sequence.in(texts)
			out.SequenceNumber = &h.sequence
		}
		if r.has&hasKey != 0 {
			h.key = r.key.in(texts)
			out.PartitionKey = &h.key
		}
		if r.has&hasArrival != 0 {
			h.arrival = time.UnixMilli(r.arrival).UTC()
			out.ApproximateArrivalTimestamp = &h.arrival
		}
		out.EncryptionType = types.EncryptionType(r.encryption.in(texts))
	}
}
