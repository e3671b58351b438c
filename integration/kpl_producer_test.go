//go:build integration

package integration

import (
	"crypto/md5"
	"fmt"
	"math/big"
	"math/rand/v2"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
)

// An inner is a user record as its producer meant it. An aggregate is written here by
// hand, since nothing that is judged may be what judges.
type inner struct {
	key, value string
	ehk        string // decimal, or nonsense; empty for none
	noKey      bool   // its index points behind the table
}

// A meaning is what one Kinesis record was meant to be. Without inners its readers get it
// as it is.
type meaning struct {
	kind   string
	inners []inner
}

// A kplProducer does what the KPL does, and what goes wrong with it, on one stream. It
// keeps a map of the shards that can be old.
type kplProducer struct {
	t      *testing.T
	rng    *rand.Rand
	s      *kinesistest.Stream
	shards []kinesistest.ShardInfo // that it believes to be open
	made   map[string]meaning      // by the data of the Kinesis record
	n      int
}

func newKPLProducer(t *testing.T, s *kinesistest.Stream, rng *rand.Rand) *kplProducer {
	p := &kplProducer{t: t, rng: rng, s: s, made: map[string]meaning{}}
	p.refresh()
	return p
}

// refresh brings the map of the shards up to date.
func (p *kplProducer) refresh() {
	p.shards = nil
	for _, sh := range p.s.Shards() {
		if !sh.Closed {
			p.shards = append(p.shards, sh)
		}
	}
}

// hashOf is where Kinesis puts a user record; nil if its explicit hash key is no number.
func (r inner) hashOf() *big.Int {
	if r.ehk != "" {
		n, ok := new(big.Int).SetString(r.ehk, 10)
		if !ok {
			return nil
		}
		return n
	}
	sum := md5.Sum([]byte(r.key))
	return new(big.Int).SetBytes(sum[:])
}

// within reports whether a hash key belongs to a shard.
func within(sh kinesistest.ShardInfo, h *big.Int) bool {
	first, _ := new(big.Int).SetString(sh.FirstHash, 10)
	last, _ := new(big.Int).SetString(sh.LastHash, 10)
	return h != nil && first.Cmp(h) <= 0 && h.Cmp(last) <= 0
}

// user makes a user record of some key, some with an explicit hash key.
func (p *kplProducer) user() inner {
	p.n++
	r := inner{key: fmt.Sprintf("key-%d", p.rng.IntN(300)), value: fmt.Sprintf("%d|%x", p.n, p.rng.Uint64())}
	if p.rng.IntN(6) == 0 {
		b := make([]byte, 16)
		for i := range b {
			b[i] = byte(p.rng.Uint32())
		}
		r.ehk = new(big.Int).SetBytes(b).String()
	}
	return r
}

// usersOf makes user records that all belong to one of the shards of the map.
func (p *kplProducer) usersOf(sh kinesistest.ShardInfo, n int) (out []inner) {
	for len(out) < n {
		if r := p.user(); within(sh, r.hashOf()) {
			out = append(out, r)
		}
	}
	return out
}

// encode writes user records as an aggregate's message.
func encode(inners []inner) (message []byte) {
	index := func(field protowire.Number, table map[string]int, key string) uint64 {
		i, ok := table[key]
		if !ok {
			i = len(table)
			table[key] = i
			message = protowire.AppendString(protowire.AppendTag(message, field, protowire.BytesType), key)
		}
		return uint64(i)
	}
	keys, ehks := map[string]int{}, map[string]int{}
	var records []byte
	for _, r := range inners {
		at := index(1, keys, r.key)
		if r.noKey {
			at = 1 << 20
		}
		b := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), at)
		if r.ehk != "" {
			b = protowire.AppendVarint(protowire.AppendTag(b, 2, protowire.VarintType), index(2, ehks, r.ehk))
		}
		b = protowire.AppendString(protowire.AppendTag(b, 3, protowire.BytesType), r.value)
		records = protowire.AppendBytes(protowire.AppendTag(records, 3, protowire.BytesType), b)
	}
	return append(message, records...)
}

const kplMagic = "\xf3\x89\x9a\xc2"

func framed(message []byte) []byte {
	sum := md5.Sum(message)
	return append(append([]byte(kplMagic), message...), sum[:]...)
}

// put stores data that means something where the first of the inners belongs.
func (p *kplProducer) put(kind string, data []byte, first inner, inners []inner) {
	p.t.Helper()
	p.made[string(data)] = meaning{kind, inners}
	e := kinesistest.Entry{Key: first.key, Data: data}
	if h := first.hashOf(); len(inners) > 0 && h != nil && h.Sign() >= 0 && h.BitLen() <= 128 { // as the KPL sends aggregates
		e.Key, e.ExplicitHashKey = "a", h.String()
	}
	if err := p.s.Put(e); err != nil {
		p.t.Fatal(err)
	}
}

