//go:build integration

package kafkastream_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/bridgetest"
	"github.com/kinesis-msk-bridge/bridge/integration/servers"
	"github.com/kinesis-msk-bridge/bridge/stream/kafkastream"
)

// realBench is a broker of Apache Kafka.
func realBench(t *testing.T, properties map[string]string) *bench {
	t.Helper()
	k, err := servers.StartKafka(t.Context(), servers.KafkaConfig{Dir: t.TempDir(), Properties: properties})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	return newBench(t, "kafka "+servers.KafkaVersion, k.Brokers())
}

func TestIntegrationContracts(t *testing.T) {
	b := realBench(t, nil)
	t.Run("source", func(t *testing.T) { bridgetest.TestSource(t, b.sourceHarness()) })
	t.Run("sink", func(t *testing.T) { bridgetest.TestSink(t, b.sinkHarness()) })
	t.Run("recoverable", func(t *testing.T) { bridgetest.TestRecoverable(t, b.sinkHarness()) })
	t.Run("checkpoints", b.checkpoints)
	t.Run("ledger", b.ledger)
	t.Run("dead letters", b.deadLetters)
	t.Run("groups", b.groups)
	t.Run("extents", b.extents)
	t.Run("written", b.written)
	t.Run("message limits", b.messageLimits)
	t.Run("times", b.times)
}

