package verify_test

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
	"github.com/kinesis-msk-bridge/bridge/verify"
)

// A partition of either side that answers, gives nothing, and is not at its end is named
// after a minute, and given up after the time for that: what it holds is unread. One that
// only begins to give again is read, and nothing is said of it.
func TestStalledPartitions(t *testing.T) {
	for _, d := range directions {
		for _, side := range []string{"source", "target"} {
			for _, forever := range []bool{true, false} {
				t.Run(d.name+", "+side+map[bool]string{true: " for ever", false: " for five minutes"}[forever], func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { stalled(t, d.from, d.to, side, forever) })
				})
			}
		}
	}
}

func stalled(t *testing.T, from, to memstream.Flavour, side string, forever bool) {
	w := newWorld(t, 3, from, to)
	w.produce(100, 10)
	w.catchUp()
	s := map[string]*memstream.Stream{"source": w.src, "target": w.dst}[side]
	partition, _ := lastOf(s)
	began := time.Now()
	s.SetFaults(func(op memstream.Op) memstream.Fault {
		if op.Kind == memstream.OpRead && op.Partition == partition && (forever || time.Since(began) < 5*time.Minute) {
			return memstream.Fault{Most: -1, Delay: time.Second}
		}
		return memstream.Fault{}
	})
	v := w.verifier(w.dst)
	var mu sync.Mutex
	var named time.Duration
	v.Hooks.Progress = func(p verify.Progress) {
		mu.Lock()
		defer mu.Unlock()
		if p.Stalled != "" && named == 0 {
			named = time.Since(began)
		}
		if p.Stalled != "" && (p.Stalled != side+" "+partition || p.Stalls != 1) {
			t.Errorf("%d partitions stall, among them %s, want %s %s", p.Stalls, p.Stalled, side, partition)
		}
	}
	res := w.run(v)
	if named < time.Minute || named > 90*time.Second {
		t.Errorf("named after %s", named)
	}
	if !forever {
		if res.Verdict != verify.Consistent || time.Since(began) > 8*time.Minute {
			t.Errorf("%s after %s: %v", res.Verdict, time.Since(began), res.Reasons)
		}
		return
	}
	said := strings.Join(res.Reasons, "\n")
	if res.Verdict != verify.Inconclusive || !strings.Contains(said, side+" "+partition+": ") || !strings.Contains(said, "it gives nothing") {
		t.Errorf("%s: %s", res.Verdict, said)
	}
}

// What is left to read and how long that takes is told on the way, and was right.
func TestWhatIsLeft(t *testing.T) {
	for _, d := range directions {
		t.Run(d.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 4, d.from, d.to)
				w.produce(600, 50)
				w.catchUp()
				slow := func(op memstream.Op) memstream.Fault {
					if op.Kind == memstream.OpRead {
						return memstream.Fault{Delay: 2 * time.Second, Most: 5}
					}
					return memstream.Fault{}
				}
				w.src.SetFaults(slow)
				w.dst.SetFaults(slow)
				v := w.verifier(w.dst)
				var mu sync.Mutex
				type said struct {
					at time.Time
					p  verify.Progress
				}
				var all []said
				v.Hooks.Progress = func(p verify.Progress) {
					mu.Lock()
					defer mu.Unlock()
					if p.SourceDone < p.Sources || p.TargetDone < p.Targets {
						all = append(all, said{time.Now(), p})
					}
				}
				res := w.run(v)
				if res.Verdict != verify.Consistent || len(all) < 8 {
					t.Fatalf("%s, %d words on the way", res.Verdict, len(all))
				}
				end := all[len(all)-1].at
				good := 0
				for _, s := range all[2:] {
					real := end.Sub(s.at)
					if s.p.Left > real/3 && s.p.Left < 3*real+10*time.Second && s.p.SourceLeft >= 0 {
						good++
					}
				}
				t.Logf("%d of %d words on what is left were within a factor of three", good, len(all)-2)
				if good*10 < (len(all)-2)*7 {
					for _, s := range all {
						t.Logf("%s left, said %s (%d and %d bytes)", end.Sub(s.at), s.p.Left, s.p.SourceLeft, s.p.TargetLeft)
					}
					t.Error("what is left is not what was said")
				}
			})
		})
	}
}

// Records whose key has no order to keep are counted.
func TestUnorderedAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 4, memstream.Kafka, memstream.Kafka)
		w.produce(20, 5)
		for range 7 {
			w.put(bridge.Record{Value: w.value(), Time: time.Now().Truncate(time.Millisecond)})
		}
		w.catchUp()
		if res := w.run(w.verifier(w.dst)); res.Order.Unordered != 7 || res.Verdict != verify.Consistent {
			t.Errorf("%s, %d records without order, want 7: %v", res.Verdict, res.Order.Unordered, res.Reasons)
		}
	})
}
