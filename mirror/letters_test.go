package mirror_test

import (
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/keymap"
	"github.com/kinesis-msk-bridge/bridge/mirror"
	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
)

// burying makes a world some of whose rows cannot be carried.
func burying(t *testing.T, seed uint64, from, to memstream.Flavour, faults func(memstream.Op) memstream.Fault) *world {
	w := newWorld(t, seed, from, to)
	w.dst = memstream.New(memstream.Config{Flavour: to, Name: "target", Partitions: 1 + int(seed%4), Seed: seed + 1, MaxRecord: graveSize})
	w.dst.SetFaults(slow(seed))
	w.keys = byHash(0)
	if to == memstream.Kafka {
		w.keys = byHash(len(w.partitions(w.dst)))
	}
	w.grave = newGrave(memstream.NewLetters(0, faults))
	return w
}

// slowLetters lets one put of letters in five take up to a second, and refuses one in seven for
// now.
func slowLetters(seed uint64) func(memstream.Op) memstream.Fault {
	return func(op memstream.Op) memstream.Fault {
		h := md5.Sum(fmt.Append(nil, seed, op.Kind, op.N))
		var f memstream.Fault
		if op.Kind == memstream.OpLetterPut {
			if h[0]%5 == 0 {
				f.Delay = time.Duration(h[1]) * 4 * time.Millisecond
			}
			if h[2]%7 == 0 {
				f.Err = fmt.Errorf("put letters: %w", bridge.ErrThrottled)
			}
		}
		return f
	}
}

// Workers are killed at random moments, among them those between a letter that is durable
// and the checkpoint that covers it. No letter is lost, none is kept twice, and the records
// behind one go on in order.
func TestDeadLettersThroughKills(t *testing.T) {
	for _, d := range directions {
		t.Run(d.name, func(t *testing.T) {
			var total burials
			for seed := range uint64(runs(30, 1000)) {
				synctest.Test(t, func(t *testing.T) { total.add(bury(t, seed, d.from, d.to)) })
				if t.Failed() {
					return
				}
			}
			total.report(t)
		})
	}
}

type burials struct{ runs, kills, takeovers, letters, drops, uncovered int }

func (b *burials) add(c burials) {
	b.runs++
	b.kills += c.kills
	b.takeovers += c.takeovers
	b.letters += c.letters
	b.drops += c.drops
	b.uncovered += c.uncovered
}

func (b *burials) report(t *testing.T) {
	t.Logf("seeds 0..%d: %d kills, %d take-overs, %d letters, %d of them in no checkpoint at a kill, %d drops; lost 0, kept twice 0",
		b.runs-1, b.kills, b.takeovers, b.letters, b.uncovered, b.drops)
	if b.uncovered < b.kills/10 || b.drops == 0 {
		t.Errorf("not exercised: %+v", *b)
	}
}

func bury(t *testing.T, seed uint64, from, to memstream.Flavour) (n burials) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w := burying(t, seed, from, to, slowLetters(seed))
	var producing sync.WaitGroup
	producing.Go(func() { w.produce(ctx, 300, 7) })
	var zombies sync.WaitGroup
	for range 3 + w.rng.IntN(4) {
		runCtx, kill := context.WithCancel(ctx)
		m := w.open()
		done := make(chan error, 1)
		zombies.Go(func() { done <- m.Run(runCtx) })
		wait(ctx, time.Duration(w.rng.IntN(12_000))*time.Millisecond)
		if to == memstream.Kafka && w.rng.IntN(4) == 0 {
			n.takeovers++ // the old one lives on until it finds out
			defer kill()
			continue
		}
		kill()
		if err := <-done; !ended(err) {
			t.Fatalf("seed %d: a killed worker ended with %v", seed, err)
		}
		n.kills++
		n.uncovered += len(w.grave.letters.All()) - int(w.final().Counts.DeadLettered)
	}
	producing.Wait()
	w.catchUp(ctx)
	cancel()
	zombies.Wait()
	w.expectClean(w.judge())
	w.expectBuried()
	c := w.final().Counts
	if c.Read != int64(w.rows) {
		t.Fatalf("seed %d: %d rows were produced and %d counted as read: %+v", seed, w.rows, c.Read, c)
	}
	n.letters, n.drops = int(c.DeadLettered), int(c.Dropped)
	return n
}

