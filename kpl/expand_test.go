package kpl_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/kpl"
	"google.golang.org/protobuf/encoding/protowire"
)

// field writes a length-delimited field.
func field(b []byte, number protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, number, protowire.BytesType), v)
}

// user writes a Record; ehk below 0 is none.
func user(key uint64, ehk int, data string) []byte {
	b := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), key)
	if ehk >= 0 {
		b = protowire.AppendVarint(protowire.AppendTag(b, 2, protowire.VarintType), uint64(ehk))
	}
	return field(b, 3, []byte(data))
}

// lowerHalf is a shard that holds the keys "b" (MD5 92eb…) and "a" (0cc1…) or not.
func lowerHalf() kpl.HashRange {
	return kpl.HashRange{End: kpl.HashKey{Hi: math.MaxInt64, Lo: math.MaxUint64}}
}

// sketch renders an expansion so that tables can say what they want.
func sketch(x kpl.Expansion) string {
	var parts []string
	for _, r := range x.Records {
		parts = append(parts, fmt.Sprintf("%d/%d %s=%s", r.Sub, r.Subs, r.Key, r.Data))
	}
	for _, d := range x.Drops {
		parts = append(parts, fmt.Sprintf("drop %d/%d %s=%s %d", d.Sub, d.Subs, d.Key, d.Data, d.Reason))
	}
	return strings.Join(parts, ", ")
}

func TestExpand(t *testing.T) {
	tables := field(field(field(nil, 1, []byte("a")), 1, []byte("b")), 2, []byte("5"))
	tables = field(tables, 2, []byte("five"))
	message := func(users ...[]byte) []byte {
		b := slices.Clone(tables)
		for _, u := range users {
			b = field(b, 3, u)
		}
		return seal(b)
	}
	good := message(user(0, -1, "x"), user(1, 0, "y"))
	far := message(user(0, -1, "x"), user(1, -1, "y"), user(0, -1, "z"))
	bad := message(user(0, -1, "x"), user(2, -1, "y"), user(0, -1, "z"))
	badEHK := message(user(0, -1, "x"), user(0, 2, "y"), user(0, -1, "z"))
	noNumber := message(user(0, -1, "x"), user(0, 1, "y"), user(0, -1, "z"))
	badThenFar := message(user(0, -1, "x"), user(2, -1, "y"), user(1, -1, "z"))
	farThenBad := message(user(0, -1, "x"), user(1, -1, "y"), user(2, -1, "z"))
	wrapped := message(user(1<<32, -1, "x"), user(1<<63, 0, "y"))
	torn := slices.Clone(good)
	torn[len(torn)-1]++

	tests := []struct {
		name  string
		mode  kpl.Mode
		data  []byte
		want  string
		isErr bool
	}{
		{"good", kpl.KCL, good, "0/2 a=x, 1/2 b=y", false},
		{"good", kpl.KeepInRange, good, "0/2 a=x, 1/2 b=y", false},
		{"good", kpl.KeepAll, good, "0/2 a=x, 1/2 b=y", false},
		{"good", kpl.Opaque, good, "0/2 outer=" + string(good), false},
		{"one out of range", kpl.KCL, far, "drop 0/3 a=x 2, drop 1/3 b=y 1, drop 2/3 a=z 2", false},
		{"one out of range", kpl.KeepInRange, far, "0/3 a=x, 2/3 a=z, drop 1/3 b=y 1", false},
		{"one out of range", kpl.KeepAll, far, "0/3 a=x, 1/3 b=y, 2/3 a=z", false},
		{"key index", kpl.KCL, bad, "0/3 a=x, drop 1/3 =y 3, drop 2/3 a=z 5", true},
		{"key index", kpl.KeepInRange, bad, "0/3 a=x, 2/3 a=z, drop 1/3 =y 3", true},
		{"key index", kpl.KeepAll, bad, "0/3 a=x, 2/3 a=z, drop 1/3 =y 3", true},
		{"key index", kpl.Opaque, bad, "0/3 outer=" + string(bad), false},
		{"hash key index", kpl.KCL, badEHK, "0/3 a=x, drop 1/3 a=y 3, drop 2/3 a=z 5", true},
		{"no number", kpl.KCL, noNumber, "0/3 a=x, drop 1/3 a=y 4, drop 2/3 a=z 5", true},
		{"no number", kpl.KeepInRange, noNumber, "0/3 a=x, 2/3 a=z, drop 1/3 a=y 4", true},
		{"no number", kpl.KeepAll, noNumber, "0/3 a=x, 1/3 a=y, 2/3 a=z", false},
		{"bad before far", kpl.KCL, badThenFar, "0/3 a=x, drop 1/3 =y 3, drop 2/3 b=z 5", true},
		{"far before bad", kpl.KCL, farThenBad, "drop 0/3 a=x 2, drop 1/3 b=y 1, drop 2/3 =z 2", false},
		{"indexes are cast", kpl.KCL, wrapped, "0/2 a=x, 1/2 a=y", false},
		{"no records", kpl.KCL, message(), "", false},
		{"plain", kpl.KCL, []byte("hello"), "0/1 outer=hello", false},
		{"empty", kpl.KCL, nil, "0/1 outer=", false},
		{"torn", kpl.KeepAll, torn, "0/1 outer=" + string(torn), false},
		{"plain", kpl.Opaque, []byte("hello"), "0/1 outer=hello", false},
	}
	var d kpl.Decoder
	for _, tt := range tests {
		t.Run(tt.mode.String()+"/"+tt.name, func(t *testing.T) {
			x, err := d.Expand(tt.mode, lowerHalf(), []byte("outer"), tt.data)
			if got := sketch(x); got != tt.want || (err != nil) != tt.isErr {
				t.Errorf("got %s, %v\nwant %s, error %t", got, err, tt.want, tt.isErr)
			}
			if err != nil && !errors.Is(err, bridge.ErrUndecodable) {
				t.Errorf("%v is not of the class", err)
			}
			undecodable := slices.ContainsFunc(x.Drops, func(d kpl.Drop) bool { return d.Reason.Undecodable() })
			if undecodable != (err != nil) {
				t.Errorf("error %v, but undecodable drops: %t", err, undecodable)
			}
			if x.Aggregated != kpl.IsAggregate(tt.data) || x.Aggregated == (x.Plain != nil) {
				t.Errorf("aggregated %t, plain: %v", x.Aggregated, x.Plain)
			}
		})
	}
}

