//go:build integration

package integration

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/kinesis-msk-bridge/bridge/integration/checker"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
)

// unreadParent is how many records a parent must hold unread while its child waits.
const unreadParent = 1000

// A source that splits and merges at random under load, with kill -9 inside each phase of
// a reshard: while the child waits for its parent, when the parent is at its end and the
// child begins, and when the child is on its way.
func TestIntegrationReshardsToKafka(t *testing.T) {
	t.Parallel() // it mostly waits
	f, runs, rng := prove(t, "random splits and merges under load, kill -9 in each phase, kinesis to kafka", 100, 31)
	reshards, waited, kills, found, present := 0, 0, 0, 0, int64(0)
	for range runs {
		rows := rowsOf(t, 7000)
		srv := newKinesis(t, noRates)
		s, err := srv.CreateStream("source", 2)
		if err != nil {
			t.Fatal(err)
		}
		r := resharding{t: t, rng: rng, srv: srv, s: s}
		r.put(rows[:3000])
		parent, children := r.once()
		r.put(rows[3000:4000])
		j := newJob(t, toKafka, srv, "source", unique("resharded"))
		j.checkpoints(f.runs)
		underFeed(t, func(ctx context.Context) {
			feed(ctx, t, s, rows[4000:], 1500)
		}, func() {
			waited += r.phases(j, parent, children)
			c := j.mirror("state")
			for range 3 {
				at := c.at().Read
				c.until("more records", func(p progress) bool { return p.Read > at+300 || p.Read >= int64(len(rows)) })
				r.once()
			}
			c.kill()
			kills += r.kills + 1
		})
		arrivals(t, s, rows)
		last := j.catchUp("state")
		v, _ := judgeTopic(t, bench.kafka.Brokers(), j.topic, rows)
		f.runs++
		f.judgedRun(v, last, len(rows))
		reshards += r.n
		present += last.Result.Counts.Present
		if last.Result.Counts.Present > 0 {
			found++
		}
	}
	f.print("reshards %d, children that waited while a parent held at least %d unread records %d, kills %d, found present %d records in %d runs",
		reshards, unreadParent, waited, kills, present, found)
	if waited < f.runs {
		t.Errorf("not exercised: in only %d of %d runs a child waited", waited, f.runs)
	}
	if found*3 < f.runs {
		t.Errorf("not exercised: in only %d of %d runs something was found", found, f.runs)
	}
}

// A resharding is a stream that changes while it is used.
type resharding struct {
	t   *testing.T
	rng *rand.Rand
	srv *kinesistest.Server
	s   *kinesistest.Stream

	n, kills int
}

func (r *resharding) put(rows []checker.Row) { feed(r.t.Context(), r.t, r.s, rows, 0) }

// once splits or merges at random and returns who closed and who came.
func (r *resharding) once() (parents, children []string) {
	r.t.Helper()
	var open []kinesistest.ShardInfo
	for _, sh := range r.s.Shards() {
		if !sh.Closed {
			open = append(open, sh)
		}
	}
	r.n++
	if i := r.rng.IntN(len(open)); len(open) > 2 && r.rng.IntN(2) == 0 {
		for _, other := range open {
			if merged, err := r.s.Merge(open[i].ID, other.ID); err == nil {
				return []string{open[i].ID, other.ID}, []string{merged}
			}
		}
		r.t.Fatalf("%s has no neighbour", open[i].ID)
	}
	i := r.rng.IntN(len(open))
	low, high, err := r.s.Split(open[i].ID, "")
	if err != nil {
		r.t.Fatal(err)
	}
	return []string{open[i].ID}, []string{low, high}
}

// A phase of a reshard is pinned by holding one kind of call for one shard.
type phase struct {
	op, shard string
	passed    int64 // calls that are let through
}

// phasesOf are the phases of one reshard, in their order.
func phasesOf(parents, children []string) []phase {
	parent, child := parents[0], children[0]
	return []phase{
		{"GetRecords", parent, 0},      // the parent is not read, its child waits
		{"GetShardIterator", child, 0}, // the parent is at its end, the child begins
		{"GetRecords", child, 1},       // the child is on its way
	}
}

