//go:build integration

package integration

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kinesis-msk-bridge/bridge/integration/checker"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
)

// A plain script reads a stream over HTTP and produces what it finds, without coordinates
// and without this module. By content the topic is consistent, in the order of all keys; once
// a record is left out, and two of a key have changed places, it is not.
func TestIntegrationPlainScript(t *testing.T) {
	rows := rowsOf(t, 10_000)
	srv := newKinesis(t, kinesistest.Config{Limits: kinesistest.Limits{Off: true}})
	s, err := srv.CreateStream("source", 4)
	if err != nil {
		t.Fatal(err)
	}
	feed(t.Context(), t, s, rows, 0)
	whole, err := checker.Kinesis(t.Context(), srv.URL(), "source")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, verdict string
		code          int
		copies        []checker.Copy
	}{
		{"whole", "consistent", 0, whole},
		{"damaged", "inconsistent", 5, damagedScript(whole)},
	} {
		topic := unique("script")
		createTopic(t, bench.kafka.Brokers(), topic, 12)
		client := dial(t, bench.kafka.Brokers())
		var recs []*kgo.Record
		for _, r := range c.copies {
			recs = append(recs, &kgo.Record{Topic: topic, Key: []byte(r.Key), Value: r.Value, Partition: int32(checker.Partition([]byte(r.Key), 12))})
		}
		if err := client.ProduceSync(t.Context(), recs...).FirstErr(); err != nil {
			t.Fatal(err)
		}
		j := newJob(t, toKafka, srv, "source", topic)
		v := j.start("verify", "run", "--content", "--settle", "1s", "--config", j.config("state"))
		code := v.wait(2 * time.Minute)
		res := v.verified().Result
		t.Logf("figures: a plain script, %s, %d records: %s, coverage %g %%, order of %s keys, missing %d, reordered %d",
			c.name, len(recs), res.Verdict, res.Coverage.Percent, res.Order.Coverage, res.Findings["missing"], res.Findings["reordered"])
		if code != c.code || res.Verdict != c.verdict || res.Order.Coverage != "all" {
			t.Errorf("%s: exit %d, %+v\n%s", c.name, code, res, v.stderr())
		}
		if c.code != 0 && (res.Findings["missing"] != 1 || res.Findings["reordered"] < 1 || res.Findings["extra"] != 0) {
			t.Errorf("%s: %v", c.name, res.Findings)
		}
	}
}

// damagedScript leaves one record out, and lets two others of a key change places.
func damagedScript(whole []checker.Copy) (out []checker.Copy) {
	last := map[string]int{} // of each key, in out
	swapped := false
	for i, c := range whole {
		if i == len(whole)/2 {
			continue
		}
		out = append(out, c)
		if before, ok := last[c.Key]; ok && !swapped && i > len(whole)*3/4 {
			out[before], out[len(out)-1] = out[len(out)-1], out[before]
			swapped = true
		}
		last[c.Key] = len(out) - 1
	}
	return out
}
