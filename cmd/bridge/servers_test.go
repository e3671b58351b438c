package main

import (
	"bytes"
	"context"
	"crypto/md5"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kinesis-msk-bridge/bridge/internal/dynamotest"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
)

// servers are the two services of one script. They live in the test's process and end
// with the script.
type servers struct {
	kinesis *kinesistest.Server
	kafka   *kfake.Cluster
	denied  *kfake.FaultHandle // nil if nothing is
	ahead   atomic.Int64       // seconds that the clock of Kinesis is
	dynamo  *dynamotest.Server
	looked  <-chan struct{} // closed once somebody has looked at a lease table
	// stop ends what runs in the background, by name: applications and consumers.
	stop map[string]func()
}

type serversKey struct{}

func serversOf(ts *testscript.TestScript) *servers { return ts.Value(serversKey{}).(*servers) }

// number is the argument at i.
func number(ts *testscript.TestScript, args []string, i int) int {
	if i >= len(args) {
		ts.Fatalf("%v: one more argument is needed", args)
	}
	n, err := strconv.Atoi(args[i])
	ts.Check(err)
	return n
}

// cmdKinesis is the Kinesis of a script:
//
//	kinesis start                 $KINESIS is its address; credentials are set, too
//	kinesis create STREAM SHARDS
//	kinesis recreate STREAM SHARDS
//	kinesis delete STREAM
//	kinesis retention STREAM HOURS
//	kinesis put STREAM FROM TO    values FROM to TO-1, under ten keys
//	kinesis aggregate STREAM      one record that the KPL would have made of several
//	kinesis split STREAM SHARD
//	kinesis holds STREAM N        fails unless the stream holds N records
//	kinesis deny OPERATION        refuse the principal that operation; "none" ends that
//	kinesis wait HOURS|DURATION   let that much time pass for the service
//	kinesis stop
func cmdKinesis(ts *testscript.TestScript, neg bool, args []string) {
	s := serversOf(ts)
	if neg || len(args) == 0 || len(args) > 1 && s.kinesis == nil {
		ts.Fatalf("usage: kinesis start, then kinesis VERB STREAM [args...]")
	}
	switch verb := args[0]; verb {
	case "start":
		startKinesis(ts, s)
	case "stop":
		ts.Check(s.kinesis.Close())
		s.kinesis = nil
	case "wait":
		d, err := time.ParseDuration(args[1])
		if err != nil {
			d = time.Duration(number(ts, args, 1)) * time.Hour
		}
		s.ahead.Add(int64(d / time.Second))
	case "deny":
		s.kinesis.SetDeny(func(c kinesistest.Call) bool { return c.Op == args[1] })
	case "create":
		_, err := s.kinesis.CreateStream(args[1], number(ts, args, 2))
		ts.Check(err)
	case "delete", "recreate":
		ts.Check(deleteStream(s.kinesis.URL(), args[1]))
		s.ahead.Add(2) // streams are told apart by the second of their creation
		if verb == "recreate" {
			_, err := s.kinesis.CreateStream(args[1], number(ts, args, 2))
			ts.Check(err)
		}
	default:
		streamCommand(ts, s.kinesis.Stream(args[1]), args)
	}
}

func startKinesis(ts *testscript.TestScript, s *servers) {
	srv, err := kinesistest.Start(kinesistest.Config{
		StrictRegion: true, Limits: kinesistest.Limits{Off: true},
		Clock: func() time.Time { return time.Now().Add(time.Duration(s.ahead.Load()) * time.Second) },
	})
	ts.Check(err)
	ts.Defer(func() { ts.Check(srv.Close()) })
	s.kinesis = srv
	for name, value := range map[string]string{
		"KINESIS": s.kinesis.URL(), "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
		"AWS_EC2_METADATA_DISABLED": "true",
	} {
		ts.Setenv(name, value)
	}
}

func streamCommand(ts *testscript.TestScript, stream *kinesistest.Stream, args []string) {
	if stream == nil {
		ts.Fatalf("%v: there is no such stream", args)
	}
	switch args[0] {
	case "put":
		for i := number(ts, args, 2); i < number(ts, args, 3); i++ {
			ts.Check(stream.Put(kinesistest.Entry{Key: fmt.Sprint("key", i%10), Data: fmt.Append(nil, "value ", i)}))
		}
	case "aggregate":
		ts.Check(stream.Put(kinesistest.Entry{Key: "key0", Data: aggregate()}))
	case "retention":
		ts.Check(callKinesis(serversOf(ts).kinesis.URL(), "IncreaseStreamRetentionPeriod",
			fmt.Sprintf(`{"StreamName":%q,"RetentionPeriodHours":%d}`, args[1], number(ts, args, 2))))
	case "split":
		_, _, err := stream.Split(args[2], "")
		ts.Check(err)
	case "holds":
		have := 0
		for _, shard := range stream.Shards() {
			have += shard.Records
		}
		if have != number(ts, args, 2) {
			ts.Fatalf("stream %s holds %d records, want %s", args[1], have, args[2])
		}
	default:
		ts.Fatalf("kinesis has no verb %s", args[0])
	}
}

