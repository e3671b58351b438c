package verify_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
	"github.com/kinesis-msk-bridge/bridge/verify"
)

// A keeper is a Store in memory. Once it is dead it keeps nothing more, as a process that
// was killed.
type keeper struct {
	mu    sync.Mutex
	kept  []byte
	saves int
	dead  bool
}

func (k *keeper) Load(context.Context) ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.kept), nil
}

func (k *keeper) Save(_ context.Context, b []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.dead {
		k.kept = b
		k.saves++
	}
	return nil
}

// A run that is killed at any moment, again and again, and resumed, says the same as one
// that nobody disturbed: verdict, totals, windows, findings.
func TestKilledRunsSayTheSame(t *testing.T) {
	for _, d := range []struct {
		name     string
		from, to memstream.Flavour
		ledger   bool
	}{
		{"kinesis to kafka", memstream.Kinesis, memstream.Kafka, false},
		{"kafka to kinesis", memstream.Kafka, memstream.Kinesis, false},
		{"kafka to kinesis with a ledger", memstream.Kafka, memstream.Kinesis, true},
	} {
		t.Run(d.name, func(t *testing.T) {
			var total killings
			for seed := range uint64(runs(3, 30)) {
				synctest.Test(t, func(t *testing.T) { total.add(killAndResume(t, seed, d.from, d.to, d.ledger)) })
				if t.Failed() {
					return
				}
			}
			t.Logf("%d kills, %d of them found a run half done", total.kills, total.resumed)
			if total.resumed*3 < total.kills {
				t.Errorf("not exercised: %+v", total)
			}
		})
	}
}

type killings struct{ kills, resumed int }

func (k *killings) add(o killings) { k.kills, k.resumed = k.kills+o.kills, k.resumed+o.resumed }

func killAndResume(t *testing.T, seed uint64, from, to memstream.Flavour, ledger bool) (n killings) {
	w := newWorld(t, seed, from, to)
	for range 3 {
		w.produce(80, 20)
		w.catchUp()
		w.reshard(w.src)
	}
	c := newCopier(w)
	c.ledger = ledger
	for i, kind := range damages {
		if own := c.byKey[fmt.Sprintf("key-%d", i)]; i < 20 && len(own) > 0 && !kind.kafka && !kind.noLedger && kind.name != "lost dead letter" {
			kind.do(c, own, 0)
		}
	}
	dst, log := c.write()
	verifier := func(k *keeper) *verify.Verifier {
		v := w.verifier(dst)
		v.Store, v.SaveEvery = k, 400*time.Millisecond
		if ledger {
			v.Ledger = log
			v.InPieces(20)
			v.SaveEvery = 50 * time.Millisecond // it reads without waiting
		}
		return v
	}
	dst.SetFaults(memstream.Rough(seed))
	whole := w.run(verifier(&keeper{}))
	k := &keeper{}
	for try := 0; ; try++ {
		ctx, cancel := context.WithCancel(t.Context())
		// While both sides are read, or in the long wait for the second look.
		span := 2000
		if ledger {
			span = 500 // there it takes less time
		}
		moment := time.Duration(w.rng.IntN(span>>w.rng.IntN(5))) * time.Millisecond
		if w.rng.IntN(3) == 0 {
			moment = time.Duration(w.rng.IntN(180)) * time.Second
		}
		time.AfterFunc(moment, func() {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.dead = true
			cancel()
		})
		n.kills++
		res, err := verifier(k).Run(ctx)
		cancel()
		if err == nil {
			n.kills--
			sameResult(t, seed, whole, res)
			return n
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("seed %d: a killed run ended with %v", seed, err)
		}
		k.mu.Lock()
		if k.dead = false; k.kept != nil {
			n.resumed++
		}
		k.mu.Unlock()
		if try > 20 {
			res := w.run(verifier(k))
			sameResult(t, seed, whole, res)
			return n
		}
	}
}

func sameResult(t *testing.T, seed uint64, want, got *verify.Result) {
	t.Helper()
	switch {
	case want.Verdict != got.Verdict || want.Findings != got.Findings || want.Coverage.Percent != got.Coverage.Percent:
		t.Fatalf("seed %d: resumed: %s %+v, undisturbed %s %+v", seed, got.Verdict, got.Findings, want.Verdict, want.Findings)
	case want.Totals.TargetRecords != got.Totals.TargetRecords || want.Totals.Balance != got.Totals.Balance || want.Totals.Repeats != got.Totals.Repeats:
		t.Fatalf("seed %d: resumed: %+v, undisturbed %+v", seed, got.Totals, want.Totals)
	case !slices.Equal(told(want), told(got)):
		t.Fatalf("seed %d: other findings:%s", seed, difference(told(want), told(got)))
	}
	for i := range want.Windows {
		if want.Windows[i].Source != got.Windows[i].Source || want.Windows[i].Firsts != got.Windows[i].Firsts {
			t.Fatalf("seed %d: window %d: resumed %+v, undisturbed %+v", seed, i, got.Windows[i], want.Windows[i])
		}
	}
}
