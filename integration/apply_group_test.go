//go:build integration

package integration

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/kinesis-msk-bridge/bridge/integration/proxy"
	"github.com/kinesis-msk-bridge/bridge/integration/servers"
	"github.com/kinesis-msk-bridge/bridge/internal/dynamotest"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
)

// The api keys of what is asked about a group's offsets.
const (
	offsetCommit = 8
	offsetFetch  = 9
	offsetDelete = 47
)

// A killing is a move into a group on a broker behind a proxy, that is interrupted.
type killing struct {
	*moving
	proxy  *proxy.Proxy
	before map[int]int64 // what the group has committed
	after  map[int]int64 // what the plan says
	kills  map[string]int
}

// The program is killed inside apply to a group, and inside undo, around every question and
// every write about the group's offsets: before the broker has it, and behind its answer.
// The reads stand beside the writes of the plan's own state. Apply then finishes what was
// begun, and undo brings back what was there. A commit is one request, which a broker stores
// or does not; that half of it is there is made by hand.
func TestIntegrationKillsInApplyToGroup(t *testing.T) {
	t.Parallel() // it mostly waits
	k := newKilling(t)
	for _, behind := range []bool{false, true} {
		for _, verb := range []string{"apply", "undo"} {
			for at := int64(1); k.killAt(verb, behind, at); at++ {
			}
		}
	}
	k.killAt("apply", false, 3) // at the commit, and undone at once
	k.overtaken()
	t.Logf("figures: kill -9 inside apply and undo, kinesis to kafka: %d kills inside apply, %d inside undo, around every commit, deletion and read of offsets; %d finished, %d undone; lost 0",
		k.kills["apply"], k.kills["undo"], k.kills["finished"], k.kills["undone"])
	if k.kills["apply"] < 6 || k.kills["undo"] < 10 || k.kills["finished"] < 3 || k.kills["half"] != 2 {
		t.Error("it was killed too seldom")
	}
}

