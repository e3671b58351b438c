package keymap_test

import (
	"crypto/md5"
	"hash/fnv"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/IBM/sarama"
	"github.com/kinesis-msk-bridge/bridge/keymap"
	"github.com/twmb/franz-go/pkg/kgo"
)

// keySeed is that of all keys that tests make up.
const keySeed = 20261124

// someKeys makes up n keys of 0 to 40 bytes, some of them text, some not.
func someKeys(n int) [][]byte {
	rng := rand.New(rand.NewPCG(keySeed, 1))
	keys := make([][]byte, n)
	for i := range keys {
		keys[i] = make([]byte, rng.IntN(41))
		for j := range keys[i] {
			keys[i][j] = byte(rng.Uint32())
			if i%2 == 0 {
				keys[i][j] = ' ' + keys[i][j]%95
			}
		}
	}
	return keys
}

// Every strategy agrees with the clients whose default it is, for every key and for odd
// and even numbers of partitions.
func TestClientsAgree(t *testing.T) {
	sama := func(c sarama.PartitionerConstructor) func([]byte, int) int {
		p := c("topic")
		return func(key []byte, n int) int {
			got, err := p.Partition(&sarama.ProducerMessage{Key: sarama.ByteEncoder(key)}, int32(n))
			if err != nil {
				t.Fatal(err)
			}
			return int(got)
		}
	}
	franz := func(p kgo.Partitioner) func([]byte, int) int {
		topic := p.ForTopic("topic")
		return func(key []byte, n int) int { return topic.Partition(&kgo.Record{Key: key}, n) }
	}
	fnv32a := func(b []byte) uint32 {
		h := fnv.New32a()
		h.Write(b)
		return h.Sum32()
	}
	for _, c := range []struct {
		strategy, client string
		place            func(key []byte, n int) int
	}{
		{"murmur2", "sarama NewMurmur2Partitioner", sama(sarama.NewMurmur2Partitioner)},
		{"murmur2", "franz-go StickyKeyPartitioner", franz(kgo.StickyKeyPartitioner(nil))},
		{"fnv1a", "sarama NewHashPartitioner", sama(sarama.NewHashPartitioner)},
		{"fnv1a", "franz-go SaramaCompatHasher", franz(kgo.StickyKeyPartitioner(kgo.SaramaCompatHasher(fnv32a)))},
		{"crc32", "sarama NewConsistentCRCHashPartitioner", sama(sarama.NewConsistentCRCHashPartitioner)},
		{"hash-range", "the definition", placeByRange},
	} {
		t.Run(c.strategy+" "+c.client, func(t *testing.T) {
			for _, n := range []int{1, 2, 3, 7, 12, 48, 1000, 65536} {
				s := strategy(t, c.strategy, n)
				for _, key := range someKeys(3000) {
					if got, want := partition(t, s, string(key)), c.place(key, n); got != want {
						t.Fatalf("seed %d: key %q over %d partitions: got %d, want %d", keySeed, key, n, got, want)
					}
				}
			}
		})
	}
}

// placeByRange is the number of the equal range of 2^128 that holds MD5(key).
func placeByRange(key []byte, n int) int {
	sum := md5.Sum(key)
	h := new(big.Int).SetBytes(sum[:])
	return int(h.Mul(h, big.NewInt(int64(n))).Rsh(h, 128).Int64())
}

// With a sign to be taken away, sarama's default and its reference partitioner differ, and
// both differ from Java. Whoever mixes them up splits keys.
func TestSignsDiffer(t *testing.T) {
	s := strategy(t, "fnv1a", 12)
	reference := sarama.NewReferenceHashPartitioner("topic")
	differ := 0
	for _, key := range someKeys(1000) {
		p, err := reference.Partition(&sarama.ProducerMessage{Key: sarama.ByteEncoder(key)}, 12)
		if err != nil {
			t.Fatal(err)
		}
		if int(p) != partition(t, s, string(key)) {
			differ++
		}
	}
	if differ < 300 {
		t.Errorf("%d of 1000 keys differ, expected about half", differ)
	}
}

// The ends of every range lie where the definition puts them, to the last bit.
func TestRangeEnds(t *testing.T) {
	for _, n := range []uint32{1, 2, 3, 7, 12, 1000, 999_983} {
		for i := uint32(0); i < n; i += 1 + n/50 {
			first := new(big.Int).Lsh(big.NewInt(int64(i)), 128) // ceil(i · 2^128 / n)
			first.Add(first, big.NewInt(int64(n)-1)).Div(first, big.NewInt(int64(n)))
			for _, d := range []int64{-1, 0, 1} {
				h := new(big.Int).Add(first, big.NewInt(d))
				want := i
				if d < 0 {
					want--
				}
				if h.Sign() < 0 || h.BitLen() > 128 {
					continue
				}
				low := new(big.Int).And(h, new(big.Int).SetUint64(1<<64-1)).Uint64()
				if got := keymap.RangeOf(h.Rsh(h, 64).Uint64(), low, n); got != want && n > 1 {
					t.Fatalf("range %d of %d, %+d: got %d, want %d", i, n, d, got, want)
				}
			}
		}
	}
}