// phases kills a mirror inside each phase of the reshard that has happened before it
// starts. It returns in how many runs, 0 or 1, a child waited for a parent that held
// enough.
func (r *resharding) phases(j *job, parents, children []string) (waited int) {
	holds := 0
	for _, sh := range r.s.Shards() {
		if sh.ID == parents[0] {
			holds = sh.Records
		}
	}
	for n, phase := range phasesOf(parents, children) {
		begun := r.srv.Counts("GetShardIterator").Calls
		first := n == 0 && begun == 0
		if first {
			phase.passed = 1 // a first start asks each shard where it begins
		}
		held, free := r.hold(phase)
		c := j.mirror("state")
		waitFor(r.t, "phase of the reshard", func() bool {
			select {
			case <-held:
				return true
			default:
				return false
			}
		})
		if first {
			begun = r.srv.Counts("GetShardIterator").Calls
		}
		if n == 0 {
			c.until("a child that waits", func(p progress) bool { return p.Waiting > 0 })
			if holds >= unreadParent && !r.asked(begun, children) {
				waited = 1
			}
		}
		c.kill()
		r.kills++
		close(free)
	}
	r.srv.SetFault(nil)
	return waited
}

// hold keeps calls of a phase waiting from now on. What is held back happens only when the
// process that asked for it is gone.
func (r *resharding) hold(phase phase) (held, free chan struct{}) {
	held, free = make(chan struct{}), make(chan struct{})
	var asked atomic.Int64
	var once sync.Once
	r.srv.SetFault(func(c kinesistest.Call) kinesistest.Fault {
		if c.Op != phase.op || c.Shard != phase.shard || asked.Add(1) <= phase.passed {
			return kinesistest.Fault{}
		}
		once.Do(func() { close(held) })
		return kinesistest.Fault{Wait: free}
	})
	return held, free
}

// asked reports whether any of the shards was opened by one of the calls behind the first
// so many.
func (r *resharding) asked(first int, shards []string) bool {
	for _, e := range r.srv.Log() {
		if e.Op == "GetShardIterator" && e.N > first && slices.Contains(shards, e.Shard) {
			return true
		}
	}
	return false
}

// A target that splits and merges while it is written, with kills on the way, in each of the
// formats in turn.
func TestIntegrationReshardsToKinesis(t *testing.T) {
	t.Parallel() // it mostly waits
	f, runs, rng := prove(t, "random splits and merges of the target, kill -9 behind each, kafka to kinesis in raw, kpl and envelope in turn", 100, 32)
	k := &killer{figures: &figures{t: t, broken: f.broken}}
	formats := []string{"raw", "kpl", "envelope"}
	reshards := map[string]int{}
	for i := range runs {
		format := formats[i%len(formats)]
		reshards[format] += reshardTarget(t, format, f, k, rng)
	}
	f.print("reshards %v, kills %d, found present %d records behind %d of them", reshards, k.runs, k.present, k.found)
	if k.found*3 < k.runs {
		t.Errorf("not exercised: only behind %d of %d kills was something found", k.found, k.runs)
	}
}

// reshardTarget is one run, and returns how often the target was resharded.
func reshardTarget(t *testing.T, format string, f *figures, k *killer, rng *rand.Rand) int {
	rows := rowsOf(t, 4000)
	nullKeys(rows)
	if format != "raw" { // which does not carry times
		timed(rows)
	}
	srv := newKinesis(t, noRates)
	s, err := srv.CreateStream("target", 3)
	if err != nil {
		t.Fatal(err)
	}
	topic := unique("source")
	createTopic(t, bench.kafka.Brokers(), topic, 6)
	r := resharding{t: t, rng: rng, srv: srv, s: s}
	j := newJob(t, toKinesis, srv, "target", topic)
	j.format = format
	j.checkpoints(f.runs)
	fed := int64(len(rows))
	underFeed(t, func(ctx context.Context) { produce(ctx, t, bench.kafka.Brokers(), topic, rows, 6, 1500) }, func() {
		c := j.mirror("state")
		for range 3 {
			from := c.at().Read
			c.until("more records", func(p progress) bool { return p.Read > from+500 || p.Read >= fed })
			r.once()
			c.until("records behind the reshard", func(p progress) bool { return p.Read > from+800 || p.Read >= fed })
			at := c.at()
			c.kill()
			c = j.mirror("state")
			c.until("reading past the kill", func(p progress) bool { return p.Read >= min(at.Read+at.Under, fed) })
			k.note(at, c.found())
		}
		c.kill()
	})
	last := j.catchUp("state")
	f.runs++
	if format == "raw" {
		f.judgedRun(judgeStream(t, srv.URL(), "target", rows), last, len(rows))
	} else {
		f.judgedRun(onward(t, srv, "target", rows), last, len(rows))
	}
	return r.n
}
