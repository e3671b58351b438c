//go:build integration

package integration

import (
	"maps"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
)

// How many shards the target of the killed runs has: one after the other answers, so that
// a run has as many steps.
const killedShards = 16

// One verify run is killed with -9 at moments that are chosen by its own counters, from the
// first record to the last, and resumed each time. It says the same as one that nobody
// disturbed.
func TestIntegrationKillsOfVerify(t *testing.T) {
	t.Parallel() // it mostly waits
	f, kills, rng := prove(t, "kill -9 of one verify run, kafka to kinesis with a ledger", 100, 83)
	rows := rowsOf(t, 20_000)
	srv := newKinesis(t, noRates)
	topic := unique("source")
	createTopic(t, bench.kafka.Brokers(), topic, 6)
	produce(t.Context(), t, bench.kafka.Brokers(), topic, rows, 6, 0)
	j := newJob(t, toKinesis, srv, "target", topic)
	j.shards = killedShards
	j.catchUp("state")
	damage(t, srv.Stream("target"))
	srv.SetFault(func(c kinesistest.Call) kinesistest.Fault {
		if c.Op != "GetRecords" {
			return kinesistest.Fault{}
		}
		n, err := strconv.Atoi(c.Shard[strings.LastIndex(c.Shard, "-")+1:])
		if err != nil {
			t.Error(err)
		}
		return kinesistest.Fault{Delay: time.Duration(n) * 60 * time.Millisecond}
	})
	run := func(name string) *child {
		return j.start("verify", "run", "--name", name, "--config", j.config("state"), "--settle", "500ms", "--save-every", "50ms", "--progress-interval", "5ms")
	}
	whole := run("whole")
	if code := whole.wait(2 * time.Minute); code != 5 {
		t.Fatalf("undisturbed: exit %d\n%s", code, whole.stderr())
	}
	want := whole.verified().Result
	all := whole.at().Source + whole.at().Target
	c := run("killed")
	least, most := all, int64(0)
	for n := range kills {
		share := all * 9 / 10 / int64(kills) // what is behind the last save of a run's end is said with it
		target := share*int64(n) + 1 + rng.Int64N(share)
		if !c.reaches(func(p progress) bool { return p.Source+p.Target >= target }) {
			t.Fatalf("the run ended before kill %d at %d of %d\n%s", n, target, all, c.stderr())
		}
		at := c.at().Source + c.at().Target
		c.kill()
		least, most = min(least, at), max(most, at)
		c = j.start("verify", "resume", "killed", "--config", j.config("state"), "--progress-interval", "5ms")
		f.runs++
	}
	if code := c.wait(2 * time.Minute); code != 5 {
		t.Fatalf("resumed: exit %d\n%s", code, c.stderr())
	}
	got := c.verified().Result
	if got.Verdict != want.Verdict || got.Totals != want.Totals || !maps.Equal(got.Findings, want.Findings) || len(got.Samples) != len(want.Samples) {
		t.Errorf("resumed: %s %+v %+v\nundisturbed: %s %+v %+v", got.Verdict, got.Totals, got.Findings, want.Verdict, want.Totals, want.Findings)
	}
	f.sum.Records += len(rows)
	f.print("killed at %d to %d of %d records of both sides; each said %s, %s, %d missing, %d rewinds", least, most, all, got.Verdict, got.Totals.Balance, got.Findings["missing"], got.Findings["rewind"])
	if most*10 < all*8 {
		t.Errorf("not exercised: the last kill was at %d of %d", most, all)
	}
}

// damage loses, changes and repeats records in the middle of shards.
func damage(t *testing.T, s *kinesistest.Stream) {
	t.Helper()
	for i, shard := range s.Shards() {
		list, err := s.Records(shard.ID)
		if err != nil {
			t.Fatal(err)
		}
		if len(list) < 100 {
			continue
		}
		switch i % 3 {
		case 0:
			err = s.Drop(shard.ID, 40+i)
		case 1:
			err = s.Change(shard.ID, 40+i, func(r *kinesistest.Record) { r.Data = []byte("changed") })
		case 2:
			last := list[len(list)-1]
			err = s.Insert(shard.ID, len(list), kinesistest.Record{Key: list[40].Key, Data: list[40].Data, Arrival: last.Arrival})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// reaches waits until the process has said something, and is false if it ends before.
func (c *child) reaches(what func(progress) bool) bool {
	limit := time.After(time.Minute)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !what(c.at()) {
		select {
		case <-tick.C:
		case <-c.done:
			return what(c.at())
		case <-limit:
			return false
		}
	}
	return true
}
