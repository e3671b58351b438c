// Package metrics shows a running mirror to Prometheus and to probes. An [Exporter] takes
// the hooks of a mirror and what the mirror says of itself, and [Listen] serves it on this
// machine only:
//
//	e := metrics.New(metrics.Config{Direction: "kinesis-to-kafka", Stream: "orders", Topic: "orders"})
//	m.Hooks = e.Hooks()
//	e.Follow(m.Progress)
//
// Names begin with bridge_ and are in base units. Labels name ends and partitions, and
// never a key, a value, a sequence number or the text of an error. The partition label is
// a source partition: a shard, or the number of a Kafka partition.
package metrics

import (
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/mirror"
)

// A Config says what is exported. All fields may be zero.
type Config struct {
	Direction, Stream, Topic string
	// Gate is the mirror's, for what it holds back.
	Gate *mirror.Gate
	// Version of the program.
	Version string
}

// An Exporter is a prometheus.Collector. It is safe for concurrent use.
type Exporter struct {
	config Config
	descs  descs

	mu         sync.Mutex
	follow     func() mirror.Progress
	retention  time.Duration
	checkpoint time.Time // of the last one, zero if there was none
	bytes      int64
	retries    map[string]int64 // by operation
	letters    map[string]int64 // dead ones, by class
	throttled  time.Duration
	lag        histogram
	troubles   map[string]Trouble // by partition
}

// A Trouble is what a partition's flow tries again.
type Trouble struct {
	// Op is "open", "read", "write", "dead letter" or "checkpoint".
	Op string `json:"op"`
	// Class is one word for the error: throttled, unreachable, transient or other.
	Class string `json:"class"`
	// Since is when it began; it is over once a page is done.
	Since time.Time `json:"since"`
	// Last is when it failed last.
	Last  time.Time `json:"last"`
	Tries int64     `json:"tries"`
	// Err is what it failed with last.
	Err error `json:"-"`
}

// Checkpoints is the key of Troubles under which the checkpoint stands, which is of no one
// partition.
const Checkpoints = ""

// New returns an Exporter.
func New(c Config) *Exporter {
	return &Exporter{
		config: c, descs: newDescs(c), retries: map[string]int64{}, letters: map[string]int64{}, troubles: map[string]Trouble{},
		lag: newHistogram(lagBounds),
	}
}

// Follow says who is asked for progress at each scrape; nothing has moved before.
func (e *Exporter) Follow(progress func() mirror.Progress) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.follow = progress
}

func (e *Exporter) progress() mirror.Progress {
	e.mu.Lock()
	follow := e.follow
	e.mu.Unlock()
	if follow == nil {
		return mirror.Progress{}
	}
	return follow()
}

// KeepsFor says for how long the source keeps records; zero says that it is not known.
func (e *Exporter) KeepsFor(d time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.retention = d
}

// Hooks are those that the mirror must call.
func (e *Exporter) Hooks() mirror.Hooks {
	return mirror.Hooks{Checkpoint: e.saved, Retry: e.retry, Carried: e.carried, Ended: e.ended, DeadLettered: e.buried}
}

func (e *Exporter) saved(cp bridge.Checkpoint) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.checkpoint = cp.At
	delete(e.troubles, Checkpoints)
}

func (e *Exporter) retry(op, partition string, err error, wait time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.retries[op]++
	if errors.Is(err, bridge.ErrThrottled) {
		e.throttled += wait
	}
	if partition == "" && op != "checkpoint" {
		return
	}
	t := e.troubles[partition]
	t.Last = time.Now()
	if t.Since.IsZero() {
		t.Since = t.Last
	}
	t.Op, t.Class, t.Err = op, class(err), err
	t.Tries++
	e.troubles[partition] = t
}

// class is a word for an error, from a closed list.
func class(err error) string {
	for _, c := range []struct {
		class error
		name  string
	}{{bridge.ErrThrottled, "throttled"}, {bridge.ErrUnreachable, "unreachable"}, {bridge.ErrTransient, "transient"}} {
		if errors.Is(err, c.class) {
			return c.name
		}
	}
	return "other"
}

func (e *Exporter) carried(c mirror.Carried) {
	now := time.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.troubles, c.Partition)
	if c.Records == 0 {
		return
	}
	e.bytes += c.Bytes
	e.lag.spread(c.Records, now.Sub(c.Newest).Seconds(), now.Sub(c.Oldest).Seconds())
}

func (e *Exporter) buried(l bridge.DeadLetter) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.letters[l.Class]++
}

func (e *Exporter) ended(partition string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.troubles, partition)
}

// Troubles are the partitions that are trying again, by name, and the checkpoint if it is.
// While the intake is paused no read is tried again: a read that failed before is no trouble
// then, and one that fails after the pause begins a new one.
func (e *Exporter) Troubles() map[string]Trouble {
	paused := e.limits().Paused
	e.mu.Lock()
	defer e.mu.Unlock()
	if paused {
		maps.DeleteFunc(e.troubles, func(_ string, t Trouble) bool { return t.Op == "read" })
	}
	return maps.Clone(e.troubles)
}

// Describe implements prometheus.Collector.
func (e *Exporter) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range e.descs.all() {
		ch <- d
	}
}
