// Package filter is for consumers that were moved from Kinesis to Kafka and must not see
// again what they have consumed.
//
// Where several shards were mirrored into one partition, a single offset cannot say what
// was consumed of each, so that a consumer that skips nothing gets some records again.
// Which ones is known exactly: those at or before the position where it left their shard.
// A [Filter] holds those positions, keeps no state, and can be removed once all partitions
// are past the records that it drops.
//
// The rule, for other languages:
//
//	cut = the "cut" object of the plan: shard -> "number" or "number/index",
//	      with a "<" before it if that very record is not consumed, "end" for a whole shard
//	h = the last record header named "bridge"; if there is none, keep the record
//	skip 1 byte (version 1), 4 bytes, a varint and 4 bytes                // of h
//	shard = kind byte, then a varint: 1 "<n>", 2 "shardId-" + 12 digits, 0 that many bytes
//	digits = 1 byte: how many; then two a byte, high half first
//	sub = varint
//	c = cut[shard]; if there is none, keep the record
//	drop it if c is "end", or (digits, sub) < c as numbers, or = c and c has no "<"
//
// What it does not promise: it judges a header by its form, not by the workflow's tag. A
// record that an application wrote with a copied header is dropped like the one it was
// copied from; do not copy that header.
package filter

import (
	"fmt"
	"strings"

	"github.com/kinesis-msk-bridge/bridge"
)

// A Filter says which records are consumed already. It is immutable and safe for
// concurrent use. The zero Filter keeps everything.
type Filter struct {
	bounds map[string]bound
}

type bound struct {
	at     bridge.Position
	before bool // the record at at itself is not consumed
	end    bool
}

// New reads the positions of a plan: the object "cut" that bridge offsets plan prints with
// --output json. It wraps bridge.ErrForeignPosition if one is not of that form.
func New(cut map[string]string) (*Filter, error) {
	f := &Filter{bounds: make(map[string]bound, len(cut))}
	for shard, text := range cut {
		if text == "end" {
			f.bounds[shard] = bound{end: true}
			continue
		}
		number, before := strings.CutPrefix(text, "<")
		at, err := bridge.ParsePosition(number)
		if err != nil || at.IsZero() {
			return nil, fmt.Errorf("cut of %s: %q: %w", shard, text, bridge.ErrForeignPosition)
		}
		f.bounds[shard] = bound{at: at, before: before}
	}
	return f, nil
}

// Consumed reports whether a record was consumed before the consumer moved. The header is
// the value of the record's last header named [bridge.ProvenanceHeader], nil if it has
// none.
func (f *Filter) Consumed(header []byte) bool {
	if header == nil || f == nil {
		return false
	}
	p, err := bridge.DecodeProvenance(header)
	if err != nil {
		return false
	}
	b, ok := f.bounds[p.Partition]
	switch {
	case !ok:
		return false
	case b.end:
		return true
	}
	c := p.Position.Compare(b.at)
	return c < 0 || c == 0 && !b.before
}
