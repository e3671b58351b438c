package mirror_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/mirror"
	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
)

// A flickering source leaves a partition out of its listings now and then.
type flickering struct {
	bridge.Source
	mu   sync.Mutex
	hide func(listing int, p bridge.Partition) bool
	n    int
}

func (f *flickering) Partitions(ctx context.Context) ([]bridge.Partition, error) {
	all, err := f.Source.Partitions(ctx)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n++
	return slices.DeleteFunc(all, func(p bridge.Partition) bool { return f.hide(f.n, p) }), err
}

// A mirror goes on whichever shard a listing leaves out once or for some seconds: one that is
// read, one that has ended, one that waits for its parent, a parent of a new shard. In each
// listing and across restarts it carries everything in order.
func TestListingsThatLeaveShardsOut(t *testing.T) {
	for hidden := range 5 {
		for _, every := range []int{2, 3} {
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				w := calm(t, memstream.Kinesis, memstream.Kafka, 1)
				id := fmt.Sprintf("shardId-%012d", hidden)
				var starts []*mirror.Mirror
				run := func(until time.Duration) {
					m := w.open()
					m.Source = &flickering{Source: m.Source, hide: func(n int, p bridge.Partition) bool {
						return p.ID == id && n%every == 1 && len(starts) > 1
					}}
					starts = append(starts, m)
					time.AfterFunc(until, m.Drain)
					if err := m.Run(ctx); err != nil {
						t.Errorf("%s is left out of one listing in %d, start %d: %v", id, every, len(starts), err)
					}
				}
				w.produce(ctx, 30, 5)
				run(time.Minute)
				first := w.partitions(w.src)[0].ID
				left, _, err := w.src.Split(first)
				if err != nil {
					t.Fatal(err)
				}
				w.produce(ctx, 30, 5)
				run(20 * time.Second)
				if _, _, err := w.src.Split(left); err != nil {
					t.Fatal(err)
				}
				w.produce(ctx, 30, 5)
				run(10 * time.Minute)
				w.expectClean(w.judge())
			})
		}
	}
}

// The rows of ended shards are given up an hour after they were listed last, and the position
// index forgets them with their rows. Children have rows of their own by then.
func TestRowsOfExpiredShardsArePruned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		w := calm(t, memstream.Kinesis, memstream.Kafka, 1)
		m := w.open()
		done := make(chan error, 1)
		go func() { done <- m.Run(ctx) }()
		parent := w.partitions(w.src)[0].ID
		w.produce(ctx, 20, 3)
		wait(ctx, time.Minute)
		if _, _, err := w.src.Split(parent); err != nil {
			t.Fatal(err)
		}
		wait(ctx, time.Minute)
		if err := w.src.ExpireShard(parent); err != nil {
			t.Fatal(err)
		}
		rows := func() (n int) {
			for _, p := range m.Progress().Partitions {
				if p.Partition == parent {
					n++
				}
			}
			return n
		}
		wait(ctx, 50*time.Minute)
		if rows() != 1 {
			t.Error("the row of an ended shard was given up before an hour had passed")
		}
		wait(ctx, 30*time.Minute)
		if rows() != 0 {
			t.Error("the row of an ended shard is kept although it was not listed for more than an hour")
		}
		before := len(w.cps.Index())
		w.produce(ctx, 20, 3)
		wait(ctx, time.Minute)
		m.Drain()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		w.expectClean(w.judge())
		entries := w.cps.Index()[before:]
		for _, e := range entries {
			if _, there := e.Below[parent]; there {
				t.Errorf("an index entry names %s, whose row was given up before it", parent)
			}
		}
		if len(entries) == 0 {
			t.Error("no index entry was stored after the row was given up")
		}
		// A restart knows that the shards that are left came from one that is done.
		w.produce(ctx, 20, 3)
		w.catchUp(ctx)
		w.expectClean(w.judge())
	})
}

// Records of a new shard that expired before anything of it was read are a gap, though the
// shard is open and listed, and one that is read in time is none, however far this machine's
// clock is from the source's. The shard comes just before the mirror stops, which then never
// listed it, or a while before.
func TestRecordsOfANewShardExpireUnread(t *testing.T) {
	for _, away := range []time.Duration{20 * time.Hour, 26 * time.Hour} {
		for _, ahead := range []time.Duration{-6 * time.Hour, 0, 6 * time.Hour} {
			for _, listed := range []time.Duration{time.Second, time.Minute, 11 * time.Minute} {
				t.Run(fmt.Sprintf("away %s, source %s ahead, %s before the stop", away, ahead, listed), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { newShardUnread(t, away, ahead, listed) })
				})
			}
		}
	}
}

func newShardUnread(t *testing.T, away, ahead, before time.Duration) {
	ctx := t.Context()
	w := calm(t, memstream.Kinesis, memstream.Kafka, 1)
	w.src.Advance(ahead)
	w.produce(ctx, 20, 3)
	parent := w.partitions(w.src)[0].ID
	w.src.SetFaults(func(op memstream.Op) memstream.Fault {
		if op.Kind == memstream.OpOpen && op.Partition != parent {
			return memstream.Fault{Err: bridge.ErrThrottled}
		}
		return memstream.Fault{}
	})
	m := w.open()
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	wait(ctx, time.Minute)
	if _, _, err := w.src.Split(parent); err != nil {
		t.Fatal(err)
	}
	w.produce(ctx, 20, 3)
	wait(ctx, before)
	m.Drain()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	w.src.SetFaults(nil)
	w.src.Advance(away)
	w.produce(ctx, 20, 3)
	if away < 24*time.Hour {
		w.catchUp(ctx)
		w.expectClean(w.judge())
	} else if err := w.end(ctx, w.open()); !errors.Is(err, bridge.ErrGap) {
		t.Errorf("records of a new shard expired while the mirror was away for %s: %v, want a gap", away, err)
	}
}
