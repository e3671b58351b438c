//go:build integration

package integration

import (
	"context"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kinesis-msk-bridge/bridge/integration/proxy"
	"github.com/kinesis-msk-bridge/bridge/integration/servers"
)

// Three brokers, replicated three times, at least two in sync: a leader dies under load, all
// of them are restarted one by one, and answers are lost after the append.
func TestIntegrationThreeBrokers(t *testing.T) {
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

	t.Run("leader killed", func(t *testing.T) {
		underLoad(t, k, func(topic string) {
			leader := leaderOf(t, k, topic)
			k.Kill(leader)
			t.Logf("killed broker %d, leader of partition 0", leader+1)
			<-time.After(2 * time.Second)
			if err := k.Restart(t.Context(), leader); err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("rolling restart", func(t *testing.T) {
		underLoad(t, k, func(string) {
			for i := range 3 {
				k.Stop(i)
				if err := k.Restart(t.Context(), i); err != nil {
					t.Error(err)
				}
				<-time.After(time.Second)
			}
		})
	})
	t.Run("answers lost", func(t *testing.T) {
		underLoad(t, k, func(string) {
			for _, p := range proxies {
				p.DropEvery(10)
			}
			<-time.After(5 * time.Second)
		})
		var produced, dropped int64
		for _, p := range proxies {
			p.DropEvery(0)
			a, b := p.Counts()
			produced, dropped = produced+a, dropped+b
		}
		t.Logf("%d produce requests were answered, %d of the answers dropped after the append", produced, dropped)
		if dropped < 10 {
			t.Error("not exercised")
		}
	})
}

// underLoad mirrors flights while breakIt does its work, and judges the topic.
func underLoad(t *testing.T, k *servers.Kafka, breakIt func(topic string)) {
	rows := rowsOf(t, 20_000)
	srv := newKinesis(t, noRates)
	s, err := srv.CreateStream("source", 4)
	if err != nil {
		t.Fatal(err)
	}
	j := newJob(t, toKafka, srv, "source", unique("broken"))
	j.brokers, j.replicas = k.Brokers(), 3
	c := j.mirror("state")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var feeding sync.WaitGroup
	feeding.Go(func() { feed(ctx, t, s, rows, 1000) })
	stall := longestStall(ctx, c)
	c.until("the first records", func(p progress) bool { return p.Read > 1000 })
	breakIt(j.topic)
	feeding.Wait()
	c.until("all records", func(p progress) bool { return p.Read >= int64(len(rows)) })
	stop()
	t.Logf("longest stall %s", (<-stall).Round(time.Millisecond))
	c.signal(syscall.SIGTERM)
	if code := c.wait(time.Minute); code != 143 {
		t.Fatalf("exit %d\n%s", code, c.stderr())
	}
	arrivals(t, s, rows)
	r := j.catchUp("state")
	v, _ := judgeTopic(t, j.brokers, j.topic, rows)
	t.Logf("%s; counts %+v", v, r.Result.Counts)
	if !v.Clean() {
		t.Error("the topic is not what the stream was")
	}
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
	c, err := kgo.NewClient(kgo.SeedBrokers(k.Brokers()...))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	m, err := kadm.NewClient(c).Metadata(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	return int(m.Topics[topic].Partitions[0].Leader) - 1
}
