package mirror_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/keymap"
	"github.com/kinesis-msk-bridge/bridge/mirror"
	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
)

// However large pages are, and however many of them are under way at once, at most 1,000
// records of a target partition stand between two entries of its index, also across a
// restart; and each entry names the very last record of each source partition that stands
// there or below.
func TestIndexIsDense(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const records, shards, partitions, most = 24_000, 12, 8, 1000
		w := newWorld(t, 7, memstream.Kinesis, memstream.Kafka)
		w.src = memstream.New(memstream.Config{Flavour: memstream.Kinesis, Name: "source", Partitions: shards, Page: 10_000, Calm: true})
		w.dst = memstream.New(memstream.Config{Flavour: memstream.Kafka, Name: "target", Partitions: partitions, Calm: true})
		w.dst.SetFaults(func(op memstream.Op) memstream.Fault {
			var f memstream.Fault
			if op.Kind == memstream.OpAppend && op.N%3 == 0 {
				f.Delay = time.Duration(op.N%5) * 100 * time.Millisecond
			}
			return f
		})
		w.keys = byHash(partitions)
		for half := range 2 {
			for i := range records / 2 {
				w.put(t.Context(), fmt.Sprint("key-", i%997), 0)
			}
			w.catchUp(t.Context())
			entries, widest, loose := w.indexed()
			t.Logf("%d records: %d entries, at most %d records between two", (half+1)*records/2, entries, widest)
			if widest > most || entries < records*(half+1)/2/most {
				t.Errorf("%d entries, %d records between two", entries, widest)
			}
			if half == 0 && loose > 0 {
				t.Errorf("%d entries claim more than what stands below them", loose)
			}
		}
	})
}

// indexed compares the index with the target: how many entries there are, how many records
// stand between two at most, and how many entries claim more than there is. One that claims
// too little ends the test.
func (w *world) indexed() (entries, widest, loose int) {
	w.t.Helper()
	byPartition := map[string][]bridge.IndexEntry{}
	for _, e := range w.cps.Index() {
		byPartition[e.Partition] = append(byPartition[e.Partition], e)
		entries++
	}
	for p, stored := range w.dst.Snapshot() {
		list, between, last := byPartition[p], 0, map[string]bridge.Position{}
		for i, s := range stored {
			between++
			widest = max(widest, between)
			if from := s.Record.Origin; from.Position.After(last[from.Partition]) {
				last[from.Partition] = from.Position
			}
			if len(list) == 0 || s.Record.Position != list[0].Position || i+1 < len(stored) && stored[i+1].Record.Position == list[0].Position {
				continue
			}
			for source, at := range last {
				if at.After(list[0].Below[source]) {
					w.t.Fatalf("entry at %s/%s claims %s for %s, but %s stands there", p, list[0].Position, list[0].Below[source], source, at)
				}
				if list[0].Below[source].After(at) {
					loose++
				}
			}
			list, between = list[1:], 0
		}
		if len(list) > 0 {
			w.t.Fatalf("partition %s: the entry at %s stands at no record, or out of order", p, list[0].Position)
		}
	}
	return entries, widest, loose
}

// What waits for the next checkpoint, and what is remembered of each pair of partitions, are
// positions and not the pages that they were parts of.
func TestIndexKeepsNoPages(t *testing.T) {
	const pages, pageBytes = 50, 1 << 20
	g := &generator{partitions: 2, pages: pages, page: 1200, pad: pageBytes}
	sink := &weighing{generator: g, at: 2*pages*1200 - 1200}
	keys, err := keymap.New("murmur2", 12)
	if err != nil {
		t.Fatal(err)
	}
	var before runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	m := &mirror.Mirror{Source: g, Sink: sink, Checkpoints: memstream.NewCheckpoints(nil).Open(), Keys: keys, UntilCaughtUp: true, Interval: time.Hour}
	if err := m.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	used := int64(sink.heap.Load()) - int64(before.HeapAlloc)
	t.Logf("%d pages of %d bytes, %d bytes in use at the last", 2*pages, pageBytes, used)
	if sink.heap.Load() == 0 || used > 20*pageBytes {
		t.Errorf("%d bytes are in use at the last of %d pages of %d bytes", used, 2*pages, pageBytes)
	}
}

// A weighing notes what is in use when it was given so many records.
type weighing struct {
	*generator
	at   int64
	heap atomic.Uint64
}

func (w *weighing) Write(ctx context.Context, recs []bridge.Record) ([]bridge.Ack, error) {
	if w.written.Load() >= w.at {
		var now runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&now)
		w.heap.Store(now.HeapAlloc)
	}
	return w.generator.Write(ctx, recs)
}

// An interleaving stores what two flows write at one time as a coalescing sink may: records of
// both in turn, and those of different keys in another order than they came.
type interleaving struct {
	*generator
	mu      sync.Mutex
	waiting *half
	stored  []bridge.Coordinate // where each came from
}

type half struct {
	recs []bridge.Record
	acks []bridge.Ack
	done chan struct{}
}

func (s *interleaving) Write(_ context.Context, recs []bridge.Record) ([]bridge.Ack, error) {
	mine := &half{recs, make([]bridge.Ack, len(recs)), make(chan struct{})}
	s.mu.Lock()
	if s.waiting == nil {
		s.waiting = mine
		s.mu.Unlock()
		<-mine.done
		return mine.acks, nil
	}
	defer s.mu.Unlock()
	other := s.waiting
	s.waiting = nil
	for i := len(recs) - 1; i >= 0; i-- {
		for _, h := range []*half{mine, other} {
			s.stored = append(s.stored, h.recs[i].Origin)
			h.acks[i] = bridge.Ack{Partition: h.recs[i].Partition, Position: bridge.OffsetPosition(int64(len(s.stored)))}
		}
	}
	close(other.done)
	return mine.acks, nil
}

// Where records of several pages stand among each other, and those of one page in another
// order than it had, an entry still covers all that stands up to it.
func TestIndexOfInterleavedPages(t *testing.T) {
	g := &generator{partitions: 2, pages: 40, page: 900} // fewer than there are keys
	sink, cps := &interleaving{generator: g}, memstream.NewCheckpoints(nil)
	keys, err := keymap.New("murmur2", 1)
	if err != nil {
		t.Fatal(err)
	}
	m := &mirror.Mirror{Source: g, Sink: sink, Checkpoints: cps.Open(), Keys: keys, UntilCaughtUp: true}
	if err := m.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	top, next := map[string]bridge.Position{}, 0
	entries := cps.Index()
	for _, e := range entries {
		at, err := e.Position.Offset()
		if err != nil || int(at) < next || int(at)-next > 1000 {
			t.Fatalf("entry at %s behind one at %d: %v", e.Position, next, err)
		}
		for ; next < int(at); next++ {
			if o := sink.stored[next]; o.Position.After(top[o.Partition]) {
				top[o.Partition] = o.Position
			}
		}
		for source, at := range top {
			if at.After(e.Below[source]) {
				t.Fatalf("entry at %s claims %s for %s, but %s stands there", e.Position, e.Below[source], source, at)
			}
		}
	}
	if len(entries) < len(sink.stored)/1000 {
		t.Errorf("%d entries for %d records", len(entries), len(sink.stored))
	}
}
