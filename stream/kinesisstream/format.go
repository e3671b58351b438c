package kinesisstream

import (
	"fmt"
	"unicode/utf8"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/kpl"
)

// A Format says how records stand in Kinesis records.
type Format string

const (
	// Raw puts each value as one Kinesis record, as a native producer would. Nothing but
	// key and value is kept; the ledger remembers the coordinate.
	Raw Format = "raw"
	// KPL puts a run of records of one partition key as one aggregated record, which
	// consumers built on the KCL take apart. Headers, null values, time and coordinate are
	// in tags, which they do not see.
	KPL Format = "kpl"
	// KPLShard is like KPL, but an aggregate holds whatever waits for one shard, of any keys.
	// One that a reshard has put into another shard is put again, since the KCL drops it.
	// Only readers that do the same read each record once.
	KPLShard Format = "kpl, aggregate: shard"
	// Envelope puts such a run as one envelope; see package envelope.
	Envelope Format = "envelope"
)

// maxPack is how many bytes records are packed together up to. A larger one goes alone.
const maxPack = 256 << 10

// A codec makes Kinesis records of records, and tells them apart again.
type codec interface {
	// check says why a record can never be put, in a Kinesis record of at most limit bytes,
	// its key among them.
	check(r *bridge.Record, limit int) error
	// pack makes the data of one Kinesis record of the first of recs, which were checked and
	// have one key, or in the format KPLShard any. It takes at least one, and more up to max
	// bytes.
	pack(recs []*bridge.Record, max int) (data []byte, n int)
	// mark is what a record is known by when it is read back.
	mark(r *bridge.Record) mark
	// ledgered says that the stream does not tell what of it is the workflow's, so that the
	// ledger must. Its intents are of one record each, and so is a parcel then.
	ledgered() bool
}

// A mark is what a record is known by on the stream: a keyed digest of key and value, or
// the coordinate that it carries.
type mark struct {
	digest uint64
	origin bridge.Coordinate
}

// newCodec makes the codec that a sink is configured for.
func newCodec(c *SinkConfig) (codec, error) {
	switch c.Format {
	case Raw, "":
		return &rawCodec{c}, nil
	case KPL, KPLShard:
		return &kplCodec{stamp: c.Stamp}, nil
	case Envelope:
		return &envelopeCodec{stamp: c.Stamp}, nil
	}
	return nil, fmt.Errorf("format %q of a stream: want %q, %q, %q or %q", c.Format, Raw, KPL, KPLShard, Envelope)
}

// ReadBy is which user records of a stream in this format its readers are given.
func (f Format) ReadBy() kpl.Mode {
	if f == KPLShard {
		return kpl.KCL
	}
	return kpl.KeepAll
}

// checkKey says why a key is no partition key.
func checkKey(key []byte) error {
	if len(key) == 0 || !utf8.Valid(key) || keyUnits(key) > maxKeyUnits {
		return fmt.Errorf("a key of %d bytes is no partition key: %w", len(key), bridge.ErrUnmappable)
	}
	return nil
}

// keyUnits is the length of a partition key as the service counts it.
func keyUnits(key []byte) int {
	n := 0
	for _, r := range string(key) {
		if n++; r > 0xffff {
			n++
		}
	}
	return n
}

func oversize(size, limit int) error {
	return bridge.WithHint(fmt.Errorf("the record has %d bytes in the stream's format, and the stream takes %d: %w", size, limit, bridge.ErrOversize),
		"raise the stream's maximum record size (up to 10 MiB), or set policy: {oversize: dead-letter}")
}

// A rawCodec puts values as they are.
type rawCodec struct{ conf *SinkConfig }

func (c *rawCodec) check(r *bridge.Record, limit int) error {
	switch {
	case len(r.Headers) > 0 && !c.conf.AcceptHeaders:
		return bridge.WithHint(fmt.Errorf("the record has headers, which raw cannot carry: %w", bridge.ErrUnmappable),
			"accept their loss with accept_loss: [headers], or use kinesis.format kpl or envelope")
	case r.Value == nil && !c.conf.AcceptTombstones:
		return bridge.WithHint(fmt.Errorf("the record is a tombstone, which raw cannot carry: %w", bridge.ErrUnmappable),
			"accept that it becomes an empty value with accept_loss: [tombstones], or use kinesis.format kpl or envelope")
	}
	if size := len(r.Key) + len(c.data(r)); size > limit {
		return oversize(size, limit)
	}
	return nil
}

// data is the value. One that begins like a KPL aggregate would be taken for one, and goes
// as an aggregate that holds nothing else, which readers turn back into it.
func (c *rawCodec) data(r *bridge.Record) []byte {
	switch {
	case r.Value == nil:
		return []byte{}
	case !kpl.HasMagic(r.Value):
		return r.Value
	}
	var b kpl.Builder
	if err := b.Add(r.Key, nil, r.Value, nil); err != nil {
		return r.Value // its key is no partition key, which was refused before
	}
	return b.Finish(nil)
}

func (c *rawCodec) pack(recs []*bridge.Record, _ int) ([]byte, int) { return c.data(recs[0]), 1 }

// mark is the digest. A null value is put as an empty one.
func (c *rawCodec) mark(r *bridge.Record) mark {
	value := r.Value
	if value == nil {
		value = []byte{}
	}
	return mark{digest: c.conf.Tagger.Digest(r.Key, value)}
}

func (c *rawCodec) ledgered() bool { return true }
