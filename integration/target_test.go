//go:build integration

package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kinesis-msk-bridge/bridge/integration/checker"
	"github.com/kinesis-msk-bridge/bridge/integration/servers"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
)

// interrupted mirrors rows into a topic of the cluster until half of them are read and a
// checkpoint holds some of them, and kills the mirror.
func interrupted(t *testing.T, brokers []string, topic string, rows []checker.Row, more string) (*job, *kinesistest.Stream) {
	t.Helper()
	srv := newKinesis(t, noRates)
	s, err := srv.CreateStream("source", 2)
	if err != nil {
		t.Fatal(err)
	}
	j := newJob(t, toKafka, srv, "source", topic)
	j.brokers, j.more = brokers, more
	half := len(rows) / 2
	c := j.mirror("state")
	for i := 0; i < half; i += 100 {
		feed(t.Context(), t, s, rows[i:i+100], 0)
		c.until("a hundred records more", func(p progress) bool { return p.Read >= int64(i+100) })
	}
	c.kill()
	feed(t.Context(), t, s, rows[half:], 0)
	return j, s
}

// Somebody else's transaction is open on the target all the time: what the mirror wrote
// behind it is found all the same.
func TestIntegrationOpenTransactionOnTheTarget(t *testing.T) {
	t.Parallel() // it mostly waits
	f, _, _ := prove(t, "foreign transaction open on the target, kill -9, kinesis to kafka", 1, 0)
	brokers, topic := bench.kafka.Brokers(), unique("shared")
	createTopic(t, brokers, topic, 12)
	other := dial(t, brokers, kgo.TransactionalID(unique("foreign")), kgo.TransactionTimeout(5*time.Minute))
	if err := other.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	for p := range int32(12) {
		if err := other.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Partition: p, Value: []byte("foreign")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	rows := rowsOf(t, 4000)
	j, s := interrupted(t, brokers, topic, rows, "checkpoint_interval: 10m\n")
	arrivals(t, s, rows)
	r := j.catchUp("state")
	adm := kadm.NewClient(dial(t, brokers))
	stable, err := adm.ListCommittedOffsets(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	behind := 0
	stable.Each(func(o kadm.ListedOffset) {
		if o.Offset == 0 {
			behind++ // nothing of this partition is stable
		}
	})
	if err := other.EndTransaction(t.Context(), kgo.TryAbort); err != nil {
		t.Fatal(err)
	}
	var mine []checker.Copy
	for _, c := range inTopic(t, brokers, topic) {
		if string(c.Value) != "foreign" {
			mine = append(mine, c)
		}
	}
	f.runs++
	f.judgedRun(checker.Judge(rows, mine), r, len(rows))
	f.print("partitions whose last stable offset is before the mirror's first record %d, found present %d", behind, r.Result.Counts.Present)
	if behind != 12 || r.Result.Counts.Present == 0 {
		t.Errorf("not exercised: %d partitions held back, %d found present", behind, r.Result.Counts.Present)
	}
}

// A compacted target has dropped records by the time of the restart. These are not written
// again behind their successors, and the last one of each key is right.
func TestIntegrationCompactedTarget(t *testing.T) {
	t.Parallel() // it mostly waits
	f, _, _ := prove(t, "records dropped by compaction, then a restart, kinesis to kafka", 1, 0)
	k, err := servers.StartKafka(t.Context(), servers.KafkaConfig{Dir: t.TempDir(), Properties: map[string]string{"log.cleaner.backoff.ms": "100"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	topic := unique("compacted")
	createTopic(t, k.Brokers(), topic, 12, "cleanup.policy=compact", "min.cleanable.dirty.ratio=0.01", "segment.ms=200", "min.compaction.lag.ms=0", "max.compaction.lag.ms=1")
	rows := zipf(9, 4000)
	for i := range rows {
		rows[i].Key = fmt.Sprint("key-", i%40)
	}
	j, _ := interrupted(t, k.Brokers(), topic, rows, "checkpoint_interval: 10m\n")
	// A segment is closed, and so cleaned, when the next record comes: a stranger's.
	other := dial(t, k.Brokers())
	left := 0
	waitFor(t, "compaction", func() bool {
		for p := range int32(12) {
			if err := other.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Partition: p, Key: []byte("stranger"), Value: []byte("tick")}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		left = len(withoutStranger(inTopic(t, k.Brokers(), topic)))
		return left < len(rows)/4
	})
	r := j.catchUp("state")
	dropped := checker.Judge(rows, withoutStranger(inTopic(t, k.Brokers(), topic)))
	last := map[string]checker.Row{}
	for _, row := range rows {
		last[row.Key] = row
	}
	for _, c := range withoutStranger(inTopic(t, k.Brokers(), topic)) {
		if string(last[c.Key].Value) == string(c.Value) {
			delete(last, c.Key)
		}
	}
	f.runs++
	f.sum = dropped
	f.sum.Lost = len(last) // what no later record of its key supersedes
	f.print("superseded and dropped by compaction %d, %d of %d were left at the restart, counts %+v", dropped.Lost, left, len(rows)/2, r.Result.Counts)
	if f.sum.Lost+f.sum.Changed+f.sum.Duplicated+f.sum.Reordered+f.sum.Misplaced > 0 {
		t.Errorf("the compacted topic: %s; %d keys without their last record", dropped, len(last))
	}
	if r.Result.Counts.Present == 0 {
		t.Error("not exercised: nothing was found present")
	}
}

func withoutStranger(in []checker.Copy) (out []checker.Copy) {
	for _, c := range in {
		if c.Key != "stranger" {
			out = append(out, c)
		}
	}
	return out
}

// The target's oldest records were removed up to a place behind the checkpoint.
func TestIntegrationTargetBeginsBehindTheCheckpoint(t *testing.T) {
	t.Parallel() // it mostly waits
	brokers, topic := bench.kafka.Brokers(), unique("trimmed")
	rows := rowsOf(t, 4000)
	j, s := interrupted(t, brokers, topic, rows, "checkpoint_interval: 10ms\n")
	j.more = "checkpoint_interval: 10m\n" // what comes now is behind the last checkpoint
	c := j.mirror("state")
	c.until("all records", func(p progress) bool { return p.Read >= int64(len(rows)) })
	c.kill()
	adm := kadm.NewClient(dial(t, brokers))
	ends, err := adm.ListEndOffsets(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := adm.DeleteRecords(t.Context(), ends.Offsets()); err != nil {
		t.Fatal(err)
	}
	before := checkpointed(t, j)
	j.mirror("state").stops(8, "begins behind the checkpoint")
	if after := checkpointed(t, j); after != before {
		t.Error("the refused start saved a checkpoint")
	}

	// After a clean stop nothing has to be looked for, and it goes on.
	topic = unique("trimmed")
	j, s = interrupted(t, brokers, topic, rows, "checkpoint_interval: 10ms\n")
	c = j.mirror("state")
	c.until("the first record behind the kill", func(p progress) bool { return p.Read > int64(len(rows)/2) })
	c.drain()
	if ends, err = adm.ListEndOffsets(t.Context(), topic); err == nil {
		_, err = adm.DeleteRecords(t.Context(), ends.Offsets())
	}
	if err != nil {
		t.Fatal(err)
	}
	feed(t.Context(), t, s, []checker.Row{{Key: "late", Value: []byte("late")}}, 0)
	if r := j.catchUp("state"); r.Result.Counts.Read != int64(len(rows)+1) {
		t.Errorf("after a clean stop: %+v", r.Result.Counts)
	}
}

// checkpointed is the end of the workflow's topic of checkpoints, without the fence.
func checkpointed(t *testing.T, j *job) string {
	t.Helper()
	copies := inTopic(t, j.brokers, "bridge."+j.workflow+".checkpoints")
	var cps []string
	for _, c := range copies {
		if !strings.HasPrefix(c.Key, "producers") && !strings.HasPrefix(c.Key, "key") {
			cps = append(cps, c.Where)
		}
	}
	return fmt.Sprint(len(cps), cps[len(cps)-1])
}

// The target has lost what it had acknowledged: a partition's files are gone.
func TestIntegrationTargetEndsBeforeTheCheckpoint(t *testing.T) {
	t.Parallel() // it mostly waits
	dir := t.TempDir()
	k, err := servers.StartKafka(t.Context(), servers.KafkaConfig{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	topic := unique("lost")
	j, _ := interrupted(t, k.Brokers(), topic, rowsOf(t, 4000), "checkpoint_interval: 10ms\n")
	k.Stop(0)
	for p := range 12 {
		files, err := filepath.Glob(filepath.Join(k.DataDir(0), fmt.Sprintf("%s-%d", topic, p), "*"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no files of partition %d: %v", p, err)
		}
		for _, file := range files {
			if filepath.Base(file) == "partition.metadata" {
				continue // it is the same topic
			}
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := k.Restart(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	j.mirror("state").stops(8, "lost records that it had acknowledged")
}

// A source topic with transactions: what was committed arrives, what was aborted does not.
func TestIntegrationTransactionsOnTheSource(t *testing.T) {
	t.Parallel() // it mostly waits
	f, _, _ := prove(t, "transactions committed and aborted on the source, kafka to kinesis", 1, 0)
	brokers, topic := bench.kafka.Brokers(), unique("transactional")
	createTopic(t, brokers, topic, 3)
	rows := rowsOf(t, 3000)
	p := dial(t, brokers, kgo.TransactionalID(unique("producer")))
	aborted := 0
	transaction := func(rows []checker.Row, how kgo.TransactionEndTry) {
		if err := p.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			rec := &kgo.Record{Topic: topic, Key: []byte(r.Key), Value: r.Value, Partition: int32(checker.Partition([]byte(r.Key), 3))}
			if !how {
				rec.Value = []byte("aborted")
				aborted++
			}
			p.Produce(t.Context(), rec, nil)
		}
		if err := p.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := p.EndTransaction(t.Context(), how); err != nil {
			t.Fatal(err)
		}
	}
	for i := 0; i < len(rows); i += 100 {
		transaction(rows[i:i+100], kgo.TryCommit)
		transaction(rows[i:i+50], kgo.TryAbort)
	}
	srv := newKinesis(t, noRates)
	r := newJob(t, toKinesis, srv, "target", topic).catchUp("state")
	f.runs++
	f.judgedRun(judgeStream(t, srv.URL(), "target", rows), r, len(rows))
	f.print("aborted records left out %d", aborted)
}

// A source topic that lost what was still needed, and one that was made anew.
func TestIntegrationSourceGone(t *testing.T) {
	t.Parallel() // it mostly waits
	brokers, topic := bench.kafka.Brokers(), unique("gone")
	createTopic(t, brokers, topic, 3)
	rows := rowsOf(t, 2000)
	produce(t.Context(), t, brokers, topic, rows[:1000], 3, 0)
	srv := newKinesis(t, noRates)
	j := newJob(t, toKinesis, srv, "target", topic)
	j.catchUp("state")
	produce(t.Context(), t, brokers, topic, rows[1000:], 3, 0)
	adm := kadm.NewClient(dial(t, brokers))
	ends, err := adm.ListEndOffsets(t.Context(), topic)
	if err == nil {
		_, err = adm.DeleteRecords(t.Context(), ends.Offsets())
	}
	if err != nil {
		t.Fatal(err)
	}
	j.mirror("state").stops(8, "the log begins later")
	if _, err := adm.DeleteTopics(t.Context(), topic); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "deletion of the topic", func() bool {
		m, err := adm.Metadata(t.Context(), topic)
		return err == nil && m.Topics[topic].Err != nil
	})
	j.mirror("state").stops(8, "does not exist")
	createTopic(t, brokers, topic, 3)
	j.mirror("state").stops(8, "deleted and created anew")
	if n := len(inStream(t, srv.URL(), "target")); n != 1000 {
		t.Errorf("the refused starts wrote %d records", n-1000)
	}
}