// Every record of an aggregate is delivered or dropped, once, in every mode.
func TestEveryRecordIsListed(t *testing.T) {
	var d kpl.Decoder
	for _, c := range mutants(4, 3000) {
		shard, err := kpl.ParseHashRange(c.Start, c.End)
		if err != nil {
			t.Fatal(err)
		}
		a, err := kpl.Decode(c.Data, kpl.Limits{})
		if err != nil {
			continue
		}
		for _, mode := range []kpl.Mode{kpl.KCL, kpl.KeepInRange, kpl.KeepAll} {
			x, _ := d.Expand(mode, shard, nil, c.Data)
			seen := make([]int, a.Len())
			for _, r := range x.Records {
				seen[r.Sub]++
			}
			for _, r := range x.Drops {
				seen[r.Sub]++
			}
			for i, n := range seen {
				if n != 1 {
					t.Fatalf("%s in mode %s: record %d of %d comes %d times", c.Name, mode, i, a.Len(), n)
				}
			}
		}
	}
}

func TestPlainReasons(t *testing.T) {
	good := seal([]byte{1<<3 | 2, 0})
	torn := slices.Clone(good)
	torn[5]++
	tests := []struct {
		name, want string
		data       []byte
	}{
		{"nothing", "other first bytes", nil},
		{"part of the magic", "other first bytes", []byte(magic[:3])},
		{"magic only", "nothing between", []byte(magic)},
		{"no message", "nothing between", seal(nil)},
		{"digest", "MD5 does not match", torn},
		{"message", "malformed", seal([]byte{0xff})},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := kpl.Decode(tt.data, kpl.Limits{})
			if !errors.Is(err, kpl.ErrPlain) || !strings.Contains(err.Error(), tt.want) || errors.Is(err, bridge.ErrUndecodable) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if kpl.IsAggregate(tt.data) {
				t.Error("is an aggregate")
			}
		})
	}
	if _, err := kpl.Decode(good, kpl.Limits{}); err != nil || !kpl.IsAggregate(good) {
		t.Errorf("an aggregate of one empty key and no records: %v", err)
	}
}

// bomb is an aggregate of n of the smallest fields of one kind.
func bomb(kind string, n int) []byte {
	unit := map[string][]byte{
		"records": field(nil, 3, user(0, -1, "")),
		"keys":    field(nil, 1, nil),
		"hashes":  field(nil, 2, nil),
		"tags":    field(nil, 4, field(nil, 1, nil)),
	}[kind]
	b := field(nil, 1, []byte("k"))
	if kind == "tags" {
		return seal(field(b, 3, append(user(0, -1, ""), bytes.Repeat(unit, n)...)))
	}
	return seal(append(b, bytes.Repeat(unit, n)...))
}

