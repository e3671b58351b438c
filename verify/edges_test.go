package verify_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
	"github.com/kinesis-msk-bridge/bridge/verify"
)

// noLetters are dead letters that nobody may read.
type noLetters struct{}

func (noLetters) Read(context.Context) iter.Seq2[bridge.DeadLetter, error] {
	return func(yield func(bridge.DeadLetter, error) bool) {
		yield(bridge.DeadLetter{}, fmt.Errorf("read dead letters: %w", bridge.ErrRefused))
	}
}

// lastOf is the last record of the fullest partition.
func lastOf(s *memstream.Stream) (partition string, list []memstream.Stored) {
	for id, l := range s.Snapshot() {
		if len(l) > len(list) || len(l) == len(list) && id < partition {
			partition, list = id, l
		}
	}
	return partition, list
}

// What is at the edges of what can be known gets the verdict that the table in
// docs/verify.md says.
func TestEdges(t *testing.T) {
	for _, e := range []struct {
		name     string
		from, to memstream.Flavour
		ledger   bool
		change   func(w *world, c *copier)
		after    func(t *testing.T, w *world, v *verify.Verifier, dst *memstream.Stream)
		verdict  verify.Verdict
		reason   string
	}{
		{name: "a cut tail behind the acknowledgement is missing", from: memstream.Kinesis, to: memstream.Kafka, verdict: verify.Inconsistent, reason: "3 records are missing",
			after: func(t *testing.T, w *world, v *verify.Verifier, dst *memstream.Stream) {
				id, list := lastOf(dst)
				check(t, dst.LoseTail(id, list[len(list)-4].Record.Position))
			}},
		{name: "what the mirror has not acknowledged is lag", from: memstream.Kinesis, to: memstream.Kafka, verdict: verify.Inconclusive, reason: "the mirror has not acknowledged it yet",
			after: func(t *testing.T, w *world, v *verify.Verifier, dst *memstream.Stream) {
				w.produce(5, 3)
				v.Final = true
			}},
		{name: "and lies beyond the scope without a fence", from: memstream.Kinesis, to: memstream.Kafka, verdict: verify.Inconclusive, reason: "the source held 7 records behind the scope",
			after: func(t *testing.T, w *world, v *verify.Verifier, dst *memstream.Stream) { w.produce(5, 3) }},
		{name: "without a word of the mirror everything must be there", from: memstream.Kinesis, to: memstream.Kafka, verdict: verify.Inconsistent, reason: "missing on the target",
			after: func(t *testing.T, w *world, v *verify.Verifier, dst *memstream.Stream) {
				w.produce(5, 3)
				v.Acknowledged = nil
			}},
		{name: "a removed head of a topic leaves nothing to say", from: memstream.Kinesis, to: memstream.Kafka, verdict: verify.Inconclusive, reason: "its oldest records are gone",
			after: func(t *testing.T, w *world, v *verify.Verifier, dst *memstream.Stream) {
				id, list := lastOf(dst)
				check(t, dst.Trim(id, list[4].Record.Position))
			}},
		{name: "so does a removed head of a shard", from: memstream.Kafka, to: memstream.Kinesis, ledger: true, verdict: verify.Inconclusive, reason: "the place has expired",
			after: func(t *testing.T, w *world, v *verify.Verifier, dst *memstream.Stream) {
				id, list := lastOf(dst)
				check(t, dst.Trim(id, list[4].Record.Position))
			}},
		{name: "and a removed head of the source", from: memstream.Kinesis, to: memstream.Kafka, verdict: verify.Inconclusive, reason: "older records than the source still has",
			after: func(t *testing.T, w *world, v *verify.Verifier, dst *memstream.Stream) {
				id, list := lastOf(w.src)
				check(t, w.src.Trim(id, list[4].Record.Position))
			}},
		{name: "and a shard that has expired but for its name", from: memstream.Kinesis, to: memstream.Kafka, verdict: verify.Inconclusive, reason: "older records than the source still has",
			after: func(t *testing.T, w *world, v *verify.Verifier, dst *memstream.Stream) {
				id, list := lastOf(w.src)
				_, _, err := w.src.Split(id)
				check(t, err)
				check(t, w.src.Trim(id, list[len(list)-1].Record.Position))
			}},
		{name: "or is not listed any more", from: memstream.Kinesis, to: memstream.Kafka, verdict: verify.Inconclusive, reason: "it has expired",
			after: func(t *testing.T, w *world, v *verify.Verifier, dst *memstream.Stream) {
				id, _ := lastOf(w.src)
				_, _, err := w.src.Split(id)
				check(t, err)
				check(t, w.src.ExpireShard(id))
			}},
		{name: "and one of a source topic", from: memstream.Kafka, to: memstream.Kinesis, verdict: verify.Inconclusive, reason: "older records than the source still has",
			after: func(t *testing.T, w *world, v *verify.Verifier, dst *memstream.Stream) {
				id, list := lastOf(w.src)
				check(t, w.src.Trim(id, list[4].Record.Position))
			}},
		{name: "other keys may overtake", from: memstream.Kafka, to: memstream.Kinesis, verdict: verify.Consistent, change: swapKeys},
		{name: "in a topic, too", from: memstream.Kinesis, to: memstream.Kafka, verdict: verify.Consistent, change: swapKeys},
		{name: "dead letters that cannot be read", from: memstream.Kinesis, to: memstream.Kafka, verdict: verify.Inconclusive, reason: "dead-letters",
			after: func(_ *testing.T, _ *world, v *verify.Verifier, _ *memstream.Stream) { v.DeadLetters = noLetters{} }},
		{name: "a compacted source has forgotten an extra", from: memstream.Kafka, to: memstream.Kafka, verdict: verify.Inconclusive, reason: "what 9 records need to be judged by is gone",
			after: func(t *testing.T, w *world, v *verify.Verifier, dst *memstream.Stream) {
				id, list := lastOf(w.src)
				for _, s := range list[10:19] {
					check(t, w.src.Remove(id, s.Record.Position))
				}
				v.Compacted = true
			}},
		{name: "one that keeps everything has not", from: memstream.Kafka, to: memstream.Kafka, verdict: verify.Inconsistent, reason: "9 records are on the target that the source never had",
			after: func(t *testing.T, w *world, v *verify.Verifier, dst *memstream.Stream) {
				id, list := lastOf(w.src)
				for _, s := range list[10:19] {
					check(t, w.src.Remove(id, s.Record.Position))
				}
			}},
		{name: "a partition of the target that cannot be read", from: memstream.Kinesis, to: memstream.Kafka, verdict: verify.Inconclusive, reason: "target 1",
			after: func(_ *testing.T, _ *world, _ *verify.Verifier, dst *memstream.Stream) { dst.SetFaults(refusing("1")) }},
		{name: "a shard of the source that cannot be read", from: memstream.Kinesis, to: memstream.Kafka, verdict: verify.Inconclusive, reason: "source shardId-000000000001",
			after: func(_ *testing.T, w *world, _ *verify.Verifier, _ *memstream.Stream) {
				w.src.SetFaults(refusing("shardId-000000000001"))
			}},
		{name: "a partition that only ever throttles", from: memstream.Kinesis, to: memstream.Kafka, verdict: verify.Inconclusive, reason: "stalled for 10m0s",
			after: func(_ *testing.T, _ *world, _ *verify.Verifier, dst *memstream.Stream) {
				dst.SetFaults(func(op memstream.Op) memstream.Fault {
					if op.Kind == memstream.OpRead && op.Partition == "0" {
						return memstream.Fault{Err: bridge.ErrThrottled}
					}
					return memstream.Fault{}
				})
			}},
		{name: "a ledger whose last results are not told", from: memstream.Kafka, to: memstream.Kinesis, ledger: true, verdict: verify.Consistent,
			change: func(_ *world, c *copier) { c.untold = true }},
		{name: "and one of them changed", from: memstream.Kafka, to: memstream.Kinesis, ledger: true, verdict: verify.Inconsistent, reason: "1 records are missing",
			change: func(_ *world, c *copier) {
				c.untold = true
				c.lines[len(c.lines)-1].rec.Value = []byte("changed")
			}},
		{name: "more differences than are held", from: memstream.Kinesis, to: memstream.Kafka, verdict: verify.Inconsistent, reason: "100 records are missing",
			change: func(_ *world, c *copier) {
				for _, l := range c.lines[20:120] {
					l.dropped = true
				}
			},
			after: func(_ *testing.T, _ *world, v *verify.Verifier, _ *memstream.Stream) { v.HoldAtMost(10) }},
		{name: "a record under a copied header of a place to come", from: memstream.Kinesis, to: memstream.Kafka, verdict: verify.Inconsistent, reason: "1 records are on the target that the source never had",
			change: func(_ *world, c *copier) {
				forged, at := again(c.lines[3]), c.lines[3].was
				at.Position.Seq = "9" + at.Position.Seq[1:]
				c.claims(forged, at)
				c.lines = append(c.lines, forged)
			}},
		{name: "ranges alone", from: memstream.Kinesis, to: memstream.Kafka, verdict: verify.Inconclusive, reason: "only ranges were compared",
			after: func(_ *testing.T, _ *world, v *verify.Verifier, _ *memstream.Stream) { v.Quick = true }},
		{name: "a range without records", from: memstream.Kinesis, to: memstream.Kafka, verdict: verify.Inconclusive, reason: "nothing to judge",
			after: func(_ *testing.T, _ *world, v *verify.Verifier, _ *memstream.Stream) {
				v.Select.From = time.Now().Add(time.Hour)
			}},
		{name: "a difference that passes", from: memstream.Kinesis, to: memstream.Kafka, verdict: verify.Consistent,
			change: func(w *world, c *copier) { c.hold = 5 },
			after: func(t *testing.T, w *world, v *verify.Verifier, dst *memstream.Stream) {
				time.AfterFunc(30*time.Second, func() { w.late(dst) })
			}},
	} {
		t.Run(e.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 7, e.from, e.to)
				w.produce(150, 12)
				w.catchUp()
				c := newCopier(w)
				c.ledger = e.ledger
				if e.change != nil {
					e.change(w, c)
				}
				dst, log := c.write()
				v := w.verifier(dst)
				if e.ledger {
					v.Ledger = log
				}
				if e.after != nil {
					e.after(t, w, v, dst)
				}
				res := w.run(v)
				if said := strings.Join(res.Reasons, "\n"); res.Verdict != e.verdict || !strings.Contains(said+unjudged(res), e.reason) {
					t.Errorf("%s: %s\n%s%+v", res.Verdict, said, unjudged(res), res.Findings)
				}
			})
		})
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func unjudged(res *verify.Result) string {
	var b strings.Builder
	for _, u := range res.Coverage.Uncovered {
		fmt.Fprintf(&b, "%s %s: %s\n", u.Side, u.Partition, u.Reason)
	}
	return b.String()
}

