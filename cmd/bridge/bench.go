package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/internal/bench"
)

func (a *app) benchCommand() *cli.Command {
	role := command(cli.Command{
		Name: benchRole, Hidden: true, Usage: "be one process of a benchmark",
		Description: `Is one server or client of a benchmark, which starts it and talks to it over its standard
input and output.

Examples:
   bridge bench role --role kafka --job '{"dir": "/tmp/logs"}'`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "role", Usage: "kinesis, kafka, mirror, ceiling, stock, source, target or verify"},
			&cli.StringFlag{Name: "job", Usage: "what to do, as `JSON`"},
		},
	}, a.benchRole)
	return group("bench", "measure this machine", a.benchMirrorCommand(), a.benchVerifyCommand(), role)
}

func (a *app) benchMirrorCommand() *cli.Command {
	return command(cli.Command{
		Name:  "mirror",
		Usage: "measure what the mirror spends, beside the least that it could",
		Description: `Starts a Kinesis and a Kafka as processes of their own, lets the mirror move records from
one to the other, then the bare ceiling (the same decoder and the same batches, without
order, retries, fence, provenance and checkpoints) and the stock clients (the SDK's codec,
sarama's producer or consumer). Prints the CPU-seconds per million records of each client
process, the ratio of the mirror to the ceiling, and the peak of its memory. The servers
prove that every record arrived once, unchanged, and in the order of its key; towards
Kinesis they say how many records of one key were put and not answered at one time, which
for the mirror is never more than one.

Examples:
   bridge bench mirror
   bridge bench mirror --direction kafka-to-kinesis --records 200000 --size 100
   bridge bench mirror --shards 64 --partitions 48 --zipf 1.1 --output json`,
		Flags: append(loadFlags(),
			&cli.StringFlag{Name: "format", Value: "raw", Usage: "what the mirror writes into Kinesis: raw, kpl or envelope; the other clients write raw"},
			&cli.StringFlag{Name: "memory", Value: "1GiB", Usage: "`SIZE` of the mirror's byte budget, which all clients' garbage collectors follow"},
			&cli.StringFlag{Name: "kafka", Usage: "`ADDRESSES` of a Kafka to use instead of the one in the program; topics whose names begin with bench- and bridge.bench- are made and removed there"},
			&cli.StringSliceFlag{Name: "client", Usage: "measure only this one of mirror, ceiling and stock; may be repeated"},
			&cli.StringFlag{Name: "cpu-profile", Usage: "write the mirror's CPU profile to this `FILE`"}),
	}, a.benchMirror)
}

// loadFlags say what a benchmark moves, and through what.
func loadFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "direction", Value: kinesisToKafka, Usage: "kinesis-to-kafka or kafka-to-kinesis"},
		&cli.IntFlag{Name: "records", Value: 1_000_000, Usage: "`N` records in all"},
		&cli.IntFlag{Name: "size", Value: 1024, Usage: "`BYTES` of a value"},
		&cli.IntFlag{Name: "shards", Value: 4, Usage: "of the stream"},
		&cli.IntFlag{Name: "partitions", Value: 4, Usage: "of the topic"},
		&cli.IntFlag{Name: "page", Usage: "records of one GetRecords at most (400, or 2,000 below 512 bytes)", DefaultText: "400 or 2000"},
		&cli.IntFlag{Name: "keys", Value: 100_000, Usage: "different keys"},
		&cli.IntFlag{Name: "hot", Usage: "`PERCENT` of the records that have one key"},
		&cli.Float64Flag{Name: "zipf", Usage: "`EXPONENT` above 1 of the keys' frequencies; 0 for equal ones"},
		&cli.DurationFlag{Name: "latency", Usage: "least time that Kinesis takes for an answer"},
	}
}

// benchClients are measured in this order.
var benchClients = []string{roleMirror, "ceiling", "stock"}

// benchmarkOf reads the flags that both benchmarks have.
func benchmarkOf(c *cli.Context, talk io.Writer) *benchmark {
	b := &benchmark{direction: c.String("direction"), format: c.String("format"), profile: c.String("cpu-profile"), talk: talk}
	b.Load = bench.Load{
		Records: c.Int("records"), Size: c.Int("size"), Shards: c.Int("shards"), Partitions: c.Int("partitions"),
		Page: c.Int("page"), Keys: c.Int("keys"), Hot: c.Int("hot"), Zipf: c.Float64("zipf"), Latency: c.Duration("latency"),
	}
	if b.Page == 0 {
		if b.Page = 400; b.Size < 512 {
			b.Page = 2000
		}
	}
	if k := c.String("kafka"); k != "" {
		b.brokers = strings.Split(k, ",")
	}
	return b
}

func (a *app) benchMirror(c *cli.Context) error {
	b := benchmarkOf(c, a.stderr)
	b.names, b.clients = benchClients, c.StringSlice("client")
	return measured(c, a, b, b.run)
}

// A proven is the result of a benchmark.
type proven interface {
	print(w io.Writer) error
	proved() error // nil if every record was where it should be
}

// measured runs a benchmark, and answers with what it measured.
func measured[R proven](c *cli.Context, a *app, b *benchmark, run func(context.Context) (R, error)) error {
	if err := b.checkWith(c.String("memory")); err != nil {
		return usage(err)
	}
	ctx, cancel := context.WithTimeout(c.Context, benchLimit)
	defer cancel()
	stop := newStopper(ctx, a.takeSignals(), time.Second)
	defer stop.done()
	if len(b.brokers) > 0 {
		if err := b.topics().Reach(stop.drain); err != nil {
			return startError{bridge.WithHint(fmt.Errorf("connect to the Kafka at %s: %w", strings.Join(b.brokers, ","), bridge.ErrUnreachable),
				"check the addresses of --kafka; without it the program brings its own")}
		}
	}
	res, err := run(stop.drain)
	if cause := context.Cause(stop.drain); cause != nil && err != nil {
		return cause
	}
	if err != nil {
		return err
	}
	a.answer = &answer{result: res, text: res.print}
	if err := res.proved(); err != nil {
		return classed{err, errInconsistent}
	}
	return nil
}

