package verify_test

import (
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
	"github.com/kinesis-msk-bridge/bridge/verify"
)

// fromSources are the flavours of a source of a topic.
var fromSources = map[string]memstream.Flavour{"kinesis": memstream.Kinesis, "kafka": memstream.Kafka}

// trimmedWorld is a world whose topic is copied, without some records of the second half if
// lie is set.
func trimmedWorld(t *testing.T, seed uint64, from memstream.Flavour, lie bool) (*world, *copier, []truth) {
	w := newWorld(t, seed, from, memstream.Kafka)
	for range 3 {
		w.produce(120, 12)
		w.catchUp()
		w.reshard(w.src)
	}
	c := newCopier(w)
	var lies []truth
	lane := map[string]int{}
	for i, l := range c.lines {
		id := l.was.Partition + " " + l.rec.Partition
		// Not directly behind a head: a hole there can belong to it.
		if lane[id]++; lie && i > len(c.lines)/2 && i%7 == 0 && lane[id] > 20 {
			l.dropped = true
			lies = append(lies, one(verify.Missing, l, nil)...)
		}
	}
	return w, c, lies
}

// trimHeads removes a head of its own length from each partition but one. It returns how
// many records are gone, and the time behind which none is.
func trimHeads(t *testing.T, dst *memstream.Stream) (gone int64, from time.Time) {
	t.Helper()
	for id, list := range dst.Snapshot() {
		n := min(int(id[0]-'0'+1)*3, len(list)/4)
		if n == 0 || id == "1" {
			continue
		}
		check(t, dst.Trim(id, list[n-1].Record.Position))
		gone += int64(n)
		for _, s := range list[:n] {
			if at := s.Record.Time.Add(time.Millisecond); at.After(from) {
				from = at
			}
		}
	}
	if gone < 3 {
		t.Fatalf("not exercised: %d records trimmed", gone)
	}
	return gone, from
}

// What a topic still holds behind trimmed heads is judged and named; what the heads held is
// unverifiable, by range, and nothing else is. Behind the gap the verdict is whole.
func TestTrimmedTopicIsJudgedBehindItsHeads(t *testing.T) {
	for name, from := range fromSources {
		for _, lie := range []bool{false, true} {
			for seed := range uint64(runs(4, 60)) {
				synctest.Test(t, func(t *testing.T) {
					w, c, lies := trimmedWorld(t, seed, from, lie)
					dst, _ := c.write()
					gone, behind := trimHeads(t, dst)
					res := w.run(w.verifier(dst))
					var got []string
					for _, s := range told(res) {
						if !strings.HasPrefix(s, string(verify.Unverifiable)) {
							got = append(got, s)
						}
					}
					if want := c.lies(lies); !slices.Equal(want, got) {
						t.Errorf("%s, seed %d: %+v:%s", name, seed, res.Findings, difference(want, got))
					}
					want := verify.Inconclusive
					if lie {
						want = verify.Inconsistent
					}
					// A hole directly behind a head can belong to it: none was made there.
					if n := res.Findings.Unverifiable; n != gone || res.Verdict != want {
						t.Errorf("%s, seed %d: %s, %d records are gone: %+v", name, seed, res.Verdict, gone, res.Findings)
					}
					if p := res.Coverage.Percent; p >= 100 || p < 100*(1-float64(gone)/float64(res.Totals.SourceRecords))-0.01 {
						t.Errorf("%s, seed %d: %.2f %% judged, %d of %d are gone", name, seed, p, gone, res.Totals.SourceRecords)
					}
					targets, records := 0, int64(0)
					for _, u := range res.Coverage.Uncovered {
						if u.Side == "target" && !u.Through.IsZero() {
							targets++
						}
						records += u.Records
					}
					if targets == 0 || records != gone {
						t.Errorf("%s, seed %d: %d ranges of the target, %d records: %s", name, seed, targets, records, unjudged(res))
					}
					v := w.verifier(dst)
					v.Select.From = behind
					if res := w.run(v); !lie && (res.Verdict != verify.Consistent || res.Coverage.Percent != 100 || res.Totals.SourceRecords == 0) ||
						res.Findings.Unverifiable != 0 || lie && res.Findings.Missing == 0 {
						t.Errorf("%s, seed %d, from behind the gap: %s %v: %+v\n%s", name, seed, res.Verdict, res.Reasons, res.Findings, unjudged(res))
					}
				})
				if t.Failed() {
					return
				}
			}
		}
	}
}

