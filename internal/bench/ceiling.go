package bench

import (
	"context"
	"errors"
	"hash/fnv"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/kinesis-msk-bridge/bridge/stream/kinesisstream"
)

// Ceiling moves everything with the least that these libraries need: the codec of
// kinesisstream, record batches and fetches of sarama without its producer and consumer.
func (e Ends) Ceiling(ctx context.Context) error {
	k, err := e.kinesis(kinesisstream.CodecJSON)
	if err != nil {
		return err
	}
	c, err := e.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	if !e.ToKafka {
		return e.ceilingToKinesis(ctx, c, k)
	}
	leader, err := c.Leader(e.Topic, 0)
	if err != nil {
		return err
	}
	id, err := leader.InitProducerID(&sarama.InitProducerIDRequest{Version: 1, TransactionTimeout: time.Minute})
	if err != nil || id.Err != sarama.ErrNoError {
		return errors.Join(err, id.Err)
	}
	p := &rawProducer{Ends: e, client: c, id: id, sequence: make([]int32, e.Partitions), slots: make(chan struct{}, 4)}
	return e.eachShard(ctx, k, p.send)
}

// A rawProducer writes each page as one batch a partition and waits for it.
type rawProducer struct {
	Ends
	client   sarama.Client
	id       *sarama.InitProducerIDResponse
	slots    chan struct{} // requests that may be under way
	mu       sync.Mutex
	sequence []int32 // of each partition's next batch
}

func (p *rawProducer) send(_ context.Context, page []types.Record) error {
	if len(page) == 0 {
		return nil
	}
	batches := make([]sarama.RecordBatch, p.Partitions)
	records := make([]sarama.Record, len(page))
	values := make([]sarama.RecordHeader, len(page))
	headers := make([]*sarama.RecordHeader, len(page))
	for i := range page {
		values[i] = sarama.RecordHeader{Key: []byte("seq"), Value: []byte(*page[i].SequenceNumber)}
		headers[i] = &values[i]
		key := []byte(*page[i].PartitionKey)
		h := fnv.New32a()
		_, _ = h.Write(key)
		b := &batches[h.Sum32()%uint32(p.Partitions)]
		at := page[i].ApproximateArrivalTimestamp
		if len(b.Records) == 0 {
			b.FirstTimestamp, b.MaxTimestamp = *at, *at
		}
		records[i] = sarama.Record{Key: key, Value: page[i].Data, Headers: headers[i : i+1], OffsetDelta: int64(len(b.Records)), TimestampDelta: at.Sub(b.FirstTimestamp)}
		b.Records = append(b.Records, &records[i])
	}
	p.slots <- struct{}{}
	defer func() { <-p.slots }()
	done := make(chan error, p.Partitions)
	sent := 0
	p.mu.Lock() // sequence numbers must reach the broker in their order
	for leader, request := range p.requests(batches) {
		sent++
		err := leader.AsyncProduce(request, func(r *sarama.ProduceResponse, err error) {
			for _, partitions := range r.Blocks {
				for _, b := range partitions {
					if b.Err != sarama.ErrNoError {
						err = b.Err
					}
				}
			}
			done <- err
		})
		if err != nil {
			done <- err
		}
	}
	p.mu.Unlock()
	var failed error
	for range sent {
		failed = errors.Join(failed, <-done)
	}
	return failed
}

// requests makes one request a leader.
func (p *rawProducer) requests(batches []sarama.RecordBatch) map[*sarama.Broker]*sarama.ProduceRequest {
	out := map[*sarama.Broker]*sarama.ProduceRequest{}
	for i := range batches {
		b := &batches[i]
		leader, err := p.client.Leader(p.Topic, int32(i))
		if len(b.Records) == 0 || err != nil {
			continue // what is missing will be found
		}
		b.Version, b.ProducerID, b.ProducerEpoch, b.FirstSequence = 2, p.id.ProducerID, p.id.ProducerEpoch, p.sequence[i]
		b.LastOffsetDelta = int32(len(b.Records) - 1)
		p.sequence[i] += int32(len(b.Records))
		if out[leader] == nil {
			out[leader] = &sarama.ProduceRequest{RequiredAcks: sarama.WaitForAll, Timeout: 10_000, Version: 7}
		}
		out[leader].AddBatch(p.Topic, int32(i), b)
	}
	return out
}
