//go:build integration

package integration

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/kinesis-msk-bridge/bridge/integration/checker"
	"github.com/kinesis-msk-bridge/bridge/integration/proxy"
	"github.com/kinesis-msk-bridge/bridge/integration/servers"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
)

// Three brokers, replicated three times, at least two in sync: a leader dies under load, all
// of them are restarted one by one, and answers are lost after the append.
func TestIntegrationThreeBrokers(t *testing.T) {
	t.Parallel() // its brokers start while others wait
	var proxies []*proxy.Proxy
	for range 3 {
		p, err := proxy.Listen()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.Close() })
		proxies = append(proxies, p)
	}
	k, err := servers.StartKafka(t.Context(), servers.KafkaConfig{
		Dir: t.TempDir(), Nodes: 3,
		Advertise: func(node int, own string) string { proxies[node].Forward(own); return proxies[node].Addr() },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)

	for _, direction := range []string{toKafka, toKinesis} {
		t.Run(direction, func(t *testing.T) {
			b := brokers{t: t, kafka: k, proxies: proxies, direction: direction}
			t.Run("leader killed", b.leaderKilled)
			t.Run("rolling restart", b.rollingRestart)
			t.Run("answers lost", b.answersLost)
		})
	}
}

// brokers are three brokers behind proxies, and the direction of the mirror over them.
type brokers struct {
	t         *testing.T
	kafka     *servers.Kafka
	proxies   []*proxy.Proxy
	direction string
}

// afterRestart is how many more records have to come through before the next thing breaks.
const afterRestart = 2000

func (b brokers) leaderKilled(t *testing.T) {
	f, runs, _ := prove(t, "leader killed with -9, three brokers, "+b.direction, 1, 0)
	for range runs {
		b.underLoad(f, func(j *job, c *child) {
			leader := leaderOf(t, b.kafka, j.topic)
			b.kafka.Kill(leader)
			at := c.at().Read
			c.until("records after the fail-over", func(p progress) bool { return p.Read >= at+afterRestart })
			if err := b.kafka.Restart(t.Context(), leader); err != nil {
				t.Error(err)
			}
			b.inSync(j.topic)
		})
	}
}

func (b brokers) rollingRestart(t *testing.T) {
	f, runs, _ := prove(t, "rolling restart, three brokers, "+b.direction, 1, 0)
	for range runs {
		b.underLoad(f, func(j *job, c *child) {
			for i := range b.proxies {
				b.kafka.Stop(i)
				if err := b.kafka.Restart(t.Context(), i); err != nil {
					t.Error(err)
				}
				b.inSync(j.topic)
			}
		})
	}
}

// drops is how many answers are dropped.
const drops = 30

// answersLost drops one in ten answers to what is produced. Towards Kinesis these are the
// ledger's and the checkpoints'.
func (b brokers) answersLost(t *testing.T) {
	f, runs, _ := prove(t, "answers cut after the append, three brokers, "+b.direction, 1, 0)
	var produced, dropped int64
	for range runs {
		b.underLoad(f, func(_ *job, c *child) {
			before, droppedBefore := b.counts()
			for _, p := range b.proxies {
				p.DropEvery(10)
			}
			c.until("answers dropped", func(progress) bool { _, n := b.counts(); return n >= droppedBefore+drops })
			for _, p := range b.proxies {
				p.DropEvery(0)
			}
			produced, dropped = b.counts()
			produced, dropped = produced-before, dropped-droppedBefore
		})
	}
	t.Logf("%d produce requests were answered while one in ten answers was dropped, %d dropped", produced, dropped)
}

func (b brokers) counts() (produced, dropped int64) {
	for _, p := range b.proxies {
		n, d := p.Counts()
		produced, dropped = produced+n, dropped+d
	}
	return produced, dropped
}

// inSync returns when all replicas of the topic are in sync again.
func (b brokers) inSync(topic string) {
	adm := kadm.NewClient(dial(b.t, b.kafka.Brokers()))
	waitForEach(b.t, "replicas in sync", 50*time.Millisecond, func() bool {
		m, err := adm.Metadata(b.t.Context(), topic)
		if err != nil {
			return false
		}
		for _, p := range m.Topics[topic].Partitions {
			if len(p.ISR) < 3 {
				return false
			}
		}
		return true
	})
}

// underLoad mirrors flights, which come as long as breakIt does its work, and judges the
// target.
func (b brokers) underLoad(f *figures, breakIt func(j *job, c *child)) {
	t := f.t
	rows := rowsOf(t, allFlights)
	srv := newKinesis(t, noRates)
	j := newJob(t, b.direction, srv, "stream", unique("broken"))
	j.brokers, j.replicas = b.kafka.Brokers(), 3
	load := b.load(t, j, srv, rows)
	c := j.mirror("state")
	measuring, stop := context.WithCancel(t.Context())
	stall := longestStall(measuring, c)
	fed := 0
	feeding, enough := context.WithCancel(t.Context())
	underFeed(t, func(context.Context) { fed = load(feeding) }, func() {
		defer enough()
		c.until("the first records", func(p progress) bool { return p.Read > 1000 })
		breakIt(j, c)
	})
	rows = rows[:fed]
	c.until("all records", func(p progress) bool { return p.Read >= int64(len(rows)) })
	stop()
	longest := <-stall
	c.drain()
	r := j.catchUp("state")
	f.runs++
	f.judgedRun(b.judge(t, j, srv, rows), r, len(rows))
	f.print("longest stall %s, counts %+v", longest.Round(time.Millisecond), r.Result.Counts)
}

// load makes the source and returns what feeds it, a thousand records a second.
func (b brokers) load(t *testing.T, j *job, srv *kinesistest.Server, rows []checker.Row) func(context.Context) int {
	if b.direction == toKinesis {
		createTopic(t, j.brokers, j.topic, 6)
		return func(ctx context.Context) int { return produce(ctx, t, j.brokers, j.topic, rows, 6, 1000) }
	}
	s, err := srv.CreateStream(j.stream, 4)
	if err != nil {
		t.Fatal(err)
	}
	return func(ctx context.Context) int { return feed(ctx, t, s, rows, 1000) }
}

func (b brokers) judge(t *testing.T, j *job, srv *kinesistest.Server, rows []checker.Row) checker.Verdict {
	if b.direction == toKinesis {
		return judgeStream(t, srv.URL(), j.stream, rows)
	}
	arrivals(t, srv.Stream(j.stream), rows)
	v, _ := judgeTopic(t, j.brokers, j.topic, rows)
	return v
}

// longestStall measures for how long no record got through, until ctx ends.
func longestStall(ctx context.Context, c *child) <-chan time.Duration {
	out := make(chan time.Duration, 1)
	go func() {
		var longest time.Duration
		last, since := int64(0), time.Now()
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				out <- longest
				return
			case <-tick.C:
			}
			if now := c.at().Read; now != last {
				if last > 0 {
					longest = max(longest, time.Since(since))
				}
				last, since = now, time.Now()
			}
		}
	}()
	return out
}

// leaderOf is the node that leads partition 0.
func leaderOf(t *testing.T, k *servers.Kafka, topic string) int {
	t.Helper()
	m, err := kadm.NewClient(dial(t, k.Brokers())).Metadata(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	return int(m.Topics[topic].Partitions[0].Leader) - 1
}
