package verify_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/keymap"
	"github.com/kinesis-msk-bridge/bridge/stream/kafkastream"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesisstream"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
	"github.com/kinesis-msk-bridge/bridge/verify"
)

const liesTopicPartitions = 6

// A damaging copier between the real protocols: it reads a stream through the service's
// own pages and writes a topic record by record, with provenance of its own making. Ten
// keys of every kind of damage are told at once, each by class and both coordinates.
func TestLiesThroughTheAdapters(t *testing.T) { liesThrough(t, fakeBrokers(t)) }

// liesThrough wants a cluster with an empty topic "copy".
func liesThrough(t *testing.T, brokers []string) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	w := &world{t: t, seed: 1, rng: rand.New(rand.NewPCG(1, 1)), from: memstream.Kinesis, to: memstream.Kafka}
	var kinds []damage
	for _, k := range damages {
		if k.onlyLedger {
			continue
		}
		// One concerns more than one key, the other needs equal times, which are rare here.
		if k.name != "replay a run" && k.name != "one of two equal ones twice" {
			kinds = append(kinds, k)
		}
	}
	source := w.producedStream(ctx, len(kinds)*10)
	client, err := kafkastream.Dial(ctx, kafkastream.Config{Brokers: brokers})
	check(t, err)
	t.Cleanup(func() { check(t, client.Close()) })
	topic, err := client.Topic(ctx, "copy")
	check(t, err)

	c := w.copierOf(ctx, source, topic.Identity())
	var all []truth
	n := map[string]int{}
	for i, key := range slices.Sorted(maps.Keys(c.byKey)) {
		if kinds[i%len(kinds)].name == "wrong coordinate" {
			c.strangers = append(c.strangers, key)
		}
	}
	for i, key := range slices.Sorted(maps.Keys(c.byKey)) {
		kind, own := kinds[i%len(kinds)], c.byKey[key]
		for try := range len(own) {
			if list := kind.do(c, own, try); len(list) > 0 {
				all = append(all, list...)
				n[kind.name]++
				break
			}
		}
	}
	c.produce(ctx, brokers, "copy")
	target, err := kafkastream.NewSource(ctx, kafkastream.SourceConfig{Client: client, Topic: "copy", Stamp: c.stamp, KeepCopied: true})
	check(t, err)
	v := &verify.Verifier{
		Workflow: "wf", Source: source, Target: target, Keys: w.keys, Key: workflowKey, DeadLetters: c.dead,
		Keeps: verify.Keeps{Time: true, Headers: true, Nulls: true}, Settle: 100 * time.Millisecond,
		WindowRecords: windowRecords, Window: time.Hour, MaxSamples: 1 << 20, Acknowledged: w.allRead(c),
	}
	res, err := v.Run(ctx)
	check(t, err)
	if want, got := c.lies(all), told(res); !slices.Equal(want, got) {
		t.Fatalf("%d lies, %d told:%s", len(want), len(got), difference(want, got))
	}
	for _, k := range kinds {
		if t.Logf("%-48s found %d of %d", k.name, n[k.name], n[k.name]); n[k.name] < 5 {
			t.Errorf("%s was done %d times only", k.name, n[k.name])
		}
	}
}

// producedStream puts ten records of each key into a stream that is split on the way.
func (w *world) producedStream(ctx context.Context, keys int) *kinesisstream.Source {
	srv, err := kinesistest.Start(kinesistest.Config{Limits: kinesistest.Limits{Off: true}})
	check(w.t, err)
	w.t.Cleanup(func() { check(w.t, srv.Close()) })
	s, err := srv.CreateStream("orders", 2)
	check(w.t, err)
	for i := range 10 * keys {
		if i == 5*keys {
			_, _, err := s.Split("shardId-000000000000", "")
			check(w.t, err)
			_, _, err = s.Split("shardId-000000000001", "")
			check(w.t, err)
		}
		e := kinesistest.Entry{Key: fmt.Sprintf("key-%04d", i%keys), Data: fmt.Append(nil, "value ", i)}
		check(w.t, s.Put(e))
	}
	client, err := kinesisstream.Dial(ctx, kinesisstream.Config{
		Stream: "orders", Region: srv.Region(), EndpointURL: srv.URL(), Codec: kinesisstream.CodecSDK,
		Credentials: credentials.NewStaticCredentialsProvider("id", "secret", ""),
	})
	check(w.t, err)
	w.source, err = client.Identity(ctx)
	check(w.t, err)
	return client.Source(kinesisstream.SourceConfig{NoRates: true}) // which its server has not
}