// deleteStream asks the service itself. Its signature is one in form only, which is all
// that the server reads.
func deleteStream(url, name string) error {
	return callKinesis(url, "DeleteStream", fmt.Sprintf(`{"StreamName":%q,"EnforceConsumerDeletion":true}`, name))
}

// callKinesis is one call of the service.
func callKinesis(url, op, body string) error {
	req, err := http.NewRequest(http.MethodPost, url, bytes.NewBufferString(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	req.Header.Set("X-Amz-Target", "Kinesis_20131202."+op)
	req.Header.Set("X-Amz-Date", "20260101T000000Z")
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/kinesis/aws4_request, SignedHeaders=host, Signature=0")
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if text, _ := io.ReadAll(answer.Body); answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s: %s", op, body, answer.Status, text)
	}
	return nil
}

// cmdKafka is the Kafka of a script:
//
//	kafka start                   three brokers; $KAFKA are their addresses
//	kafka create TOPIC PARTITIONS [SETTING=VALUE...]
//	kafka recreate TOPIC PARTITIONS
//	kafka delete TOPIC
//	kafka grow TOPIC PARTITIONS   to that many
//	kafka put TOPIC FROM TO       values FROM to TO-1, under ten keys
//	kafka append TOPIC PARTITION KEY VALUE
//	kafka odd TOPIC KIND          a record with what Kinesis has no room for: tombstone, header, aggregate
//	kafka tombstone TOPIC KEY     a record without a value
//	kafka large TOPIC BYTES       one record with a value of that size
//	kafka mixed TOPIC N           records of every kind
//	kafka holds TOPIC N           fails unless the topic has N records, or does not exist if N is "absent"
//	kafka trim TOPIC PARTITION OFFSET
//	kafka deny TOPIC              refuse the principal that topic; "none" ends that
//	kafka stop
func cmdKafka(ts *testscript.TestScript, neg bool, args []string) {
	s := serversOf(ts)
	if neg || len(args) == 0 || len(args) > 1 && s.kafka == nil {
		ts.Fatalf("usage: kafka start, then kafka VERB TOPIC [args...]")
	}
	switch verb := args[0]; verb {
	case "start":
		startKafka(ts, s)
	case "stop":
		s.kafka.Close()
		s.kafka = nil
	case "create":
		settings := map[string]string{}
		for _, arg := range args[3:] {
			name, value, _ := strings.Cut(arg, "=")
			settings[name] = value
		}
		ts.Check(s.kafka.CreateTopic(args[1], int32(number(ts, args, 2)), settings))
	case "delete", "recreate":
		ts.Check(s.kafka.DeleteTopic(args[1]))
		if verb == "recreate" {
			ts.Check(s.kafka.CreateTopic(args[1], int32(number(ts, args, 2)), nil))
		}
	case "trim":
		ts.Check(s.kafka.DeleteRecords(args[1], int32(number(ts, args, 2)), int64(number(ts, args, 3))))
	case "deny":
		if s.denied != nil {
			s.denied.Remove()
			s.denied = nil
		}
		if args[1] != "none" {
			s.denied = s.kafka.Fault(kfake.Fault{Topic: args[1], Err: kerr.TopicAuthorizationFailed, Count: -1})
		}
	case "mixed":
		client, ctx := clientOf(ts, s.kafka)
		ts.Check(client.ProduceSync(ctx, mixed(args[1], number(ts, args, 2))...).FirstErr())
	case "grow", "put", "append", "odd", "tombstone", "large":
		withClient(ts, s.kafka, args)
	case "holds":
		topicHolds(ts, s.kafka, args)
	default:
		ts.Fatalf("kafka has no verb %s", verb)
	}
}

func startKafka(ts *testscript.TestScript, s *servers) {
	var err error
	s.kafka, err = kfake.NewCluster(kfake.NumBrokers(3))
	ts.Check(err)
	ts.Defer(s.kafka.Close)
	ts.Setenv("KAFKA", strings.Join(s.kafka.ListenAddrs(), ","))
}

// withClient does what needs a client of the cluster.
func withClient(ts *testscript.TestScript, c *kfake.Cluster, args []string) {
	client, ctx := clientOf(ts, c, kgo.ProducerBatchMaxBytes(8<<20))
	var records []*kgo.Record
	switch args[0] {
	case "grow":
		req := kmsg.NewPtrCreatePartitionsRequest()
		topic := kmsg.NewCreatePartitionsRequestTopic()
		topic.Topic, topic.Count = args[1], int32(number(ts, args, 2))
		req.Topics = append(req.Topics, topic)
		answer, err := req.RequestWith(ctx, client)
		ts.Check(err)
		ts.Check(kerr.ErrorForCode(answer.Topics[0].ErrorCode))
		return
	case "odd":
		r := &kgo.Record{Topic: args[1], Key: []byte("key0"), Value: []byte("value")}
		switch args[2] {
		case "tombstone":
			r.Value = nil
		case "header":
			r.Headers = []kgo.RecordHeader{{Key: "trace", Value: []byte("1")}}
		case "aggregate":
			r.Value = aggregate()
		default:
			ts.Fatalf("%s is not odd", args[2])
		}
		records = []*kgo.Record{r}
	case "tombstone":
		records = []*kgo.Record{{Topic: args[1], Key: []byte(args[2])}}
	case "large":
		records = []*kgo.Record{{Topic: args[1], Key: []byte("large"), Value: make([]byte, number(ts, args, 2))}}
	case "append":
		if len(args) != 5 {
			ts.Fatalf("usage: kafka append TOPIC PARTITION KEY VALUE")
		}
		records = []*kgo.Record{{Topic: args[1], Partition: int32(number(ts, args, 2)), Key: []byte(args[3]), Value: []byte(args[4])}}
		client, ctx = clientOf(ts, c, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	default:
		for i := number(ts, args, 2); i < number(ts, args, 3); i++ {
			records = append(records, &kgo.Record{Topic: args[1], Key: fmt.Append(nil, "key", i%10), Value: fmt.Append(nil, "value ", i)})
		}
	}
	ts.Check(client.ProduceSync(ctx, records...).FirstErr())
}

// aggregate is what a KPL reader takes for several records: magic, content, its MD5.
func aggregate() []byte {
	content := []byte("\x0a\x04key0\x1a\x07\x08\x00\x1a\x03one")
	sum := md5.Sum(content)
	return slices.Concat([]byte("\xf3\x89\x9a\xc2"), content, sum[:])
}

// clientOf is a client that lasts as long as the script, and how long a call may take.
func clientOf(ts *testscript.TestScript, c *kfake.Cluster, opts ...kgo.Opt) (*kgo.Client, context.Context) {
	client, err := kgo.NewClient(append(opts, kgo.SeedBrokers(c.ListenAddrs()...))...)
	ts.Check(err)
	ctx, cancel := context.WithTimeout(context.Background(), storyPatience)
	ts.Defer(func() { client.Close(); cancel() })
	return client, ctx
}

func topicHolds(ts *testscript.TestScript, c *kfake.Cluster, args []string) {
	if len(args) < 3 {
		ts.Fatalf("usage: kafka holds TOPIC N")
	}
	exists := c.TopicInfo(args[1]) != nil
	if exists == (args[2] == "absent") {
		ts.Fatalf("topic %s: that it exists is %t", args[1], exists)
	}
	if !exists {
		return
	}
	if have := countRecords(ts, c, args[1]); have != number(ts, args, 2) {
		ts.Fatalf("topic %s holds %d records, want %s", args[1], have, args[2])
	}
}

// countRecords reads a topic to its end, and leaves out the markers of transactions.
func countRecords(ts *testscript.TestScript, c *kfake.Cluster, topic string) int {
	from, ends := map[int32]kgo.Offset{}, map[int32]int64{}
	for _, p := range c.PartitionInfos(topic) {
		if from[p.Partition] = kgo.NewOffset().AtStart(); p.HighWatermark > p.LogStartOffset {
			ends[p.Partition] = p.HighWatermark
		}
	}
	client, ctx := clientOf(ts, c, kgo.KeepControlRecords(), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}))
	have := 0
	for len(ends) > 0 {
		fetches := client.PollFetches(ctx)
		ts.Check(fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Offset >= ends[r.Partition]-1 {
				delete(ends, r.Partition)
			}
			if !r.Attrs.IsControl() {
				have++
			}
		})
	}
	return have
}

