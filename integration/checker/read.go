package checker

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// An Append is who wrote one record of a topic, or one marker at the end of a transaction.
type Append struct {
	Partition  int32
	Offset     int64
	ProducerID int64
	Epoch      int16
	Marker     bool
}

// Late counts the records of an epoch that stand behind a record or marker of a newer epoch
// of the same producer id in their partition.
func Late(who []Append) (n int) {
	type producer struct {
		partition int32
		id        int64
	}
	newest := map[producer]int16{}
	for _, a := range who {
		p := producer{a.Partition, a.ProducerID}
		if !a.Marker && a.Epoch < newest[p] {
			n++
		}
		newest[p] = max(newest[p], a.Epoch)
	}
	return n
}

// Kafka reads a topic to its end, in the order of each partition, what transactions have
// aborted or not ended included. Of the markers it yields who wrote them.
func Kafka(ctx context.Context, brokers []string, topic string) ([]Copy, []Append, error) {
	c, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.KeepControlRecords(), kgo.FetchIsolationLevel(kgo.ReadUncommitted()))
	if err != nil {
		return nil, nil, err
	}
	defer c.Close()
	starts, err := kadm.NewClient(c).ListStartOffsets(ctx, topic)
	if err != nil {
		return nil, nil, err
	}
	ends, err := kadm.NewClient(c).ListEndOffsets(ctx, topic)
	if err != nil {
		return nil, nil, err
	}
	from, left := map[int32]kgo.Offset{}, map[int32]int64{}
	n := 0
	ends.Each(func(o kadm.ListedOffset) {
		n++
		if start, _ := starts.Lookup(topic, o.Partition); o.Offset > start.Offset {
			from[o.Partition], left[o.Partition] = kgo.NewOffset().AtStart(), o.Offset
		}
	})
	c.AddConsumePartitions(map[string]map[int32]kgo.Offset{topic: from})
	var out []Copy
	var who []Append
	for len(left) > 0 {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return nil, nil, fmt.Errorf("read topic %s: %w", topic, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Offset >= left[r.Partition]-1 {
				delete(left, r.Partition)
			}
			who = append(who, Append{r.Partition, r.Offset, r.ProducerID, r.ProducerEpoch, r.Attrs.IsControl()})
			if r.Attrs.IsControl() {
				return
			}
			var headers []string
			for _, h := range r.Headers {
				headers = append(headers, h.Key)
			}
			out = append(out, Copy{
				Where: fmt.Sprintf("partition %d offset %d", r.Partition, r.Offset), Key: string(r.Key), Null: r.Key == nil,
				Value: r.Value, Time: r.Timestamp, Partition: int(r.Partition), Partitions: n,
				ProducerID: r.ProducerID, Headers: headers,
			})
		})
	}
	return out, who, nil
}

// A kinesis asks one endpoint, in the JSON protocol of the service.
type kinesis struct {
	url string
}

// Kinesis reads a stream from its oldest record to its tips, parents before children.
func Kinesis(ctx context.Context, url, stream string) ([]Copy, error) {
	k := kinesis{url}
	ids, parents, err := k.shards(ctx, stream)
	if err != nil {
		return nil, err
	}
	var out []Copy
	for _, id := range lineage(ids, parents) {
		recs, err := k.read(ctx, stream, id)
		if err != nil {
			return nil, fmt.Errorf("read %s of stream %s: %w", id, stream, err)
		}
		out = append(out, recs...)
	}
	return out, nil
}

func (k kinesis) call(ctx context.Context, op string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, k.url, bytes.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/x-amz-json-1.1")
		req.Header.Set("X-Amz-Target", "Kinesis_20131202."+op)
		req.Header.Set("X-Amz-Date", "20260101T000000Z")
		req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=checker/20260101/us-east-1/kinesis/aws4_request, SignedHeaders=host, Signature=0")
		answer, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		text, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		switch {
		case err != nil:
			return err
		case answer.StatusCode == http.StatusOK:
			return json.Unmarshal(text, out)
		case bytes.Contains(text, []byte("ProvisionedThroughputExceeded")) || bytes.Contains(text, []byte("LimitExceeded")):
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
				return ctx.Err()
			}
		default:
			return fmt.Errorf("%s: %s: %s", op, answer.Status, text)
		}
	}
}

func (k kinesis) shards(ctx context.Context, stream string) (ids []string, parents map[string][]string, err error) {
	parents = map[string][]string{}
	in := map[string]any{"StreamName": stream}
	for {
		var out struct {
			NextToken string
			Shards    []struct{ ShardId, ParentShardId, AdjacentParentShardId string }
		}
		if err := k.call(ctx, "ListShards", in, &out); err != nil {
			return nil, nil, err
		}
		for _, s := range out.Shards {
			ids = append(ids, s.ShardId)
			parents[s.ShardId] = []string{s.ParentShardId, s.AdjacentParentShardId}
		}
		if out.NextToken == "" {
			return ids, parents, nil
		}
		in = map[string]any{"NextToken": out.NextToken}
	}
}

func (k kinesis) read(ctx context.Context, stream, shard string) ([]Copy, error) {
	var at struct{ ShardIterator string }
	err := k.call(ctx, "GetShardIterator", map[string]any{"StreamName": stream, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"}, &at)
	if err != nil {
		return nil, err
	}
	var out []Copy
	for it := at.ShardIterator; ; {
		var page struct {
			NextShardIterator  string
			MillisBehindLatest int64
			Records            []struct {
				Data                         []byte
				PartitionKey, SequenceNumber string
				ApproximateArrivalTimestamp  float64
			}
		}
		if err := k.call(ctx, "GetRecords", map[string]any{"ShardIterator": it}, &page); err != nil {
			return nil, err
		}
		for _, r := range page.Records {
			key, null := decode(r.PartitionKey)
			out = append(out, Copy{
				Where: shard + " " + r.SequenceNumber, Key: key, Null: null, PartitionKey: r.PartitionKey, Value: r.Data,
				Time: time.UnixMilli(int64(r.ApproximateArrivalTimestamp*1000 + 0.5)),
			})
		}
		if it = page.NextShardIterator; it == "" || len(page.Records) == 0 && page.MillisBehindLatest == 0 {
			return out, nil
		}
	}
}

// FromStream is a copy as it was found in a stream by other means than Kinesis.
func FromStream(shard, sequence, partitionKey string, data []byte, arrived time.Time) Copy {
	key, null := decode(partitionKey)
	return Copy{Where: shard + " " + sequence, Key: key, Null: null, PartitionKey: partitionKey, Value: data, Time: arrived}
}
