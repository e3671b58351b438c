//go:build integration

package integration

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/kinesis-msk-bridge/bridge/integration/checker"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
)

// A killer ends processes with kill -9 at moments that it chooses by their own counters,
// between the first and the last record, and counts what the next one finds.
type killer struct {
	*figures
	rng      *rand.Rand
	found    int // kills behind which records were found on the target
	present  int64
	busy     int // kills that fell while records were under way
	inFlight int64
}

// killsPerPass is how many times one workflow is killed.
const killsPerPass = 10

// pass runs a job through its kills. All but the last rows come while it lasts, so that
// every kill falls before the last record; fed is how many these are.
func (k *killer) pass(j *job, kills int, fed int64) {
	t := k.t
	t.Helper()
	var before int64
	c := j.mirror("state")
	for n := range kills {
		// Anywhere in the share of what is left that this kill has.
		target := min(before+1+k.rng.Int64N(max((fed-before)/int64(kills-n), 1)), fed)
		busy := n%2 == 0 // every second kill waits until records are under way
		c.until("the moment of the kill", func(p progress) bool {
			return p.Read >= target && (!busy || p.Under > 0 || p.Read >= fed)
		})
		at := c.at()
		c.kill()
		c = j.mirror("state")
		c.until("reading past the kill", func(p progress) bool { return p.Read >= min(at.Read+at.Under, fed) })
		found := c.found()
		before = c.at().Read
		k.note(at, found)
	}
	c.kill()
}

// note counts one kill.
func (k *killer) note(at progress, found int64) {
	k.runs++
	k.inFlight += at.Under
	k.present += found
	if at.Under > 0 {
		k.busy++
	}
	if found > 0 {
		k.found++
	}
	k.t.Logf("kill %d at %d read: in flight %d, found present %d, duplicates judged at the end", k.runs, at.Read, at.Under, found)
}

// report prints the figures and fails if the kills broke nothing.
func (k *killer) report() {
	k.print("in flight %d records at %d kills, found present %d records behind %d kills", k.inFlight, k.busy, k.present, k.found)
	if k.found*3 < k.runs {
		k.t.Errorf("not exercised: only behind %d of %d kills was something found on the target", k.found, k.runs)
	}
	if k.busy == 0 {
		k.t.Error("not exercised: no kill fell while records were under way")
	}
}

// lateRows is how many rows come after the last kill.
const lateRows = 100

func TestIntegrationKillsToKafka(t *testing.T) {
	t.Parallel() // it mostly waits
	f, kills, rng := prove(t, "kill -9, kinesis to kafka", 200, 11)
	k := &killer{figures: f, rng: rng}
	for pass := 0; k.runs < kills; pass++ {
		rows := rowsOf(t, 8000)
		srv := newKinesis(t, noRates)
		s, err := srv.CreateStream("source", 4)
		if err != nil {
			t.Fatal(err)
		}
		fed := len(rows) - lateRows
		j := newJob(t, toKafka, srv, "source", unique("killed"))
		j.checkpoints(pass)
		underFeed(t, func(ctx context.Context) { feed(ctx, t, s, rows[:fed], 800) }, func() { k.pass(j, killsPerPass, int64(fed)) })
		feed(t.Context(), t, s, rows[fed:], 0)
		arrivals(t, s, rows)
		r := j.catchUp("state")
		v, _ := judgeTopic(t, bench.kafka.Brokers(), j.topic, rows)
		k.judgedRun(v, r, len(rows))
	}
	k.report()
}

func TestIntegrationKillsToKinesis(t *testing.T) {
	t.Parallel() // it mostly waits
	f, kills, rng := prove(t, "kill -9, kafka to kinesis", 200, 12)
	k := &killer{figures: f, rng: rng}
	for pass := 0; k.runs < kills; pass++ {
		rows := rowsOf(t, 8000)
		nullKeys(rows)
		srv := newKinesis(t, noRates)
		topic := unique("source")
		createTopic(t, bench.kafka.Brokers(), topic, 6)
		fed := len(rows) - lateRows
		j := newJob(t, toKinesis, srv, "target", topic)
		j.checkpoints(pass)
		underFeed(t, func(ctx context.Context) { produce(ctx, t, bench.kafka.Brokers(), topic, rows[:fed], 6, 800) },
			func() { k.pass(j, killsPerPass, int64(fed)) })
		produce(t.Context(), t, bench.kafka.Brokers(), topic, rows[fed:], 6, 0)
		r := j.catchUp("state")
		k.judgedRun(judgeStream(t, srv.URL(), "target", rows), r, len(rows))
	}
	k.report()
}

