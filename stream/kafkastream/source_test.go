package kafkastream_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/stream/kafkastream"
)

func newSource(t *testing.T, c kafkastream.SourceConfig) *kafkastream.Source {
	t.Helper()
	s, err := kafkastream.NewSource(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func open(t *testing.T, s *kafkastream.Source, partition string, from bridge.Start) bridge.Reader {
	t.Helper()
	r, err := s.Open(t.Context(), partition, from)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// drain reads until the reader says that nothing more is there.
func drain(t *testing.T, r bridge.Reader) (records []bridge.Record, through bridge.Position) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		b, err := r.Read(ctx)
		switch {
		case bridge.Retryable(err):
			continue
		case err != nil:
			t.Fatalf("Read after %d records: %v", len(records), err)
		}
		records = append(records, b.Records...)
		if b.Behind == 0 {
			return records, b.Through
		}
	}
}

// heldBack reads until the reader says that an open transaction keeps it from going on.
func heldBack(t *testing.T, r bridge.Reader) bridge.Batch {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		b, err := r.Read(ctx)
		switch {
		case bridge.Retryable(err):
		case err != nil || b.Behind == 0:
			t.Fatalf("Read = %s behind, %v; want an open transaction", b.Behind, err)
		case b.Open != nil:
			return b
		}
	}
}

func offsetsOf(records []bridge.Record) []string {
	var out []string
	for _, r := range records {
		out = append(out, r.Position.String())
	}
	return out
}

