//go:build integration

package integration

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/integration/servers"
	"github.com/kinesis-msk-bridge/bridge/kpl"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesisstream"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
)

// What a real application on the KCL is given of streams that aggregating producers wrote,
// through reshards, damage and a stop inside an aggregate, is exactly what the mirror
// brings into a topic, through kill -9; and its other modes bring what they say.
func TestIntegrationAggregatesLikeTheKCL(t *testing.T) {
	f, kills, rng := prove(t, "aggregated producers, reshards, damaged aggregates, kill -9 inside aggregates, beside a running KCL", 50, 61)
	d := sharedDynamoDB(t)
	var sum aggregated
	for f.runs < kills {
		a := newAggregated(t, rng, d)
		a.produce(t)
		t.Run("readers", func(t *testing.T) {
			for who, read := range map[string]func(*testing.T){"KCL": a.consume, "mirrors": a.mirrors} {
				t.Run(who, func(t *testing.T) {
					t.Parallel() // an application mostly waits
					read(t)
				})
			}
		})
		if t.Failed() {
			return
		}
		sameUsers(t, "the mirror, and the KCL", a.topics["kcl"], a.given)
		a.inOrder(t)
		a.resume(t)
		f.runs += a.kills
		f.sum.Records += len(a.given)
		sum.add(a)
	}
	f.print("%s", sum.String())
	if sum.halfRead == 0 || sum.resumed == 0 {
		t.Errorf("not exercised: %s", sum.String())
	}
}

// An aggregated is one stream of aggregating producers, and who reads it.
type aggregated struct {
	p   *kplProducer
	srv *kinesistest.Server
	app *moving

	jobs     map[string]*job   // of mirrors, by mode
	given    []user            // what the KCL delivered, as it did
	topics   map[string][]user // what the mirror delivered, by mode
	stopped  map[string]user   // where the application stopped inside an aggregate, by shard
	later    map[string][]user // what it was given of these shards from there on
	kinds    map[string]int
	resumed  int // user records that were read behind such a place
	kills    int
	halfRead int // aggregates of which a kill left a part on the topic
	dropped  int
	damaged  int
}

func (a *aggregated) add(b *aggregated) {
	if a.kinds == nil {
		a.kinds = map[string]int{}
	}
	for kind, n := range b.kinds {
		a.kinds[kind] += n
	}
	a.given = append(a.given, b.given...)
	a.resumed, a.kills, a.halfRead = a.resumed+b.resumed, a.kills+b.kills, a.halfRead+b.halfRead
	a.dropped, a.damaged = a.dropped+b.dropped, a.damaged+b.damaged
}

func (a *aggregated) String() string {
	return fmt.Sprintf("%d user records of the KCL %s are those of the mirror; dropped %d, damaged %d; Kinesis records %v; %d user records read on from inside an aggregate; %d kills, half-read aggregates behind them %d",
		len(a.given), servers.KCL3, a.dropped, a.damaged, a.kinds, a.resumed, a.kills, a.halfRead)
}

// newAggregated makes a stream.
func newAggregated(t *testing.T, rng *rand.Rand, d *servers.DynamoDB) *aggregated {
	t.Helper()
	srv := newKinesis(t, noRates)
	s, err := srv.CreateStream("source", 3)
	if err != nil {
		t.Fatal(err)
	}
	a := &aggregated{p: newKPLProducer(t, s, rng), srv: srv, jobs: map[string]*job{}, topics: map[string][]user{}, stopped: map[string]user{}, later: map[string][]user{}}
	for _, mode := range []string{"kcl", "keep-in-range", "keep-all", "opaque"} {
		j := newJob(t, toKafka, srv, "source", unique("aggregates"))
		j.aggregation = mode
		j.more += "policy: {undecodable: dead-letter}\ndead_letters: file:" + j.dir + "/letters\ncheckpoint_interval: 100ms\n"
		a.jobs[mode] = j
	}
	a.app = newMoving(t, newJob(t, toKafka, srv, "source", unique("none")), d)
	return a
}

// produce fills the stream. Its producers see each reshard late, and mirrors are killed on
// the way.
func (a *aggregated) produce(t *testing.T) {
	t.Helper()
	var feeding sync.WaitGroup
	killed := make(chan struct{})
	feeding.Go(func() { a.feed(killed) })
	snapshots := a.kill(t, a.jobs["kcl"])
	close(killed)
	feeding.Wait()
	want, _ := a.p.all(t, "kcl")
	whole := map[string]int{}
	for _, u := range want.users {
		whole[u.seq]++
	}
	for _, there := range snapshots {
		for seq, n := range there {
			if n < whole[seq] {
				a.halfRead++
			}
		}
	}
	_, a.kinds = a.p.all(t, "kcl")
	for _, kind := range []string{"misplaced", "sent again", "digest that does not match", "message that is cut", "key that is not in the table", "explicit hash key that is none"} {
		if a.kinds[kind] == 0 {
			t.Fatalf("not exercised: no %s among %v", kind, a.kinds)
		}
	}
}