func TestLimits(t *testing.T) {
	small := kpl.Limits{Records: 5, Keys: 6, Tags: 7}
	// The one key that every bomb has counts, too.
	for kind, most := range map[string]int{"records": 5, "keys": 5, "hashes": 5, "tags": 7} {
		t.Run(kind, func(t *testing.T) {
			if _, err := kpl.Decode(bomb(kind, most), small); err != nil {
				t.Errorf("%d: %v", most, err)
			}
			if _, err := kpl.Decode(bomb(kind, most+1), small); !errors.Is(err, kpl.ErrLimit) || !errors.Is(err, bridge.ErrUndecodable) {
				t.Errorf("%d: %v, want ErrLimit", most+1, err)
			}
		})
	}
	d := kpl.Decoder{Limits: small}
	data := bomb("records", 9)
	for mode, want := range map[kpl.Mode]string{kpl.KCL: "drop 0/9 k=" + string(data) + " 6", kpl.Opaque: "0/9 k=" + string(data)} {
		x, err := d.Expand(mode, kpl.FullRange(), []byte("k"), data)
		if got := sketch(x); got != want || errors.Is(err, kpl.ErrLimit) != (mode == kpl.KCL) {
			t.Errorf("%s: %s, %v", mode, got, err)
		}
	}
	// Malformed behind the limit is still a plain record.
	b := bomb("records", 9)
	if _, err := kpl.Decode(seal(append(b[4:len(b)-16:len(b)-16], 0)), small); !errors.Is(err, kpl.ErrPlain) {
		t.Errorf("malformed and too large: %v", err)
	}
}

// Memory stays bounded whatever 10 MiB, the most that a Kinesis record can have, hold; and
// the defaults let through what fits in 1 MiB.
func TestBombs(t *testing.T) {
	const most = 96 << 20
	for kind, size := range map[string]int{"records": 6, "keys": 2, "hashes": 2, "tags": 4} {
		t.Run(kind, func(t *testing.T) {
			data := bomb(kind, 10<<20/size)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := kpl.Expand(kpl.KCL, kpl.FullRange(), nil, data)
			runtime.ReadMemStats(&after)
			if !errors.Is(err, kpl.ErrLimit) {
				t.Errorf("a bomb of 10 MiB: %v", err)
			}
			if n := after.TotalAlloc - before.TotalAlloc; n > most {
				t.Errorf("a bomb of 10 MiB allocates %d MiB", n>>20)
			}
		})
	}
	for _, kind := range []string{"records", "tags"} {
		if _, err := kpl.Decode(bomb(kind, 1<<20/6), kpl.Limits{}); err != nil {
			t.Errorf("1 MiB of %s: %v", kind, err)
		}
	}
}

func TestModes(t *testing.T) {
	for _, m := range []kpl.Mode{kpl.KCL, kpl.KeepInRange, kpl.KeepAll, kpl.Opaque} {
		if got, err := kpl.ParseMode(m.String()); got != m || err != nil {
			t.Errorf("%s reads as %s, %v", m, got, err)
		}
	}
	for _, name := range []string{"", "KCL", "keep", "Mode(4)"} {
		if m, err := kpl.ParseMode(name); err == nil {
			t.Errorf("%q reads as %s", name, m)
		}
	}
}

func TestHashKeys(t *testing.T) {
	full := kpl.FullRange()
	if got := full.String(); got != "0-340282366920938463463374607431768211455" {
		t.Errorf("the full range is %s", got)
	}
	for _, s := range []string{"", "-1", "+1", " 1", "1x", "١", "340282366920938463463374607431768211456"} {
		if h, err := kpl.ParseHashKey(s); err == nil {
			t.Errorf("%q reads as %s", s, h)
		}
	}
	if _, err := kpl.ParseHashRange("2", "1"); err == nil {
		t.Error("a range that ends before it begins is taken")
	}
	// MD5("a") is 0cc175b9c0f1b6a831c399e269772661.
	if got, want := kpl.KeyHash([]byte("a")), (kpl.HashKey{Hi: 0x0cc175b9c0f1b6a8, Lo: 0x31c399e269772661}); got != want {
		t.Errorf("hash of a: %s, want %s", got, want)
	}
	r := kpl.HashRange{Start: kpl.HashKey{Hi: 1}, End: kpl.HashKey{Hi: 2, Lo: 5}}
	for h, want := range map[kpl.HashKey]bool{
		{Hi: 1}: true, {Lo: math.MaxUint64}: false, {Hi: 2, Lo: 5}: true, {Hi: 2, Lo: 6}: false, {Hi: 1, Lo: math.MaxUint64}: true,
	} {
		if r.Contains(h) != want {
			t.Errorf("%s contains %s: %t", r, h, !want)
		}
	}
}
