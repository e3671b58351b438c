//go:build integration

// Package integration runs the built program against real servers and breaks things.
package integration

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kinesis-msk-bridge/bridge/integration/checker"
	"github.com/kinesis-msk-bridge/bridge/integration/servers"
	"github.com/kinesis-msk-bridge/bridge/internal/flights"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
)

// bench is what all tests of this package share. Most run beside each other, and keep to
// names that unique made. Alone run those that compute all the time, that measure, and whose
// faults have to fall within a short time.
var bench struct {
	bin    string
	kafka  *servers.Kafka
	dynamo func() (*servers.DynamoDB, error) // starts it once
	names  atomic.Int64
}

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "bridge-integration-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	bench.bin = filepath.Join(dir, "bridge")
	build := exec.Command("go", "build", "-o", bench.bin, "github.com/kinesis-msk-bridge/bridge/cmd/bridge")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the program: %v\n%s", err, out)
		return 1
	}
	if bench.kafka, err = servers.StartKafka(context.Background(), servers.KafkaConfig{Dir: filepath.Join(dir, "kafka"), HeapMB: 768}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer bench.kafka.Close()
	var dynamo *servers.DynamoDB
	bench.dynamo = sync.OnceValues(func() (*servers.DynamoDB, error) {
		dynamo, err = servers.StartDynamoDB(context.Background(), dir)
		return dynamo, err
	})
	defer func() {
		if dynamo != nil {
			dynamo.Close()
		}
	}()
	return m.Run()
}

// unique makes a name of its own.
func unique(what string) string { return fmt.Sprintf("%s-%d", what, bench.names.Add(1)) }

