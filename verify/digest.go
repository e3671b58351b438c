package verify

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/bits"

	"github.com/kinesis-msk-bridge/bridge"
)

// Keeps says what of a record the target's format keeps. What it does not keep is left
// out of the digest, and stands in the Result's scope.
type Keeps struct {
	Time    bool // the record time
	Headers bool
	Nulls   bool // a nil value is not the same as an empty one
}

// A digest is the first half of a SHA-256, as a number.
type digest struct{ Hi, Lo uint64 }

// A canon turns records into digests. It is immutable and safe for concurrent use.
type canon struct {
	key     bridge.WorkflowKey
	keeps   Keeps
	content bool // there are no coordinates
	keys    *bridge.Tagger
}

func newCanon(key bridge.WorkflowKey, keeps Keeps, content bool) *canon {
	return &canon{
		key: key, keeps: keeps, content: content,
		keys: bridge.NewTagger(key, "verify keys"),
	}
}

// What a canonical record begins each field with, so that nil, empty and absent differ.
const (
	fieldNil = iota
	fieldBytes
)

func appendField(b, p []byte) []byte {
	if p == nil {
		return append(b, fieldNil)
	}
	b = append(b, fieldBytes)
	b = binary.AppendUvarint(b, uint64(len(p)))
	return append(b, p...)
}

// value is what the target keeps of a value.
func (c *canon) value(r *bridge.Record) []byte {
	if r.Value == nil && !c.keeps.Nulls {
		return []byte{}
	}
	return r.Value
}

// canonical appends what is compared of a record: all that the target keeps. key is the
// one that the target should hold.
func (c *canon) canonical(b, key []byte, r *bridge.Record) []byte {
	b = appendField(b, key)
	b = appendField(b, c.value(r))
	if c.keeps.Headers {
		b = appendHeaders(b, r.Headers)
	}
	if c.keeps.Time {
		b = binary.AppendVarint(b, r.Time.UnixMilli())
	}
	return b
}

// appendHeaders writes all headers in their order, but for the provenance of a copy.
func appendHeaders(b []byte, headers []bridge.Header) []byte {
	n := len(headers)
	b = binary.AppendUvarint(b, uint64(n))
	for _, h := range headers {
		b = appendField(b, []byte(h.Key))
		b = appendField(b, h.Value)
	}
	return b
}

// A digester holds the buffer of one goroutine, and a record with what a keymap looks at, to
// ask where it belongs.
type digester struct {
	*canon
	buf   []byte
	asked bridge.Record
}

func (c *canon) digester() *digester { return &digester{canon: c} }

// of is the digest of a record's content, and how many bytes of it count.
func (d *digester) of(key []byte, r *bridge.Record) (digest, int64) {
	d.buf = append(d.buf[:0], d.key[:]...)
	d.buf = d.canonical(d.buf, key, r)
	size := len(key) + len(r.Value)
	if d.keeps.Headers {
		for _, h := range r.Headers {
			size += len(h.Key) + len(h.Value)
		}
	}
	return sum128(d.buf), int64(size)
}

func sum128(b []byte) digest {
	h := sha256.Sum256(b)
	return digest{binary.BigEndian.Uint64(h[:8]), binary.BigEndian.Uint64(h[8:16])}
}

// bind ties a content to its coordinate, so that two records cannot change places without
// a trace. In content mode there is no coordinate.
func (c *canon) bind(content digest, partition string, at bridge.Position) digest {
	if c.content {
		return content
	}
	var room [160]byte
	b := binary.BigEndian.AppendUint64(room[:0], content.Hi)
	b = binary.BigEndian.AppendUint64(b, content.Lo)
	b = binary.AppendUvarint(b, uint64(len(partition)))
	b = append(b, partition...)
	b = append(b, at.Seq...)
	b = append(b, '/')
	return sum128(binary.AppendUvarint(b, uint64(at.Sub)))
}

// cell is the slice of the keys that a key belongs to.
func (c *canon) cell(key []byte) int { return cellOf(c.keyHash(key)) }

func cellOf(keyHash uint64) int { return int(keyHash >> 32 % cellsPerWindow) }

// keyHash stands for a key in tables and reports.
func (c *canon) keyHash(key []byte) uint64 { return c.keys.Sum(key) }

func keyText(h uint64) string { return fmt.Sprintf("%016x", h) }

// A tally counts a multiset of records: how many, how long, and the sum of their digests
// modulo 2^128. It can be negative: what the target has more than the source.
type tally struct {
	N, Bytes int64
	Hi, Lo   uint64
}

func (t *tally) add(d digest, size int64) { t.merge(tally{1, size, d.Hi, d.Lo}) }

func (t *tally) sub(d digest, size int64) { t.remove(tally{1, size, d.Hi, d.Lo}) }

func (t *tally) merge(o tally) {
	var carry uint64
	t.N += o.N
	t.Bytes += o.Bytes
	t.Lo, carry = bits.Add64(t.Lo, o.Lo, 0)
	t.Hi, _ = bits.Add64(t.Hi, o.Hi, carry)
}

func (t *tally) remove(o tally) {
	var borrow uint64
	t.N -= o.N
	t.Bytes -= o.Bytes
	t.Lo, borrow = bits.Sub64(t.Lo, o.Lo, 0)
	t.Hi, _ = bits.Sub64(t.Hi, o.Hi, borrow)
}

func (t tally) isZero() bool { return t == tally{} }

// sum is the form of the Result.
func (t tally) sum() Sum {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], t.Hi)
	binary.BigEndian.PutUint64(b[8:], t.Lo)
	return Sum{Count: t.N, Bytes: t.Bytes, Sum: hex.EncodeToString(b[:])}
}
