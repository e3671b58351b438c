package bench

import (
	"context"
	"sync/atomic"

	"github.com/IBM/sarama"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"golang.org/x/sync/errgroup"

	"github.com/kinesis-msk-bridge/bridge/stream/kinesisstream"
)

// A Read is what a bare reader has read: records, and the bytes of their keys, values and
// headers.
type Read struct {
	Records int64 `json:"records"`
	Bytes   int64 `json:"bytes"`
}

// ReadKinesis reads the stream to its end with the SDK's codec, and looks at nothing.
func (e Ends) ReadKinesis(ctx context.Context) (Read, error) {
	k, err := e.kinesis(kinesisstream.CodecSDK)
	if err != nil {
		return Read{}, err
	}
	var records, bytes atomic.Int64
	err = e.eachShard(ctx, k, func(_ context.Context, page []types.Record) error {
		n := 0
		for i := range page {
			n += len(*page[i].PartitionKey) + len(page[i].Data)
		}
		records.Add(int64(len(page)))
		bytes.Add(int64(n))
		return nil
	})
	return Read{records.Load(), bytes.Load()}, err
}

// ReadKafka reads topics to their ends with fetches of sarama, each partition over a
// connection of its own, and looks at nothing.
func (e Ends) ReadKafka(ctx context.Context, topics ...string) (Read, error) {
	c, err := e.dial(ctx)
	if err != nil {
		return Read{}, err
	}
	defer c.Close()
	var records, bytes atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for _, topic := range topics {
		partitions, err := c.Partitions(topic)
		if err != nil {
			return Read{}, err
		}
		for _, p := range partitions {
			group.Go(func() error {
				got, err := e.readPartition(ctx, c, topic, p)
				records.Add(got.Records)
				bytes.Add(got.Bytes)
				return err
			})
		}
	}
	err = group.Wait()
	return Read{records.Load(), bytes.Load()}, err
}

func (e Ends) readPartition(ctx context.Context, c sarama.Client, topic string, p int32) (got Read, err error) {
	leader, err := c.Leader(topic, p)
	if err != nil {
		return got, err
	}
	own := sarama.NewBroker(leader.Addr())
	if err := own.Open(e.config()); err != nil {
		return got, err
	}
	defer own.Close()
	end, err := c.GetOffset(topic, p, sarama.OffsetNewest)
	for next := int64(0); next < end && err == nil && ctx.Err() == nil; {
		next, err = fetch(own, topic, p, next, func(r *sarama.Record) {
			got.Records++
			got.Bytes += int64(len(r.Key) + len(r.Value))
			for _, h := range r.Headers {
				got.Bytes += int64(len(h.Key) + len(h.Value))
			}
		})
	}
	if err == nil {
		err = context.Cause(ctx)
	}
	return got, err
}
