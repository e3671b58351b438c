package kafkastream_test

import (
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/stream/kafkastream"
)

// twoEpochs is a topic whose offsets 0 to 4 were appended under one leader epoch and 5 to 9
// under a later one, one batch each.
func twoEpochs(t *testing.T) (client *kafkastream.Client, addrs []string, first, second bridge.BatchID) {
	fake, client := cluster(t, kfake.NumBrokers(2), kfake.SeedTopics(1, "cut"))
	p := producer(t, fake.ListenAddrs())
	for i := range 10 {
		if i == 5 {
			if err := fake.MoveTopicPartition("cut", 0, 1); err != nil {
				t.Fatal(err)
			}
			if err := fake.MoveTopicPartition("cut", 0, 0); err != nil {
				t.Fatal(err)
			}
		}
		produce(t, p, &kgo.Record{Topic: "cut", Value: []byte{byte(i)}})
	}
	last := func(after int64) bridge.BatchID {
		r := open(t, newSource(t, kafkastream.SourceConfig{Client: client, Topic: "cut", FetchBytes: 1}), "0", bridge.Start{After: bridge.OffsetPosition(after)})
		b, err := r.Read(t.Context())
		if err != nil || len(b.Records) != 1 {
			t.Fatalf("Read behind %d: %d records, %v; want one", after, len(b.Records), err)
		}
		return b.Last
	}
	first, second = last(3), last(8)
	if !first.Known || first.Base != 4 || second.Base != 9 || second.Epoch <= first.Epoch {
		t.Fatalf("batches at 4 and 9 are %+v and %+v", first, second)
	}
	return client, fake.ListenAddrs(), first, second
}

// Reading goes on only behind the batch that was read last, wherever its leader is by now.
func TestSourceProvesTheLog(t *testing.T) {
	client, addrs, first, second := twoEpochs(t)
	source := func() *kafkastream.Source {
		return newSource(t, kafkastream.SourceConfig{Client: client, Topic: "cut"})
	}
	at := func(id bridge.BatchID, base int64) bridge.BatchID { id.Base = base; return id }
	for _, tt := range []struct {
		name          string
		after         int64
		batch         bridge.BatchID
		from          int64 // offset of the first record; -1 for a gap
		behind, until int64 // of the gap
	}{
		{"the batch is there", 4, first, 5, 0, 0},
		{"the batch is there, inside", 3, at(first, 3), 4, 0, 0},
		{"nothing is known", 7, bridge.BatchID{}, 8, 0, 0},
		{"another epoch", 8, at(first, 8), -1, 4, 9},
		{"an epoch that never was", 4, bridge.BatchID{Epoch: second.Epoch + 1, Base: 4, Known: true}, -1, 3, 5},
		{"the log is shorter", 14, at(first, 14), -1, 4, 15},
		{"the log is shorter, its last epoch the same", 14, at(second, 14), -1, 9, 15},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := source().Open(t.Context(), "0", bridge.Start{After: bridge.OffsetPosition(tt.after), Batch: tt.batch})
			var b bridge.Batch
			if err == nil {
				defer r.Close()
				b, err = r.Read(t.Context())
			}
			var gap *bridge.GapError
			switch {
			case tt.from >= 0 && (err != nil || len(b.Records) == 0 || b.Records[0].Position != bridge.OffsetPosition(tt.from)):
				t.Errorf("Read = %v, %v; want records from %d on", offsetsOf(b.Records), err, tt.from)
			case tt.from < 0 && (!errors.As(err, &gap) || gap.After != bridge.OffsetPosition(tt.behind) || gap.Before != bridge.OffsetPosition(tt.until)):
				t.Errorf("Read = %v, %v; want a gap behind %d up to %d", offsetsOf(b.Records), err, tt.behind, tt.until)
			case tt.from < 0 && bridge.Hint(err) == "":
				t.Errorf("%v has no hint", err)
			}
		})
	}
	// What retention removed proves nothing, and is no gap by itself.
	trim(t, addrs, "cut", 7)
	for _, from := range []bridge.Start{{After: bridge.OffsetPosition(6), Batch: at(first, 6)}, {After: bridge.OffsetPosition(7), Batch: at(second, 6)}} {
		r := open(t, source(), "0", from)
		if b, err := r.Read(t.Context()); err != nil || len(b.Records) == 0 {
			t.Errorf("Read behind %s, whose batch was removed: %d records, %v", from.After, len(b.Records), err)
		}
	}
}

