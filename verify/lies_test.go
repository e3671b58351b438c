package verify_test

import (
	"maps"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
	"github.com/kinesis-msk-bridge/bridge/verify"
)

// Every kind of damage, to the first, the last, the only and a middle record of keys, is
// reported by class and by the coordinates on both sides, and nothing else is.
func TestEveryLieIsFound(t *testing.T) {
	for _, d := range []struct {
		name     string
		from, to memstream.Flavour
		ledger   bool
	}{
		{"kinesis to kafka", memstream.Kinesis, memstream.Kafka, false},
		{"kafka to kafka", memstream.Kafka, memstream.Kafka, false},
		{"kafka to kinesis", memstream.Kafka, memstream.Kinesis, false},
		{"kafka to kinesis with a ledger", memstream.Kafka, memstream.Kinesis, true},
	} {
		t.Run(d.name, func(t *testing.T) {
			found := map[string]int{}
			n := runs(2, 60)
			for seed := range uint64(n) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, seed, d.from, d.to)
					for range 3 {
						w.produce(60, 20)
						w.catchUp()
						w.reshard(w.src)
					}
					w.produce(30, 40)
					w.catchUp()
					for _, kind := range damages {
						if kind.kafka && d.to != memstream.Kafka || kind.noLedger && d.to == memstream.Kinesis || kind.onlyLedger && !d.ledger {
							continue
						}
						if kind.name == "swap parent and child" && d.from != memstream.Kinesis {
							continue
						}
						found[kind.name] += tell(t, w, kind, d.ledger)
					}
				})
				if t.Failed() {
					return
				}
			}
			for _, name := range slices.Sorted(maps.Keys(found)) {
				t.Logf("%-48s found %d of %d", name, found[name], found[name])
				if found[name] < min(100, 4*n) {
					t.Errorf("%s was tried %d times only", name, found[name])
				}
			}
		})
	}
}

// tell damages a copy in several places and compares what was done with what is told.
func tell(t *testing.T, w *world, kind damage, ledger bool) int {
	c := newCopier(w)
	c.ledger = ledger
	var all []truth
	for _, key := range slices.Sorted(maps.Keys(c.byKey)) {
		own := c.byKey[key]
		i := []int{0, len(own) - 1, w.rng.IntN(len(own))}[w.rng.IntN(3)]
		for try := range len(own) {
			if list := kind.do(c, own, (i+try)%len(own)); len(list) > 0 {
				all = append(all, list...)
				break
			}
		}
	}
	dst, log := c.write()
	v := w.verifier(dst)
	v.DeadLetters = c.dead
	if ledger {
		v.Ledger = log
		v.InPieces(1 + w.rng.IntN(40))
	}
	res := w.run(v)
	want, got := c.lies(all), told(res)
	if !slices.Equal(want, got) {
		t.Fatalf("seed %d, %s: %d lies, %d told:%s", w.seed, kind.name, len(want), len(got), difference(want, got))
	}
	copies := int64(0)
	for _, l := range c.lines {
		if l.copyOf && !l.native && (!ledger || l.late) {
			copies++
		}
	}
	if n := res.Totals; n.Repeats != copies && (kind.name == "duplicate" || kind.name == "replay a run" || kind.onlyLedger) || !n.Balanced {
		t.Fatalf("seed %d, %s: %d copies, told %+v", w.seed, kind.name, copies, n)
	}
	silent := true
	for _, l := range all {
		silent = silent && (l.class == verify.Duplicate || l.class == verify.Rewind)
	}
	if verdict := res.Verdict; (verdict == verify.Consistent) != silent {
		t.Fatalf("seed %d, %s: the verdict is %s: %v", w.seed, kind.name, verdict, res.Reasons)
	}
	return len(all)
}
