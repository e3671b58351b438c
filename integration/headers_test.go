//go:build integration

package integration

import (
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kinesis-msk-bridge/bridge/integration/checker"
)

// consumed reads a topic as an application does, headers and all.
func consumed(t *testing.T, brokers []string, topic string, n int) (out []*kgo.Record) {
	t.Helper()
	c := dial(t, brokers, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	for len(out) < n {
		fetches := c.PollFetches(t.Context())
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		out = append(out, fetches.Records()...)
	}
	return out
}

// passedOn produces records with the headers that they were received with.
func passedOn(t *testing.T, brokers []string, topic string, in []*kgo.Record, value func(*kgo.Record) []byte) {
	t.Helper()
	var out []*kgo.Record
	for _, r := range in {
		out = append(out, &kgo.Record{Topic: topic, Partition: r.Partition, Key: r.Key, Value: value(r), Headers: r.Headers, Timestamp: r.Timestamp})
	}
	if err := dial(t, brokers).ProduceSync(t.Context(), out...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

func same(r *kgo.Record) []byte    { return r.Value }
func changed(r *kgo.Record) []byte { return append([]byte("changed "), r.Value...) }

// A consumer that produces with the headers that it received copies the mirror's
// provenance. Identical copies in the same topic move nothing at a restart; and whatever
// was copied is data to a mirror that reads it.
func TestIntegrationCopiedHeaders(t *testing.T) {
	t.Parallel() // it mostly waits
	f, _, _ := prove(t, "provenance copied by a consumer, then kill -9, kinesis to kafka", 1, 0)
	brokers, topic := bench.kafka.Brokers(), unique("copied")
	rows := rowsOf(t, 4000)
	j, s := interrupted(t, brokers, topic, rows, "checkpoint_interval: 10m\n")
	half := consumed(t, brokers, topic, len(rows)/2)
	passedOn(t, brokers, topic, half, same)    // identical copies in the same topic
	passedOn(t, brokers, topic, half, changed) // another value, same topic
	elsewhere := unique("elsewhere")
	createTopic(t, brokers, elsewhere, 12)
	passedOn(t, brokers, elsewhere, half, same)
	arrivals(t, s, rows)
	r := j.catchUp("state")
	all := inTopic(t, brokers, topic)
	f.runs++
	f.judgedRun(checker.Judge(rows, ofMirror(all, rows)), r, len(rows))
	f.print("identical copies %d, changed copies %d, found present %d", len(half), len(half), r.Result.Counts.Present)
	if r.Result.Counts.Present != int64(len(half)) {
		t.Errorf("%d records found present, want the %d that the mirror had written: a copy counted", r.Result.Counts.Present, len(half))
	}

	// A mirror of another workflow takes everything for data, whoever brought it.
	srv := newKinesis(t, noRates)
	for _, name := range []string{topic, elsewhere} {
		back := newJob(t, toKinesis, srv, "of-"+name, name)
		counts := back.catchUp("state").Result.Counts
		want := int64(len(inTopic(t, brokers, name)))
		if got := int64(len(inStream(t, srv.URL(), back.stream))); got != want || counts.Read != want {
			t.Errorf("of %d records of topic %s %d were read and %d arrived: %+v", want, name, counts.Read, got, counts)
		}
	}
	sameWorkflow(t, j, half)
}

// ofMirror leaves out what the consumer produced: it has another producer id than the
// first record of each row.
func ofMirror(all []checker.Copy, rows []checker.Row) (out []checker.Copy) {
	var ids []int64
	values := map[string]bool{}
	for _, r := range rows[len(rows)/2:] {
		values[string(r.Value)] = true // no consumer saw these
	}
	for _, c := range all {
		if values[string(c.Value)] && !slices.Contains(ids, c.ProducerID) {
			ids = append(ids, c.ProducerID)
		}
	}
	for _, c := range all {
		if slices.Contains(ids, c.ProducerID) {
			out = append(out, c)
		}
	}
	return out
}

// sameWorkflow mirrors copies whose provenance names the very workflow that reads them,
// with the tag of another key: as on a second cluster with a workflow of the same name.
func sameWorkflow(t *testing.T, j *job, copies []*kgo.Record) {
	other, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(other.Close)
	topic := unique("foreign")
	createTopic(t, other.ListenAddrs(), topic, 12)
	passedOn(t, other.ListenAddrs(), topic, copies, changed)
	srv := newKinesis(t, noRates)
	namesake := newJob(t, toKinesis, srv, "foreign", topic)
	namesake.workflow, namesake.brokers = j.workflow, other.ListenAddrs()
	counts := namesake.catchUp("state").Result.Counts
	got := len(inStream(t, srv.URL(), "foreign"))
	t.Logf("provenance of this workflow with a wrong tag: %s", fmt.Sprintf("read %d, counted as foreign %d, arrived %d", counts.Read, counts.Foreign, got))
	if want := int64(len(copies)); counts.Foreign != want || int64(got) != want {
		t.Errorf("of %d copies %d arrived and %d were counted as foreign", want, got, counts.Foreign)
	}
}