// newKinesis starts a Kinesis, without rates unless limits are given.
func newKinesis(t *testing.T, c kinesistest.Config) *kinesistest.Server {
	t.Helper()
	srv, err := kinesistest.Start(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	return srv
}

var noRates = kinesistest.Config{Limits: kinesistest.Limits{Off: true}}

// A job is one workflow.
type job struct {
	t         *testing.T
	workflow  string
	direction string
	endpoint  string // of Kinesis
	stream    string
	brokers   []string
	topic     string
	dir       string
	replicas  int // of topics; 1 if zero
	shards    int // of a stream to be created; 4 if zero
	// partitions are those of a topic to be created; 12 if zero.
	partitions int
	format     string // of the stream's records; raw if empty
	restores   bool   // a mirror wrote the source stream
	// aggregation is what is delivered of aggregates, kcl if empty; aggregate is what they are
	// made of, key if empty.
	aggregation, aggregate string
	more                   string // further lines of the configuration
}

// newJob makes one over a Kinesis and the shared Kafka.
func newJob(t *testing.T, direction string, k interface{ URL() string }, stream, topic string) *job {
	return &job{t: t, workflow: unique("wf"), direction: direction, endpoint: k.URL(), stream: stream, brokers: bench.kafka.Brokers(), topic: topic, dir: t.TempDir()}
}

const (
	toKafka   = "kinesis-to-kafka"
	toKinesis = "kafka-to-kinesis"
)

// config writes the configuration with a state directory of that name.
func (j *job) config(state string) string {
	j.t.Helper()
	partitions := "" // those of the source topic
	if j.direction == toKafka {
		partitions = fmt.Sprintf("partitions: %d, ", cmp.Or(j.partitions, 12))
	}
	format, by := j.format, "producers"
	if format == "" {
		format = "raw"
	}
	if j.restores {
		by = "bridge"
	}
	text := fmt.Sprintf(`workflow: %s
direction: %s
kinesis: {stream: %s, region: us-east-1, endpoint_url: "%s", format: %s, aggregation: %s, aggregate: %s, written_by: %s, create: {mode: provisioned, shards: %d}}
kafka: {brokers: ["%s"], topic: %s, %sreplication_factor: %d}
put_timeout: 1s
state: "file:%s"
`, j.workflow, j.direction, j.stream, j.endpoint, format, cmp.Or(j.aggregation, "kcl"), cmp.Or(j.aggregate, "key"), by, max(j.shards, 4), strings.Join(j.brokers, `","`), j.topic, partitions, max(j.replicas, 1), filepath.Join(j.dir, state))
	if j.direction == toKinesis && format == "raw" {
		text += "accept_loss: [timestamp]\n"
	}
	file := filepath.Join(j.dir, state+".yaml")
	if err := os.WriteFile(file, []byte(text+j.more), 0o600); err != nil {
		j.t.Fatal(err)
	}
	return file
}

// copyState copies the state, as somebody does who moves the worker to another machine.
func (j *job) copyState(from, to string) {
	j.t.Helper()
	if out, err := exec.Command("cp", "-pr", filepath.Join(j.dir, from), filepath.Join(j.dir, to)).CombinedOutput(); err != nil {
		j.t.Fatalf("%v: %s", err, out)
	}
}

// A child is one process of the program.
type child struct {
	t    *testing.T
	cmd  *exec.Cmd
	out  bytes.Buffer
	last atomic.Pointer[progress]
	from atomic.Pointer[progress] // what the checkpoint said that it goes on from
	err  bytes.Buffer
	mu   sync.Mutex
	done chan struct{}
	code int
}

// A progress is what the process said of itself last.
type progress struct {
	Msg     string `json:"msg"`
	Read    int64  `json:"read"`
	Written int64  `json:"written"`
	Present int64  `json:"already_present"`
	Under   int64  `json:"under_way"`
	Rewind  int64  `json:"rewind"`
	Waiting int64  `json:"waiting_for_parents"`
	// Of verify.
	Source int64 `json:"source_records"`
	Target int64 `json:"target_records"`
}

// fromCheckpoint is the message with which a process goes on.
const fromCheckpoint = "goes on from the checkpoint"

// start runs the program with JSON on both outputs.
func (j *job) start(args ...string) *child {
	j.t.Helper()
	c := &child{t: j.t, done: make(chan struct{})}
	c.cmd = exec.Command(bench.bin, append(args, "--output", "json", "--log-format", "json")...)
	c.cmd.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "AWS_EC2_METADATA_DISABLED=true")
	c.cmd.Stdout = &c.out
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	talk, err := c.cmd.StderrPipe()
	if err != nil {
		j.t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		j.t.Fatal(err)
	}
	go func() {
		defer close(c.done)
		lines := bufio.NewScanner(talk)
		for lines.Scan() {
			var p progress
			if json.Unmarshal(lines.Bytes(), &p) == nil && p.Msg == "progress" {
				c.last.Store(&p)
				continue
			}
			if p.Msg == fromCheckpoint {
				c.from.Store(&p)
			}
			c.mu.Lock()
			c.err.Write(append(lines.Bytes(), '\n'))
			c.mu.Unlock()
		}
		_ = c.cmd.Wait()
		c.code = c.cmd.ProcessState.ExitCode()
	}()
	j.t.Cleanup(func() {
		c.signal(syscall.SIGKILL)
		<-c.done
	})
	return c
}

// mirror starts mirror run, which says every few milliseconds how far it is.
func (j *job) mirror(state string, more ...string) *child {
	return j.start(append([]string{"mirror", "run", "--config", j.config(state), "--progress-interval", "5ms"}, more...)...)
}

func (c *child) signal(s syscall.Signal) { _ = c.cmd.Process.Signal(s) }

func (c *child) stderr() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err.String()
}

// wait returns the exit code.
func (c *child) wait(patience time.Duration) int {
	c.t.Helper()
	select {
	case <-c.done:
		return c.code
	case <-time.After(patience):
		c.signal(syscall.SIGKILL)
		<-c.done
		c.t.Fatalf("the process did not end in %s\n%s", patience, c.stderr())
		return -1
	}
}

// at is the last thing that the process said of itself.
func (c *child) at() progress {
	if p := c.last.Load(); p != nil {
		return *p
	}
	return progress{}
}