func TestSourceIsFaithful(t *testing.T) {
	addrs := brokers(t)
	client := dial(t, kafkastream.Config{Brokers: addrs})
	at := time.UnixMilli(1700000000123).UTC()
	want := []bridge.Record{
		{Key: []byte("k"), Value: []byte("v")},
		{Key: nil, Value: []byte("null key")},
		{Key: []byte{}, Value: []byte("empty key")},
		{Key: []byte("tombstone"), Value: nil},
		{Key: []byte("empty value"), Value: []byte{}},
		{Key: []byte{0xff, 0}, Value: []byte{0, 0xfe}},
		{Key: []byte("h"), Value: []byte("headers"), Headers: []bridge.Header{
			{Key: "a", Value: []byte("1")}, {Key: "b", Value: nil}, {Key: "b", Value: []byte{}}, {Key: "a", Value: []byte("2")}, {Key: "", Value: []byte{0xff}},
		}},
		{Key: []byte("h"), Value: []byte("other names"), Headers: []bridge.Header{{Key: "x", Value: []byte("1")}, {Key: "b", Value: []byte("y")}}},
	}
	codecs := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	for name, codec := range codecs {
		t.Run(name, func(t *testing.T) {
			name := topic(t, client, 1, nil)
			p := producer(t, addrs, kgo.ProducerBatchCompression(codec))
			for round := range 20 { // enough to be compressed
				for i, r := range want {
					k := &kgo.Record{Topic: name, Key: r.Key, Value: r.Value, Timestamp: at.Add(time.Duration(round*100+i) * time.Millisecond)}
					for _, h := range r.Headers {
						k.Headers = append(k.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
					}
					p.Produce(t.Context(), k, nil)
				}
			}
			if err := p.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			got, through := drain(t, open(t, newSource(t, kafkastream.SourceConfig{Client: client, Topic: name}), "0", bridge.Start{}))
			if len(got) != 20*len(want) {
				t.Fatalf("read %d records, want %d", len(got), 20*len(want))
			}
			for i, r := range got {
				w := want[i%len(want)]
				w.Partition, w.Position, w.Subs = "0", bridge.OffsetPosition(int64(i)), 1
				w.Time = at.Add(time.Duration(i/len(want)*100+i%len(want)) * time.Millisecond)
				if diff := cmp.Diff(w, r); diff != "" {
					t.Fatalf("record %d (-want +got):\n%s", i, diff)
				}
			}
			if want := bridge.OffsetPosition(int64(len(got) - 1)); through != want {
				t.Errorf("Through = %s, want %s", through, want)
			}
		})
	}
}

func TestSourceReadsCommittedOnly(t *testing.T) {
	addrs := brokers(t)
	client := dial(t, kafkastream.Config{Brokers: addrs})
	name := topic(t, client, 1, nil)
	plain := producer(t, addrs)
	rec := func(v string) *kgo.Record { return &kgo.Record{Topic: name, Value: []byte(v)} }
	txn := func(commit kgo.TransactionEndTry, v ...string) {
		p := producer(t, addrs, kgo.TransactionalID(name+v[0]))
		if err := p.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		for _, v := range v {
			produce(t, p, rec(v))
		}
		if err := p.EndTransaction(t.Context(), commit); err != nil {
			t.Fatal(err)
		}
	}
	produce(t, plain, rec("p0"))   // 0
	txn(kgo.TryAbort, "a1", "a2")  // 1 2, marker 3
	txn(kgo.TryCommit, "c4", "c5") // 4 5, marker 6
	txn(kgo.TryAbort, "a7")        // 7, marker 8
	s := newSource(t, kafkastream.SourceConfig{Client: client, Topic: name})
	r := open(t, s, "0", bridge.Start{})
	got, through := drain(t, r)
	if diff := cmp.Diff([]string{"0", "4", "5"}, offsetsOf(got)); diff != "" {
		t.Errorf("positions (-want +got):\n%s", diff)
	}
	if through != bridge.OffsetPosition(8) {
		t.Errorf("Through = %s, want 8, the last marker", through)
	}

	held := producer(t, addrs, kgo.TransactionalID(name+"held"))
	if err := held.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	produce(t, held, rec("o9"))
	produce(t, plain, rec("p10"))
	began := time.Now()
	b := heldBack(t, r)
	if len(b.Records) != 0 || b.Through != bridge.OffsetPosition(8) || b.End != bridge.OffsetPosition(10) || b.Behind == 0 {
		t.Errorf("behind an open transaction: %v through %s of %s, %s behind; want nothing through 8 of 10", offsetsOf(b.Records), b.Through, b.End, b.Behind)
	}
	if o := b.Open; o.Partition != "0" || o.First != bridge.OffsetPosition(9) || o.ID != name+"held" || o.Producer < 0 || began.Sub(o.Since).Abs() > time.Minute {
		t.Errorf("Open = %+v, want the transaction %s from 9 on", o, name+"held")
	}
	if ends, err := s.Ends(t.Context()); err != nil || ends["0"] != bridge.OffsetPosition(10) {
		t.Errorf("Ends = %v, %v; want 10, the end of the log", ends, err)
	}
	if err := held.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	if got, through := drain(t, r); cmp.Diff([]string{"9", "10"}, offsetsOf(got)) != "" || through != bridge.OffsetPosition(11) {
		t.Errorf("after the commit: %v through %s, want 9 and 10 through 11", offsetsOf(got), through)
	}
	// Reading that begins in the middle of an aborted transaction must not take its rest.
	if got, _ := drain(t, open(t, s, "0", bridge.Start{After: bridge.OffsetPosition(1)})); cmp.Diff([]string{"4", "5", "9", "10"}, offsetsOf(got)) != "" {
		t.Errorf("from inside an aborted transaction: %v", offsetsOf(got))
	}
}

// fill writes n records of one batch each.
func fill(t *testing.T, addrs []string, name string, n int, at time.Time) {
	t.Helper()
	p := producer(t, addrs)
	for i := range n {
		produce(t, p, &kgo.Record{Topic: name, Value: []byte(strconv.Itoa(i)), Timestamp: at.Add(time.Duration(i) * time.Second)})
	}
}

func TestSourceStarts(t *testing.T) {
	addrs := brokers(t)
	client := dial(t, kafkastream.Config{Brokers: addrs})
	name := topic(t, client, 1, nil)
	at := time.Now().Add(-time.Hour).Truncate(time.Millisecond)
	fill(t, addrs, name, 10, at)
	s := newSource(t, kafkastream.SourceConfig{Client: client, Topic: name})
	tests := []struct {
		name  string
		from  bridge.Start
		first string // position of the first record, empty for none
	}{
		{"oldest", bridge.Start{}, "0"},
		{"behind a position", bridge.Start{After: bridge.OffsetPosition(3)}, "4"},
		{"behind the last", bridge.Start{After: bridge.OffsetPosition(9)}, ""},
		{"before the first time", bridge.Start{At: at.Add(-time.Minute)}, "0"},
		{"at a time", bridge.Start{At: at.Add(4 * time.Second)}, "4"},
		{"between two times", bridge.Start{At: at.Add(4*time.Second + 1*time.Millisecond)}, "5"},
		{"behind the last time", bridge.Start{At: at.Add(time.Minute)}, ""},
		{"a time before 1970", bridge.Start{At: time.Unix(-5, 0)}, "0"},
		{"a position beats a time", bridge.Start{After: bridge.OffsetPosition(7), At: at}, "8"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, through := drain(t, open(t, s, "0", tt.from))
			first := ""
			if len(got) > 0 {
				first = got[0].Position.String()
			}
			if first != tt.first || through != bridge.OffsetPosition(9) {
				t.Errorf("begins at %q through %s, want %q through 9", first, through, tt.first)
			}
		})
	}
}

