package verify_test

import (
	"testing"
	"testing/synctest"

	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
	"github.com/kinesis-msk-bridge/bridge/verify"
)

var directions = []struct {
	name     string
	from, to memstream.Flavour
}{
	{"kinesis to kafka", memstream.Kinesis, memstream.Kafka},
	{"kafka to kinesis", memstream.Kafka, memstream.Kinesis},
}

// What a mirror made through refused writes, lost answers, restarts and reshards is
// consistent, wholly covered, and all of it was read.
func TestCleanRunsRaiseNoAlarm(t *testing.T) {
	for _, d := range directions {
		t.Run(d.name, func(t *testing.T) {
			n, records := runs(25, 250), int64(0)
			for seed := range uint64(n) {
				synctest.Test(t, func(t *testing.T) { records += cleanRun(t, seed, d.from, d.to) })
				if t.Failed() {
					return
				}
			}
			t.Logf("seeds 0..%d: %d records; false alarms 0, coverage 100 %%, 3/n bound %.4f", n-1, records, 3/float64(n))
		})
	}
}

func cleanRun(t *testing.T, seed uint64, from, to memstream.Flavour) int64 {
	w := newWorld(t, seed, from, to)
	for range 3 {
		w.produce(60, 15)
		if w.rng.IntN(2) == 0 {
			w.catchUp()
		}
		w.reshard(w.src)
		w.reshard(w.dst)
	}
	w.catchUp()
	res := w.run(w.verifier(w.dst))
	if res.Verdict != verify.Consistent || res.Coverage.Percent != 100 || len(res.Coverage.Uncovered) > 0 || !res.Totals.Balanced {
		t.Fatalf("seed %d: %s: %v\ncoverage %+v\ntotals %+v\nfindings %+v\n%+v", seed, res.Verdict, res.Reasons, res.Coverage, res.Totals, res.Findings, res.Samples)
	}
	if res.Totals.SourceRecords != int64(w.puts) {
		t.Fatalf("seed %d: %d records were produced, %d read", seed, w.puts, res.Totals.SourceRecords)
	}
	return res.Totals.SourceRecords
}
