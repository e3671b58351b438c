package verify_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
	"github.com/kinesis-msk-bridge/bridge/verify"
)

// What is lost behind the watermark of a continuous run is told by the sweep that begins
// after it, once, with its coordinate; also if the run is killed and resumed meanwhile. What
// has expired on either side is not told.
func TestSweepFindsWhatIsLostBehindTheWatermark(t *testing.T) {
	for _, d := range directions {
		t.Run(d.name, func(t *testing.T) {
			for seed := range uint64(runs(2, 20)) {
				synctest.Test(t, func(t *testing.T) { lostBehind(t, seed, d.from, d.to) })
			}
		})
	}
}

const sweepEvery = 2 * time.Minute

func lostBehind(t *testing.T, seed uint64, from, to memstream.Flavour) {
	w := newWorld(t, seed, from, to)
	w.produce(200, 10)
	w.catchUp()
	c := newCopier(w)
	dst, _ := c.write()
	k := &keeper{}
	var mu sync.Mutex
	var last *verify.Result
	state := func() *verify.Result {
		mu.Lock()
		defer mu.Unlock()
		return last
	}
	verifier := func() *verify.Verifier {
		v := w.verifier(dst)
		v.Continuous, v.Settle, v.Window, v.SweepEvery = true, followSettle, followWindow, sweepEvery
		v.Store, v.SaveEvery = k, 20*time.Second
		v.Hooks.Judged = func(res *verify.Result) {
			mu.Lock()
			defer mu.Unlock()
			last = res
		}
		return v
	}
	k.live(1<<30, 0, func() {})
	run := func(v *verify.Verifier) (stop func()) {
		ctx, cancel := context.WithCancel(t.Context())
		var working sync.WaitGroup
		working.Go(func() {
			if _, err := v.Run(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("seed %d: the run ended with %v", seed, err)
			}
		})
		return func() { cancel(); working.Wait() }
	}
	stop := run(verifier())
	wait(t.Context(), sweepEvery+time.Minute)
	res := state()
	if res == nil || res.Sweep.Rounds < 1 || res.Sweep.Records != int64(w.puts) || res.Findings.Missing != 0 {
		t.Fatalf("seed %d: before any loss: %+v", seed, res)
	}
	lost := c.lines[len(c.lines)/2]
	check(t, dst.Remove(lost.place.Partition, lost.place.Position))
	at := time.Now()
	wait(t.Context(), time.Duration(w.rng.IntN(60))*time.Second)
	stop()
	stop = run(verifier())
	for n := 0; state().Findings.Missing == 0 && n < 600; n++ {
		wait(t.Context(), time.Second)
	}
	res = state()
	if took := time.Since(at); took > 2*sweepEvery+2*time.Minute {
		t.Errorf("seed %d: told after %s", seed, took)
	}
	if f := res.Samples; len(f) != 1 || f[0].Class != verify.Missing || f[0].Source.Position != lost.was.Position || f[0].Target != (verify.Place{}) {
		t.Fatalf("seed %d: told: %+v", seed, f)
	}
	if res.Verdict != verify.Inconsistent || !res.Totals.Balanced {
		t.Errorf("seed %d: %s, %s", seed, res.Verdict, res.Totals.Balance)
	}
	rounds := res.Sweep.Rounds
	trimBoth(t, w, dst)
	wait(t.Context(), 4*sweepEvery)
	stop()
	if res = state(); res.Sweep.Rounds < rounds+2 || res.Findings != (verify.Findings{Missing: 1}) {
		t.Errorf("seed %d: after %d more sweeps, with the heads gone: %+v", seed, res.Sweep.Rounds-rounds, res.Findings)
	}
}

// trimBoth lets the oldest records go, of a topic and of a stream that is read.
func trimBoth(t *testing.T, w *world, dst *memstream.Stream) {
	for _, s := range []*memstream.Stream{w.src, dst} {
		if s == dst && w.to == memstream.Kinesis {
			continue // what has expired there is another test's
		}
		id, list := lastOf(s)
		check(t, s.Trim(id, list[6].Record.Position))
	}
}

// A sweep reads only while the run itself keeps up.
func TestSweepGivesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2, memstream.Kinesis, memstream.Kafka)
		w.produce(100, 10)
		w.catchUp()
		v := w.verifier(w.dst)
		v.Continuous, v.Settle, v.Window, v.SweepEvery = true, followSettle, followWindow, sweepEvery
		var swept atomic.Int64
		var late atomic.Bool
		v.Source = lateSource{v.Source, &late}
		v.Hooks.Judged = func(res *verify.Result) { swept.Store(int64(res.Sweep.Rounds)) }
		ctx, cancel := context.WithCancel(t.Context())
		var working sync.WaitGroup
		working.Go(func() {
			if _, err := v.Run(ctx); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
		wait(ctx, sweepEvery-time.Minute)
		late.Store(true)
		wait(ctx, 4*sweepEvery)
		if n := swept.Load(); n != 0 {
			t.Errorf("%d sweeps while the run could not keep up", n)
		}
		late.Store(false)
		wait(ctx, 2*sweepEvery)
		cancel()
		working.Wait()
		if n := swept.Load(); n == 0 {
			t.Error("no sweep at all")
		}
	})
}

// A lateSource says, while late is set, that each page is an hour behind.
type lateSource struct {
	bridge.Source
	late *atomic.Bool
}

func (s lateSource) Open(ctx context.Context, partition string, from bridge.Start) (bridge.Reader, error) {
	r, err := s.Source.Open(ctx, partition, from)
	return lateReader{r, s.late}, err
}

type lateReader struct {
	bridge.Reader
	late *atomic.Bool
}

func (r lateReader) Read(ctx context.Context) (bridge.Batch, error) {
	b, err := r.Reader.Read(ctx)
	if r.late.Load() {
		b.Behind = time.Hour
	}
	return b, err
}
