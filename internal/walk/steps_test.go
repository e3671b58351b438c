package walk

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/mirror"
	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
)

type putter func(ctx context.Context, recs ...bridge.Record) ([]bridge.Ack, error)

// How a walk ends.
const (
	endDone = "with everything mirrored"
	endGap  = "with data gone, and said so"
	endBad  = "with a finding"
)

// A step is one thing that happens. Hazard names what must have been drawn for the walk to
// take it; empty ones are always possible.
type step struct {
	name   string
	hazard string
	weight int
	can    func(w *walk) bool
	do     func(w *walk)
}

var steps = []step{
	{name: "put", weight: 6, do: func(w *walk) { w.put(5 + w.rng.IntN(60)) }},
	{name: "wait", weight: 4, do: func(w *walk) { <-time.After(time.Duration(w.rng.IntN(120)) * time.Second) }},
	{name: "start", weight: 4, can: func(w *walk) bool { return w.running == nil }, do: (*walk).start},
	{name: "drain", weight: 2, can: runs1, do: (*walk).drain},
	{name: "kill", weight: 2, can: runs1, do: (*walk).kill},
	{name: "verify", weight: 2, do: func(w *walk) { w.verify(w.rng.IntN(2) == 0) }},
	{name: "reshard", hazard: "reshard", weight: 2, do: (*walk).reshard},
	{name: "pause", hazard: "age", weight: 2, can: runs1, do: (*walk).pauseLong},
	{name: "stay away", hazard: "age", weight: 2, can: func(w *walk) bool { return w.running == nil }, do: (*walk).stayAway},
	{name: "target away", hazard: "age", weight: 2, can: runs1, do: (*walk).targetAway},
	{name: "rough", hazard: "rough", weight: 2, do: (*walk).roughen},
	{name: "trim", hazard: "trim", weight: 2, can: fromKafka, do: (*walk).trim},
	{name: "cut the source", hazard: "cut", weight: 2, can: func(w *walk) bool { return !w.toKafka && w.txn == nil }, do: (*walk).cutSource},
	{name: "cut the target", hazard: "cut", weight: 2, can: func(w *walk) bool {
		return w.toKafka && w.running == nil && w.begun
	}, do: (*walk).cutTarget},
	{name: "open transaction", hazard: "transactions", weight: 3, can: func(w *walk) bool { return !w.toKafka && w.txn == nil }, do: (*walk).openTransaction},
	{name: "end transaction", hazard: "transactions", weight: 1, can: func(w *walk) bool { return w.txn != nil }, do: (*walk).endTransaction},
	{name: "hide", hazard: "hide", weight: 2, can: func(w *walk) bool { return w.begun }, do: (*walk).hideOne},
	{name: "recreate", hazard: "recreate", weight: 1, can: func(w *walk) bool { return w.begun }, do: (*walk).recreate},
}

func runs1(w *walk) bool { return w.running != nil }

func fromKafka(w *walk) bool { return !w.toKafka }

// Hazards are drawn for each walk, so that walks without one show false alarms.
var hazards = []string{"reshard", "age", "rough", "trim", "transactions", "hide", "times ahead", "recreate", "cut", "silence"}

// rare are those that end most walks.
var rare = map[string]int{"trim": 6, "recreate": 12, "hide": 6, "age": 3, "cut": 6, "silence": 4}

func (w *walk) run() {
	w.begin()
	w.hazards = map[string]bool{}
	for _, h := range hazards {
		one := 2
		if n := rare[h]; n > 0 {
			one = n
		}
		w.hazards[h] = w.rng.IntN(one) == 0
	}
	w.note("seed %d: to Kafka %t, envelopes %t, hazards %v, service clock %s ahead", w.seed, w.toKafka, w.restores, w.hazards, w.server.Now().Sub(time.Now()))
	w.put(20 + w.rng.IntN(100))
	for range 6 + w.rng.IntN(14) {
		if w.over {
			break
		}
		s := w.draw()
		w.note("%s", s.name)
		w.done[s.name]++
		s.do(w)
		w.watch()
	}
	w.finish()
}

