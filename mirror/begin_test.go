package mirror_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
)

// A beginCase is what happens between a first start that carried nothing and the second one.
type beginCase struct {
	name    string
	flavour memstream.Flavour
	before  int                      // records that are there when the workflow begins
	trimmed int                      // of them, before that
	start   time.Duration            // of the mirrors, behind the first record; at the oldest record if zero
	then    func(w *world, p string) // after the kill
	gap     bool
}

func beginCases() (cases []beginCase) {
	trim := func(n int) func(*world, string) {
		return func(w *world, p string) {
			recs := w.src.Snapshot()[p]
			if err := w.src.Trim(p, recs[min(n, len(recs))-1].Record.Position); err != nil {
				w.t.Fatal(err)
			}
		}
	}
	late := func(n, trimmed int) func(*world, string) {
		return func(w *world, p string) {
			w.produce(w.t.Context(), n, 5)
			if trimmed > 0 {
				trim(trimmed)(w, p)
			}
		}
	}
	expire := func(w *world, p string) {
		w.produce(w.t.Context(), 10, 5)
		w.src.Advance(25 * time.Hour)
		w.produce(w.t.Context(), 10, 5)
	}
	for _, f := range []memstream.Flavour{memstream.Kafka, memstream.Kinesis} {
		cases = append(cases,
			beginCase{"nothing", f, 40, 0, 0, func(*world, string) {}, false},
			beginCase{"more records", f, 40, 0, 0, late(20, 0), false},
			beginCase{"one record is gone", f, 40, 0, 0, trim(1), true},
			beginCase{"the head is gone", f, 40, 0, 0, trim(20), true},
			beginCase{"all is gone", f, 40, 0, 0, trim(40), true},
			beginCase{"the head was gone before", f, 40, 15, 0, late(20, 0), false},
			beginCase{"more of the head is gone", f, 40, 15, 0, trim(1), true},
			beginCase{"what is older than the start is gone", f, 40, 0, 15 * time.Second, trim(10), false},
			beginCase{"what is behind the start is gone", f, 40, 0, 15 * time.Second, trim(20), true},
			beginCase{"nothing was there", f, 0, 0, 0, late(20, 0), false},
		)
	}
	return append(cases,
		beginCase{"nothing was there, and the head is gone", memstream.Kafka, 0, 0, 0, late(20, 5), true},
		beginCase{"all was gone, and the head is gone", memstream.Kafka, 40, 40, 0, late(20, 5), true},
		beginCase{"nothing was there, and the head expired", memstream.Kinesis, 0, 0, 0, expire, true},
		beginCase{"the log was cut back before its beginning", memstream.Kafka, 40, 0, 15 * time.Second, func(w *world, p string) {
			if err := w.src.LoseTail(p, w.src.Snapshot()[p][4].Record.Position); err != nil {
				w.t.Fatal(err)
			}
		}, true},
	)
}

// The first checkpoint stores where the workflow begins in each partition. What is gone of that
// when the next start comes is a gap, whether or not anything was ever carried.
func TestBeginningIsStored(t *testing.T) {
	for _, c := range beginCases() {
		t.Run(fmt.Sprintf("%v %s", c.flavour, c.name), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { c.run(t) })
		})
	}
}

func (c beginCase) run(t *testing.T) {
	ctx := t.Context()
	w := calm(t, c.flavour, memstream.Kafka, 1)
	began := time.Now()
	for range c.before {
		w.put(ctx, "key", parts(w))
		wait(ctx, time.Second)
	}
	part := w.partitions(w.src)[0].ID
	if c.trimmed > 0 {
		if err := w.src.Trim(part, w.src.Snapshot()[part][c.trimmed-1].Record.Position); err != nil {
			t.Fatal(err)
		}
	}
	var start time.Time
	if c.start > 0 {
		start = began.Add(c.start)
	}
	w.carryNothing(ctx, start)
	c.then(w, part)
	m := w.open()
	m.Start, m.UntilCaughtUp = start, true
	err := w.end(ctx, m)
	var gap *bridge.GapError
	switch {
	case c.gap && (!errors.As(err, &gap) || gap.Partition != part):
		t.Errorf("the second start ended with %v, want a gap of %s", err, part)
	case c.gap && w.judge().records > 0:
		t.Errorf("%d records were carried across a gap", w.judge().records)
	case !c.gap && err != nil:
		t.Errorf("the second start ended with %v, and nothing is gone", err)
	}
}

func parts(w *world) int {
	if _, ok := w.src.Source("").(bridge.Ender); ok {
		return len(w.partitions(w.src))
	}
	return 0
}

// carryNothing runs a mirror whose target takes nothing, until it is killed behind its first
// checkpoints.
func (w *world) carryNothing(ctx context.Context, start time.Time) {
	w.t.Helper()
	w.dst.SetFaults(func(op memstream.Op) memstream.Fault {
		if op.Kind == memstream.OpAppend {
			return memstream.Fault{Err: bridge.ErrThrottled}
		}
		return memstream.Fault{}
	})
	m := w.open()
	m.Start = start
	run, kill := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- m.Run(run) }()
	wait(ctx, 2*time.Second)
	kill()
	if err := <-done; !ended(err) {
		w.t.Fatalf("the first start ended with %v", err)
	}
	w.dst.SetFaults(nil)
	if w.judge().records > 0 || len(w.cps.History()) == 0 {
		w.t.Fatalf("not exercised: %d records carried, %d checkpoints", w.judge().records, len(w.cps.History()))
	}
}

