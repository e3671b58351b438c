package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kinesis-msk-bridge/bridge/stream/kafkastream"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
)

// A pairing is a Kinesis and a Kafka with a stream and a topic on which nothing is wrong,
// until something is made wrong.
type pairing struct {
	kinesis *kinesistest.Server
	stream  *kinesistest.Stream
	kafka   *kfake.Cluster
	topic   map[string]string // settings
	records []*kgo.Record     // for the topic
	config  map[string]string // BRIDGE_ variables
	http    aws.HTTPClient    // instead of one of the SDK
}

const clean3 = "the clean pair"

func newPairing(t *testing.T, brokers map[string]string) *pairing {
	t.Helper()
	p := &pairing{
		topic:  map[string]string{"min.insync.replicas": "2", "max.message.bytes": "1200000", "retention.ms": "1209600000"},
		config: map[string]string{},
	}
	var err error
	if p.kinesis, err = kinesistest.Start(kinesistest.Config{Limits: kinesistest.Limits{Off: true}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.kinesis.Close() })
	if p.stream, err = p.kinesis.CreateStream("orders", 2); err != nil {
		t.Fatal(err)
	}
	p.call(t, "IncreaseStreamRetentionPeriod", `{"StreamName":"orders","RetentionPeriodHours":168}`)
	if p.kafka, err = kfake.NewCluster(kfake.NumBrokers(3), kfake.BrokerConfigs(brokers)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kafka.Close)
	const records = 200
	for i := range records {
		key := fmt.Sprint("key", i%50)
		if err := p.stream.Put(kinesistest.Entry{Key: key, Data: []byte("value")}); err != nil {
			t.Fatal(err)
		}
		// Four a minute, so that however slow this machine is, raw could carry them.
		at := time.Now().Add(-time.Duration(records-i) * 15 * time.Second)
		p.records = append(p.records, &kgo.Record{Topic: "orders", Key: []byte(key), Value: []byte("value"), Timestamp: at})
	}
	return p
}

func (p *pairing) call(t *testing.T, op, body string) {
	t.Helper()
	if err := callKinesis(p.kinesis.URL(), op, body); err != nil {
		t.Fatal(err)
	}
}

