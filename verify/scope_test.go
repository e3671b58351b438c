package verify_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
	"github.com/kinesis-msk-bridge/bridge/verify"
)

// each runs a test in both directions, with seeds.
func each(t *testing.T, n int, fn func(t *testing.T, w *world)) {
	for _, d := range directions {
		t.Run(d.name, func(t *testing.T) {
			for seed := range uint64(n) {
				synctest.Test(t, func(t *testing.T) { fn(t, newWorld(t, seed, d.from, d.to)) })
				if t.Failed() {
					t.Logf("seed %d", seed)
					return
				}
			}
		})
	}
}

// What the source holds behind the mirror's checkpoint is counted and makes the run
// inconclusive, unless its range was given.
func TestBeyondTheScope(t *testing.T) {
	each(t, runs(8, 80), func(t *testing.T, w *world) {
		w.produce(60, 10)
		w.catchUp()
		scope := w.puts
		for range 2 {
			w.reshard(w.src)
			w.produce(40, 10)
		}
		res := w.run(w.verifier(w.dst))
		b := res.Coverage.Beyond
		if res.Verdict != verify.Inconclusive || !b.Known || b.Explained || b.Count != "exact" || b.Records != int64(w.puts-scope) {
			t.Errorf("%s %v: %+v, want %d records beyond", res.Verdict, res.Reasons, b, w.puts-scope)
		}
		if want := fmt.Sprintf("%d of %d records; %d", scope, w.puts, w.puts-scope); !strings.HasPrefix(b.Sentence(res.Totals.SourceRecords), want) {
			t.Errorf("%q, want %q", b.Sentence(res.Totals.SourceRecords), want)
		}
		unseen := 0
		for _, p := range b.Parts {
			if !p.Seen {
				unseen++
			}
		}
		if unseen != b.Unseen || (w.from == memstream.Kinesis) != (unseen > 0) {
			t.Errorf("%d partitions were never read, said %d", unseen, b.Unseen)
		}
		v := w.verifier(w.dst)
		v.Select.Through = map[string]bridge.Position{}
		for _, p := range w.partitions(w.src) {
			v.Select.Through[p.ID] = bridge.Position{Seq: strings.Repeat("9", 60)}
			if w.from == memstream.Kafka {
				v.Select.Through[p.ID] = bridge.OffsetPosition(1 << 40)
			}
		}
		if res := w.run(v); res.Verdict != verify.Consistent || res.Coverage.Beyond.Known {
			t.Errorf("with a range: %s %v", res.Verdict, res.Reasons)
		}
		v = w.verifier(w.dst)
		v.Quick = true
		if res := w.run(v); res.Coverage.Beyond.Records != b.Records {
			t.Errorf("ranges only: %+v", res.Coverage.Beyond)
		}
		w.catchUp()
		if res := w.run(w.verifier(w.dst)); res.Verdict != verify.Consistent || !res.Coverage.Beyond.Known || len(res.Coverage.Beyond.Parts) > 0 {
			t.Errorf("caught up: %s %v %+v", res.Verdict, res.Reasons, res.Coverage.Beyond)
		}
	})
}

// A mirror that is stopped is not waited for; one that goes on is, until it has caught up.
func TestLagOfTheMirror(t *testing.T) {
	each(t, runs(4, 40), func(t *testing.T, w *world) {
		w.produce(60, 10)
		w.catchUp()
		w.produce(60, 10)
		v := w.verifier(w.dst)
		v.Lag = -1
		began := time.Now()
		if res := w.run(v); res.Verdict != verify.Inconclusive || time.Since(began) > 30*time.Second {
			t.Errorf("stopped: %s after %s: %v", res.Verdict, time.Since(began), res.Reasons)
		}
		done := make(chan struct{})
		go func() { w.catchUp(); close(done) }()
		res := w.run(w.verifier(w.dst))
		<-done
		if res.Verdict != verify.Consistent || !res.Coverage.Beyond.Explained {
			t.Errorf("at work: %s %v %+v", res.Verdict, res.Reasons, res.Coverage.Beyond)
		}
	})
}

