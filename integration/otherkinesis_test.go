//go:build integration

package integration

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/kinesis-msk-bridge/bridge/integration/checker"
	"github.com/kinesis-msk-bridge/bridge/integration/servers"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
)

// A local is a stream of a Kinesis that is not the module's own, used with the SDK alone.
type local struct {
	t      *testing.T
	server *servers.Kinesis
	sdk    *kinesis.Client
	stream string
}

func newLocal(t *testing.T, start servers.KinesisStart, stream string, shards int32) *local {
	t.Helper()
	server, err := start(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	l := &local{t: t, server: server, stream: stream, sdk: kinesis.New(kinesis.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(server.URL()), Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
		// A call that was cut and tried again could have been stored twice.
		HTTPClient: &http.Client{Transport: kinesistest.HideWriterTo(http.DefaultTransport)}, RetryMaxAttempts: 1,
	})}
	if _, err := l.sdk.CreateStream(t.Context(), &kinesis.CreateStreamInput{StreamName: &stream, ShardCount: &shards}); err != nil {
		t.Fatal(err)
	}
	l.active()
	return l
}

// active waits until the stream can be changed.
func (l *local) active() {
	l.t.Helper()
	waitFor(l.t, "active stream", func() bool {
		d, err := l.sdk.DescribeStreamSummary(l.t.Context(), &kinesis.DescribeStreamSummaryInput{StreamName: &l.stream})
		if err != nil {
			l.t.Fatal(err)
		}
		return d.StreamDescriptionSummary.StreamStatus == types.StreamStatusActive
	})
}

// put puts one record a call and key, so that each key is in the order of its rows.
func (l *local) put(ctx context.Context, rows []checker.Row) {
	for _, r := range rows {
		if _, err := l.sdk.PutRecord(ctx, &kinesis.PutRecordInput{StreamName: &l.stream, PartitionKey: &r.Key, Data: r.Value}); err != nil {
			l.t.Errorf("put into %s: %v", l.server.Name, err)
			return
		}
	}
}

// reshard splits the first open shard, or merges the first two.
func (l *local) reshard(merge bool) {
	l.t.Helper()
	listed, err := l.sdk.ListShards(l.t.Context(), &kinesis.ListShardsInput{StreamName: &l.stream})
	if err != nil {
		l.t.Fatal(err)
	}
	var open []types.Shard
	for _, s := range listed.Shards {
		if s.SequenceNumberRange.EndingSequenceNumber == nil {
			open = append(open, s)
		}
	}
	if merge {
		_, err = l.sdk.MergeShards(l.t.Context(), &kinesis.MergeShardsInput{StreamName: &l.stream, ShardToMerge: open[0].ShardId, AdjacentShardToMerge: open[1].ShardId})
	} else {
		// Half of the first of three shards, which is a sixth of all hash keys.
		_, err = l.sdk.SplitShard(l.t.Context(), &kinesis.SplitShardInput{StreamName: &l.stream, ShardToSplit: open[0].ShardId, NewStartingHashKey: aws.String("56713727820156410577229101238628035242")})
	}
	if err != nil {
		l.t.Fatal(err)
	}
	l.active()
}

// Another Kinesis than the module's own, there and back, while it splits and merges.
func TestIntegrationKinesisLocal(t *testing.T) {
	t.Parallel() // it mostly waits
	thereAndBackOn(t, servers.StartKinesisLocal, true)
}

func TestIntegrationKinesalite(t *testing.T) {
	t.Parallel() // it mostly waits
	thereAndBackOn(t, servers.StartKinesalite, true)
}

// ministack deletes what it splits, so that there is nothing to mirror from then on.
func TestIntegrationMinistack(t *testing.T) {
	t.Parallel() // it mostly waits
	thereAndBackOn(t, servers.StartMinistack, false)
}

func thereAndBackOn(t *testing.T, start servers.KinesisStart, reshards bool) {
	rows := rowsOf(t, 2400)
	topic := unique("local")
	fromLocal(t, newLocal(t, start, "source", 3), topic, rows, reshards)
	for i := range rows {
		rows[i].Time = time.Time{}
	}
	toLocal(t, newLocal(t, start, "target", 3), topic, rows, reshards)
}

// proveOn begins the check of one direction.
func (l *local) proveOn(way string, reshards bool) *figures {
	change := "kill -9"
	if reshards {
		change = "split, merge and kill -9"
	}
	f, _, _ := prove(l.t, change+" on "+l.server.Name+" "+l.server.Version+", "+way, 1, 0)
	f.runs++
	return f
}

// fromLocal mirrors rows that are put meanwhile, and gives them their times.
func fromLocal(t *testing.T, l *local, topic string, rows []checker.Row, reshards bool) {
	f := l.proveOn("kinesis to kafka", reshards)
	l.put(t.Context(), rows[:800])
	if reshards {
		l.reshard(false)
	}
	j := newJob(t, toKafka, l.server, l.stream, topic)
	c := j.mirror("state")
	l.put(t.Context(), rows[800:1600])
	if reshards {
		l.reshard(true)
	}
	l.put(t.Context(), rows[1600:])
	c.until("all records", func(p progress) bool { return p.Read >= int64(len(rows)) })
	c.kill()
	byValue := map[string]checker.Copy{}
	for _, copied := range inStream(t, l.server.URL(), l.stream) {
		byValue[string(copied.Value)] = copied
	}
	for i := range rows {
		rows[i].Time = byValue[string(rows[i].Value)].Time
	}
	r := j.catchUp("state")
	v, _ := judgeTopic(t, bench.kafka.Brokers(), topic, rows)
	f.judgedRun(v, r, len(rows))
	f.print("counts %+v", r.Result.Counts)
}

func toLocal(t *testing.T, l *local, topic string, rows []checker.Row, reshards bool) {
	f := l.proveOn("kafka to kinesis", reshards)
	j := newJob(t, toKinesis, l.server, l.stream, topic)
	c := j.mirror("state")
	for i, merge := range []bool{false, true} {
		c.until("the next records", func(p progress) bool { return p.Read >= int64(len(rows)*(i+1)/4) })
		if reshards {
			l.reshard(merge)
		}
	}
	c.kill()
	r := j.catchUp("state")
	f.judgedRun(judgeStream(t, l.server.URL(), l.stream, rows), r, len(rows))
	f.print("counts %+v", r.Result.Counts)
}
