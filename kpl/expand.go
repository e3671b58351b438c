package kpl

import (
	"errors"
	"fmt"

	"github.com/kinesis-msk-bridge/bridge"
)

// A Mode says which user records of an aggregate are delivered. The zero value is KCL.
type Mode uint8

const (
	// KCL delivers what the Kinesis Client Library delivers. If the hash key of any user
	// record is outside the shard's range, the whole aggregate is dropped: the KPL, when it
	// learns that an aggregate came to another shard than it foresaw, sends the records
	// again. At a record that cannot be decoded it is dropped with all behind it, and those
	// before it are delivered.
	KCL Mode = iota
	// KeepInRange drops the records whose hash keys are outside the shard's range and
	// those that cannot be decoded, and no others.
	KeepInRange
	// KeepAll drops only records whose key or explicit hash key is not in its table.
	KeepAll
	// Opaque delivers every Kinesis record as it is.
	Opaque
)

var modeNames = [...]string{KCL: "kcl", KeepInRange: "keep-in-range", KeepAll: "keep-all", Opaque: "opaque"}

// ParseMode reads the name of a mode: "kcl", "keep-in-range", "keep-all" or "opaque".
func ParseMode(name string) (Mode, error) {
	for m, n := range modeNames {
		if n == name {
			return Mode(m), nil
		}
	}
	return 0, fmt.Errorf("unknown aggregation mode %.40q: want kcl, keep-in-range, keep-all or opaque", name)
}

// String is the name that ParseMode reads.
func (m Mode) String() string {
	if int(m) < len(modeNames) {
		return modeNames[m]
	}
	return fmt.Sprintf("Mode(%d)", uint8(m))
}

// A Reason says why a user record is not delivered.
type Reason uint8

const (
	// OutOfRange: the record's hash key is outside the shard's range.
	OutOfRange Reason = iota + 1
	// SiblingOutOfRange: that of another record of the aggregate is, which in the mode KCL
	// drops them all.
	SiblingOutOfRange
	// BadKeyIndex: the index of the partition key or the explicit hash key points behind
	// its table.
	BadKeyIndex
	// BadHashKey: the explicit hash key is not a number.
	BadHashKey
	// BehindBad: the record stands behind one that cannot be decoded.
	BehindBad
	// TooLarge: the aggregate is beyond the Limits, and so is dropped as one record.
	TooLarge
)

var reasonTexts = [...]string{
	OutOfRange:        "hash key outside the range of the shard",
	SiblingOutOfRange: "in an aggregate with a hash key outside the range of the shard",
	BadKeyIndex:       "index of a key outside its table",
	BadHashKey:        "explicit hash key is not a number",
	BehindBad:         "behind a user record that cannot be decoded",
	TooLarge:          "aggregate beyond the limits of the decoder",
}

// String is a clause for people.
func (r Reason) String() string {
	if r > 0 && int(r) < len(reasonTexts) {
		return reasonTexts[r]
	}
	return fmt.Sprintf("Reason(%d)", uint8(r))
}

// Undecodable reports whether the record is dropped because the aggregate is damaged, and
// not by the rule of the mode.
func (r Reason) Undecodable() bool { return r >= BadKeyIndex }

func (r Reason) err(i, n int) error {
	if !r.Undecodable() {
		return nil
	}
	return fmt.Errorf("user record %d of %d: %s: %w", i, n, r, bridge.ErrUndecodable)
}

// A Drop is a user record that is not delivered.
type Drop struct {
	UserRecord
	Reason Reason
}

// An Expansion is what became of one Kinesis record. Every user record of it is in Records
// or in Drops, each in the order of Sub. Both are empty for an aggregate without records.
type Expansion struct {
	Records []UserRecord
	Drops   []Drop
	// Aggregated says that the Kinesis record is an aggregate, also in the mode Opaque.
	Aggregated bool
	// Plain is why it is not one, nil if it is; it wraps ErrPlain. Where HasMagic holds
	// nevertheless, somebody may have meant one.
	Plain error
}

