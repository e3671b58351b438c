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
	saves int // until something is done
	after func()
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
	if k.dead {
		return nil
	}
	k.kept = b
	if k.saves--; k.saves == 0 {
		k.after()
	}
	return nil
}

// live lets the keeper live until it has saved so often, and then for a moment.
func (k *keeper) live(saves int, moment time.Duration, kill func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.dead, k.saves = false, saves
	k.after = func() {
		time.AfterFunc(moment, func() {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.dead = true
			kill()
		})
	}
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
			seeds := runs(2, 30)
			for seed := range uint64(seeds) {
				synctest.Test(t, func(t *testing.T) { total.add(killAndResume(t, seed, d.from, d.to, d.ledger)) })
				if t.Failed() {
					return
				}
			}
			t.Logf("%d kills, %d of them found a run half done", total.kills, total.resumed)
			if total.resumed*3 < total.kills || total.kills < 3*seeds {
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
		if own := c.byKey[fmt.Sprintf("key-%d", i)]; i < 20 && len(own) > 0 && !kind.kafka && !kind.noLedger && !kind.onlyLedger && kind.name != "lost dead letter" {
			kind.do(c, own, 0)
		}
	}
	dst, log := c.write()
	verifier := func(k *keeper) *verify.Verifier {
		v := w.verifier(dst)
		v.Store, v.SaveEvery = k, 150*time.Millisecond
		if ledger {
			v.Ledger = log
			v.InPieces(20)
		}
		return v
	}
	rough := memstream.Rough(seed)
	slow := func(op memstream.Op) memstream.Fault {
		f := rough(op)
		if op.Kind == memstream.OpRead {
			f.Delay = 40 * time.Millisecond
			if f.Most == 0 {
				f.Most = 6
			}
		}
		return f
	}
	dst.SetFaults(slow)
	w.src.SetFaults(slow)
	undisturbed := verifier(nil)
	undisturbed.Store = nil
	whole := w.run(undisturbed)
	k := &keeper{}
	for range 12 {
		ctx, cancel := context.WithCancel(t.Context())
		k.live(1+w.rng.IntN(3), time.Duration(w.rng.IntN(200))*time.Millisecond, cancel)
		res, err := verifier(k).Run(ctx)
		cancel()
		if err == nil {
			sameResult(t, seed, whole, res)
			return n
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("seed %d: a killed run ended with %v", seed, err)
		}
		n.kills++
		if res.Totals.TargetRecords > 0 {
			n.resumed++
		}
	}
	k.live(0, 0, nil)
	sameResult(t, seed, whole, w.run(verifier(k)))
	return n
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