// draw chooses a step that can be taken.
func (w *walk) draw() step {
	var can []step
	for _, s := range steps {
		if (s.hazard == "" || w.hazards[s.hazard]) && (s.can == nil || s.can(w)) {
			for range s.weight {
				can = append(can, s)
			}
		}
	}
	return can[w.rng.IntN(len(can))]
}

// finish ends what is open, mirrors everything, and verifies.
func (w *walk) finish() {
	defer func() {
		if w.running != nil {
			w.running.stop()
			<-w.running.done
		}
		if w.txn != nil {
			_ = w.txn.End(true)
		}
		switch {
		case len(w.found) > 0:
			w.end = endBad
		case w.over:
			w.end = endGap
		default:
			w.end = endDone
		}
	}()
	if !w.over && w.running != nil {
		w.drain()
	}
	w.rough = false
	if !w.over {
		w.catchUp()
	}
	if !w.over && w.running == nil {
		w.verify(true)
	}
	if !w.over && len(w.found) == 0 && !w.hurt {
		w.damage()
	}
}

// A running mirror.
type running struct {
	m      *mirror.Mirror
	stop   context.CancelFunc
	done   chan error
	killed bool
}

func (w *walk) newMirror(ctx context.Context) (*mirror.Mirror, error) {
	src, err := w.source(ctx, 5+w.rng.IntN(60))
	if err != nil {
		return nil, err
	}
	w.mirrors++
	w.orphan = !w.begun && w.hazards["hide"]
	w.begins()
	return &mirror.Mirror{
		Source: src, Keys: w.keys, Checkpoints: w.cps.Open(), Gate: w.gate,
		Sink:     w.dst.Sink(memstream.SinkConfig{Workflow: workflow, Worker: fmt.Sprint("worker-", w.mirrors), PutTimeout: 2 * time.Second}),
		Interval: 3 * time.Second, Discover: 5 * time.Minute,
	}, nil
}

// start has a mirror follow the source.
func (w *walk) start() {
	ctx, stop := context.WithCancel(w.t.Context())
	w.gate, w.clean = &mirror.Gate{}, false
	m, err := w.newMirror(ctx)
	if err != nil {
		stop()
		w.ended(err)
		return
	}
	r := &running{m: m, stop: stop, done: make(chan error, 1)}
	go func() { r.done <- m.Run(ctx) }()
	w.running = r
	<-time.After(time.Duration(w.rng.IntN(20_000)) * time.Millisecond)
}

// watch notices a mirror that ended by itself.
func (w *walk) watch() {
	if w.running == nil {
		return
	}
	select {
	case err := <-w.running.done:
		w.running.stop()
		w.running = nil
		if err == nil {
			w.finds(falseAlarm, "a mirror without a goal ended by itself, without an error")
			w.over = true
			return
		}
		w.ended(err)
	default:
	}
}

func (w *walk) drain() {
	w.running.m.Drain()
	w.await("a drain", func(err error) {
		if w.clean = err == nil; !w.clean {
			w.ended(err)
		}
	})
}

// await waits for the end of the running mirror.
func (w *walk) await(what string, then func(error)) {
	r := w.running
	w.running = nil
	defer r.stop()
	select {
	case err := <-r.done:
		then(err)
	case <-time.After(patience):
		w.finds(hang, "%s did not end in %s", what, patience)
		w.over = true
		r.stop()
		<-r.done
	}
}

func (w *walk) kill() {
	w.running.stop()
	w.await("a kill", func(err error) {
		if err != nil && !errors.Is(err, context.Canceled) {
			w.ended(err)
		}
	})
}

