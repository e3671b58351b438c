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

// What has expired from the head of a stream whose records carry their coordinates is not
// told as missing, whatever the shards became since; what is lost behind it is, and so is the
// head of a stream that is too young to have forgotten anything.
func TestExpiredHeads(t *testing.T) {
	for _, c := range []struct {
		name    string
		lost    bool
		young   bool
		verdict verify.Verdict
	}{
		{name: "expired", verdict: verify.Inconclusive},
		{name: "expired, and one lost", lost: true, verdict: verify.Inconsistent},
		{name: "too young to expire", young: true, verdict: verify.Inconsistent},
	} {
		t.Run(c.name, func(t *testing.T) {
			for seed := range uint64(runs(4, 40)) {
				synctest.Test(t, func(t *testing.T) { expired(t, seed, c.lost, c.young, c.verdict) })
			}
		})
	}
}

func expired(t *testing.T, seed uint64, lose, young bool, verdict verify.Verdict) {
	w := newWorld(t, seed, memstream.Kafka, memstream.Kinesis)
	began := time.Now()
	for range 4 {
		w.produce(1000, 40)
		w.catchUp()
		w.reshard(w.dst)
		wait(t.Context(), 7*time.Hour)
	}
	// Time takes from all shards what is older than a moment, in the middle of the first records.
	var times []time.Time
	for _, list := range w.dst.Snapshot() {
		for _, s := range list {
			times = append(times, s.Record.Time)
		}
	}
	slices.SortFunc(times, time.Time.Compare)
	cut := times[len(times)/8]
	for id, list := range w.dst.Snapshot() {
		for i, s := range list {
			if s.Record.Time.After(cut) {
				if i > 0 {
					check(t, w.dst.Trim(id, list[i-1].Record.Position))
				}
				break
			}
		}
	}
	missing, old := int64(0), 0
	if lose {
		id, list := lastOf(w.dst)
		for i := len(list) - 1; i >= 0 && missing < 3; i -= 7 {
			check(t, w.dst.Remove(id, list[i].Record.Position))
			missing++
		}
		// Old ones, too, that only an older one of their key tells from what has expired.
		for id, list := range w.dst.Snapshot() {
			older := map[string]bool{}
			var lost []memstream.Stored
			for _, s := range list {
				if time.Since(s.Record.Time) > 24*time.Hour && older[string(s.Record.Key)] && len(lost) < 3 {
					lost = append(lost, s)
				}
				older[string(s.Record.Key)] = true
			}
			for _, s := range lost {
				check(t, w.dst.Remove(id, s.Record.Position))
				missing, old = missing+1, old+1
			}
		}
		if old == 0 {
			t.Errorf("seed %d: not exercised: no old record was lost", seed)
		}
	}
	v := w.verifier(w.dst)
	v.WindowRecords = 125
	v.Expiry = verify.Expiry{Began: began, Least: 24 * time.Hour, Kept: 24 * time.Hour}
	if young {
		v.Expiry.Began = time.Now().Add(-time.Hour)
	}
	res := w.run(v)
	if res.Verdict != verdict || !young && (res.Findings.Missing != missing || res.Findings.Unverifiable < 100) || young && res.Findings.Unverifiable != 0 {
		t.Errorf("seed %d: %s, %d records were lost: %+v\n%v", seed, res.Verdict, missing, res.Findings, res.Reasons)
	}
	if said := unjudged(res); !young && !strings.Contains(said, "still has") {
		t.Errorf("seed %d: the range is not told: %s", seed, said)
	}
}
