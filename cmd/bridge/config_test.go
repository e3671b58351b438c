package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-multierror"

	"github.com/kinesis-msk-bridge/bridge/keymap"
)

func noEnv(string) (string, bool) { return "", false }

// loadText loads a configuration from text.
func loadText(t *testing.T, text string) (*loaded, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "bridge.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return load(file, noEnv, nil)
}

// faultsOf lists the faults of an error as "line:column path: text".
func faultsOf(err error) []fault {
	var all *multierror.Error
	if !errors.As(err, &all) {
		return nil
	}
	var out []fault
	for _, e := range all.Errors {
		out = append(out, e.(fault))
	}
	return out
}

const toKafka = `workflow: orders
direction: kinesis-to-kafka
kinesis:
  stream: orders
  region: us-east-1
kafka:
  brokers: [127.0.0.1:9092]
  topic: orders
`

const toKinesis = `workflow: orders
direction: kafka-to-kinesis
kinesis:
  stream: orders
  format: raw
kafka:
  brokers: [127.0.0.1:9092]
  topic: orders
accept_loss: [timestamp]
`

func TestDefaults(t *testing.T) {
	l, err := loadText(t, toKafka)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ what, got, want string }{
		{"keymap", l.Keymap, "murmur2"},
		{"start", l.Start, "trim-horizon"},
		{"delivery", l.Delivery, "effectively-once"},
		{"state directory", l.stateDir(), ".bridge"},
		{"checkpoint_interval", l.CheckpointInterval.String(), "5s"},
		{"put_timeout", l.PutTimeout.String(), "10s"},
		{"session_timeout", time.Duration(l.SessionTimeout).String(), "1m0s"},
		{"policy", l.Policy.Oversize + l.Policy.Undecodable + l.Policy.Unmappable, "stopstopstop"},
		{"create", l.Kinesis.Create.Mode, "on-demand"},
		{"null_keys", l.NullKeys, "spread"},
	} {
		if c.got != c.want {
			t.Errorf("%s is %q, want %q", c.what, c.got, c.want)
		}
	}
	if l.Kafka.MinInsyncReplicas != 2 || l.Kafka.ReplicationFactor != 3 || l.Tasks != 1 {
		t.Errorf("replicas %d of %d, tasks %d", l.Kafka.MinInsyncReplicas, l.Kafka.ReplicationFactor, l.Tasks)
	}
	if l, err = loadText(t, toKinesis); err != nil || l.Start != "earliest" {
		t.Errorf("kafka-to-kinesis starts at %q, %v", l.Start, err)
	}
}

// A faultCase puts new in the place of old in a good file and names the one fault that
// the file then has.
type faultCase struct{ name, base, old, new, want string }

// Keys, names and the Kinesis side.
func TestFaultsOfNames(t *testing.T) {
	oneFault(t, []faultCase{
		{"unknown key", toKafka, "kafka:", "kafak: 1\nkafka:", "6:1 kafak: unknown setting; did you mean kafka?"},
		{"unknown key in a group", toKafka, "  region", "  regiom: x\n  region", "5:3 kinesis.regiom: unknown setting; did you mean region?"},
		{"given twice", toKafka, "  topic", "  topic: a\n  topic", "9:3 kafka.topic: is given twice"},
		{"no workflow", toKafka, "workflow: orders\n", "", "0:0 workflow: is required"},
		{"dot in the name", toKafka, "workflow: orders", "workflow: a.b", `1:11 workflow: "a.b" is not a name`},
		{"no direction", toKafka, "direction: kinesis-to-kafka\n", "", "0:0 direction: is required"},
		{"other direction", toKafka, "kinesis-to-kafka", "kinesis-to-kafak", `2:12 direction: "kinesis-to-kafak" is not kinesis-to-kafka or kafka-to-kinesis; did you mean`},
		{"no stream", toKafka, "  stream: orders\n", "", "3:1 kinesis.stream: is required, or kinesis.stream_arn"},
		{"stream and arn", toKafka, "  region", "  stream_arn: arn:aws:kinesis:us-east-1:123456789012:stream/x\n  region", "5:15 kinesis.stream_arn: cannot stand beside"},
		{"arn of something else", toKafka, "stream: orders", "stream_arn: arn:aws:s3:::x", "4:15 kinesis.stream_arn: "},
		{"arn in another region", toKafka, "stream: orders", "stream_arn: arn:aws:kinesis:eu-west-1:123456789012:stream/x", "5:11 kinesis.region: is us-east-1, but the stream is in eu-west-1"},
		{"region", toKafka, "us-east-1", "east", `5:11 kinesis.region: "east" is not a region`},
		{"endpoint", toKafka, "  region", "  endpoint_url: 127.0.0.1:4567\n  region", "5:17 kinesis.endpoint_url: "},
		{"endpoint with a password", toKafka, "  region", "  endpoint_url: http://u:canary@h/\n  region", "holds more than an address"},
		{"role", toKafka, "  region", "  role_arn: admin\n  region", "5:13 kinesis.role_arn: "},
		{"topic", toKafka, "topic: orders", "topic: a/b", `8:10 kafka.topic: "a/b" is not a topic name`},
		{"own topic", toKafka, "topic: orders", "topic: bridge.orders.checkpoints", "8:10 kafka.topic: "},
	})
}

