package kpl

import (
	"bytes"
	"crypto/md5"
	"errors"
	"fmt"
	"math"

	"github.com/kinesis-msk-bridge/bridge"
)

const (
	magic      = "\xf3\x89\x9a\xc2"
	digestSize = md5.Size
	// frame is what an aggregate has beside its message.
	frame = len(magic) + digestSize
)

// ErrPlain says that data is no aggregate: it is a plain record, which is a fact and not a
// fault. The errors that wrap it say why.
var ErrPlain = errors.New("not an aggregate")

// Made once, because most streams hold nothing but plain records.
var (
	errNoMagic  = fmt.Errorf("%w: other first bytes", ErrPlain)
	errShort    = fmt.Errorf("%w: nothing between magic and digest", ErrPlain)
	errDigest   = fmt.Errorf("%w: MD5 does not match", ErrPlain)
	errProtobuf = fmt.Errorf("%w: MD5 matches, but the message is malformed", ErrPlain)
)

// ErrLimit says that an aggregate holds more than Limits allow. It wraps
// bridge.ErrUndecodable.
var ErrLimit = fmt.Errorf("aggregate beyond the limits of the decoder: %w", bridge.ErrUndecodable)

// defaultLimit of each kind lets every aggregate of up to 1 MiB through that has no unused
// keys: a record takes 6 bytes at least, one with a key of its own 9, a tag 4.
const defaultLimit = 1 << 18

// Limits bound the memory that one aggregate can claim, which without them is some twenty
// times its own size. In each field, zero or less means 262,144: enough for any aggregate
// of up to 1 MiB that has no unused keys.
type Limits struct {
	Records int // user records
	Keys    int // partition keys and explicit hash keys together
	Tags    int // of all records together
}

func (l Limits) withDefaults() Limits {
	for _, n := range []*int{&l.Records, &l.Keys, &l.Tags} {
		if *n <= 0 {
			*n = defaultLimit
		}
	}
	return l
}

// A UserRecord is one record of a producer, taken out of an aggregate, or a whole Kinesis
// record that is none.
type UserRecord struct {
	// Sub is the index of the record in its aggregate, from 0: the KCL's
	// subSequenceNumber. It is 0 for a plain record.
	Sub uint32
	// Subs is how many records the aggregate holds, whether they are delivered or not; 1
	// for a plain record.
	Subs uint32
	// Key is the partition key. Where an aggregate's is not valid UTF-8, it has U+FFFD
	// in it as in Java. Nil if the aggregate does not say which: see BadKeyIndex.
	Key []byte
	// ExplicitHashKey is the text that the producer gave, usually a decimal number; nil
	// if it gave none, and for a plain record, for which Kinesis does not tell.
	ExplicitHashKey []byte
	Data            []byte
	Tags            []Tag // as they stand there, valid UTF-8 or not
}

// HasMagic reports whether data begins as an aggregate does. Readers that de-aggregate may
// take it for one, whatever follows.
func HasMagic(data []byte) bool {
	return len(data) >= len(magic) && string(data[:len(magic)]) == magic
}

// IsAggregate reports whether data is an aggregate in the eyes of the KCL: magic, digest
// and message hold. Its indexes and hash keys may still be nonsense. It allocates nothing.
func IsAggregate(data []byte) bool {
	message, err := unframe(data)
	if err != nil {
		return false
	}
	p := parser{}
	return p.aggregate(message)
}

// unframe takes magic and digest off. The error wraps ErrPlain.
func unframe(data []byte) (message []byte, err error) {
	if !HasMagic(data) {
		return nil, errNoMagic
	}
	if len(data) <= frame {
		return nil, errShort
	}
	message = data[len(magic) : len(data)-digestSize]
	if sum := md5.Sum(message); !bytes.Equal(sum[:], data[len(data)-digestSize:]) {
		return nil, errDigest
	}
	return message, nil
}

// Decode takes data apart. The error wraps ErrPlain if data is not an aggregate, or is
// ErrLimit. The aggregate holds slices of data, which must not change while it is in use.
func Decode(data []byte, limits Limits) (Aggregate, error) {
	return (&Decoder{Limits: limits}).Decode(data)
}

