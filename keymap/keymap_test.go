package keymap_test

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/keymap"
)

func strategy(t testing.TB, name string, partitions int) keymap.Strategy {
	t.Helper()
	s, err := keymap.New(name, partitions)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func partition(t testing.TB, s keymap.Strategy, key string) int {
	t.Helper()
	r, err := s.Route(&bridge.Record{Key: []byte(key)})
	if err != nil {
		t.Fatalf("%s: route %q: %v", s.Name(), key, err)
	}
	if string(r.Key) != key {
		t.Fatalf("%s: key %q became %q", s.Name(), key, r.Key)
	}
	n, err := strconv.Atoi(r.Partition)
	if err != nil {
		t.Fatalf("%s: partition of %q: %v", s.Name(), key, err)
	}
	return n
}

// The vectors of murmur2 come from the Java client, those of fnv1a from sarama, the
// checksums of crc32 are the published check values of CRC-32, and the hash keys were
// taken from a Kinesis stream.
func TestVectors(t *testing.T) {
	for _, v := range []struct {
		name       string
		partitions int
		key        string
		want       int
	}{
		{"murmur2", 12, "", 9},
		{"murmur2", 12, "21", 0},
		{"murmur2", 12, "foobar", 6},
		{"murmur2", 12, "abc", 3},
		{"murmur2", 12, "user-123", 8},
		{"murmur2", 1 << 16, "", 275646681 % (1 << 16)},
		{"murmur2", 1 << 16, "abc", 479470107 % (1 << 16)},
		{"murmur2", 1 << 16, "21", (-973932308 & 0x7fffffff) % (1 << 16)},
		{"murmur2", 1 << 16, "foobar", (-790332482 & 0x7fffffff) % (1 << 16)},
		{"murmur2", 1 << 16, "user-123", (-1468255980 & 0x7fffffff) % (1 << 16)},
		{"fnv1a", 12, "foobar", 0},
		{"fnv1a", 12, "user-123", 5},
		{"crc32", 1 << 16, "123456789", 0xcbf43926 % (1 << 16)},
		{"crc32", 12, "", 0},
		{"hash-range", 1, "a", 0},
		{"hash-range", 2, "a", 0},
		{"hash-range", 2, "user-123", 1},
		{"hash-range", 256, "a", 0x0c},
	} {
		t.Run(fmt.Sprintf("%s(%d) %q", v.name, v.partitions, v.key), func(t *testing.T) {
			if got := partition(t, strategy(t, v.name, v.partitions), v.key); got != v.want {
				t.Errorf("got partition %d, want %d", got, v.want)
			}
		})
	}
}
