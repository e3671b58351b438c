package keymap

import (
	"crypto/md5"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/kinesis-msk-bridge/bridge"
)

// A Route is where a record goes.
type Route struct {
	// Key to be written. It may be the record's own slice and must not be changed.
	Key []byte
	// Partition to be written to; empty if the target places by Key, as Kinesis does.
	Partition string
}

// A Strategy maps records to routes. It is pure, keeps nothing of the record, and is safe
// for concurrent use.
type Strategy interface {
	// Name holds the parameters, too: "murmur2(12)".
	Name() string
	// Route wraps bridge.ErrUnmappable if the target cannot express the record's key.
	Route(r *bridge.Record) (Route, error)
}

// hashes are the strategies on the way to Kafka: from a key to a number below n.
var hashes = map[string]func(key []byte, n uint32) uint32{
	"murmur2":    murmur2Partition,
	"hash-range": rangePartition,
	"crc32":      crc32Partition,
	"fnv1a":      fnv1aPartition,
}

// maxPartitions is more than a Kafka cluster can have.
const maxPartitions = 1_000_000

// Names are the names that New knows, sorted.
func Names() []string { return slices.Sorted(maps.Keys(hashes)) }

// New returns the strategy of that name for a topic with so many partitions:
//
//   - "murmur2" is the default of the Java client, and of franz-go and kafka-python;
//   - "crc32" is librdkafka's "consistent";
//   - "fnv1a" is the default of sarama;
//   - "hash-range" is that of Kinesis: MD5 of the key over equal ranges of 2^128. It does
//     not depend on the stream's shards.
//
// All of them give the empty key a partition like any other. A record without a key has
// no route: Kinesis knows none, unless it distributes records by itself, and such a
// stream has no order by key that could be kept.
func New(name string, partitions int) (Strategy, error) {
	hash, ok := hashes[name]
	if !ok {
		return nil, fmt.Errorf("keymap %q is not available in this version; there are %s", name, strings.Join(Names(), ", "))
	}
	if partitions < 1 || partitions > maxPartitions {
		return nil, fmt.Errorf("keymap %s over %d partitions: there must be 1 to %d", name, partitions, maxPartitions)
	}
	h := &hashed{
		name:       fmt.Sprintf("%s(%d)", name, partitions),
		hash:       hash,
		partitions: make([]string, partitions),
	}
	for i := range h.partitions {
		h.partitions[i] = strconv.Itoa(i)
	}
	return h, nil
}

// A Conditional strategy keeps the order of keys only while the source's partitions are as they
// were. Who routes by it asks whenever the partitions were listed.
type Conditional interface {
	// Holds wraps bridge.ErrChanged if, by the partitions that are listed or were read, a key
	// can be in two partitions of the target.
	Holds(parts []bridge.Partition) error
}

// holds asks a strategy that another one places keys by; nil is none.
func holds(s Strategy, parts []bridge.Partition) error {
	if s, ok := s.(Conditional); ok {
		return s.Holds(parts)
	}
	return nil
}

// A hashed strategy maps a key to one of the partitions of a topic. Their names are made
// once.
type hashed struct {
	name       string
	hash       func(key []byte, n uint32) uint32
	partitions []string
}

func (h *hashed) Name() string { return h.name }

func (h *hashed) Route(r *bridge.Record) (Route, error) {
	if r.Key == nil {
		err := fmt.Errorf("keymap %s: the record has no partition key: %w", h.name, bridge.ErrUnmappable)
		return Route{}, bridge.WithHint(err, "the stream distributes records by itself (AUTO) and keeps no order by key")
	}
	return Route{Key: r.Key, Partition: h.partitions[h.hash(r.Key, uint32(len(h.partitions)))]}, nil
}

// Bucket is the slice of the work that a key belongs to, one of 256: the first byte of
// the MD5 of the key as it stands in Kinesis, so that a bucket is a slice of the Kinesis
// hash space. On the Kafka side key is what PartitionKeys makes of it, but nil stays nil:
// a record without a key belongs to the bucket partition mod 256.
func Bucket(key []byte, partition int) byte {
	if key == nil {
		return byte(partition)
	}
	return md5.Sum(key)[0]
}
