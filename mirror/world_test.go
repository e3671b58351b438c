package mirror_test

import (
	"context"
	"crypto/md5"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/keymap"
	"github.com/kinesis-msk-bridge/bridge/mirror"
	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
)

// runs is how many seeds a property test takes: n, or what RUNS says in percent of full.
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

// A world is one source, one target, and what was produced.
type world struct {
	t      *testing.T
	seed   uint64
	rng    *rand.Rand
	src    *memstream.Stream
	dst    *memstream.Stream
	cps    *memstream.Checkpoints
	keys   keymap.Strategy
	worker int
	// heartbeat of the mirrors; theirs if zero
	heartbeat time.Duration
	grave     *grave // nil: every record can be carried

	mu       sync.Mutex
	produced map[string][]int // row numbers of each key, in order
	rows     int
}

func newWorld(t *testing.T, seed uint64, from, to memstream.Flavour) *world {
	w := &world{t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 1)), produced: map[string][]int{}}
	w.src = memstream.New(memstream.Config{Flavour: from, Name: "source", Partitions: 1 + w.rng.IntN(4), Seed: seed})
	w.dst = memstream.New(memstream.Config{Flavour: to, Name: "target", Partitions: 1 + w.rng.IntN(5), Seed: seed + 1})
	w.dst.SetFaults(slow(seed))
	w.cps = memstream.NewCheckpoints(nil)
	w.keys = byHash(0)
	if to == memstream.Kafka {
		w.keys = byHash(len(w.partitions(w.dst)))
	}
	return w
}

// slow adds to the usual faults that one write in ten takes up to 1.3 seconds, which is
// below the time that a put may take.
func slow(seed uint64) func(memstream.Op) memstream.Fault {
	rough := memstream.Rough(seed)
	return func(op memstream.Op) memstream.Fault {
		f := rough(op)
		h := md5.Sum(fmt.Append(nil, seed, op.Kind, op.Partition, op.N))
		if h[0] < 26 && (op.Kind == memstream.OpAppend || op.Kind == memstream.OpPut) {
			f.Delay = time.Duration(h[1]) * 5 * time.Millisecond
		}
		return f
	}
}

// partitions lists, whatever goes wrong meanwhile.
func (w *world) partitions(s *memstream.Stream) []bridge.Partition {
	for {
		parts, err := s.Partitions(w.t.Context())
		if err == nil {
			return parts
		}
		if !bridge.Retryable(err) {
			w.t.Errorf("seed %d: list: %v", w.seed, err)
			return nil
		}
	}
}

// produce puts n records over so many keys, each key's in order, waiting for each.
func (w *world) produce(ctx context.Context, n, keys int) {
	rng := rand.New(rand.NewPCG(w.seed, 2))
	parts := 0
	if _, ok := w.src.Source("").(bridge.Ender); ok {
		parts = len(w.partitions(w.src))
	}
	for range n {
		w.put(ctx, fmt.Sprintf("key-%d", rng.IntN(keys)), parts)
		if rng.IntN(10) == 0 {
			wait(ctx, time.Duration(rng.IntN(2000))*time.Millisecond)
		}
	}
}

func (w *world) put(ctx context.Context, key string, parts int) {
	w.mu.Lock()
	row := w.rows
	w.rows++
	w.mu.Unlock()
	rec := bridge.Record{Key: []byte(key), Value: w.grave.value(row)}
	if route, _ := byHash(parts).Route(&rec); parts > 0 {
		rec.Partition = route.Partition
	}
	for {
		acks, err := w.src.Put(ctx, rec)
		if err == nil && acks[0].Err == nil {
			break
		}
		if ctx.Err() != nil || err != nil && !bridge.Retryable(err) {
			w.t.Errorf("seed %d: produce: %v", w.seed, err)
			return
		}
		wait(ctx, 100*time.Millisecond)
	}
	if w.grave.fate(row) != carried {
		return
	}
	w.mu.Lock()
	w.produced[key] = append(w.produced[key], row)
	w.mu.Unlock()
}

