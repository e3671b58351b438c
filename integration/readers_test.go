//go:build integration

package integration

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kinesis-msk-bridge/bridge/integration/checker"
	"github.com/kinesis-msk-bridge/bridge/integration/servers"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
)

// Aggregates that the mirror wrote while its stream was split and merged, read by others:
// a running KCL, and the de-aggregator for Python, which leaves nothing out. Either gets
// every record of the topic once, those of each key in order; only with many keys in an
// aggregate does the latter get those again that a reshard misplaced.
func TestIntegrationAggregatesReadByOthers(t *testing.T) {
	d := sharedDynamoDB(t)
	for _, of := range []string{"key", "shard"} {
		t.Run(of, func(t *testing.T) {
			t.Parallel() // an application mostly waits
			readByOthers(t, d, of)
		})
	}
}

func readByOthers(t *testing.T, d *servers.DynamoDB, of string) {
	f, _, _ := prove(t, "split and merge of the target, kafka to kinesis in kpl, aggregate: "+of+", read by aws_kinesis_agg and by the KCL", 1, 0)
	rows := rowsOf(t, scaled(allFlights))
	srv := newKinesis(t, noRates)
	topic := unique("source")
	createTopic(t, bench.kafka.Brokers(), topic, 12)
	j := newJob(t, toKinesis, srv, "packed", topic)
	j.format, j.shards, j.aggregate = "kpl", 3, of
	app := newMoving(t, j, d)
	misplaced := reshardUnderway(t, j, srv, rows)
	j.catchUp("state")

	stored := lineageOf(t, srv.Stream("packed"))
	all := checker.Judge(rows, byPython(t, stored))
	if all.Duplicated != misplaced || of == "shard" && misplaced == 0 {
		t.Errorf("a reader that does not filter gets %d records again, %d were misplaced", all.Duplicated, misplaced)
	}
	all.Duplicated = 0
	f.judged(all)
	given := app.kclUsers(servers.KCL3, nil, len(rows))
	copies := make([]checker.Copy, len(given.users))
	for i, u := range given.users {
		copies[i] = checker.Copy{Where: u.shard + " " + u.seq, Key: u.key, Value: []byte(u.value)}
	}
	f.judged(checker.Judge(rows, copies))
	f.runs++
	f.print("%d rows in %d Kinesis records, read by each; reshards 2 in the middle, misplaced and put again %d rows", len(rows), len(stored), misplaced)
	if len(stored)*2 > len(rows) {
		t.Errorf("not exercised: %d rows in %d Kinesis records", len(rows), len(stored))
	}
}

// reshardUnderway runs a mirror and splits and merges its target when a third and two thirds
// of the rows are there, before the next third comes, so that the mirror learns of it by what
// it puts. It returns how many rows were misplaced.
func reshardUnderway(t *testing.T, j *job, srv *kinesistest.Server, rows []checker.Row) int {
	t.Helper()
	third := len(rows) / 3
	produce(t.Context(), t, bench.kafka.Brokers(), j.topic, rows[:third], 12, 0)
	c := j.mirror("state")
	for i, reshard := range []func(*kinesistest.Stream) error{
		func(s *kinesistest.Stream) error { _, _, err := s.Split("shardId-000000000000", ""); return err },
		func(s *kinesistest.Stream) error {
			_, err := s.Merge("shardId-000000000001", "shardId-000000000002")
			return err
		},
	} {
		there := (i + 1) * third
		c.until("a part of the rows", func(p progress) bool { return p.Written >= int64(there) })
		if err := reshard(srv.Stream(j.stream)); err != nil {
			t.Fatal(err)
		}
		rest := rows[there:]
		if i == 0 {
			rest = rest[:third]
		}
		produce(t.Context(), t, bench.kafka.Brokers(), j.topic, rest, 12, 0)
	}
	c.drain()
	return c.misplaced()
}

// misplaced sums up what the process said that it puts again.
func (c *child) misplaced() (n int) {
	for line := range strings.Lines(c.stderr()) {
		var said struct {
			Msg     string
			Records int
		}
		if json.Unmarshal([]byte(line), &said) == nil && strings.HasPrefix(said.Msg, "an aggregate came to a shard") {
			n += said.Records
		}
	}
	return n
}

