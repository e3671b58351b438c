package kafkastream

import (
	"context"
	"fmt"
	"time"

	"github.com/IBM/sarama"

	"github.com/kinesis-msk-bridge/bridge"
)

const (
	// describePatience bounds the requests that describe an open transaction: a description
	// is not worth a reader that stands still.
	describePatience = 3 * time.Second
	// describeEvery is how often the same open transaction is described at most.
	describeEvery = 10 * time.Second
)

// A holdUp remembers the transaction that keeps a reader at the last stable offset.
type holdUp struct {
	open      *bridge.OpenTransaction // nil if there is none
	first     int64                   // its first offset
	since     time.Time               // when this reader first met it
	described time.Time               // when the cluster was last asked about it
}

// see takes what a fetch said of the partition and returns the open transaction behind it,
// nil if there is none.
func (h *holdUp) see(ctx context.Context, r *reader, f *fetched) *bridge.OpenTransaction {
	if f.next < f.lastStable || f.lastStable >= f.highWatermark {
		*h = holdUp{}
		return nil
	}
	now := time.Now()
	if h.open == nil || h.first != f.lastStable {
		*h = holdUp{first: f.lastStable, since: now}
	}
	if h.open == nil || now.Sub(h.described) >= describeEvery {
		open := r.source.client.describeOpen(ctx, r.cursor.topic, r.cursor.partition, f.lastStable)
		h.open, h.described = &open, now
	}
	open := *h.open
	if open.Since.IsZero() || open.Since.After(h.since) {
		open.Since = h.since
	}
	return &open
}

// heldBack is for how long at least the records behind an open transaction have been held back.
func heldBack(o *bridge.OpenTransaction, now time.Time) time.Duration {
	return max(now.Sub(o.Since), time.Millisecond)
}

// describeOpen says what the cluster knows of the transaction that begins at the last
// stable offset of a partition. What this principal may not see, or the cluster cannot
// tell, stays empty: a transaction whose coordinator has forgotten it has no id.
func (c *Client) describeOpen(ctx context.Context, topic string, partition int32, first int64) bridge.OpenTransaction {
	open := bridge.OpenTransaction{Partition: fmt.Sprint(partition), First: bridge.OffsetPosition(first), Producer: -1}
	admin, ok := c.admin.(sarama.TransactionClusterAdmin)
	if !ok {
		return open
	}
	ctx, cancel := context.WithTimeout(ctx, describePatience)
	defer cancel()
	type topics = map[string]map[int32]sarama.DescribeProducersResponsePartition
	found, err := await(ctx, c, func() (topics, error) {
		return admin.DescribeProducers(map[string][]int32{topic: {partition}})
	})
	if err != nil {
		return open
	}
	for _, p := range found[topic][partition].ActiveProducers {
		if p.CurrentTxnStartOffset == first {
			open.Producer = p.ProducerID
			open.Since = millis(p.LastTimestamp)
		}
	}
	if open.Producer < 0 {
		return open
	}
	listed, err := await(ctx, c, func() ([]sarama.ListTransactionsResponseTransactionState, error) {
		return admin.ListTransactions(nil, []int64{open.Producer}, -1)
	})
	if err != nil || len(listed) != 1 {
		return open
	}
	open.ID = listed[0].TransactionalID
	states, err := await(ctx, c, func() (map[string]sarama.TransactionState, error) {
		return admin.DescribeTransactions([]string{open.ID})
	})
	if s := states[open.ID]; err == nil && s.ErrorCode == sarama.ErrNoError && s.TransactionStartTime > 0 {
		open.Since = millis(s.TransactionStartTime)
	}
	return open
}

// millis is a time of the protocol; negative is none.
func millis(ms int64) time.Time {
	if ms < 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
