package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/urfave/cli/v2"

	"github.com/kinesis-msk-bridge/bridge/internal/flights"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
)

const (
	demoStream = "flights"
	demoTopic  = "flights"
	demoBack   = "flights-back"
	demoRate   = 2500 // records that the producer puts in a second
	demoLimit  = 2 * time.Minute
)

func (a *app) demoCommand() *cli.Command {
	c := command(cli.Command{
		Name:  "demo",
		Usage: "mirror real records there and back, in this process, and compare",
		Description: `Starts a Kinesis and a Kafka in this process, lets a producer write the flights of January
2013 (27,004 records, key = the aircraft's tail number), and mirrors them Kinesis → Kafka →
Kinesis while it writes and while shards are split and merged. Then reads all three with
code that shares nothing with the mirror and compares them record by record. At the end
bridge verify does the same in its own way, and the report of it is kept.

Examples:
   bridge demo
   bridge demo --faults --seed 7
   bridge demo --records 5000 --output json`,
		Flags: []cli.Flag{
			&cli.Uint64Flag{Name: "seed", Value: 1, Usage: "of everything that is left to chance"},
			&cli.IntFlag{Name: "records", Value: 27_004, Usage: "how many flights, from the beginning of January"},
			&cli.BoolFlag{Name: "faults", Usage: "throttle, fail and cut calls of both streams"},
		},
	}, a.demo)
	return c
}

func (a *app) demo(c *cli.Context) error {
	d := &demo{
		n: c.Int("records"), seed: c.Uint64("seed"), faults: c.Bool("faults"), talk: a.stderr,
		live: isTerminal(a.stderr) && !a.json, began: time.Now(),
	}
	if d.n < 1 || d.n > 27_004 {
		return usage(fmt.Errorf("--records %d: January has 1 to 27,004", d.n))
	}
	ctx, cancel := context.WithTimeout(c.Context, demoLimit)
	defer cancel()
	stop := newStopper(ctx, a.takeSignals(), time.Second)
	defer stop.done()
	err := d.run(stop.drain)
	if cause := context.Cause(stop.drain); cause != nil && err != nil {
		return cause
	}
	if err != nil {
		return err
	}
	a.answer = &answer{result: d.result(), text: d.print}
	if !d.result().Consistent {
		return classed{errors.New("the streams differ"), errInconsistent}
	}
	return nil
}

// A demo is one run.
type demo struct {
	n      int
	seed   uint64
	faults bool
	talk   io.Writer
	live   bool
	began  time.Time
	took   time.Duration

	kinesis *kinesistest.Server
	kafka   *kfake.Cluster
	dir     string
	rows    []flights.Row

	put      atomic.Int64 // by the producer
	reshards []string
	forward  *mirrorRun
	back     *mirrorRun
	there    comparison // stream → topic
	again    comparison // stream → second stream
	signed   struct{ there, again demoReport }
}

func (d *demo) run(ctx context.Context) error {
	if err := d.start(); err != nil {
		return err
	}
	defer d.stop()
	if err := d.readRows(); err != nil {
		return err
	}
	if err := d.mirror(ctx); err != nil {
		return err
	}
	d.took = time.Since(d.began)
	if err := d.compare(ctx); err != nil {
		return err
	}
	return d.report(ctx)
}

// start brings up both services and writes the two configurations that a user would.
func (d *demo) start() (err error) {
	// No real account is touched, whatever the environment says.
	for k, v := range map[string]string{"AWS_ACCESS_KEY_ID": "demo", "AWS_SECRET_ACCESS_KEY": "demo", "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "", "AWS_EC2_METADATA_DISABLED": "true"} {
		if err := os.Setenv(k, v); err != nil {
			return err
		}
	}
	if d.dir, err = os.MkdirTemp("", "bridge-demo-"); err != nil {
		return err
	}
	if d.kinesis, err = kinesistest.Start(kinesistest.Config{}); err != nil {
		return err
	}
	if _, err = d.kinesis.CreateStream(demoStream, 4); err != nil {
		return err
	}
	if d.kafka, err = kfake.NewCluster(kfake.NumBrokers(3)); err != nil {
		return err
	}
	if d.faults {
		d.kinesis.SetFault(d.fault())
	}
	if d.forward, err = d.configure("demo-there", kinesisToKafka, demoStream, ""); err != nil {
		return err
	}
	d.back, err = d.configure("demo-back", kafkaToKinesis, demoBack, `
accept_loss: [timestamp]
put_timeout: 1s`)
	return err
}

