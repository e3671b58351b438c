package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kinesis-msk-bridge/bridge/internal/bench"
	"github.com/kinesis-msk-bridge/bridge/verify"
)

// A benchmark is one run: servers and clients, each in a process of its own.
type benchmark struct {
	bench.Load
	direction string
	format    string   // of the mirror
	names     []string // of streams and topics, behind "bench-" those of topics
	clients   []string // all if empty
	brokers   []string // of a Kafka that runs already; nil starts one
	profile   string
	memory    size
	talk      io.Writer

	dir     string
	own     bool // the Kafka is ours
	rows    *bench.Rows
	kinesis *child
	kafka   *child
}

func (b *benchmark) toKafka() bool { return b.direction == kinesisToKafka }

// begin brings the servers up and fills the source. end must follow in any case.
func (b *benchmark) begin(ctx context.Context, streams bench.Streams) (err error) {
	if b.dir, err = os.MkdirTemp("", "bridge-bench-"); err != nil {
		return err
	}
	if err := b.start(ctx, streams); err != nil || b.toKafka() {
		return err
	}
	fmt.Fprintln(b.talk, "filling the topic")
	return b.topics().Fill(ctx)
}

// end stops what was started and removes its files.
func (b *benchmark) end() error { return errors.Join(b.stop(), os.RemoveAll(b.dir)) }

// server says which Kafka it was.
func (b *benchmark) server() string {
	if b.own {
		return "kfake"
	}
	return "Kafka at " + strings.Join(b.brokers, ",")
}

func (b *benchmark) run(ctx context.Context) (res *benchResult, err error) {
	if err := b.begin(ctx, bench.Streams{Proved: b.names}); err != nil {
		return nil, errors.Join(err, b.end())
	}
	defer func() { err = errors.Join(err, b.end()) }()
	res = &benchResult{Direction: b.direction, Format: b.format, Load: b.Load, KafkaServer: b.server()}
	for _, name := range benchClients {
		if len(b.clients) > 0 && !slices.Contains(b.clients, name) {
			continue
		}
		fmt.Fprintln(b.talk, "measuring the", name)
		c, err := b.measure(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("measure the %s: %w", name, err)
		}
		res.add(c)
	}
	return res, nil
}

// start brings up the servers. A Kinesis that is the source has no other streams.
func (b *benchmark) start(ctx context.Context, streams bench.Streams) (err error) {
	b.rows = b.Rows()
	job := benchJob{Ends: bench.Ends{Load: b.Load}, Dir: filepath.Join(b.dir, "kafka")}
	if !b.toKafka() {
		job.Streams = streams
		job.Streams.Dir = b.dir
	}
	if b.kinesis, err = startChild(ctx, roleKinesis, job); err != nil {
		return err
	}
	if b.brokers == nil {
		b.own = true
		if b.kafka, err = startChild(ctx, roleKafka, job); err != nil {
			return err
		}
		b.brokers = strings.Split(b.kafka.said.Address, ",")
	}
	return nil
}

func (b *benchmark) stop() (err error) {
	for _, c := range []*child{b.kinesis, b.kafka} {
		if c != nil {
			err = errors.Join(err, c.close())
		}
	}
	if !b.own && b.brokers != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		err = errors.Join(err, b.topics().Delete(ctx, b.ourTopics()...))
	}
	return err
}

// ourTopics are all that a benchmark makes.
func (b *benchmark) ourTopics() []string {
	topics := []string{bench.SourceTopic}
	for _, name := range b.names {
		topics = append(topics, "bench-"+name)
	}
	for _, own := range []string{"checkpoints", "ledger", "index"} {
		topics = append(topics, "bridge."+benchWorkflow+"."+own)
	}
	return topics
}

func (b *benchmark) topics() bench.Kafka { return bench.Kafka{Brokers: b.brokers, Rows: b.rows} }

// job is that of a client whose target has a name.
func (b *benchmark) job(name string) benchJob {
	job := benchJob{
		Ends: bench.Ends{Load: b.Load, KinesisURL: b.kinesis.said.Address, Brokers: b.brokers, ToKafka: b.toKafka(), Stream: bench.SourceStream, Topic: "bench-" + name},
		Dir:  b.dir, Profile: b.profile, Format: b.format, Memory: b.memory,
	}
	if !b.toKafka() {
		job.Stream, job.Topic = name, bench.SourceTopic
	}
	return job
}