// What is removed on either side while a run reads is unverifiable; the rest is judged.
func TestTrimmedWhileItIsRead(t *testing.T) {
	for _, side := range []string{"source", "target"} {
		for name, from := range fromSources {
			for seed := range uint64(runs(4, 40)) {
				synctest.Test(t, func(t *testing.T) {
					w, c, lies := trimmedWorld(t, seed, from, true)
					dst, _ := c.write()
					s := dst
					if side == "source" {
						s = w.src
					}
					id, list := lastOf(s)
					var trimmed atomic.Bool
					s.SetFaults(func(op memstream.Op) memstream.Fault {
						if op.Kind == memstream.OpRead && op.Partition == id {
							if op.N > 2 && trimmed.CompareAndSwap(false, true) {
								check(t, s.Trim(id, list[len(list)/3].Record.Position))
							}
							return memstream.Fault{Most: 5}
						}
						return memstream.Fault{}
					})
					res := w.run(w.verifier(dst))
					if !trimmed.Load() {
						t.Fatal("not exercised: nothing was trimmed")
					}
					var got []string
					unknown := map[string]bool{}
					for i, f := range res.Samples {
						if f.Class == verify.Unverifiable {
							unknown[placeText(f.Source)] = true
						} else {
							got = append(got, told(&verify.Result{Samples: res.Samples[i : i+1]})...)
						}
					}
					slices.Sort(got)
					lies = slices.DeleteFunc(lies, func(l truth) bool {
						return unknown[l.of.Partition+"/"+l.of.Position.String()] || slices.ContainsFunc(res.Coverage.Uncovered, func(u verify.Uncovered) bool {
							return u.Side == "source" && u.Records == 0 && u.Partition == l.of.Partition && l.of.Position.After(u.After) && !l.of.Position.After(u.Through)
						})
					})
					if len(unknown) > len(list)/3+1 {
						t.Errorf("%s of %s, seed %d: %d records are unverifiable, %d were removed", side, name, seed, len(unknown), len(list)/3+1)
					}
					if want := c.lies(lies); !slices.Equal(want, got) || len(want) == 0 {
						t.Errorf("%s of %s, seed %d: %+v:%s\n%s", side, name, seed, res.Findings, difference(want, got), unjudged(res))
					}
					// Or they were removed before the run came to the partition at all.
					older := side == "source" && strings.Contains(unjudged(res), "source "+id+": the target holds older records than the source still has")
					if !older && !strings.Contains(unjudged(res), side+" "+id+": records were removed before they were read") {
						t.Errorf("%s of %s, seed %d: %s", side, name, seed, unjudged(res))
					}
				})
				if t.Failed() {
					return
				}
			}
		}
	}
}

// A copy whose first occurrence may have been trimmed is not called out of order.
func TestCopyOfATrimmedRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, c, _ := trimmedWorld(t, 5, memstream.Kinesis, false)
		var l *line
		for _, list := range c.byKey {
			if l == nil || len(list) > len(c.byKey[string(l.rec.Key)]) {
				l = list[0]
			}
		}
		d := again(l)
		c.lines = append(c.lines, d)
		dst, _ := c.write()
		check(t, dst.Trim(l.place.Partition, l.place.Position))
		res := w.run(w.verifier(dst))
		if f := res.Findings; f.Reordered+f.Missing+f.Extra > 0 || res.Verdict != verify.Inconclusive {
			t.Errorf("%s: %+v", res.Verdict, f)
		}
		i := slices.IndexFunc(res.Samples, func(f verify.Finding) bool { return f.Source.Position == l.was.Position })
		if i < 0 || res.Samples[i].Class != verify.Unverifiable || res.Samples[i].Target.Position != d.place.Position {
			t.Errorf("told: %v", told(res))
		}
	})
}
