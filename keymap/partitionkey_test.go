package keymap_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/keymap"
)

func kafkaRecord(key []byte, partition string, offset int64) *bridge.Record {
	return &bridge.Record{Key: key, Partition: partition, Position: bridge.OffsetPosition(offset)}
}

// The stored form is fixed: records that were written with it must be read for ever.
func TestPartitionKeyVectors(t *testing.T) {
	long := strings.Repeat("x", 256)
	for _, v := range []struct {
		nulls string
		rec   *bridge.Record
		want  string // empty: unmappable
	}{
		{"spread", kafkaRecord([]byte("user-123"), "3", 5), "user-123"},
		{"spread", kafkaRecord([]byte("schlüssel 😀"), "3", 5), "schlüssel 😀"},
		{"spread", kafkaRecord([]byte(long), "3", 5), long},
		{"spread", kafkaRecord([]byte("~b"), "3", 5), "~b"},
		{"spread", kafkaRecord([]byte{}, "3", 5), "~b:k:"},
		{"spread", kafkaRecord([]byte("~b:"), "3", 5), "~b:k:fmI6"},
		{"spread", kafkaRecord([]byte("~b:n:0:1"), "3", 5), "~b:k:fmI6bjowOjE"},
		{"spread", kafkaRecord([]byte{0xff, 0xfe}, "3", 5), "~b:k:__4"},
		{"spread", kafkaRecord([]byte{0xff}, "3", 5), "~b:k:_w"},
		{"spread", kafkaRecord(bytes.Repeat([]byte{0xff}, 188), "3", 5), "~b:k:" + strings.Repeat("_", 250) + "8"},
		{"spread", kafkaRecord(bytes.Repeat([]byte{0xff}, 189), "3", 5), ""},
		{"spread", kafkaRecord([]byte(long+"x"), "3", 5), ""},
		{"spread", kafkaRecord([]byte(strings.Repeat("ü", 256)), "3", 5), strings.Repeat("ü", 256)},
		{"spread", kafkaRecord([]byte(strings.Repeat("😀", 128)), "3", 5), strings.Repeat("😀", 128)},
		{"spread", kafkaRecord([]byte(strings.Repeat("😀", 129)), "3", 5), ""},
		{"spread", kafkaRecord(nil, "3", 5), "~b:n:3:5"},
		{"spread", kafkaRecord(nil, "0", 0), "~b:n:0:0"},
		{"spread", kafkaRecord(nil, "2147483647", 1<<63-1), "~b:n:2147483647:9223372036854775807"},
		{"spread", kafkaRecord(nil, "3", -1), ""},
		{"spread", kafkaRecord(nil, "shardId-000000000000", 5), ""},
		{"partition-order", kafkaRecord(nil, "3", 5), "~b:n:3"},
		{"partition-order", kafkaRecord(nil, "03", 5), ""},
		{"partition-order", kafkaRecord([]byte("k"), "3", 5), "k"},
		{"", kafkaRecord(nil, "3", 5), ""},
		{"", kafkaRecord([]byte("k"), "3", 5), "k"},
	} {
		s := keymap.PartitionKeys(v.nulls)
		if want := "partition-key(" + v.nulls + ")"; s.Name() != want {
			t.Errorf("name %q, want %q", s.Name(), want)
		}
		r, err := s.Route(v.rec)
		if (v.want == "") != errors.Is(err, bridge.ErrUnmappable) || string(r.Key) != v.want || r.Partition != "" {
			t.Errorf("%s of %q: got %q to %q, %v; want %q", s.Name(), v.rec.Key, r.Key, r.Partition, err, v.want)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, key := range []string{
		"", "\xff", strings.Repeat("x", 257), strings.Repeat("😀", 129),
		"~b:", "~b:x:", "~b:k", "~b:n", // of another version, or somebody's own
		"~b:k:fmI6=", "~b:k:fmI6\n", "~b:k:fm I6", "~b:k:+/8", "~b:k:__5", // not as it is encoded
		"~b:k:dXNlcg",                                                                             // what would have been kept as it is
		"~b:n:", "~b:n:x", "~b:n:03", "~b:n:3:", "~b:n:3:05", "~b:n:3:5:", "~b:n:-1", "~b:n:+1:5", // not numbers as Kafka writes them
		"~b:n:2147483648", "~b:n:0:9223372036854775808",
	} {
		if o, err := keymap.DecodePartitionKey(key); !errors.Is(err, bridge.ErrUndecodable) {
			t.Errorf("decode %q: got %+v, %v; want ErrUndecodable", key, o, err)
		}
	}
}

// checkKey proves that a key comes back as it was, or is refused because it cannot fit.
func checkKey(t testing.TB, key []byte) (mapped bool) {
	r, err := keymap.PartitionKeys(keymap.Spread).Route(kafkaRecord(key, "3", 5))
	if err != nil {
		if !errors.Is(err, bridge.ErrUnmappable) || len(key) <= 188 {
			t.Fatalf("key %q of %d bytes: %v", key, len(key), err)
		}
		return false
	}
	if n := len(utf16.Encode([]rune(string(r.Key)))); !utf8.Valid(r.Key) || n < 1 || n > 256 {
		t.Fatalf("key %q became %q, which is no partition key", key, r.Key)
	}
	o, err := keymap.DecodePartitionKey(string(r.Key))
	if err != nil || o.Key == nil || !bytes.Equal(o.Key, key) || o.Partition != "" || !o.Position.IsZero() {
		t.Fatalf("key %q became %q, and that %+v, %v", key, r.Key, o, err)
	}
	return true
}

// A million keys that are unlike each other come back as they were, so that no two of them
// share a partition key.
func TestReversible(t *testing.T) {
	rng := rand.New(rand.NewPCG(keySeed, 2))
	pieces := []string{"~b:", "~b:k:", "~b:n:", "~", "a", "ü", "😀", "\x00", "\xff", "\xed\xa0\x80", "\ufffd", "0:1", "="}
	var key []byte
	refused := 0
	for range 1_000_000 {
		key = key[:0]
		for range rng.IntN(6) {
			key = append(key, pieces[rng.IntN(len(pieces))]...)
		}
		switch rng.IntN(8) {
		case 0:
			key = fmt.Appendf(key, "%d", rng.Uint64())
		case 1:
			for range rng.IntN(270) {
				key = append(key, byte(rng.Uint32()))
			}
		case 2:
			key = append(key, strings.Repeat(pieces[3+rng.IntN(4)], rng.IntN(200))...)
		}
		if !checkKey(t, key) {
			refused++
		}
	}
	t.Logf("seed %d: 1,000,000 keys, %d of them too long", keySeed, refused)
	if refused == 0 || refused > 300_000 {
		t.Errorf("%d refused: the keys are not as varied as they should be", refused)
	}
}

// Records without a key have each its own partition key, which says where they stood.
func TestNulls(t *testing.T) {
	rng := rand.New(rand.NewPCG(keySeed, 3))
	for range 100_000 {
		p, o := fmt.Sprint(rng.IntN(1000)), rng.Int64N(1<<rng.IntN(63)+1)
		for _, nulls := range []string{keymap.Spread, keymap.PartitionOrder} {
			r, err := keymap.PartitionKeys(nulls).Route(kafkaRecord(nil, p, o))
			if err != nil {
				t.Fatal(err)
			}
			want := keymap.Original{Partition: p}
			if nulls == keymap.Spread {
				want.Position = bridge.OffsetPosition(o)
			}
			got, err := keymap.DecodePartitionKey(string(r.Key))
			if err != nil || got.Key != nil || got.Partition != want.Partition || got.Position != want.Position {
				t.Fatalf("seed %d: %s of %s %d became %q, and that %+v, %v", keySeed, nulls, p, o, r.Key, got, err)
			}
		}
	}
}

func FuzzKey(f *testing.F) {
	for _, s := range []string{"", "k", "~b:k:", "\xff", strings.Repeat("😀", 128)} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, key []byte) {
		if key == nil {
			key = []byte{}
		}
		checkKey(t, key)
	})
}

// What decodes is what the strategy makes, letter by letter.
func FuzzDecodePartitionKey(f *testing.F) {
	for _, s := range []string{"k", "~b:k:__4", "~b:n:3:5", "~b:n:3", "~b:"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, key string) {
		o, err := keymap.DecodePartitionKey(key)
		if err != nil {
			return
		}
		s := keymap.PartitionKeys(keymap.Spread)
		if o.Key == nil && o.Position.IsZero() {
			s = keymap.PartitionKeys(keymap.PartitionOrder)
		}
		r, err := s.Route(&bridge.Record{Key: o.Key, Partition: o.Partition, Position: o.Position})
		if err != nil || string(r.Key) != key {
			t.Errorf("%q decodes to %+v, which makes %q, %v", key, o, r.Key, err)
		}
	})
}
