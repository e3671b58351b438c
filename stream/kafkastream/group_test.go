package kafkastream_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/stream/kafkastream"
)

// commits are bare offsets.
func commits(offsets map[int32]int64) map[int32]kafkastream.Commit {
	out := map[int32]kafkastream.Commit{}
	for p, n := range offsets {
		out[p] = kafkastream.CommitOf(n)
	}
	return out
}

// groups holds what a server must do with the offsets of groups.
func (b *bench) groups(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	name := topic(t, b.client, 3, nil)
	info, err := b.client.Topic(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	group := "group-of-" + name
	look := func() kafkastream.Group {
		t.Helper()
		g, err := b.client.Group(ctx, group, info)
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	if g := look(); g.Running() || len(g.Committed) != 0 {
		t.Errorf("a group that does not exist: %+v", g)
	}
	want := map[int32]int64{0: 5, 1: 0, 2: 7}
	if err := b.client.CommitGroup(ctx, group, name, commits(want)); err != nil {
		t.Fatal(err)
	}
	if g := look(); g.Running() || !maps.Equal(g.Committed, want) {
		t.Errorf("committed %v, want %v; running: %v", g.Committed, want, g.Running())
	}
	leave := b.join(ctx, t, group, name)
	if g := look(); !g.Running() || len(g.Members) != 1 {
		t.Errorf("a group with a member: %+v", g)
	}
	err = b.client.CommitGroup(ctx, group, name, commits(map[int32]int64{0: 1, 1: 1, 2: 1}))
	if !errors.Is(err, bridge.ErrConflict) || bridge.Hint(err) == "" {
		t.Errorf("CommitGroup while somebody consumes = %v, want ErrConflict", err)
	}
	if err := b.client.ForgetGroup(ctx, group, name, []int32{1}); !errors.Is(err, bridge.ErrConflict) {
		t.Errorf("ForgetGroup while somebody consumes = %v, want ErrConflict", err)
	}
	if g := look(); !maps.Equal(g.Committed, want) {
		t.Errorf("committed %v after refusals, want %v", g.Committed, want)
	}
	leave()
	for look().Running() {
		if ctx.Err() != nil {
			t.Fatal("the member that left is still there")
		}
	}
	if err := b.client.ForgetGroup(ctx, group, name, []int32{1}); err != nil {
		t.Fatal(err)
	}
	delete(want, 1)
	if g := look(); !maps.Equal(g.Committed, want) {
		t.Errorf("committed %v after one was forgotten, want %v", g.Committed, want)
	}
	if err := b.client.ForgetGroup(ctx, "no-such-group", name, []int32{0}); err != nil {
		t.Errorf("ForgetGroup of none = %v", err)
	}
}

// join consumes as a member of the group until the returned function is called.
func (b *bench) join(ctx context.Context, t *testing.T, group, topic string) (leave func()) {
	t.Helper()
	assigned := make(chan struct{})
	var once sync.Once
	member, err := kgo.NewClient(append(b.writer.Opts(), kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(),
		kgo.OnPartitionsAssigned(func(context.Context, *kgo.Client, map[string][]int32) { once.Do(func() { close(assigned) }) }))...)
	if err != nil {
		t.Fatal(err)
	}
	life, end := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() {
		for life.Err() == nil {
			member.PollFetches(life)
		}
	})
	leave = sync.OnceFunc(func() { end(); running.Wait(); member.Close() })
	t.Cleanup(leave)
	select {
	case <-assigned:
	case <-ctx.Done():
		t.Fatal("the member was assigned nothing")
	}
	return leave
}

// extents holds where a server says that partitions end while a transaction is open.
func (b *bench) extents(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	name := topic(t, b.client, 2, nil)
	info, err := b.client.Topic(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	put := func(c *kgo.Client) {
		t.Helper()
		if err := c.ProduceSync(ctx, &kgo.Record{Topic: name, Partition: 0, Value: []byte("x")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	opts := append(b.writer.Opts(), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	plain, err := kgo.NewClient(opts...)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	transactional, err := kgo.NewClient(append(opts, kgo.TransactionalID("tx-"+name))...)
	if err != nil {
		t.Fatal(err)
	}
	defer transactional.Close()
	put(plain)
	put(plain)
	if err := transactional.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	put(transactional)
	put(plain)
	check := func(want kafkastream.Extent) {
		t.Helper()
		for {
			got, err := b.client.Extents(ctx, info)
			if err == nil && len(got) == 2 && got[0] == want && got[1] == (kafkastream.Extent{Partition: 1}) {
				return
			}
			// A broker tells of a transaction's end a moment after it said that it was over.
			if err != nil || ctx.Err() != nil || got[0].Stable > want.Stable {
				t.Fatalf("extents %+v, %v; want %+v", got, err, want)
			}
		}
	}
	check(kafkastream.Extent{Stable: 2, End: 4})
	if err := transactional.EndTransaction(ctx, kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	check(kafkastream.Extent{Stable: 5, End: 5})
	if err := b.trim(ctx, name, "0", bridge.OffsetPosition(2)); err != nil {
		t.Fatal(err)
	}
	check(kafkastream.Extent{First: 3, Stable: 5, End: 5})
}

// written holds that what a session wrote is found with its coordinates, and that copies
// by others are told apart.
func (b *bench) written(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	name := topic(t, b.client, 1, nil)
	info, err := b.client.Topic(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	workflow := fmt.Sprint("written-", workflows.Add(1))
	source := bridge.Identity{Name: "kinesis:x", Incarnation: "1"}
	stamp := bridge.NewStamp(bridge.StampConfig{Workflow: workflow, Key: testKey(), Source: source, Target: info.Identity()})
	s, err := b.session(ctx, t, workflow, name)
	if err != nil {
		t.Fatal(err)
	}
	var recs []bridge.Record
	for i := range 5 {
		r := bridge.Record{Key: []byte("k"), Value: []byte(strconv.Itoa(i)), Partition: "0", Subs: 1}
		r.Origin = bridge.Coordinate{Stream: source.String(), Partition: "shardId-000000000000", Position: bridge.Position{Seq: strconv.Itoa(100 + i)}}
		r.Time = time.UnixMilli(int64(1000 + i))
		recs = append(recs, r)
	}
	if _, err := s.Sink(kafkastream.SinkConfig{Stamp: stamp}).Write(ctx, recs); err != nil {
		t.Fatal(err)
	}
	below := map[string]bridge.Position{"shardId-000000000000": {Seq: "102"}}
	cp := bridge.Checkpoint{At: time.UnixMilli(1), Index: []bridge.IndexEntry{{Partition: "0", Position: bridge.OffsetPosition(3), Below: below}}}
	if err := s.Checkpoints().Save(ctx, cp); err != nil {
		t.Fatal(err)
	}
	// An application reads the mirror's record and writes it again, and writes one of its own.
	copied := &kgo.Record{Topic: name, Key: recs[1].Key, Value: recs[1].Value, Headers: []kgo.RecordHeader{{Key: bridge.ProvenanceHeader, Value: stamp.Append(nil, &recs[1])}}}
	if err := b.writer.ProduceSync(ctx, copied, &kgo.Record{Topic: name, Value: []byte("own")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	extents, err := b.client.Extents(ctx, info)
	if err != nil {
		t.Fatal(err)
	}
	producers, err := kafkastream.ReadProducers(ctx, b.client, workflow, 0, testKey())
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for w, err := range b.client.Written(ctx, kafkastream.WrittenConfig{Topic: info, To: extents[0].Stable, Stamp: stamp, Producers: producers}) {
		if err != nil {
			t.Fatal(err)
		}
		got += fmt.Sprintf("%s:%d:%v ", w.Origin.Position, w.Time.UnixMilli(), w.Copied)
	}
	if want := "100:1000:false 101:1001:false 102:1002:false 103:1003:false 104:1004:false 101:1001:true "; got != want {
		t.Errorf("found %s, want %s", got, want)
	}
	index, err := kafkastream.ReadIndex(ctx, b.client, workflow, 0, testKey())
	if err != nil || len(index) != 1 || index[0].Position != bridge.OffsetPosition(3) || !maps.Equal(index[0].Below, below) {
		t.Errorf("index %+v, %v", index, err)
	}
	if _, err := kafkastream.ReadIndex(ctx, b.client, workflow, 0, bridge.WorkflowKey{9}); !errors.Is(err, bridge.ErrState) {
		t.Errorf("the index of another workflow: %v", err)
	}
	if index, err := kafkastream.ReadIndex(ctx, b.client, "never-began", 0, testKey()); err != nil || len(index) != 0 {
		t.Errorf("no index: %v, %v", index, err)
	}
	topic := bridge.Identity{Name: "kafka:c/t", Incarnation: "1"}
	intent := bridge.Intent{Origin: bridge.Coordinate{Stream: topic.String(), Partition: "0", Position: bridge.OffsetPosition(3)}, Key: "k", Time: time.UnixMilli(5)}
	if _, err := s.Ledger(topic).Append(ctx, bridge.LedgerEntry{Intents: []bridge.Intent{intent}}); err != nil {
		t.Fatal(err)
	}
	n := 0
	for e, err := range kafkastream.ReadLedger(ctx, b.client, workflow, 0, testKey(), topic) {
		if err != nil || len(e.Intents) != 1 || e.Intents[0].Origin != intent.Origin {
			t.Errorf("ledger entry %+v, %v", e, err)
		}
		n++
	}
	if n != 1 {
		t.Errorf("%d ledger entries, want 1", n)
	}
}

func TestGroups(t *testing.T)                           { newBench(t, "kfake", brokers(t)).groups(t) }
func TestExtentsEndAtTheLastStableOffset(t *testing.T)  { newBench(t, "kfake", brokers(t)).extents(t) }
func TestWrittenIndexAndLedgerFromOutside(t *testing.T) { newBench(t, "kfake", brokers(t)).written(t) }
