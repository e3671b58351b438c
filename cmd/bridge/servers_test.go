package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
)

// servers are the two services of one script. They live in the test's process and end
// with the script.
type servers struct {
	kinesis *kinesistest.Server
	kafka   *kfake.Cluster
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
//	kinesis put STREAM FROM TO    values FROM to TO-1, under ten keys
//	kinesis split STREAM SHARD
//	kinesis holds STREAM N        fails unless the stream holds N records
//	kinesis deny OPERATION        refuse the principal that operation; "none" ends that
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
	case "deny":
		s.kinesis.SetDeny(func(c kinesistest.Call) bool { return c.Op == args[1] })
	case "create":
		_, err := s.kinesis.CreateStream(args[1], number(ts, args, 2))
		ts.Check(err)
	case "delete", "recreate":
		ts.Check(deleteStream(s.kinesis.URL(), args[1]))
		if verb == "recreate" {
			_, err := s.kinesis.CreateStream(args[1], number(ts, args, 2))
			ts.Check(err)
		}
	default:
		streamCommand(ts, s.kinesis.Stream(args[1]), args)
	}
}

func startKinesis(ts *testscript.TestScript, s *servers) {
	var err error
	s.kinesis, err = kinesistest.Start(kinesistest.Config{StrictRegion: true, Limits: kinesistest.Limits{Off: true}})
	ts.Check(err)
	ts.Defer(func() { ts.Check(s.kinesis.Close()) })
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
	req, err := http.NewRequest(http.MethodPost, url, bytes.NewBufferString(fmt.Sprintf(`{"StreamName":%q,"EnforceConsumerDeletion":true}`, name)))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	req.Header.Set("X-Amz-Target", "Kinesis_20131202.DeleteStream")
	req.Header.Set("X-Amz-Date", "20260101T000000Z")
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/kinesis/aws4_request, SignedHeaders=host, Signature=0")
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if text, _ := io.ReadAll(answer.Body); answer.StatusCode != http.StatusOK {
		return fmt.Errorf("delete stream %s: %s: %s", name, answer.Status, text)
	}
	return nil
}

// cmdKafka is the Kafka of a script:
//
//	kafka start                   $KAFKA is its address
//	kafka create TOPIC PARTITIONS
//	kafka recreate TOPIC PARTITIONS
//	kafka delete TOPIC
//	kafka grow TOPIC PARTITIONS   to that many
//	kafka put TOPIC FROM TO       values FROM to TO-1, under ten keys
//	kafka tombstone TOPIC KEY     a record without a value
//	kafka large TOPIC BYTES       one record with a value of that size
//	kafka holds TOPIC N           fails unless the topic holds N records, none for "absent"
//	kafka trim TOPIC PARTITION OFFSET
//	kafka deny TOPIC              refuse the principal that topic, until the script ends
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
	case "create":
		ts.Check(s.kafka.CreateTopic(args[1], int32(number(ts, args, 2)), nil))
	case "delete", "recreate":
		ts.Check(s.kafka.DeleteTopic(args[1]))
		if verb == "recreate" {
			ts.Check(s.kafka.CreateTopic(args[1], int32(number(ts, args, 2)), nil))
		}
	case "trim":
		ts.Check(s.kafka.DeleteRecords(args[1], int32(number(ts, args, 2)), int64(number(ts, args, 3))))
	case "deny":
		s.kafka.Fault(kfake.Fault{Topic: args[1], Err: kerr.TopicAuthorizationFailed, Count: -1})
	case "grow", "put", "tombstone", "large":
		withClient(ts, s.kafka, args)
	case "holds":
		topicHolds(ts, s.kafka, args)
	default:
		ts.Fatalf("kafka has no verb %s", verb)
	}
}

func startKafka(ts *testscript.TestScript, s *servers) {
	var err error
	s.kafka, err = kfake.NewCluster(kfake.NumBrokers(1))
	ts.Check(err)
	ts.Defer(s.kafka.Close)
	ts.Setenv("KAFKA", strings.Join(s.kafka.ListenAddrs(), ","))
}

func withClient(ts *testscript.TestScript, c *kfake.Cluster, args []string) {
	client, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.ProducerBatchMaxBytes(8<<20))
	ts.Check(err)
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), storyPatience)
	defer cancel()
	if args[0] == "grow" {
		req := kmsg.NewPtrCreatePartitionsRequest()
		topic := kmsg.NewCreatePartitionsRequestTopic()
		topic.Topic, topic.Count = args[1], int32(number(ts, args, 2))
		req.Topics = append(req.Topics, topic)
		answer, err := req.RequestWith(ctx, client)
		ts.Check(err)
		ts.Check(kerr.ErrorForCode(answer.Topics[0].ErrorCode))
		return
	}
	var records []*kgo.Record
	switch args[0] {
	case "tombstone":
		records = []*kgo.Record{{Topic: args[1], Key: []byte(args[2])}}
	case "large":
		records = []*kgo.Record{{Topic: args[1], Key: []byte("large"), Value: make([]byte, number(ts, args, 2))}}
	}
	for _, i := range putRange(ts, args) {
		records = append(records, &kgo.Record{Topic: args[1], Key: fmt.Append(nil, "key", i%10), Value: fmt.Append(nil, "value ", i)})
	}
	ts.Check(client.ProduceSync(ctx, records...).FirstErr())
}

// putRange are the numbers of a put; other verbs have none.
func putRange(ts *testscript.TestScript, args []string) (out []int) {
	if args[0] != "put" {
		return nil
	}
	for i := number(ts, args, 2); i < number(ts, args, 3); i++ {
		out = append(out, i)
	}
	return out
}

// topicHolds counts offsets: it is for topics without transaction markers.
func topicHolds(ts *testscript.TestScript, c *kfake.Cluster, args []string) {
	if len(args) < 3 {
		ts.Fatalf("usage: kafka holds TOPIC N")
	}
	if c.TopicInfo(args[1]) == nil {
		if args[2] != "absent" {
			ts.Fatalf("topic %s does not exist", args[1])
		}
		return
	}
	if args[2] == "absent" {
		ts.Fatalf("topic %s exists", args[1])
	}
	var have int64
	for _, p := range c.PartitionInfos(args[1]) {
		have += p.HighWatermark - p.LogStartOffset
	}
	if have != int64(number(ts, args, 2)) {
		ts.Fatalf("topic %s holds %d records, want %s", args[1], have, args[2])
	}
}