// measure runs one client and lets the servers judge.
func (b *benchmark) measure(ctx context.Context, name string) (benchClient, error) {
	job := b.job(name)
	out := benchClient{Name: name}
	if b.toKafka() {
		if err := b.topics().Create(ctx, job.Topic); err != nil {
			return out, fmt.Errorf("create topic %s: %w", job.Topic, err)
		}
	}
	before, err := b.kinesis.ask("")
	if err != nil {
		return out, err
	}
	began := time.Now()
	used, err := runClient(ctx, name, job)
	if err != nil {
		return out, err
	}
	out.Seconds = rounded(time.Since(began).Seconds())
	out.CPU = rounded(used.cpu.Seconds() / float64(b.Records) * 1e6)
	out.PeakRSS = rounded(float64(used.PeakRSS) / (1 << 20))
	after, err := b.kinesis.ask(name)
	if err != nil {
		return out, err
	}
	op := "PutRecords"
	if b.toKafka() {
		op = "GetRecords"
	}
	if calls := after.Calls[op].Calls - before.Calls[op].Calls; calls > 0 {
		out.RecordsPerCall = rounded(float64(after.Calls[op].Records-before.Calls[op].Records) / float64(calls))
	}
	if !b.toKafka() {
		out.Arrived, out.Unanswered = *after.Verdict, after.Unanswered
		return out, nil
	}
	verdict, batches, err := b.topics().Prove(ctx, job.Topic)
	if err != nil {
		return out, fmt.Errorf("prove what arrived: %w", err)
	}
	out.Arrived, out.RecordsPerBatch = verdict, rounded(float64(b.Records)/float64(max(batches, 1)))
	return out, b.topics().Delete(ctx, job.Topic)
}

// A child is a server in a process of its own.
type child struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *json.Decoder
	said bench.Served
	talk *talk // what it said on stderr
}

func roleCommand(ctx context.Context, role string, job benchJob) (*exec.Cmd, *talk, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	spec, err := json.Marshal(job)
	if err != nil {
		return nil, nil, err
	}
	cmd := exec.CommandContext(ctx, self, "bench", benchRole, "--role", role, "--job", string(spec))
	talk := &talk{}
	cmd.Stderr = talk
	cmd.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID=bench", "AWS_SECRET_ACCESS_KEY=bench", "AWS_SESSION_TOKEN=", "AWS_PROFILE=", "AWS_EC2_METADATA_DISABLED=true", "BRIDGE_OUTPUT=text")
	return cmd, talk, nil
}

// A talk is what a process said on stderr so far. It is safe for concurrent use.
type talk struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (t *talk) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.Write(b)
}

func (t *talk) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.String()
}

// said puts what a process said about its failure into the error.
func said(err error, talk *talk) error {
	if text := strings.TrimSpace(talk.String()); err != nil && text != "" {
		return fmt.Errorf("%w: %s", err, text)
	}
	return err
}

// startChild starts a server and waits until it listens.
func startChild(ctx context.Context, role string, job benchJob) (*child, error) {
	cmd, talk, err := roleCommand(ctx, role, job)
	if err != nil {
		return nil, err
	}
	c := &child{cmd: cmd, talk: talk}
	if c.in, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.out = json.NewDecoder(bufio.NewReader(out))
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	if err := c.out.Decode(&c.said); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", role, err), c.close())
	}
	return c, nil
}

// ask sends a line and returns the answer.
func (c *child) ask(line string) (bench.Served, error) {
	var s bench.Served
	if _, err := io.WriteString(c.in, line+"\n"); err != nil {
		return s, said(err, c.talk)
	}
	err := c.out.Decode(&s)
	return s, said(err, c.talk)
}

func (c *child) close() error {
	_ = c.in.Close() // tells it to end
	return said(c.cmd.Wait(), c.talk)
}

// A clientUse is what a client process used up.
type clientUse struct {
	PeakRSS int64          `json:"peak_rss"`         // bytes
	Read    bench.Read     `json:"read"`             // by a bare reader
	Verify  *verify.Result `json:"verify,omitempty"` // without windows and samples
	cpu     time.Duration
}

// runClient runs one client to its end.
func runClient(ctx context.Context, role string, job benchJob) (clientUse, error) {
	var used clientUse
	cmd, talk, err := roleCommand(ctx, role, job)
	if err != nil {
		return used, err
	}
	out, err := cmd.Output()
	if err != nil {
		return used, said(err, talk)
	}
	if err := json.Unmarshal(out, &used); err != nil {
		return used, fmt.Errorf("what it used up: %w", err)
	}
	used.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return used, nil
}
