package kafkastream_test

import (
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/stream/kafkastream"
)

// A target is one topic with a session that writes to it.
type target struct {
	*bench
	name    string
	stamp   *bridge.Stamp
	session *kafkastream.Session
	sink    *kafkastream.Sink
}

func newTarget(t *testing.T, b *bench, workflow string, partitions int) *target {
	t.Helper()
	name := topic(t, b.client, partitions, nil)
	s, err := b.session(t.Context(), t, workflow, name)
	if err != nil {
		t.Fatal(err)
	}
	info, err := b.client.Topic(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	stamp := bridge.NewStamp(bridge.StampConfig{Workflow: workflow, Key: testKey(), Source: origin, Target: info.Identity()})
	return &target{b, name, stamp, s, s.Sink(kafkastream.SinkConfig{Stamp: stamp})}
}

var origin = bridge.Identity{Name: "kinesis:origin", Incarnation: "1"}

// write appends n records, numbered from first, and returns where they stand.
func (k *target) write(t *testing.T, partition string, first, n int) []bridge.Ack {
	t.Helper()
	var recs []bridge.Record
	for i := range n {
		recs = append(recs, bridge.Record{
			Key: []byte("k"), Value: []byte(strconv.Itoa(first + i)), Partition: partition, Time: time.UnixMilli(1), Subs: 1,
			Origin: bridge.Coordinate{Stream: origin.String(), Partition: "shardId-000000000000", Position: bridge.OffsetPosition(int64(first + i))},
		})
	}
	acks, err := k.sink.Write(t.Context(), recs)
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range acks {
		if a.Err != nil {
			t.Fatalf("record %d: %v", first+i, a.Err)
		}
	}
	return acks
}

// tail counts what is found behind a floor.
func (k *target) tail(t *testing.T, from bridge.Floor) (found int, err error) {
	t.Helper()
	for _, e := range k.sink.Tail(t.Context(), from) {
		if e != nil {
			return found, e
		}
		found++
	}
	return found, nil
}

func floorAt(partition string, at bridge.Position) bridge.Floor {
	return bridge.Floor{Partitions: map[string]bridge.Position{partition: at}}
}

// Somebody else holds a transaction open on the target: consumers see nothing behind its
// first record, and the scan must see all of it.
func TestScanPassesAnOpenTransaction(t *testing.T) {
	addrs := brokers(t)
	k := newTarget(t, newBench(t, "kfake", addrs), "lso", 1)
	k.write(t, "0", 0, 3)
	other := producer(t, addrs, kgo.TransactionalID("somebody-else"))
	if err := other.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	produce(t, other, &kgo.Record{Topic: k.name, Value: []byte("open")})
	acks := k.write(t, "0", 3, 5)
	_, end, stable, err := k.client.Offsets(t.Context(), k.name, 0)
	if err != nil {
		t.Fatal(err)
	}
	if at, _ := acks[0].Position.Offset(); stable >= at || end <= at {
		t.Fatalf("not exercised: the last stable offset is %d, the mirror's records stand at %d up to %d", stable, at, end)
	}
	if n, err := k.tail(t, bridge.Floor{}); n != 8 || err != nil {
		t.Errorf("found %d records, %v; want all 8", n, err)
	}
	ends, err := k.sink.Ends(t.Context())
	if err != nil || ends["0"] != acks[4].Position {
		t.Errorf("the target ends at %s, %v; want %s", ends["0"], err, acks[4].Position)
	}
}

// What is behind the floor must be there to be looked for.
func TestScanTellsWhatItCannotSee(t *testing.T) {
	b := newBench(t, "kfake", brokers(t))
	k := newTarget(t, b, "unseen", 2)
	acks := k.write(t, "0", 0, 10)
	k.write(t, "1", 10, 10)
	if err := b.trim(t.Context(), k.name, "0", acks[5].Position); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what  string
		floor bridge.Floor
		gap   bool
		found int
	}{
		{"a first start", bridge.Floor{}, false, 14},
		{"a floor below the log", floorAt("0", acks[2].Position), true, 0},
		{"a floor that names another partition only", floorAt("1", bridge.OffsetPosition(1)), true, 0},
		{"a floor at the last record that was removed", floorAt("0", acks[5].Position), false, 14},
		{"a floor in the log", floorAt("0", acks[8].Position), false, 11},
		{"a floor behind the log", floorAt("0", bridge.OffsetPosition(500)), true, 0},
	} {
		n, err := k.tail(t, c.floor)
		var gap *bridge.GapError
		if errors.As(err, &gap) != c.gap || c.gap && (gap.Partition != "0" || bridge.Hint(err) == "") || !c.gap && (err != nil || n != c.found) {
			t.Errorf("%s: found %d, %v; want gap %v, else %d", c.what, n, err, c.gap, c.found)
		}
	}
}

