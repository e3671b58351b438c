package keymap_test

import (
	"bytes"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/keymap"
)

// Every key goes to Kinesis and back to itself and to its own partition.
func TestRestored(t *testing.T) {
	const seed, n = 5, 12
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	direct, err := keymap.New("murmur2", n)
	if err != nil {
		t.Fatal(err)
	}
	back := keymap.Restored(direct)
	coded, nulls, refused := 0, 0, 0
	for i := range 100_000 {
		r := bridge.Record{Partition: strconv.Itoa(rng.IntN(n)), Position: bridge.OffsetPosition(int64(i))}
		if rng.IntN(10) > 0 {
			r.Key = make([]byte, rng.IntN(210))
			for j := range r.Key {
				r.Key[j] = byte(rng.IntN(256))
				if i%2 == 0 {
					r.Key[j] %= 128
				}
			}
		}
		there, err := keymap.PartitionKeys(keymap.Spread).Route(&r)
		if err != nil {
			refused++
			continue
		}
		if !bytes.Equal(there.Key, r.Key) {
			coded++
		}
		home, err := back.Route(&bridge.Record{Key: there.Key})
		if err != nil || !bytes.Equal(home.Key, r.Key) || (home.Key == nil) != (r.Key == nil) {
			t.Fatalf("key %q came back as %q, %v", r.Key, home.Key, err)
		}
		want := r.Partition
		if r.Key == nil {
			nulls++
		} else if route, err := direct.Route(&r); err != nil || route.Partition == "" {
			t.Fatal(err)
		} else {
			want = route.Partition
		}
		if home.Partition != want {
			t.Fatalf("key %q came back to partition %s, want %s", r.Key, home.Partition, want)
		}
	}
	t.Logf("%d coded, %d of them null; %d refused", coded, nulls, refused)
	if coded == 0 || nulls == 0 || refused == 0 {
		t.Error("not exercised")
	}
	if _, err := back.Route(&bridge.Record{Key: []byte("~b:x")}); err == nil {
		t.Error("a key that no mirror makes was taken")
	}
}