// aggregate puts user records as one.
func (p *kplProducer) aggregate(kind string, inners []inner) {
	p.t.Helper()
	p.put(kind, framed(encode(inners)), inners[0], inners)
}

// some puts one Kinesis record of some kind. With a map that is old, aggregates for a
// shard that was split have records of both its children, and the misplaced ones are sent
// again, as the KPL does.
func (p *kplProducer) some() {
	sh := p.shards[p.rng.IntN(len(p.shards))]
	users := p.usersOf(sh, 2+p.rng.IntN(30))
	message := encode(users)
	switch p.rng.IntN(20) {
	case 0: // a producer that knows nothing of shards
		mixed := make([]inner, 2+p.rng.IntN(6))
		for i := range mixed {
			mixed[i] = p.user()
		}
		p.aggregate("keys of all shards", mixed)
	case 1:
		data := framed(message)
		data[len(data)-1-p.rng.IntN(16)] ^= 1 << p.rng.IntN(8)
		p.put("digest that does not match", data, users[0], nil)
	case 2:
		p.put("message that is cut", framed(message[:len(message)-1-p.rng.IntN(5)]), users[0], nil)
	case 3:
		p.put("aggregate that is cut", framed(message)[:4+p.rng.IntN(len(message)+16)], users[0], nil)
	case 4:
		users[p.rng.IntN(len(users))].noKey = true
		p.aggregate("key that is not in the table", users)
	case 5:
		users[p.rng.IntN(len(users))].ehk = []string{"x", "340282366920938463463374607431768211456", "-1"}[p.rng.IntN(3)]
		p.aggregate("explicit hash key that is none", users)
	case 6, 7, 8:
		p.put("plain", []byte(users[0].value), inner{key: users[0].key}, nil)
	default:
		p.aggregate("aggregate", users)
		if again := p.misplaced(users); len(again) > 0 {
			stale := p.shards
			p.refresh()
			for _, r := range again {
				p.aggregate("sent again", []inner{{key: r.key, ehk: r.ehk, value: r.value + "|again"}})
			}
			if p.rng.IntN(6) > 0 {
				p.shards = stale // it can take a while until the map is renewed
			}
		}
	}
}

// misplaced are the user records that do not belong where the first one does.
func (p *kplProducer) misplaced(users []inner) (out []inner) {
	for _, sh := range p.s.Shards() {
		if sh.Closed || !within(sh, users[0].hashOf()) {
			continue
		}
		for _, r := range users {
			if !within(sh, r.hashOf()) {
				out = append(out, r)
			}
		}
	}
	return out
}

// A delivery is which user records of a Kinesis record readers get in one mode.
type delivery struct {
	users   []user
	dropped int // by the rule of the mode
	damaged int
}

// expected is what a mode delivers of a record of a shard, by what it was meant to be.
func (p *kplProducer) expected(t *testing.T, mode string, sh kinesistest.ShardInfo, rec kinesistest.Record) (d delivery) {
	m, known := p.made[string(rec.Data)]
	if !known {
		t.Fatalf("nobody made %q", rec.Data)
	}
	if len(m.inners) == 0 || mode == "opaque" {
		d.users = []user{{sh.ID, rec.SequenceNumber, 0, rec.Key, string(rec.Data)}}
		return d
	}
	for i, r := range m.inners {
		u := user{sh.ID, rec.SequenceNumber, uint32(i), r.key, r.value}
		h := r.hashOf()
		bad := r.noKey || h == nil && mode != "keep-all"
		switch {
		case bad && mode == "kcl": // those behind it are gone, too
			d.damaged += len(m.inners) - i
			return d
		case bad:
			d.damaged++
		case mode == "keep-all" || within(sh, h):
			d.users = append(d.users, u)
		case mode == "kcl": // the whole aggregate, those behind it never looked at
			return delivery{dropped: len(m.inners)}
		default:
			d.dropped++
		}
	}
	return d
}

// all is what a mode delivers of the stream, and how often each kind was there.
func (p *kplProducer) all(t *testing.T, mode string) (d delivery, kinds map[string]int) {
	t.Helper()
	kinds = map[string]int{}
	for _, sh := range p.s.Shards() {
		records, err := p.s.Records(sh.ID)
		if err != nil {
			t.Fatal(err)
		}
		for _, rec := range records {
			one := p.expected(t, mode, sh, rec)
			d.users, d.dropped, d.damaged = append(d.users, one.users...), d.dropped+one.dropped, d.damaged+one.damaged
			kind := p.made[string(rec.Data)].kind
			if kind == "aggregate" && one.dropped > 0 {
				kind = "misplaced"
			}
			kinds[kind]++
		}
	}
	return d, kinds
}