// A Decoder decodes one Kinesis record after the other in the same memory. The zero value
// is ready for use. It is not for use by several goroutines at a time.
type Decoder struct {
	Limits Limits

	p       parser
	records []UserRecord
	drops   []Drop
}

// Decode is like the function of this name. The aggregate is valid until the next call of
// a method of d.
func (d *Decoder) Decode(data []byte) (Aggregate, error) {
	message, err := unframe(data)
	if err != nil {
		return Aggregate{}, err
	}
	d.p.reset(d.Limits.withDefaults())
	if !d.p.aggregate(message) {
		return Aggregate{}, errProtobuf
	}
	if d.p.over() {
		return Aggregate{}, fmt.Errorf("%d records, %d keys, %d tags: %w", d.p.found.Records, d.p.found.Keys, d.p.found.Tags, ErrLimit)
	}
	return Aggregate{&d.p}, nil
}

// An Aggregate is a decoded one. The zero value has no records. Its methods keep what they
// find out, so it is not for use by several goroutines at a time.
type Aggregate struct{ p *parser }

// Len is the number of user records, which can be 0.
func (a Aggregate) Len() int {
	if a.p == nil {
		return 0
	}
	return len(a.p.records)
}

// Record is the user record at index i, which must be at least 0 and less than Len. The
// error says that an index of it points nowhere or that its explicit hash key is not a
// number, which is where the KCL stops; it wraps bridge.ErrUndecodable. The record that
// comes with it has what could be read.
func (a Aggregate) Record(i int) (UserRecord, error) {
	u, reason := a.p.resolve(i)
	if a.p.records[i].hasEHK {
		_, reason = a.p.hash(i, reason)
	}
	return u, reason.err(i, a.Len())
}

// A parsed record points into the tables by number.
type parsed struct {
	data     []byte
	key, ehk int32 // as Java casts them
	tags     uint32
	endTags  uint32
	hasEHK   bool
}

// A parser turns a message into tables and records.
type parser struct {
	store   bool // else only found is filled
	limits  Limits
	found   Limits // how many there are, stored or not
	keys    []tableKey
	ehks    []tableKey
	records []parsed
	tags    []Tag
}

// keep is how many entries of scratch memory outlive a call.
const keep = 1 << 14

func (p *parser) reset(l Limits) {
	*p = parser{store: true, limits: l, keys: reuse(p.keys), ehks: reuse(p.ehks), records: reuse(p.records), tags: reuse(p.tags)}
}

// reuse empties s and lets go of what it pointed to; memory that one exceptional aggregate
// needed is not kept.
func reuse[T any](s []T) []T {
	if cap(s) > keep {
		return nil
	}
	clear(s)
	return s[:0]
}

// over reports whether what was found so far is too much. Parsing goes on without storing,
// since a malformed message is a plain record whatever its size.
func (p *parser) over() bool {
	return p.found.Records > p.limits.Records || p.found.Keys > p.limits.Keys || p.found.Tags > p.limits.Tags
}

func (p *parser) aggregate(message []byte) bool {
	for r := (reader{message}); len(r.b) > 0; {
		tag, ok := r.tag()
		if !ok {
			return false
		}
		switch tag {
		case 1<<3 | wireBytes:
			ok = p.tableKey(&p.keys, &r)
		case 2<<3 | wireBytes:
			ok = p.tableKey(&p.ehks, &r)
		case 3<<3 | wireBytes:
			var b []byte
			b, ok = r.bytes()
			ok = ok && p.record(b)
		default:
			ok = r.skip(tag, 0)
		}
		if !ok {
			return false
		}
	}
	return true
}

func (p *parser) tableKey(table *[]tableKey, r *reader) bool {
	b, ok := r.bytes()
	p.found.Keys++
	if p.store && !p.over() {
		*table = append(*table, tableKey{text: b})
	}
	return ok
}