// What the broker in this process is known to do otherwise, a real one does as expected.
func TestIntegrationBehaviours(t *testing.T) {
	k, err := servers.StartKafka(t.Context(), servers.KafkaConfig{Dir: t.TempDir(), Secure: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	b := newBench(t, "kafka "+servers.KafkaVersion, k.Brokers())
	hold(t, b.server, b.behaviours(secure{addrs: []string{k.Secure()}, ca: k.CAFile()}))
}

func rec(partition, value string) bridge.Record {
	return bridge.Record{Key: []byte("k"), Value: []byte(value), Partition: partition, Time: time.UnixMilli(1), Subs: 1}
}

func writer(ctx context.Context, t *testing.T, b *bench, workflow, topic string) (*kafkastream.Session, *kafkastream.Sink) {
	t.Helper()
	s, err := b.session(ctx, t, workflow, topic)
	if err != nil {
		t.Fatal(err)
	}
	return s, s.Sink(kafkastream.SinkConfig{Stamp: bridge.NewStamp(bridge.StampConfig{Workflow: workflow, Key: testKey()})})
}

// write returns the error that a zombie must meet.
func write(ctx context.Context, k *kafkastream.Sink, partition, value string) error {
	acks, err := k.Write(ctx, []bridge.Record{rec(partition, value)})
	if err != nil {
		return err
	}
	return acks[0].Err
}

// An older session can append nothing more, to partitions that it has written and to
// others, from the moment on that a newer one is open.
func TestIntegrationFence(t *testing.T) {
	b := realBench(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	name := topic(t, b.client, 3, nil)
	for round := range 20 {
		workflow := fmt.Sprint("fence-", round)
		old, oldSink := writer(ctx, t, b, workflow, name)
		if err := write(ctx, oldSink, "0", "old"); err != nil {
			t.Fatal(err)
		}
		next, nextSink := writer(ctx, t, b, workflow, name)
		for _, partition := range []string{"0", "1", "2"} {
			if err := write(ctx, oldSink, partition, "zombie"); !errors.Is(err, bridge.ErrFenced) {
				t.Fatalf("round %d: a zombie's write to partition %s: %v, want ErrFenced", round, partition, err)
			}
		}
		if err := old.Checkpoints().Save(ctx, bridge.Checkpoint{At: time.Now()}); !errors.Is(err, bridge.ErrFenced) {
			t.Fatalf("round %d: a zombie's checkpoint: %v, want ErrFenced", round, err)
		}
		if _, err := old.Restart(ctx); !errors.Is(err, bridge.ErrFenced) {
			t.Fatalf("round %d: a zombie took the task back: %v, want ErrFenced", round, err)
		}
		if err := write(ctx, nextSink, "0", "new"); err != nil {
			t.Fatalf("round %d: the owner was evicted: %v", round, err)
		}
		if again, err := next.Restart(ctx); err != nil {
			t.Fatalf("round %d: the owner cannot take its own task again: %v", round, err)
		} else {
			again.Close()
		}
	}
	for p := range 3 {
		for _, r := range everything(t, b, name, p) {
			if string(r.Value) == "zombie" {
				t.Errorf("partition %d offset %d is a zombie's", p, r.Offset)
			}
		}
	}
}

// An id that no transaction uses is forgotten, and the next owner gets another producer
// id whose markers fence nothing: unless it is refreshed.
func TestIntegrationRefresh(t *testing.T) {
	b := realBench(t, map[string]string{
		"transactional.id.expiration.ms": "2000", "transaction.remove.expired.transaction.cleanup.interval.ms": "500",
	})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	name := topic(t, b.client, 1, nil)
	if _, err := b.session(ctx, t, "seldom", name); !errors.Is(err, bridge.ErrRefused) || bridge.Hint(err) == "" {
		t.Errorf("a session that is refreshed once in 1,800 expiries: %v, want ErrRefused with a hint", err)
	}
	open := func() (*kafkastream.Session, *kafkastream.Sink) {
		s, err := kafkastream.OpenSession(ctx, kafkastream.SessionConfig{
			Client: b.client, Workflow: "refresh", Key: testKey(), Target: name, ReplicationFactor: 1, RefreshEvery: 300 * time.Millisecond,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s, s.Sink(kafkastream.SinkConfig{Stamp: bridge.NewStamp(bridge.StampConfig{Workflow: "refresh", Key: testKey()})})
	}
	s, sink := open()
	running, stop := context.WithTimeout(ctx, 6*time.Second) // three times the expiry
	defer stop()
	saved := make(chan int, 1)
	go func() {
		n, store := 0, s.Checkpoints()
		for running.Err() == nil { // the refresh must not disturb what is written meanwhile
			if err := store.Save(ctx, bridge.Checkpoint{At: time.UnixMilli(int64(n))}); err != nil {
				t.Errorf("save %d while the id is refreshed: %v", n, err)
				break
			}
			n++
		}
		saved <- n
	}()
	if err := s.Run(running); err != nil {
		t.Fatal(err)
	}
	if n := <-saved; n < 20 {
		t.Errorf("not exercised: %d checkpoints were saved while the id was refreshed", n)
	}
	if err := write(ctx, sink, "0", "alive"); err != nil {
		t.Fatalf("after three expiries: %v", err)
	}
	open()
	if err := write(ctx, sink, "0", "zombie"); !errors.Is(err, bridge.ErrFenced) {
		t.Errorf("a zombie behind three expiries: %v, want ErrFenced", err)
	}
}

// Sequence numbers go on from 0 behind 2^31 - 1.
func TestIntegrationSequenceWraps(t *testing.T) {
	b := realBench(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	name := topic(t, b.client, 1, nil)
	var values []string
	for i := range 15 {
		values = append(values, strconv.Itoa(i))
	}
	if err := kafkastream.AppendFrom(ctx, b.client, name, 1<<31-2, values); err != nil {
		t.Fatal(err)
	}
	got := everything(t, b, name, 0)
	for i, r := range got {
		if string(r.Value) != values[i] {
			t.Errorf("record %d is %s", i, r.Value)
		}
	}
	if len(got) != len(values) {
		t.Errorf("%d records, want %d", len(got), len(values))
	}
}

// A group of the protocol of Kafka 4, with a member of the Java client, is in use, too: the
// old words for groups call it dead.
func TestIntegrationGroupOfTheNewProtocol(t *testing.T) {
	b := realBench(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	name := topic(t, b.client, 2, nil)
	info, err := b.client.Topic(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	want := map[int32]int64{0: 0, 1: 0}
	if err := b.client.CommitGroup(ctx, "new", name, commits(want)); err != nil {
		t.Fatal(err)
	}
	java, err := servers.KafkaCommand(ctx, "../../integration/consumers/KafkaReader.java", strings.Join(b.writer.OptValue(kgo.SeedBrokers).([]string), ","), "new", name, t.TempDir()+"/out", "60", "look", "consumer")
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	java.Stdout, java.Stderr = &said, &said
	if err := java.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = java.Process.Kill()
		_ = java.Wait()
	}()
	for {
		g, err := b.client.Group(ctx, "new", info)
		if err != nil {
			t.Fatalf("%v; the consumer said: %s", err, said.String())
		}
		if g.Running() && len(g.Members) == 1 {
			break
		}
	}
	if err := b.client.CommitGroup(ctx, "new", name, commits(map[int32]int64{0: 1, 1: 1})); !errors.Is(err, bridge.ErrConflict) {
		t.Errorf("CommitGroup while somebody consumes = %v, want ErrConflict", err)
	}
	if g, err := b.client.Group(ctx, "new", info); err != nil || !maps.Equal(g.Committed, want) {
		t.Errorf("committed %v, %v; want %v", g.Committed, err, want)
	}
}
