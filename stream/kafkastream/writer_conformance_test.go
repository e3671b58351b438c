package kafkastream_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/bridgetest"
	"github.com/kinesis-msk-bridge/bridge/stream/kafkastream"
)

// workflows gives every test topics of its own.
var workflows atomic.Int64

func testKey() (k bridge.WorkflowKey) {
	for i := range k {
		k[i] = byte(i * 7)
	}
	return k
}

// A bench is a cluster to test the writing half against.
type bench struct {
	server string
	addrs  []string
	client *kafkastream.Client
	writer *kgo.Client
	adm    *kadm.Client
}

func newBench(t *testing.T, server string, addrs []string) *bench {
	w := producer(t, addrs)
	return &bench{server, addrs, dial(t, kafkastream.Config{Brokers: addrs}), w, kadm.NewClient(w)}
}

// session takes over the only task of a workflow and ends with the test.
func (b *bench) session(ctx context.Context, t testing.TB, workflow, target string) (*kafkastream.Session, error) {
	s, err := kafkastream.OpenSession(ctx, kafkastream.SessionConfig{
		Client: b.client, Workflow: workflow, Key: testKey(), Target: target, ReplicationFactor: 1,
	})
	if err == nil {
		t.Cleanup(func() { s.Close() })
	}
	return s, err
}

func (b *bench) trim(ctx context.Context, topic, partition string, upTo bridge.Position) error {
	offset, err := upTo.Offset()
	if err != nil {
		return err
	}
	p, err := strconv.Atoi(partition)
	if err != nil {
		return err
	}
	var before kadm.Offsets
	before.Add(kadm.Offset{Topic: topic, Partition: int32(p), At: offset + 1})
	answer, err := b.adm.DeleteRecords(ctx, before)
	if err != nil {
		return err
	}
	return answer.Error()
}

// read returns the record at an offset.
func (b *bench) read(ctx context.Context, t testing.TB, topic, partition string, at bridge.Position) (*kgo.Record, error) {
	p, _ := strconv.Atoi(partition)
	offset, err := at.Offset()
	if err != nil {
		return nil, err
	}
	c, err := kgo.NewClient(append(b.writer.Opts(), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {int32(p): kgo.NewOffset().At(offset)}}))...)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	for ctx.Err() == nil {
		for _, r := range c.PollFetches(ctx).Records() {
			if r.Offset == offset {
				return r, nil
			}
		}
	}
	return nil, ctx.Err()
}

func (b *bench) sinkHarness() bridgetest.SinkHarness {
	origin := bridge.Identity{Name: "kinesis:origin", Incarnation: "1"}
	return bridgetest.SinkHarness{
		Server:   b.server,
		Carries:  bridgetest.Carries{NullKeys: true, NullValues: true, Headers: true, Time: true, Origin: true},
		Origin:   origin,
		TooLarge: 3 << 20,
		Fences:   true,
		New: func(t testing.TB) bridgetest.SinkServer {
			name := topic(t, b.client, 2, nil)
			workflow := fmt.Sprint(bridgetest.Workflow, "-", workflows.Add(1))
			info, err := b.client.Topic(context.WithoutCancel(t.Context()), name)
			if err != nil {
				t.Fatal(err)
			}
			stampOf := func(wf string) *bridge.Stamp {
				return bridge.NewStamp(bridge.StampConfig{Workflow: wf, Key: testKey(), Source: origin, Target: info.Identity()})
			}
			return bridgetest.SinkServer{
				Open: func(ctx context.Context) (bridge.Sink, error) {
					s, err := b.session(ctx, t, workflow, name)
					if err != nil {
						return nil, err
					}
					return s.Sink(kafkastream.SinkConfig{Stamp: stampOf(bridgetest.Workflow)}), nil
				},
				Source: func(wf string) bridge.Source {
					s, err := kafkastream.NewSource(t.Context(), kafkastream.SourceConfig{Client: b.client, Topic: name, Stamp: stampOf(wf)})
					if err != nil {
						t.Fatal(err)
					}
					return s
				},
				Put: func(ctx context.Context, r bridge.Record) (bridge.Ack, error) { return put(ctx, b.writer, name, r) },
				Damage: bridgetest.Damage{
					Trim: func(ctx context.Context, partition string, upTo bridge.Position) error {
						return b.trim(ctx, name, partition, upTo)
					},
					Copy: func(ctx context.Context, partition string, at bridge.Position, value []byte) error {
						r, err := b.read(ctx, t, name, partition, at)
						if err != nil {
							return err
						}
						again := &kgo.Record{Topic: name, Partition: r.Partition, Key: r.Key, Value: r.Value, Headers: r.Headers, Timestamp: r.Timestamp}
						if value != nil {
							again.Value = value
						}
						return b.writer.ProduceSync(ctx, again).FirstErr()
					},
				},
			}
		},
	}
}

func (b *bench) checkpoints(t *testing.T) {
	bridgetest.TestCheckpointStore(t, bridgetest.CheckpointHarness{
		Server: b.server,
		New: func(t testing.TB) bridgetest.CheckpointPlace {
			workflow := fmt.Sprint("checkpoints-", workflows.Add(1))
			return bridgetest.CheckpointPlace{
				Open: func(ctx context.Context) (bridge.CheckpointStore, error) {
					s, err := b.session(ctx, t, workflow, "")
					if err != nil {
						return nil, err
					}
					return s.Checkpoints(), nil
				},
				Damage: func(ctx context.Context) error {
					return b.writer.ProduceSync(ctx, &kgo.Record{
						Topic: kafkastream.OwnTopics(workflow)[0], Key: []byte("delta/0"), Value: []byte(`{"v":1,"kind":"checkpoint","body":{},"tag":"0"}`),
					}).FirstErr()
				},
			}
		},
	})
}