func TestSourceRefusesForeignPositions(t *testing.T) {
	addrs := brokers(t)
	client := dial(t, kafkastream.Config{Brokers: addrs})
	s := newSource(t, kafkastream.SourceConfig{Client: client, Topic: topic(t, client, 2, nil)})
	tests := []struct {
		partition string
		after     bridge.Position
		want      error
	}{
		{"2", bridge.Position{}, bridge.ErrMissing},
		{"01", bridge.Position{}, bridge.ErrMissing},
		{"-1", bridge.Position{}, bridge.ErrMissing},
		{"shardId-000000000000", bridge.Position{}, bridge.ErrMissing},
		{"1", bridge.Position{Seq: "49590338271490256608559692538361571095921575989136588898"}, bridge.ErrForeignPosition},
		{"1", bridge.Position{Seq: "1", Sub: 2}, bridge.ErrForeignPosition},
		{"1", bridge.Position{Seq: "0"}, bridge.ErrGap},
	}
	for _, tt := range tests {
		if _, err := s.Open(t.Context(), tt.partition, bridge.Start{After: tt.after}); !errors.Is(err, tt.want) {
			t.Errorf("Open(%q, after %s) = %v, want %v", tt.partition, tt.after, err, tt.want)
		}
	}
}

func TestSourceTellsGaps(t *testing.T) {
	addrs := brokers(t)
	client := dial(t, kafkastream.Config{Brokers: addrs})
	name := topic(t, client, 1, nil)
	fill(t, addrs, name, 10, time.Now())
	s := newSource(t, kafkastream.SourceConfig{Client: client, Topic: name, FetchBytes: 1})
	reading := open(t, s, "0", bridge.Start{})
	if b, err := reading.Read(t.Context()); err != nil || len(b.Records) != 1 {
		t.Fatalf("first Read = %v, %v; want one record", offsetsOf(b.Records), err)
	}
	unread := open(t, s, "0", bridge.Start{})
	trim(t, addrs, name, 6)

	want := func(what string, err error, after, before int64) {
		t.Helper()
		var gap *bridge.GapError
		if !errors.As(err, &gap) || gap.After != bridge.OffsetPosition(after) || gap.Before != bridge.OffsetPosition(before) || gap.Partition != "0" || gap.Stream != name {
			t.Errorf("%s: %v, want a gap behind %d up to %d", what, err, after, before)
		}
	}
	_, err := s.Open(t.Context(), "0", bridge.Start{After: bridge.OffsetPosition(2)})
	want("Open below the log", err, 2, 6)
	_, err = reading.Read(t.Context())
	want("Read below the log", err, 0, 6)
	_, err = s.Open(t.Context(), "0", bridge.Start{After: bridge.OffsetPosition(12)})
	want("Open above the log", err, 9, 13)
	for _, after := range []int64{5, 6, 9} {
		if r, err := s.Open(t.Context(), "0", bridge.Start{After: bridge.OffsetPosition(after)}); err != nil {
			t.Errorf("Open after %d: %v, want no gap", after, err)
		} else {
			r.Close()
		}
	}
	if got, _ := drain(t, unread); cmp.Diff([]string{"6", "7", "8", "9"}, offsetsOf(got)) != "" {
		t.Errorf("a reader that begins at the oldest and had not read: %v, want the new oldest", offsetsOf(got))
	}
}