// others write to the target until they are told to stop.
func (w *world) others(ctx context.Context, rng *rand.Rand, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-time.After(time.Duration(rng.IntN(1000)) * time.Millisecond):
		}
		parts := w.partitions(w.dst)
		_, err := w.dst.Put(ctx, bridge.Record{Key: []byte("native"), Value: []byte("native"), Partition: parts[rng.IntN(len(parts))].ID})
		if err != nil && !bridge.Retryable(err) && ctx.Err() == nil {
			w.t.Errorf("seed %d: somebody else's record: %v", w.seed, err)
		}
	}
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// open makes the mirror of a new worker, which fences the older ones.
func (w *world) open() *mirror.Mirror {
	w.worker++
	return w.grave.into(&mirror.Mirror{
		Source:      w.src.Source("wf"),
		Sink:        w.dst.Sink(memstream.SinkConfig{Workflow: "wf", Worker: fmt.Sprint("worker-", w.worker), PutTimeout: 2 * time.Second}),
		Checkpoints: w.cps.Open(),
		Keys:        w.keys,
		Interval:    3 * time.Second,
		Heartbeat:   w.heartbeat,
		Discover:    5 * time.Second,
	})
}

// catchUp runs a new worker until everything is on the target.
func (w *world) catchUp(ctx context.Context) {
	w.t.Helper()
	m := w.open()
	m.UntilCaughtUp = true
	if err := w.end(ctx, m); err != nil {
		w.t.Fatalf("seed %d: catch up: %v", w.seed, err)
	}
}

// end runs a mirror that is expected to end by itself, and gives it a day for that.
func (w *world) end(ctx context.Context, m *mirror.Mirror) error {
	ctx, cancel := context.WithTimeout(ctx, 24*time.Hour)
	defer cancel()
	return m.Run(ctx)
}

// A verdict counts what is wrong with a target.
type verdict struct{ records, lost, duplicated, reordered, invented int }

func (v verdict) clean() bool {
	return v.lost == 0 && v.duplicated == 0 && v.reordered == 0 && v.invented == 0
}

// judge compares the target with what was produced, sharing nothing with the engine. The
// order of a key is that of arrival on the target, whichever partition it is in.
func (w *world) judge() verdict {
	var v verdict
	got := map[string][]int{}
	for _, s := range w.dst.Everything() {
		if s.Native {
			continue
		}
		row, err := rowOf(s.Record.Value)
		if err != nil {
			v.invented++
			continue
		}
		got[string(s.Record.Key)] = append(got[string(s.Record.Key)], row)
		v.records++
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for key, rows := range w.produced {
		seen, last := map[int]bool{}, -1
		for _, row := range got[key] {
			if seen[row] {
				v.duplicated++
				continue
			}
			if row < last {
				v.reordered++
			}
			seen[row], last = true, row
		}
		for _, row := range rows {
			if !seen[row] {
				v.lost++
			}
			delete(seen, row)
		}
		v.invented += len(seen)
	}
	return v
}

// expectClean fails the test unless the target is what the source was.
func (w *world) expectClean(v verdict) {
	w.t.Helper()
	if !v.clean() {
		w.t.Fatalf("seed %d: %+v", w.seed, v)
	}
	w.expectBalanced()
}

// expectBalanced holds the arithmetic of every checkpoint, and that none went back.
func (w *world) expectBalanced() {
	w.t.Helper()
	at := map[string]bridge.Position{}
	for i, cp := range w.cps.History() {
		if !cp.Counts.Balanced() {
			w.t.Fatalf("seed %d: checkpoint %d does not add up: %+v", w.seed, i, cp.Counts)
		}
		for _, row := range cp.Rows {
			if at[row.Partition].After(row.Position) {
				w.t.Fatalf("seed %d: checkpoint %d of %s went back from %s to %s", w.seed, i, row.Partition, at[row.Partition], row.Position)
			}
			at[row.Partition] = row.Position
		}
	}
}

// final is the last checkpoint.
func (w *world) final() bridge.Checkpoint {
	h := w.cps.History()
	if len(h) == 0 {
		return bridge.Checkpoint{}
	}
	return h[len(h)-1]
}

func ended(err error) bool {
	return err == nil || errors.Is(err, context.Canceled) || errors.Is(err, bridge.ErrFenced)
}