func newKilling(t *testing.T) *killing {
	p, err := proxy.Listen()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	kafka, err := servers.StartKafka(t.Context(), servers.KafkaConfig{
		Dir: t.TempDir(), Advertise: func(_ int, own string) string { p.Forward(own); return p.Addr() },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(kafka.Close)
	d, err := dynamotest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	srv := newKinesis(t, noRates)
	s, err := srv.CreateStream("source", 3)
	if err != nil {
		t.Fatal(err)
	}
	feed(t.Context(), t, s, numbered(t, 600), 0)
	j := newJob(t, toKafka, srv, "source", unique("killed"))
	j.brokers = []string{p.Addr()}
	m := &moving{t: t, j: j, app: unique("app"), group: unique("group")}
	j.more = fmt.Sprintf("dynamodb: {endpoint_url: \"%s\"}\nconsumers:\n- {name: billing, kcl_application: %s, group: %s}\n", d.URL(), m.app, m.group)
	m.halfConsumed(d, s)
	j.catchUp("state")
	k := &killing{moving: m, proxy: p, before: map[int]int64{}, kills: map[string]int{}}
	old := map[int32]int64{}
	for n := range 10 { // of 12: what was not committed is to be deleted
		k.before[n], old[int32(n)] = 1, 1
	}
	commitOffsets(t, j.brokers, m.group, j.topic, old)
	m.offsets(0, "apply", "--plan", m.offsets(0, "plan").Result.Plan, "--still-for", "1s")
	k.after = m.committed()
	k.undo("at the beginning")
	if len(k.after) != 12 || maps.Equal(k.after, k.before) {
		t.Fatalf("the group was at %v and moves to %v", k.before, k.after)
	}
	return k
}

// killAt kills the program at the at-th question or write, and reports false if there is
// none.
func (k *killing) killAt(verb string, behind bool, at int64) bool {
	k.t.Helper()
	plan := k.offsets(0, "plan").Result.Plan
	apply := []string{"apply", "--plan", plan, "--still-for", "1s"}
	args := apply
	if verb == "undo" {
		k.offsets(0, apply...)
		args = []string{"undo"}
	}
	var n, killed atomic.Int64
	c := k.j.start(slices.Concat([]string{"offsets", args[0], "--config", k.j.config("state")}, args[1:])...)
	k.proxy.Watch(func(api int, answered bool) bool {
		if api != offsetCommit && api != offsetFetch && api != offsetDelete || answered != behind || n.Add(1) != at {
			return true
		}
		killed.Store(int64(api))
		c.signal(syscall.SIGKILL)
		return false
	})
	<-c.done
	k.proxy.Watch(nil)
	what := fmt.Sprintf("%s killed at %d, behind the answer %v", verb, at, behind)
	if n.Load() < at {
		if c.code != 0 {
			k.t.Errorf("%s: exit %d\n%s", what, c.code, c.stderr())
		}
		if verb == "apply" {
			k.undo(what)
		}
		return false
	}
	k.kills[verb]++
	if verb == "apply" {
		k.half(int(killed.Load()))
		if k.kills[verb]%2 == 0 {
			k.offsets(0, apply...)
			k.kills["finished"]++
			k.at(what+", and applied again", k.after)
		} else if maps.Equal(k.committed(), k.before) {
			k.offsets(0, apply...) // undo has nothing to do before the first mark
		}
	}
	k.undo(what)
	return true
}

// half commits a part of what the plan says if the program was killed at its commit and nothing
// of it is there, as a broker would leave it that stores each partition for itself.
func (k *killing) half(api int) {
	k.t.Helper()
	if api != offsetCommit || !maps.Equal(k.committed(), k.before) {
		return
	}
	some := map[int32]int64{}
	for p := 1; p < 12; p += 2 {
		some[int32(p)] = k.after[p]
	}
	commitOffsets(k.t, k.j.brokers, k.group, k.j.topic, some)
	k.kills["half"]++
}

func (k *killing) undo(what string) {
	k.t.Helper()
	k.offsets(0, "undo")
	k.kills["undone"]++
	k.at(what+", and undone", k.before)
}

func (k *killing) at(what string, want map[int]int64) {
	k.t.Helper()
	if got := k.committed(); !maps.Equal(got, want) {
		k.t.Errorf("%s: the group is at %v, want %v", what, got, want)
	}
}

// overtaken has a consumer start on what a killed apply left, and go on. Neither apply nor
// undo may take that from it; a new plan may.
func (k *killing) overtaken() {
	k.t.Helper()
	plan := k.offsets(0, "plan").Result.Plan
	c := k.j.start("offsets", "apply", "--config", k.j.config("state"), "--plan", plan, "--still-for", "1s")
	k.proxy.Watch(func(api int, answered bool) bool {
		if api != offsetCommit || answered {
			return true
		}
		c.signal(syscall.SIGKILL)
		return false
	})
	<-c.done
	k.proxy.Watch(nil)
	k.offsets(10, "plan")
	commitOffsets(k.t, k.j.brokers, k.group, k.j.topic, map[int32]int64{0: k.after[0] + 1})
	for _, args := range [][]string{{"apply", "--plan", plan, "--still-for", "1s"}, {"undo"}} {
		p := k.offsets(7, args...)
		if p.Error == nil || !strings.Contains(p.Error.Message, fmt.Sprintf("is at %d in partition 0", k.after[0]+1)) || !strings.Contains(p.Error.Hint, "offsets plan") {
			k.t.Errorf("%v behind a consumer that went on: %+v", args, p.Error)
		}
	}
	k.offsets(0, "apply", "--plan", k.offsets(0, "plan", "--allow-rewind").Result.Plan, "--still-for", "1s")
	k.at("planned anew", k.after)
}

// halfConsumed makes the application's lease table as if it had stopped in the middle of
// each shard.
func (m *moving) halfConsumed(d *dynamotest.Server, s *kinesistest.Stream) {
	m.t.Helper()
	d.Create(m.app, "leaseKey")
	for _, shard := range s.Shards() {
		records, err := s.Records(shard.ID)
		if err != nil {
			m.t.Fatal(err)
		}
		err = d.Put(m.app, fmt.Sprintf(`{"leaseKey":{"S":%q},"leaseCounter":{"N":"7"},"checkpoint":{"S":%q},"checkpointSubSequenceNumber":{"N":"0"}}`,
			shard.ID, records[len(records)/2].SequenceNumber))
		if err != nil {
			m.t.Fatal(err)
		}
	}
}
