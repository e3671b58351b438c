package main

import (
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// refusing lets answer refuse requests of a kind, the first n times that it does, and counts
// them. A nil answer is that the broker answers itself.
func refusing(fake *kfake.Cluster, kind kmsg.Key, n int64, answer func(kmsg.Request) kmsg.Response) (said *atomic.Int64) {
	said = &atomic.Int64{}
	fake.ControlKey(int16(kind), func(req kmsg.Request) (kmsg.Response, error, bool) {
		fake.KeepControl()
		if said.Load() >= n {
			return nil, nil, false
		}
		resp := answer(req)
		if resp == nil {
			return nil, nil, false
		}
		said.Add(1)
		return resp, nil, true
	})
	return said
}

const checkpoints = "bridge.orders.checkpoints"

// A start waits for a leader that is being elected, and not for ever; and so does one that
// goes on from a checkpoint.
func TestStartWaitsForALeader(t *testing.T) {
	for _, c := range []struct {
		name  string
		times int64
		code  int
	}{{"elected soon", 3, 0}, {"never elected", 1 << 40, exitAccess}} {
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
			// As brokers do while a leader is elected.
			said := refusing(p.kafka, kmsg.ListOffsets, c.times, func(req kmsg.Request) kmsg.Response {
				q := req.(*kmsg.ListOffsetsRequest)
				if q.Topics[0].Topic != checkpoints {
					return nil
				}
				refused, topic := kmsg.NewListOffsetsResponseTopicPartition(), kmsg.NewListOffsetsResponseTopic()
				refused.ErrorCode, topic.Topic = kerr.NotLeaderForPartition.Code, checkpoints
				topic.Partitions = append(topic.Partitions, refused)
				resp := q.ResponseKind().(*kmsg.ListOffsetsResponse)
				resp.Topics = append(resp.Topics, topic)
				return resp
			})
			if code := start(); code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			if n := said.Load(); n < min(c.times, 5) {
				t.Errorf("refused %d times", n)
			}
		})
	}
}

// A mirror that ran, lost track and cannot read its checkpoints while a leader is
// elected waits for that.
func TestMirrorWaitsForALeader(t *testing.T) {
	const refused = 9 // more than one scan of the checkpoints bears
	p := newPairing(t, nil)
	p.records, p.config["BRIDGE_STATE"] = nil, "file:"+t.TempDir()
	var lost, said *atomic.Int64
	lost = refusing(p.kafka, kmsg.Produce, 1, func(req kmsg.Request) kmsg.Response {
		q := req.(*kmsg.ProduceRequest)
		if len(q.Topics) == 0 || q.Topics[0].Topic != "orders" {
			return nil
		}
		said = refusing(p.kafka, kmsg.Fetch, refused, notFetched)
		resp := q.ResponseKind().(*kmsg.ProduceResponse)
		for _, asked := range q.Topics {
			topic := kmsg.NewProduceResponseTopic()
			topic.Topic = asked.Topic
			for _, part := range asked.Partitions {
				forgotten := kmsg.NewProduceResponseTopicPartition()
				forgotten.Partition, forgotten.ErrorCode = part.Partition, kerr.UnknownProducerID.Code
				topic.Partitions = append(topic.Partitions, forgotten)
			}
			resp.Topics = append(resp.Topics, topic)
		}
		return resp
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

// notFetched says that this broker does not lead the checkpoints.
func notFetched(req kmsg.Request) kmsg.Response {
	q := req.(*kmsg.FetchRequest)
	if len(q.Topics) == 0 || q.Topics[0].Topic != checkpoints {
		return nil
	}
	refused, topic := kmsg.NewFetchResponseTopicPartition(), kmsg.NewFetchResponseTopic()
	refused.ErrorCode, topic.Topic = kerr.NotLeaderForPartition.Code, checkpoints
	topic.Partitions = append(topic.Partitions, refused)
	resp := q.ResponseKind().(*kmsg.FetchResponse)
	resp.Topics = append(resp.Topics, topic)
	return resp
}