// trim deletes the records before offset.
func trim(t *testing.T, addrs []string, name string, offset int64) {
	t.Helper()
	adm := kadm.NewClient(producer(t, addrs))
	var before kadm.Offsets
	before.Add(kadm.Offset{Topic: name, At: offset})
	answer, err := adm.DeleteRecords(t.Context(), before)
	if err == nil {
		err = answer.Error()
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestSourceTellsAnotherTopic(t *testing.T) {
	addrs := brokers(t)
	client := dial(t, kafkastream.Config{Brokers: addrs})
	adm := kadm.NewClient(producer(t, addrs))
	ctx := t.Context()

	t.Run("recreated", func(t *testing.T) {
		name := topic(t, client, 1, nil)
		fill(t, addrs, name, 3, time.Now())
		s := newSource(t, kafkastream.SourceConfig{Client: client, Topic: name, Recheck: time.Nanosecond})
		before, err := s.Identity(ctx)
		if err != nil {
			t.Fatal(err)
		}
		r := open(t, s, "0", bridge.Start{})
		drain(t, r)
		recreate(t, client, adm, name, 1)
		fill(t, addrs, name, 7, time.Now()) // beyond what was read: no offset is out of range
		if _, err := r.Read(ctx); !errors.Is(err, bridge.ErrChanged) {
			t.Errorf("Read = %v, want ErrChanged", err)
		}
		if _, err := s.Open(ctx, "0", bridge.Start{}); !errors.Is(err, bridge.ErrChanged) {
			t.Errorf("Open = %v, want ErrChanged", err)
		}
		if after, err := s.Identity(ctx); err != nil || after == before {
			t.Errorf("Identity = %v, %v; want another than before", after, err)
		}
		if _, err := kafkastream.NewSource(ctx, kafkastream.SourceConfig{Client: client, Topic: name, ID: before.Incarnation}); !errors.Is(err, bridge.ErrChanged) {
			t.Errorf("NewSource with the old id = %v, want ErrChanged", err)
		}
	})
	t.Run("recreated and shorter", func(t *testing.T) {
		name := topic(t, client, 1, nil)
		fill(t, addrs, name, 3, time.Now())
		s := newSource(t, kafkastream.SourceConfig{Client: client, Topic: name, Recheck: time.Hour})
		r := open(t, s, "0", bridge.Start{})
		drain(t, r)
		recreate(t, client, adm, name, 1)
		if err := firstFinal(ctx, r); !errors.Is(err, bridge.ErrChanged) {
			t.Errorf("Read = %v, want ErrChanged and not a gap", err)
		}
	})
	t.Run("deleted", func(t *testing.T) {
		name := topic(t, client, 1, nil)
		s := newSource(t, kafkastream.SourceConfig{Client: client, Topic: name, Recheck: time.Nanosecond})
		r := open(t, s, "0", bridge.Start{})
		if _, err := adm.DeleteTopic(ctx, name); err != nil {
			t.Fatal(err)
		}
		if err := firstFinal(ctx, r); !errors.Is(err, bridge.ErrMissing) {
			t.Errorf("Read = %v, want ErrMissing", err)
		}
	})
	t.Run("more partitions", func(t *testing.T) {
		name := topic(t, client, 1, nil)
		s := newSource(t, kafkastream.SourceConfig{Client: client, Topic: name, Recheck: time.Nanosecond})
		r := open(t, s, "0", bridge.Start{})
		if answer, err := adm.CreatePartitions(ctx, 1, name); err != nil || answer.Error() != nil {
			t.Fatal(err, answer.Error())
		}
		if err := firstFinal(ctx, r); !errors.Is(err, bridge.ErrChanged) {
			t.Errorf("Read = %v, want ErrChanged", err)
		}
		if _, err := s.Partitions(ctx); !errors.Is(err, bridge.ErrChanged) {
			t.Errorf("Partitions = %v, want ErrChanged", err)
		}
		if _, err := kafkastream.NewSource(ctx, kafkastream.SourceConfig{Client: client, Topic: name, Partitions: 1}); !errors.Is(err, bridge.ErrChanged) {
			t.Errorf("NewSource pinned to one partition = %v, want ErrChanged", err)
		}
	})
}

// firstFinal reads until an error that no retry helps against, or for ten seconds.
func firstFinal(ctx context.Context, r bridge.Reader) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		if _, err := r.Read(ctx); err != nil && !bridge.Retryable(err) {
			return err
		}
	}
}

