//go:build integration

// Package integration runs the built program against real servers and breaks things.
package integration

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
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

// bench is what all tests of this package share.
var bench struct {
	bin   string
	kafka *servers.Kafka
	names atomic.Int64
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
	return m.Run()
}

// count is how many runs of a check are made, of so many in full: RUNS says in percent.
func count(t *testing.T, full int) int {
	percent := 10
	if p, err := strconv.Atoi(os.Getenv("RUNS")); err == nil {
		percent = p
	}
	n := max(full*percent/100, min(full, 10))
	t.Logf("%d of %d runs", n, full)
	return n
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
	kinesis   *kinesistest.Server
	stream    string
	brokers   []string
	topic     string
	dir       string
	replicas  int    // of topics; 1 if zero
	shards    int    // of a stream to be created; 4 if zero
	more      string // further lines of the configuration
}

func newJob(t *testing.T, direction string, k *kinesistest.Server, stream, topic string) *job {
	return &job{t: t, workflow: unique("wf"), direction: direction, kinesis: k, stream: stream, brokers: bench.kafka.Brokers(), topic: topic, dir: t.TempDir()}
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
		partitions = "partitions: 12, "
	}
	text := fmt.Sprintf(`workflow: %s
direction: %s
kinesis: {stream: %s, region: us-east-1, endpoint_url: "%s", format: raw, create: {mode: provisioned, shards: %d}}
kafka: {brokers: ["%s"], topic: %s, %sreplication_factor: %d}
put_timeout: 1s
state: "file:%s"
`, j.workflow, j.direction, j.stream, j.kinesis.URL(), max(j.shards, 4), strings.Join(j.brokers, `","`), j.topic, partitions, max(j.replicas, 1), filepath.Join(j.dir, state))
	if j.direction == toKinesis {
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
}

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
	t.Logf("%d flights of %s", len(out), from)
	return out
}

// feed puts rows into a stream, so many a second (0 is at once), until ctx ends.
func feed(ctx context.Context, t *testing.T, s *kinesistest.Stream, rows []checker.Row, rate int) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for i, r := range rows {
		if rate > 0 && i%max(rate/100, 1) == 0 {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
		if err := s.Put(kinesistest.Entry{Key: r.Key, Data: r.Value}); err != nil {
			t.Error(err)
			return
		}
	}
}

// produce puts rows into a topic, each where Java's client would, so many a second.
func produce(ctx context.Context, t *testing.T, topic string, rows []checker.Row, partitions, rate int) {
	c, err := kgo.NewClient(kgo.SeedBrokers(bench.kafka.Brokers()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for i := 0; i < len(rows); {
		end := len(rows)
		if rate > 0 {
			end = min(i+max(rate/100, 1), end)
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
		var recs []*kgo.Record
		for ; i < end; i++ {
			r := &kgo.Record{Topic: topic, Value: rows[i].Value, Partition: int32(i % partitions)}
			if !rows[i].Null {
				r.Key = []byte(rows[i].Key)
				r.Partition = int32(checker.Partition(r.Key, partitions))
			}
			recs = append(recs, r)
		}
		if err := c.ProduceSync(ctx, recs...).FirstErr(); err != nil && ctx.Err() == nil {
			t.Error(err)
			return
		}
	}
}

func createTopic(t *testing.T, name string, partitions int) {
	t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(bench.kafka.Brokers()...))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := kadm.NewClient(c).CreateTopic(t.Context(), int32(partitions), 1, nil, name); err != nil {
		t.Fatal(err)
	}
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

func judgeStream(t *testing.T, k *kinesistest.Server, stream string, rows []checker.Row) checker.Verdict {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	copies, err := checker.Kinesis(ctx, k.URL(), stream)
	if err != nil {
		t.Fatal(err)
	}
	return checker.Judge(rows, copies)
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
