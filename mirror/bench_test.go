package mirror_test

import (
	"context"
	"fmt"
	"io"
	"iter"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/keymap"
	"github.com/kinesis-msk-bridge/bridge/mirror"
	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
)

// A generator is a source that makes its records on reading, and a sink that drops them,
// so that what a benchmark measures is the engine.
type generator struct {
	partitions, pages, page int
	pad                     int // bytes of a page beside its positions, which share its memory
	written                 atomic.Int64
}

func (*generator) Identity(context.Context) (bridge.Identity, error) {
	return bridge.Identity{Name: "generator", Incarnation: "1"}, nil
}

func (g *generator) Partitions(context.Context) (out []bridge.Partition, err error) {
	for i := range g.partitions {
		out = append(out, bridge.Partition{ID: strconv.Itoa(i)})
	}
	return out, nil
}

func (g *generator) Open(context.Context, string, bridge.Start) (bridge.Reader, error) {
	r := &generated{g: g, value: make([]byte, 100)}
	for i := range g.page {
		r.keys = append(r.keys, fmt.Appendf(nil, "key-%d", i%997))
	}
	return r, nil
}

type generated struct {
	g     *generator
	n     int
	keys  [][]byte
	value []byte
}

func (r *generated) Close() error { return nil }

func (r *generated) Read(context.Context) (bridge.Batch, error) {
	if r.n == r.g.pages {
		return bridge.Batch{Ended: true, Through: bridge.OffsetPosition(int64(2_000_000_000))}, nil
	}
	b := bridge.Batch{Records: make([]bridge.Record, r.g.page), Behind: -1}
	digits := make([]byte, r.g.pad, r.g.pad+10*r.g.page)
	for i := range b.Records {
		digits = strconv.AppendInt(digits, int64(1_000_000_000+r.n*r.g.page+i), 10)
	}
	all := string(digits)[r.g.pad:]
	for i := range b.Records {
		b.Records[i] = bridge.Record{Key: r.keys[i], Value: r.value, Position: bridge.Position{Seq: all[10*i : 10*i+10]}, Subs: 1}
	}
	b.Through = b.Records[len(b.Records)-1].Position
	r.n++
	return b, nil
}

func (g *generator) Begin(context.Context, string, time.Time) (bridge.Position, time.Time, error) {
	return bridge.Position{Seq: "1000000000"}, time.Time{}, nil
}

func (g *generator) Write(_ context.Context, recs []bridge.Record) ([]bridge.Ack, error) {
	acks := make([]bridge.Ack, len(recs))
	at := bridge.Position{Seq: strconv.FormatInt(g.written.Add(int64(len(recs))), 10)}
	for i := range acks {
		acks[i] = bridge.Ack{Partition: recs[i].Partition, Position: at}
	}
	return acks, nil
}

func (g *generator) Close() error { return nil }

var _ io.Closer = (*generator)(nil)

// A presentSink has everything that the generator makes on the target already.
type presentSink struct{ *generator }

func (p presentSink) Digest(r *bridge.Record) uint64 {
	return bridge.ContentDigest(r.Key, r.Value, r.Time)
}

func (p presentSink) Tail(context.Context, bridge.Floor) iter.Seq2[bridge.Placed, error] {
	return func(yield func(bridge.Placed, error) bool) {
		keys, _ := keymap.New("murmur2", 12)
		for part := range p.partitions {
			r, _ := p.Open(context.Background(), "", bridge.Start{})
			for b, _ := r.Read(context.Background()); !b.Ended; b, _ = r.Read(context.Background()) {
				for i := range b.Records {
					route, _ := keys.Route(&b.Records[i])
					origin := bridge.Coordinate{Stream: "generator@1", Partition: strconv.Itoa(part), Position: b.Records[i].Position}
					if !yield(bridge.Placed{Partition: route.Partition, Position: b.Records[i].Position, Origin: origin, Digest: p.Digest(&b.Records[i])}, nil) {
						return
					}
				}
			}
		}
	}
}

// carry moves everything that g makes and returns how long that took.
func carry(t testing.TB, g *generator, sink bridge.Sink) time.Duration {
	keys, err := keymap.New("murmur2", 12)
	if err != nil {
		t.Fatal(err)
	}
	m := &mirror.Mirror{Source: g, Sink: sink, Checkpoints: memstream.NewCheckpoints(nil).Open(), Keys: keys, UntilCaughtUp: true}
	began := time.Now()
	if err := m.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c := m.Progress().Counts; c.Read != int64(g.partitions*g.pages*g.page) || !c.Balanced() {
		t.Fatalf("%+v", c)
	}
	return time.Since(began)
}

// The engine's own cost of a record, without a service on either side.
func BenchmarkEngine(b *testing.B) {
	for _, c := range []struct{ partitions, page int }{{4, 2000}, {64, 400}, {4, 10}} {
		b.Run(fmt.Sprintf("partitions=%d/page=%d", c.partitions, c.page), func(b *testing.B) {
			b.ReportAllocs()
			pages := max(1, b.N/(c.partitions*c.page))
			g := &generator{partitions: c.partitions, pages: pages, page: c.page}
			b.ResetTimer()
			carry(b, g, g)
			b.ReportMetric(float64(c.partitions*pages*c.page)/float64(b.N), "records/op")
		})
	}
}

// The same where all records are on the target already.
func BenchmarkPresent(b *testing.B) {
	b.ReportAllocs()
	g := &generator{partitions: 4, pages: max(1, b.N/8000), page: 2000}
	b.ResetTimer()
	carry(b, g, presentSink{g})
}

// A page costs the engine a fixed number of allocations, whatever it holds.
func TestAllocationsPerPage(t *testing.T) {
	per := func(page int) float64 {
		few, many := &generator{partitions: 2, pages: 10, page: page}, &generator{partitions: 2, pages: 60, page: page}
		a := testing.AllocsPerRun(1, func() { carry(t, few, few) })
		b := testing.AllocsPerRun(1, func() { carry(t, many, many) })
		return (b - a) / 100
	}
	small, large := per(100), per(2000)
	t.Logf("%.1f allocations a page of 100, %.1f a page of 2,000, of which the generator and its sink make 5", small, large)
	if large > 60 || large > small+30 {
		t.Errorf("%.1f allocations a page of 2,000 records and %.1f a page of 100", large, small)
	}
}
