package bridge

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// A Position is the place of one record in one partition. Positions of one partition are
// ordered by Compare; those of two partitions are not comparable. The zero Position is
// before the oldest record.
type Position struct {
	// Seq is a Kinesis sequence number or a Kafka offset: decimal digits, exactly as the
	// service gave them. A Kinesis number has up to 56 digits and does not fit 128 bits.
	Seq string
	// Sub is the index of a user record in an aggregated Kinesis record, from 0.
	Sub uint32
}

// OffsetPosition is the position of the record at a Kafka offset. A negative offset is
// before the oldest record.
func OffsetPosition(offset int64) Position {
	if offset < 0 {
		return Position{}
	}
	return Position{Seq: strconv.FormatInt(offset, 10)}
}

// Offset is the Kafka offset that p stands for, -1 for the zero Position. It is an error
// if Seq is not a decimal number below 2^63.
func (p Position) Offset() (int64, error) {
	if p.IsZero() {
		return -1, nil
	}
	n, err := strconv.ParseInt(p.Seq, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("position %q is not an offset: %w", p.Seq, ErrForeignPosition)
	}
	return n, nil
}

// IsZero reports whether p is before the oldest record.
func (p Position) IsZero() bool { return p.Seq == "" }

// Compare is negative if p is before q, positive if it is behind it. It compares numbers
// of any length as numbers.
func (p Position) Compare(q Position) int {
	a, b := p.Seq, q.Seq
	if len(a) != len(b) {
		a, b = trimZeros(a), trimZeros(b)
	}
	if c := cmp.Compare(len(a), len(b)); c != 0 {
		return c
	}
	if c := strings.Compare(a, b); c != 0 {
		return c
	}
	// "" and "0" differ: the first offset of a partition is behind its beginning.
	if c := cmp.Compare(min(len(p.Seq), 1), min(len(q.Seq), 1)); c != 0 {
		return c
	}
	return cmp.Compare(p.Sub, q.Sub)
}

// Clone is p without what it may be a part of: the positions of a page can share its memory,
// which a position that is kept would keep, too.
func (p Position) Clone() Position {
	p.Seq = strings.Clone(p.Seq)
	return p
}

// After reports whether p is behind q.
func (p Position) After(q Position) bool { return p.Compare(q) > 0 }

// String is "seq" or "seq/sub", and "-" for the zero Position.
func (p Position) String() string {
	switch {
	case p.IsZero():
		return "-"
	case p.Sub == 0:
		return p.Seq
	}
	return p.Seq + "/" + strconv.FormatUint(uint64(p.Sub), 10)
}

// ParsePosition reads what String wrote.
func ParsePosition(s string) (Position, error) {
	if s == "-" || s == "" {
		return Position{}, nil
	}
	seq, sub, found := strings.Cut(s, "/")
	if seq == "" || !isDecimal(seq) || len(seq) > maxSeqDigits {
		return Position{}, fmt.Errorf("position %q: %w", s, ErrForeignPosition)
	}
	p := Position{Seq: seq}
	if found {
		n, err := strconv.ParseUint(sub, 10, 32)
		if err != nil {
			return Position{}, fmt.Errorf("position %q: %w", s, ErrForeignPosition)
		}
		p.Sub = uint32(n)
	}
	return p, nil
}

// maxSeqDigits bounds what is accepted as a sequence number; the longest known has 56.
const maxSeqDigits = 128

func isDecimal(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

func trimZeros(s string) string {
	for len(s) > 0 && s[0] == '0' {
		s = s[1:]
	}
	return s
}

// MarshalText makes a Position a string in JSON, as sequence numbers must be.
func (p Position) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (p *Position) UnmarshalText(b []byte) error {
	q, err := ParsePosition(string(b))
	if err == nil {
		*p = q
	}
	return err
}

// An Identity names one stream or topic for good: deleting it and creating it anew under
// the same name gives another Identity.
type Identity struct {
	// Name is "kinesis:" and the stream ARN, or "kafka:" and the cluster id, a slash and
	// the topic.
	Name string `json:"name"`
	// Incarnation is the creation time of a stream in Unix milliseconds, or a topic id.
	Incarnation string `json:"incarnation"`
}

// IsZero reports whether i names nothing.
func (i Identity) IsZero() bool { return i == Identity{} }

// String is the name and the incarnation, joined by "@".
func (i Identity) String() string { return i.Name + "@" + i.Incarnation }

// A Coordinate says where a record stood in its source: the identity of the whole
// stream, the partition, and the position there.
type Coordinate struct {
	// Stream is the String of the source's Identity. Decoded from a header whose source
	// is not known to the decoder it is "#" and eight hexadecimal digits.
	Stream    string
	Partition string
	Position  Position
}

// IsZero reports whether c names no record.
func (c Coordinate) IsZero() bool { return c == Coordinate{} }

// String is for people: stream, partition and position, separated by spaces.
func (c Coordinate) String() string {
	return c.Stream + " " + c.Partition + " " + c.Position.String()
}
