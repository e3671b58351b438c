package keymap_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
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

func TestNew(t *testing.T) {
	for _, v := range []struct {
		name       string
		partitions int
		want       string
	}{
		{"table", 12, "there are crc32, fnv1a, hash-range, murmur2"},
		{"", 12, "not available in this version"},
		{"murmur2(12)", 12, "not available in this version"},
		{"murmur2", 0, "there must be 1 to 1000000"},
		{"murmur2", -1, "there must be 1 to 1000000"},
		{"murmur2", 1_000_001, "there must be 1 to 1000000"},
	} {
		s, err := keymap.New(v.name, v.partitions)
		if s != nil || err == nil || !strings.Contains(err.Error(), v.want) {
			t.Errorf("New(%q, %d): %v, %v; want %q", v.name, v.partitions, s, err, v.want)
		}
	}
	for _, name := range keymap.Names() {
		if s := strategy(t, name, 12); s.Name() != name+"(12)" {
			t.Errorf("%s is named %s", name, s.Name())
		}
	}
}

// A record without a key cannot come from Kinesis, or comes from a stream without order.
func TestNoKey(t *testing.T) {
	for _, name := range keymap.Names() {
		_, err := strategy(t, name, 12).Route(&bridge.Record{Partition: "shardId-000000000000"})
		if !errors.Is(err, bridge.ErrUnmappable) || bridge.Hint(err) == "" {
			t.Errorf("%s: %v, want ErrUnmappable with a hint", name, err)
		}
	}
}

func TestBucket(t *testing.T) {
	for _, v := range []struct {
		key       []byte
		partition int
		want      byte
	}{
		{[]byte("a"), 7, 0x0c},
		{[]byte("user-123"), 0, 0xbc},
		{[]byte{}, 0, 0xd4},
		{nil, 0, 0},
		{nil, 255, 255},
		{nil, 256, 0},
		{nil, 1000, 232},
	} {
		if got := keymap.Bucket(v.key, v.partition); got != v.want {
			t.Errorf("bucket of %q in partition %d: %#x, want %#x", v.key, v.partition, got, v.want)
		}
	}
}

// Routing allocates nothing for the keys that nearly all records have.
func TestAllocations(t *testing.T) {
	rec := &bridge.Record{Key: []byte("user-123"), Partition: "3", Position: bridge.OffsetPosition(5)}
	list := []keymap.Strategy{keymap.PartitionKeys(keymap.Spread)}
	for _, name := range keymap.Names() {
		list = append(list, strategy(t, name, 48))
	}
	for _, s := range list {
		if n := testing.AllocsPerRun(100, func() { _, _ = s.Route(rec) }); n != 0 {
			t.Errorf("%s: %v allocations a record", s.Name(), n)
		}
	}
}

func BenchmarkRoute(b *testing.B) {
	rec := &bridge.Record{Key: []byte("user-0123456789"), Partition: "3", Position: bridge.OffsetPosition(5)}
	list := []keymap.Strategy{keymap.PartitionKeys(keymap.Spread)}
	for _, name := range keymap.Names() {
		list = append(list, strategy(b, name, 48))
	}
	for _, s := range list {
		b.Run(s.Name(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Route(rec); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func ExampleNew() {
	keys, err := keymap.New("murmur2", 12)
	if err != nil {
		fmt.Println(err)
		return
	}
	route, err := keys.Route(&bridge.Record{Key: []byte("user-123")})
	fmt.Println(keys.Name(), route.Partition, err)
	// Output: murmur2(12) 8 <nil>
}

func ExamplePartitionKeys() {
	keys := keymap.PartitionKeys(keymap.Spread)
	route, err := keys.Route(&bridge.Record{Partition: "3", Position: bridge.OffsetPosition(5)})
	fmt.Printf("%s %v\n", route.Key, err)
	was, err := keymap.DecodePartitionKey(string(route.Key))
	fmt.Println(was.Key == nil, was.Partition, was.Position, err)
	// Output:
	// ~b:n:3:5 <nil>
	// true 3 5 <nil>
}

func ExampleBucket() {
	fmt.Println(keymap.Bucket([]byte("user-123"), 0), keymap.Bucket(nil, 3))
	// Output: 188 3
}
