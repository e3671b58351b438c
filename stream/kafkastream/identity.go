package kafkastream

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/IBM/sarama"

	"github.com/kinesis-msk-bridge/bridge"
)

// A log that was cut back and written again holds other batches at the same offsets. That
// a batch is still the same one is proved by what its header says: for a batch that was
// read, the leader epoch that it was appended under, and for one of our own what its
// producer gave it. Compaction keeps both. A batch that retention or compaction removed
// proves nothing, and is no gap by itself.

// id identifies a batch that was read; it is not known for the formats before Kafka 0.11.
func (b *batch) id() bridge.BatchID {
	if b.Version != 2 {
		return bridge.BatchID{}
	}
	return bridge.BatchID{Epoch: b.PartitionLeaderEpoch, Base: b.FirstOffset, Known: true}
}

// A mark identifies a batch of this producer that a partition has acknowledged.
type mark struct {
	Base     int64 `json:"base"`
	Producer int64 `json:"producer"`
	Epoch    int16 `json:"epoch"`
	Sequence int32 `json:"sequence"`
	// Leader is the epoch of the leader that it was sent to, as far as was known; the batch
	// was appended under this one or a later one.
	Leader int32 `json:"leader"`
}

func (m mark) same(b *batch) bool {
	return b.FirstOffset == m.Base && b.ProducerID == m.Producer && b.ProducerEpoch == m.Epoch && b.FirstSequence == m.Sequence
}

// prove is a *bridge.GapError if the log no longer holds the batch that the cursor read last.
func (k *cursor) prove(ctx context.Context) error {
	if !k.last.Known {
		return nil
	}
	return k.holds(ctx, k.next-1, k.last.Base, k.last.Epoch, func(b *batch) bool { return b.id() == k.last })
}

// holds is a *bridge.GapError if the log does not reach up to offset at any more, or holds
// another batch than the one that same recognises where that began, at offset base. It was
// appended under leader epoch epoch, or a later one.
func (k *cursor) holds(ctx context.Context, at, base int64, epoch int32, same func(*batch) bool) error {
	first, end, _, err := k.client.offsets(ctx, k.topic, k.partition)
	if err != nil {
		return err
	}
	look := max(base, first)
	switch {
	case at >= end && first < end:
		return k.cutBack(ctx, first, end, at, epoch)
	case at >= end:
		return gapAt(k.topic, k.partition, at+1, first, end)
	case look > at:
		return nil // retention removed it
	}
	b, err := k.batchAt(ctx, look)
	switch {
	case errors.Is(err, sarama.ErrOffsetOutOfRange):
		return fmt.Errorf("the log has moved: %w", bridge.ErrTransient)
	case err != nil || b == nil || b.Version != 2 || same(b):
		return err
	case b.FirstOffset > base && b.PartitionLeaderEpoch >= epoch:
		return nil // removed by compaction, or retention moved into its successor
	}
	return k.cutBack(ctx, first, base, at, epoch)
}

// batchAt reads the batch that holds an offset, or the first one behind it; nil if none is
// left there.
func (k *cursor) batchAt(ctx context.Context, offset int64) (*batch, error) {
	for bytes := int32(1); ; bytes = min(max(2*bytes, defaultFetchBytes), largestFetch) {
		block, err := k.request(ctx, sarama.ReadUncommitted, offset, bytes, 0)
		if err != nil {
			return nil, err
		}
		f := unpack(block, offset, sarama.ReadUncommitted)
		switch {
		case f.small && bytes < largestFetch:
			continue
		case len(f.batches) > 0:
			return &f.batches[0], nil
		case block.HighWaterMarkOffset <= offset:
			// A new leader learns how far its followers are only after a while.
			return nil, fmt.Errorf("offset %d is not to be read yet: %w", offset, bridge.ErrTransient)
		}
		return nil, nil
	}
}

// cutBack is the gap of a log that was cut back, at or before offset to, and written again
// under a later leader epoch than epoch. Everything up to offset at was in it once.
func (k *cursor) cutBack(ctx context.Context, first, to, at int64, epoch int32) error {
	lo, hi := first, to
	for lo < hi {
		mid := lo + (hi-lo)/2
		b, err := k.batchAt(ctx, mid)
		if err != nil && bridge.Retryable(classify(err)) {
			return err
		}
		switch {
		case err != nil || b == nil:
			lo = hi // it cannot be told more closely
		case b.FirstOffset >= hi || b.Version == 2 && b.PartitionLeaderEpoch > epoch:
			hi = max(lo, min(mid, b.FirstOffset))
		default:
			lo = b.LastOffset() + 1
		}
	}
	gap := &bridge.GapError{
		Stream: k.topic, Partition: strconv.Itoa(int(k.partition)),
		After: bridge.OffsetPosition(hi - 1), Before: bridge.OffsetPosition(at + 1),
		Reason: fmt.Sprintf("the log was cut back to offset %d and may have been written again since: the cluster lost records that it had acknowledged", hi),
	}
	return bridge.WithHint(gap, cutHint)
}

const cutHint = "an unclean leader election or a restored backup cut the log; set unclean.leader.election.enable=false on the topic, compare both sides, and begin a new workflow"

// holds proves a batch that was acknowledged, over a connection of its own.
func (c *Client) holds(ctx context.Context, to partitionID, m mark) error {
	k := c.cursor(to.topic, to.n, m.Base, sarama.ReadUncommitted)
	defer k.close()
	err := k.connect(ctx)
	if err == nil {
		err = k.holds(ctx, m.Base, m.Base, m.Leader, m.same)
	}
	if err != nil {
		return k.failed(ctx, err)
	}
	return nil
}