// recreate deletes a topic and creates it anew as soon as the cluster lets it.
func recreate(t *testing.T, client *kafkastream.Client, adm *kadm.Client, name string, partitions int) {
	t.Helper()
	if _, err := adm.DeleteTopic(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	for {
		_, err := client.CreateTopic(t.Context(), kafkastream.TopicSpec{Name: name, Partitions: partitions, ReplicationFactor: 1})
		if err == nil {
			return
		}
		if !errors.Is(err, bridge.ErrConflict) {
			t.Fatal(err)
		}
	}
}

func TestSourceJudgesProvenance(t *testing.T) {
	addrs := brokers(t)
	client := dial(t, kafkastream.Config{Brokers: addrs})
	name := topic(t, client, 1, nil)
	info, err := client.Topic(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	from := bridge.Identity{Name: "kinesis:arn:aws:kinesis:us-east-1:1:stream/s", Incarnation: "1"}
	stamp := func(workflow string) *bridge.Stamp {
		return bridge.NewStamp(bridge.StampConfig{Workflow: workflow, Key: bridge.WorkflowKey{1}, Source: from, Target: info.Identity()})
	}
	origin := bridge.Coordinate{Stream: from.String(), Partition: "shardId-000000000003", Position: bridge.Position{Seq: "123456789"}}
	header := func(workflow, value string) []byte {
		return stamp(workflow).Append(nil, &bridge.Record{Key: []byte("k"), Value: []byte(value), Origin: origin, Subs: 1, Time: time.UnixMilli(5)})
	}
	user := bridge.Header{Key: bridge.ProvenanceHeader, Value: []byte("over troubled water")}
	other := bridge.Header{Key: "a", Value: []byte("1")}
	prov := func(b []byte) bridge.Header { return bridge.Header{Key: bridge.ProvenanceHeader, Value: b} }
	tests := []struct {
		name    string
		headers []bridge.Header
		want    bridge.Record
	}{
		{"none", []bridge.Header{other}, bridge.Record{Headers: []bridge.Header{other}}},
		{"ours", []bridge.Header{other, prov(header("w", "v"))}, bridge.Record{Headers: []bridge.Header{other}, Origin: origin}},
		{"ours alone", []bridge.Header{prov(header("w", "v"))}, bridge.Record{Origin: origin}},
		{"copied", []bridge.Header{prov(header("w", "another value")), other}, bridge.Record{Headers: []bridge.Header{other}, Foreign: true}},
		{"of another workflow", []bridge.Header{prov(header("x", "v"))}, bridge.Record{}},
		{"a user's", []bridge.Header{user, other}, bridge.Record{Headers: []bridge.Header{user, other}}},
		{"a user's, then ours", []bridge.Header{user, prov(header("w", "v"))}, bridge.Record{Headers: []bridge.Header{user}, Origin: origin}},
		{"ours, then a user's", []bridge.Header{prov(header("w", "v")), user}, bridge.Record{Headers: []bridge.Header{prov(header("w", "v")), user}}},
		{"copied, then ours", []bridge.Header{prov(header("w", "old")), prov(header("w", "v"))}, bridge.Record{Headers: []bridge.Header{prov(header("w", "old"))}, Origin: origin}},
	}
	p := producer(t, addrs)
	for _, tt := range tests {
		r := &kgo.Record{Topic: name, Key: []byte("k"), Value: []byte("v")}
		for _, h := range tt.headers {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
		}
		produce(t, p, r)
	}
	got, _ := drain(t, open(t, newSource(t, kafkastream.SourceConfig{Client: client, Topic: name, Stamp: stamp("w")}), "0", bridge.Start{}))
	unjudged, _ := drain(t, open(t, newSource(t, kafkastream.SourceConfig{Client: client, Topic: name}), "0", bridge.Start{}))
	if len(got) != len(tests) || len(unjudged) != len(tests) {
		t.Fatalf("read %d and %d records, want %d", len(got), len(unjudged), len(tests))
	}
	for i, tt := range tests {
		have := bridge.Record{Headers: got[i].Headers, Origin: got[i].Origin, Foreign: got[i].Foreign}
		if diff := cmp.Diff(tt.want, have); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
		if u := unjudged[i]; !u.Origin.IsZero() || u.Foreign || cmp.Diff(tt.want.Headers, u.Headers) != "" {
			t.Errorf("%s, without a Stamp: %+v, want the same headers and nothing judged", tt.name, u)
		}
	}
}

func TestSourceOutlivesLeaderChanges(t *testing.T) {
	fake, client := cluster(t, kfake.NumBrokers(3), kfake.SeedTopics(1, "moving"))
	p := producer(t, fake.ListenAddrs())
	s := newSource(t, kafkastream.SourceConfig{Client: client, Topic: "moving"})
	r := open(t, s, "0", bridge.Start{})
	var got []bridge.Record
	for i := range 12 {
		if err := fake.MoveTopicPartition("moving", 0, int32(i%3)); err != nil {
			t.Fatal(err)
		}
		produce(t, p, &kgo.Record{Topic: "moving", Value: []byte(strconv.Itoa(i))})
		for len(got) <= i {
			b, err := r.Read(t.Context())
			if err != nil && !bridge.Retryable(err) {
				t.Fatal(err)
			}
			got = append(got, b.Records...)
		}
	}
	for i, rec := range got {
		if string(rec.Value) != strconv.Itoa(i) {
			t.Fatalf("record %d is %q", i, rec.Value)
		}
	}
}

func TestSourceListsPartitions(t *testing.T) {
	addrs := brokers(t)
	client := dial(t, kafkastream.Config{Brokers: addrs})
	s := newSource(t, kafkastream.SourceConfig{Client: client, Topic: topic(t, client, 11, nil)})
	got, err := s.Partitions(t.Context())
	if err != nil || len(got) != 11 || got[10].ID != "10" || got[0].Closed || got[0].Parents != nil {
		t.Errorf("Partitions = %+v, %v", got, err)
	}
	ends, err := s.Ends(t.Context())
	if err != nil || len(ends) != 11 || !ends["7"].IsZero() {
		t.Errorf("Ends of an empty topic = %v, %v", ends, err)
	}
}

func ExampleNewSource() {
	ctx := context.Background()
	fake, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "orders"), kfake.ClusterID("lab"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer fake.Close()
	client, err := kafkastream.Dial(ctx, kafkastream.Config{Brokers: fake.ListenAddrs()})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	source, err := kafkastream.NewSource(ctx, kafkastream.SourceConfig{Client: client, Topic: "orders"})
	if err != nil {
		fmt.Println(err)
		return
	}
	id, _ := source.Identity(ctx)
	partitions, _ := source.Partitions(ctx)
	fmt.Println(id.Name, len(partitions))
	// Output: kafka:lab/orders 2
}

// A record must not cost an allocation beyond those of sarama's decoder.
func TestReadAllocatesPerAnswer(t *testing.T) {
	b := &sarama.RecordBatch{Version: 2, FirstOffset: 1 << 40, LastOffsetDelta: 999, FirstTimestamp: time.UnixMilli(1), ProducerID: -1}
	for i := range 1000 {
		b.Records = append(b.Records, &sarama.Record{
			OffsetDelta: int64(i), Key: []byte("k"), Value: []byte("v"),
			Headers: []*sarama.RecordHeader{{Key: []byte("trace"), Value: []byte("1")}, {Key: []byte("type"), Value: []byte("x")}},
		})
	}
	read := kafkastream.Records(&sarama.FetchResponseBlock{RecordsSet: []*sarama.Records{{RecordBatch: b}}}, nil)
	if got := read(); len(got) != 1000 || got[999].Position != bridge.OffsetPosition(1<<40+999) || len(got[999].Headers) != 2 {
		t.Fatalf("read %d records", len(got))
	}
	if n := testing.AllocsPerRun(20, func() { read() }); n > 5 {
		t.Errorf("%v allocations for an answer of 1000 records, want at most 5", n)
	}
}

func BenchmarkRead(b *testing.B) {
	fake, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	if err != nil {
		b.Fatal(err)
	}
	defer fake.Close()
	p, err := kgo.NewClient(kgo.SeedBrokers(fake.ListenAddrs()...), kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	const total = 50_000
	for range total {
		p.Produce(b.Context(), &kgo.Record{Topic: "t", Key: []byte("key"), Value: make([]byte, 1000)}, nil)
	}
	if err := p.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	client, err := kafkastream.Dial(b.Context(), kafkastream.Config{Brokers: fake.ListenAddrs()})
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	s, err := kafkastream.NewSource(b.Context(), kafkastream.SourceConfig{Client: client, Topic: "t"})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(1000)
	b.ReportAllocs()
	n := total
	var r bridge.Reader
	for i := 0; i < b.N; {
		if n >= total {
			if r, err = s.Open(b.Context(), "0", bridge.Start{}); err != nil {
				b.Fatal(err)
			}
			defer r.Close()
			n = 0
		}
		got, err := r.Read(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		n += len(got.Records)
		i += len(got.Records)
	}
}
