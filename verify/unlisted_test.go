package verify_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
	"github.com/kinesis-msk-bridge/bridge/verify"
)

// Shards that expired are out of scope where all that they held arrived before it; a scope that
// may begin within one is inconclusive. What is lost behind the beginning of the scope is named.
func TestScopeBehindExpiredShards(t *testing.T) {
	for _, kind := range []string{"once", "final"} {
		for seed := range uint64(runs(2, 20)) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, seed, memstream.Kinesis, memstream.Kafka)
				w.produce(60, 30)
				within := time.Now()
				w.produce(30, 30)
				w.catchUp()
				older := w.partitions(w.src)
				for _, p := range older {
					_, _, err := w.src.Split(p.ID)
					check(t, err)
				}
				wait(t.Context(), time.Minute)
				w.produce(100, 60)
				wait(t.Context(), time.Minute)
				// Records arrive at whole milliseconds.
				from, before := time.Now().Truncate(time.Millisecond), w.puts
				w.produce(60, 30)
				w.catchUp()
				for _, p := range older {
					check(t, w.src.ExpireShard(p.ID))
				}
				run := func(from time.Time) *verify.Result {
					v := w.verifier(w.dst)
					v.Select.From, v.Final = from, kind == "final"
					return w.run(v)
				}
				for name, from := range map[string]time.Time{"all": {}, "within the expired shards": within} {
					if res := run(from); res.Verdict != verify.Inconclusive || !strings.Contains(unjudged(res), "it is not listed") || res.Findings.Unverifiable == 0 {
						t.Errorf("%s, seed %d, %s: %s\n%s", kind, seed, name, res.Verdict, unjudged(res))
					}
				}
				for _, p := range w.partitions(w.src) {
					v := w.verifier(w.dst)
					v.Select.Partitions, v.Final = []string{p.ID}, kind == "final"
					if res := w.run(v); res.Verdict != verify.Consistent || res.Totals.SourceRecords == 0 {
						t.Errorf("%s, seed %d, only %s: %s %v: %d records\n%s", kind, seed, p.ID, res.Verdict, res.Reasons, res.Totals.SourceRecords, unjudged(res))
					}
				}
				res := run(from)
				if res.Verdict != verify.Consistent || res.Coverage.Percent != 100 || res.Totals.SourceRecords != int64(w.puts-before) || res.Coverage.BeforeStart < int64(before) {
					t.Errorf("%s, seed %d: %s %v: %d of %d records, %d before\n%s", kind, seed, res.Verdict, res.Reasons, res.Totals.SourceRecords, w.puts-before, res.Coverage.BeforeStart, unjudged(res))
				}
				all := w.dst.Everything()
				slices.SortFunc(all, func(a, b memstream.Stored) int { return a.Record.Time.Compare(b.Record.Time) })
				last := all[len(all)-1].Record
				check(t, w.dst.Remove(last.Partition, last.Position))
				if res := run(from); res.Verdict != verify.Inconsistent || res.Findings.Missing != 1 {
					t.Errorf("%s, seed %d, one lost: %s %+v", kind, seed, res.Verdict, res.Findings)
				}
			})
		}
	}
}

// A range that begins before what the source still holds is inconclusive if the target shows that
// there was more; one that begins behind it is not.
func TestRangeFromBeforeWhatIsLeft(t *testing.T) {
	each(t, runs(4, 40), func(t *testing.T, w *world) {
		w.produce(30, 10)
		wait(t.Context(), time.Minute)
		from := time.Now()
		w.produce(100, 10)
		w.catchUp()
		run := func(from time.Time) *verify.Result {
			v := w.verifier(w.dst)
			v.Select.From = from
			return w.run(v)
		}
		if res := run(from); res.Verdict != verify.Consistent || res.Coverage.BeforeStart == 0 {
			t.Errorf("nothing expired: %s %v, %d before", res.Verdict, res.Reasons, res.Coverage.BeforeStart)
		}
		w.trimmedBehindStart(from)
		if res := run(from); res.Verdict != verify.Inconclusive || !strings.Contains(unjudged(res), "older records than the source still has") || res.Coverage.Percent >= 100 {
			t.Errorf("expired behind the beginning: %s %v", res.Verdict, res.Reasons)
		}
		wait(t.Context(), time.Minute)
		from = time.Now()
		w.produce(30, 10)
		w.catchUp()
		if res := run(from); res.Verdict != verify.Consistent {
			t.Errorf("behind what expired: %s %v\n%s", res.Verdict, res.Reasons, unjudged(res))
		}
	})
}
