package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/kinesis-msk-bridge/bridge/internal/bench"
	"github.com/kinesis-msk-bridge/bridge/verify"
)

func (a *app) benchVerifyCommand() *cli.Command {
	flags := append(loadFlags(),
		&cli.StringFlag{Name: "format", Value: "raw", Usage: "what stands in Kinesis as a target: raw, kpl or envelope"},
		&cli.StringFlag{Name: "memory", Value: "1GiB", Usage: "`SIZE` of the byte budget, which all clients' garbage collectors follow"},
		&cli.StringFlag{Name: "kafka", Usage: "`ADDRESSES` of a Kafka to use instead of the one in the program; topics whose names begin with bench- and bridge.bench- are made and removed there"},
		&cli.StringFlag{Name: "cpu-profile", Usage: "write the CPU profile of verify to this `FILE`"})
	return command(cli.Command{
		Name:  "verify",
		Usage: "measure what verify spends, beside the bare reading of both sides",
		Description: `Starts a Kinesis and a Kafka as processes of their own, lets the mirror fill the target,
then measures three clients: one that reads the source with the decoder that verify uses and
does nothing else, one that reads the target so, with its ledger if it has one, and verify.
Prints the CPU-seconds per million records of each, the ratio of verify to both bare reads
together, the bytes that verify read of each side, and the peak of its memory.

The servers hold no record in memory: rows of the source are made again from their numbers
each time they are read; Kafka's log, and records that the mirror puts into Kinesis, are in
files.

Examples:
   bridge bench verify
   bridge bench verify --direction kafka-to-kinesis --records 10000000 --size 100
   bridge bench verify --size 100 --output json`,
		Flags: flags,
	}, a.benchVerify)
}

// verifyClients are what a benchmark of verify measures, in this order. The first two read
// and do nothing else.
var verifyClients = []string{readSource, readTarget, roleVerify}

const (
	readSource = "source"
	readTarget = "target"
	roleVerify = "verify"
)

func (a *app) benchVerify(c *cli.Context) error {
	b := benchmarkOf(c, a.stderr)
	b.names = []string{roleVerify}
	return measured(c, a, b, b.runVerify)
}

// A benchVerifyResult is what bench verify prints. Records are those of one side.
type benchVerifyResult struct {
	Direction string `json:"direction"`
	Format    string `json:"format"`
	bench.Load
	Verdict     verify.Verdict      `json:"verdict"`
	Reasons     []string            `json:"reasons,omitempty"`
	Totals      verify.Totals       `json:"totals"`
	Ratio       float64             `json:"ratio"` // of verify to both bare reads together
	CPU         float64             `json:"cpu_s_per_million"`
	SideCPU     float64             `json:"cpu_s_per_million_and_side"`
	SourceCPU   float64             `json:"source_cpu_s_per_million"` // of the bare read
	TargetCPU   float64             `json:"target_cpu_s_per_million"`
	SourceBytes int64               `json:"source_bytes_read,string"`
	TargetBytes int64               `json:"target_bytes_read,string"`
	PeakRSS     float64             `json:"peak_rss_mib"`
	Clients     []benchVerifyClient `json:"clients"`
	KafkaServer string              `json:"kafka"`
}

// A benchVerifyClient is one client that was measured.
type benchVerifyClient struct {
	Name    string  `json:"name"`
	CPU     float64 `json:"cpu_s_per_million"`
	PeakRSS float64 `json:"peak_rss_mib"`
	Seconds float64 `json:"seconds"`
	Records int64   `json:"records,string"` // what it read, the ledger too
	Bytes   int64   `json:"bytes,string"`
}

// proved is nil if verify and the bare readers read everything, and verify found it equal.
func (r *benchVerifyResult) proved() error {
	n := int64(r.Records)
	if r.Verdict != verify.Consistent {
		return fmt.Errorf("verify says %s: %s", r.Verdict, strings.Join(r.Reasons, "; "))
	}
	if t := r.Totals; t.SourceRecords != n || t.TargetFirsts != n || t.TargetRecords != n || !t.Balanced {
		return fmt.Errorf("verify says consistent of other records than all %s: %s", grouped(n), t.Balance)
	}
	if got := r.Clients[0].Records; got != n {
		return fmt.Errorf("the bare reader of the source read %s records of %s", grouped(got), grouped(n))
	}
	return nil
}