// feed puts up to sixty Kinesis records a second until the kills are over, but 600 at
// least, and reshards three times.
func (a *aggregated) feed(killed <-chan struct{}) {
	s := a.p.s
	reshards := []func() error{
		func() error { _, _, err := s.Split("shardId-000000000000", ""); return err },
		func() error { _, err := s.Merge("shardId-000000000001", "shardId-000000000002"); return err },
		func() error { _, _, err := s.Split("shardId-000000000005", ""); return err },
	}
	tick := time.NewTicker(time.Second / 60)
	defer tick.Stop()
	for n := 0; ; n++ {
		<-tick.C
		if n > 600 {
			select {
			case <-killed:
				return
			default:
			}
		}
		if n%150 == 0 && 0 < n && n < 600 {
			if err := reshards[n/150-1](); err != nil {
				a.p.t.Error(err)
			}
		}
		a.p.some()
	}
}

// consume runs the application twice: first it stops inside an aggregate of a shard that
// has children, and of one that has none; then it reads on.
func (a *aggregated) consume(t *testing.T) {
	a.app.t = t
	want, _ := a.p.all(t, "kcl")
	limits := map[string]int{}
	for _, shard := range []string{"shardId-000000000000", "shardId-000000000005"} {
		n := 0
		for i, u := range want.users {
			if u.shard != shard {
				continue
			}
			n++
			if n > 40 && u.sub > 2 && i+1 < len(want.users) && want.users[i+1].seq == u.seq {
				limits[shard], a.stopped[shard] = n, u
				break
			}
		}
		if limits[shard] == 0 {
			t.Fatalf("not exercised: no aggregate of %s to stop inside of", shard)
		}
	}
	all := limits["shardId-000000000000"] + limits["shardId-000000000005"]
	for _, u := range want.users { // of the shards whose children are not held
		if u.shard == "shardId-000000000001" || u.shard == "shardId-000000000002" {
			all++
		}
	}
	first := a.app.kclUsers(servers.KCL3, limits, all)
	second := a.app.kclUsers(servers.KCL3, nil, len(want.users)-len(first.users))
	for _, u := range second.users {
		if _, ok := a.stopped[u.shard]; ok {
			a.later[u.shard] = append(a.later[u.shard], u)
		}
	}
	a.given = slices.Concat(first.users, second.users)
	sameUsers(t, "the KCL, and what producers meant", a.given, want.users)
}

// sameUsers compares two deliveries, whatever their order.
func sameUsers(t *testing.T, what string, got, want []user) {
	t.Helper()
	left := map[user]int{}
	for _, u := range want {
		left[u]++
	}
	var extra []user
	for _, u := range got {
		if left[u]--; left[u] < 0 {
			extra = append(extra, u)
		}
	}
	maps.DeleteFunc(left, func(_ user, n int) bool { return n <= 0 })
	if len(extra) > 0 || len(left) > 0 {
		t.Errorf("%s: %d user records and %d: %d too many, such as %+v; %d missing, such as %+v", what, len(got), len(want),
			len(extra), extra[:min(2, len(extra))], len(left), slices.Collect(maps.Keys(left))[:min(2, len(left))])
	}
}

// resume reads shards on from where the application stopped inside an aggregate, with the
// reader of the mirror: that is what the application was given from there on.
func (a *aggregated) resume(t *testing.T) {
	client, err := kinesisstream.Dial(t.Context(), kinesisstream.Config{
		Stream: "source", Region: "us-east-1", EndpointURL: a.srv.URL(), Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	})
	if err != nil {
		t.Fatal(err)
	}
	source := client.Source(kinesisstream.SourceConfig{Aggregation: kpl.KCL, NoRates: true})
	if _, err := source.Partitions(t.Context()); err != nil { // whose ranges say what is misplaced
		t.Fatal(err)
	}
	for shard, at := range a.stopped {
		r, err := source.Open(t.Context(), shard, bridge.Start{After: bridge.Position{Seq: at.seq, Sub: at.sub}})
		if err != nil {
			t.Fatal(err)
		}
		got := toEnd(t, r, shard)
		if !slices.Equal(got, a.later[shard]) {
			t.Errorf("%s from %s/%d on: %d user records, the KCL was given %d", shard, at.seq, at.sub, len(got), len(a.later[shard]))
		}
		a.resumed += len(got)
	}
}

