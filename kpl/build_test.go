package kpl_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/kpl"
)

// Sizes are exact at every step, over every edge of a varint, and a builder that was used
// before makes the same as a new one.
func TestBuilderSizes(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	var used kpl.Builder
	for n := range 300 {
		var fresh kpl.Builder
		used.Reset()
		if got := used.Finish([]byte("x")); string(got) != "x" || used.Size() != 0 || used.Len() != 0 {
			t.Fatalf("an empty builder has %d bytes and appends %q", used.Size(), got)
		}
		for i := range 1 + rng.IntN(200) {
			r := randomRecord(rng, n, i)
			r.Data = make([]byte, []int{0, 1, 100, 119, 120, 121, 122, 123, 124, 125, 126, 127, 128, 16370, 16384}[rng.IntN(15)])
			want := used.SizeWith(r.Key, r.EHK, r.Data, r.tags())
			for _, b := range []*kpl.Builder{&used, &fresh} {
				if err := b.Add(r.Key, r.EHK, r.Data, r.tags()); err != nil {
					t.Fatal(err)
				}
			}
			if used.Size() != want || used.Len() != i+1 {
				t.Fatalf("%d records have %d bytes, foretold %d", used.Len(), used.Size(), want)
			}
			if i%16 == 0 {
				if got := len(used.Finish(nil)); got != want {
					t.Fatalf("finished %d bytes, foretold %d", got, want)
				}
			}
		}
		if a, b := used.Finish([]byte("x")), fresh.Finish([]byte("x")); !bytes.Equal(a, b) || len(a) != fresh.Size()+1 {
			t.Fatal("a used builder makes something else than a new one")
		}
	}
}

// Max is met to the byte, and a record that is refused leaves no trace.
func TestBuilderMax(t *testing.T) {
	data := make([]byte, 100)
	size := new(kpl.Builder).SizeWith([]byte("key"), nil, data, nil)
	for _, max := range []int{size - 1, size, size + 1} {
		b := kpl.Builder{Max: max}
		err := b.Add([]byte("key"), nil, data, nil)
		if errors.Is(err, bridge.ErrOversize) != (max < size) || (err == nil) != (max >= size) {
			t.Errorf("%d bytes into %d: %v", size, max, err)
		}
	}
	b := kpl.Builder{Max: 400}
	var n int
	for ; ; n++ {
		before := b.Finish(nil)
		tags := []kpl.Tag{{Key: []byte("t")}}
		if err := b.Add(fmt.Appendf(nil, "key%d", n), []byte("7"), data[:50], tags); err != nil {
			if after := b.Finish(nil); !bytes.Equal(before, after) || b.Len() != n || b.Size() != len(after) {
				t.Error("the record that was refused left a trace")
			}
			break
		}
	}
	if n < 3 {
		t.Errorf("only %d records in %d bytes", n, b.Max)
	}
	b.Reset()
	if err := b.Add([]byte("key0"), nil, nil, nil); err != nil || b.Len() != 1 {
		t.Errorf("after Reset: %v", err)
	}
}

func TestBuilderRefuses(t *testing.T) {
	long := strings.Repeat("é", 256)
	tests := []struct {
		name string
		key  string
		ehk  []byte
		tags []kpl.Tag
		ok   bool
	}{
		{"a key", "k", nil, nil, true},
		{"256 characters of two bytes", long, nil, nil, true},
		{"257 characters", long + "k", nil, nil, false},
		{"256 characters of two UTF-16 units", strings.Repeat("😀", 256), nil, nil, false},
		{"128 characters of two UTF-16 units", strings.Repeat("😀", 128), nil, nil, true},
		{"no key", "", nil, nil, false},
		{"not UTF-8", "a\xff", nil, nil, false},
		{"hash key", "k", []byte("340282366920938463463374607431768211455"), nil, true},
		{"empty hash key", "k", []byte{}, nil, false},
		{"large hash key", "k", []byte("340282366920938463463374607431768211456"), nil, false},
		{"negative hash key", "k", []byte("-1"), nil, false},
		{"hash key of another script", "k", []byte("٣"), nil, false},
		{"tags", "k", nil, []kpl.Tag{{}, {Key: []byte("k"), Value: []byte{}}}, true},
		{"tag key", "k", nil, []kpl.Tag{{Key: []byte{0xff}}}, false},
		{"tag value", "k", nil, []kpl.Tag{{Value: []byte{0xff}}}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var b kpl.Builder
			err := b.Add([]byte(tt.key), tt.ehk, nil, tt.tags)
			if (err == nil) != tt.ok || err != nil && !errors.Is(err, bridge.ErrUnmappable) {
				t.Errorf("got %v", err)
			}
			if !tt.ok && b.Len() != 0 {
				t.Error("added all the same")
			}
		})
	}
}

// Keys stand in the tables once, in the order of their first use, below and above the
// number from which on a map is used.
func TestTables(t *testing.T) {
	for _, keys := range []int{1, 2, 8, 9, 10, 300} {
		var b kpl.Builder
		for round := range 3 {
			for k := range keys {
				if round == 2 {
					k = keys - 1 - k
				}
				key := fmt.Appendf(nil, "key-%d", k)
				if err := b.Add(key, fmt.Append(nil, k), nil, nil); err != nil {
					t.Fatal(err)
				}
			}
		}
		data := b.Finish(nil)
		for k := range keys {
			if n := bytes.Count(data, fmt.Appendf([]byte{1<<3 | 2, byte(len(fmt.Sprintf("key-%d", k)))}, "key-%d", k)); n != 1 {
				t.Errorf("%d keys: %d times key %d", keys, n, k)
			}
		}
		a, err := kpl.Decode(data, kpl.Limits{Keys: 2 * keys})
		if err != nil {
			t.Fatal(err)
		}
		for i := range a.Len() {
			k := i % keys
			if i/keys == 2 {
				k = keys - 1 - k
			}
			r, err := a.Record(i)
			if err != nil || string(r.Key) != fmt.Sprintf("key-%d", k) || string(r.ExplicitHashKey) != fmt.Sprint(k) {
				t.Fatalf("%d keys, record %d: %q %q, %v", keys, i, r.Key, r.ExplicitHashKey, err)
			}
		}
	}
}

func TestTagBytes(t *testing.T) {
	for n := range 300 {
		value := bytes.Repeat([]byte{byte(n), 0xff}, n)[:n]
		text := kpl.AppendTagBytes(nil, value)
		got, err := kpl.Tag{Value: text}.AppendBytes([]byte("x"))
		if err != nil || text == nil || !bytes.Equal(got[1:], value) || got[0] != 'x' {
			t.Fatalf("%x reads as %x, %v", value, got, err)
		}
	}
	for _, text := range []string{"=", "AA==", "AB", "A\nA", "Ä", "A"} {
		if got, err := (kpl.Tag{Value: []byte(text)}).AppendBytes([]byte("x")); !errors.Is(err, bridge.ErrUndecodable) || string(got) != "x" {
			t.Errorf("%q reads as %x, %v", text, got, err)
		}
	}
}
