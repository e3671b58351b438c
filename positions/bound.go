package positions

import (
	"fmt"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
)

// A Bound says which records of one partition are consumed: those before At, and the one
// at At too if Done. The zero Bound says none.
type Bound struct {
	At   bridge.Position `json:"at,omitzero"`
	Done bool            `json:"done,omitempty"`
	// All: the partition gets no more records, and all of them are consumed.
	All bool `json:"all,omitempty"`
	// Until, if not zero, is meant instead of At: records that arrived before this time
	// are consumed.
	Until time.Time `json:"until,omitzero"`
}

// Through is the bound of a consumer that has consumed the record at p and all before it.
func Through(p bridge.Position) Bound { return Bound{At: p, Done: !p.IsZero()} }

// Next is the bound of a consumer whose next record is the one at p.
func Next(p bridge.Position) Bound { return Bound{At: p} }

// Offset is the bound of a Kafka consumer whose next record is the one at offset n.
func Offset(n int64) Bound { return Through(bridge.OffsetPosition(n - 1)) }

// Everything is the bound of a partition that was consumed to its end.
func Everything() Bound { return Bound{All: true} }

// IsZero reports whether nothing is consumed.
func (b Bound) IsZero() bool { return !b.All && b.Until.IsZero() && b.At.IsZero() }

// Covers reports whether the record at p is consumed. It is false for a bound by time,
// which says nothing about positions.
func (b Bound) Covers(p bridge.Position) bool {
	if b.All {
		return true
	}
	if !b.Until.IsZero() || b.At.IsZero() {
		return false
	}
	c := p.Compare(b.At)
	return c < 0 || c == 0 && b.Done
}

// Consumed reports whether the whole of e is consumed, by a bound of its source.
func (b Bound) Consumed(e Entry) bool {
	if !b.Until.IsZero() {
		return e.Time.Before(b.Until)
	}
	return b.Covers(e.last())
}

// Before reports whether b consumes less than o, as far as positions tell.
func (b Bound) Before(o Bound) bool {
	switch {
	case b.All || o.All:
		return !b.All
	case b.At.Compare(o.At) != 0:
		return o.At.After(b.At)
	}
	return !b.Done && o.Done
}

// Offset is the offset of the next record of a Kafka partition. It is an error if b is
// not a bound of one.
func (b Bound) Offset() (int64, error) {
	n, err := b.At.Offset()
	switch {
	case err != nil:
		return 0, err
	case b.All || !b.Until.IsZero():
		return 0, fmt.Errorf("bound %s is not an offset: %w", b, bridge.ErrForeignPosition)
	case b.Done || n < 0:
		return n + 1, nil
	}
	return n, nil
}

// String is for people.
func (b Bound) String() string {
	switch {
	case b.All:
		return "its end"
	case !b.Until.IsZero():
		return "before " + b.Until.UTC().Format(time.RFC3339Nano)
	case b.At.IsZero():
		return "nothing"
	case b.Done:
		return "through " + b.At.String()
	}
	return "before " + b.At.String()
}

// Cut is b in the form that package filter reads, empty if it drops nothing.
func (b Bound) Cut() string {
	switch {
	case b.All:
		return "end"
	case !b.Until.IsZero() || b.At.IsZero():
		return ""
	case b.Done:
		return b.At.String()
	}
	return "<" + b.At.String()
}

// A Frontier holds the bound of each partition of one stream. A partition that it does
// not name is not consumed at all.
type Frontier map[string]Bound