// found is how many records this process has found on the target.
func (c *child) found() int64 {
	if from := c.from.Load(); from != nil {
		return c.at().Present - from.Present
	}
	return c.at().Present
}

// kill ends the process at once, and returns when it is gone.
func (c *child) kill() {
	c.signal(syscall.SIGKILL)
	<-c.done
}

// stops expects that the process ends by itself with this exit code, one sentence that
// says something, and a hint.
func (c *child) stops(code int, says string) {
	c.t.Helper()
	if got := c.wait(time.Minute); got != code {
		c.t.Fatalf("exit %d, want %d\n%s", got, code, c.stderr())
	}
	e := c.result().Error
	if e.Message == "" || e.Hint == "" || strings.Contains(e.Message, "\n") || !strings.Contains(e.Message, says) {
		c.t.Errorf("not one sentence that says %q, with a hint: %q, %q", says, e.Message, e.Hint)
	}
	c.t.Logf("exit %d: %s | hint: %s", code, e.Message, e.Hint)
}

// drain stops the process as an operator does, and expects a clean end.
func (c *child) drain() {
	c.t.Helper()
	c.signal(syscall.SIGTERM)
	if code := c.wait(time.Minute); code != 143 && code != 0 {
		c.t.Fatalf("after SIGTERM: exit %d\n%s", code, c.stderr())
	}
}

// until waits for the process to have said something.
func (c *child) until(what string, reached func(progress) bool) {
	c.t.Helper()
	limit := time.After(time.Minute)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !reached(c.at()) {
		select {
		case <-tick.C:
		case <-c.done:
			c.t.Fatalf("the process ended (%d) before %s\n%s", c.code, what, c.stderr())
		case <-limit:
			c.signal(syscall.SIGQUIT) // to see what every goroutine waits for
			<-c.done
			c.t.Fatalf("no %s in a minute: %+v\n%s", what, c.at(), c.stderr())
		}
	}
}

// A result is what mirror run prints at its end.
type result struct {
	Result struct {
		Balanced bool `json:"balanced"`
		Counts   struct {
			Read    int64 `json:"read"`
			Written int64 `json:"written"`
			Present int64 `json:"already_present"`
			Rewind  int64 `json:"rewind"`
			Foreign int64 `json:"foreign_provenance"`
			Letters int64 `json:"dead_lettered"`
			Dropped int64 `json:"dropped_by_policy"`
		} `json:"counts"`
	} `json:"result"`
	Error struct{ Message, Hint string } `json:"error"`
}

func (c *child) result() (r result) {
	c.t.Helper()
	if err := json.Unmarshal(c.out.Bytes(), &r); err != nil {
		c.t.Fatalf("the result is not JSON: %v\n%s\n%s", err, c.out.String(), c.stderr())
	}
	return r
}

// catchUp runs a mirror until everything is on the target.
func (j *job) catchUp(state string) result {
	j.t.Helper()
	c := j.mirror(state, "--until-caught-up")
	if code := c.wait(3 * time.Minute); code != 0 {
		j.t.Fatalf("catch up: exit %d\n%s", code, c.stderr())
	}
	r := c.result()
	if !r.Result.Balanced {
		j.t.Errorf("the counts do not balance: %+v", r.Result.Counts)
	}
	return r
}

// rowsOf are the flights: those of the whole year if BRIDGE_FLIGHTS says so, at most n.
func rowsOf(t *testing.T, n int) []checker.Row {
	t.Helper()
	t.Helper()
	all, from := flights.All()
	var out []checker.Row
	for r, err := range all {
		if err != nil {
			t.Fatal(err)
		}
		if len(out) == n {
			break
		}
		out = append(out, checker.Row{N: r.N, Key: r.Tail, Value: r.Value})
	}
	if len(out) == 0 {
		t.Fatalf("no flights in %s", from)
	}
	return out
}

