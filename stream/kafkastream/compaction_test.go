package kafkastream_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/stream/kafkastream"
)

// Brokers may compact any older part of the checkpoint topic at any time: what is loaded
// afterwards is what was saved, through restarts between the saves and more saves than
// one round of keys holds.
func TestCheckpointsSurviveCompaction(t *testing.T) {
	b := newBench(t, "kfake", brokers(t))
	ctx := t.Context()
	rng := rand.New(rand.NewPCG(7, 0))
	rows := map[string]bridge.Row{}
	saves := 0
	for restart := range 12 {
		s, err := b.session(ctx, t, "compacted", "")
		if err != nil {
			t.Fatal(err)
		}
		store := s.Checkpoints()
		n := 1 + rng.IntN(30)
		if restart == 5 {
			n = 1100
		}
		for range n {
			cp := bridge.Checkpoint{At: time.UnixMilli(int64(saves)), Source: bridge.Identity{Name: "s"}, Target: bridge.Identity{Name: "t"}, Keymap: "k"}
			saves++
			for _, shard := range rng.Perm(500)[:1+rng.IntN(2)] {
				name := fmt.Sprint("shard-", shard)
				rows[name] = bridge.Row{Partition: name, Position: bridge.OffsetPosition(int64(saves)), Ended: rng.IntN(9) == 0}
			}
			for _, row := range rows {
				if row.Position == bridge.OffsetPosition(int64(saves)) {
					cp.Rows = append(cp.Rows, row)
				}
			}
			if err := store.Save(ctx, cp); err != nil {
				t.Fatal(err)
			}
		}
		s.Close()
	}
	log := everything(t, b, kafkastream.OwnTopics("compacted")[0], 0)
	log = slices.DeleteFunc(log, func(r *kgo.Record) bool { return r.Key == nil })
	removed := 0
	for i := range 6 {
		clean := len(log) * (i + 1) / 6 // what lies behind it is the segment in use
		workflow := fmt.Sprint("compacted-", i)
		topic := kafkastream.OwnTopics(workflow)[0]
		if _, err := b.client.CreateTopic(ctx, kafkastream.TopicSpec{Name: topic, Partitions: 1, ReplicationFactor: 1}); err != nil {
			t.Fatal(err)
		}
		kept := compact(log, clean)
		for _, r := range kept {
			r.Topic = topic
		}
		if err := b.writer.ProduceSync(ctx, kept...).FirstErr(); err != nil {
			t.Fatal(err)
		}
		cp, _, err := kafkastream.ReadCheckpoint(ctx, b.client, workflow, 0, testKey())
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range cp.Rows {
			if want := rows[row.Partition]; row.Position != want.Position || row.Ended != want.Ended {
				t.Errorf("compacted up to %d of %d records: %s is at %s, was saved at %s", clean, len(log), row.Partition, row.Position, want.Position)
			}
		}
		if len(cp.Rows) != len(rows) {
			t.Errorf("compacted up to %d of %d records: %d rows, want %d", clean, len(log), len(cp.Rows), len(rows))
		}
		removed = max(removed, len(log)-len(kept))
	}
	if removed < 100 {
		t.Errorf("not exercised: compaction removed %d records", removed)
	}
}

// compact keeps, of the first n records of a log, those that have no later one of their key
// in it, as a broker does with the segments that are not in use.
func compact(log []*kgo.Record, n int) (kept []*kgo.Record) {
	last := map[string]int{}
	for i, r := range log[:n] {
		last[string(r.Key)] = i
	}
	for i, r := range log {
		if i >= n || last[string(r.Key)] == i {
			kept = append(kept, &kgo.Record{Key: r.Key, Value: r.Value})
		}
	}
	return kept
}
