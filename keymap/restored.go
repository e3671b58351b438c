package keymap

import (
	"fmt"
	"strconv"

	"github.com/kinesis-msk-bridge/bridge"
)

// Restored is a strategy on the way from a stream that a mirror wrote with the keys of
// PartitionKeys: it turns each back into the Kafka key that it stands for, and routes by
// that. A record that had no key goes to the partition it stood in, modulo the number of
// partitions that inner has, and has none again. Keys that PartitionKeys does not make are
// bridge.ErrUndecodable. inner must be a strategy of New.
func Restored(inner Strategy) Strategy {
	h, _ := inner.(*hashed)
	return &restored{inner, h}
}

type restored struct {
	Strategy
	hashed *hashed // nil if inner is another strategy
}

func (s *restored) Name() string { return "restored(" + s.Strategy.Name() + ")" }

// Holds asks inner.
func (s *restored) Holds(parts []bridge.Partition) error { return holds(s.Strategy, parts) }

func (s *restored) Route(r *bridge.Record) (Route, error) {
	original, err := DecodePartitionKey(string(r.Key))
	if err != nil {
		return Route{}, err
	}
	if original.Key != nil {
		was := *r
		was.Key = original.Key
		return s.Strategy.Route(&was)
	}
	n, err := strconv.ParseUint(original.Partition, 10, 31)
	if err != nil || s.hashed == nil {
		return Route{}, fmt.Errorf("a record without a key of partition %q: %w", original.Partition, bridge.ErrUnmappable)
	}
	return Route{Partition: s.hashed.partitions[n%uint64(len(s.hashed.partitions))]}, nil
}
