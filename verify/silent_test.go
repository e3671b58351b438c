package verify_test

import (
	"context"
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

// silentLedger yields some entries and then nothing: it blocks, or it refuses for ever.
type silentLedger struct {
	verify.LedgerReader
	entries int
	refuses bool
}

func (s silentLedger) Read(ctx context.Context, after bridge.Position) iter.Seq2[bridge.LedgerEntry, error] {
	return func(yield func(bridge.LedgerEntry, error) bool) {
		n := 0
		if after.IsZero() {
			for e, err := range s.LedgerReader.Read(ctx, after) {
				if n == s.entries || !yield(e, err) {
					break
				}
				n++
			}
		}
		yield(bridge.LedgerEntry{}, silence(ctx, s.refuses))
	}
}

type silentLetters struct{ refuses bool }

func (s silentLetters) Read(ctx context.Context) iter.Seq2[bridge.DeadLetter, error] {
	return func(yield func(bridge.DeadLetter, error) bool) {
		yield(bridge.DeadLetter{}, silence(ctx, s.refuses))
	}
}

func silence(ctx context.Context, refuses bool) error {
	if refuses {
		return fmt.Errorf("busy: %w", bridge.ErrTransient)
	}
	<-ctx.Done()
	return context.Cause(ctx)
}

// A ledger or a place of dead letters that gives no answer, or only refusals, ends a run after
// the stall time: it is inconclusive and names the side.
func TestSilentReadings(t *testing.T) {
	for _, refuses := range []bool{false, true} {
		said := map[bool]string{false: "no answer", true: "busy"}[refuses]
		for _, entries := range []int{0, 3} {
			t.Run(fmt.Sprintf("ledger, %s behind %d entries", said, entries), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, 5, memstream.Kafka, memstream.Kinesis)
					w.produce(60, 10)
					w.catchUp()
					c := newCopier(w)
					c.ledger = true
					dst, log := c.write()
					v := w.verifier(dst)
					v.Ledger = silentLedger{log, entries, refuses}
					silent(t, w, v, "ledger", said)
				})
			})
		}
		for _, d := range directions {
			t.Run("dead letters, "+d.name+", "+said, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, 5, d.from, d.to)
					w.produce(60, 10)
					w.catchUp()
					v := w.verifier(w.dst)
					v.DeadLetters = silentLetters{refuses}
					silent(t, w, v, "dead-letters", said)
				})
			})
		}
	}
}

func silent(t *testing.T, w *world, v *verify.Verifier, side, said string) {
	began := time.Now()
	res := w.run(v)
	reasons := strings.Join(res.Reasons, "\n")
	if res.Verdict != verify.Inconclusive || !strings.Contains(reasons, side) || !strings.Contains(reasons, said) {
		t.Errorf("%s: %s", res.Verdict, reasons)
	}
	if took := time.Since(began); took < 10*time.Minute || took > 45*time.Minute {
		t.Errorf("it took %s", took)
	}
}
