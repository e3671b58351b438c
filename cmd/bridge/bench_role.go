package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/kinesis-msk-bridge/bridge/internal/bench"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesisstream"
)

// What a process of a benchmark can be, beside the clients.
const (
	benchRole   = "role"
	roleKinesis = "kinesis"
	roleKafka   = "kafka"
	roleMirror  = "mirror"
)

const benchWorkflow = "bench"

// A benchJob is what a process of a benchmark is told.
type benchJob struct {
	bench.Ends
	Streams bench.Streams `json:"streams"`
	Dir     string        `json:"dir"`
	Profile string        `json:"profile,omitempty"`
	Format  string        `json:"format"`
	Memory  size          `json:"memory"`
}

// benchRole is one process of a benchmark. It is for bench alone.
func (a *app) benchRole(c *cli.Context) error {
	var job benchJob
	if err := json.Unmarshal([]byte(c.String("job")), &job); err != nil {
		return usage(fmt.Errorf("--job: %w", err))
	}
	ctx, role := c.Context, c.String("role")
	switch role {
	case roleKinesis:
		return bench.ServeKinesis(ctx, job.Load, job.Streams, os.Stdin, a.stdout)
	case roleKafka:
		return bench.ServeKafka(ctx, job.Dir, os.Stdin, a.stdout)
	}
	collect(job.Memory, a.env) // the same for all clients
	used, err := job.profiled(ctx, role)
	if err != nil {
		return err
	}
	used.PeakRSS = peakRSS()
	return json.NewEncoder(a.stdout).Encode(used)
}

// profiled runs a client, and writes the CPU profile of a mirror or of verify.
func (j benchJob) profiled(ctx context.Context, role string) (used clientUse, err error) {
	if j.Profile != "" && (role == roleMirror || role == roleVerify) {
		f, err := os.Create(j.Profile)
		if err != nil {
			return used, err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return used, err
		}
		defer pprof.StopCPUProfile()
	}
	return j.client(ctx, role)
}

// client runs one client to its end.
func (j benchJob) client(ctx context.Context, role string) (used clientUse, err error) {
	switch role {
	case roleMirror:
		err = j.mirror(ctx)
	case "ceiling":
		err = j.Ceiling(ctx)
	case "stock":
		err = j.Stock(ctx)
	case readSource:
		used.Read, err = j.readBare(ctx, true)
	case readTarget:
		used.Read, err = j.readTarget(ctx)
	case roleVerify:
		used.Verify, err = j.verify(ctx)
	default:
		err = usage(fmt.Errorf("--role %q is none", role))
	}
	return used, err
}

// peakRSS is the most memory that this process had, in bytes; 0 where Linux is not.
func peakRSS() int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(status) {
		if rest, ok := bytes.CutPrefix(line, []byte("VmHWM:")); ok {
			kib, _ := strconv.ParseInt(string(bytes.TrimSpace(bytes.TrimSuffix(bytes.TrimSpace(rest), []byte("kB")))), 10, 64)
			return kib << 10
		}
	}
	return 0
}

// settings are those of the mirror and of verify.
func (j benchJob) settings() (settings, error) {
	file := filepath.Join(j.Dir, benchWorkflow+".yaml")
	if err := os.WriteFile(file, []byte(j.config()), 0o600); err != nil {
		return settings{}, err
	}
	l, err := load(file, func(string) (string, bool) { return "", false }, nil)
	return settings{
		Config: l, Run: runOptions{UntilCaughtUp: true}, Log: slog.New(slog.DiscardHandler),
		Reading: kinesisstream.SourceConfig{PageRecords: j.Page, NoRates: true},
	}, err
}

// mirror runs the mirror as mirror run does.
func (j benchJob) mirror(ctx context.Context) error {
	s, err := j.settings()
	if err != nil {
		return err
	}
	r := newMirrorRun(s)
	stop := newStopper(ctx, nil, time.Second)
	defer stop.done()
	if err := r.run(stop, realAdapters()); err != nil {
		return err
	}
	if n := r.runner.Progress().Counts.Written; n != int64(j.Records) {
		return errors.New("the mirror says that it wrote " + grouped(n) + " records")
	}
	return nil
}

func (j benchJob) config() string {
	direction, more := kinesisToKafka, ""
	if !j.ToKafka {
		if direction = kafkaToKinesis; j.Format == "raw" {
			more = "accept_loss: [timestamp]\n"
		}
	}
	return fmt.Sprintf(`workflow: %s
direction: %s
kinesis: {stream: %s, region: us-east-1, endpoint_url: %q, format: %s}
kafka: {brokers: ["%s"], topic: %s, partitions: %d, replication_factor: 1}
memory: %s
put_timeout: 5s
state: file:%s
%s`, benchWorkflow, direction, j.Stream, j.KinesisURL, j.Format, strings.Join(j.Brokers, `","`), j.Topic, j.Partitions, j.Memory, filepath.Join(j.Dir, "state"), more)
}
