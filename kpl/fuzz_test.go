package kpl_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/big"
	"reflect"
	"slices"
	"testing"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/internal/memtest"
	"github.com/kinesis-msk-bridge/bridge/kpl"
)

// factor is how many times its own size an aggregate may make the package allocate. The
// worst is one of empty keys, two bytes each.
const factor = 160

// addGolden gives a target every record of the golden files: as it stands there, and its
// message alone, which the target seals. Mutated bytes rarely have the digest that belongs
// to them, and without it nothing behind the digest is reached.
func addGolden(f *testing.F, add func(c goldenCase, data []byte, sealed bool)) {
	full := kpl.FullRange()
	for _, file := range []string{"mutants.jsonl", "kcl-made.jsonl", "js-made.jsonl", "py-made.jsonl", "bridge-made.jsonl"} {
		for i, c := range readLines[goldenCase](f, file) {
			if c.Start == "" {
				c.Start, c.End = full.Start.String(), full.End.String()
			}
			if i%10 == 0 {
				add(c, c.Data, true)
			}
			if len(c.Data) > 20 {
				add(c, c.Data[4:len(c.Data)-16], false)
			}
		}
	}
}

// FuzzExpand holds, for any bytes, in each mode and for any shard, that nothing panics,
// that memory is bounded, that every user record is delivered or dropped, once, and that a
// laxer mode delivers what a stricter one does.
func FuzzExpand(f *testing.F) {
	addGolden(f, func(c goldenCase, data []byte, sealed bool) {
		shard, err := kpl.ParseHashRange(c.Start, c.End)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, sealed, shard.Start.Hi, shard.Start.Lo, shard.End.Hi, shard.End.Lo)
	})
	modes := []kpl.Mode{kpl.Opaque, kpl.KeepAll, kpl.KeepInRange, kpl.KCL}
	f.Fuzz(func(t *testing.T, data []byte, sealed bool, a, b, c, d uint64) {
		if !sealed {
			data = seal(data)
		}
		shard := kpl.HashRange{Start: kpl.HashKey{Hi: a, Lo: b}, End: kpl.HashKey{Hi: c, Lo: d}}
		var used kpl.Decoder
		laxer := map[uint32]bool{}
		for _, mode := range modes {
			var x kpl.Expansion
			var err error
			memtest.Bounded(t, len(data), factor, func() { x, err = kpl.Expand(mode, shard, []byte("outer"), data) })
			if err := sane(x, err, data, mode); err != nil {
				t.Fatalf("%s: %v", mode, err)
			}
			again, err2 := used.Expand(mode, shard, []byte("outer"), data)
			if !reflect.DeepEqual(normal(x), normal(again)) || fmt.Sprint(err) != fmt.Sprint(err2) {
				t.Fatalf("%s: a used decoder finds %v, %v, a new one %v, %v", mode, again, err2, x, err)
			}
			kept := map[uint32]bool{}
			for _, u := range x.Records {
				kept[u.Sub] = true
				if (mode == kpl.KeepInRange || mode == kpl.KCL) && !laxer[u.Sub] {
					t.Fatalf("%s delivers record %d, which a laxer mode drops", mode, u.Sub)
				}
			}
			laxer = kept
		}
	})
}

// normal has lists that are not nil.
func normal(x kpl.Expansion) kpl.Expansion {
	x.Records, x.Drops = append([]kpl.UserRecord{}, x.Records...), append([]kpl.Drop{}, x.Drops...)
	return x
}

// sane says what is wrong with an expansion.
func sane(x kpl.Expansion, err error, data []byte, mode kpl.Mode) error {
	if x.Aggregated != kpl.IsAggregate(data) || x.Aggregated != (x.Plain == nil) || !x.Aggregated && !errors.Is(x.Plain, kpl.ErrPlain) {
		return fmt.Errorf("aggregated %t, plain because %v", x.Aggregated, x.Plain)
	}
	if err != nil && (!errors.Is(err, bridge.ErrUndecodable) || len(x.Drops) == 0) {
		return fmt.Errorf("error %v with %d drops", err, len(x.Drops))
	}
	if !x.Aggregated || mode == kpl.Opaque {
		if len(x.Drops) != 0 || len(x.Records) != 1 || !bytes.Equal(x.Records[0].Data, data) || string(x.Records[0].Key) != "outer" {
			return fmt.Errorf("the record is not delivered as it is: %v", x)
		}
		return nil
	}
	if errors.Is(err, kpl.ErrLimit) {
		if len(x.Records) != 0 || len(x.Drops) != 1 || x.Drops[0].Reason != kpl.TooLarge {
			return fmt.Errorf("beyond the limits: %v", x)
		}
		return nil
	}
	return eachOnce(x)
}

