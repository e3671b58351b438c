package kafkastream_test

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/stream/kafkastream"
)

// The topics of a workflow are deleted, its producer ids with them, and the next session has
// another producer id: what the workflow wrote is found by its tag, and again behind the next
// checkpoint, before the first scan was worked off.
func TestProducersAreAdopted(t *testing.T) {
	b := newBench(t, "kfake", brokers(t))
	k := newTarget(t, b, "adopting", 2)
	k.write(t, "0", 0, 5)
	k.write(t, "1", 5, 5)
	reopen := func(tasks int) {
		t.Helper()
		if err := k.session.Close(); err != nil {
			t.Fatal(err)
		}
		s, err := kafkastream.OpenSession(t.Context(), kafkastream.SessionConfig{Client: b.client, Workflow: "adopting", Key: testKey(), Target: k.name, Tasks: tasks, ReplicationFactor: 1})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		k.session, k.sink = s, s.Sink(kafkastream.SinkConfig{Stamp: k.stamp})
	}
	expect := func(what string, from bridge.Floor) {
		t.Helper()
		if n, err := k.tail(t, from); n != 10 || err != nil {
			t.Errorf("%s: found %d, %v; want 10", what, n, err)
		}
	}
	deleteTopics(t, b.writer, kafkastream.OwnTopics("adopting"))
	reopen(2) // whose transactional id has another producer id
	expect("without a checkpoint", bridge.Floor{})
	if err := k.session.Checkpoints().Save(t.Context(), bridge.Checkpoint{At: time.Now()}); err != nil {
		t.Fatal(err)
	}
	reopen(2)
	expect("behind the first checkpoint", bridge.Floor{})
}

func deleteTopics(t *testing.T, client *kgo.Client, names []string) {
	t.Helper()
	req := kmsg.NewPtrDeleteTopicsRequest()
	for _, name := range names {
		topic := kmsg.NewDeleteTopicsRequestTopic()
		topic.Topic = kmsg.StringPtr(name)
		req.Topics = append(req.Topics, topic)
		req.TopicNames = append(req.TopicNames, name)
	}
	if _, err := req.RequestWith(t.Context(), client); err != nil {
		t.Fatal(err)
	}
}