// What arrived before the workflow began to read is out of scope and not missing; what the
// target holds of it is counted. What expired behind the start is not taken for older.
func TestPinnedStart(t *testing.T) {
	each(t, runs(8, 80), func(t *testing.T, w *world) {
		w.produce(40, 10)
		<-time.After(time.Minute)
		older, start := w.puts, time.Now()
		w.produce(60, 10)
		m := w.mirror()
		m.Start, m.UntilCaughtUp = start, true
		if err := m.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if res := w.run(w.verifier(w.dst)); res.Verdict != verify.Inconsistent || res.Findings.Missing != int64(older) {
			t.Errorf("without the start: %s, %d missing, want %d", res.Verdict, res.Findings.Missing, older)
		}
		v := w.verifier(w.dst)
		v.Start = start
		res := w.run(v)
		if res.Verdict != verify.Consistent || res.Totals.SourceRecords != int64(w.puts-older) || res.Scope.From != "workflow-start" || !res.Scope.Start.Equal(start) {
			t.Errorf("%s %v: %d records, want %d; from %s", res.Verdict, res.Reasons, res.Totals.SourceRecords, w.puts-older, res.Scope.From)
		}
		w.trimmedBehindStart(start)
		v = w.verifier(w.dst)
		v.Start = start
		if res := w.run(v); res.Verdict != verify.Inconclusive || !strings.Contains(strings.Join(res.Reasons, "\n"), "older records than the source still has") || res.Coverage.Percent >= 100 || res.Coverage.Independent >= 100 {
			t.Errorf("expired behind the start: %s %v, coverage %v", res.Verdict, res.Reasons, res.Coverage)
		}
	})
}

// trimmedBehindStart lets all records expire that are older than the third one behind the
// start, in each partition that has more.
func (w *world) trimmedBehindStart(start time.Time) {
	for id, list := range w.src.Snapshot() {
		n := 0
		for i, s := range list {
			if s.Record.Time.Before(start) {
				continue
			}
			if n++; n == 3 && i+1 < len(list) {
				check(w.t, w.src.Trim(id, s.Record.Position))
			}
		}
	}
}

// What a mirror wrote from before the start is out of scope, and counted.
func TestTargetFromBeforeTheStart(t *testing.T) {
	each(t, runs(4, 40), func(t *testing.T, w *world) {
		w.produce(40, 10)
		<-time.After(time.Minute)
		older, start := w.puts, time.Now()
		w.produce(60, 10)
		w.catchUp()
		v := w.verifier(w.dst)
		v.Start = start
		if res := w.run(v); res.Verdict != verify.Consistent || res.Coverage.BeforeStart < int64(older) {
			t.Errorf("%s %v: %d from before the start, want %d", res.Verdict, res.Reasons, res.Coverage.BeforeStart, older)
		}
	})
}

// Behind an open transaction nothing is at its end: the run is inconclusive and names the
// transaction. One that ends meanwhile is no matter.
func TestOpenTransactions(t *testing.T) {
	for _, side := range []string{"source", "target"} {
		for _, kind := range []string{"once", "final"} {
			for _, ends := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, %s, ends: %t", side, kind, ends), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { openTransaction(t, side, kind == "final", ends) })
				})
			}
		}
	}
}

func openTransaction(t *testing.T, side string, final, ends bool) {
	w := newWorld(t, 3, memstream.Kafka, memstream.Kafka)
	w.produce(80, 10)
	w.catchUp()
	s := map[string]*memstream.Stream{"source": w.src, "target": w.dst}[side]
	id, _ := lastOf(s)
	txn := s.Begin("payments-7")
	rec := bridge.Record{Key: []byte("k"), Value: []byte("in a transaction"), Partition: id, Time: time.Now()}
	_, err := txn.Put(t.Context(), rec)
	check(t, err)
	if side == "source" {
		for range 5 {
			rec.Value = []byte("plain, behind it")
			_, err := w.src.Put(t.Context(), rec)
			check(t, err)
		}
	}
	mirroring, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := w.mirror().Run(mirroring); mirroring.Err() == nil {
			t.Errorf("mirror: %v", err)
		}
	}()
	v := w.verifier(w.dst)
	v.Final, v.Natives, v.Drain = final, true, 2*time.Minute
	if ends {
		time.AfterFunc(20*time.Second, func() { check(t, txn.End(true)) })
	}
	res := w.run(v)
	stop()
	<-done
	said := strings.Join(res.Reasons, "\n")
	switch {
	case ends && res.Verdict != verify.Consistent:
		t.Errorf("committed meanwhile: %s %s", res.Verdict, said)
	case !ends && (res.Verdict != verify.Inconclusive || !strings.Contains(said, `"payments-7", open for `)):
		t.Errorf("%s: %s", res.Verdict, said)
	}
}