// A broker that lost track of the producer ends the session, finally: neither sink nor
// stores may be tried again, and only the owner can take the task anew.
func TestLostTrackNeedsANewSession(t *testing.T) {
	fake, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fake.Close)
	b := newBench(t, "kfake", fake.ListenAddrs())
	k := newTarget(t, b, "lost", 1)
	k.write(t, "0", 0, 3)
	fake.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		answer := r.ResponseKind().(*kmsg.ProduceResponse)
		for _, topic := range r.(*kmsg.ProduceRequest).Topics {
			at := kmsg.NewProduceResponseTopic()
			at.Topic = topic.Topic
			for _, p := range topic.Partitions {
				part := kmsg.NewProduceResponseTopicPartition()
				part.Partition, part.ErrorCode = p.Partition, kerr.OutOfOrderSequenceNumber.Code
				at.Partitions = append(at.Partitions, part)
			}
			answer.Topics = append(answer.Topics, at)
		}
		return answer, nil, true
	})
	recs := []bridge.Record{{Key: []byte("k"), Value: []byte("v"), Partition: "0", Time: time.UnixMilli(1), Subs: 1}}
	_, err = k.sink.Write(t.Context(), recs)
	saveErr := k.session.Checkpoints().Save(t.Context(), bridge.Checkpoint{At: time.Now()})
	for what, err := range map[string]error{"write": err, "save": saveErr} {
		if !errors.Is(err, bridge.ErrLostTrack) || bridge.Retryable(err) {
			t.Errorf("%s: %v, want ErrLostTrack and no retry", what, err)
		}
	}
	next, err := k.session.Restart(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	k.sink = next.Sink(kafkastream.SinkConfig{Stamp: k.stamp})
	if n, err := k.tail(t, bridge.Floor{}); n != 3 || err != nil {
		t.Errorf("the new session found %d, %v; want 3", n, err)
	}
	k.write(t, "0", 3, 3)
}

// One record above max.message.bytes is refused alone, whatever stood in its batch, also
// if the limit was lowered while the sink was open.
func TestOversizeRecordIsNamedAlone(t *testing.T) {
	b := newBench(t, "kfake", brokers(t))
	name := topic(t, b.client, 1, map[string]string{"max.message.bytes": "20000"})
	s, err := b.session(t.Context(), t, "oversize", name)
	if err != nil {
		t.Fatal(err)
	}
	sink := s.Sink(kafkastream.SinkConfig{Stamp: bridge.NewStamp(bridge.StampConfig{Workflow: "oversize", Key: testKey()})})
	const large = 137
	var recs []bridge.Record
	for i := range 300 {
		size := 100
		if i == large {
			size = 30000
		}
		recs = append(recs, bridge.Record{Key: []byte("k"), Value: fmt.Appendf(nil, "%0*d", size, i), Partition: "0", Time: time.UnixMilli(1), Subs: 1})
	}
	acks, err := sink.Write(t.Context(), recs)
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range acks {
		switch {
		case i < large && a.Err != nil:
			t.Errorf("record %d before the large one: %v", i, a.Err)
		case i == large && !errors.Is(a.Err, bridge.ErrOversize):
			t.Errorf("the large record: %v, want ErrOversize", a.Err)
		case i > large && !bridge.Retryable(a.Err):
			t.Errorf("record %d behind the large one: %v, want to be held back", i, a.Err)
		}
	}
}

// Leaders move from broker to broker while records are written.
func TestSinkOutlivesLeaderChanges(t *testing.T) {
	fake, err := kfake.NewCluster(kfake.NumBrokers(3))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fake.Close)
	k := newTarget(t, newBench(t, "kfake", fake.ListenAddrs()), "moving", 3)
	const calls, n = 60, 10
	moves := 0
	for call := range calls {
		if call%3 == 0 {
			for p := range int32(3) {
				if err := fake.MoveTopicPartition(k.name, p, int32(call/3+int(p))%3); err != nil {
					t.Fatal(err)
				}
				moves++
			}
		}
		k.write(t, strconv.Itoa(call%3), call*n, n)
	}
	for p := range 3 {
		var last int
		recs := everything(t, k.bench, k.name, p)
		seen := map[string]bool{}
		for _, r := range recs {
			row, err := strconv.Atoi(string(r.Value))
			if err != nil || row < last || seen[string(r.Value)] {
				t.Errorf("partition %d offset %d holds %q behind %d", p, r.Offset, r.Value, last)
			}
			seen[string(r.Value)], last = true, row
		}
		if len(seen) != calls*n/3 {
			t.Errorf("partition %d holds %d records, want %d, after %d moves", p, len(seen), calls*n/3, moves)
		}
	}
}