// run makes the topic and runs a command of the program.
func (p *pairing) run(t *testing.T, direction string, args ...string) (code int, out map[string]any, text string) {
	t.Helper()
	if p.kafka.TopicInfo("orders") == nil {
		if err := p.kafka.CreateTopic("orders", 4, p.topic); err != nil {
			t.Fatal(err)
		}
		c, err := kgo.NewClient(kgo.SeedBrokers(p.kafka.ListenAddrs()...), kgo.ProducerBatchMaxBytes(4<<20))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.ProduceSync(t.Context(), p.records...).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	env := map[string]string{
		"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
		"BRIDGE_WORKFLOW": "orders", "BRIDGE_DIRECTION": direction, "BRIDGE_KINESIS_STREAM": "orders", "BRIDGE_KINESIS_REGION": p.kinesis.Region(),
		"BRIDGE_KINESIS_ENDPOINT_URL": p.kinesis.URL(), "BRIDGE_KAFKA_TOPIC": "orders", "BRIDGE_KAFKA_BROKERS": strings.Join(p.kafka.ListenAddrs(), ","),
		"BRIDGE_KAFKA_PARTITIONS": "4", "BRIDGE_START_PATIENCE": "5s",
	}
	if direction == kafkaToKinesis {
		env["BRIDGE_KINESIS_FORMAT"], env["BRIDGE_ACCEPT_LOSS"] = "raw", "timestamp"
	}
	for name, value := range p.config {
		env[name] = value
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	var stdout, stderr bytes.Buffer
	a := &app{stdout: &stdout, stderr: &stderr, adapters: realAdapters(), env: func(name string) (string, bool) { v, ok := env[name]; return v, ok }}
	a.adapters.http = p.http
	code = a.run(t.Context(), append(args, "--output", "json", "--config", emptyConfig(t)))
	if err := json.Unmarshal(stdout.Bytes(), &out); err != nil {
		t.Fatalf("%v\n%s%s", err, stdout.String(), stderr.String())
	}
	return code, out, stdout.String() + stderr.String()
}

// letters sends oversize records to a place.
func (p *pairing) letters(place string) {
	p.config["BRIDGE_DEAD_LETTERS"], p.config["BRIDGE_POLICY_OVERSIZE"] = place, "dead-letter"
}

// create makes a topic with one setting beside the usual ones.
func (p *pairing) create(t *testing.T, name string, settings ...string) {
	t.Helper()
	all := map[string]string{"retention.bytes": "-1"}
	for i := 0; i < len(settings); i += 2 {
		all[settings[i]] = settings[i+1]
	}
	if err := p.kafka.CreateTopic(name, 1, all); err != nil {
		t.Fatal(err)
	}
}

// stores makes the workflow's own topics as the mirror does, but for some settings, each by
// the topic's last word and its name.
func (p *pairing) stores(t *testing.T, other map[string]string) {
	t.Helper()
	for _, name := range kafkastream.OwnTopics("orders") {
		what := name[strings.LastIndexByte(name, '.')+1:]
		settings := map[string]string{"cleanup.policy": "delete", "retention.ms": "2592000000"}
		if what == "checkpoints" {
			settings["cleanup.policy"] = "compact"
		}
		var list []string
		for setting, value := range settings {
			if v, ok := other[what+" "+setting]; ok {
				value = v
			}
			list = append(list, setting, value)
		}
		if v, ok := other[what+" retention.bytes"]; ok {
			list = append(list, "retention.bytes", v)
		}
		p.create(t, name, list...)
	}
}

// Each trouble that is planted is found by its own check and no other, and where none is,
// none is found.
func TestPreflightFindsWhatIsPlanted(t *testing.T) {
	hot := func(p *pairing) {
		p.records = nil
		for range 20_000 {
			p.records = append(p.records, &kgo.Record{Topic: "orders", Key: []byte("hot"), Value: []byte("value")})
		}
	}
	for _, c := range []struct {
		name      string
		direction string
		plant     func(t *testing.T, p *pairing)
		found     []string
	}{
		{clean3, kinesisToKafka, func(*testing.T, *pairing) {}, nil},
		{clean3 + " the other way", kafkaToKinesis, func(*testing.T, *pairing) {}, nil},
		{"retention", kinesisToKafka, func(t *testing.T, p *pairing) {
			p.call(t, "DecreaseStreamRetentionPeriod", `{"StreamName":"orders","RetentionPeriodHours":24}`)
		}, []string{"stream-retention"}},
		{"small messages", kinesisToKafka, func(_ *testing.T, p *pairing) { p.topic["max.message.bytes"] = "1000000" }, []string{"topic-max-message-bytes"}},
		{"compaction", kinesisToKafka, func(_ *testing.T, p *pairing) { p.topic["cleanup.policy"] = "compact" }, []string{"topic-compaction"}},
		{"times of arrival", kinesisToKafka, func(_ *testing.T, p *pairing) { p.topic["message.timestamp.type"] = "LogAppendTime" }, []string{"topic-timestamps"}},
		{"min ISR 1", kinesisToKafka, func(_ *testing.T, p *pairing) { p.topic["min.insync.replicas"] = "1" }, []string{"topic-min-isr"}},
		{"short topic", kinesisToKafka, func(_ *testing.T, p *pairing) { p.topic["retention.ms"] = "3600000" }, []string{"topic-retention"}},
		{"other partitions", kinesisToKafka, func(_ *testing.T, p *pairing) { p.config["BRIDGE_KAFKA_PARTITIONS"] = "5" }, []string{"topic-partitions"}},
		{"unclean elections of the target", kinesisToKafka, func(_ *testing.T, p *pairing) { p.topic["unclean.leader.election.enable"] = "true" }, []string{"topic-election"}},
		{"unclean elections of the source", kafkaToKinesis, func(_ *testing.T, p *pairing) { p.topic["unclean.leader.election.enable"] = "true" }, []string{"topic-election (warn)"}},
		{"unclean elections of the index", kafkaToKinesis, func(t *testing.T, p *pairing) {
			p.create(t, kafkastream.OwnTopics("orders")[2], "cleanup.policy", "delete", "retention.ms", "2592000000", "unclean.leader.election.enable", "true")
		}, []string{"index-election"}},
		{"more replicas than brokers", kinesisToKafka, func(_ *testing.T, p *pairing) { p.config["BRIDGE_KAFKA_REPLICATION_FACTOR"] = "4" }, []string{"replication-factor"}},
		{"more in sync than replicas", kinesisToKafka, func(_ *testing.T, p *pairing) { p.topic["min.insync.replicas"], p.records = "4", nil }, []string{"topic-replicas"}},
		{"old records refused", kinesisToKafka, func(_ *testing.T, p *pairing) { p.topic["message.timestamp.before.max.ms"] = "86400000" }, []string{"topic-times-before"}},
		{"records ahead refused", kinesisToKafka, func(_ *testing.T, p *pairing) { p.topic["message.timestamp.after.max.ms"] = "1000" }, []string{"topic-times-after"}},
		{"start in the future", kinesisToKafka, func(_ *testing.T, p *pairing) {
			p.config["BRIDGE_START"] = time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
		}, []string{"start", "source-sample (warn)"}},
		{"start in the past", kinesisToKafka, func(_ *testing.T, p *pairing) {
			p.config["BRIDGE_START"] = time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)
		}, nil},
		{"explicit hash keys", kinesisToKafka, func(t *testing.T, p *pairing) {
			for i := range 10 {
				if err := p.stream.Put(kinesistest.Entry{Key: fmt.Sprint("key", i), ExplicitHashKey: "0", Data: []byte("v")}); err != nil {
					t.Fatal(err)
				}
			}
		}, []string{"explicit-hash-keys"}},
		{"AUTO", kinesisToKafka, func(t *testing.T, p *pairing) {
			p.call(t, "UpdateStreamMode", fmt.Sprintf(`{"StreamARN":%q,"StreamModeDetails":{"StreamMode":"ON_DEMAND"}}`, p.stream.ARN()))
			p.call(t, "UpdateStreamRecordDistributionStrategy", fmt.Sprintf(`{"StreamARN":%q,"RecordDistributionStrategy":"AUTO"}`, p.stream.ARN()))
		}, []string{"stream-distribution"}},
		{"ids forgotten", kinesisToKafka, nil, []string{"transactional-id-expiry"}},
		{"hot key", kafkaToKinesis, func(_ *testing.T, p *pairing) { hot(p) }, []string{"hot-key"}},
		{"hot key, packed", kafkaToKinesis, func(_ *testing.T, p *pairing) { hot(p); p.config["BRIDGE_KINESIS_FORMAT"] = "kpl" }, nil},
		{"oversize", kafkaToKinesis, func(_ *testing.T, p *pairing) {
			p.topic["max.message.bytes"] = "4000000"
			p.records = append(p.records, &kgo.Record{Topic: "orders", Key: []byte("k"), Value: make([]byte, 1<<20)})
		}, []string{"oversize"}},
		{"headers", kafkaToKinesis, func(_ *testing.T, p *pairing) { p.records[7].Headers = []kgo.RecordHeader{{Key: "h"}} }, []string{"headers"}},
		{"tombstones", kafkaToKinesis, func(_ *testing.T, p *pairing) { p.records[7].Value = nil }, []string{"tombstones"}},
		{"stores as they are made", kafkaToKinesis, func(t *testing.T, p *pairing) { p.stores(t, nil) }, nil},
		{"stores as they are made, the other way", kinesisToKafka, func(t *testing.T, p *pairing) { p.stores(t, nil) }, nil},
		{"checkpoints deleted", kinesisToKafka, func(t *testing.T, p *pairing) {
			p.stores(t, map[string]string{"checkpoints cleanup.policy": "delete"})
		}, []string{"checkpoints-compaction"}},
		{"ledger compacted", kafkaToKinesis, func(t *testing.T, p *pairing) {
			p.stores(t, map[string]string{"ledger cleanup.policy": "compact,delete"})
		}, []string{"ledger-compaction"}},
		{"ledger by size", kafkaToKinesis, func(t *testing.T, p *pairing) { p.stores(t, map[string]string{"ledger retention.bytes": "1000000"}) }, []string{"ledger-size"}},
		{"ledger short", kafkaToKinesis, func(t *testing.T, p *pairing) { p.stores(t, map[string]string{"ledger retention.ms": "1209600000"}) }, []string{"ledger-retention"}},
		{"ledger short, without use", kinesisToKafka, func(t *testing.T, p *pairing) { p.stores(t, map[string]string{"ledger retention.ms": "3600000"}) }, nil},
		{"index compacted", kinesisToKafka, func(t *testing.T, p *pairing) { p.stores(t, map[string]string{"index cleanup.policy": "compact"}) }, []string{"index-compaction"}},
		{"index by size", kinesisToKafka, func(t *testing.T, p *pairing) { p.stores(t, map[string]string{"index retention.bytes": "1000000"}) }, []string{"index-size"}},
		{"index short", kinesisToKafka, func(t *testing.T, p *pairing) { p.stores(t, map[string]string{"index retention.ms": "1209600000"}) }, []string{"index-retention"}},
		{"index for ever", kinesisToKafka, func(t *testing.T, p *pairing) { p.stores(t, map[string]string{"index retention.ms": "-1"}) }, nil},
		{"letters in a topic to be made", kafkaToKinesis, func(t *testing.T, p *pairing) { p.letters("topic:graves") }, nil},
		{"letters in a small topic", kafkaToKinesis, func(t *testing.T, p *pairing) {
			p.letters("topic:graves")
			p.create(t, "graves", "max.message.bytes", "1000")
		}, []string{"dead-letters"}},
		{"letters in a compacted topic", kafkaToKinesis, func(t *testing.T, p *pairing) {
			p.letters("topic:graves")
			p.create(t, "graves", "cleanup.policy", "compact")
		}, []string{"dead-letters"}},
		{"letters in no stream", kafkaToKinesis, func(t *testing.T, p *pairing) { p.letters("stream:graves") }, []string{"dead-letters"}},
		{"letters in a small stream", kafkaToKinesis, func(t *testing.T, p *pairing) {
			p.letters("stream:graves")
			if _, err := p.kinesis.CreateStream("graves", 1); err != nil {
				t.Fatal(err)
			}
		}, []string{"dead-letters"}},
		{"letters in a stream", kafkaToKinesis, func(t *testing.T, p *pairing) {
			p.letters("stream:graves")
			p.config["BRIDGE_POLICY_OVERSIZE"], p.config["BRIDGE_POLICY_UNMAPPABLE"] = "stop", "dead-letter"
			if _, err := p.kinesis.CreateStream("graves", 1); err != nil {
				t.Fatal(err)
			}
		}, nil},
		{"letters in a file", kafkaToKinesis, func(t *testing.T, p *pairing) { p.letters("file:" + filepath.Join(t.TempDir(), "letters.jsonl")) }, nil},
		{"letters in a missing directory", kafkaToKinesis, func(t *testing.T, p *pairing) {
			p.letters("file:" + filepath.Join(t.TempDir(), "none", "letters.jsonl"))
		}, []string{"dead-letters"}},
		{"letters in a directory", kafkaToKinesis, func(t *testing.T, p *pairing) { p.letters("file:" + t.TempDir()) }, []string{"dead-letters"}},
		{"binary keys", kafkaToKinesis, func(_ *testing.T, p *pairing) { p.records[7].Key = []byte{0xff} }, []string{"binary-keys (warn)"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			brokers := map[string]string{}
			if c.plant == nil {
				brokers["transactional.id.expiration.ms"] = "60000"
			}
			p := newPairing(t, brokers)
			if c.plant != nil {
				c.plant(t, p)
			}
			code, out, text := p.run(t, c.direction, "preflight", "--sample", "10000")
			var found []string
			fails := 0
			for _, k := range out["result"].(map[string]any)["checks"].([]any) {
				k := k.(map[string]any)
				switch k["level"] {
				case levelFail:
					fails++
					found = append(found, k["id"].(string))
				case levelWarn:
					found = append(found, k["id"].(string)+" (warn)")
				}
				if k["level"] != levelOK && k["fix"] == nil || k["evidence"] == "" {
					t.Errorf("%v: no way out", k)
				}
			}
			want := c.found
			if c.direction == kafkaToKinesis { // the endpoint is not that of AWS
				want = append([]string{"put-records (warn)"}, want...)
			}
			if !slices.Equal(found, want) || (code == exitAccess) != (fails > 0) || code != exitDone && code != exitAccess {
				t.Errorf("code %d, found %v, want %v\n%s", code, found, want, text)
			}
		})
	}
}

// Looking for a place to put dead letters leaves nothing there.
func TestPreflightLeavesNothing(t *testing.T) {
	p := newPairing(t, nil)
	dir := t.TempDir()
	p.letters("file:" + filepath.Join(dir, "letters.jsonl"))
	if code, _, text := p.run(t, kafkaToKinesis, "preflight"); code != exitDone || !strings.Contains(text, "the file can be written") {
		t.Errorf("code %d\n%s", code, text)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
	p.letters("topic:graves")
	if code, _, text := p.run(t, kafkaToKinesis, "preflight"); code != exitDone || p.kafka.TopicInfo("graves") != nil {
		t.Errorf("code %d, the topic was made\n%s", code, text)
	}
}

// A side that cannot be reached does not keep preflight from looking at the other one.
func TestPreflightLooksAtBothSides(t *testing.T) {
	p := newPairing(t, nil)
	p.records, p.config["BRIDGE_START_PATIENCE"] = nil, "100ms"
	for _, away := range [][]string{{"kinesis"}, {"kafka"}, {"kinesis", "kafka"}} {
		delete(p.config, "BRIDGE_KAFKA_BROKERS")
		delete(p.config, "BRIDGE_KINESIS_ENDPOINT_URL")
		want := map[string]string{"kinesis-reachable": levelOK, "kafka-reachable": levelOK}
		for _, side := range away {
			want[side+"-reachable"] = levelFail
			if p.config["BRIDGE_KAFKA_BROKERS"] = "127.0.0.1:1"; side == "kinesis" {
				delete(p.config, "BRIDGE_KAFKA_BROKERS")
				p.config["BRIDGE_KINESIS_ENDPOINT_URL"] = "http://127.0.0.1:1"
			}
		}
		code, out, text := p.run(t, kinesisToKafka, "preflight")
		for _, k := range out["result"].(map[string]any)["checks"].([]any) {
			k := k.(map[string]any)
			if level := want[k["id"].(string)]; level != "" {
				if level != k["level"] || level == levelFail && !strings.Contains(k["evidence"].(string), "127.0.0.1:1") {
					t.Errorf("without %v: %v", away, k)
				}
				delete(want, k["id"].(string))
			}
		}
		if code != exitAccess || len(want) > 0 {
			t.Errorf("without %v: code %d, not looked at: %v\n%s", away, code, want, text)
		}
		if code, _, _ := p.run(t, kinesisToKafka, "plan"); code != exitAccess {
			t.Errorf("without %v: plan ends with %d", away, code)
		}
	}
}

// What may not be reached or read ends with 4 and names the call; the checks of the rest
// are shown.
func TestPreflightWithoutRights(t *testing.T) {
	for _, op := range []string{"DescribeStreamSummary", "ListShards", "GetShardIterator", "GetRecords"} {
		p := newPairing(t, nil)
		p.kinesis.SetDeny(func(c kinesistest.Call) bool { return c.Op == op })
		if code, _, text := p.run(t, kinesisToKafka, "preflight"); code != exitAccess || !strings.Contains(text, op) || !strings.Contains(text, "topic-min-isr") {
			t.Errorf("%s denied: code %d\n%s", op, code, text)
		}
	}
	p := newPairing(t, nil)
	if code, _, _ := p.run(t, kinesisToKafka, "preflight"); code != exitDone {
		t.Fatal(code)
	}
	p.kafka.Fault(kfake.Fault{Topic: "orders", Err: kerr.TopicAuthorizationFailed, Count: -1})
	if code, _, text := p.run(t, kinesisToKafka, "preflight"); code != exitAccess || !strings.Contains(text, "orders") {
		t.Errorf("topic denied: code %d\n%s", code, text)
	}
}

// A plan has one hash as long as nothing is decided otherwise.
func TestPlan(t *testing.T) {
	p := newPairing(t, nil)
	hash := func(sample string) string {
		t.Helper()
		code, out, text := p.run(t, kafkaToKinesis, "plan", "--sample", sample)
		if code != exitDone {
			t.Fatalf("code %d\n%s", code, text)
		}
		return out["result"].(map[string]any)["plan_hash"].(string)
	}
	first := hash("100")
	if again := hash("5"); again != first || first == "" {
		t.Errorf("another sample gives hash %s, not %s", again, first)
	}
	p.config["BRIDGE_KINESIS_FORMAT"] = "envelope"
	if other := hash("100"); other == first {
		t.Error("another format gives the same hash")
	}
}

// emptyConfig is a file that says nothing; all is said by variables.
func emptyConfig(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "bridge.yaml")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
