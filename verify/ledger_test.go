package verify_test

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
	"github.com/kinesis-msk-bridge/bridge/verify"
)

// noLedger is a ledger that nobody may read.
type noLedger struct{}

func (noLedger) Read(context.Context, bridge.Position) iter.Seq2[bridge.LedgerEntry, error] {
	return func(yield func(bridge.LedgerEntry, error) bool) {
		yield(bridge.LedgerEntry{}, fmt.Errorf("read the ledger: %w", bridge.ErrRefused))
	}
}

// What the ledger may have said in entries that it has forgotten is unverifiable, never extra
// and never missing; what the kept ones speak of is judged and named.
func TestTrimmedLedger(t *testing.T) {
	for seed := range uint64(runs(6, 60)) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, seed, memstream.Kafka, memstream.Kinesis)
			for range 3 {
				w.produce(100, 10)
				w.catchUp()
				w.reshard(w.dst)
			}
			c := newCopier(w)
			c.ledger = true
			late := c.lines[len(c.lines)-12]
			forged := again(late)
			forged.native, forged.rec.Value = true, []byte("by hand")
			c.lines = append(c.lines, forged)
			dst, log := c.write()
			check(t, dst.Remove(late.place.Partition, late.place.Position))
			entries := c.log.Entries()
			c.log.Trim(entries[len(entries)/3].At)
			v := w.verifier(dst)
			v.Ledger = log
			v.InPieces(1 + w.rng.IntN(40))
			res := w.run(v)
			var got []string
			for _, s := range told(res) {
				if !strings.HasPrefix(s, string(verify.Unverifiable)) {
					got = append(got, s)
				}
			}
			want := c.lies(append(one(verify.Missing, late, nil), truth{class: verify.Extra, at: forged}))
			if !strings.Contains(unjudged(res), "ledger : it has forgotten its oldest entries") {
				t.Errorf("seed %d: %s", seed, unjudged(res))
			}
			if f := res.Findings; !slices.Equal(want, got) || f.Unverifiable < 50 || res.Verdict != verify.Inconsistent {
				t.Errorf("seed %d: %s %+v:%s", seed, res.Verdict, f, difference(want, got))
			}
		})
	}
}

// A ledger that cannot be read leaves records without a coordinate unread, not extra.
func TestUnreadableLedger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2, memstream.Kafka, memstream.Kinesis)
		w.produce(100, 10)
		w.catchUp()
		c := newCopier(w)
		c.ledger = true
		dst, _ := c.write()
		v := w.verifier(dst)
		v.Ledger = noLedger{}
		res := w.run(v)
		if f := res.Findings; f.Extra+f.Missing > 0 || f.Unread < 100 || res.Verdict != verify.Inconclusive {
			t.Errorf("%s: %+v", res.Verdict, f)
		}
	})
}