// A cluster that was put back to an older copy looks whole. What contradicts it is named.
func TestRolledBack(t *testing.T) {
	for _, e := range []struct {
		name     string
		from, to memstream.Flavour
		change   func(w *world, cp *bridge.Checkpoint)
		reason   string
	}{
		{"the target ends before its noted place", memstream.Kinesis, memstream.Kafka, func(w *world, cp *bridge.Checkpoint) {
			id, list := lastOf(w.dst)
			cp.Floor.Partitions = map[string]bridge.Position{id: bridge.OffsetPosition(int64(len(list)) + 1000)}
		}, "ends before the place that the mirror's checkpoint has noted"},
		{"the source ends before what was acknowledged", memstream.Kafka, memstream.Kinesis, func(w *world, cp *bridge.Checkpoint) {
			id, list := lastOf(w.src)
			check(w.t, w.src.LoseTail(id, list[len(list)-9].Record.Position))
		}, "ends before what the mirror has acknowledged"},
		{"source and checkpoint end before what the target names", memstream.Kafka, memstream.Kinesis, func(w *world, cp *bridge.Checkpoint) {
			id, list := lastOf(w.src)
			at := list[len(list)-9].Record.Position
			check(w.t, w.src.LoseTail(id, at))
			for i := range cp.Rows {
				if cp.Rows[i].Partition == id {
					cp.Rows[i].Position = at
				}
			}
		}, "the target holds records behind its end"},
		{"a clean checkpoint is older than the target", memstream.Kinesis, memstream.Kafka, func(w *world, cp *bridge.Checkpoint) {
			_, list := lastOf(w.src)
			cp.Clean = true
			for i := range cp.Rows {
				if r := &cp.Rows[i]; r.Partition == list[0].Record.Partition {
					r.Position, r.Ended = list[len(list)-9].Record.Position, false
				}
			}
		}, "the checkpoint is older than the target"},
	} {
		t.Run(e.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 5, e.from, e.to)
				w.produce(150, 10)
				w.catchUp()
				rows, _ := w.acknowledged(t.Context())
				var cp bridge.Checkpoint
				for _, row := range rows {
					cp.Rows = append(cp.Rows, row)
				}
				e.change(w, &cp)
				v := w.verifier(w.dst)
				v.Acknowledged, v.Checkpoint = nil, func(context.Context) (bridge.Checkpoint, error) { return cp, nil }
				if res := w.run(v); res.Verdict != verify.Inconclusive || !strings.Contains(strings.Join(res.Reasons, "\n"), e.reason) {
					t.Errorf("%s: %v", res.Verdict, res.Reasons)
				}
			})
		})
	}
}

// A call that never answers ends a run as inconclusive after the stall time, and says which.
func TestCallsThatNeverAnswer(t *testing.T) {
	for _, kind := range []memstream.OpKind{memstream.OpOpen, memstream.OpRead, memstream.OpPartitions, memstream.OpEnds} {
		for _, side := range []string{"source", "target"} {
			for _, d := range directions {
				s := map[string]memstream.Flavour{"source": d.from, "target": d.to}[side]
				if kind == memstream.OpEnds && s != memstream.Kafka {
					continue
				}
				t.Run(fmt.Sprintf("%s, %s of the %s", d.name, kind, side), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { neverAnswers(t, newWorld(t, 2, d.from, d.to), kind, side) })
				})
			}
		}
	}
}

func neverAnswers(t *testing.T, w *world, kind memstream.OpKind, side string) {
	w.produce(60, 10)
	w.catchUp()
	s := map[string]*memstream.Stream{"source": w.src, "target": w.dst}[side]
	partition, _ := lastOf(s)
	from := int64(1)
	if kind == memstream.OpPartitions {
		from = 2 // the first ones are those of the start, which has a patience of its own
	}
	var n atomic.Int64
	s.SetFaults(func(op memstream.Op) memstream.Fault {
		if op.Kind != kind || op.Partition != "" && op.Partition != partition {
			return memstream.Fault{}
		}
		if n.Add(1) < from {
			return memstream.Fault{}
		}
		return memstream.Fault{Delay: 1000 * time.Hour}
	})
	v := w.verifier(w.dst)
	v.Lag = -1
	began := time.Now()
	var left time.Duration
	v.Hooks.Progress = func(p verify.Progress) {
		if p.Stalled != "" {
			left = max(left, p.Left)
		}
	}
	res := w.run(v)
	said := strings.Join(res.Reasons, "\n")
	took := time.Since(began)
	if n.Load() == from-1 {
		return // a run to an end lists once
	}
	if res.Verdict != verify.Inconclusive || !strings.Contains(said, "no answer within ") || took > 45*time.Minute {
		t.Errorf("%s after %s: %s", res.Verdict, took, said)
	}
	if left > 0 {
		t.Errorf("%s were left, it said, while nothing came", left)
	}
}
