//go:build integration

package integration

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/kinesis-msk-bridge/bridge/integration/servers"
)

// Every verb starts while one of three brokers is down, whichever it is, however it ended,
// and whether or not the workflow began before: it ends well, and preflight warns.
func TestIntegrationOneBrokerDown(t *testing.T) {
	t.Parallel() // its brokers start while others wait
	k, err := servers.StartKafka(t.Context(), servers.KafkaConfig{Dir: t.TempDir(), Nodes: 3})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	f, runs, _ := prove(t, "start with one of three brokers down", 6, 0)
	longest := map[string]time.Duration{}
	for run := range runs {
		b := brokers{t: t, kafka: k, direction: []string{toKafka, toKinesis}[run%2]}
		b.oneDown(f, run/2, run%4 > 1, longest)
	}
	f.print("longest %v", longest)
}

// oneDown ends a node and runs every verb.
func (b brokers) oneDown(f *figures, node int, begun bool, longest map[string]time.Duration) {
	t := f.t
	rows := rowsOf(t, scaled(10_000))
	srv := newKinesis(t, noRates)
	j := newJob(t, b.direction, srv, "stream", unique("down"))
	j.brokers, j.replicas, j.more = b.kafka.Brokers(), 3, "verify: {settle: 1s}\n"
	load := b.load(t, j, srv, rows)
	load(t.Context())
	keepForAWeek(t, srv.URL(), j.stream, b.direction)
	if begun {
		j.catchUp("state")
	}
	end := b.kafka.Stop
	if f.runs%3 < 2 {
		end = b.kafka.Kill
	}
	end(node)
	for _, verb := range [][]string{{"preflight"}, {"plan"}, {"mirror", "run", "--until-caught-up"}, {"verify", "run", "--final"}} {
		began := time.Now()
		c := j.start(append(verb, "--config", j.config("state"))...)
		code := c.wait(3 * time.Minute)
		longest[verb[0]] = max(longest[verb[0]], time.Since(began).Round(time.Millisecond))
		if code != 0 {
			t.Errorf("%s, node %d down, begun before %v: %v ends with %d\n%s%s", b.direction, node, begun, verb, code, c.out.String(), c.stderr())
		}
		if verb[0] == "preflight" && !warnsOf(t, c, "brokers") {
			t.Errorf("%s, node %d down: preflight does not warn\n%s", b.direction, node, c.out.String())
		}
	}
	if err := b.kafka.Restart(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	b.inSync(j.topic)
	f.runs++
	f.judged(b.judge(t, j, srv, rows))
}

// keepForAWeek raises the retention of a source stream, so that preflight finds nothing else.
func keepForAWeek(t *testing.T, endpoint, stream, direction string) {
	t.Helper()
	if direction == toKinesis {
		return
	}
	c := kinesis.New(kinesis.Options{Region: "us-east-1", BaseEndpoint: &endpoint, Credentials: credentials.NewStaticCredentialsProvider("test", "test", "")})
	_, err := c.IncreaseStreamRetentionPeriod(t.Context(), &kinesis.IncreaseStreamRetentionPeriodInput{StreamName: &stream, RetentionPeriodHours: aws.Int32(168)})
	if err != nil {
		t.Fatal(err)
	}
}

// warnsOf reports whether a check of preflight warns with this id.
func warnsOf(t *testing.T, c *child, id string) bool {
	t.Helper()
	var out struct {
		Result struct {
			Checks []struct{ ID, Level string }
		}
	}
	if err := json.Unmarshal(c.out.Bytes(), &out); err != nil {
		t.Fatal(err)
	}
	for _, k := range out.Result.Checks {
		if strings.HasPrefix(k.ID, id) && k.Level == "warn" {
			return true
		}
	}
	return false
}
