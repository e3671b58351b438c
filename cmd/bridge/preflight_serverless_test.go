package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// What MSK Serverless limits is judged at its limits, and nowhere else.
func TestPreflightOfServerless(t *testing.T) {
	compacted := func(n int32) func(*testing.T, *pairing) {
		return func(t *testing.T, p *pairing) {
			if err := p.kafka.CreateTopic("compacted", n, map[string]string{"cleanup.policy": "compact"}); err != nil {
				t.Fatal(err)
			}
		}
	}
	records := func(kib int) func(*testing.T, *pairing) {
		return func(t *testing.T, p *pairing) {
			p.topic["max.message.bytes"] = "8388608"
			p.call(t, "UpdateMaxRecordSize", fmt.Sprintf(`{"StreamARN":%q,"MaxRecordSizeInKiB":%d}`, p.stream.ARN(), kib))
		}
	}
	for _, c := range []struct {
		name, id, direction string
		plant               func(t *testing.T, p *pairing)
		level, evidence     string
	}{
		{"room for one", "serverless-compacted", kinesisToKafka, compacted(119), levelOK, "119 partitions, 1 more"},
		{"room for one, the other way", "serverless-compacted", kafkaToKinesis, compacted(119), levelOK, "119 partitions, 1 more"},
		{"no room", "serverless-compacted", kinesisToKafka, compacted(120), levelFail, "120 partitions, 1 more"},
		{"no room, the other way", "serverless-compacted", kafkaToKinesis, compacted(120), levelFail, "120 partitions, 1 more"},
		{"none is needed", "serverless-compacted", kinesisToKafka, func(t *testing.T, p *pairing) { compacted(119)(t, p); p.stores(t, nil) }, levelOK, "120 partitions, 0 more"},
		{"settings that are not shown", "serverless-compacted", kinesisToKafka, func(t *testing.T, p *pairing) {
			compacted(1)(t, p)
			p.kafka.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.DescribeConfigs}, Resource: "compacted", Err: kerr.TopicAuthorizationFailed, Count: -1})
		}, levelWarn, "cannot tell"},
		{"large records", "serverless-message-bytes", kinesisToKafka, records(8 << 10), levelFail, "up to 8389632 bytes, MSK Serverless allows 8388608"},
		{"records that just fit", "serverless-message-bytes", kinesisToKafka, records(8<<10 - 1), levelOK, "up to 8388608 bytes"},
		{"records that fit no topic to be made", "serverless-message-bytes", kinesisToKafka, func(t *testing.T, p *pairing) {
			records(8<<10-63)(t, p)
			p.config["BRIDGE_KAFKA_TOPIC"] = "new"
		}, levelFail, "up to 8389632 bytes"},
		{"records that just fit a topic to be made", "serverless-message-bytes", kinesisToKafka, func(t *testing.T, p *pairing) {
			records(8<<10-64)(t, p)
			p.config["BRIDGE_KAFKA_TOPIC"] = "new"
		}, levelOK, "up to 8388608 bytes"},
		{"dead letters", "serverless-dead-letters", kafkaToKinesis, func(t *testing.T, p *pairing) {
			p.topic["max.message.bytes"] = "8388608"
			p.letters("topic:graves")
		}, levelFail, "dead letters need up to 8454144 bytes"},
		{"dead letters that fit", "serverless-dead-letters", kafkaToKinesis, func(t *testing.T, p *pairing) { p.letters("topic:graves") }, levelOK, "dead letters need up to"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPairing(t, nil)
			c.plant(t, p)
			if _, checks, text := p.preflight(t, c.direction); checks[c.id] != nil {
				t.Errorf("a cluster that is not Serverless: %v\n%s", checks[c.id], text)
			}
			p.config["BRIDGE_KAFKA_BROKERS"] = strings.Join(p.kafka.ListenAddrs(), ",") + ",boot-x.c1.kafka-serverless.us-east-1.amazonaws.com:9098"
			_, checks, text := p.preflight(t, c.direction)
			k := checks[c.id]
			if k == nil || !reads(k, c.level, c.evidence, "") || (c.level == levelOK) != (k["fix"] == nil) {
				t.Errorf("%v\n%s", k, text)
			}
		})
	}
}

// The size that a fix names is one that MSK Serverless takes, and a setting that it does not
// show is not judged.
func TestPreflightOfServerlessTopic(t *testing.T) {
	p := newPairing(t, nil)
	p.topic["max.message.bytes"] = "1000000"
	p.call(t, "UpdateMaxRecordSize", fmt.Sprintf(`{"StreamARN":%q,"MaxRecordSizeInKiB":%d}`, p.stream.ARN(), 8<<10-10))
	p.config["BRIDGE_KAFKA_BROKERS"] = strings.Join(p.kafka.ListenAddrs(), ",") + ",boot-x.c1.kafka-serverless.us-east-1.amazonaws.com:9098"
	if _, checks, text := p.preflight(t, kinesisToKafka); !reads(checks["topic-max-message-bytes"], levelFail, "", "set max.message.bytes=8388608") {
		t.Error(text)
	}
	p.kafka.ControlKey(int16(kmsg.DescribeConfigs), func(req kmsg.Request) (kmsg.Response, error, bool) {
		p.kafka.KeepControl()
		asked := req.(*kmsg.DescribeConfigsRequest)
		resp := asked.ResponseKind().(*kmsg.DescribeConfigsResponse)
		for _, r := range asked.Resources {
			shown := kmsg.DescribeConfigsResponseResource{ResourceType: r.ResourceType, ResourceName: r.ResourceName}
			if r.ResourceType == kmsg.ConfigResourceTypeTopic {
				policy := "delete"
				shown.Configs = append(shown.Configs, kmsg.DescribeConfigsResponseResourceConfig{Name: "cleanup.policy", Value: &policy})
			} else {
				shown.ErrorCode = kerr.InvalidRequest.Code
			}
			resp.Resources = append(resp.Resources, shown)
		}
		return resp, nil, true
	})
	_, checks, text := p.preflight(t, kinesisToKafka)
	for id, want := range map[string]string{"topic-min-isr": levelOK, "topic-election": levelOK, "transactional-id-expiry": levelWarn} {
		if checks[id] == nil || checks[id]["level"] != want {
			t.Errorf("%s is %v\n%s", id, checks[id], text)
		}
	}
}