// benchLimit ends a benchmark that hangs.
const benchLimit = time.Hour

// checkWith takes a byte budget and says what of a benchmark makes no sense.
func (b *benchmark) checkWith(memory string) error {
	if err := b.check(); err != nil {
		return err
	}
	return b.memory.set(memory)
}

func (b *benchmark) check() error {
	switch {
	case b.direction != kinesisToKafka && b.direction != kafkaToKinesis:
		return fmt.Errorf("--direction %q is not %s or %s", b.direction, kinesisToKafka, kafkaToKinesis)
	case !slices.Contains([]string{"raw", "kpl", "envelope"}, b.format):
		return fmt.Errorf("--format %q is not raw, kpl or envelope", b.format)
	case b.format != "raw" && b.toKafka():
		return fmt.Errorf("--format %s is for --direction %s", b.format, kafkaToKinesis)
	}
	if _, err := os.Stat(filepath.Dir(b.profile)); err != nil {
		return fmt.Errorf("--cpu-profile %s: its folder cannot be used: %w", b.profile, err)
	}
	for _, name := range b.clients {
		if !slices.Contains(benchClients, name) {
			return fmt.Errorf("--client %q is not %s", name, orList(benchClients))
		}
	}
	return b.Check()
}

// A benchResult is what bench mirror prints.
type benchResult struct {
	Direction string `json:"direction"`
	Format    string `json:"format"`
	bench.Load
	Ratio       float64       `json:"ratio"` // of mirror to ceiling
	CPU         float64       `json:"cpu_s_per_million"`
	CeilingCPU  float64       `json:"ceiling_cpu_s_per_million"`
	StockCPU    float64       `json:"stock_cpu_s_per_million"`
	PeakRSS     float64       `json:"peak_rss_mib"`
	StockRatio  float64       `json:"stock_ratio"` // of stock to ceiling
	Clients     []benchClient `json:"clients"`
	Unanswered  int           `json:"unacknowledged_per_key"` // of the mirror; 0 towards Kafka
	KafkaServer string        `json:"kafka"`
}

// A benchClient is one client that was measured.
type benchClient struct {
	Name            string        `json:"name"`
	CPU             float64       `json:"cpu_s_per_million"`
	PeakRSS         float64       `json:"peak_rss_mib"`
	Seconds         float64       `json:"seconds"`
	RecordsPerCall  float64       `json:"records_per_call"`       // of Kinesis
	RecordsPerBatch float64       `json:"records_per_batch"`      // of Kafka; 0 if that was not the client's doing
	Unanswered      int           `json:"unacknowledged_per_key"` // most Kinesis records of one key at one time; 0 towards Kafka
	Arrived         bench.Verdict `json:"arrived"`
}

// proved is nil if every client brought everything.
func (r *benchResult) proved() error {
	var all error
	for _, c := range r.Clients {
		if err := c.Arrived.Err(); err != nil {
			all = errors.Join(all, fmt.Errorf("%s: %w", c.Name, err))
		}
	}
	if r.Unanswered > 1 {
		all = errors.Join(all, fmt.Errorf("%s: %d records of one key were on their way to Kinesis at one time, so that their order hung on luck", roleMirror, r.Unanswered))
	}
	return all
}

func (r *benchResult) add(c benchClient) {
	r.Clients = append(r.Clients, c)
	switch c.Name {
	case roleMirror:
		r.CPU, r.PeakRSS, r.Unanswered = c.CPU, c.PeakRSS, c.Unanswered
	case "ceiling":
		r.CeilingCPU = c.CPU
	case "stock":
		r.StockCPU = c.CPU
	}
	if r.CeilingCPU > 0 {
		r.Ratio, r.StockRatio = rounded(r.CPU/r.CeilingCPU), rounded(r.StockCPU/r.CeilingCPU)
	}
}

func rounded(f float64) float64 { return float64(int64(f*1000+0.5)) / 1000 }

func (r *benchResult) print(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s: %s records of %d bytes, %d shards, %d partitions, %s keys, %s\n",
		r.Direction, r.Format, grouped(int64(r.Records)), r.Size, r.Shards, r.Partitions, grouped(int64(r.Keys)), r.KafkaServer)
	fmt.Fprintf(&b, "%-10s %14s %12s %10s %10s %10s %12s  %s\n", "client", "CPU-s/million", "peak RSS MiB", "seconds", "rec/call", "rec/batch", "unacked/key", "arrived")
	for _, c := range r.Clients {
		arrived := "all, once, in order"
		if err := c.Arrived.Err(); err != nil {
			arrived = err.Error()
		}
		fmt.Fprintf(&b, "%-10s %14.2f %12.1f %10.1f %10.1f %10.1f %12d  %s\n", c.Name, c.CPU, c.PeakRSS, c.Seconds, c.RecordsPerCall, c.RecordsPerBatch, c.Unanswered, arrived)
	}
	if r.Ratio > 0 {
		fmt.Fprintf(&b, "mirror / ceiling %.2f", r.Ratio)
	}
	if r.StockRatio > 0 {
		fmt.Fprintf(&b, ", stock / ceiling %.2f", r.StockRatio)
	}
	_, err := fmt.Fprintln(w, strings.TrimSuffix(b.String(), "\n"))
	return err
}