// refusing lets reads of one partition fail for good.
func refusing(partition string) func(memstream.Op) memstream.Fault {
	return func(op memstream.Op) memstream.Fault {
		if op.Kind == memstream.OpRead && op.Partition == partition {
			return memstream.Fault{Err: fmt.Errorf("refused: %w", bridge.ErrRefused)}
		}
		return memstream.Fault{}
	}
}

// swapKeys lets neighbours of different keys change places wherever there are any.
func swapKeys(w *world, c *copier) {
	n := 0
	for i := 0; i+1 < len(c.lines); i += 2 {
		a, b := c.lines[i], c.lines[i+1]
		if string(a.rec.Key) != string(b.rec.Key) {
			c.lines[i], c.lines[i+1] = b, a
			n++
		}
	}
	if n < 20 {
		w.t.Errorf("only %d were swapped", n)
	}
}

// A target that was made anew is an error, not a verdict.
func TestRecreatedTarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 3, memstream.Kinesis, memstream.Kafka)
		w.produce(100, 9)
		w.catchUp()
		k := &keeper{}
		v := w.verifier(w.dst)
		v.Store = k
		w.run(v)
		w.dst.Recreate()
		v = w.verifier(w.dst)
		v.Store = k
		if _, err := v.Run(t.Context()); !errors.Is(err, bridge.ErrChanged) || bridge.Hint(err) == "" {
			t.Errorf("resumed on another target: %v", err)
		}
	})
}
