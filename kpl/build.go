package kpl

import (
	"bytes"
	"crypto/md5"
	"fmt"
	"math"
	"slices"
	"unicode/utf8"

	"github.com/kinesis-msk-bridge/bridge"
	"google.golang.org/protobuf/encoding/protowire"
)

// maxKeyChars is how many characters Kinesis allows in a partition key. Whether it counts
// code points or UTF-16 units is not documented; the latter are never fewer.
const maxKeyChars = 256

// A Builder makes an aggregate out of user records. Equal records added in equal order give
// equal bytes: keys stand in the tables once, in the order of their first use, and fields
// in the order of their numbers, as protobuf-java writes them. The zero value is ready for
// use. It copies what it is given, and keeps its memory over Reset. It is not for use by
// several goroutines at a time.
//
// An aggregate whose records have one partition key, sent under that key, lies in the
// right shard through any reshard, for every kind of consumer. With several keys that is
// up to the caller.
type Builder struct {
	// Max is the greatest size in bytes of the aggregate, 0 or less for none. Kinesis
	// counts the partition key beside it, which is not in it.
	Max int

	keys, ehks table
	records    []byte
	n          int
}

// Len is the number of records that were added.
func (b *Builder) Len() int { return b.n }

// Size is how many bytes Finish will append now.
func (b *Builder) Size() int {
	if b.n == 0 {
		return 0
	}
	return frame + len(b.keys.encoded) + len(b.ehks.encoded) + len(b.records)
}

// SizeWith is what Size will be once the record is added. It does not look whether Add
// would refuse it.
func (b *Builder) SizeWith(key, explicitHashKey, data []byte, tags []Tag) int {
	return b.plan(key, explicitHashKey, data, tags).size
}

// Add puts a record behind the others. The explicit hash key is nil for none, and data may
// be empty. If the aggregate would become larger than Max, the error wraps
// bridge.ErrOversize; it wraps bridge.ErrUnmappable if key is not 1 to 256 characters of
// UTF-8, if the explicit hash key is not a decimal number below 2^128, or if a tag is not
// UTF-8. In either case nothing was added.
func (b *Builder) Add(key, explicitHashKey, data []byte, tags []Tag) error {
	if err := check(key, explicitHashKey, tags); err != nil {
		return err
	}
	p := b.plan(key, explicitHashKey, data, tags)
	// Java counts in int, and so no aggregate can be larger than that.
	if limit := math.MaxInt32; p.size > limit || b.Max > 0 && p.size > b.Max {
		if b.Max > 0 {
			limit = min(limit, b.Max)
		}
		return fmt.Errorf("aggregate of %d user records, %d bytes of at most %d: %w", b.n+1, p.size, limit, bridge.ErrOversize)
	}
	if p.key == len(b.keys.spans) {
		b.keys.add(1, key)
	}
	r := protowire.AppendTag(b.records, 3, protowire.BytesType)
	r = protowire.AppendVarint(r, uint64(p.inner))
	r = protowire.AppendTag(r, 1, protowire.VarintType)
	r = protowire.AppendVarint(r, uint64(p.key))
	if explicitHashKey != nil {
		if p.ehk == len(b.ehks.spans) {
			b.ehks.add(2, explicitHashKey)
		}
		r = protowire.AppendTag(r, 2, protowire.VarintType)
		r = protowire.AppendVarint(r, uint64(p.ehk))
	}
	r = protowire.AppendTag(r, 3, protowire.BytesType)
	r = protowire.AppendBytes(r, data)
	for i := range tags {
		r = appendTag(r, &tags[i])
	}
	b.records = r
	b.n++
	return nil
}

// Finish appends the aggregate to dst: Size bytes, or nothing if there are no records. The
// builder is as it was, and more can be added.
func (b *Builder) Finish(dst []byte) []byte {
	if b.n == 0 {
		return dst
	}
	dst = slices.Grow(dst, b.Size())
	dst = append(dst, magic...)
	start := len(dst)
	dst = append(dst, b.keys.encoded...)
	dst = append(dst, b.ehks.encoded...)
	dst = append(dst, b.records...)
	sum := md5.Sum(dst[start:])
	return append(dst, sum[:]...)
}

// Reset takes all records out. Max stays.
func (b *Builder) Reset() {
	b.keys.reset()
	b.ehks.reset()
	b.records, b.n = b.records[:0], 0
}

// A plan is what adding a record comes to.
type plan struct {
	key, ehk int // indexes, which may be those of entries to come
	inner    int // bytes of the Record message
	size     int // of the whole aggregate
}