// Expand turns a Kinesis record, as GetRecords returned it from a shard that owns range
// shard, into user records. The error is that of the first record that cannot be decoded,
// or ErrLimit, and wraps bridge.ErrUndecodable; the expansion is complete nevertheless,
// with such records among the drops. Slices of the expansion are slices of outerKey and
// data.
//
// In the mode Opaque the one record has Sub 0, and in Subs how many user records it holds:
// a consumer that de-aggregates is done with it at Sub = Subs − 1.
func Expand(mode Mode, shard HashRange, outerKey, data []byte) (Expansion, error) {
	return new(Decoder).Expand(mode, shard, outerKey, data)
}

// Expand is like the function of this name. The expansion is valid until the next call of
// a method of d.
func (d *Decoder) Expand(mode Mode, shard HashRange, outerKey, data []byte) (Expansion, error) {
	d.records, d.drops = reuse(d.records), reuse(d.drops)
	a, err := d.Decode(data)
	if errors.Is(err, ErrPlain) {
		d.records = append(d.records, UserRecord{Subs: 1, Key: outerKey, Data: data})
		return Expansion{Records: d.records, Plain: err}, nil
	}
	// Past the limits nothing is stored, but everything is counted.
	whole := UserRecord{Subs: uint32(d.p.found.Records), Key: outerKey, Data: data}
	switch {
	case mode == Opaque:
		d.records = append(d.records, whole)
		err = nil
	case err != nil:
		d.drops = append(d.drops, Drop{whole, TooLarge})
	case mode == KCL:
		err = d.likeKCL(a, shard)
	default:
		err = d.each(a, shard, mode)
	}
	return Expansion{Records: d.records, Drops: d.drops, Aggregated: true}, err
}

// likeKCL follows AggregatorUtil.deaggregate: it looks at one record after the other and
// stops at the first one that it does not like, so that what stands behind it no longer
// matters.
func (d *Decoder) likeKCL(a Aggregate, shard HashRange) error {
	for i := range a.Len() {
		u, reason := a.p.judge(i, shard)
		if reason == OutOfRange {
			d.dropWhole(a, shard)
			return nil
		}
		if reason != 0 {
			d.drops = append(d.drops, Drop{u, reason})
			for j := i + 1; j < a.Len(); j++ {
				u, _ := a.p.resolve(j)
				d.drops = append(d.drops, Drop{u, BehindBad})
			}
			return reason.err(i, a.Len())
		}
		d.records = append(d.records, u)
	}
	return nil
}

func (d *Decoder) dropWhole(a Aggregate, shard HashRange) {
	d.records = d.records[:0]
	for i := range a.Len() {
		u, reason := a.p.judge(i, shard)
		if reason != OutOfRange {
			reason = SiblingOutOfRange // the KCL never looked at those behind, damaged or not
		}
		d.drops = append(d.drops, Drop{u, reason})
	}
}

// each judges every record by itself.
func (d *Decoder) each(a Aggregate, shard HashRange, mode Mode) error {
	var first error
	for i := range a.Len() {
		var u UserRecord
		var reason Reason
		if mode == KeepAll {
			u, reason = a.p.resolve(i)
		} else {
			u, reason = a.p.judge(i, shard)
		}
		if reason == 0 {
			d.records = append(d.records, u)
			continue
		}
		d.drops = append(d.drops, Drop{u, reason})
		if first == nil {
			first = reason.err(i, a.Len())
		}
	}
	return first
}

// judge says what is wrong with record i for a shard.
func (p *parser) judge(i int, shard HashRange) (UserRecord, Reason) {
	u, reason := p.resolve(i)
	k, reason := p.hash(i, reason)
	if reason == 0 && (k.size != 0 || !shard.Contains(k.hash)) {
		reason = OutOfRange
	}
	return u, reason
}
