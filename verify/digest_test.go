package verify

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
)

func record() bridge.Record {
	return bridge.Record{Key: []byte("k"), Value: []byte("v"), Headers: []bridge.Header{{Key: "h", Value: []byte("1")}}, Time: time.UnixMilli(1000)}
}

// Whatever differs in a record differs in its digest, if the target keeps it.
func TestDigestHoldsEveryPart(t *testing.T) {
	all := Keeps{Time: true, Headers: true, Nulls: true}
	for _, c := range []struct {
		name   string
		keeps  Keeps
		change func(r *bridge.Record)
		same   bool
	}{
		{"key", all, func(r *bridge.Record) { r.Key = []byte("K") }, false},
		{"no key", all, func(r *bridge.Record) { r.Key = nil }, false},
		{"value", all, func(r *bridge.Record) { r.Value = []byte("w") }, false},
		{"value moved into the key", all, func(r *bridge.Record) { r.Key, r.Value = []byte("kv"), []byte{} }, false},
		{"empty", all, func(r *bridge.Record) { r.Value = []byte{} }, false},
		{"header value", all, func(r *bridge.Record) { r.Headers[0].Value = nil }, false},
		{"header name", all, func(r *bridge.Record) { r.Headers[0].Key = "H" }, false},
		{"header twice", all, func(r *bridge.Record) { r.Headers = append(r.Headers, r.Headers[0]) }, false},
		{"time", all, func(r *bridge.Record) { r.Time = r.Time.Add(time.Millisecond) }, false},
		{"time that is not kept", Keeps{Headers: true, Nulls: true}, func(r *bridge.Record) { r.Time = r.Time.Add(time.Millisecond) }, true},
		{"headers that are not kept", Keeps{Time: true, Nulls: true}, func(r *bridge.Record) { r.Headers = nil }, true},
		{"place", all, func(r *bridge.Record) { r.Partition, r.Position = "9", bridge.OffsetPosition(9) }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newCanon(bridge.WorkflowKey{1}, c.keeps, false).digester()
			a, b := record(), record()
			c.change(&b)
			x, _ := d.of(a.Key, &a)
			y, _ := d.of(b.Key, &b)
			if (x == y) != c.same {
				t.Errorf("same digest: %t, want %t", x == y, c.same)
			}
		})
	}
}

func TestDigestTellsNullFromEmpty(t *testing.T) {
	for _, nulls := range []bool{true, false} {
		d := newCanon(bridge.WorkflowKey{1}, Keeps{Nulls: nulls}, false).digester()
		a, b := bridge.Record{Key: []byte("k")}, bridge.Record{Key: []byte("k"), Value: []byte{}}
		x, _ := d.of(a.Key, &a)
		y, _ := d.of(b.Key, &b)
		if (x == y) == nulls {
			t.Errorf("a null value and an empty one have the same digest: %t, where the target keeps nulls: %t", x == y, nulls)
		}
	}
}

// A digest depends on the workflow's key, and on its coordinate once it is bound.
func TestDigestIsKeyedAndBound(t *testing.T) {
	r := record()
	a := newCanon(bridge.WorkflowKey{1}, Keeps{}, false)
	x, _ := a.digester().of(r.Key, &r)
	y, _ := newCanon(bridge.WorkflowKey{2}, Keeps{}, false).digester().of(r.Key, &r)
	if x == y {
		t.Error("two keys give one digest")
	}
	seen := map[digest]string{}
	for _, partition := range []string{"1", "11", ""} {
		for _, at := range []bridge.Position{{Seq: "1"}, {Seq: "11"}, {Seq: "1", Sub: 1}, {Seq: "1", Sub: 11}, {}} {
			where := partition + " " + at.String()
			d := a.bind(x, partition, at)
			if other, ok := seen[d]; ok {
				t.Errorf("at %q and at %q a record has the same digest", where, other)
			}
			seen[d] = where
		}
	}
}

// A checksum that is linear, as a CRC is, can be cancelled by whoever knows it: the
// digests of four inputs whose exclusive-or is zero would have that property, too.
func TestDigestIsNotLinear(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 100 {
		in := make([][]byte, 4)
		for i := range in {
			in[i] = make([]byte, 32)
			for j := range in[i] {
				in[i][j] = byte(rng.Uint32())
			}
		}
		for j := range in[3] {
			in[3][j] = in[0][j] ^ in[1][j] ^ in[2][j]
		}
		var x digest
		for _, b := range in {
			d := sum128(b)
			x.Hi, x.Lo = x.Hi^d.Hi, x.Lo^d.Lo
		}
		if x.Hi == 0 || x.Lo == 0 {
			t.Fatal("the digest is linear")
		}
	}
}

// Two records that changed alike cancel each other in an exclusive-or, not in a sum.
func TestSumDoesNotCancel(t *testing.T) {
	a, b, c := sum128([]byte("a")), sum128([]byte("b")), sum128([]byte("c"))
	var x, y tally
	for _, d := range []digest{a, b, b} {
		x.add(d, 1)
	}
	for _, d := range []digest{a, c, c} {
		y.add(d, 1)
	}
	if x == y {
		t.Error("{a b b} and {a c c} have the same sum")
	}
	z := x
	z.remove(x)
	if !z.isZero() {
		t.Errorf("what is added and removed leaves %+v", z)
	}
}

// Sums of many digests do not depend on their order, nor on how they are grouped.
func TestSumIsAMultiset(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	var all []digest
	for i := range 1000 {
		all = append(all, sum128(fmt.Append(nil, i)))
	}
	var want tally
	for _, d := range all {
		want.add(d, 3)
	}
	for range 20 {
		rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		var got, part tally
		for i, d := range all {
			part.add(d, 3)
			if i%7 == 0 {
				got.merge(part)
				part = tally{}
			}
		}
		got.merge(part)
		if got != want {
			t.Fatalf("got %+v, want %+v", got, want)
		}
	}
}