// expectBuried holds that each row is where its fate says, once.
func (w *world) expectBuried() {
	w.t.Helper()
	want := map[string]int{}
	for row := range w.rows {
		want[w.grave.fate(row)]++
	}
	have, seen := map[string]int{}, map[int]bool{}
	for _, l := range w.grave.letters.All() {
		row, err := rowOf(l.Value)
		if err != nil || l.Class != w.grave.fate(row) || seen[row] || !strings.HasPrefix(string(l.Key), "key-") ||
			l.Stream == "" || l.Reason == "" || l.At.IsZero() || l.Origin.Stream == "" {
			w.t.Fatalf("seed %d: letter %+v of row %d, whose fate is %q, seen before: %t", w.seed, l, row, w.grave.fate(row), seen[row])
		}
		seen[row] = true
		have[l.Class]++
		if w.grave.hooked[l.Origin] > 1 {
			w.t.Errorf("seed %d: told of %s %d times", w.seed, l.Origin, w.grave.hooked[l.Origin])
		}
	}
	for _, class := range []string{bridge.ClassOversize, bridge.ClassUndecodable, bridge.ClassUnmappable} {
		if have[class] != want[class] {
			w.t.Errorf("seed %d: %d letters are %s, want %d", w.seed, have[class], class, want[class])
		}
	}
	c := w.final().Counts
	if c.DeadLettered != int64(len(seen)) || c.Dropped != int64(want[isDropped]) || len(w.grave.drops) != want[isDropped] {
		w.t.Errorf("seed %d: %+v with %d letters and %d drops told of; want %d drops", w.seed, c, len(seen), len(w.grave.drops), want[isDropped])
	}
}

// A letter whose acknowledgement was lost is put again, and a reader gets it once.
func TestLetterWhoseAnswerWasLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lost := func(op memstream.Op) memstream.Fault {
			if op.Kind == memstream.OpLetterPut && op.N%2 == 1 {
				return memstream.Fault{Err: bridge.ErrTransient, Took: true}
			}
			return memstream.Fault{}
		}
		w := burying(t, 3, memstream.Kinesis, memstream.Kafka, lost)
		w.produce(t.Context(), 200, 5)
		w.catchUp(t.Context())
		w.expectClean(w.judge())
		seen := map[bridge.Coordinate]bool{}
		for l, err := range w.grave.letters.Read("wf") {
			if err != nil {
				t.Fatal(err)
			}
			seen[l.Origin] = true
		}
		all := len(w.grave.letters.All())
		if c := w.final().Counts; c.DeadLettered != int64(len(seen)) || all == len(seen) {
			t.Errorf("%+v with %d letters, %d with copies; want as many, and copies", c, len(seen), all)
		}
	})
}

// The page of a letter is not done, and no later record of its lane is written, before the
// letter is durable.
func TestLetterComesBeforeItsLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		w := calm(t, memstream.Kinesis, memstream.Kafka, 1)
		w.dst = memstream.New(memstream.Config{Flavour: memstream.Kafka, Name: "target", Partitions: 3, Calm: true, MaxRecord: graveSize})
		w.grave = newGrave(memstream.NewLetters(0, func(op memstream.Op) memstream.Fault {
			if op.Kind == memstream.OpLetterPut {
				return memstream.Fault{Delay: time.Hour}
			}
			return memstream.Fault{}
		}))
		w.produce(ctx, 8, 1) // the rows 0 to 7: 2 is dropped, 3 undecodable, 5 oversize, 7 unmappable
		m := w.open()
		m.Interval = time.Second
		runCtx, kill := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() { done <- m.Run(runCtx) }()
		wait(ctx, 90*time.Minute) // the letters of the page are durable, that of the sink is not
		if v := w.judge(); v.records != 3 || v.lost != 1 {
			t.Errorf("while the letter of row 5 is under way: %+v; want the rows 0, 1, 4 and none behind 5", v)
		}
		if c := w.final().Counts; c.Read != 0 {
			t.Errorf("while it is under way a checkpoint says %+v", c)
		}
		kill()
		<-done
		w.grave.letters.SetFaults(nil)
		w.catchUp(ctx)
		w.expectClean(w.judge())
		w.expectBuried()
	})
}

// What the place of dead letters refuses ends the mirror: the record would be nowhere.
func TestRefusedLetterStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		w := calm(t, memstream.Kinesis, memstream.Kafka, 1)
		w.dst = memstream.New(memstream.Config{Flavour: memstream.Kafka, Name: "target", Partitions: 3, Calm: true, MaxRecord: graveSize})
		w.grave = newGrave(memstream.NewLetters(graveSize, nil))
		w.produce(ctx, 30, 1)
		err := w.end(ctx, w.open())
		if !errors.Is(err, bridge.ErrOversize) || bridge.Hint(err) == "" {
			t.Errorf("%v, want ErrOversize with a hint", err)
		}
		if c := w.final().Counts; c.DeadLettered > 3 || !c.Balanced() {
			t.Errorf("%+v", c)
		}
		m := w.open()
		m.DeadLetters = nil
		if err := w.end(ctx, m); !errors.Is(err, bridge.ErrRefused) {
			t.Errorf("no place: %v, want ErrRefused", err)
		}
		fenced := w.open()
		w.grave.letters.Open("wf")
		if err := w.end(ctx, fenced); !errors.Is(err, bridge.ErrFenced) {
			t.Errorf("fenced at the place of dead letters: %v, want ErrFenced", err)
		}
	})
}

