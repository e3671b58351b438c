package mirror_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
)

// The first listings of a first start may lack a shard whose child they hold. The child waits
// for it if it is listed soon. If it is listed once the child was read, the mirror ends and does
// not read it.
func TestFirstListingThatLacksAParent(t *testing.T) {
	for _, lacks := range [][]int{{0}, {1}, {0, 1}, {1, 2}} {
		for _, c := range []struct {
			name  string
			for_  time.Duration
			fails bool
		}{{"once", time.Second, false}, {"for two listings", 3 * time.Second, false}, {"for a minute", time.Minute, true}} {
			t.Run(fmt.Sprintf("shards %v %s", lacks, c.name), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { firstListingLacks(t, lacks, c.for_, c.fails) })
			})
		}
	}
}

func firstListingLacks(t *testing.T, lacks []int, long time.Duration, fails bool) {
	ctx := t.Context()
	w := calm(t, memstream.Kinesis, memstream.Kafka, 1)
	w.produce(ctx, 60, 5)
	split := func(shard string) string {
		left, _, err := w.src.Split(shard)
		if err != nil {
			t.Fatal(err)
		}
		w.produce(ctx, 60, 5)
		return left
	}
	split(split(w.partitions(w.src)[0].ID))
	began := time.Now()
	m := w.open()
	m.Discover = 10 * time.Second
	m.Source = &flickering{Source: m.Source, hide: func(_ int, p bridge.Partition) bool {
		for _, n := range lacks {
			if p.ID == fmt.Sprintf("shardId-%012d", n) {
				return time.Since(began) < long
			}
		}
		return false
	}}
	time.AfterFunc(10*time.Minute, m.Drain)
	err := m.Run(ctx)
	switch {
	case fails && !errors.Is(err, bridge.ErrChanged):
		t.Errorf("a parent was listed after its child was read: %v, want an end", err)
	case !fails && err != nil:
		t.Errorf("a parent was listed late: %v", err)
	case !fails:
		w.expectClean(w.judge())
	case carriedFrom(w, lacks):
		t.Errorf("records of a shard that was listed behind its child were carried")
	}
}

// carriedFrom reports whether a record of one of the shards is on the target.
func carriedFrom(w *world, shards []int) bool {
	for _, s := range w.dst.Everything() {
		for _, n := range shards {
			if s.Record.Origin.Partition == fmt.Sprintf("shardId-%012d", n) {
				return true
			}
		}
	}
	return false
}

// A parent that no listing of a first start holds has expired: that is no gap, and its children
// are read. They are what the start waits for until enough listings agree.
func TestFirstStartWithoutParents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		w := calm(t, memstream.Kinesis, memstream.Kafka, 1)
		parent := w.partitions(w.src)[0].ID
		if _, _, err := w.src.Split(parent); err != nil {
			t.Fatal(err)
		}
		if err := w.src.ExpireShard(parent); err != nil {
			t.Fatal(err)
		}
		w.produce(ctx, 60, 5)
		began := time.Now()
		m := w.open()
		m.UntilCaughtUp = true
		if err := m.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(began); d < 5*time.Second || d > 20*time.Second {
			t.Errorf("the first start took %s", d)
		}
		w.expectClean(w.judge())
	})
}

// The first checkpoint of a first start says where the workflow begins in a shard, too, that
// the first listing lacked: it can be older than that listing, with children or without.
func TestLateParentHasABeginning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		w := calm(t, memstream.Kinesis, memstream.Kafka, 1)
		first := w.partitions(w.src)[0].ID
		if _, _, err := w.src.Split(first); err != nil {
			t.Fatal(err)
		}
		w.produce(ctx, 60, 5)
		parent, leaf := w.partitions(w.src)[1].ID, w.partitions(w.src)[2].ID
		if _, _, err := w.src.Split(parent); err != nil {
			t.Fatal(err)
		}
		if err := w.src.ExpireShard(first); err != nil {
			t.Fatal(err)
		}
		m := w.open()
		m.Source = &flickering{Source: m.Source, hide: func(n int, p bridge.Partition) bool { return n == 1 && (p.ID == parent || p.ID == leaf) }}
		m.UntilCaughtUp = true
		if err := m.Run(ctx); err != nil {
			t.Fatal(err)
		}
		w.expectClean(w.judge())
		for _, row := range w.cps.History()[0].Rows {
			if (row.Partition == parent || row.Partition == leaf) && row.First.IsZero() {
				t.Errorf("the first checkpoint says %+v of a shard that holds records", row)
			}
		}
	})
}
