package bench

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/IBM/sarama"
	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"golang.org/x/sync/errgroup"

	"github.com/kinesis-msk-bridge/bridge/stream/kinesisstream"
)

// Ends are where a bare client reads and writes.
type Ends struct {
	Load
	KinesisURL string   `json:"kinesis_url"`
	Brokers    []string `json:"brokers"`
	ToKafka    bool     `json:"to_kafka"`
	Stream     string   `json:"stream"`
	Topic      string   `json:"topic"`
}

// kinesis makes a client of the SDK with a codec.
func (e Ends) kinesis(codec kinesisstream.Codec) (client *kinesis.Client, err error) {
	client = kinesis.New(kinesis.Options{
		Region: "us-east-1", BaseEndpoint: &e.KinesisURL, Retryer: aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider("bench", "bench", ""),
		HTTPClient:  &hideWriterTo{awshttp.NewBuildableClient()},
	}, func(o *kinesis.Options) { err = codec.Plug(o) })
	return client, err
}

// hideWriterTo keeps net/http from dropping connections to servers that answer at once.
type hideWriterTo struct{ aws.HTTPClient }

func (c *hideWriterTo) Do(r *http.Request) (*http.Response, error) {
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = struct{ io.ReadCloser }{r.Body}
	}
	return c.HTTPClient.Do(r)
}

// config is that of both bare clients.
func (e Ends) config() *sarama.Config {
	c := sarama.NewConfig()
	c.Version = sarama.V2_8_0_0
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Producer.Idempotent = true
	c.Producer.Return.Successes = true
	c.Producer.Partitioner = sarama.NewHashPartitioner
	c.Net.MaxOpenRequests = 1
	c.Consumer.Fetch.Default = 4 << 20
	c.Metadata.Full = false
	return c
}

// eachShard calls take with every page of every shard, concurrently, until all are read.
func (e Ends) eachShard(ctx context.Context, client *kinesis.Client, take func(context.Context, []types.Record) error) error {
	list, err := client.ListShards(ctx, &kinesis.ListShardsInput{StreamName: &e.Stream})
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, sh := range list.Shards {
		group.Go(func() error {
			it, err := client.GetShardIterator(ctx, &kinesis.GetShardIteratorInput{StreamName: &e.Stream, ShardId: sh.ShardId, ShardIteratorType: types.ShardIteratorTypeTrimHorizon})
			if err != nil {
				return err
			}
			for next := it.ShardIterator; next != nil; {
				page, err := client.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: next, Limit: aws.Int32(int32(e.Page))})
				if err != nil {
					return err
				}
				if err := take(ctx, page.Records); err != nil {
					return err
				}
				if next = page.NextShardIterator; len(page.Records) == 0 && aws.ToInt64(page.MillisBehindLatest) == 0 {
					return nil
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// put writes up to 500 records.
func (e Ends) put(ctx context.Context, client *kinesis.Client, entries []types.PutRecordsRequestEntry) error {
	out, err := client.PutRecords(ctx, &kinesis.PutRecordsInput{StreamName: &e.Stream, Records: entries})
	if err == nil && aws.ToInt32(out.FailedRecordCount) != 0 {
		err = fmt.Errorf("%d records were refused", *out.FailedRecordCount)
	}
	return err
}

// maxPut is how many records one PutRecords carries.
const maxPut = 500

// dialTimeout bounds how long a bare client waits for a topic to have leaders.
const dialTimeout = 30 * time.Second

// dial returns a client that knows the leaders of all partitions.
func (e Ends) dial(ctx context.Context) (sarama.Client, error) {
	c, err := sarama.NewClient(e.Brokers, e.config())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	for p := int32(0); int(p) < e.Partitions; {
		if _, err := c.Leader(e.Topic, p); err == nil {
			p++
			continue
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for the leader of %s partition %d: %w", e.Topic, p, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
		if err := c.RefreshMetadata(e.Topic); err != nil && ctx.Err() != nil {
			return nil, err
		}
	}
	return c, nil
}
