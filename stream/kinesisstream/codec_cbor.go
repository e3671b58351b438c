package kinesisstream

import (
	"math"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

// Major types of CBOR (RFC 8949), and what else is met here.
const (
	cborUint = iota
	cborNegative
	cborBytes
	cborText
	cborArray
	cborMap
	cborTag
	cborSimple

	cborNull  = 0xf6
	cborBreak = 0xff
	// endless is the length of what has none and ends with a break.
	endless = math.MaxInt64
)

// appendHead writes the head of an item.
func appendHead(b []byte, major byte, n uint64) []byte {
	major <<= 5
	switch {
	case n < 24:
		return append(b, major|byte(n))
	case n < 1<<8:
		return append(b, major|24, byte(n))
	case n < 1<<16:
		return append(b, major|25, byte(n>>8), byte(n))
	case n < 1<<32:
		return append(b, major|26, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	return append(b, major|27, byte(n>>56), byte(n>>48), byte(n>>40), byte(n>>32), byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
}

func appendText(b []byte, s string) []byte {
	return append(appendHead(b, cborText, uint64(len(s))), s...)
}

// appendPair writes a member that has a value, and counts it.
func appendPair(b []byte, fields *int, name string, value *string) []byte {
	if value == nil {
		return b
	}
	*fields++
	return appendText(appendText(b, name), *value)
}

func appendBool(b []byte, fields *int, name string, value *bool) []byte {
	if value == nil {
		return b
	}
	*fields++
	b = appendText(b, name)
	if *value {
		return append(b, 0xf5)
	}
	return append(b, 0xf4)
}

// appendGetCBOR writes a GetRecords.
func appendGetCBOR(b []byte, in *kinesis.GetRecordsInput) []byte {
	at, fields := len(b), 0
	b = append(b, 0) // a map of less than 24 members has a head of one byte
	b = appendBool(b, &fields, "DryRun", in.DryRun)
	if in.Limit != nil {
		fields++
		b = appendText(b, "Limit")
		if n := int64(*in.Limit); n < 0 {
			b = appendHead(b, cborNegative, uint64(-1-n))
		} else {
			b = appendHead(b, cborUint, uint64(n))
		}
	}
	b = appendPair(b, &fields, "ShardIterator", in.ShardIterator)
	b = appendPair(b, &fields, "StreamARN", in.StreamARN)
	b = appendPair(b, &fields, "StreamId", in.StreamId)
	b[at] = cborMap<<5 | byte(fields)
	return b
}

// appendPutCBOR writes a PutRecords.
func appendPutCBOR(b []byte, in *kinesis.PutRecordsInput) []byte {
	if need := putSize(in); cap(b)-len(b) < need {
		b = append(make([]byte, 0, len(b)+need), b...)
	}
	at, fields := len(b), 0
	b = append(b, 0)
	b = appendBool(b, &fields, "DryRun", in.DryRun)
	if in.Records != nil {
		fields++
		b = appendHead(appendText(b, "Records"), cborArray, uint64(len(in.Records)))
		for i := range in.Records {
			b = appendEntryCBOR(b, &in.Records[i])
		}
	}
	b = appendPair(b, &fields, "StreamARN", in.StreamARN)
	b = appendPair(b, &fields, "StreamId", in.StreamId)
	b = appendPair(b, &fields, "StreamName", in.StreamName)
	b[at] = cborMap<<5 | byte(fields)
	return b
}

func appendEntryCBOR(b []byte, r *types.PutRecordsRequestEntry) []byte {
	at, fields := len(b), 0
	b = append(b, 0)
	if r.Data != nil {
		fields++
		b = append(appendHead(appendText(b, "Data"), cborBytes, uint64(len(r.Data))), r.Data...)
	}
	b = appendPair(b, &fields, "ExplicitHashKey", r.ExplicitHashKey)
	b = appendPair(b, &fields, "PartitionKey", r.PartitionKey)
	b[at] = cborMap<<5 | byte(fields)
	return b
}

// A cborScanner takes items off a CBOR text; bad says that it met what cannot be. Once it
// is bad it moves no further.
type cborScanner struct {
	b    []byte
	i    int
	text []byte // the strings that were kept
	bad  bool
}

// head takes the head of an item. A length is never more than what is left.
func (s *cborScanner) head() (major byte, n uint64) {
	if s.bad || s.i == len(s.b) {
		s.bad = true
		return cborSimple, 0
	}
	c := s.b[s.i]
	s.i++
	major = c >> 5
	switch n = uint64(c & 31); {
	case n < 24:
	case n == 31 && (major >= cborText && major <= cborMap || major == cborBytes):
		return major, endless
	case n > 27:
		s.bad = true
	default:
		size := 1 << (n - 24)
		n = 0
		for range size {
			if s.i == len(s.b) {
				s.bad = true
				return major, 0
			}
			n = n<<8 | uint64(s.b[s.i])
			s.i++
		}
	}
	if (major == cborBytes || major == cborText || major == cborArray || major == cborMap) && n > uint64(len(s.b)-s.i) {
		s.bad = true
	}
	return major, n
}

// begin takes the head of an array or map and returns how many items follow.
func (s *cborScanner) begin(want byte) uint64 {
	major, n := s.head()
	s.bad = s.bad || major != want
	return n
}

// more reports whether an i-th item of n follows.
func (s *cborScanner) more(i, n uint64) bool {
	if s.bad || i >= n {
		return false
	}
	if n == endless && s.i < len(s.b) && s.b[s.i] == cborBreak {
		s.i++
		return false
	}
	return true
}

// null takes a null, if one follows.
func (s *cborScanner) null() bool {
	if s.bad || s.i == len(s.b) || s.b[s.i] != cborNull {
		return false
	}
	s.i++
	return true
}

// bytes takes a string of the given major type in one piece.
func (s *cborScanner) bytes(want byte) span {
	major, n := s.head()
	if s.bad || major != want || n == endless {
		s.bad = true
		return span{}
	}
	at := span{s.i, s.i + int(n)}
	s.i = at.to
	return at
}

func (s *cborScanner) name() []byte { return s.bytes(cborText).of(s.b) }

// keep takes a text, in one piece or several, and appends it to those that are kept.
func (s *cborScanner) keep() span {
	from := len(s.text)
	if s.i < len(s.b) && s.b[s.i] == cborText<<5|31 {
		s.i++
		for n := uint64(0); s.more(n, endless); n++ {
			s.keepPiece()
		}
	} else {
		s.keepPiece()
	}
	return span{from, len(s.text)}
}

func (s *cborScanner) keepPiece() {
	at := s.bytes(cborText)
	s.text = append(s.text, at.of(s.b)...)
	s.bad = s.bad || !utf8.Valid(at.of(s.b))
}

// integer takes a whole number.
func (s *cborScanner) integer() int64 {
	major, n := s.head()
	if n > math.MaxInt64 || major > cborNegative {
		s.bad = true
	}
	if major == cborNegative {
		return -1 - int64(n)
	}
	return int64(n)
}

// millis takes a time as the service sends it: whole milliseconds, in spite of the tag 1
// around them.
func (s *cborScanner) millis() int64 {
	if s.i < len(s.b) && s.b[s.i] == cborTag<<5|1 {
		s.i++
	}
	return s.integer()
}

// skip takes one item of any kind.
func (s *cborScanner) skip(depth int) {
	if depth > deepest {
		s.bad = true
	}
	major, n := s.head()
	switch {
	case s.bad:
	case major == cborTag:
		s.skip(depth + 1)
	case major == cborArray || major == cborMap:
		for i := uint64(0); s.more(i, n); i++ {
			if s.skip(depth + 1); major == cborMap {
				s.skip(depth + 1)
			}
		}
	case n == endless && (major == cborBytes || major == cborText):
		for i := uint64(0); s.more(i, n); i++ {
			s.bytes(major)
		}
	case major == cborBytes || major == cborText:
		s.i += int(n)
	}
}
