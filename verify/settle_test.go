package verify_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
	"github.com/kinesis-msk-bridge/bridge/verify"
)

// A target in a wrong order over two reshards has the same findings at every run, and they
// hide nothing that is missing beside them.
func TestWrongOrderHidesNothing(t *testing.T) {
	for name, damage := range map[string]func(c *copier){
		"partitions reversed": func(c *copier) { slices.Reverse(c.lines) },
		"shards copied side by side, children first": func(c *copier) {
			slices.SortStableFunc(c.lines, func(a, b *line) int { return strings.Compare(b.was.Partition, a.was.Partition) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(runs(2, 20)) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, seed, memstream.Kinesis, memstream.Kafka)
					for range 3 {
						w.produce(100, 12)
						w.catchUp()
						w.reshard(w.src)
					}
					c := newCopier(w)
					var missing []truth
					for i, l := range c.lines {
						if i%4 == 0 && len(missing) < 100 {
							l.dropped = true
							missing = append(missing, one(verify.Missing, l, nil)...)
						}
					}
					damage(c)
					dst, _ := c.write()
					var before []string
					for range 3 {
						res := w.run(w.verifier(dst))
						all := told(res)
						got := slices.DeleteFunc(slices.Clone(all), func(s string) bool { return strings.HasPrefix(s, string(verify.Reordered)) })
						if want := c.lies(missing); !slices.Equal(want, got) || res.Verdict != verify.Inconsistent {
							t.Fatalf("seed %d: %s: %+v %v:%s", seed, res.Verdict, res.Findings, res.Reasons, difference(want, got))
						}
						if len(all) == len(got) || before != nil && !slices.Equal(before, all) {
							t.Fatalf("seed %d: %d out of order, and not the same as before:%s", seed, len(all)-len(got), difference(before, all))
						}
						before = all
					}
				})
			}
		})
	}
}

// While a target changes with every look, what two looks share is reported, and the rest is
// named as not settled.
func TestWhatLooksShareIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 3, memstream.Kinesis, memstream.Kafka)
		w.produce(150, 1)
		w.catchUp()
		c := newCopier(w)
		c.lines[10].dropped = true
		dst, _ := c.write()
		v := w.verifier(dst)
		v.WindowRecords = 1 << 20
		for i := range 20 { // one more is lost from look to look
			l := c.lines[20+i]
			time.AfterFunc(time.Duration(i+1)*50*time.Second, func() { check(t, dst.Remove(l.place.Partition, l.place.Position)) })
		}
		res := w.run(v)
		if f := res.Findings; res.Verdict != verify.Inconsistent || f.Missing < 3 || f.Unread < 1 || f.Unread > 3 {
			t.Fatalf("%s: %+v", res.Verdict, f)
		}
		for _, f := range res.Samples {
			if f.Class == verify.Unread && !strings.Contains(f.Reason, "not settled: the last look shows it as missing") {
				t.Errorf("unread because %q", f.Reason)
			}
		}
		said := fmt.Sprint(res.Reasons)
		if !strings.Contains(said, "are missing") {
			t.Errorf("the reasons are %s", said)
		}
	})
}