func (d *demo) stop() {
	if d.kafka != nil {
		d.kafka.Close()
	}
	if d.kinesis != nil {
		_ = d.kinesis.Close()
	}
	_ = os.RemoveAll(d.dir)
}

func (d *demo) configure(workflow, direction, stream, more string) (*mirrorRun, error) {
	file := filepath.Join(d.dir, workflow+".yaml")
	text := fmt.Sprintf(`workflow: %s
direction: %s
kinesis: {stream: %s, region: us-east-1, endpoint_url: "%s", format: raw, create: {mode: provisioned, shards: 6}}
kafka: {brokers: ["%s"], topic: %s, partitions: 12, replication_factor: 1}
checkpoint_interval: 1s
state: file:%s%s
`, workflow, direction, stream, d.kinesis.URL(), strings.Join(d.kafka.ListenAddrs(), `","`), demoTopic, filepath.Join(d.dir, "state"), more)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	l, err := load(file, func(string) (string, bool) { return "", false }, nil)
	if err != nil {
		return nil, err
	}
	s := settings{Config: l, Run: runOptions{}, Log: slog.New(slog.DiscardHandler)}
	return newMirrorRun(s), nil
}

// fault makes one call in twenty go wrong, in the ways that the service does.
func (d *demo) fault() kinesistest.FaultFunc {
	var mu sync.Mutex
	rng := rand.New(rand.NewPCG(d.seed, 1))
	return func(c kinesistest.Call) kinesistest.Fault {
		mu.Lock()
		defer mu.Unlock()
		if rng.IntN(20) > 0 || c.Op != "GetRecords" && c.Op != "PutRecords" {
			return kinesistest.Fault{}
		}
		switch rng.IntN(6) {
		case 0:
			return kinesistest.Fault{Error: kinesistest.Throttled()}
		case 1:
			return kinesistest.Fault{Error: kinesistest.InternalFailure()}
		case 2:
			return kinesistest.Fault{Cut: true}
		case 3:
			return kinesistest.Fault{LateCut: true} // stored, and nobody is told
		default:
			refused := map[int]string{}
			for range 1 + len(c.Entries)/10 {
				refused[rng.IntN(max(len(c.Entries), 1))] = ""
			}
			return kinesistest.Fault{FailEntries: refused}
		}
	}
}

func (d *demo) readRows() error {
	for r, err := range flights.January() {
		if err != nil {
			return err
		}
		if len(d.rows) == d.n {
			break
		}
		d.rows = append(d.rows, r)
	}
	return nil
}

// mirror runs producer, both mirrors and the reshards until everything is back.
func (d *demo) mirror(ctx context.Context) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var running sync.WaitGroup
	finish := make(chan struct{})
	begin := func(r *mirrorRun) {
		running.Go(func() {
			if err := d.keep(ctx, r, finish); err != nil {
				fail(fmt.Errorf("mirror %s: %w", r.Config.Workflow, err))
			}
		})
	}
	begin(d.forward)
	// The way back begins once there is a topic to read.
	err := d.await(ctx, func() bool { return d.kafka.TopicInfo(demoTopic) != nil })
	if err == nil {
		begin(d.back)
		running.Go(func() {
			if err := d.produce(ctx); err != nil {
				fail(err)
			}
		})
		err = d.await(ctx, func() bool { return d.returned() >= int64(d.n) })
	}
	close(finish)
	running.Wait()
	if cause := context.Cause(ctx); err == nil && cause != nil {
		err = cause
	}
	return err
}

