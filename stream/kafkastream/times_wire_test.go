package kafkastream_test

import (
	"errors"
	"hash/crc32"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/stream/kafkastream"
)

// oddTimes are record times, in milliseconds since 1970, that producers have been seen to
// send: none, microseconds, before 1970, and beyond what 64 bits of nanoseconds hold.
var oddTimes = []int64{1_700_000_000_123, -1, 1_700_000_000_000_000, -1000, 0, 9_300_000_000_000, -7_500_000_000_000}

// far lets brokers take any time.
var far = map[string]string{"message.timestamp.before.max.ms": "9223372036854775807", "message.timestamp.after.max.ms": "9223372036854775807"}

func sameTime(got time.Time, ms int64) bool {
	if ms == -1 {
		return got.IsZero()
	}
	return !got.IsZero() && got.UnixMilli() == ms
}

func TestTimesThroughABroker(t *testing.T) { newBench(t, "kfake", brokers(t)).times(t) }

func (b *bench) times(t *testing.T) {
	t.Run("read", b.readTimes)
	t.Run("write", b.writeTimes)
	t.Run("dead letters", b.letterTimes)
}

// Whichever record begins a batch, each is read with its own time.
func (b *bench) readTimes(t *testing.T) {
	for first := range oddTimes {
		name := topic(t, b.client, 1, far)
		var want []int64
		for i := range oddTimes {
			want = append(want, oddTimes[(first+i)%len(oddTimes)])
		}
		b.produceAt(t, name, want)
		got, _ := drain(t, open(t, newSource(t, kafkastream.SourceConfig{Client: b.client, Topic: name}), "0", bridge.Start{}))
		if len(got) != len(want) {
			t.Fatalf("read %d records, want %d", len(got), len(want))
		}
		for i, ms := range want {
			if !sameTime(got[i].Time, ms) {
				t.Errorf("behind a record of %d ms, one of %d ms is read as %s", want[0], ms, got[i].Time)
			}
		}
	}
}

// A batch all of whose times are before 1970 does not lose them in silence.
func TestTimesThatCannotBeRead(t *testing.T) {
	b := newBench(t, "kfake", brokers(t))
	name := topic(t, b.client, 1, far)
	b.produceAt(t, name, []int64{-5000, -1000})
	got, _ := drain(t, open(t, newSource(t, kafkastream.SourceConfig{Client: b.client, Topic: name}), "0", bridge.Start{}))
	if len(got) != 2 || !errors.Is(got[0].Refused, bridge.ErrUndecodable) || !errors.Is(got[1].Refused, bridge.ErrUndecodable) {
		t.Errorf("read %+v, want two records that cannot be decoded", got)
	}
}

