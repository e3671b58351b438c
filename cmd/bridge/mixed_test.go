package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// mixed are records of every kind that Kafka knows: null, empty, binary and code-like
// keys, null and empty values, values that begin like aggregates and envelopes, headers
// with null, empty and binary values and names, and times of long ago.
func mixed(topic string, n int) (out []*kgo.Record) {
	keys := [][]byte{nil, {}, []byte("plain"), []byte("\xff\xfe"), []byte("~b:k:"), []byte("~b:n:1"), []byte(strings.Repeat("k", 180)), []byte("é🙂")}
	values := [][]byte{nil, {}, []byte("value"), []byte("\xf3\x89\x9a\xc2 no aggregate"), []byte("\xc5BRG\x01 no envelope"), aggregate()}
	for i := range n {
		r := &kgo.Record{
			Topic: topic, Key: keys[i%len(keys)], Value: values[i/2%len(values)],
			Timestamp: time.UnixMilli(1_500_000_000_000 + int64(i)),
		}
		if i%3 > 0 {
			r.Headers = []kgo.RecordHeader{{Key: "n", Value: fmt.Append(nil, i)}, {Key: "", Value: nil}, {Key: "\xff", Value: []byte{0xfe}}, {Key: "n", Value: []byte{}}}
		}
		out = append(out, r)
	}
	return out
}

// cmdSame compares two topics of as many partitions: the records of each key, and those
// without one, are the same in the same order in each partition, with all that they have
// but the mirror's own header. Records without a key are the same in any order.
//
//	same TOPIC TOPIC
func cmdSame(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: same TOPIC TOPIC")
	}
	c := serversOf(ts).kafka
	want, got := linesOf(ts, c, args[0]), linesOf(ts, c, args[1])
	for _, lines := range []map[string][]string{want, got} {
		for key := range lines {
			if strings.HasSuffix(key, " true") {
				slices.Sort(lines[key]) // what has no key has no order
			}
		}
	}
	n := 0
	for key, lines := range want {
		n += len(lines)
		if a, b := strings.Join(lines, "\n"), strings.Join(got[key], "\n"); a != b {
			ts.Fatalf("%s: %s holds\n%s\n%s holds\n%s", key, args[0], a, args[1], b)
		}
	}
	if n == 0 || len(got) != len(want) {
		ts.Fatalf("%d records of %d keys, and of %d keys", n, len(want), len(got))
	}
}

// linesOf reads a topic: the records of each partition and key.
func linesOf(ts *testscript.TestScript, c *kfake.Cluster, topic string) map[string][]string {
	client, ctx := clientOf(ts, c, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	left := int64(0)
	for _, p := range c.PartitionInfos(topic) {
		left += p.HighWatermark
	}
	out := map[string][]string{}
	seen := map[int32]int64{}
	for left > 0 {
		fetches := client.PollFetches(ctx)
		ts.Check(fetches.Err())
		for _, r := range fetches.Records() {
			left -= r.Offset + 1 - seen[r.Partition]
			seen[r.Partition] = r.Offset + 1
			key := fmt.Sprintf("partition %d key %q %t", r.Partition, r.Key, r.Key == nil)
			out[key] = append(out[key], line(r))
		}
		if fetches.NumRecords() == 0 {
			break // the rest are markers
		}
	}
	return out
}

func line(r *kgo.Record) string {
	headers := []kgo.RecordHeader{}
	for _, h := range r.Headers {
		if h.Key != "bridge" {
			headers = append(headers, h)
		}
	}
	return fmt.Sprintf("%d %q %t %#v", r.Timestamp.UnixMilli(), r.Value, r.Value == nil, headers)
}