// toEnd reads what a shard delivers.
func toEnd(t *testing.T, r bridge.Reader, shard string) (got []user) {
	t.Helper()
	for {
		b, err := r.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, rec := range b.Records {
			if rec.Refused == nil {
				got = append(got, user{shard, rec.Position.Seq, rec.Position.Sub, string(rec.Key), string(rec.Value)})
			}
		}
		if b.Ended || b.Behind == 0 && len(b.Records) == 0 {
			return got
		}
	}
}

// mirrors bring the stream into a topic of its own in each mode: what producers meant, by
// the rule of the mode.
func (a *aggregated) mirrors(t *testing.T) {
	for mode, j := range a.jobs {
		want, _ := a.p.all(t, mode)
		c := j.catchUp("state").Result.Counts
		a.topics[mode] = coordinates(t, j.topic)
		sameUsers(t, mode, a.topics[mode], want.users)
		if int(c.Dropped) != want.dropped || int(c.Letters) != want.damaged || int(c.Written+c.Present) != len(want.users) {
			t.Errorf("%s: %d dropped, %d dead letters of %d read, want %d and %d of %d", mode, c.Dropped, c.Letters, c.Read, want.dropped, want.damaged, len(want.users)+want.dropped+want.damaged)
		}
		t.Logf("%s: %d user records, %d dropped, %d damaged", mode, len(a.topics[mode]), want.dropped, want.damaged)
		if mode == "kcl" {
			a.dropped, a.damaged = want.dropped, want.damaged
		}
	}
}

// kill ends mirrors at once while records are under way. It returns how many user records
// of which Kinesis record each left on the topic.
func (a *aggregated) kill(t *testing.T, j *job) (snapshots []map[string]int) {
	t.Helper()
	for range 10 {
		c := j.mirror("state")
		c.until("records under way", func(p progress) bool { return p.Under > 0 && p.Written > 0 })
		c.kill()
		a.kills++
		there := map[string]int{}
		for _, u := range coordinates(t, j.topic) {
			there[u.seq]++
		}
		snapshots = append(snapshots, there)
	}
	return snapshots
}

// inOrder holds that of each shard the user records of each key stand as the KCL delivered
// them.
func (a *aggregated) inOrder(t *testing.T) {
	t.Helper()
	order := func(users []user) map[[2]string][]string {
		out := map[[2]string][]string{}
		for _, u := range users {
			of := [2]string{u.shard, u.key}
			out[of] = append(out[of], fmt.Sprint(u.seq, "/", u.sub))
		}
		return out
	}
	if got, want := order(a.topics["kcl"]), order(a.given); !reflect.DeepEqual(got, want) {
		t.Error("user records of a key stand in another order than the KCL delivered them")
	}
}

// coordinates reads what a mirror wrote, with where its headers say that it stood.
func coordinates(t *testing.T, name string) (out []user) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := dial(t, bench.kafka.Brokers(), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())
	ends, err := kadm.NewClient(c).ListEndOffsets(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	from, left := map[int32]kgo.Offset{}, map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Err == nil && o.Offset > 0 {
			from[o.Partition], left[o.Partition] = kgo.NewOffset().AtStart(), o.Offset
		}
	})
	c.AddConsumePartitions(map[string]map[int32]kgo.Offset{name: from})
	for len(left) > 0 && ctx.Err() == nil {
		c.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
			if r.Offset >= left[r.Partition]-1 {
				delete(left, r.Partition)
			}
			if !r.Attrs.IsControl() {
				out = append(out, mirrored(t, r))
			}
		})
	}
	if ctx.Err() != nil {
		t.Fatalf("read topic %s: partitions %v are not read to their ends", name, left)
	}
	return out
}

// mirrored is the user record that a record of a topic is a copy of.
func mirrored(t *testing.T, r *kgo.Record) user {
	t.Helper()
	for _, h := range slices.Backward(r.Headers) {
		if h.Key == bridge.ProvenanceHeader {
			p, err := bridge.DecodeProvenance(h.Value)
			if err != nil {
				t.Fatal(err)
			}
			return user{p.Partition, p.Position.Seq, p.Position.Sub, string(r.Key), string(r.Value)}
		}
	}
	t.Fatalf("a record without a coordinate: %q", r.Value)
	return user{}
}