// produceAt sends one batch of records with these times, byte by byte: clients turn some of
// them into others.
func (b *bench) produceAt(t *testing.T, topic string, times []int64) {
	t.Helper()
	batch := kmsg.RecordBatch{
		PartitionLeaderEpoch: -1, Magic: 2, LastOffsetDelta: int32(len(times) - 1), FirstTimestamp: times[0], MaxTimestamp: slices.Max(times),
		ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, NumRecords: int32(len(times)),
	}
	for i, ms := range times {
		r := kmsg.Record{TimestampDelta64: ms - times[0], OffsetDelta: int32(i), Value: []byte("v")}
		r.Length = int32(len(r.AppendTo(nil)) - 1) // a length of 0 takes one byte
		batch.Records = r.AppendTo(batch.Records)
	}
	const head, attributes = 12, 21
	raw := batch.AppendTo(nil)
	batch.Length = int32(len(raw) - head)
	batch.CRC = int32(crc32.Checksum(raw[attributes:], crc32.MakeTable(crc32.Castagnoli)))
	q := kmsg.NewPtrProduceRequest()
	q.Version, q.Acks, q.TimeoutMillis = 9, -1, 10_000
	part := kmsg.NewProduceRequestTopicPartition()
	part.Records = batch.AppendTo(nil)
	m, err := b.adm.Metadata(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	rt := kmsg.NewProduceRequestTopic()
	rt.TopicID = m.Topics[topic].ID
	rt.Topic, rt.Partitions = topic, append(rt.Partitions, part)
	q.Topics = append(q.Topics, rt)
	leader, err := b.client.Leader(t.Context(), topic, 0)
	if err != nil {
		t.Fatal(err)
	}
	r, err := b.writer.Broker(int(leader.ID())).Request(t.Context(), q)
	if err == nil {
		err = kerr.ErrorForCode(r.(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A time that can be written stands as it was. One that cannot is refused by name, holds
// back what its caller gave behind it in that partition, and nothing else.
func (b *bench) writeTimes(t *testing.T) {
	name := topic(t, b.client, 2, far)
	s, err := b.session(t.Context(), t, "times", name)
	if err != nil {
		t.Fatal(err)
	}
	sink := s.Sink(kafkastream.SinkConfig{Stamp: bridge.NewStamp(bridge.StampConfig{Workflow: "times", Key: testKey()})})
	var want []int64
	for _, ms := range oddTimes {
		at := time.UnixMilli(ms)
		if ms == -1 {
			at = time.Time{}
		}
		rec := func(p string, at time.Time) bridge.Record {
			return bridge.Record{Key: []byte("k"), Value: []byte("v"), Partition: p, Time: at, Subs: 1}
		}
		acks, err := sink.Write(t.Context(), []bridge.Record{rec("0", time.UnixMilli(1)), rec("0", at), rec("0", time.UnixMilli(2)), rec("1", time.UnixMilli(3))})
		if err != nil {
			t.Fatal(err)
		}
		if acks[0].Err != nil || acks[3].Err != nil {
			t.Fatalf("%d ms: records that come before it, or into another partition: %v, %v", ms, acks[0].Err, acks[3].Err)
		}
		want = append(want, 1)
		if acks[1].Err == nil {
			want = append(want, ms, 2)
			continue
		}
		if ms != 1_700_000_000_000_000 || !errors.Is(acks[1].Err, bridge.ErrUnmappable) || bridge.Hint(acks[1].Err) == "" || !bridge.Retryable(acks[2].Err) {
			t.Errorf("%d ms is refused with %v, what stands behind it with %v", ms, acks[1].Err, acks[2].Err)
		}
	}
	got, _ := drain(t, open(t, newSource(t, kafkastream.SourceConfig{Client: b.client, Topic: name}), "0", bridge.Start{}))
	if len(got) != len(want) {
		t.Fatalf("%d records in the topic, want %d", len(got), len(want))
	}
	for i, ms := range want {
		if !sameTime(got[i].Time, ms) {
			t.Errorf("record %d: %d ms was stored as %s", i, ms, got[i].Time)
		}
	}
	if err := s.Checkpoints().Save(t.Context(), bridge.Checkpoint{At: time.Now()}); err != nil {
		t.Error(err)
	}
}

// A letter can be stored whatever its record's time is, in a topic that takes no time that
// is far from now, and the time of the record stands inside.
func (b *bench) letterTimes(t *testing.T) {
	name := topic(t, b.client, 1, map[string]string{"message.timestamp.before.max.ms": "3600000", "message.timestamp.after.max.ms": "3600000"})
	info, err := b.client.Topic(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	s, err := kafkastream.OpenSession(t.Context(), kafkastream.SessionConfig{
		Client: b.client, Workflow: "lettertimes", Key: testKey(), DeadLetters: name, ReplicationFactor: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	stamp := bridge.NewStamp(bridge.StampConfig{Workflow: "lettertimes", Key: testKey(), Source: origin, Target: info.Identity()})
	var letters []bridge.DeadLetter
	for i, ms := range oddTimes {
		letters = append(letters, bridge.DeadLetter{
			Origin: bridge.Coordinate{Stream: origin.String(), Partition: "0", Position: bridge.OffsetPosition(int64(i))},
			Key:    []byte("k"), Value: []byte("v"), Time: time.UnixMilli(ms), Class: "unmappable", Reason: "its time", At: time.Now(),
		})
	}
	if _, err := s.DeadLetters(stamp).Put(t.Context(), letters); err != nil {
		t.Fatal(err)
	}
	n := 0
	for l, err := range kafkastream.ReadDeadLetters(t.Context(), b.client, name, stamp) {
		if err != nil {
			t.Fatal(err)
		}
		if l.Time.UnixMilli() != oddTimes[n] {
			t.Errorf("letter %d has the time %s, want %d ms", n, l.Time, oddTimes[n])
		}
		n++
	}
	if n != len(oddTimes) {
		t.Errorf("%d letters, want %d", n, len(oddTimes))
	}
	got, _ := drain(t, open(t, newSource(t, kafkastream.SourceConfig{Client: b.client, Topic: name}), "0", bridge.Start{}))
	for _, r := range got {
		if d := time.Since(r.Time).Abs(); d > time.Minute {
			t.Errorf("a letter's own time is %s", r.Time)
		}
	}
}