func (r *benchVerifyResult) print(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s: %s records of %d bytes, %d shards, %d partitions, %s keys, %s\n",
		r.Direction, r.Format, grouped(int64(r.Records)), r.Size, r.Shards, r.Partitions, grouped(int64(r.Keys)), r.KafkaServer)
	fmt.Fprintf(&b, "%-14s %14s %12s %10s %14s %16s\n", "client", "CPU-s/million", "peak RSS MiB", "seconds", "records read", "bytes read")
	for _, c := range r.Clients {
		name := c.Name
		if name != roleVerify {
			name = "bare " + name
		}
		fmt.Fprintf(&b, "%-14s %14.2f %12.1f %10.1f %14s %16s\n", name, c.CPU, c.PeakRSS, c.Seconds, grouped(c.Records), grouped(c.Bytes))
	}
	fmt.Fprintf(&b, "verify says %s: %s\n", r.Verdict, r.Totals.Balance)
	fmt.Fprintf(&b, "bytes read: source %s, target %s\n", grouped(r.SourceBytes), grouped(r.TargetBytes))
	fmt.Fprintf(&b, "verify %.2f a side; verify / bare reads %.2f\n", r.SideCPU, r.Ratio)
	_, err := io.WriteString(w, b.String())
	return err
}

// runVerify lets the mirror fill the target and measures the clients.
func (b *benchmark) runVerify(ctx context.Context) (res *benchVerifyResult, err error) {
	if err := b.begin(ctx, bench.Streams{Kept: roleVerify}); err != nil {
		return nil, errors.Join(err, b.end())
	}
	defer func() { err = errors.Join(err, b.end()) }()
	job := b.job(roleVerify)
	if b.toKafka() {
		if err := b.topics().Create(ctx, job.Topic); err != nil {
			return nil, fmt.Errorf("create topic %s: %w", job.Topic, err)
		}
	}
	fmt.Fprintln(b.talk, "filling the target: the mirror runs")
	fill := job
	fill.Profile = ""
	if _, err := runClient(ctx, roleMirror, fill); err != nil {
		return nil, fmt.Errorf("fill the target: %w", err)
	}
	res = &benchVerifyResult{Direction: b.direction, Format: b.format, Load: b.Load, KafkaServer: b.server()}
	for _, name := range verifyClients {
		fmt.Fprintln(b.talk, "measuring", name)
		began := time.Now()
		used, err := runClient(ctx, name, job)
		if err != nil {
			return nil, fmt.Errorf("measure %s: %w", name, err)
		}
		res.add(name, used, time.Since(began))
	}
	return res, nil
}

func (r *benchVerifyResult) add(name string, used clientUse, took time.Duration) {
	c := benchVerifyClient{
		Name: name, CPU: rounded(used.cpu.Seconds() / float64(r.Records) * 1e6), Seconds: rounded(took.Seconds()),
		PeakRSS: rounded(float64(used.PeakRSS) / mebibyte), Records: used.Read.Records, Bytes: used.Read.Bytes,
	}
	switch name {
	case readSource:
		r.SourceCPU = c.CPU
	case readTarget:
		r.TargetCPU = c.CPU
	case roleVerify:
		r.Verdict, r.Reasons, r.Totals = used.Verify.Verdict, used.Verify.Reasons, used.Verify.Totals
		r.SourceBytes, r.TargetBytes = r.Totals.SourceRead, r.Totals.TargetRead
		c.Records, c.Bytes = r.Totals.SourceRecords+r.Totals.TargetRecords, r.SourceBytes+r.TargetBytes
		r.CPU, r.SideCPU, r.PeakRSS = c.CPU, rounded(c.CPU/2), c.PeakRSS
		r.Ratio = rounded(r.CPU / (r.SourceCPU + r.TargetCPU))
	}
	r.Clients = append(r.Clients, c)
}

// readBare reads the source or the target, as whichever side they are.
func (j benchJob) readBare(ctx context.Context, source bool) (bench.Read, error) {
	if source == j.ToKafka {
		return j.ReadKinesis(ctx)
	}
	return j.ReadKafka(ctx, j.Topic)
}

// readTarget reads the target, and the ledger that says what its records are.
func (j benchJob) readTarget(ctx context.Context) (bench.Read, error) {
	got, err := j.readBare(ctx, false)
	if err != nil || j.ToKafka || j.Format != "raw" {
		return got, err
	}
	entries, err := j.ReadKafka(ctx, "bridge."+benchWorkflow+".ledger")
	return bench.Read{Records: got.Records + entries.Records, Bytes: got.Bytes + entries.Bytes}, err
}

// verify runs verify as verify run does, state and all.
func (j benchJob) verify(ctx context.Context) (*verify.Result, error) {
	s, err := j.settings()
	if err != nil {
		return nil, err
	}
	w, err := s.workflow(ctx)
	if err != nil {
		return nil, err
	}
	ends, err := witnessOf(ctx, s, w)
	if err != nil {
		return nil, err
	}
	dir, err := newRun(s.Config, "")
	if err != nil {
		return nil, errors.Join(err, ends.close())
	}
	v := ends.verifier
	v.Settle, v.Window = time.Duration(s.Config.Verify.Settle), time.Duration(s.Config.Verify.Window)
	v.ID, v.Store, v.Logger = dir.id, dir, s.Log
	res, err := v.Run(ctx)
	if res != nil {
		res.Windows, res.Samples = nil, nil
	}
	return res, errors.Join(err, ends.close())
}
