package verify_test

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
	"github.com/kinesis-msk-bridge/bridge/verify"
)

// A plain copy that carries no coordinates is compared by content: whole and in order it
// is consistent, and what was done to it is told by class.
func TestContent(t *testing.T) {
	for _, d := range []struct {
		name     string
		from, to memstream.Flavour
	}{
		{"a script from kinesis", memstream.Kinesis, memstream.Kafka},
		{"another mirror between topics", memstream.Kafka, memstream.Kafka},
	} {
		t.Run(d.name, func(t *testing.T) {
			told := map[string]int{}
			for seed := range uint64(runs(5, 100)) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, seed, d.from, d.to)
					for range 2 {
						w.produce(100, 15)
						w.catchUp()
						w.reshard(w.src)
					}
					for _, kind := range contentDamages {
						told[kind.name] += tellContent(t, w, kind)
					}
				})
				if t.Failed() {
					return
				}
			}
			for _, name := range slices.Sorted(maps.Keys(told)) {
				t.Logf("%-20s found %d of %d", name, told[name], told[name])
			}
		})
	}
}

var contentDamages = []struct {
	name string
	do   func(c *copier, own []*line, i int) verify.Findings
}{
	{"nothing", func(*copier, []*line, int) (f verify.Findings) { return f }},
	{"drop", func(_ *copier, own []*line, i int) verify.Findings {
		own[i].dropped = true
		return verify.Findings{Missing: 1}
	}},
	{"duplicate", func(c *copier, own []*line, i int) verify.Findings {
		c.insert(c.index(own[len(own)-1])+1, again(own[i]))
		return verify.Findings{Duplicate: 1}
	}},
	{"swap", func(c *copier, own []*line, i int) (f verify.Findings) {
		if i+1 < len(own) && own[i].was.Partition == own[i+1].was.Partition && unique(own, i) && unique(own, i+1) {
			c.swap(own[i], own[i+1])
			f.Reordered = 1
		}
		return f
	}},
	{"flip", func(_ *copier, own []*line, i int) verify.Findings {
		own[i].rec.Value = flip(append(own[i].rec.Value, 'x'))
		return verify.Findings{Missing: 1, Extra: 1}
	}},
	{"misroute", func(c *copier, own []*line, i int) (f verify.Findings) {
		for p := range len(c.w.partitions(c.w.dst)) {
			if to := string('0' + rune(p)); to != own[i].rec.Partition && unique(own, i) {
				own[i].rec.Partition = to
				f.Misrouted = 1
				break
			}
		}
		return f
	}},
}

// unique reports whether no other record of the key has this content.
func unique(own []*line, i int) bool {
	return !slices.ContainsFunc(own, func(l *line) bool {
		return l != own[i] && string(l.rec.Value) == string(own[i].rec.Value)
	})
}

func plain(w *world, dst *memstream.Stream) *verify.Verifier {
	v := w.verifier(dst)
	v.Content, v.Acknowledged = true, nil
	v.Source, v.Target = w.src.Source(""), dst.Source("")
	return v
}

func tellContent(t *testing.T, w *world, kind struct {
	name string
	do   func(c *copier, own []*line, i int) verify.Findings
}) int {
	c := newCopier(w)
	var want verify.Findings
	for _, key := range slices.Sorted(maps.Keys(c.byKey)) {
		own := c.byKey[key]
		f := kind.do(c, own, w.rng.IntN(len(own)))
		want.Missing += f.Missing
		want.Extra += f.Extra
		want.Duplicate += f.Duplicate
		want.Reordered += f.Reordered
		want.Misrouted += f.Misrouted
	}
	for _, l := range c.lines {
		l.native = true
	}
	dst, _ := c.write()
	res := w.run(plain(w, dst))
	if res.Findings != want || (res.Verdict == verify.Consistent) != (want == verify.Findings{Duplicate: want.Duplicate}) {
		t.Fatalf("seed %d, %s: %s %+v, want %+v\n%+v", w.seed, kind.name, res.Verdict, res.Findings, want, res.Samples)
	}
	if res.Order.Coverage != "all" || res.Mode != "content" {
		t.Fatalf("order coverage %s in %s mode", res.Order.Coverage, res.Mode)
	}
	return int(want.Missing + want.Extra + want.Duplicate + want.Reordered + want.Misrouted)
}

// While a plain copier works and producers write, nothing is wrong.
func TestContentOfMovingTails(t *testing.T) {
	for seed := range uint64(runs(5, 100)) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, seed, memstream.Kinesis, memstream.Kafka)
			w.produce(50, 9)
			dst := memstream.New(memstream.Config{Name: "copy", Partitions: len(w.partitions(w.dst)), Seed: seed})
			var working sync.WaitGroup
			working.Go(func() { w.produce(300, 9) })
			working.Go(func() { scriptCopies(t, w, dst) })
			v := plain(w, dst)
			v.Settle = 5 * time.Second
			res := w.run(v)
			working.Wait()
			if res.Verdict != verify.Consistent || res.Totals.SourceRecords < 30 {
				t.Fatalf("seed %d: %s: %v %+v", seed, res.Verdict, res.Reasons, res.Totals)
			}
		})
	}
}

// scriptCopies copies whatever arrived, in the order of arrival, until nothing comes.
func scriptCopies(t *testing.T, w *world, dst *memstream.Stream) {
	for done, idle := 0, 0; idle < 30; idle++ {
		all := w.src.Everything()
		for _, s := range all[done:] {
			rec := bridge.Record{Key: s.Record.Key, Value: s.Record.Value, Time: s.Record.Time}
			route, _ := w.keys.Route(&rec)
			rec.Partition = route.Partition
			for {
				acks, err := dst.Put(t.Context(), rec)
				if err == nil && acks[0].Err == nil {
					break
				}
				<-time.After(time.Millisecond)
			}
			idle = 0
		}
		done = len(all)
		<-time.After(300 * time.Millisecond)
	}
}

// Where there are more keys than are followed, the run says which part it followed, and
// is not conclusive.
func TestContentOrderCoverage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, memstream.Kinesis, memstream.Kafka)
		w.produce(200, 60)
		w.catchUp()
		v := plain(w, w.dst)
		v.OrderKeys = 20
		res := w.run(v)
		if res.Verdict != verify.Inconclusive || !strings.HasSuffix(res.Order.Coverage, "/16") || res.Findings != (verify.Findings{}) {
			t.Errorf("%s, order coverage %s, %+v", res.Verdict, res.Order.Coverage, res.Findings)
		}
	})
}

// Records with an id of their own are told to be changed, not lost and invented.
func TestContentWithIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, memstream.Kinesis, memstream.Kafka)
		w.produce(100, 10)
		w.catchUp()
		c := newCopier(w)
		l := c.lines[30]
		l.rec.Value = append(slices.Clone(l.rec.Value), " changed"...)
		dst, _ := c.write()
		v := plain(w, dst)
		v.RecordID = func(r *bridge.Record) []byte { id, _, _ := bytes.Cut(r.Value, []byte(" ")); return id }
		res := w.run(v)
		if res.Findings != (verify.Findings{Corrupt: 1}) || res.Samples[0].Source.Position != l.was.Position {
			t.Errorf("%+v %+v", res.Findings, res.Samples)
		}
	})
}
