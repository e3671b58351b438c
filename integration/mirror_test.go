//go:build integration

package integration

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kinesis-msk-bridge/bridge/integration/checker"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
)

// All flights, and a set with a hot key, from 32 shards to real Kafka and back.
func TestIntegrationThereAndBack(t *testing.T) {
	sets := map[string][]checker.Row{"flights": rowsOf(t, 1<<30), "zipf": zipf(t, 50_000)}
	for name, rows := range sets {
		t.Run(name, func(t *testing.T) {
			k := newKinesis(t, kinesistest.Config{}) // with all its limits
			source, err := k.CreateStream("source", 32)
			if err != nil {
				t.Fatal(err)
			}
			feed(t.Context(), t, source, rows, 0)
			arrivals(t, source, rows)
			topic := unique("there")
			began := time.Now()
			there := newJob(t, toKafka, k, "source", topic).catchUp("state")
			v, _ := judgeTopic(t, bench.kafka.Brokers(), topic, rows)
			t.Logf("kinesis → kafka, %.0f s: %s; counts %+v", time.Since(began).Seconds(), v, there.Result.Counts)
			if !v.Clean() {
				t.Error("the topic is not what the stream was")
			}
			back := newJob(t, toKinesis, k, "back", topic)
			back.shards = 32 // the limits of the service hold for the target, too
			began = time.Now()
			again := back.catchUp("state")
			for i := range rows {
				rows[i].Time = time.Time{} // raw does not carry it, and that was accepted
			}
			v = judgeStream(t, k, "back", rows)
			t.Logf("kafka → kinesis, %.0f s: %s; counts %+v", time.Since(began).Seconds(), v, again.Result.Counts)
			if !v.Clean() {
				t.Error("the second stream is not what the topic was")
			}
		})
	}
}

// zipf makes a set with one key at 30 % and the others by Zipf 1.1.
func zipf(t *testing.T, n int) []checker.Row {
	const seed = 7
	t.Logf("zipf set: seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	z := rand.NewZipf(rng, 1.1, 1, 9999)
	var out []checker.Row
	for i := range n {
		key := "hot"
		if rng.IntN(10) >= 3 {
			key = fmt.Sprint("key-", z.Uint64())
		}
		out = append(out, checker.Row{N: i + 1, Key: key, Value: fmt.Appendf(nil, `{"row":%d,"key":%q}`, i+1, key)})
	}
	return out
}

// nullKeys gives rows without a tail number the null key that they have in runs that
// start from Kafka.
func nullKeys(rows []checker.Row) []checker.Row {
	for i := range rows {
		if rows[i].Key == "NA" {
			rows[i].Key, rows[i].Null = "", true
		}
	}
	return rows
}

// A killer ends the process at a moment that it chooses by the process's own counters.
type killer struct {
	rng                         *rand.Rand
	kills, found, present, busy int64
	inFlight                    int64
}

func newKiller(t *testing.T, seed uint64) *killer {
	t.Logf("seed %d", seed)
	return &killer{rng: rand.New(rand.NewPCG(seed, 0))}
}

// pass runs a job to its end with so many kills on the way, total records in all.
func (k *killer) pass(t *testing.T, j *job, kills, total int) {
	var before int64
	for n := range kills {
		c := j.mirror("state")
		// Somewhere between what was done and a share of what is left.
		target := before + 1 + k.rng.Int64N(max(int64(total)-before, 2)/int64(kills-n+1)*2)
		busy := n%2 == 0 // every second kill falls while records are under way
		c.until("the moment of the kill", func(p progress) bool {
			return p.Read >= min(target, int64(total)-1) && (!busy || p.Under > 0 || p.Read >= int64(total)-1)
		})
		at := c.at()
		c.signal(syscall.SIGKILL)
		<-c.done
		k.kills++
		k.inFlight += at.Under
		if at.Under > 0 {
			k.busy++
		}
		// The next process counts what it finds.
		next := j.mirror("state")
		next.until("the first record after the kill", func(p progress) bool { return p.Read > 0 })
		next.until("reading past the kill", func(p progress) bool { return p.Read >= at.Read })
		found := next.at().Present - k.present
		k.present = next.at().Present
		if found > 0 {
			k.found++
		}
		before = next.at().Read
		t.Logf("kill %d at %d read: in flight %d, found present %d", k.kills, at.Read, at.Under, found)
		next.signal(syscall.SIGKILL)
		<-next.done
		k.kills++
	}
	k.present = 0
}

func (k *killer) report(t *testing.T) {
	t.Logf("%d kills, %d of them measured with %d records in flight in all; %d of %d measured restarts found records present", k.kills, k.busy, k.inFlight, k.found, k.kills/2)
	if k.found*3 < k.kills/2 {
		t.Errorf("not exercised: only %d of %d restarts found something on the target", k.found, k.kills/2)
	}
	if k.busy == 0 {
		t.Error("not exercised: no kill fell while records were under way")
	}
}

func TestIntegrationKillsToKafka(t *testing.T) {
	k := newKiller(t, 11)
	const each = 10
	for left := count(t, 200); left > 0; left -= each {
		rows := rowsOf(t, 8000)
		srv := newKinesis(t, noRates)
		s, err := srv.CreateStream("source", 4)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		var feeding sync.WaitGroup
		feeding.Go(func() { feed(ctx, t, s, rows, 800) })
		j := newJob(t, toKafka, srv, "source", unique("killed"))
		if left%20 == 0 {
			j.more = "checkpoint_interval: 200ms\n"
		}
		k.pass(t, j, each/2, len(rows))
		feeding.Wait()
		stop()
		arrivals(t, s, rows)
		r := j.catchUp("state")
		v, _ := judgeTopic(t, bench.kafka.Brokers(), j.topic, rows)
		t.Logf("%s; counts %+v", v, r.Result.Counts)
		if !v.Clean() || r.Result.Counts.Read != int64(len(rows)) {
			t.Fatalf("after %d kills: %s", k.kills, v)
		}
	}
	k.report(t)
}

func TestIntegrationKillsToKinesis(t *testing.T) {
	k := newKiller(t, 12)
	const each = 10
	for left := count(t, 200); left > 0; left -= each {
		rows := rowsOf(t, 8000)
		srv := newKinesis(t, noRates)
		topic := unique("source")
		createTopic(t, topic, 6)
		ctx, stop := context.WithCancel(t.Context())
		var feeding sync.WaitGroup
		feeding.Go(func() { produce(ctx, t, topic, rows, 6, 800) })
		j := newJob(t, toKinesis, srv, "target", topic)
		if left%20 == 0 {
			j.more = "checkpoint_interval: 200ms\n"
		}
		k.pass(t, j, each/2, len(rows))
		feeding.Wait()
		stop()
		r := j.catchUp("state")
		v := judgeStream(t, srv, "target", rows)
		t.Logf("%s; counts %+v", v, r.Result.Counts)
		if !v.Clean() || r.Result.Counts.Read != int64(len(rows)) {
			t.Fatalf("after %d kills: %s", k.kills, v)
		}
	}
	k.report(t)
}