// checkpoints lets every second pass save often.
func (j *job) checkpoints(pass int) {
	if pass%2 == 0 {
		j.more += "checkpoint_interval: 200ms\n"
	}
}

// underFeed does something while rows come, and returns when all have come.
func underFeed(t *testing.T, rows func(context.Context), do func()) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var feeding sync.WaitGroup
	feeding.Go(func() { rows(ctx) })
	do()
	feeding.Wait()
}

// judgedRun is judged with the counts of the program itself.
func (f *figures) judgedRun(v checker.Verdict, r result, rows int) {
	f.t.Helper()
	f.t.Logf("%s; counts %+v", v, r.Result.Counts)
	f.judged(v)
	if c := r.Result.Counts; c.Read != int64(rows) || c.Written+c.Present != c.Read {
		f.t.Fatalf("the counts are not those of %d records: %+v", rows, c)
	}
}

// Puts that were stored and whose answer was lost, with and without kill -9 behind them;
// equal values in a row and null keys included.
func TestIntegrationAmbiguousPuts(t *testing.T) {
	t.Parallel() // it mostly waits
	for _, kills := range []bool{false, true} {
		name := "put stored, answer cut, kafka to kinesis"
		if kills {
			name = "put stored, answer cut, then kill -9, kafka to kinesis"
		}
		t.Run(name, func(t *testing.T) { ambiguous(t, name, kills) })
	}
}

// perCut is how many records come for each answer that is cut.
const perCut = 250

func ambiguous(t *testing.T, name string, kills bool) {
	f, cuts, _ := prove(t, name, 100, 0)
	k := &killer{figures: f}
	rows := rowsOf(t, perCut*cuts)
	nullKeys(rows)
	for i := range rows {
		if i%10 < 5 { // five in a row that nothing tells apart, with a key and without
			rows[i].Value = []byte("the same")
			rows[i].Key, rows[i].Null = "twin", false
		}
		if i%10 == 4 {
			rows[i].Key, rows[i].Null = "", true
		}
	}
	srv := newKinesis(t, noRates)
	topic := unique("ambiguous")
	createTopic(t, bench.kafka.Brokers(), topic, 6)
	j := newJob(t, toKinesis, srv, "target", topic)
	c := j.mirror("state")
	for n := range cuts {
		srv.SetFault(kinesistest.Next("PutRecords", 1, kinesistest.Fault{LateCut: true}))
		produce(t.Context(), t, bench.kafka.Brokers(), topic, rows[n*perCut:(n+1)*perCut], 6, 0)
		waitFor(t, "put whose answer is cut", func() bool { return srv.Counts("PutRecords").Late > n })
		if kills {
			at := c.at()
			c.kill()
			c = j.mirror("state")
			c.until("all records", func(p progress) bool { return p.Read >= int64((n+1)*perCut) })
			k.note(at, c.found())
			continue
		}
		c.until("all records", func(p progress) bool { return p.Read >= int64((n+1)*perCut) })
		f.runs++
	}
	c.kill()
	r := j.catchUp("state")
	f.judgedRun(judgeStream(t, srv.URL(), "target", rows), r, len(rows))
	counts := srv.Counts("PutRecords")
	f.print("answers cut %d, records stored by them %d, found present behind kills %d", counts.Late, counts.LateStored, k.present)
	if counts.Late < cuts || counts.LateStored < cuts {
		t.Errorf("not exercised: %d answers cut, %d records stored by them", counts.Late, counts.LateStored)
	}
	if kills && k.found*3 < f.runs {
		t.Errorf("not exercised: only behind %d of %d kills was something found", k.found, f.runs)
	}
}

// waitFor looks until something is so.
func waitFor(t *testing.T, what string, is func() bool) {
	t.Helper()
	waitForEach(t, what, 2*time.Millisecond, is)
}

// waitForEach is waitFor for what is costly to look at.
func waitForEach(t *testing.T, what string, pause time.Duration, is func() bool) {
	t.Helper()
	limit := time.After(time.Minute)
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("no %s in a minute", what)
		}
	}
}
