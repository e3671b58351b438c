package mirror_test

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
)

// A gauge is a source and a sink that measure what is held: a read under way counts as the
// most that it can bring, a record from then on until it is written as its bytes.
type gauge struct {
	bridge.Source
	mu         sync.Mutex
	most       int64
	held, peak int64
	reads      int
	atOnce     int
}

type gaugedReader struct {
	bridge.Reader
	g *gauge
}

type gaugedSink struct {
	bridge.Sink
	bridge.Recoverable
	g *gauge
}

func (g *gauge) add(bytes int64, reads int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held += bytes
	g.reads += reads
	g.peak, g.atOnce = max(g.peak, g.held), max(g.atOnce, g.reads)
}

func (g *gauge) Open(ctx context.Context, partition string, from bridge.Start) (bridge.Reader, error) {
	r, err := g.Source.Open(ctx, partition, from)
	return gaugedReader{r, g}, err
}

func (r gaugedReader) Read(ctx context.Context) (bridge.Batch, error) {
	r.g.add(r.g.most, 1)
	wait(ctx, 100*time.Millisecond)
	b, err := r.Reader.Read(ctx)
	r.g.add(sizeOf(b.Records)-r.g.most, -1)
	return b, err
}

func (s gaugedSink) Write(ctx context.Context, recs []bridge.Record) ([]bridge.Ack, error) {
	bytes := sizeOf(recs)
	wait(ctx, time.Second)
	acks, err := s.Sink.Write(ctx, recs)
	s.g.add(-bytes, 0)
	return acks, err
}

func sizeOf(recs []bridge.Record) (n int64) {
	for i := range recs {
		n += int64(recs[i].Size())
	}
	return n
}

// However many partitions lag behind, what is held stays inside the budget, and each of
// them gets its turn.
func TestMemoryStaysInsideTheBudget(t *testing.T) {
	for _, budget := range []int64{1, 3, 8} { // in reads of the largest size
		synctest.Test(t, func(t *testing.T) {
			ctx := t.Context()
			w := calm(t, memstream.Kinesis, memstream.Kafka, 16)
			for i := range 1600 {
				key := []byte(fmt.Sprint("key-", i%97))
				if _, err := w.src.Put(ctx, bridge.Record{Key: key, Value: fmt.Appendf(nil, "%01000d", i)}); err != nil {
					t.Fatal(err)
				}
			}
			const most = 160_000 // a page of 100 records of 1,000 bytes, and what the engine adds
			m := w.open()
			g := &gauge{Source: m.Source, most: most}
			m.Source, m.Sink = g, gaugedSink{m.Sink, m.Sink.(bridge.Recoverable), g}
			m.UntilCaughtUp, m.Memory, m.ReadMost = true, budget*most, most
			if err := w.end(ctx, m); err != nil {
				t.Fatal(err)
			}
			seen := map[int]bool{}
			for _, s := range w.dst.Everything() {
				row, err := strconv.Atoi(string(s.Record.Value))
				if err != nil {
					t.Fatal(err)
				}
				seen[row] = true
			}
			if len(seen) != 1600 || w.dst.Len() != 1600 {
				t.Errorf("budget %d: %d of 1600 records arrived, %d in all", budget, len(seen), w.dst.Len())
			}
			if g.peak > budget*most || g.atOnce > int(budget) {
				t.Errorf("budget %d: %d bytes and %d reads at once, want at most %d and %d", budget, g.peak, g.atOnce, budget*most, budget)
			}
			if g.atOnce < int(budget) {
				t.Errorf("not exercised: at most %d reads at once of %d that the budget allows", g.atOnce, budget)
			}
		})
	}
}

// A page that turns out larger than any read should be, as one compressed batch can, is
// counted with all that it holds before it goes on its way.
func TestLargePageTakesItsRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := calm(t, memstream.Kinesis, memstream.Kafka, 16)
		for i := range 1600 {
			if _, err := w.src.Put(t.Context(), bridge.Record{Key: []byte(fmt.Sprint("key-", i%97)), Value: fmt.Appendf(nil, "%01000d", i)}); err != nil {
				t.Fatal(err)
			}
		}
		const budget, most = 300_000, 10_000
		m := w.open()
		s := &busySink{Sink: m.Sink, Recoverable: m.Sink.(bridge.Recoverable)}
		m.Sink, m.UntilCaughtUp, m.Memory, m.ReadMost = s, true, budget, most
		if err := w.end(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		if w.dst.Len() != 1600 {
			t.Errorf("%d of 1600 records arrived", w.dst.Len())
		}
		if s.peak > budget || s.peak < 3*most {
			t.Errorf("%d bytes were written at once, want at most %d and more than %d", s.peak, budget, 3*most)
		}
	})
}

// A busySink measures what is being written at once.
type busySink struct {
	bridge.Sink
	bridge.Recoverable
	mu        sync.Mutex
	now, peak int64
}

func (s *busySink) Write(ctx context.Context, recs []bridge.Record) ([]bridge.Ack, error) {
	bytes := sizeOf(recs)
	s.mu.Lock()
	s.now += bytes
	s.peak = max(s.peak, s.now)
	s.mu.Unlock()
	wait(ctx, time.Second)
	acks, err := s.Sink.Write(ctx, recs)
	s.mu.Lock()
	s.now -= bytes
	s.mu.Unlock()
	return acks, err
}