// The Kafka side.
func TestFaultsOfKafka(t *testing.T) {
	oneFault(t, []faultCase{
		{"no brokers", toKafka, "  brokers: [127.0.0.1:9092]\n", "", "6:1 kafka.brokers: is required"},
		{"broker without port", toKafka, "127.0.0.1:9092", "127.0.0.1", `"127.0.0.1" is not an address host:port`},
		{"broker port", toKafka, "127.0.0.1:9092", "h:99999", `"h:99999" is not an address host:port`},
		{"brokers and cluster", toKafka, "  topic", "  msk_cluster_arn: arn:aws:kafka:us-east-1:123456789012:cluster/c/1\n  topic", "kafka.msk_cluster_arn: cannot stand beside"},
		{"min in-sync of one", toKafka, "  topic", "  min_insync_replicas: 1\n  topic", "kafka.min_insync_replicas: 1 loses acknowledged records"},
		{"partitions", toKafka, "  topic", "  partitions: -1\n  topic", "kafka.partitions: -1 is not in the range 1 to 200000"},
		{"partitions in words", toKafka, "  topic", "  partitions: many\n  topic", `kafka.partitions: "many" is not a whole number`},
		{"password without need", toKafka, "  topic", "  security: {username: x}\n  topic", "kafka.security.username: needs the sasl_ protocols, but protocol is none"},
		{"sasl without user", toKafka, "  topic", "  security: {protocol: sasl_plain, username: u}\n  topic", "kafka.security.password: is required for protocol sasl_plain"},
		{"half a certificate", toKafka, "  topic", "  security: {protocol: tls, key_file: k}\n  topic", "kafka.security.cert_file: and key_file belong together"},
		{"certificate without TLS", toKafka, "  topic", "  security: {ca_file: k}\n  topic", "kafka.security.ca_file: needs TLS, but protocol is none"},
		{"no properties", toKafka, "  topic", "  client_properties: none\n  topic", "kafka.client_properties: cannot be read: "},
	})
}

