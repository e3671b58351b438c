//go:build integration

package kafkastream_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/integration/servers"
	"github.com/kinesis-msk-bridge/bridge/stream/kafkastream"
)

// An unclean election cuts a source topic, a target topic and the ledger of a workflow, each
// of which then is written again beyond where it ended. The reader that was under way, a
// restart from the checkpoint, and the next session all stop with the range, and no record
// from behind the cut is handed out.
func TestIntegrationUncleanElection(t *testing.T) {
	u := newUnclean(t)
	u.produce("old", 10)
	session, err := u.take("dst")
	if err != nil {
		t.Fatal(err)
	}
	sink := session.Sink(kafkastream.SinkConfig{Stamp: bridge.NewStamp(bridge.StampConfig{Workflow: "unclean", Key: testKey()})})
	ledger := session.Ledger(origin)
	append10 := func() {
		for i := range 10 {
			if err := write(t.Context(), sink, "0", fmt.Sprint(i)); err != nil {
				t.Fatal(err)
			}
			if _, err := ledger.Append(t.Context(), bridge.LedgerEntry{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	append10()
	u.loosen(kafkastream.OwnTopics("unclean")[1]) // the session has set it right
	// From here on the second broker, which follows, has nothing of what is acknowledged.
	u.kafka.Kill(1)
	u.produce("old", 10)
	append10()
	info := inTime(t, func() (kafkastream.Topic, error) { return u.client.Topic(t.Context(), "dst") })
	inTime(t, func() (struct{}, error) {
		return struct{}{}, session.Checkpoints().Save(t.Context(), bridge.Checkpoint{At: time.Now(), Source: origin, Target: info.Identity()})
	})
	session.Close()
	source := inTime(t, func() (*kafkastream.Source, error) {
		return kafkastream.NewSource(t.Context(), kafkastream.SourceConfig{Client: u.client, Topic: "src"})
	})
	under := open(t, source, "0", bridge.Start{})
	read, last, err := u.read(under, 20)
	if err != nil || len(read) != 20 {
		t.Fatalf("read %d records, %v; want 20", len(read), err)
	}
	u.kafka.Kill(0)
	if err := u.kafka.Restart(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	u.produce("new", 25)
	u.gap("the reader that was under way", under, 9, 20)
	u.gap("a restart", open(t, source, "0", bridge.Start{After: read[19].Position, Batch: last.Last}), 9, 20)
	for _, topic := range []string{"dst", kafkastream.OwnTopics("unclean")[1]} {
		if _, end, _, err := u.client.Offsets(t.Context(), topic, 0); err != nil || end >= 20 {
			t.Fatalf("%s ends at %d, %v: it was not cut", topic, end, err)
		}
	}
	// Whoever else writes brings the logs beyond where they ended.
	u.fill("dst", 40)
	if _, err := u.take("dst"); !errors.Is(err, bridge.ErrGap) {
		t.Errorf("a session over a target that was cut = %v, want a gap", err)
	} else {
		t.Log(err)
	}
	u.fill(kafkastream.OwnTopics("unclean")[1], 40)
	if _, err := u.take(""); !errors.Is(err, bridge.ErrGap) || !strings.Contains(err.Error(), "ledger") {
		t.Errorf("a session over a ledger that was cut = %v, want a gap", err)
	} else {
		t.Log(err)
	}
}

// inTime tries again what fails while a broker that is gone is still known, as the engine does.
func inTime[T any](t *testing.T, try func() (T, error)) T {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; <-time.After(100 * time.Millisecond) {
		v, err := try()
		if err == nil {
			return v
		}
		if !bridge.Retryable(err) || time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

// An unclean cluster has topics on two of its three brokers that take any leader.
type unclean struct {
	*bench
	t     *testing.T
	kafka *servers.Kafka
}

func newUnclean(t *testing.T) *unclean {
	k, err := servers.StartKafka(t.Context(), servers.KafkaConfig{Dir: t.TempDir(), Nodes: 3})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	u := &unclean{newBench(t, "kafka "+servers.KafkaVersion, k.Brokers()), t, k}
	one, yes := "1", "true"
	for _, name := range []string{"src", "dst", kafkastream.OwnTopics("unclean")[1]} {
		q := kmsg.NewPtrCreateTopicsRequest()
		topic := kmsg.NewCreateTopicsRequestTopic()
		topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, -1, -1
		a := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
		a.Partition, a.Replicas = 0, []int32{1, 2}
		topic.ReplicaAssignment = append(topic.ReplicaAssignment, a)
		topic.Configs = []kmsg.CreateTopicsRequestTopicConfig{{Name: "min.insync.replicas", Value: &one}, {Name: "unclean.leader.election.enable", Value: &yes}}
		q.Topics = append(q.Topics, topic)
		r, err := q.RequestWith(t.Context(), u.writer)
		if err == nil {
			err = kerr.ErrorForCode(r.Topics[0].ErrorCode)
		}
		if err != nil {
			t.Fatal(name, err)
		}
	}
	return u
}

// loosen lets a topic take any leader, and writes with one replica.
func (u *unclean) loosen(name string) {
	u.t.Helper()
	q := kmsg.NewPtrIncrementalAlterConfigsRequest()
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeTopic, name
	for key, value := range map[string]string{"min.insync.replicas": "1", "unclean.leader.election.enable": "true"} {
		c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		c.Name, c.Value = key, &value
		r.Configs = append(r.Configs, c)
	}
	q.Resources = append(q.Resources, r)
	answer, err := q.RequestWith(u.t.Context(), u.writer)
	if err == nil {
		err = kerr.ErrorForCode(answer.Resources[0].ErrorCode)
	}
	if err != nil {
		u.t.Fatal(name, err)
	}
}

// take opens a session whose other topics stand on all brokers, and lose nothing.
func (u *unclean) take(target string) (*kafkastream.Session, error) {
	ctx, cancel := context.WithTimeout(u.t.Context(), time.Minute)
	defer cancel()
	s, err := kafkastream.OpenSession(ctx, kafkastream.SessionConfig{
		Client: u.client, Workflow: "unclean", Key: testKey(), Target: target, ReplicationFactor: 3,
	})
	if err == nil {
		u.t.Cleanup(func() { s.Close() })
	}
	return s, err
}

// produce appends records to the source one by one, each acknowledged by its leader.
func (u *unclean) produce(what string, n int) { u.put("src", what, n) }

// fill writes to a topic until it ends at an offset.
func (u *unclean) fill(topic string, end int64) {
	_, at, _, err := u.client.Offsets(u.t.Context(), topic, 0)
	if err != nil {
		u.t.Fatal(err)
	}
	u.put(topic, "filled", int(end-at))
}

func (u *unclean) put(topic, what string, n int) {
	u.t.Helper()
	p := producer(u.t, u.addrs, kgo.DisableIdempotentWrite(), kgo.RequiredAcks(kgo.LeaderAck()), kgo.MetadataMinAge(250*time.Millisecond))
	for i := range n {
		ctx, cancel := context.WithTimeout(u.t.Context(), time.Minute)
		err := p.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: fmt.Append(nil, what, " ", i)}).FirstErr()
		cancel()
		if err != nil {
			u.t.Fatalf("put %s %d into %s: %v", what, i, topic, err)
		}
	}
}

// read reads until there are n records, an error, or a minute has passed.
func (u *unclean) read(r bridge.Reader, n int) (all []bridge.Record, last bridge.Batch, err error) {
	ctx, cancel := context.WithTimeout(u.t.Context(), time.Minute)
	defer cancel()
	for len(all) < n {
		b, err := r.Read(ctx)
		if err != nil && !bridge.Retryable(err) {
			return all, last, err
		}
		if err == nil {
			last = b
		}
		all = append(all, b.Records...)
	}
	return all, last, nil
}

// gap reads on and expects no record, but a gap with this range.
func (u *unclean) gap(what string, r bridge.Reader, after, before int64) {
	u.t.Helper()
	got, _, err := u.read(r, 1)
	var gap *bridge.GapError
	if len(got) > 0 || !errors.As(err, &gap) || gap.After != bridge.OffsetPosition(after) || gap.Before != bridge.OffsetPosition(before) {
		u.t.Errorf("%s: %d records, then %v; want a gap behind %d up to %d", what, len(got), err, after, before)
		return
	}
	u.t.Log(what, err)
}
