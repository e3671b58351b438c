package main

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
)

// A detour carries the calls for the hosts of AWS to a server.
type detour struct {
	*http.Client
	to *url.URL
}

func (d detour) Do(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Scheme, r.URL.Host = d.to.Scheme, d.to.Host
	return d.Client.Do(r)
}

// asAWS sets no endpoint: the calls are those for the hosts of AWS.
func (p *pairing) asAWS(t *testing.T) {
	t.Helper()
	to, err := url.Parse(p.kinesis.URL())
	if err != nil {
		t.Fatal(err)
	}
	p.http, p.config["BRIDGE_KINESIS_ENDPOINT_URL"] = detour{p.kinesis.HTTPClient(), to}, ""
}

// preflight returns the checks by their ids.
func (p *pairing) preflight(t *testing.T, direction string) (code int, checks map[string]map[string]any, text string) {
	t.Helper()
	code, out, text := p.run(t, direction, "preflight")
	checks = map[string]map[string]any{}
	list, _ := out["result"].(map[string]any)["checks"].([]any)
	for _, k := range list {
		k := k.(map[string]any)
		checks[k["id"].(string)] = k
	}
	return code, checks, text
}

// reads reports whether a check has a level, and an evidence and a fix that hold words.
func reads(k map[string]any, level, evidence, fix string) bool {
	found, _ := k["evidence"].(string)
	way, _ := k["fix"].(string)
	return k["level"] == level && strings.Contains(found, evidence) && strings.Contains(way, fix)
}

// What this principal may not do on the stream is a check that fails and names the right;
// all other checks are shown, and nothing is stored.
func TestPreflightProvesRights(t *testing.T) {
	for _, direction := range []string{kinesisToKafka, kafkaToKinesis} {
		for _, denied := range []string{"", "GetShardIterator", "GetRecords", "PutRecords"} {
			p := newPairing(t, nil)
			p.asAWS(t)
			before := p.kinesis.Counts("PutRecords").Stored
			p.kinesis.SetDeny(func(c kinesistest.Call) bool { return c.Op == denied })
			code, checks, text := p.preflight(t, direction)
			actions := []string{"GetShardIterator", "GetRecords"}
			if direction == kafkaToKinesis {
				actions = append(actions, "PutRecords")
			}
			want := exitDone
			for _, op := range actions {
				level, evidence, fix := levelOK, "kinesis:"+op+" is allowed, says ", ""
				if op == denied {
					want, level, evidence, fix = exitAccess, levelFail, "not authorized", "allow this principal kinesis:"+op+" on arn:"
				} else if op == "GetRecords" && denied == "GetShardIterator" {
					level, evidence = levelWarn, "cannot tell"
				}
				if k := checks[kebab(op)]; !reads(k, level, evidence, fix) {
					t.Errorf("%s, %q denied: %v", direction, denied, k)
				}
			}
			if code != want || !reads(checks["kinesis-reachable"], levelOK, ".amazonaws.com, answered", "") || checks["topic-min-isr"] == nil || checks["stream-distribution"] == nil {
				t.Errorf("%s, %q denied: code %d\n%s", direction, denied, code, text)
			}
			if n := p.kinesis.Counts("PutRecords").Stored - before; n > 0 {
				t.Errorf("%s, %q denied: %d records were stored", direction, denied, n)
			}
		}
	}
}

// At an endpoint that somebody sets no put is tried, and nobody says that it is allowed.
func TestPreflightCannotTellRightsAtAnEndpoint(t *testing.T) {
	p := newPairing(t, nil)
	code, checks, text := p.preflight(t, kafkaToKinesis)
	if code != exitDone || !reads(checks["put-records"], levelWarn, "cannot tell whether kinesis:PutRecords is allowed", "make sure") {
		t.Errorf("code %d, %v\n%s", code, checks["put-records"], text)
	}
	if n := p.kinesis.Counts("PutRecords").Calls; n > 0 {
		t.Errorf("%d puts", n)
	}
	p.config["BRIDGE_KINESIS_STREAM"], p.config["BRIDGE_KINESIS_CREATE_MODE"] = "new", "on-demand"
	if code, checks, text := p.preflight(t, kafkaToKinesis); code != exitDone || !reads(checks["put-records"], levelWarn, "still to be created", "") {
		t.Errorf("a stream to be created: code %d\n%s", code, text)
	}
}

// Dead letters that may not be put into their stream are found before the first one.
func TestPreflightProvesRightsOnTheLetters(t *testing.T) {
	p := newPairing(t, nil)
	p.asAWS(t)
	p.letters("stream:graves")
	p.config["BRIDGE_POLICY_OVERSIZE"], p.config["BRIDGE_POLICY_UNMAPPABLE"] = "stop", "dead-letter"
	if _, err := p.kinesis.CreateStream("graves", 1); err != nil {
		t.Fatal(err)
	}
	p.kinesis.SetDeny(func(c kinesistest.Call) bool { return c.Op == "PutRecords" && c.Stream == "graves" })
	code, checks, text := p.preflight(t, kafkaToKinesis)
	if code != exitAccess || !reads(checks["dead-letters"], levelFail, "not authorized", "allow this principal kinesis:PutRecords on arn:") || checks["put-records"]["level"] != levelOK {
		t.Errorf("code %d\n%s", code, text)
	}
}