// keep runs one mirror as the command does, until finish asks it to drain.
func (d *demo) keep(ctx context.Context, r *mirrorRun, finish <-chan struct{}) error {
	signals := make(chan os.Signal, 1)
	stop := newStopper(ctx, signals, 20*time.Second)
	defer stop.done()
	ended := make(chan error, 1)
	go func() { ended <- r.run(stop, realAdapters()) }()
	select {
	case err := <-ended:
		return fmt.Errorf("ended too early: %w", err)
	case <-finish:
		signals <- os.Interrupt
	}
	var asked interrupted
	if err := <-ended; err != nil && !errors.As(err, &asked) {
		return err
	}
	return nil
}

// await looks ten times a second, and shows on a terminal how far everything is.
func (d *demo) await(ctx context.Context, reached func() bool) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !reached() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("after %s: %w", time.Since(d.began).Round(time.Second), context.Cause(ctx))
		case <-tick.C:
			d.show()
		}
	}
	return nil
}

func (d *demo) show() {
	if d.live {
		fmt.Fprintf(d.talk, "\r\x1b[K%6s put  %6s in Kafka  %6s back in Kinesis", grouped(d.put.Load()), grouped(d.carried()), grouped(d.returned()))
	}
}

// carried is how many records the topic holds, markers included.
func (d *demo) carried() (n int64) {
	for _, p := range d.kafka.PartitionInfos(demoTopic) {
		n += p.HighWatermark - p.LogStartOffset
	}
	return n
}

// returned is how many records the second stream holds.
func (d *demo) returned() (n int64) {
	if s := d.kinesis.Stream(demoBack); s != nil {
		for _, shard := range s.Shards() {
			n += int64(shard.Records)
		}
	}
	return n
}

// produce puts the flights in their order, and has shards split and merged on the way.
func (d *demo) produce(ctx context.Context) error {
	reshard := map[int]func() error{
		d.n * 1 / 5: func() error { return d.split(demoStream) },
		d.n * 2 / 5: func() error { return d.merge(demoStream) },
		d.n * 3 / 5: func() error {
			// The mirror back makes its stream when it starts, which a slow machine may not
			// have come to.
			if err := d.await(ctx, func() bool { return d.kinesis.Stream(demoBack) != nil }); err != nil {
				return err
			}
			return d.split(demoBack)
		},
		d.n * 4 / 5: func() error { return d.merge(demoBack) },
	}
	out := d.kinesis.Stream(demoStream)
	tick := time.NewTicker(time.Second / 50)
	defer tick.Stop()
	for i := 0; i < len(d.rows); {
		select {
		case <-ctx.Done():
			return nil // whoever ended it says why
		case <-tick.C:
		}
		for end := min(i+demoRate/50, len(d.rows)); i < end; i++ {
			if do := reshard[i]; do != nil {
				if err := do(); err != nil {
					return err
				}
			}
			if err := out.Put(kinesistest.Entry{Key: d.rows[i].Tail, Data: d.rows[i].Value}); err != nil {
				return fmt.Errorf("the producer: %w", err)
			}
			d.put.Add(1)
		}
	}
	return nil
}

func (d *demo) open(stream string) (*kinesistest.Stream, []kinesistest.ShardInfo) {
	s := d.kinesis.Stream(stream)
	if s == nil {
		return nil, nil
	}
	return s, slices.DeleteFunc(s.Shards(), func(i kinesistest.ShardInfo) bool { return i.Closed || i.Expired })
}

func (d *demo) split(stream string) error {
	s, open := d.open(stream)
	if len(open) == 0 {
		return nil
	}
	_, _, err := s.Split(open[0].ID, "")
	d.note(fmt.Sprintf("%s: a shard was split after %s records", stream, grouped(d.put.Load())), err)
	return err
}

func (d *demo) merge(stream string) error {
	s, open := d.open(stream)
	for i := range open {
		for j := range open {
			if _, err := s.Merge(open[i].ID, open[j].ID); i != j && err == nil {
				d.note(fmt.Sprintf("%s: two shards were merged after %s records", stream, grouped(d.put.Load())), nil)
				return nil
			}
		}
	}
	return nil
}

func (d *demo) note(what string, err error) {
	if err == nil {
		d.reshards = append(d.reshards, what)
	}
}
