package verify_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
	"github.com/kinesis-msk-bridge/bridge/verify"
)

// A heldSource gives nothing of one partition while it is held.
type heldSource struct {
	bridge.Source
	partition string
	held      *atomic.Bool
}

func (s heldSource) Open(ctx context.Context, partition string, from bridge.Start) (bridge.Reader, error) {
	r, err := s.Source.Open(ctx, partition, from)
	if partition != s.partition || err != nil {
		return r, err
	}
	return heldReader{r, s.held}, nil
}

type heldReader struct {
	bridge.Reader
	held *atomic.Bool
}

func (r heldReader) Read(ctx context.Context) (bridge.Batch, error) {
	if r.held.Load() {
		return bridge.Batch{}, bridge.ErrThrottled
	}
	return r.Reader.Read(ctx)
}

// A heldTopic also says where it ends.
type heldTopic struct {
	heldSource
	bridge.Ender
}

// A continuous run whose reading is overtaken by retention counts what it cannot judge, says so
// in the log and in its progress, and judges what comes behind the gap.
func TestContinuousGoesOnBehindAGap(t *testing.T) {
	for _, side := range []string{"source", "target"} {
		synctest.Test(t, func(t *testing.T) { behindAGap(t, side) })
	}
}

func behindAGap(t *testing.T, side string) {
	w := newWorld(t, 4, memstream.Kinesis, memstream.Kafka)
	w.produce(100, 10)
	w.catchUp()
	v := w.verifier(w.dst)
	s := w.dst
	if side == "source" {
		s = w.src
	}
	id, _ := lastOf(s)
	var held atomic.Bool
	if side == "source" {
		v.Source = heldSource{v.Source, id, &held}
	} else {
		v.Target = heldTopic{heldSource{v.Target, id, &held}, v.Target.(bridge.Ender)}
	}
	var log strings.Builder
	v.Logger = slog.New(slog.NewTextHandler(&log, nil))
	v.Continuous, v.Settle, v.Window, v.SweepEvery = true, followSettle, followWindow, 1000*time.Hour
	var mu sync.Mutex
	var seen verify.Findings
	v.Hooks.Progress = func(p verify.Progress) {
		mu.Lock()
		defer mu.Unlock()
		seen = p.Findings
	}
	ctx, cancel := context.WithCancel(t.Context())
	var working sync.WaitGroup
	var last *verify.Result
	working.Go(func() {
		res, err := v.Run(ctx)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("the run ended with %v", err)
		}
		last = res
	})
	wait(ctx, 3*time.Minute)
	held.Store(true)
	wait(ctx, time.Minute)
	w.produce(200, 10)
	w.catchUp()
	list := s.Snapshot()[id]
	gone := list[len(list)-10].Record.Position
	check(t, s.Trim(id, gone))
	held.Store(false)
	wait(ctx, 3*time.Minute)
	w.produce(100, 10)
	w.catchUp()
	wait(ctx, 3*time.Minute)
	cancel()
	working.Wait()
	if f := last.Findings; f.Unverifiable == 0 || f.Missing+f.Extra+f.Reordered+f.Corrupt > 0 || seen != f || last.Verdict != verify.Inconclusive {
		t.Errorf("%s: %s, %+v, told %+v", side, last.Verdict, f, seen)
	}
	if said := unjudged(last); !strings.Contains(said, side+" "+id) || !strings.Contains(log.String(), "not judged") || !strings.Contains(log.String(), "side="+side) {
		t.Errorf("%s: %s\n%s", side, said, log.String())
	}
	judged, lost := int64(0), int64(0)
	for _, win := range last.Windows {
		if win.Verdict != verify.Consistent && win.Reason == "not judged yet" {
			t.Errorf("%s: a window behind %s of %s was never judged", side, win.After, win.Partition)
		}
		judged += win.Source.Count
		lost += win.Findings.Unverifiable
	}
	if side == "source" && judged >= int64(w.puts) || side == "target" && (judged != int64(w.puts) || lost == 0) {
		t.Errorf("%s: %d of %d records were judged, %d are unverifiable", side, judged, w.puts, lost)
	}
	for _, at := range last.Through {
		if side == "source" && at.Partition == id && at.Position.IsZero() {
			t.Error("nothing of the partition is verified")
		}
	}
}

// One old record that stands on the target again makes no sweep much longer: what is looked at
// again is read side by side, and in one go.
func TestACopyDoesNotHoldUpSweeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2, memstream.Kinesis, memstream.Kafka)
		w.produce(1500, 10)
		w.catchUp()
		c := newCopier(w)
		dst, _ := c.write()
		slow := func(op memstream.Op) memstream.Fault {
			if op.Kind == memstream.OpRead {
				return memstream.Fault{Delay: 2 * time.Second}
			}
			return memstream.Fault{}
		}
		w.src.SetFaults(slow)
		dst.SetFaults(slow)
		v := w.verifier(dst)
		v.Continuous, v.Settle, v.Window, v.SweepEvery = true, followSettle, followWindow, time.Minute
		var mu sync.Mutex
		var took []time.Duration
		v.Hooks.Judged = func(res *verify.Result) {
			mu.Lock()
			defer mu.Unlock()
			if s := res.Sweep; s.Rounds > len(took) {
				took = append(took, s.EndedAt.Sub(s.Since))
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		var working sync.WaitGroup
		working.Go(func() {
			if _, err := v.Run(ctx); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
		rounds := func() int {
			mu.Lock()
			defer mu.Unlock()
			return len(took)
		}
		for n := 0; rounds() < 2 && n < 120; n++ {
			wait(ctx, time.Minute)
		}
		d := again(c.lines[0])
		c.put(dst, []*line{d}, []bridge.Record{c.outgoing(d)})
		before := rounds()
		for n := 0; rounds() < before+2 && n < 600; n++ {
			wait(ctx, time.Minute)
		}
		cancel()
		working.Wait()
		mu.Lock()
		defer mu.Unlock()
		if len(took) < before+2 {
			t.Fatalf("%d sweeps ended: %v", len(took), took)
		}
		bare, with := took[0], took[len(took)-1]
		t.Logf("a sweep takes %s, %s with a copy", bare, with)
		if with < bare+followSettle || with > 4*bare+2*followSettle {
			t.Errorf("a sweep takes %s, %s with a copy", bare, with)
		}
	})
}
