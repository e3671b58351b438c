package kpl_test

import (
	"crypto/md5"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"

	"github.com/kinesis-msk-bridge/bridge/kpl"
	"google.golang.org/protobuf/encoding/protowire"
)

const magic = "\xf3\x89\x9a\xc2"

// seal puts magic and digest around a message.
func seal(message []byte) []byte {
	sum := md5.Sum(message)
	return slices.Concat([]byte(magic), message, sum[:])
}

// mutants makes n aggregates with something odd about most of them, each for some shard.
func mutants(seed uint64, n int) []goldenCase {
	g := &mutator{rand.New(rand.NewPCG(seed, 0))}
	var cases []goldenCase
	for i := range n {
		data, keys := g.record()
		start, end := g.shard(keys)
		cases = append(cases, goldenCase{Name: fmt.Sprintf("mutant %d", i), Start: start, End: end, Data: data})
	}
	return cases
}

// A mutator writes messages field by field, each field odd with a small chance, so that
// the oddness lies at every depth and the rest is sound.
type mutator struct{ *rand.Rand }

func (g *mutator) one(in int) bool { return g.IntN(in) == 0 }

func pick[T any](g *mutator, s ...T) T { return s[g.IntN(len(s))] }

// record is the data of one Kinesis record, and the keys in it.
func (g *mutator) record() (data []byte, keys []string) {
	message, keys := g.aggregate()
	for g.one(8) && len(message) > 0 {
		message = g.bruise(message)
	}
	data = seal(message)
	switch g.IntN(40) {
	case 0: // a digest that does not match
		data[len(data)-1-g.IntN(16)] ^= 1 << g.IntN(8)
	case 1:
		data[g.IntN(len(data))] ^= 1 << g.IntN(8)
	case 2:
		data = data[:g.IntN(len(data)+1)]
	case 3:
		data = append(data, byte(g.Uint32()))
	case 4: // as short as can be
		data = seal(message[:min(g.IntN(3), len(message))])
	}
	return data, keys
}

func (g *mutator) bruise(b []byte) []byte {
	i := g.IntN(len(b))
	switch g.IntN(5) {
	case 0:
		b[i] ^= 1 << g.IntN(8)
	case 1:
		b[i] = byte(g.Uint32())
	case 2:
		b = slices.Delete(b, i, i+1)
	case 3:
		b = slices.Insert(b, i, byte(g.Uint32()))
	case 4:
		b = b[:i]
	}
	return b
}

var (
	keyTexts = []string{"a", "b", "customer-7", "ключ", "日本", "😀", "", "\xff\xfe", "x\xed\xa0\x80y", "\xe2\x82", "\xf0\x9f\x98z", "line\nbreak\x00"}
	ehkTexts = []string{"0", "7", "340282366920938463463374607431768211455", "170141183460469231731687303715884105728",
		"340282366920938463463374607431768211456", "-1", "-0", "+5", "007", "", "x", "12 ", "1\xff", "٣", "１２", "𝟏", "1-1", "99999999999999999999999999999999999999999999"}
)

func (g *mutator) aggregate() (b []byte, keys []string) {
	odd := pick(g, 0, 0, 6, 12, 40) // one field in so many is odd; 0 for none
	pks, ehks := g.IntN(4), g.IntN(3)
	if odd == 0 {
		pks++
	}
	var fields [][]byte
	for range pks {
		key := pick(g, keyTexts...)
		if odd == 0 || !g.one(odd) {
			key = fmt.Sprintf("key-%d", g.IntN(50))
		}
		keys = append(keys, key)
		fields = append(fields, g.bytes(1, []byte(key), odd))
	}
	for range ehks {
		ehk := pick(g, ehkTexts...)
		if odd == 0 || !g.one(odd) {
			ehk = new(big.Int).Rsh(new(big.Int).SetBytes(md5Of(g.Uint64())), uint(g.IntN(3))).String()
		}
		fields = append(fields, g.bytes(2, []byte(ehk), odd))
	}
	for range g.IntN(6) {
		fields = append(fields, g.bytes(3, g.user(pks, ehks, odd), odd))
	}
	if g.one(5) {
		g.Shuffle(len(fields), func(i, j int) { fields[i], fields[j] = fields[j], fields[i] })
	}
	return g.join(fields, odd), keys
}

func md5Of(n uint64) []byte {
	sum := md5.Sum(protowire.AppendVarint(nil, n))
	return sum[:]
}

func (g *mutator) user(pks, ehks, odd int) []byte {
	var fields [][]byte
	if odd == 0 || !g.one(4*odd) {
		fields = append(fields, g.varint(1, g.index(pks, odd), odd))
	}
	if ehks > 0 && g.one(3) {
		fields = append(fields, g.varint(2, g.index(ehks, odd), odd))
	}
	if odd == 0 || !g.one(4*odd) {
		data := make([]byte, pick(g, 0, 1, 5, 20, 130))
		for i := range data {
			data[i] = byte(g.Uint32())
		}
		fields = append(fields, g.bytes(3, data, odd))
	}
	for range max(0, g.IntN(6)-4) {
		fields = append(fields, g.bytes(4, g.tag(odd), odd))
	}
	if odd > 0 && g.one(odd) { // a field that comes twice: the last one counts
		fields = append(fields, pick(g, g.varint(1, g.index(pks, odd), odd), g.bytes(3, []byte("again"), odd)))
	}
	return g.join(fields, odd)
}