func fakeBrokers(t *testing.T) []string {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(liesTopicPartitions, "copy"))
	check(t, err)
	t.Cleanup(cluster.Close)
	return cluster.ListenAddrs()
}

// copierOf makes lines of all that a source holds, parents before children.
func (w *world) copierOf(ctx context.Context, source bridge.Source, target bridge.Identity) *copier {
	c := &copier{w: w, byKey: map[string][]*line{}, parts: liesTopicPartitions}
	c.stamp = bridge.NewStamp(bridge.StampConfig{Workflow: "wf", Key: workflowKey, Source: w.source, Target: target})
	var err error
	w.keys, err = keymap.New("murmur2", liesTopicPartitions)
	check(w.t, err)
	parts, err := source.Partitions(ctx)
	check(w.t, err)
	for _, p := range parts {
		reader, err := source.Open(ctx, p.ID, bridge.Start{})
		check(w.t, err)
		for {
			b, err := reader.Read(ctx)
			check(w.t, err)
			for _, r := range b.Records {
				l := &line{was: bridge.Coordinate{Stream: w.source.String(), Partition: p.ID, Position: r.Position}}
				route, err := w.keys.Route(&r)
				check(w.t, err)
				l.rec = bridge.Record{Key: r.Key, Value: r.Value, Time: r.Time, Partition: route.Partition, Origin: l.was, Subs: 1}
				c.lines = append(c.lines, l)
				c.byKey[string(r.Key)] = append(c.byKey[string(r.Key)], l)
			}
			if b.Ended || b.Behind == 0 {
				break
			}
		}
		check(w.t, reader.Close())
	}
	return c
}

// allRead claims that the mirror has acknowledged everything.
func (w *world) allRead(c *copier) func(context.Context) (map[string]bridge.Row, error) {
	rows := map[string]bridge.Row{}
	for _, l := range c.lines {
		if l.was.Position.After(rows[l.was.Partition].Position) && l.was == l.rec.Origin {
			rows[l.was.Partition] = bridge.Row{Partition: l.was.Partition, Position: l.was.Position}
		}
	}
	return func(context.Context) (map[string]bridge.Row, error) { return rows, nil }
}

// produce writes the copy into a topic, one record after the other.
func (c *copier) produce(ctx context.Context, brokers []string, topic string) {
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	check(c.w.t, err)
	defer client.Close()
	var recs []*kgo.Record
	var lines []*line
	for _, l := range c.lines {
		switch {
		case l.dead && !l.dropped:
			c.dead = append(c.dead, bridge.DeadLetter{Origin: l.was, Key: l.rec.Key, Value: l.rec.Value, Headers: l.rec.Headers, Time: l.rec.Time})
		case !l.dead && !l.dropped:
			lines, recs = append(lines, l), append(recs, c.kafka(topic, l))
		}
	}
	check(c.w.t, client.ProduceSync(ctx, recs...).FirstErr())
	for i, r := range recs {
		lines[i].place = verify.Place{Partition: strconv.Itoa(int(r.Partition)), Position: bridge.OffsetPosition(r.Offset)}
	}
}

func (c *copier) kafka(topic string, l *line) *kgo.Record {
	partition, err := strconv.Atoi(l.rec.Partition)
	check(c.w.t, err)
	r := &kgo.Record{Topic: topic, Partition: int32(partition), Key: l.rec.Key, Value: l.rec.Value, Timestamp: l.rec.Time}
	for _, h := range l.rec.Headers {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	if !l.native && !l.foreign {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: bridge.ProvenanceHeader, Value: c.stamp.Append(nil, &l.rec)})
	}
	return r
}