func (b *Builder) plan(key, ehk, data []byte, tags []Tag) plan {
	var p plan
	size := max(b.Size(), frame)
	p.key = b.keys.find(key)
	if p.key == len(b.keys.spans) {
		size += fieldSize(len(key))
	}
	p.inner = 1 + protowire.SizeVarint(uint64(p.key)) + fieldSize(len(data))
	if ehk != nil {
		p.ehk = b.ehks.find(ehk)
		if p.ehk == len(b.ehks.spans) {
			size += fieldSize(len(ehk))
		}
		p.inner += 1 + protowire.SizeVarint(uint64(p.ehk))
	}
	for i := range tags {
		p.inner += fieldSize(tagSize(&tags[i]))
	}
	p.size = size + fieldSize(p.inner)
	return p
}

// fieldSize is the size of a field of n bytes with its tag, which is one byte for all
// fields of the format, and its length.
func fieldSize(n int) int { return 1 + protowire.SizeBytes(n) }

func tagSize(t *Tag) int {
	n := fieldSize(len(t.Key))
	if t.Value != nil {
		n += fieldSize(len(t.Value))
	}
	return n
}

func appendTag(dst []byte, t *Tag) []byte {
	dst = protowire.AppendTag(dst, 4, protowire.BytesType)
	dst = protowire.AppendVarint(dst, uint64(tagSize(t)))
	dst = protowire.AppendTag(dst, 1, protowire.BytesType)
	dst = protowire.AppendBytes(dst, t.Key)
	if t.Value != nil {
		dst = protowire.AppendTag(dst, 2, protowire.BytesType)
		dst = protowire.AppendBytes(dst, t.Value)
	}
	return dst
}

// check refuses what readers would turn into something else.
func check(key, ehk []byte, tags []Tag) error {
	if !fitsKey(key) {
		return fmt.Errorf("partition key of %d bytes is not 1 to %d characters of UTF-8: %w", len(key), maxKeyChars, bridge.ErrUnmappable)
	}
	if ehk != nil && !fitsHashKey(ehk) {
		return fmt.Errorf("explicit hash key %.60q is not a decimal number below 2^128: %w", ehk, bridge.ErrUnmappable)
	}
	for i := range tags {
		if !utf8.Valid(tags[i].Key) || !utf8.Valid(tags[i].Value) {
			return fmt.Errorf("tag %.60q is not UTF-8: %w", tags[i].Key, bridge.ErrUnmappable)
		}
	}
	return nil
}

func fitsKey(key []byte) bool {
	if len(key) == 0 || !utf8.Valid(key) {
		return false
	}
	if len(key) <= maxKeyChars {
		return true // no character has more UTF-16 units than it has bytes
	}
	units := utf8.RuneCount(key)
	for _, c := range key {
		if c >= 0xf0 {
			units++
		}
	}
	return units <= maxKeyChars
}

func fitsHashKey(ehk []byte) bool {
	for _, c := range ehk {
		if c < '0' || c > '9' {
			return false
		}
	}
	_, size, ok := parseInteger(ehk)
	return ok && size == 0
}

// A table holds keys, each once, as the fields that they will be.
type table struct {
	encoded []byte
	spans   []span // of the keys in encoded
	last    int    // the one that was found last, which is most likely the next one
	byKey   map[string]int
}

type span struct{ start, end int }

// few is up to how many keys a search one by one is faster than a map, and takes no memory.
const few = 8

// find is the index of key, or how many keys there are if it is not one of them.
func (t *table) find(key []byte) int {
	if t.last < len(t.spans) && bytes.Equal(t.at(t.last), key) {
		return t.last
	}
	if len(t.spans) > few {
		if i, ok := t.byKey[string(key)]; ok {
			t.last = i
			return i
		}
		return len(t.spans)
	}
	for i := range t.spans {
		if bytes.Equal(t.at(i), key) {
			t.last = i
			return i
		}
	}
	return len(t.spans)
}

func (t *table) at(i int) []byte { return t.encoded[t.spans[i].start:t.spans[i].end] }

// add puts a key that is not there into the table, whose field has the given number.
func (t *table) add(field protowire.Number, key []byte) {
	t.encoded = protowire.AppendTag(t.encoded, field, protowire.BytesType)
	t.encoded = protowire.AppendBytes(t.encoded, key)
	t.last = len(t.spans)
	t.spans = append(t.spans, span{len(t.encoded) - len(key), len(t.encoded)})
	if len(t.spans) <= few {
		return
	}
	if t.byKey == nil {
		t.byKey = make(map[string]int)
	}
	// With the first key too many, those before it come into the map, too.
	for i := len(t.byKey); i < len(t.spans); i++ {
		t.byKey[string(t.at(i))] = i
	}
}

func (t *table) reset() {
	t.encoded, t.spans, t.last = t.encoded[:0], t.spans[:0], 0
	clear(t.byKey)
}