// record reads one of the records. Of a field that comes twice the last one counts.
func (p *parser) record(b []byte) bool {
	rec := parsed{tags: uint32(len(p.tags))}
	hasKey, hasData := false, false
	for r := (reader{b}); len(r.b) > 0; {
		tag, ok := r.tag()
		if !ok {
			return false
		}
		var v uint64
		switch tag {
		case 1<<3 | wireVarint:
			v, ok = r.varint()
			rec.key, hasKey = index(v), true
		case 2<<3 | wireVarint:
			v, ok = r.varint()
			rec.ehk, rec.hasEHK = index(v), true
		case 3<<3 | wireBytes:
			rec.data, ok = r.bytes()
			hasData = true
		case 4<<3 | wireBytes:
			var t []byte
			t, ok = r.bytes()
			ok = ok && p.tag(t)
		default:
			ok = r.skip(tag, 1)
		}
		if !ok {
			return false
		}
	}
	p.found.Records++
	if p.store && !p.over() {
		rec.endTags = uint32(len(p.tags))
		p.records = append(p.records, rec)
	}
	return hasKey && hasData
}

func (p *parser) tag(b []byte) bool {
	t, hasKey := Tag{}, false
	for r := (reader{b}); len(r.b) > 0; {
		tag, ok := r.tag()
		if !ok {
			return false
		}
		switch tag {
		case 1<<3 | wireBytes:
			t.Key, ok = r.bytes()
			hasKey = true
		case 2<<3 | wireBytes:
			t.Value, ok = r.bytes()
		default:
			ok = r.skip(tag, 2)
		}
		if !ok {
			return false
		}
	}
	p.found.Tags++
	if p.store && !p.over() {
		p.tags = append(p.tags, t)
	}
	return hasKey
}

// index is the KCL's cast of an index from long to int: 2^32 is 0 again.
func index(v uint64) int32 { return int32(uint32(v & math.MaxUint32)) }

// A tableKey is an entry of a key table. What is computed from it is computed once, at
// first use, because most aggregates hold many records of few keys.
type tableKey struct {
	text   []byte // as it was sent, and once it was used, as Java reads it
	hash   HashKey
	size   int8 // of a number outside the hash space: negative or positive
	used   bool
	hashed bool
	number bool // whether an explicit hash key is one
}

func (k *tableKey) use() []byte {
	if !k.used {
		k.text, k.used = javaString(k.text), true
	}
	return k.text
}

func at(table []tableKey, i int32) *tableKey {
	if i < 0 || int(i) >= len(table) {
		return nil
	}
	return &table[i]
}

// resolve follows the indexes of record i, in the order in which the KCL does.
func (p *parser) resolve(i int) (UserRecord, Reason) {
	rec := &p.records[i]
	u := UserRecord{Sub: uint32(i), Subs: uint32(len(p.records)), Data: rec.data}
	if rec.tags < rec.endTags {
		u.Tags = p.tags[rec.tags:rec.endTags:rec.endTags]
	}
	key := at(p.keys, rec.key)
	if key == nil {
		return u, BadKeyIndex
	}
	u.Key = key.use()
	if !rec.hasEHK {
		return u, 0
	}
	ehk := at(p.ehks, rec.ehk)
	if ehk == nil {
		return u, BadKeyIndex
	}
	u.ExplicitHashKey = ehk.use()
	return u, 0
}

// hash is the entry that holds the hash key of record i, for which resolve gave reason.
// The reason that it returns is BadHashKey if there is none.
func (p *parser) hash(i int, reason Reason) (*tableKey, Reason) {
	if reason != 0 {
		return nil, reason
	}
	rec := &p.records[i]
	if !rec.hasEHK {
		k := &p.keys[rec.key]
		if !k.hashed {
			k.hash, k.hashed = KeyHash(k.text), true
		}
		return k, 0
	}
	k := &p.ehks[rec.ehk]
	if !k.hashed {
		h, size, ok := parseInteger(k.text)
		k.hash, k.size, k.number, k.hashed = h, int8(size), ok, true
	}
	if !k.number {
		return nil, BadHashKey
	}
	return k, 0
}
