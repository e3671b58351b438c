package verify_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
	"github.com/kinesis-msk-bridge/bridge/verify"
)

// Explain marks each record of a key as a run does, for every kind of damage: a difference by
// its class, and all others as equal.
func TestExplainMarks(t *testing.T) {
	for _, d := range []struct {
		name     string
		from, to memstream.Flavour
		ledger   bool
	}{
		{"kinesis to kafka", memstream.Kinesis, memstream.Kafka, false},
		{"kafka to kafka", memstream.Kafka, memstream.Kafka, false},
		{"kafka to kinesis", memstream.Kafka, memstream.Kinesis, false},
		{"kafka to kinesis with a ledger", memstream.Kafka, memstream.Kinesis, true},
	} {
		t.Run(d.name, func(t *testing.T) {
			marks := map[verify.Class]int{}
			for seed := range uint64(runs(1, 20)) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, seed, d.from, d.to)
					w.produce(60, 12)
					w.catchUp()
					w.reshard(w.src)
					w.produce(60, 12)
					w.catchUp()
					for _, kind := range damages {
						if kind.kafka && d.to != memstream.Kafka || kind.noLedger && d.to == memstream.Kinesis || kind.onlyLedger && !d.ledger {
							continue
						}
						if kind.name == "swap parent and child" && d.from != memstream.Kinesis {
							continue
						}
						explained(t, w, kind, d.ledger, marks)
					}
				})
			}
			t.Logf("marks: %v", marks)
			for _, class := range []verify.Class{"", verify.Missing, verify.Extra, verify.Corrupt, verify.Reordered} {
				if marks[class] == 0 {
					t.Errorf("no record was marked %q", class)
				}
			}
		})
	}
}

// explained damages one key and compares the marks of its records with what was done.
func explained(t *testing.T, w *world, kind damage, ledger bool, marks map[verify.Class]int) {
	c := newCopier(w)
	c.ledger = ledger
	keys := slices.Sorted(maps.Keys(c.byKey))
	w.rng.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	var done []truth
	key := ""
	for _, k := range keys {
		for i := range c.byKey[k] {
			if key = k; len(done) == 0 {
				done = kind.do(c, c.byKey[k], i)
			}
		}
		if len(done) > 0 {
			break
		}
	}
	if len(done) == 0 {
		return
	}
	dst, log := c.write()
	v := w.verifier(dst)
	v.DeadLetters = c.dead
	if ledger {
		v.Ledger = log
	}
	e, err := v.Explain(t.Context(), verify.Question{Key: []byte(key)})
	if err != nil {
		t.Fatalf("seed %d, %s: %v", w.seed, kind.name, err)
	}
	want := map[string]bool{}
	for _, l := range done {
		if l.class == verify.Duplicate && string(l.at.rec.Key) != key {
			continue // of the run that is there again, a record of another key
		}
		at := placeText(verify.Place{Partition: l.of.Partition, Position: l.of.Position})
		switch {
		case l.class == verify.Extra && l.of.IsZero():
			at = placeText(l.at.place)
		case l.of.IsZero():
			at = placeText(verify.Place{Partition: l.at.was.Partition, Position: l.at.was.Position})
		}
		want[fmt.Sprint(at, " ", single(l.class))] = true
	}
	got := map[string]bool{}
	for _, x := range e.Records {
		marks[x.Class]++
		if x.Class == "" {
			continue
		}
		at := placeText(x.Source)
		if x.Source.IsZero() {
			at = placeText(x.Target[0].Place)
		}
		got[fmt.Sprint(at, " ", single(x.Class))] = true
	}
	if !maps.Equal(want, got) {
		t.Errorf("seed %d, %s of %s: want %v, got %v", w.seed, kind.name, key, want, got)
	}
}

// single is the class of a record there again: whether others of other keys are there again
// beside it is not seen in the records of one key.
func single(c verify.Class) verify.Class {
	if c == verify.Rewind {
		return verify.Duplicate
	}
	return c
}

// What no comparison reached is not marked as equal: a record that the mirror has not
// acknowledged, and one from before the workflow's start.
func TestExplainScope(t *testing.T) {
	for _, d := range directions {
		t.Run(d.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 1, d.from, d.to)
				key := []byte("one")
				old := w.put(bridge.Record{Key: key, Value: []byte("old"), Time: time.Now()})
				<-time.After(time.Hour)
				start := time.Now()
				<-time.After(time.Hour)
				good := w.put(bridge.Record{Key: key, Value: []byte("good"), Time: time.Now()})
				w.catchUp()
				late := w.put(bridge.Record{Key: key, Value: []byte("late"), Time: time.Now()})
				v := w.verifier(w.dst)
				v.Start = start
				e, err := v.Explain(t.Context(), verify.Question{Key: key})
				if err != nil || len(e.Records) != 3 {
					t.Fatalf("%v: %+v", err, e)
				}
				want := map[bridge.Position]verify.Class{old.Position: verify.Unread, good.Position: "", late.Position: verify.Unread}
				for _, x := range e.Records {
					if x.Class != want[x.Source.Position] {
						t.Errorf("%s is marked %q, want %q: %v", x.Source.Position, x.Class, want[x.Source.Position], x.Notes)
					}
				}
			})
		})
	}
}