// What the documentation names and this version refuses, and what stands beside it.
func TestWhatComesLater(t *testing.T) {
	oneFault(t, []faultCase{
		{"fan-out", toKafka, "  region", "  read: fan-out\n  region", `kinesis.read: "fan-out" is not available in this version`},
		{"aggregation", toKafka, "  region", "  aggregation: none\n  region", `kinesis.aggregation: "none" is not kcl, keep-in-range, keep-all or opaque`},
		{"format", toKinesis, "format: raw", "format: avro", `kinesis.format: "avro" is not raw, kpl or envelope`},
		{"aggregate of another format", toKinesis, "  format: raw", "  format: raw\n  aggregate: shard", "kinesis.aggregate: shard is for kafka-to-kinesis with kinesis.format kpl only"},
		{"aggregate of a source", toKafka, "  region", "  aggregate: shard\n  region", "kinesis.aggregate: shard is for kafka-to-kinesis with kinesis.format kpl only"},
		{"aggregate", toKinesis, "  format: raw", "  format: raw\n  aggregate: topic", `kinesis.aggregate: "topic" is not key or shard`},
		{"no format", toKinesis, "  format: raw\n", "", "3:1 kinesis.format: is required for kafka-to-kinesis and has no default"},
		{"timestamp not accepted", toKinesis, "accept_loss: [timestamp]\n", "", "accept_loss: format raw cannot carry the record's timestamp"},
		{"headers are not the timestamp", toKinesis, "[timestamp]", "[headers, tombstones]", "9:14 accept_loss: format raw cannot carry"},
		{"shards", toKinesis, "  format", "  create: {mode: provisioned}\n  format", "kinesis.create.shards: is required for mode provisioned"},
		{"shards on demand", toKinesis, "  format", "  create: {shards: 2}\n  format", "kinesis.create.shards: is for mode provisioned only"},
		{"retention", toKinesis, "  format", "  create: {retention: 24h30m}\n  format", "24h30m is not a whole number of hours"},
		{"record size", toKinesis, "  format", "  create: {max_record_size: 11MiB}\n  format", "11MiB is not in the range 1MiB to 10MiB"},
		{"keymap without parameters", toKafka, "workflow", "keymap: table\nworkflow", `1:9 keymap: keymap "table": want a word such as murmur2`},
		{"keymap with a parameter of another", toKafka, "workflow", "keymap: {name: field, file: /x}\nworkflow", `keymap: "field" takes no file`},
		{"keymap without its parameter", toKafka, "workflow", "keymap: {name: field}\nworkflow", `keymap: "field" needs pointer`},
		{"keymap that is no pointer", toKafka, "workflow", "keymap: {name: field, pointer: x}\nworkflow", `keymap field: "x" is not a JSON pointer`},
		{"keymap whose file is missing", toKafka, "workflow", "keymap: {name: table, file: nowhere.csv}\nworkflow", "keymap table: open nowhere.csv"},
		{"keymap murmur", toKafka, "workflow", "keymap: murmur\nworkflow", "did you mean murmur2?"},
		{"exactly-once", toKafka, "workflow", "delivery: exactly-once\nworkflow", `delivery: "exactly-once" is not available in this version`},
		{"state elsewhere", toKafka, "workflow", "state: .bridge\nworkflow", `1:8 state: ".bridge" is not file: and a directory`},
		{"tasks", toKafka, "workflow", "tasks: 4\nworkflow", "1:8 tasks: more than 1 is not available in this version"},
		{"no tasks", toKafka, "workflow", "tasks: 0\nworkflow", "1:8 tasks: 0 is not in the range 1 to 1"},
		{"policy", toKafka, "workflow", "policy: {unmappable: skip}\nworkflow", `policy.unmappable: "skip" is not stop or dead-letter`},
		{"dead letters nowhere", toKafka, "workflow", "dead_letters: x\nworkflow", `1:15 dead_letters: "x" is not topic:NAME, stream:NAME, s3:BUCKET/PREFIX or file:PATH`},
		{"dead letters among the living", toKafka, "workflow", "dead_letters: topic:orders\nworkflow", `dead_letters: "orders" is not the name of another topic`},
		{"dead letters in an own topic", toKafka, "workflow", "dead_letters: topic:bridge.orders.ledger\nworkflow", `dead_letters: "bridge.orders.ledger" is not the name of another topic`},
		{"dead letters back", toKafka, "workflow", "dead_letters: stream:orders\nworkflow", `dead_letters: "orders" is not the name of another stream`},
		{"dead letters in no bucket", toKafka, "workflow", "dead_letters: s3:Bucket/x\nworkflow", `dead_letters: "Bucket" is not the name of a bucket`},
		{"loss", toKafka, "workflow", "accept_loss: [order]\nworkflow", `"order" is not timestamp, headers or tombstones`},
		{"start of the other direction", toKafka, "workflow", "start: earliest\nworkflow", `"earliest" is not trim-horizon, latest or a time`},
		{"start on a day", toKafka, "workflow", "start: 2026-01-31\nworkflow", `"2026-01-31" is not`},
	})
}