// eachOnce says which user record is missing or there twice.
func eachOnce(x kpl.Expansion) error {
	all := slices.Clone(x.Records)
	damaged := false
	for _, d := range x.Drops {
		all = append(all, d.UserRecord)
		damaged = damaged || d.Reason.Undecodable()
		if d.Reason < kpl.OutOfRange || d.Reason >= kpl.TooLarge {
			return fmt.Errorf("record %d is dropped because %s", d.Sub, d.Reason)
		}
	}
	for _, list := range [][]kpl.UserRecord{x.Records, all[len(x.Records):]} {
		if !slices.IsSortedFunc(list, func(a, b kpl.UserRecord) int { return int(a.Sub) - int(b.Sub) }) {
			return fmt.Errorf("out of order: %v", list)
		}
	}
	slices.SortFunc(all, func(a, b kpl.UserRecord) int { return int(a.Sub) - int(b.Sub) })
	for i, u := range all {
		if u.Sub != uint32(i) || int(u.Subs) != len(all) {
			return fmt.Errorf("record %d of %d is called %d of %d", i, len(all), u.Sub, u.Subs)
		}
	}
	return nil
}

// FuzzRoundTrip decodes anything, builds an aggregate of what the builder takes of it, and
// decodes that: it is what went in, in as many bytes as were foretold.
func FuzzRoundTrip(f *testing.F) {
	addGolden(f, func(_ goldenCase, data []byte, sealed bool) {
		if !sealed {
			f.Add(data)
		}
	})
	f.Fuzz(func(t *testing.T, message []byte) {
		a, err := kpl.Decode(seal(message), kpl.Limits{})
		if err != nil {
			return
		}
		var b kpl.Builder
		var want []kpl.UserRecord
		for i := range a.Len() {
			u, _ := a.Record(i)
			size := b.SizeWith(u.Key, u.ExplicitHashKey, u.Data, u.Tags)
			switch err := b.Add(u.Key, u.ExplicitHashKey, u.Data, u.Tags); {
			case err == nil:
				want = append(want, u)
				if b.Size() != size {
					t.Fatalf("record %d: %d bytes, foretold %d", i, b.Size(), size)
				}
			case !errors.Is(err, bridge.ErrUnmappable):
				t.Fatalf("record %d: %v", i, err)
			}
		}
		data := b.Finish(nil)
		if len(data) != b.Size() || kpl.IsAggregate(data) != (len(want) > 0) {
			t.Fatalf("%d bytes, foretold %d; an aggregate %t", len(data), b.Size(), kpl.IsAggregate(data))
		}
		if len(want) == 0 {
			return
		}
		x, err := kpl.Expand(kpl.KeepAll, kpl.FullRange(), []byte("outer"), data)
		if err != nil || len(x.Records) != len(want) || len(x.Drops) != 0 {
			t.Fatalf("%d records came back as %d, %d dropped, %v", len(want), len(x.Records), len(x.Drops), err)
		}
		for i, w := range want {
			w.Sub = uint32(i)
			g := x.Records[i]
			if err := errors.Join(sameRecord(g, goldenRecord{Sub: w.Sub, Key: w.Key, EHK: w.ExplicitHashKey, Data: w.Data}), sameTags(g.Tags, w.Tags)); err != nil {
				t.Fatalf("record %d: %v", i, err)
			}
		}
	})
}

// FuzzTag holds that a value of a tag has one encoding only, and that anything can be one.
func FuzzTag(f *testing.F) {
	for _, s := range []string{"", "AA", "AB", "=", "A\nA", "AAAA", "\xff"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var got []byte
		var err error
		memtest.Bounded(t, len(b), 8, func() { got, err = (kpl.Tag{Value: b}).AppendBytes(nil) })
		switch {
		case err == nil && !bytes.Equal(kpl.AppendTagBytes(nil, got), b):
			t.Errorf("%q is a second encoding of %x", b, got)
		case err != nil && !errors.Is(err, bridge.ErrUndecodable):
			t.Error(err)
		}
		back, err := (kpl.Tag{Value: kpl.AppendTagBytes(nil, b)}).AppendBytes(nil)
		if err != nil || !bytes.Equal(back, b) {
			t.Errorf("%x comes back as %x, %v", b, back, err)
		}
	})
}

// FuzzHashKey compares with the arithmetic of the standard library.
func FuzzHashKey(f *testing.F) {
	for _, s := range []string{"", "0", "007", "-1", "+1", "x", "٣", "340282366920938463463374607431768211455", "340282366920938463463374607431768211456"} {
		f.Add(s)
	}
	limit := new(big.Int).Lsh(big.NewInt(1), 128)
	f.Fuzz(func(t *testing.T, s string) {
		h, err := kpl.ParseHashKey(s)
		want, ok := new(big.Int).SetString(s, 10)
		for _, c := range []byte(s) {
			ok = ok && c >= '0' && c <= '9'
		}
		ok = ok && want.Cmp(limit) < 0
		if (err == nil) != ok || ok && h.String() != want.String() {
			t.Errorf("%q reads as %s, %v", s, h, err)
		}
	})
}