// Each class has a policy of its own, and stops by default at the record that it names.
func TestPolicyOfEachClass(t *testing.T) {
	all := []string{bridge.ClassOversize, bridge.ClassUndecodable, bridge.ClassUnmappable}
	for i, policy := range []mirror.Policy{
		{Undecodable: mirror.DeadLetter, Unmappable: mirror.DeadLetter},
		{Oversize: mirror.DeadLetter, Unmappable: mirror.DeadLetter},
		{Oversize: mirror.DeadLetter, Undecodable: mirror.DeadLetter},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx := t.Context()
			w := calm(t, memstream.Kinesis, memstream.Kafka, 1)
			w.dst = memstream.New(memstream.Config{Flavour: memstream.Kafka, Name: "target", Partitions: 3, Calm: true, MaxRecord: graveSize})
			w.grave = newGrave(memstream.NewLetters(0, nil))
			w.produce(ctx, 30, 1)
			whole := w.grave.policy
			w.grave.policy = policy
			err := w.end(ctx, w.open())
			if bridge.DeadLetterClass(err) != all[i] || !strings.Contains(err.Error(), "record ") {
				t.Errorf("%s: %v", all[i], err)
			}
			for _, l := range w.grave.letters.All() {
				if l.Class == all[i] {
					t.Errorf("%s is not for dead letters: %+v", all[i], l)
				}
			}
			w.grave.policy = whole
			w.catchUp(ctx)
			w.expectClean(w.judge())
			w.expectBuried()
		})
	}
}

// prefixed gives every record another key on the target.
type prefixed struct{ keymap.Strategy }

func (p prefixed) Route(r *bridge.Record) (keymap.Route, error) {
	route, err := p.Strategy.Route(r)
	route.Key = append([]byte("mapped-"), route.Key...)
	return route, err
}

// A letter has the key that the record has at its source.
func TestLetterHasTheKeyOfTheSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		w := burying(t, 4, memstream.Kafka, memstream.Kinesis, nil)
		w.keys = prefixed{w.keys}
		w.produce(ctx, 100, 5)
		w.catchUp(ctx)
		w.expectBuried()
	})
}

// A place that lost its letters is no place to go on with.
func TestLostLetters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		w := burying(t, 5, memstream.Kinesis, memstream.Kafka, nil)
		w.produce(ctx, 100, 5)
		w.catchUp(ctx)
		if w.final().Floor.DeadLetters == nil {
			t.Fatalf("the floor says nothing of dead letters: %+v", w.final().Floor)
		}
		w.grave.letters.Lose()
		if err := w.end(ctx, w.open()); !errors.Is(err, bridge.ErrGap) {
			t.Errorf("%v, want a gap", err)
		}
	})
}

// A letter that was found is not done before its flow has come past it: until then the
// floor does not pass it, whatever other partitions bury behind it.
func TestFloorOfLettersWaitsForWhatWasFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		w := calm(t, memstream.Kafka, memstream.Kafka, 2)
		w.grave = newGrave(memstream.NewLetters(0, nil))
		bury := func(partition string, row int) {
			w.rows = row
			for n := 0; ; n++ {
				key := fmt.Sprint("key-", n)
				if route, _ := byHash(2).Route(&bridge.Record{Key: []byte(key)}); route.Partition == partition {
					w.put(ctx, key, 2)
					return
				}
			}
		}
		for i, partition := range []string{"0", "1"} {
			bury(partition, 3+17*i) // an undecodable row
			m := w.open()
			m.Interval = time.Second
			if i == 0 {
				m.Interval = time.Hour
			}
			runCtx, kill := context.WithCancel(ctx)
			done := make(chan error, 1)
			go func() { done <- m.Run(runCtx) }()
			wait(ctx, time.Minute)
			kill()
			<-done
			w.src.SetFaults(func(op memstream.Op) memstream.Fault {
				if op.Kind == memstream.OpRead && op.Partition == "0" {
					return memstream.Fault{Delay: time.Hour}
				}
				return memstream.Fault{}
			})
		}
		w.src.SetFaults(nil)
		w.catchUp(ctx)
		if n, c := len(w.grave.letters.All()), w.final().Counts; n != 2 || c.DeadLettered != 2 {
			t.Errorf("%d letters are kept and %+v counted, want 2", n, c)
		}
	})
}
