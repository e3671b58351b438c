package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// SourceTopic holds the rows that go from Kafka to Kinesis.
const SourceTopic = "bench-source"

// ServeKafka runs a Kafka of one broker that keeps its logs in dir, until in ends.
func ServeKafka(ctx context.Context, dir string, in io.Reader, out io.Writer) error {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.DataDir(dir))
	if err != nil {
		return err
	}
	defer cluster.Close()
	if err := json.NewEncoder(out).Encode(Served{Address: strings.Join(cluster.ListenAddrs(), ",")}); err != nil {
		return err
	}
	for lines := bufio.NewScanner(in); lines.Scan(); {
	}
	return ctx.Err()
}

// A Kafka prepares and proves the topics of a benchmark, with a client that shares nothing
// with those that are measured.
type Kafka struct {
	Brokers []string
	Rows    *Rows
}

// Reach is nil if one of the brokers answers.
func (k Kafka) Reach(ctx context.Context) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(k.Brokers...))
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	return client.Ping(ctx)
}

// Create makes a topic, and returns when each partition can be written: a real broker learns
// that it leads one after the topic is there.
func (k Kafka) Create(ctx context.Context, topic string) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(k.Brokers...))
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	if _, err := admin.CreateTopic(ctx, int32(k.Rows.Partitions), 1, nil, topic); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	for {
		ends, err := admin.ListEndOffsets(ctx, topic)
		if err == nil {
			err = ends.Error()
		}
		if err == nil || ctx.Err() != nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Delete removes topics, so that the next client finds room.
func (k Kafka) Delete(ctx context.Context, topics ...string) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(k.Brokers...))
	if err != nil {
		return err
	}
	defer client.Close()
	_, err = kadm.NewClient(client).DeleteTopics(ctx, topics...)
	return err
}

// Fill writes all rows into the source topic.
func (k Kafka) Fill(ctx context.Context) error {
	if err := k.Create(ctx, SourceTopic); err != nil {
		return fmt.Errorf("create topic %s: %w", SourceTopic, err)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(k.Brokers...), kgo.DefaultProduceTopic(SourceTopic),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.MaxBufferedRecords(20_000), kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)))
	if err != nil {
		return err
	}
	defer client.Close()
	var failed atomic.Pointer[error]
	for row := range k.Rows.Records {
		r := &kgo.Record{Key: []byte(k.Rows.Key(row)), Value: k.Rows.AppendValue(make([]byte, 0, k.Rows.Size), row)}
		client.Produce(ctx, r, func(_ *kgo.Record, err error) {
			if err != nil {
				failed.CompareAndSwap(nil, &err)
			}
		})
	}
	if err := client.Flush(ctx); err != nil {
		return err
	}
	if err := failed.Load(); err != nil {
		return fmt.Errorf("fill topic %s: %w", SourceTopic, *err)
	}
	return nil
}

// Prove reads a topic to its end and says what it found, and in how many batches.
func (k Kafka) Prove(ctx context.Context, topic string) (Verdict, int, error) {
	batches := &batchCount{}
	client, err := kgo.NewClient(kgo.SeedBrokers(k.Brokers...), kgo.ConsumeTopics(topic), kgo.WithHooks(batches), kgo.KeepControlRecords(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxPartitionBytes(8<<20))
	if err != nil {
		return Verdict{}, 0, err
	}
	defer client.Close()
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return Verdict{}, 0, err
	}
	left := map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			left[o.Partition] = o.Offset
		}
	})
	p := NewProof(k.Rows)
	for len(left) > 0 {
		fetches := client.PollFetches(ctx)
		if err := errors.Join(ctx.Err(), fetches.Err()); err != nil {
			return Verdict{}, 0, fmt.Errorf("read topic %s: %w", topic, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if !r.Attrs.IsControl() {
				p.Add(string(r.Key), r.Value)
			}
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
		})
	}
	return p.Verdict(), int(batches.n.Load()), nil
}

// A batchCount counts the batches that hold records.
type batchCount struct{ n atomic.Int64 }

// OnFetchBatchRead counts one batch.
func (b *batchCount) OnFetchBatchRead(_ kgo.BrokerMetadata, _ string, _ int32, m kgo.FetchBatchMetrics) {
	if m.NumRecords > 0 {
		b.n.Add(1)
	}
}