// Values that are not what the setting takes.
func TestFaultsOfValues(t *testing.T) {
	oneFault(t, []faultCase{
		{"duration without unit", toKafka, "workflow", "put_timeout: 10\nworkflow", `1:14 put_timeout: "10" is not a duration`},
		{"negative duration", toKafka, "workflow", "put_timeout: -1s\nworkflow", "is not a duration"},
		{"short duration", toKafka, "workflow", "session_timeout: 10ms\nworkflow", "session_timeout: 10ms is not in the range 1s to 1h"},
		{"nothing", toKafka, "workflow", "put_timeout:\nworkflow", "put_timeout: nothing where one value was expected"},
		{"empty", toKafka, "workflow", "put_timeout: ''\nworkflow", "put_timeout: has no value"},
		{"empty group", toKafka, "workflow", "policy:\nworkflow", "1:1 policy: has no settings"},
		{"consumers by name", toKafka, "workflow", "consumers: {a: b}\nworkflow", "1:13 consumers: a group of settings where a list of consumers was expected"},
		{"consumer setting", toKafka, "workflow", "consumers: [{name: a, lease_table: bbb, kcl_app: ccc, group: c}]\nworkflow", "consumers[0].kcl_app: unknown setting"},
		{"consumer twice", toKafka, "workflow", "consumers:\n- {name: a, kcl_application: bbb, group: c}\n- {name: a, kcl_application: ddd, group: e}\nworkflow", `3:10 consumers[1].name: "a" is the name of two consumers`},
		{"consumer without table", toKafka, "workflow", "consumers: [{name: a, group: c}]\nworkflow", `"" is not the name of a lease table`},
		{"consumer without group", toKafka, "workflow", "consumers: [{name: a, kcl_application: bbb}]\nworkflow", `"" is not the name of a consumer group`},
		{"dialect", toKafka, "workflow", "consumers: [{name: a, kcl_application: bbb, group: c, dialect: kpl}]\nworkflow", `"kpl" is not kcl or vmware-go-kcl`},
		{"dynamodb address", toKafka, "workflow", "dynamodb: {endpoint_url: here}\nworkflow", `"here" is not an address`},
		{"dynamodb region", toKafka, "workflow", "dynamodb: {region: mars}\nworkflow", `"mars" is not a region`},
		{"state table", toKafka, "workflow", "state: dynamodb:x\nworkflow", "or dynamodb: and the name of a table"},
		{"list for a group", toKafka, "workflow", "policy: [stop]\nworkflow", "policy: a list where settings were expected"},
		{"group for a value", toKafka, "workflow: orders", "workflow: {name: orders}", "a group of settings where one value was expected"},
		{"truth for text", toKafka, "workflow: orders", "workflow: true", "true where text was expected; write it in quotes"},
		{"merge key", toKafka, "kafka:", "<<: {a: b}\nkafka:", "merge keys are not supported"},
	})
}

func oneFault(t *testing.T, cases []faultCase) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := loadText(t, strings.Replace(c.base, c.old, c.new, 1))
			faults := faultsOf(err)
			if len(faults) != 1 || exitCode(err) != exitUsage {
				t.Fatalf("faults %v, error %v; want one", faults, err)
			}
			f := faults[0]
			text := strings.TrimPrefix(f.Error(), f.File+":")
			text = strings.Replace(text, ": ", " ", 1) // line:column path: …
			if f.Line == 0 {
				text = "0:0 " + f.Path + ": " + f.Text
			}
			if !strings.Contains(text, c.want) {
				t.Errorf("fault is %q, want %q", text, c.want)
			}
			if strings.Contains(err.Error(), "canary") {
				t.Errorf("the fault shows a password: %v", err)
			}
		})
	}
}

// What the Java clients and sarama would do must be offered, and nothing else.
func TestKeymapNames(t *testing.T) {
	i := slices.IndexFunc(fieldsOf(new(config)), func(f field) bool { return f.path == "keymap" })
	names := fieldsOf(new(config))[i].list("enum")
	slices.Sort(names)
	want := append(keymap.Names(), "field", "table", "shard")
	slices.Sort(want)
	if !slices.Equal(names, want) {
		t.Errorf("the configuration offers %v, there are %v", names, want)
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "4096": 4096, "1KiB": 1024, "64 KiB": 65536, "10MiB": 10 << 20, "2GiB": 2 << 30, "7B": 7,
		"": -1, "MiB": -1, "1.5MiB": -1, "-1": -1, "+1": -1, "1MB": -1, "1mib": -1, "9999999999GiB": -1, "1 ": -1,
	} {
		var s size
		err := s.set(text)
		if want < 0 {
			if err == nil {
				t.Errorf("%q is taken as %d", text, s)
			}
			continue
		}
		if err != nil || int64(s) != want {
			t.Errorf("%q is %d, %v; want %d", text, s, err, want)
		}
		var again size
		if err := again.set(s.String()); err != nil || again != s {
			t.Errorf("%q is printed as %q, which is %d, %v", text, s, again, err)
		}
	}
}

func TestDurations(t *testing.T) {
	for _, d := range []time.Duration{0, time.Millisecond, 5 * time.Second, time.Minute, 90 * time.Second, 168 * time.Hour, time.Hour + time.Second, 61 * time.Minute} {
		var again duration
		if err := again.set(duration(d).String()); err != nil || time.Duration(again) != d {
			t.Errorf("%s is printed as %q, which is %s, %v", d, duration(d), again, err)
		}
	}
}