func (g *mutator) index(n, odd int) uint64 {
	if odd > 0 && g.one(odd) {
		return pick(g, uint64(n), uint64(n)+1, 1<<32, 1<<32+uint64(g.IntN(n+1)), 1<<31, math.MaxUint64, 1<<63, math.MaxInt32)
	}
	return uint64(g.IntN(max(n, 1)))
}

func (g *mutator) tag(odd int) []byte {
	var fields [][]byte
	if odd == 0 || !g.one(2*odd) {
		fields = append(fields, g.bytes(1, []byte(pick(g, "k", "", "\xff")), odd))
	}
	if g.one(2) {
		fields = append(fields, g.bytes(2, []byte(pick(g, "v", "", "\xff")), odd))
	}
	return g.join(fields, odd)
}

// join puts fields together, with strange ones between them.
func (g *mutator) join(fields [][]byte, odd int) []byte {
	var b []byte
	for _, f := range fields {
		for odd > 0 && g.one(odd) {
			b = append(b, g.strange()...)
		}
		b = append(b, f...)
	}
	for odd > 0 && g.one(odd) {
		b = append(b, g.strange()...)
	}
	return b
}

// long is a varint, sometimes of more bytes than it needs, up to ten or, which is too
// many, eleven.
func (g *mutator) long(v uint64, odd int) []byte {
	b := protowire.AppendVarint(nil, v)
	if odd == 0 || !g.one(2*odd) {
		return b
	}
	for range g.IntN(12 - len(b)) {
		b[len(b)-1] |= 0x80
		b = append(b, byte(pick(g, 0, 0, 0, 0x7f, 2)))
	}
	return b
}

func (g *mutator) tagOf(field protowire.Number, wire protowire.Type, odd int) []byte {
	if odd > 0 && g.one(4*odd) { // a wire type that is not the field's
		wire = protowire.Type(g.IntN(8))
	}
	return g.long(protowire.EncodeTag(field, wire), odd)
}

func (g *mutator) varint(field protowire.Number, v uint64, odd int) []byte {
	return slices.Concat(g.tagOf(field, protowire.VarintType, odd), g.long(v, odd))
}

func (g *mutator) bytes(field protowire.Number, v []byte, odd int) []byte {
	n := uint64(len(v))
	if odd > 0 && g.one(4*odd) { // a length that is wrong, or above 32 bits
		n = pick(g, n+1, n-1, 1<<31, 1<<32+n, math.MaxUint64, 1<<31-1)
	}
	return slices.Concat(g.tagOf(field, protowire.BytesType, odd), g.long(n, odd), v)
}

// strange is a field that no message of the format knows, or that is nobody's.
func (g *mutator) strange() []byte {
	field := pick(g, protowire.Number(g.IntN(5)+1), 5, 15, 16, 1000, 1<<29-1)
	tag := func(w protowire.Type) []byte { return g.long(protowire.EncodeTag(field, w), 4) }
	switch g.IntN(9) {
	case 0:
		return slices.Concat(tag(protowire.VarintType), g.long(g.Uint64(), 4))
	case 1:
		return slices.Concat(tag(protowire.Fixed64Type), make([]byte, pick(g, 8, 8, 8, 8, 7)))
	case 2:
		return slices.Concat(tag(protowire.Fixed32Type), make([]byte, pick(g, 4, 4, 4, 4, 3)))
	case 3:
		return slices.Concat(tag(protowire.BytesType), []byte{3, 1, 2, 3})
	case 4, 5: // groups in groups
		return g.groups(field, pick(g, 1, 2, 3, 97, 98, 99, 100, 101, 102))
	case 6:
		return pick(g, []byte{0}, []byte{1, 1}, []byte{7}, []byte{0x80, 0x80, 0x80, 0x80, 0x10, 0}, tag(protowire.EndGroupType), tag(6), tag(7))
	case 7: // packed numbers where a number belongs
		return slices.Concat(protowire.AppendTag(nil, pick[protowire.Number](g, 1, 2), protowire.BytesType), []byte{2, 0, 0})
	}
	return slices.Concat(tag(protowire.StartGroupType), g.groups(3, 1), tag(protowire.EndGroupType))
}

func (g *mutator) groups(field protowire.Number, depth int) []byte {
	var b []byte
	for range depth {
		b = protowire.AppendTag(b, field, protowire.StartGroupType)
	}
	if g.one(2) {
		b = append(b, protowire.AppendTag(nil, 3, protowire.VarintType)...)
		b = append(b, 5)
	}
	for range depth {
		b = protowire.AppendTag(b, field, protowire.EndGroupType)
	}
	if g.one(12) {
		b[len(b)-1]++
	}
	return b
}

// shard is the range of some shard: the whole space, one that begins or ends at the hash
// of one of the keys or right beside it, or a random one.
func (g *mutator) shard(keys []string) (start, end string) {
	full := kpl.FullRange()
	if g.one(2) {
		return full.Start.String(), full.End.String()
	}
	h := kpl.HashKey{Hi: g.Uint64(), Lo: g.Uint64()}
	if len(keys) > 0 && !g.one(4) {
		h = kpl.KeyHash([]byte(pick(g, keys...)))
		switch { // one beside it; at the ends of the space it would wrap, which no MD5 here meets
		case g.one(4):
			h.Lo++
		case g.one(4):
			h.Lo--
		}
	}
	if g.one(2) {
		return full.Start.String(), h.String()
	}
	return h.String(), full.End.String()
}
