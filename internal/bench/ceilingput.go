package bench

import (
	"context"
	"fmt"

	"github.com/IBM/sarama"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"golang.org/x/sync/errgroup"
)

// ceilingToKinesis reads each partition over a connection of its own and puts what one
// fetch brought before the next.
func (e Ends) ceilingToKinesis(ctx context.Context, c sarama.Client, k *kinesis.Client) error {
	group, ctx := errgroup.WithContext(ctx)
	for p := range int32(e.Partitions) {
		group.Go(func() error {
			leader, err := c.Leader(e.Topic, p)
			if err != nil {
				return err
			}
			own := sarama.NewBroker(leader.Addr())
			if err := own.Open(e.config()); err != nil {
				return err
			}
			defer own.Close()
			end, err := c.GetOffset(e.Topic, p, sarama.OffsetNewest)
			for next := int64(0); next < end && err == nil; {
				next, err = e.fetchAndPut(ctx, own, p, next, k)
			}
			return err
		})
	}
	return group.Wait()
}

// fetchAndPut moves what one fetch brings, and returns the offset behind it.
func (e Ends) fetchAndPut(ctx context.Context, b *sarama.Broker, p int32, next int64, k *kinesis.Client) (int64, error) {
	var entries []types.PutRecordsRequestEntry
	next, err := fetch(b, e.Topic, p, next, func(r *sarama.Record) {
		key := string(r.Key)
		entries = append(entries, types.PutRecordsRequestEntry{Data: r.Value, PartitionKey: &key})
	})
	if err != nil {
		return next, err
	}
	for len(entries) > 0 {
		n := min(len(entries), maxPut)
		if err := e.put(ctx, k, entries[:n]); err != nil {
			return next, err
		}
		entries = entries[n:]
	}
	return next, nil
}

// fetch calls take with each record that one fetch brings, and returns the offset behind
// it.
func fetch(b *sarama.Broker, topic string, p int32, next int64, take func(*sarama.Record)) (int64, error) {
	q := &sarama.FetchRequest{Version: 11, MaxWaitTime: 500, MinBytes: 1, MaxBytes: 4 << 20, SessionEpoch: -1}
	q.AddBlock(topic, p, next, 4<<20, -1)
	answer, err := b.Fetch(q)
	if err != nil {
		return next, err
	}
	block := answer.GetBlock(topic, p)
	if block == nil || block.Err != sarama.ErrNoError {
		return next, fmt.Errorf("fetch %s partition %d: %+v", topic, p, block)
	}
	for _, set := range block.RecordsSet {
		if set.RecordBatch == nil || set.RecordBatch.PartialTrailingRecord {
			continue
		}
		for _, r := range set.RecordBatch.Records {
			if set.RecordBatch.FirstOffset+r.OffsetDelta >= next && !set.RecordBatch.Control {
				take(r)
			}
		}
		next = set.RecordBatch.LastOffset() + 1
	}
	return next, nil
}