// A topic whose settings may not be read names the one right that is missing.
func TestPreflightNamesTheMissingRight(t *testing.T) {
	own := "bridge.orders.checkpoints"
	for _, c := range []struct {
		key      kmsg.Key
		topic    string
		id, says string
	}{
		{kmsg.DescribeConfigs, "orders", "kafka-reachable", "DescribeConfigs on the topic (IAM: kafka-cluster:DescribeTopicDynamicConfiguration)"},
		{kmsg.Metadata, "orders", "kafka-reachable", "Describe on the topic (IAM: kafka-cluster:DescribeTopic)"},
		{kmsg.DescribeConfigs, own, "checkpoints-access", "DescribeConfigs on the topic (IAM: kafka-cluster:DescribeTopicDynamicConfiguration)"},
		{kmsg.Metadata, own, "checkpoints-access", "Describe on the topic (IAM: kafka-cluster:DescribeTopic)"},
	} {
		p := newPairing(t, nil)
		p.stores(t, nil)
		if code, _, text := p.preflight(t, kinesisToKafka); code != exitDone {
			t.Fatalf("code %d\n%s", code, text)
		}
		f := kfake.Fault{Keys: []kmsg.Key{c.key}, Topic: c.topic, Err: kerr.TopicAuthorizationFailed, Count: -1}
		if c.key == kmsg.DescribeConfigs {
			f.Topic, f.Resource = "", c.topic
		}
		p.kafka.Fault(f)
		code, checks, text := p.preflight(t, kinesisToKafka)
		k := checks[c.id]
		if code != exitAccess || !reads(k, levelFail, c.topic, "") || k["fix"] != "allow this principal "+c.says || checks["stream-retention"]["level"] != levelOK {
			t.Errorf("%s of %s denied: code %d\n%s", c.key.Name(), c.topic, code, text)
		}
	}
}

// With one side away all that can be said of the other is said, and nothing that needs both.
func TestPreflightOfOneSide(t *testing.T) {
	both := []string{"topic-max-message-bytes", "topic-retention", "topic-times-before", "index-retention", "loop", "explicit-hash-keys"}
	for side, want := range map[string][]string{
		"kinesis": {"stream-retention", "stream-distribution", "get-records", "clock"},
		"kafka":   {"topic-min-isr", "topic-compaction", "topic-election", "replication-factor", "topic-partitions", "checkpoints-compaction", "index-size", "transactional-id"},
	} {
		p := newPairing(t, nil)
		p.stores(t, nil)
		p.call(t, "DecreaseStreamRetentionPeriod", `{"StreamName":"orders","RetentionPeriodHours":24}`)
		_, whole, _ := p.preflight(t, kinesisToKafka)
		p.config["BRIDGE_START_PATIENCE"] = "100ms"
		if side == "kinesis" {
			p.config["BRIDGE_KAFKA_BROKERS"] = "127.0.0.1:1"
		} else {
			p.config["BRIDGE_KINESIS_ENDPOINT_URL"] = "http://127.0.0.1:1"
		}
		code, checks, text := p.preflight(t, kinesisToKafka)
		for _, id := range want {
			if whole[id] == nil || checks[id] == nil || checks[id]["level"] != whole[id]["level"] || checks[id]["fix"] != whole[id]["fix"] {
				t.Errorf("only %s: %s is %v, with both %v", side, id, checks[id], whole[id])
			}
		}
		for _, id := range both {
			if whole[id] == nil || checks[id] != nil {
				t.Errorf("only %s: %s is %v, with both %v", side, id, checks[id], whole[id])
			}
		}
		if code != exitAccess {
			t.Errorf("only %s: code %d\n%s", side, code, text)
		}
	}
}

// A stream that keeps its records too briefly is a finding of its own: nobody was refused.
func TestPreflightRetentionIsNoRefusal(t *testing.T) {
	p := newPairing(t, nil)
	p.call(t, "DecreaseStreamRetentionPeriod", `{"StreamName":"orders","RetentionPeriodHours":24}`)
	code, checks, text := p.preflight(t, kinesisToKafka)
	if code != exitAccess || !reads(checks["stream-retention"], levelFail, "keeps records for 24h", "increase-stream-retention-period") {
		t.Errorf("code %d\n%s", code, text)
	}
	for _, word := range []string{"denied", "refused", "not authorized"} {
		if strings.Contains(text, word) {
			t.Errorf("it says %q\n%s", word, text)
		}
	}
}