// kill -9 and reshards of the target while many keys share aggregates: what a reader in the
// manner of the KCL is given, which is what a mirror is, and what verify says of it.
func TestIntegrationKillsOfSharedAggregates(t *testing.T) {
	t.Parallel() // it mostly waits
	f, kills, rng := prove(t, "kill -9 and reshards of the target, kafka to kinesis in kpl, aggregate: shard", 100, 53)
	k := &killer{figures: f, rng: rng}
	reshards, again := 0, 0
	for pass := 0; k.runs < kills; pass++ {
		rows := rowsOf(t, 6000)
		nullKeys(rows)
		timed(rows)
		srv := newKinesis(t, noRates)
		s, err := srv.CreateStream("packed", 2)
		if err != nil {
			t.Fatal(err)
		}
		topic := unique("source")
		createTopic(t, bench.kafka.Brokers(), topic, 12)
		fed := len(rows) - lateRows
		j := newJob(t, toKinesis, srv, "packed", topic)
		j.format, j.aggregate = "kpl", "shard"
		j.checkpoints(pass)
		r := resharding{t: t, rng: rand.New(rand.NewPCG(53, uint64(pass))), srv: srv, s: s}
		underFeed(t, func(ctx context.Context) { produce(ctx, t, bench.kafka.Brokers(), topic, rows[:fed], 12, 250) }, func() {
			ctx, stop := context.WithCancel(t.Context())
			var other sync.WaitGroup
			other.Go(func() { r.often(ctx) })
			k.pass(j, killsPerPass, int64(fed))
			stop()
			other.Wait()
		})
		produce(t.Context(), t, bench.kafka.Brokers(), topic, rows[fed:], 12, 0)
		last := j.catchUp("state")
		k.judgedRun(onward(t, srv, "packed", rows), last, len(rows))
		c := j.start("verify", "run", "--config", j.config("state"), "--settle", "200ms")
		if code := c.wait(4 * time.Minute); code != 0 {
			t.Errorf("verify: exit %d\n%s\n%s", code, c.out.String(), c.stderr())
		}
		reshards, again = reshards+r.n, again+len(byPython(t, lineageOf(t, s)))-len(rows)
	}
	k.report()
	t.Logf("figures: reshards %d, records that stand in the stream twice, once where the KCL drops them, %d", reshards, again)
}

// often reshards once a second until ctx ends: whoever reads the stream passes through as
// many generations of shards.
func (r *resharding) often(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			r.once()
		}
	}
}

// lineageOf is everything that a stream holds, parents before their children.
func lineageOf(t *testing.T, s *kinesistest.Stream) (out []kinesistest.Record) {
	t.Helper()
	for _, sh := range s.Shards() {
		records, err := s.Records(sh.ID)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, records...)
	}
	return out
}

// byPython takes Kinesis records apart with aws_kinesis_agg.
func byPython(t *testing.T, records []kinesistest.Record) (out []checker.Copy) {
	t.Helper()
	cmd, err := servers.PythonCommand(t.Context(), program("deaggregate.py"))
	if err != nil {
		t.Fatal(err)
	}
	var in, said, wrong bytes.Buffer
	for _, r := range records {
		fmt.Fprintf(&in, "%s\t%s\n", base64.StdEncoding.EncodeToString([]byte(r.Key)), base64.StdEncoding.EncodeToString(r.Data))
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = &in, &said, &wrong
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, wrong.String())
	}
	file := filepath.Join(t.TempDir(), "python.out")
	if err := os.WriteFile(file, said.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	for f := range fields(t, file) {
		n, err := strconv.Atoi(f[0])
		if err != nil {
			t.Fatal(err)
		}
		key, err := hex.DecodeString(f[2])
		if err != nil {
			t.Fatal(err)
		}
		value, err := hex.DecodeString(f[3])
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, checker.Copy{Where: records[n].SequenceNumber + "/" + f[1], Key: string(key), Value: value})
	}
	return out
}