// snapshot says of every stream and topic who it is, and from where to where it holds
// records.
func (s *servers) snapshot(ts *testscript.TestScript) string {
	var b strings.Builder
	if s.kinesis != nil {
		for _, stream := range s.kinesis.Streams() {
			fmt.Fprintf(&b, "stream %s of %s\n", stream.Name(), stream.Created())
			for _, i := range stream.Shards() {
				fmt.Fprintf(&b, "  %s closed %t, %d records, %d bytes\n", i.ID, i.Closed, i.Records, i.Bytes)
			}
		}
	}
	if s.kafka == nil {
		return b.String()
	}
	client, ctx := clientOf(ts, s.kafka)
	answer, err := kmsg.NewPtrMetadataRequest().RequestWith(ctx, client)
	ts.Check(err)
	slices.SortFunc(answer.Topics, func(a, b kmsg.MetadataResponseTopic) int { return strings.Compare(*a.Topic, *b.Topic) })
	for _, t := range answer.Topics {
		fmt.Fprintf(&b, "topic %s %x\n", *t.Topic, t.TopicID)
		for _, p := range s.kafka.PartitionInfos(*t.Topic) {
			fmt.Fprintf(&b, "  %d: %d to %d\n", p.Partition, p.LogStartOffset, p.HighWatermark)
		}
	}
	return b.String()
}