// catchUp runs a mirror until everything is on the target. A transaction that is open holds
// it up, until somebody ends it.
func (w *walk) catchUp() {
	w.gate = &mirror.Gate{}
	ctx, stop := context.WithCancel(w.t.Context())
	m, err := w.newMirror(ctx)
	if err != nil {
		stop()
		w.ended(err)
		return
	}
	m.UntilCaughtUp = true
	began := time.Now()
	w.running = &running{m: m, stop: stop, done: make(chan error, 1)}
	done := w.running.done
	go func() { done <- m.Run(ctx) }()
	if w.hazards["times ahead"] || w.rng.IntN(2) == 0 {
		w.put(1 + w.rng.IntN(10)) // of these it promises nothing
	}
	if w.txn != nil {
		<-time.After(20 * time.Minute)
		select {
		case err := <-done:
			done <- err
			if err == nil && w.behindTransaction() > 0 {
				w.finds(silentLoss, "caught up, it says, and %d records stand behind an open transaction", w.behindTransaction())
			}
		default:
		}
		w.endTransaction()
	}
	w.await("a run until caught up", func(err error) {
		if err != nil {
			w.ended(err)
			return
		}
		w.clean = true
		w.judgeTarget(began, "caught up, it says")
	})
}

// behindTransaction counts the rows that are in the source, outside of any transaction,
// and not on the target.
func (w *walk) behindTransaction() (n int) {
	dst := onTarget(w.dst)
	for _, r := range w.rows {
		if r.wanted() && dst[r.n] == 0 {
			n++
		}
	}
	return n
}

// ended judges the error that a mirror ended with. Data that is gone must be said to be;
// anything else is a false alarm.
func (w *walk) ended(err error) {
	w.over = true
	w.note("ended with: %v", err)
	lost, _ := w.unreadLoss()
	class := errors.Is(err, bridge.ErrGap) || errors.Is(err, bridge.ErrChanged) || errors.Is(err, bridge.ErrMissing)
	if !class || lost == 0 && !w.gone && !w.hurt && w.cuts == 0 {
		w.finds(falseAlarm, "a mirror ended with: %v", err)
	}
}

// reshard splits or merges on the Kinesis side.
func (w *walk) reshard() {
	if !w.toKafka {
		reshardMemory(w)
		return
	}
	var open []string
	for _, s := range w.stream.Shards() {
		if !s.Closed {
			open = append(open, s.ID)
		}
	}
	if w.rng.IntN(2) == 0 && len(open) < 6 {
		_, _, err := w.stream.Split(open[w.rng.IntN(len(open))], "")
		w.note("split: %v", err)
		return
	}
	for _, a := range open {
		for _, b := range open {
			if _, err := w.stream.Merge(a, b); a != b && err == nil {
				return
			}
		}
	}
}

func reshardMemory(w *walk) {
	parts, err := w.dst.Partitions(w.t.Context())
	if err != nil {
		return
	}
	open := slices.DeleteFunc(parts, func(p bridge.Partition) bool { return p.Closed })
	p := open[w.rng.IntN(len(open))]
	if w.rng.IntN(2) == 0 {
		_, _, _ = w.dst.Split(p.ID)
		return
	}
	for _, q := range open {
		if _, err := w.dst.Merge(p.ID, q.ID); err == nil {
			return
		}
	}
}

// long is a time in which records of a Kinesis source may expire, or nearly.
func (w *walk) long() time.Duration {
	return time.Duration(1+w.rng.IntN(30))*time.Hour + time.Duration(w.rng.IntN(3600))*time.Second
}

// age lets time pass while records come now and then, and notes what that can make
// unprovable: a reader that did not look for about as long as records are kept.
func (w *walk) age(d time.Duration) {
	n := 1 + w.rng.IntN(4)
	for range n {
		w.put(w.rng.IntN(12))
		w.setSlow(true)
		<-time.After(d / time.Duration(n))
		w.setSlow(false)
	}
	if w.toKafka && d > retention-2*time.Hour {
		w.gone = true
	}
}

func (w *walk) setSlow(slow bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.slow = slow
}

// pauseLong pauses the intake of a running mirror.
func (w *walk) pauseLong() {
	w.gate.Set(mirror.Limits{Paused: true})
	d := w.long()
	w.note("paused for %s", d)
	w.age(d)
	w.gate.Set(mirror.Limits{})
	<-time.After(2 * time.Minute)
}

func (w *walk) stayAway() {
	d := w.long()
	w.note("nobody mirrors for %s", d)
	w.age(d)
}