func (b *bench) ledger(t *testing.T) {
	bridgetest.TestLedger(t, bridgetest.LedgerHarness{
		Server: b.server,
		New: func(t testing.TB) bridgetest.LedgerPlace {
			workflow := fmt.Sprint("ledger-", workflows.Add(1))
			return bridgetest.LedgerPlace{
				Open: func(ctx context.Context) (bridge.Ledger, error) {
					s, err := b.session(ctx, t, workflow, "")
					if err != nil {
						return nil, err
					}
					return s.Ledger(bridge.Identity{Name: "kafka:c/t", Incarnation: "id"}), nil
				},
				Trim: func(ctx context.Context, upTo bridge.Position) error {
					return b.trim(ctx, kafkastream.OwnTopics(workflow)[1], "0", upTo)
				},
			}
		},
	})
}

func (b *bench) deadLetters(t *testing.T) {
	origin := bridge.Identity{Name: "kinesis:arn:aws:kinesis:us-east-1:123456789012:stream/origin", Incarnation: "1769862615000"}
	bridgetest.TestDeadLetters(t, bridgetest.DeadLettersHarness{
		Server: b.server, Fences: true, TooLarge: 3 << 20,
		New: func(t testing.TB) bridgetest.LettersPlace {
			name := topic(t, b.client, 2, nil)
			suffix := fmt.Sprint("-letters-", workflows.Add(1))
			stampOf := func(ctx context.Context, workflow string) (*bridge.Stamp, error) {
				info, err := b.client.Topic(ctx, name)
				return bridge.NewStamp(bridge.StampConfig{Workflow: workflow, Key: testKey(), Source: origin, Target: info.Identity()}), err
			}
			return bridgetest.LettersPlace{
				Open: func(ctx context.Context, workflow string) (bridge.DeadLetters, error) {
					s, err := kafkastream.OpenSession(ctx, kafkastream.SessionConfig{
						Client: b.client, Workflow: workflow + suffix, Key: testKey(), DeadLetters: name, ReplicationFactor: 1,
					})
					if err != nil {
						return nil, err
					}
					t.Cleanup(func() { s.Close() })
					stamp, err := stampOf(ctx, workflow)
					return s.DeadLetters(stamp), err
				},
				Read: func(ctx context.Context, workflow string) iter.Seq2[bridge.DeadLetter, error] {
					stamp, err := stampOf(ctx, workflow)
					if err != nil {
						t.Fatal(err)
					}
					return kafkastream.ReadDeadLetters(ctx, b.client, name, stamp)
				},
				Remove: func(ctx context.Context) error { return b.removeAll(ctx, name) },
				Lose:   func(ctx context.Context) error { return b.recreate(ctx, name) },
			}
		},
	})
}

// removeAll moves the start of every partition to its end.
func (b *bench) removeAll(ctx context.Context, name string) error {
	ends, err := b.adm.ListEndOffsets(ctx, name)
	if err != nil {
		return err
	}
	answer, err := b.adm.DeleteRecords(ctx, ends.Offsets())
	if err != nil {
		return err
	}
	return answer.Error()
}

// recreate makes a new topic of that name.
func (b *bench) recreate(ctx context.Context, name string) error {
	if _, err := b.adm.DeleteTopic(ctx, name); err != nil {
		return err
	}
	_, err := b.client.CreateTopic(ctx, kafkastream.TopicSpec{Name: name, Partitions: 2, ReplicationFactor: 1})
	return err
}

// The writing half holds the contracts on a server in this process.
func TestWriterContracts(t *testing.T) {
	b := newBench(t, "kfake", brokers(t))
	t.Run("sink", func(t *testing.T) { bridgetest.TestSink(t, b.sinkHarness()) })
	t.Run("recoverable", func(t *testing.T) { bridgetest.TestRecoverable(t, b.sinkHarness()) })
	t.Run("checkpoints", b.checkpoints)
	t.Run("ledger", b.ledger)
	t.Run("dead letters", b.deadLetters)
}

// everything reads one partition to its end. It leaves a record behind that.
func everything(t *testing.T, b *bench, topic string, partition int) []*kgo.Record {
	t.Helper()
	c, err := kgo.NewClient(append(b.writer.Opts(), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {int32(partition): kgo.NewOffset().AtStart()}}))...)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	end, err := b.adm.ListEndOffsets(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	o, _ := end.Lookup(topic, int32(partition))
	if err := b.writer.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Partition: int32(partition), Value: []byte("end")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	var out []*kgo.Record
	for {
		for _, r := range c.PollFetches(t.Context()).Records() {
			if r.Offset >= o.Offset {
				return out
			}
			out = append(out, r)
		}
	}
}

// A cluster that forgets transactional ids between two refreshes could not fence.
func TestExpiryOfTransactionalIDs(t *testing.T) {
	for ms, want := range map[string]error{"10799999": bridge.ErrRefused, "10800000": nil} {
		fake, _ := cluster(t, kfake.BrokerConfigs(map[string]string{"transactional.id.expiration.ms": ms}))
		b := newBench(t, "kfake", fake.ListenAddrs())
		_, err := b.session(t.Context(), t, "expiry", "")
		if !errors.Is(err, want) || want != nil && bridge.Hint(err) == "" {
			t.Errorf("ids are forgotten after %s ms: %v, want %v with a hint", ms, err, want)
		}
	}
}
