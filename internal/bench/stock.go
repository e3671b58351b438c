package bench

import (
	"context"
	"sync"

	"github.com/IBM/sarama"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"golang.org/x/sync/errgroup"

	"github.com/kinesis-msk-bridge/bridge/stream/kinesisstream"
)

// Stock moves everything with the libraries as they come: the SDK's codec, sarama's
// AsyncProducer or its consumer.
func (e Ends) Stock(ctx context.Context) error {
	k, err := e.kinesis(kinesisstream.CodecSDK)
	if err != nil {
		return err
	}
	c, err := e.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	if e.ToKafka {
		return e.stockToKafka(ctx, c, k)
	}
	return e.stockToKinesis(ctx, c, k)
}

func (e Ends) stockToKafka(ctx context.Context, c sarama.Client, k *kinesis.Client) error {
	p, err := sarama.NewAsyncProducerFromClient(c)
	if err != nil {
		return err
	}
	var failed error
	var acks sync.WaitGroup
	acks.Go(func() {
		for e := range p.Errors() {
			failed = e
		}
	})
	acks.Go(func() {
		for range p.Successes() {
		}
	})
	err = e.eachShard(ctx, k, func(_ context.Context, page []types.Record) error {
		for i := range page {
			p.Input() <- &sarama.ProducerMessage{
				Topic: e.Topic, Key: sarama.StringEncoder(*page[i].PartitionKey), Value: sarama.ByteEncoder(page[i].Data),
				Timestamp: *page[i].ApproximateArrivalTimestamp,
				Headers:   []sarama.RecordHeader{{Key: []byte("seq"), Value: []byte(*page[i].SequenceNumber)}},
			}
		}
		return nil
	})
	p.AsyncClose()
	acks.Wait()
	if err == nil {
		err = failed
	}
	return err
}

func (e Ends) stockToKinesis(ctx context.Context, c sarama.Client, k *kinesis.Client) error {
	consumer, err := sarama.NewConsumerFromClient(c)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for p := range int32(e.Partitions) {
		group.Go(func() error {
			end, err := c.GetOffset(e.Topic, p, sarama.OffsetNewest)
			if err != nil || end == 0 {
				return err
			}
			pc, err := consumer.ConsumePartition(e.Topic, p, 0)
			if err != nil {
				return err
			}
			var entries []types.PutRecordsRequestEntry
			for m := range pc.Messages() {
				key := string(m.Key)
				entries = append(entries, types.PutRecordsRequestEntry{Data: m.Value, PartitionKey: &key})
				if last := m.Offset+1 == end; last || len(entries) == maxPut {
					if err := e.put(ctx, k, entries); err != nil || last {
						pc.AsyncClose()
						return err
					}
					entries = entries[:0]
				}
			}
			return nil
		})
	}
	return group.Wait()
}