// targetAway lets writes to the target fail for long.
func (w *walk) targetAway() {
	d := w.long()
	w.note("the target is away for %s", d)
	w.dst.SetFaults(func(op memstream.Op) memstream.Fault {
		if op.Kind == memstream.OpAppend || op.Kind == memstream.OpPutRecord {
			return memstream.Fault{Delay: time.Minute, Err: fmt.Errorf("away: %w", bridge.ErrTransient)}
		}
		return memstream.Fault{}
	})
	w.age(d)
	w.dst.SetFaults(memstream.Rough(w.seed + 1))
	<-time.After(2 * time.Minute)
}

// roughen makes calls of Kinesis fail now and then, or no longer.
func (w *walk) roughen() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rough = !w.rough
}

// trim drops the head of a partition of the Kafka source.
func (w *walk) trim() {
	id, at := w.somewhere(w.fromKafka)
	if id == "" {
		return
	}
	if w.begun {
		<-time.After(time.Minute) // while a workflow begins its beginning may move
	}
	w.note("trim %s up to %s", id, at)
	if err := w.fromKafka.Trim(id, at); err != nil {
		w.t.Fatal(err)
	}
	w.gone = true
}

// somewhere is the position of a record of a stream; the partition is empty if none was found.
func (w *walk) somewhere(s *memstream.Stream) (partition string, at bridge.Position) {
	all := s.Snapshot()
	ids := slices.Sorted(maps.Keys(all))
	id := ids[w.rng.IntN(len(ids))]
	if len(all[id]) == 0 {
		return "", bridge.Position{}
	}
	return id, all[id][w.rng.IntN(len(all[id]))].Record.Position
}

// cutSource loses the tail of a partition of the Kafka source, as an unclean leader election
// does, and has producers write it again.
func (w *walk) cutSource() {
	id, at := w.somewhere(w.fromKafka)
	if id == "" {
		return
	}
	there := w.inSource()
	w.note("the source partition %s is cut back to %s", id, at)
	if err := w.fromKafka.LoseTail(id, at); err != nil {
		w.t.Fatal(err)
	}
	left := w.inSource()
	for _, r := range w.rows {
		r.cut = r.cut || there[r.n] && !left[r.n]
	}
	w.cuts++
	w.put(w.rng.IntN(80))
	<-time.After(time.Minute)
}

// cutTarget does that to a partition of the Kafka target.
func (w *walk) cutTarget() {
	id, at := w.somewhere(w.dst)
	if id == "" {
		return
	}
	w.note("the target partition %s is cut back to %s", id, at)
	if err := w.dst.LoseTail(id, at); err != nil {
		w.t.Fatal(err)
	}
	w.hurt = true
}

// openTransaction begins one, with records in it and others behind them.
func (w *walk) openTransaction() {
	w.txn, w.inTxn = w.fromKafka.Begin(fmt.Sprint("producer-", len(w.rows))), nil
	for range 1 + w.rng.IntN(4) {
		r := w.newRow()
		r.pending = true
		w.inTxn = append(w.inTxn, r)
		w.produce(r, w.txn.Put)
	}
	w.put(w.rng.IntN(40))
}

func (w *walk) endTransaction() {
	commit := w.rng.IntN(3) > 0
	w.note("the transaction ends, committed: %t", commit)
	if err := w.txn.End(commit); err != nil {
		w.t.Fatal(err)
	}
	w.txn = nil
	for _, r := range w.inTxn {
		r.pending, r.aborted = false, !commit
	}
}

// hideOne leaves a partition out of the next listing.
func (w *walk) hideOne() {
	w.mu.Lock()
	w.hide, w.hidden = true, true
	w.mu.Unlock()
	<-time.After(6 * time.Minute)
	w.mu.Lock()
	w.hide = false
	w.mu.Unlock()
}

// recreate deletes one side and makes it anew.
func (w *walk) recreate() {
	w.gone, w.hurt = true, true
	switch {
	case w.rng.IntN(2) == 0:
		w.note("the target is recreated")
		w.dst.Recreate()
	case w.toKafka:
		w.note("no recreation of the stream in this walk")
	default:
		w.note("the source is recreated")
		w.fromKafka.Recreate()
	}
	w.put(w.rng.IntN(30))
}