// Equal settings have equal hashes, however they were given; a secret changes nothing.
func TestHash(t *testing.T) {
	one, err := loadText(t, toKafka)
	if err != nil {
		t.Fatal(err)
	}
	two, err := loadText(t, "keymap: murmur2\n"+toKafka+"start: trim-horizon\n")
	if err != nil {
		t.Fatal(err)
	}
	if one.hash() != two.hash() {
		t.Error("a default that is written down changes the hash")
	}
	two.Kafka.Security.Password = "x"
	if one.hash() != two.hash() {
		t.Error("a secret is in the hash")
	}
	two.Keymap = "crc32"
	if one.hash() == two.hash() {
		t.Error("another keymap leaves the hash as it is")
	}
}

// A variable exists for every setting, and two settings have two.
func TestVariables(t *testing.T) {
	seen := map[string]string{}
	for _, f := range fieldsOf(new(config)) {
		if other, twice := seen[f.env()]; twice {
			t.Errorf("%s sets both %s and %s", f.env(), other, f.path)
		}
		seen[f.env()] = f.path
		if f.tag.Get("jsonschema") == "" {
			t.Errorf("%s is not explained", f.path)
		}
	}
	for _, name := range []string{"BRIDGE_CONFIG", "BRIDGE_OUTPUT", "BRIDGE_LOG_LEVEL", "BRIDGE_LOG_FORMAT", "BRIDGE_FLIGHTS"} {
		if path, taken := seen[name]; taken {
			t.Errorf("%s means something else than %s", name, path)
		}
	}
}

// FuzzConfig holds that no file makes the decoder panic, that every fault points into the
// file, and that what is shown of a good file is good again.
func FuzzConfig(f *testing.F) {
	f.Add(toKafka)
	f.Add(toKinesis)
	f.Add("a: &x [1, {b: c}]\n? *x\n: !!int 3\n---\n- <<: *x\n")
	f.Add("kinesis: {stream: \"${env:X}\", create: {retention: |\n 24h\n}}")
	files, err := filepath.Glob("testdata/config/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "${file:") || strings.Contains(text, "client_properties") {
			return // would read files of this machine
		}
		l, err := loadText(t, text)
		for _, fault := range faultsOf(err) {
			if lines := strings.Count(text, "\n") + strings.Count(text, "\r") + 2; fault.Line < 0 || fault.Line > lines || fault.Text == "" {
				t.Fatalf("fault %+v in a file of %d lines", fault, lines)
			}
		}
		if err != nil {
			return
		}
		var shown strings.Builder
		if err := writeSettings(&shown, l, true); err != nil {
			t.Fatal(err)
		}
		again, err := loadText(t, shown.String())
		if err != nil {
			t.Fatalf("%q is shown as %q, which is refused: %v", text, shown.String(), err)
		}
		if again.hash() != l.hash() {
			t.Fatalf("%q is shown as %q, which means something else", text, shown.String())
		}
	})
}

// A reference is a whole value, is never looked into again, and must lead somewhere.
func TestReferences(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"plain": "pa$$ word\n", "crlf": "x\r\n", "two": "a\n\n", "empty": "\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	env := func(name string) (string, bool) {
		v, ok := map[string]string{"A": "1", "NESTED": "${env:A}", "EMPTY": ""}[name]
		return v, ok
	}
	for _, c := range []struct{ in, want string }{ // want "" is a fault
		{"plain", "plain"},
		{"a ${env:A}", "a ${env:A}"},
		{"$A", "$A"},
		{"${env:A}", "1"},
		{"${env:NESTED}", "${env:A}"},
		{"${env:EMPTY}", ""},
		{"${env:NONE}", ""},
		{"${env:}", ""},
		{"${env:A", ""},
		{"${A}", ""},
		{"${env:A}x", ""},
		{"${file:" + dir + "/plain}", "pa$$ word"},
		{"${file:" + dir + "/crlf}", "x"},
		{"${file:" + dir + "/two}", "a\n"},
		{"${file:" + dir + "/empty}", ""},
		{"${file:" + dir + "/none}", ""},
		{"${file:" + dir + "}", ""},
	} {
		d := &decoder{env: env}
		got, referred, err := d.resolve(c.in)
		if got != c.want || (err != nil) != (c.want == "") || referred != strings.HasPrefix(c.in, "${") {
			t.Errorf("%s is %q, %v; want %q", c.in, got, err, c.want)
		}
	}
}
