package positions_test

import (
	"context"
	"iter"
	"strconv"
	"testing"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/positions"
)

// A big target holds n records of 64 shards in 48 partitions: record i is in partition
// i%48, from shard i%64 there, so that nothing of it needs to be kept.
type big struct{ n, shards, parts int64 }

func (b big) shard(offset int64) string { return strconv.FormatInt(offset*7%b.shards, 10) }

func (b big) target(every int64) positions.Target {
	var t positions.Target
	each := b.n / b.parts
	for p := range b.parts {
		id := strconv.FormatInt(p, 10)
		t.Extents = append(t.Extents, positions.Extent{Partition: id, Through: bridge.OffsetPosition(each - 1)})
		for o := every; every > 0 && o < each; o += every {
			below := map[string]bridge.Position{}
			for back := range min(b.shards, o) {
				below[b.shard(o-back)] = bridge.OffsetPosition((o - back) * b.parts)
			}
			t.Index = append(t.Index, bridge.IndexEntry{Partition: id, Position: bridge.OffsetPosition(o), Below: below})
		}
	}
	t.Read = func(_ context.Context, _ string, after, through bridge.Position) iter.Seq2[positions.Entry, error] {
		return func(yield func(positions.Entry, error) bool) {
			from, _ := after.Offset()
			to, _ := through.Offset()
			for o := from + 1; o <= to; o++ {
				if !yield(positions.Entry{At: bridge.OffsetPosition(o), Source: b.shard(o), First: bridge.OffsetPosition(o * b.parts)}, nil) {
					return
				}
			}
		}
	}
	return t
}

// With the index a plan reads, to find the positions, at most as many records of each
// partition as there are between two entries, however long the partition is.
func TestPlanReadsLittle(t *testing.T) {
	b := big{n: int64(runs(1_000_000, 10_000_000)), shards: 64, parts: 48}
	f := positions.Forward{Target: b.target(1000), Consumed: positions.Frontier{}}
	for s := range b.shards {
		// Each shard stands somewhere else, far from both ends.
		f.Consumed[strconv.FormatInt(s, 10)] = positions.Through(bridge.OffsetPosition(b.n/2 + s*b.n/1000))
	}
	began := time.Now()
	p, err := positions.Onward(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	if most := b.parts * (1000 + 40); p.Read > most || p.Counted != 0 {
		t.Errorf("read %d records to find the positions, want at most %d; and %d to count", p.Read, most, p.Counted)
	}
	f.Target.Index = nil
	whole, err := positions.Onward(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range p.Lines {
		if whole.Lines[i].Bound != line.Bound {
			t.Errorf("partition %s: %s with the index, %s without", line.Partition, line.Bound, whole.Lines[i].Bound)
		}
	}
	t.Logf("%d records, 64 shards, 48 partitions, %d index entries: %d records read in %s; %d without the index",
		b.n, b.n/b.parts/1000*b.parts, p.Read, time.Since(began).Round(time.Millisecond), whole.Read)
}
