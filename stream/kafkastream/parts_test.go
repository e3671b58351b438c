package kafkastream_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/stream/kafkastream"
)

// A checkpoint that is larger than a message counts as a whole, with its last record, or not
// at all: wherever its writer dies, and wherever a broker compacts, what is loaded is a
// checkpoint that was saved, and never an older one than the last of which all is there.
func TestLargeCheckpointIsWholeOrNotThere(t *testing.T) {
	b := newBench(t, "kfake", brokers(t))
	ctx := t.Context()
	s, err := b.session(ctx, t, "parted", "")
	if err != nil {
		t.Fatal(err)
	}
	const rows, saves = 7500, 4
	cp := bridge.Checkpoint{Source: bridge.Identity{Name: "s"}, Target: bridge.Identity{Name: "t"}, Keymap: "k"}
	for i := range rows {
		cp.Rows = append(cp.Rows, bridge.Row{Partition: fmt.Sprintf("shardId-%012d", i), Position: bridge.Position{Seq: fmt.Sprintf("49%054d", i)}})
	}
	store := s.Checkpoints()
	topic := kafkastream.OwnTopics("parted")[0]
	var ends []int // number of records when a save was done
	for i := range saves {
		cp.At, cp.Counts.Read = time.UnixMilli(int64(i)), int64(i)
		if err := store.Save(ctx, cp); err != nil {
			t.Fatal(err)
		}
		ends = append(ends, len(keyed(everything(t, b, topic, 0))))
	}
	s.Close()
	log := keyed(everything(t, b, topic, 0))
	if parts := ends[1] - ends[0]; parts < 3 {
		t.Fatalf("not exercised: a save is %d records", parts)
	}
	try := func(name string, log []*kgo.Record, want int) {
		t.Helper()
		own := kafkastream.OwnTopics(name)[0]
		if _, err := b.client.CreateTopic(ctx, kafkastream.TopicSpec{Name: own, Partitions: 1, ReplicationFactor: 1}); err != nil {
			t.Fatal(err)
		}
		var copies []*kgo.Record
		for _, r := range log {
			copies = append(copies, &kgo.Record{Topic: own, Key: r.Key, Value: r.Value})
		}
		produce(t, b.writer, copies...)
		got, _, err := kafkastream.ReadCheckpoint(ctx, b.client, name, 0, testKey())
		if err != nil || got.Counts.Read != int64(want) || len(got.Rows) != rows {
			t.Errorf("%s: checkpoint %d with %d rows, %v; want %d with %d", name, got.Counts.Read, len(got.Rows), err, want, rows)
		}
	}
	for died := ends[1]; died < ends[3]; died++ { // the writer died behind this many records
		want := 1
		if died >= ends[2] {
			want = 2
		}
		try(fmt.Sprint("parted-died-", died), log[:died], want)
		try(fmt.Sprint("parted-compacted-", died), compact(log[:died], died), want)
	}
	for clean := ends[0]; clean <= len(log); clean += 2 {
		try(fmt.Sprint("parted-clean-", clean), compact(log, clean), saves-1)
	}
}

// keyed leaves out the markers.
func keyed(log []*kgo.Record) (out []*kgo.Record) {
	for _, r := range log {
		if r.Key != nil {
			out = append(out, r)
		}
	}
	return out
}
