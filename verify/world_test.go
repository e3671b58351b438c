package verify_test

import (
	"context"
	"crypto/md5"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/keymap"
	"github.com/kinesis-msk-bridge/bridge/mirror"
	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
	"github.com/kinesis-msk-bridge/bridge/verify"
)

// runs is how many rounds a test takes: n, or what RUNS says in percent of full.
func runs(n, full int) int {
	if p, err := strconv.Atoi(os.Getenv("RUNS")); err == nil {
		return max(n, full*p/100)
	}
	return n
}

// byHash places a key on one of n partitions; 0 leaves it to the target.
type byHash int

func (n byHash) Name() string { return fmt.Sprintf("test(%d)", int(n)) }
func (n byHash) Route(r *bridge.Record) (keymap.Route, error) {
	if n == 0 {
		return keymap.Route{Key: r.Key}, nil
	}
	h := md5.Sum(r.Key)
	return keymap.Route{Key: r.Key, Partition: strconv.Itoa(int(binary.BigEndian.Uint32(h[4:]) % uint32(n)))}, nil
}

var workflowKey = bridge.WorkflowKey{1, 2, 3}

// windowRecords is how many records a window of the tests holds.
const windowRecords = 12

// A world is a source, and what a mirror made of it through faults and reshards.
type world struct {
	t        *testing.T
	seed     uint64
	rng      *rand.Rand
	from, to memstream.Flavour
	src, dst *memstream.Stream
	cps      *memstream.Checkpoints
	keys     keymap.Strategy
	source   bridge.Identity
	puts     int
	late     func(dst *memstream.Stream) // writes what a copier kept back
}

func newWorld(t *testing.T, seed uint64, from, to memstream.Flavour) *world {
	w := &world{t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 1)), from: from, to: to, cps: memstream.NewCheckpoints(nil)}
	w.src = memstream.New(memstream.Config{Flavour: from, Name: "source", Partitions: 2 + w.rng.IntN(3), Seed: seed, Retention: 1000 * time.Hour})
	w.dst = memstream.New(memstream.Config{Flavour: to, Name: "target", Partitions: 2 + w.rng.IntN(4), Seed: seed + 1, Retention: 1000 * time.Hour})
	if to == memstream.Kafka {
		w.keys = byHash(len(w.partitions(w.dst)))
	} else {
		w.keys = byHash(0)
	}
	w.source, _ = w.src.Identity(t.Context())
	return w
}

func (w *world) partitions(s *memstream.Stream) []bridge.Partition {
	for {
		parts, err := s.Partitions(w.t.Context())
		if err == nil {
			return parts
		}
		if !bridge.Retryable(err) {
			w.t.Fatalf("seed %d: list: %v", w.seed, err)
		}
	}
}

// value is of 0 to 40 bytes, now and then nil where that exists.
func (w *world) value() []byte {
	if w.from == memstream.Kafka && w.to == memstream.Kafka && w.rng.IntN(10) == 0 {
		return nil
	}
	return fmt.Appendf(nil, "%d %x", w.puts, make([]byte, w.rng.IntN(15)))
}

// put appends one record of a key to the source.
func (w *world) put(rec bridge.Record) bridge.Ack {
	w.puts++
	if w.from == memstream.Kafka {
		route, _ := byHash(len(w.partitions(w.src))).Route(&rec)
		rec.Partition = route.Partition
	}
	for {
		acks, err := w.src.Put(w.t.Context(), rec)
		if err == nil && acks[0].Err == nil {
			return acks[0]
		}
		if err != nil && !bridge.Retryable(err) {
			w.t.Fatalf("seed %d: put: %v", w.seed, err)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// produce puts n records over so many keys; pairs of equal ones are among them.
func (w *world) produce(n, keys int) {
	for range n {
		rec := bridge.Record{Key: fmt.Appendf(nil, "key-%d", w.rng.IntN(keys)), Value: w.value(), Time: time.Now().Truncate(time.Millisecond)}
		if w.from == memstream.Kafka && w.rng.IntN(3) == 0 {
			rec.Headers = []bridge.Header{{Key: "h", Value: fmt.Append(nil, w.rng.IntN(9))}, {Key: "h", Value: nil}}
		}
		w.put(rec)
		if w.rng.IntN(4) == 0 {
			w.put(rec)
			if w.from == memstream.Kinesis {
				continue // within the same millisecond: an equal record
			}
		}
		<-time.After(time.Duration(w.rng.IntN(100)) * time.Millisecond)
	}
}

// reshard splits the first open shard or merges the first two.
func (w *world) reshard(s *memstream.Stream) {
	var open []bridge.Partition
	for _, p := range w.partitions(s) {
		if !p.Closed && p.FirstHash != "" {
			open = append(open, p)
		}
	}
	if len(open) == 0 {
		return
	}
	p := open[w.rng.IntN(len(open))]
	if w.rng.IntN(2) == 0 {
		_, _, err := s.Split(p.ID)
		if err != nil {
			w.t.Fatal(err)
		}
		return
	}
	for _, q := range open {
		if _, err := s.Merge(p.ID, q.ID); err == nil {
			return
		}
	}
}

func (w *world) mirror() *mirror.Mirror {
	return &mirror.Mirror{
		Source: w.src.Source("wf"), Keys: w.keys, Checkpoints: w.cps.Open(),
		Sink:     w.dst.Sink(memstream.SinkConfig{Workflow: "wf", PutTimeout: 2 * time.Second}),
		Interval: 3 * time.Second, Discover: 5 * time.Second,
	}
}

// catchUp mirrors everything.
func (w *world) catchUp() {
	w.t.Helper()
	m := w.mirror()
	m.UntilCaughtUp = true
	ctx, cancel := context.WithTimeout(w.t.Context(), 24*time.Hour)
	defer cancel()
	if err := m.Run(ctx); err != nil {
		w.t.Fatalf("seed %d: mirror: %v", w.seed, err)
	}
}

// acknowledged is what the mirror's checkpoints say.
func (w *world) acknowledged(context.Context) (map[string]bridge.Row, error) {
	rows := map[string]bridge.Row{}
	for _, cp := range w.cps.History() {
		for _, row := range cp.Rows {
			rows[row.Partition] = row
		}
	}
	return rows, nil
}

// verifier compares the source with a target.
func (w *world) verifier(target *memstream.Stream) *verify.Verifier {
	v := &verify.Verifier{
		Workflow: "wf", ID: "run", Source: w.src.Source("wf"), Target: target.Source("wf"), Keys: w.keys, Key: workflowKey,
		Acknowledged: w.acknowledged, WindowRecords: windowRecords, MaxSamples: 1 << 20, Window: 1000 * time.Hour,
	}
	if w.to == memstream.Kafka {
		v.Keeps = verify.Keeps{Time: true, Headers: true, Nulls: true}
	}
	return v
}

func (w *world) run(v *verify.Verifier) *verify.Result {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 24*time.Hour)
	defer cancel()
	res, err := v.Run(ctx)
	if err != nil {
		w.t.Fatalf("seed %d: verify: %v", w.seed, err)
	}
	return res
}