// A child that waits for its parent at the first start has a beginning, too.
func TestBeginningOfAWaitingChild(t *testing.T) {
	for _, gone := range []int{0, 1, 15} {
		synctest.Test(t, func(t *testing.T) {
			ctx := t.Context()
			w := calm(t, memstream.Kinesis, memstream.Kafka, 1)
			w.produce(ctx, 20, 5)
			left, _, err := w.src.Split(w.partitions(w.src)[0].ID)
			if err != nil {
				t.Fatal(err)
			}
			w.produce(ctx, 100, 50)
			w.carryNothing(ctx, time.Time{})
			if gone > 0 {
				if err := w.src.Trim(left, w.src.Snapshot()[left][gone-1].Record.Position); err != nil {
					t.Fatal(err)
				}
			}
			m := w.open()
			m.UntilCaughtUp = true
			err = w.end(ctx, m)
			var gap *bridge.GapError
			if gone > 0 && (!errors.As(err, &gap) || gap.Partition != left) || gone == 0 && err != nil {
				t.Errorf("%d records of the child are gone: the second start ended with %v", gone, err)
			}
		})
	}
}

// A row of an earlier version does not say where the workflow begins: that is no gap, and it
// begins where it would have begun.
func TestBeginningOfAnOldRow(t *testing.T) {
	for _, f := range []memstream.Flavour{memstream.Kafka, memstream.Kinesis} {
		synctest.Test(t, func(t *testing.T) {
			ctx := t.Context()
			w := calm(t, f, memstream.Kafka, 1)
			for range 30 {
				w.put(ctx, "key", parts(w))
			}
			w.carryNothing(ctx, time.Time{})
			cp := w.final()
			cp.Rows = []bridge.Row{{Partition: w.partitions(w.src)[0].ID}}
			if err := w.cps.Open().Save(ctx, cp); err != nil {
				t.Fatal(err)
			}
			part := cp.Rows[0].Partition
			trim := func(n int) {
				if err := w.src.Trim(part, w.src.Snapshot()[part][n-1].Record.Position); err != nil {
					t.Fatal(err)
				}
			}
			trim(10)
			w.carryNothing(ctx, time.Time{})
			trim(1)
			m := w.open()
			m.UntilCaughtUp = true
			if err := w.end(ctx, m); !errors.Is(err, bridge.ErrGap) {
				t.Errorf("what the second start stored is gone: %v, want a gap", err)
			}
		})
	}
}

// What the retention takes of the beginning between the moment at which the source said where it
// is and the first page is no gap within a minute, and is one later.
func TestBeginningThatMoves(t *testing.T) {
	for _, f := range []memstream.Flavour{memstream.Kafka, memstream.Kinesis} {
		for _, late := range []time.Duration{time.Second, 2 * time.Minute} {
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				w := calm(t, f, memstream.Kafka, 1)
				for range 40 {
					w.put(ctx, "key", parts(w))
				}
				part := w.partitions(w.src)[0].ID
				began := time.Now()
				w.src.SetFaults(func(op memstream.Op) memstream.Fault {
					if op.Kind == memstream.OpOpen && time.Since(began) < late {
						return memstream.Fault{Err: bridge.ErrThrottled}
					}
					return memstream.Fault{}
				})
				m := w.open()
				m.UntilCaughtUp = true
				time.AfterFunc(late-time.Millisecond, func() {
					if err := w.src.Trim(part, w.src.Snapshot()[part][4].Record.Position); err != nil {
						t.Error(err)
					}
				})
				err := w.end(ctx, m)
				if n := w.judge().records; late < time.Minute && (err != nil || n != 35) {
					t.Errorf("the beginning moved at once: %v, and %d records were carried, want 35", err, n)
				} else if late > time.Minute && (!errors.Is(err, bridge.ErrGap) || n > 0) {
					t.Errorf("the beginning moved after %s: %v, and %d records were carried", late, err, n)
				}
			})
		}
	}
}

// A start that is throttled asks again, of some partitions at a time, and its first checkpoint
// knows the beginning of each. One that is throttled for too long ends, and has saved nothing.
func TestThrottledBeginnings(t *testing.T) {
	for _, forEver := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			ctx := t.Context()
			w := calm(t, memstream.Kinesis, memstream.Kafka, 100)
			w.produce(ctx, 200, 50)
			var mu sync.Mutex
			asked, now, most := 0, 0, 0
			w.src.SetFaults(func(op memstream.Op) memstream.Fault {
				if op.Kind != memstream.OpBegin {
					return memstream.Fault{}
				}
				mu.Lock()
				defer mu.Unlock()
				now++
				most = max(most, now)
				time.AfterFunc(99*time.Millisecond, func() { mu.Lock(); now--; mu.Unlock() })
				f := memstream.Fault{Delay: 100 * time.Millisecond}
				if asked++; forEver || asked%2 == 0 {
					f.Err = bridge.ErrThrottled
				}
				return f
			})
			m := w.open()
			m.UntilCaughtUp = true
			err := w.end(ctx, m)
			if most < 2 || most > 16 {
				t.Errorf("%d partitions were asked at a time", most)
			}
			if forEver {
				if !errors.Is(err, bridge.ErrThrottled) || len(w.cps.History()) > 0 || w.judge().records > 0 {
					t.Errorf("throttled for ever: %v, %d checkpoints, %d records carried", err, len(w.cps.History()), w.judge().records)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			w.expectClean(w.judge())
			for _, row := range w.cps.History()[0].Rows {
				if row.First.IsZero() == row.Tip.IsZero() {
					t.Errorf("the first checkpoint says %+v", row)
				}
			}
			if n := len(w.cps.History()[0].Rows); n != 100 {
				t.Errorf("the first checkpoint has %d rows", n)
			}
		})
	}
}
