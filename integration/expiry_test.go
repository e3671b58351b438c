//go:build integration

package integration

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/kinesis-msk-bridge/bridge/integration/checker"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
)

// A calendar is a Kinesis whose clock can be put forward.
type calendar struct {
	*kinesistest.Server
	ahead atomic.Int64
}

func newCalendar(t *testing.T) *calendar {
	c := &calendar{}
	c.ahead.Store(-int64(51 * time.Hour)) // Kafka refuses records of the future
	c.Server = newKinesis(t, kinesistest.Config{Limits: kinesistest.Limits{Off: true}, Clock: func() time.Time {
		return time.Now().Add(time.Duration(c.ahead.Load()))
	}})
	return c
}

// dayPasses expires everything that is stored: streams keep a day.
func (c *calendar) dayPasses() { c.ahead.Add(int64(25 * time.Hour)) }

// dayPassesUnderEyes is dayPasses while somebody reads each open shard all the time.
func (c *calendar) dayPassesUnderEyes(t *testing.T, s *kinesistest.Stream) {
	t.Helper()
	for range 25 {
		c.ahead.Add(int64(time.Hour))
		left := make(chan string, 1_000)
		c.SetFault(func(call kinesistest.Call) kinesistest.Fault {
			if call.Op == "GetRecords" {
				select {
				case left <- call.Shard:
				default:
				}
			}
			return kinesistest.Fault{}
		})
		unread := map[string]int{}
		for _, shard := range s.Shards() {
			if !shard.Closed {
				unread[shard.ID] = 2 // the first one may have been under way
			}
		}
		for len(unread) > 0 {
			select {
			case shard := <-left:
				if unread[shard]--; unread[shard] <= 0 {
					delete(unread, shard)
				}
			case <-time.After(time.Minute):
				t.Fatalf("nobody reads the shards %v", unread)
			}
		}
	}
	c.SetFault(nil)
}

// What has expired before the first start, or while a shard had nothing to say, is no gap.
func TestIntegrationExpiredParents(t *testing.T) {
	t.Parallel() // it mostly waits
	f, _, _ := prove(t, "parents expired before the first start, shard idle for longer than the retention, kinesis to kafka", 1, 0)
	rows := rowsOf(t, 3000)
	k := newCalendar(t)
	s, err := k.CreateStream("source", 2)
	if err != nil {
		t.Fatal(err)
	}
	feed(t.Context(), t, s, rows[:1000], 0)
	if err := s.Scale(4); err != nil {
		t.Fatal(err)
	}
	k.dayPasses()
	feed(t.Context(), t, s, rows[1000:2000], 0)
	j := newJob(t, toKafka, k, "source", unique("expired"))
	c := j.mirror("state")
	c.until("all records that there are", func(p progress) bool { return p.Read >= 1000 })
	k.dayPassesUnderEyes(t, s)
	var idle []checker.Row
	busy := s.ShardFor(rows[2000].Key)
	for _, r := range rows[2000:] {
		if s.ShardFor(r.Key) == busy { // the other shards stay idle
			idle = append(idle, r)
		}
	}
	feed(t.Context(), t, s, idle, 0)
	c.until("the records of one shard", func(p progress) bool { return p.Read >= int64(1000+len(idle)) })
	c.drain()
	r := j.catchUp("state")
	v, _ := judgeTopic(t, bench.kafka.Brokers(), j.topic, append(rows[1000:2000:2000], idle...))
	f.runs++
	f.judgedRun(v, r, 1000+len(idle))
	f.print("counts %+v", r.Result.Counts)
}

// A parent that expired while nobody looked is a gap, whose bounds are named.
func TestIntegrationParentExpiredWhileAway(t *testing.T) {
	t.Parallel() // it mostly waits
	rows := rowsOf(t, 2000)
	k := newCalendar(t)
	s, err := k.CreateStream("source", 1)
	if err != nil {
		t.Fatal(err)
	}
	feed(t.Context(), t, s, rows[:1000], 0)
	j := newJob(t, toKafka, k, "source", unique("away"))
	c := j.mirror("state")
	c.until("the first records", func(p progress) bool { return p.Read >= 1000 })
	c.drain()
	feed(t.Context(), t, s, rows[1000:], 0)
	if err := s.Scale(2); err != nil {
		t.Fatal(err)
	}
	k.dayPasses()
	before := len(inTopic(t, bench.kafka.Brokers(), j.topic))
	j.mirror("state").stops(8, "shardId-000000000000")
	if after := len(inTopic(t, bench.kafka.Brokers(), j.topic)); after != before {
		t.Errorf("the refused start wrote %d records", after-before)
	}
}
