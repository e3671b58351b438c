//go:build integration

package integration

import (
	"context"
	"testing"
	"time"

	"github.com/kinesis-msk-bridge/bridge/integration/checker"
)

// timed gives rows times of their own, which nothing on the way sets.
func timed(rows []checker.Row) {
	start := time.Now().Add(-time.Hour) // the brokers delete what is old
	for i := range rows {
		rows[i].Time = start.Add(time.Duration(rows[i].N) * time.Microsecond).Truncate(time.Millisecond).UTC()
	}
}

// All flights and a set with a hot key, null keys among them, through a stream in each of
// the formats that carry everything, and on to a topic again: judged there, with times.
func TestIntegrationFormats(t *testing.T) {
	for _, format := range []string{"kpl", "envelope"} {
		for _, set := range []struct {
			name string
			rows []checker.Row
		}{{"flights", rowsOf(t, scaled(allFlights))}, {"Zipf 1.1, one key at 30 %", zipf(7, scaled(allFlights))}} {
			t.Run(format+"/"+set.name, func(t *testing.T) {
				f, _, _ := prove(t, "nothing: "+set.name+", kafka to kinesis to kafka in "+format, 1, 7)
				rows := set.rows
				nullKeys(rows)
				timed(rows)
				srv := newKinesis(t, noRates)
				topic := unique("source")
				createTopic(t, bench.kafka.Brokers(), topic, 12)
				produce(t.Context(), t, bench.kafka.Brokers(), topic, rows, 12, 0)
				there := newJob(t, toKinesis, srv, "packed", topic)
				there.format, there.shards = format, 8
				began := time.Now()
				first := there.catchUp("state")
				took := time.Since(began)
				second := onward(t, srv, "packed", rows)
				f.runs++
				f.judged(second)
				f.print("%.1f s to the stream, counts %+v", took.Seconds(), first.Result.Counts)
			})
		}
	}
}

// onward mirrors the stream into a topic of its own and judges that.
func onward(t *testing.T, srv kinesisServer, stream string, rows []checker.Row) checker.Verdict {
	t.Helper()
	back := newJob(t, toKafka, srv, stream, unique("onward"))
	back.restores = true
	back.catchUp("state")
	v, _ := judgeTopic(t, bench.kafka.Brokers(), back.topic, rows)
	return v
}

type kinesisServer interface{ URL() string }

// kill -9 while runs of records are packed and put.
func TestIntegrationKillsOfFormats(t *testing.T) {
	t.Parallel() // it mostly waits
	for i, format := range []string{"kpl", "envelope"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			f, kills, rng := prove(t, "kill -9, kafka to kinesis in "+format, 200, uint64(51+i))
			k := &killer{figures: f, rng: rng}
			for pass := 0; k.runs < kills; pass++ {
				rows := rowsOf(t, 8000)
				nullKeys(rows)
				timed(rows)
				srv := newKinesis(t, noRates)
				topic := unique("source")
				createTopic(t, bench.kafka.Brokers(), topic, 12)
				fed := len(rows) - lateRows
				j := newJob(t, toKinesis, srv, "packed", topic)
				j.format = format
				j.checkpoints(pass)
				underFeed(t, func(ctx context.Context) { produce(ctx, t, bench.kafka.Brokers(), topic, rows[:fed], 12, 800) },
					func() { k.pass(j, killsPerPass, int64(fed)) })
				produce(t.Context(), t, bench.kafka.Brokers(), topic, rows[fed:], 12, 0)
				r := j.catchUp("state")
				k.judgedRun(onward(t, srv, "packed", rows), r, len(rows))
			}
			k.report()
		})
	}
}