// The cluster lost the last acknowledged record of a partition. The marker of the fence of
// the session that must notice takes the very offset of that record.
func TestMarkerHidesNoLostRecord(t *testing.T) {
	b := newBench(t, "kfake", brokers(t))
	k := newTarget(t, b, "markerhides", 1)
	k.write(t, "0", 0, 10)
	k.session.Close()
	_, end, _, err := k.client.Offsets(t.Context(), k.name, 0)
	if err != nil {
		t.Fatal(err)
	}
	again, err := b.session(t.Context(), t, "markerhides", k.name)
	if err != nil {
		t.Fatal(err)
	}
	k.sink = again.Sink(kafkastream.SinkConfig{Stamp: k.stamp})
	floor := bridge.Floor{Partitions: map[string]bridge.Position{"0": bridge.OffsetPosition(end)}}
	if n, err := k.tail(t, floor); !errors.Is(err, bridge.ErrGap) {
		t.Errorf("a record that was acknowledged at %d is lost: found %d, %v; want a gap", end, n, err)
	}
	floor.Partitions["0"] = bridge.OffsetPosition(end - 1)
	if n, err := k.tail(t, floor); err != nil || n != 0 {
		t.Errorf("nothing is lost: found %d, %v", n, err)
	}
}

// A session begins only if every partition that the task writes to still holds the last
// batch that it acknowledged, and leaves no marker if one does not.
func TestSessionProvesItsLogs(t *testing.T) {
	for _, what := range []string{"nothing", "target", "ledger", "index", "checkpoints", "a floor"} {
		t.Run(what, func(t *testing.T) {
			b := newBench(t, "kfake", brokers(t))
			workflow := "proves-" + what[:1] + what[len(what)-1:]
			k := newTarget(t, b, workflow, 2)
			acks := k.write(t, "1", 0, 5)
			last := acks[4].Position
			if _, err := k.session.Ledger(origin).Append(t.Context(), bridge.LedgerEntry{}); err != nil {
				t.Fatal(err)
			}
			own := kafkastream.OwnTopics(workflow)
			place := map[string]string{"target": k.name, "checkpoints": own[0], "ledger": own[1], "index": own[2]}
			cp := bridge.Checkpoint{
				At: time.Now(), Source: origin, Floor: bridge.Floor{Partitions: map[string]bridge.Position{"1": last}},
				Index: []bridge.IndexEntry{{Partition: "1", Position: last}},
			}
			info, err := b.client.Topic(t.Context(), k.name)
			if err != nil {
				t.Fatal(err)
			}
			cp.Target = info.Identity()
			if what == "a floor" {
				cp.Floor.Partitions["1"] = bridge.OffsetPosition(77)
			}
			save := func() {
				if err := k.session.Checkpoints().Save(t.Context(), cp); err != nil {
					t.Fatal(err)
				}
			}
			save()
			if name := place[what]; name != "" {
				k.session.Misremember(name)
				cp.Index = nil
				save()
			}
			k.session.Close()
			ends := func() (all [2]int64) {
				for n, name := range []string{k.name, own[1]} {
					_, end, _, err := k.client.Offsets(t.Context(), name, int32(0))
					if err != nil {
						t.Fatal(err)
					}
					all[n] = end
				}
				return all
			}
			before := ends()
			_, err = b.session(t.Context(), t, workflow, k.name)
			if what == "nothing" {
				if err != nil || ends() == before {
					t.Errorf("OpenSession = %v, ends %v and %v; want a fence", err, before, ends())
				}
				return
			}
			if !errors.Is(err, bridge.ErrGap) || bridge.Hint(err) == "" || ends() != before {
				t.Errorf("OpenSession = %v, ends %v and then %v; want a gap and no marker", err, before, ends())
			}
		})
	}
}