// feed puts rows into a stream, so many a second (0 is at once), until ctx ends, and
// returns how many.
func feed(ctx context.Context, t *testing.T, s *kinesistest.Stream, rows []checker.Row, rate int) int {
	return paced(ctx, rows, rate, func(rows []checker.Row) error {
		for _, r := range rows {
			if err := s.Put(kinesistest.Entry{Key: r.Key, Data: r.Value}); err != nil {
				t.Error(err)
				return err
			}
		}
		return nil
	})
}

// paced gives out rows at a rate, a hundredth of a second's worth at a time.
func paced(ctx context.Context, rows []checker.Row, rate int, put func([]checker.Row) error) int {
	if rate <= 0 {
		if put(rows) != nil {
			return 0
		}
		return len(rows)
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	n := 0
	for n < len(rows) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return n
		}
		end := min(n+max(rate/100, 1), len(rows))
		if put(rows[n:end]) != nil {
			return n
		}
		n = end
	}
	return n
}

// produce puts rows into a topic, each where Java's client would, so many a second, until
// ctx ends, and returns how many.
func produce(ctx context.Context, t *testing.T, brokers []string, topic string, rows []checker.Row, partitions, rate int) int {
	c, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Error(err)
		return 0
	}
	defer c.Close()
	return paced(ctx, rows, rate, func(rows []checker.Row) error {
		var recs []*kgo.Record
		for _, row := range rows {
			r := &kgo.Record{Topic: topic, Value: row.Value, Partition: int32(row.N % partitions), Timestamp: row.Time}
			if !row.Null {
				r.Key = []byte(row.Key)
				r.Partition = int32(checker.Partition(r.Key, partitions))
			}
			recs = append(recs, r)
		}
		// What was begun is finished, so that it is known what was produced.
		err := c.ProduceSync(context.WithoutCancel(ctx), recs...).FirstErr()
		if err != nil {
			t.Error(err)
		}
		return err
	})
}

// dial connects to a cluster with a client that shares nothing with the module.
func dial(t *testing.T, brokers []string, more ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner())}, more...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// createTopic makes a topic with settings such as cleanup.policy=compact.
func createTopic(t *testing.T, brokers []string, name string, partitions int, settings ...string) {
	t.Helper()
	configs := map[string]*string{}
	for _, s := range settings {
		name, value, _ := strings.Cut(s, "=")
		configs[name] = &value
	}
	adm := kadm.NewClient(dial(t, brokers))
	if _, err := adm.CreateTopic(t.Context(), int32(partitions), int16(min(len(brokers), 3)), configs, name); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "brokers that know the topic", func() bool {
		ends, err := adm.ListEndOffsets(t.Context(), name)
		return err == nil && ends.Error() == nil
	})
}

// judgeTopic compares the topic with the rows, arrival times included.
func judgeTopic(t *testing.T, brokers []string, topic string, rows []checker.Row) (checker.Verdict, []checker.Append) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	copies, who, err := checker.Kafka(ctx, brokers, topic)
	if err != nil {
		t.Fatal(err)
	}
	return checker.Judge(rows, copies), who
}

// inTopic reads a topic.
func inTopic(t *testing.T, brokers []string, topic string) []checker.Copy {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	copies, _, err := checker.Kafka(ctx, brokers, topic)
	if err != nil {
		t.Fatal(err)
	}
	return copies
}

func judgeStream(t *testing.T, endpoint, stream string, rows []checker.Row) checker.Verdict {
	t.Helper()
	return checker.Judge(rows, inStream(t, endpoint, stream))
}

// inStream reads a stream.
func inStream(t *testing.T, endpoint, stream string) []checker.Copy {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	copies, err := checker.Kinesis(ctx, endpoint, stream)
	if err != nil {
		t.Fatal(err)
	}
	return copies
}

// arrivals gives each row the time at which the stream took it.
func arrivals(t *testing.T, s *kinesistest.Stream, rows []checker.Row) {
	t.Helper()
	at := map[string]time.Time{}
	for _, shard := range s.Shards() {
		recs, err := s.Records(shard.ID)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range recs {
			at[string(r.Data)] = r.Arrival
		}
	}
	for i := range rows {
		rows[i].Time = at[string(rows[i].Value)]
	}
}
