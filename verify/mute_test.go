package verify_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/verify"
)

// A muteSource never answers who reads on behind the mirror's checkpoint: at the first call, or at
// the second.
type muteSource struct {
	bridge.Source
	rows  map[string]bridge.Row
	opens bool
}

type muteEnder struct {
	muteSource
	bridge.Ender
}

func (s muteSource) Open(ctx context.Context, partition string, from bridge.Start) (bridge.Reader, error) {
	if at := s.rows[partition].Position; at.IsZero() || from.After != at {
		return s.Source.Open(ctx, partition, from)
	}
	if !s.opens {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	return muteReader{}, nil
}

type muteReader struct{}

func (muteReader) Close() error { return nil }
func (muteReader) Read(ctx context.Context) (bridge.Batch, error) {
	<-ctx.Done()
	return bridge.Batch{}, context.Cause(ctx)
}

// Counting what lies beyond the scope ends although the source never answers, within the stall
// time, and the run says so. What is in scope is judged.
func TestSurveyWithoutAnAnswer(t *testing.T) {
	for _, opens := range []bool{false, true} {
		each(t, 1, func(t *testing.T, w *world) {
			w.produce(60, 10)
			w.catchUp()
			scope := w.puts
			w.produce(40, 10)
			rows, _ := w.acknowledged(t.Context())
			v := w.verifier(w.dst)
			v.Stall, v.SurveyFor, v.Settle, v.Lag = 20*time.Second, time.Hour, time.Second, -1
			mute := muteSource{Source: v.Source, rows: rows, opens: opens}
			if e, ok := v.Source.(bridge.Ender); ok {
				v.Source = muteEnder{mute, e}
			} else {
				v.Source = mute
			}
			began := time.Now()
			res := w.run(v)
			if res.Verdict != verify.Inconclusive || res.Totals.SourceRecords != int64(scope) || res.Findings.Missing > 0 {
				t.Errorf("%s, %d of %d records: %v", res.Verdict, res.Totals.SourceRecords, scope, res.Reasons)
			}
			b := res.Coverage.Beyond
			if said := strings.Join(res.Reasons, "\n"); b.Count == verify.CountAtLeast && !strings.Contains(said, "no answer within 20s") || b.Count == verify.CountExact {
				t.Errorf("%+v: %s", b, said)
			}
			if took := time.Since(began); took > time.Minute {
				t.Errorf("it took %s", took)
			}
		})
	}
}
