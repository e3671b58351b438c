package verify_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
	"github.com/kinesis-msk-bridge/bridge/verify"
)

// Beside a mirror at work, through reshards and kills of the mirror, a continuous run
// raises no alarm, nor do its sweeps, and its watermark follows within the settle time and
// two windows.
func TestContinuousFollows(t *testing.T) {
	for _, d := range directions {
		t.Run(d.name, func(t *testing.T) {
			var worst time.Duration
			rounds := 0
			for seed := range uint64(runs(2, 40)) {
				synctest.Test(t, func(t *testing.T) {
					lag, n := followed(t, seed, d.from, d.to)
					worst, rounds = max(worst, lag), rounds+n
				})
				if t.Failed() {
					return
				}
			}
			t.Logf("%d rounds, the watermark was at most %s behind", rounds, worst)
			if rounds < 10 {
				t.Errorf("not exercised: %d rounds", rounds)
			}
		})
	}
}

const (
	followSettle = 10 * time.Second
	followWindow = 20 * time.Second
)

func followed(t *testing.T, seed uint64, from, to memstream.Flavour) (worst time.Duration, rounds int) {
	w := newWorld(t, seed, from, to)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var working sync.WaitGroup
	working.Go(func() { mirrorOn(ctx, w) })
	v := w.verifier(w.dst)
	v.Continuous, v.Settle, v.Window, v.WindowRecords, v.SweepEvery = true, followSettle, followWindow, 1000, 30*time.Second
	v.Hooks.Judged = func(res *verify.Result) {
		rounds++
		if res.Findings != (verify.Findings{}) {
			t.Errorf("seed %d: a false alarm after %d rounds: %+v %+v", seed, rounds, res.Findings, res.Samples)
		}
		for _, at := range res.Through {
			if !at.Time.IsZero() {
				worst = max(worst, w.behind(at))
			}
		}
	}
	var last *verify.Result
	working.Go(func() {
		res, err := v.Run(ctx)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("seed %d: the run ended with %v", seed, err)
		}
		last = res
	})
	for range 6 {
		w.produce(150, 10)
		w.reshard(w.src)
		w.reshard(w.dst)
	}
	wait(ctx, 3*time.Minute)
	cancel()
	working.Wait()
	if last == nil {
		return worst, rounds
	}
	if last.Sweep.Rounds < 2 || last.Sweep.Found != 0 {
		t.Errorf("seed %d: sweeps: %+v", seed, last.Sweep)
	}
	judged := int64(0)
	for _, win := range last.Windows {
		if win.Verdict == verify.Consistent {
			judged += win.Source.Count
		}
	}
	if judged != int64(w.puts) {
		t.Errorf("seed %d: %d of %d records were judged", seed, judged, w.puts)
	}
	if limit := followSettle + 2*followWindow + 10*time.Second; worst > limit+15*time.Second {
		t.Errorf("seed %d: the watermark was %s behind, want at most %s and the time without a mirror", seed, worst, limit)
	}
	return worst, rounds
}

// A run to an end beside a mirror at work judges what was acknowledged when it began, and
// takes nothing that came since for a difference.
func TestOnceBesideAMirror(t *testing.T) {
	for _, d := range directions {
		t.Run(d.name, func(t *testing.T) {
			for seed := range uint64(runs(6, 60)) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, seed, d.from, d.to)
					w.produce(50, 10)
					w.catchUp()
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					var working sync.WaitGroup
					working.Go(func() { mirrorOn(ctx, w) })
					working.Go(func() {
						for range 8 {
							w.produce(100, 10)
							w.reshard(w.src)
							w.reshard(w.dst)
						}
					})
					read := int64(0)
					for range 4 {
						v := w.verifier(w.dst)
						v.Settle = 3 * time.Second
						res := w.run(v)
						if res.Verdict != verify.Consistent || res.Totals.SourceRecords < read {
							t.Errorf("seed %d: %s after %d records: %v\n%s", seed, res.Verdict, res.Totals.SourceRecords, res.Reasons, unjudged(res))
						}
						read = res.Totals.SourceRecords
						wait(ctx, 10*time.Second)
					}
					cancel()
					working.Wait()
				})
				if t.Failed() {
					return
				}
			}
		})
	}
}

// behind is how much older than the newest record of its partition a watermark is.
func (w *world) behind(at verify.Through) time.Duration {
	list := w.src.Snapshot()[at.Partition]
	for _, s := range list {
		if s.Record.Position.After(at.Position) {
			return time.Since(s.Record.Time)
		}
	}
	return 0
}

// mirrorOn runs one mirror after the other; each is cut after a while.
func mirrorOn(ctx context.Context, w *world) {
	for ctx.Err() == nil {
		some, cut := context.WithTimeout(ctx, time.Duration(20+w.seed%30)*time.Second)
		err := w.mirror().Run(some)
		cut()
		if err != nil && some.Err() == nil && !bridge.Retryable(err) {
			w.t.Errorf("seed %d: mirror: %v", w.seed, err)
			return
		}
		wait(ctx, 15*time.Second) // longer than a difference must last
	}
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// A loss behind the watermark and one ahead of it are both reported, and what claims to be
// a record of a window that was judged is no repeat of it; one of a place to come holds
// nothing up.
func TestContinuousFindsLosses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 5, memstream.Kinesis, memstream.Kafka)
		w.produce(100, 10)
		w.catchUp()
		c := newCopier(w)
		early, later := c.lines[3], c.lines[len(c.lines)-4]
		later.dropped = true
		c.hold = 40
		dst, _ := c.write()
		v := w.verifier(dst)
		v.Continuous, v.Settle, v.Window = true, followSettle, followWindow
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(5*time.Second, func() { w.late(dst) })
		time.AfterFunc(4*time.Minute, func() {
			far := early.was
			far.Position.Seq = "9" + far.Position.Seq[1:]
			for _, claim := range []bridge.Coordinate{{}, far, early.was} { // long after its window was judged
				d := again(early)
				if !claim.IsZero() {
					c.claims(d, claim)
				}
				c.put(dst, []*line{d}, []bridge.Record{c.outgoing(d)})
			}
		})
		time.AfterFunc(8*time.Minute, cancel)
		res, err := v.Run(ctx)
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if res.Findings.Missing != 1 || res.Findings.Duplicate != 1 || res.Findings.Extra != 2 || res.Verdict != verify.Inconsistent {
			t.Errorf("%s: %+v", res.Verdict, res.Findings)
		}
		for _, f := range res.Samples {
			if f.Class == verify.Missing && f.Source.Position != later.was.Position {
				t.Errorf("missing at %s, want %s", f.Source.Position, later.was.Position)
			}
		}
	})
}

// Where a ledger leads to the records, a shard of which it says nothing more, closed or idle,
// holds no judgement up.
func TestContinuousByLedger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 6, memstream.Kafka, memstream.Kinesis)
		w.produce(200, 10)
		w.catchUp()
		c := newCopier(w)
		c.ledger = true
		dst, log := c.write()
		w.reshard(dst)
		v := w.verifier(dst)
		v.Ledger = log
		v.Continuous, v.Settle, v.Window = true, followSettle, followWindow
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
		defer cancel()
		res, err := v.Run(ctx)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		if c := res.Coverage; c.Consistent != c.Windows || res.Totals.SourceRecords != int64(w.puts) || res.Findings != (verify.Findings{}) {
			t.Errorf("%d of %d windows, %d of %d records: %+v", c.Consistent, c.Windows, res.Totals.SourceRecords, w.puts, res.Findings)
		}
	})
}
