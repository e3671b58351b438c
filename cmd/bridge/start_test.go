package main

import (
	"strings"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// notLeading makes the brokers say of a topic, the first n times that they are asked where it
// ends, that they do not lead it: as they do while a leader is elected.
func notLeading(fake *kfake.Cluster, suffix string, n int64) (said *atomic.Int64) {
	said = &atomic.Int64{}
	fake.ControlKey(int16(kmsg.ListOffsets), func(req kmsg.Request) (kmsg.Response, error, bool) {
		fake.KeepControl()
		q := req.(*kmsg.ListOffsetsRequest)
		if !strings.HasSuffix(q.Topics[0].Topic, suffix) || said.Load() >= n {
			return nil, nil, false
		}
		said.Add(1)
		resp := q.ResponseKind().(*kmsg.ListOffsetsResponse)
		for _, asked := range q.Topics {
			topic := kmsg.NewListOffsetsResponseTopic()
			topic.Topic = asked.Topic
			for _, p := range asked.Partitions {
				refused := kmsg.NewListOffsetsResponseTopicPartition()
				refused.Partition, refused.ErrorCode = p.Partition, kerr.NotLeaderForPartition.Code
				topic.Partitions = append(topic.Partitions, refused)
			}
			resp.Topics = append(resp.Topics, topic)
		}
		return resp, nil, true
	})
	return said
}

// A start waits for a leader that is being elected, and not for ever; and so does one that
// goes on from a checkpoint.
func TestStartWaitsForALeader(t *testing.T) {
	for _, c := range []struct {
		name  string
		times int64
		code  int
	}{{"elected soon", 3, 0}, {"never elected", 1 << 40, exitFailed}} {
		t.Run(c.name, func(t *testing.T) {
			p := newPairing(t, nil)
			start := func() int {
				code, _, text := p.run(t, kinesisToKafka, "mirror", "run", "--until-caught-up")
				t.Log(text)
				return code
			}
			p.records, p.config["BRIDGE_STATE"] = nil, "file:"+t.TempDir()
			if code := start(); code != 0 {
				t.Fatalf("exit code %d before anything is wrong", code)
			}
			said := notLeading(p.kafka, ".checkpoints", c.times)
			if code := start(); code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			if n := said.Load(); n < min(c.times, startTries) {
				t.Errorf("refused %d times", n)
			}
		})
	}
}

// notFetched makes the brokers refuse the first n fetches of a topic in the same way.
func notFetched(fake *kfake.Cluster, suffix string, n int64) (said *atomic.Int64) {
	said = &atomic.Int64{}
	fake.ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		fake.KeepControl()
		q := req.(*kmsg.FetchRequest)
		if len(q.Topics) == 0 || !strings.HasSuffix(q.Topics[0].Topic, suffix) || said.Load() >= n {
			return nil, nil, false
		}
		said.Add(1)
		resp := q.ResponseKind().(*kmsg.FetchResponse)
		for _, asked := range q.Topics {
			topic := kmsg.NewFetchResponseTopic()
			topic.Topic = asked.Topic
			for _, p := range asked.Partitions {
				refused := kmsg.NewFetchResponseTopicPartition()
				refused.Partition, refused.ErrorCode = p.Partition, kerr.NotLeaderForPartition.Code
				topic.Partitions = append(topic.Partitions, refused)
			}
			resp.Topics = append(resp.Topics, topic)
		}
		return resp, nil, true
	})
	return said
}

// A mirror that ran, lost track and cannot read its checkpoints while a leader is
// elected waits for that.
func TestMirrorWaitsForALeader(t *testing.T) {
	const refused = 9 // more than one scan of the checkpoints bears
	p := newPairing(t, nil)
	p.records, p.config["BRIDGE_STATE"] = nil, "file:"+t.TempDir()
	var lost atomic.Int64
	var said *atomic.Int64
	p.kafka.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		p.kafka.KeepControl()
		q := req.(*kmsg.ProduceRequest)
		if len(q.Topics) == 0 || q.Topics[0].Topic != "orders" || lost.Swap(1) == 1 {
			return nil, nil, false
		}
		said = notFetched(p.kafka, ".checkpoints", refused)
		resp := q.ResponseKind().(*kmsg.ProduceResponse)
		for _, asked := range q.Topics {
			topic := kmsg.NewProduceResponseTopic()
			topic.Topic = asked.Topic
			for _, part := range asked.Partitions {
				lost := kmsg.NewProduceResponseTopicPartition()
				lost.Partition, lost.ErrorCode = part.Partition, kerr.UnknownProducerID.Code
				topic.Partitions = append(topic.Partitions, lost)
			}
			resp.Topics = append(resp.Topics, topic)
		}
		return resp, nil, true
	})
	code, out, text := p.run(t, kinesisToKafka, "mirror", "run", "--until-caught-up")
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, text)
	}
	counts := out["result"].(map[string]any)["counts"].(map[string]any)
	if n := counts["written"].(float64) + counts["already_present"].(float64); n != 200 {
		t.Errorf("counts %v", counts)
	}
	if lost.Load() == 0 || said.Load() < refused {
		t.Errorf("not exercised: lost track %d times, refused %d times", lost.Load(), said.Load())
	}
}
