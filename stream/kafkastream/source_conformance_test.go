package kafkastream_test

import (
	"context"
	"strconv"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/bridgetest"
	"github.com/kinesis-msk-bridge/bridge/stream/kafkastream"
)

// TestSourceContract holds the Source to what every source promises.
func TestSourceContract(t *testing.T) {
	bridgetest.TestSource(t, newBench(t, "kafka", brokers(t)).sourceHarness())
}

func (b *bench) sourceHarness() bridgetest.SourceHarness {
	return bridgetest.SourceHarness{
		Server:  b.server,
		Carries: bridgetest.Carries{NullKeys: true, NullValues: true, Headers: true, Time: true, Origin: true},
		New: func(t testing.TB) bridgetest.SourceServer {
			name := topic(t, b.client, 2, nil)
			info, err := b.client.Topic(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			stamp := bridge.NewStamp(bridge.StampConfig{Workflow: bridgetest.Workflow, Target: info.Identity()})
			source, err := kafkastream.NewSource(t.Context(), kafkastream.SourceConfig{Client: b.client, Topic: name, Stamp: stamp})
			if err != nil {
				t.Fatal(err)
			}
			return bridgetest.SourceServer{
				Source: source,
				Put:    func(ctx context.Context, r bridge.Record) (bridge.Ack, error) { return put(ctx, b.writer, name, r) },
				Begin: func(ctx context.Context, id string, r bridge.Record) (bridge.Ack, func(bool) error, error) {
					p := producer(t, b.addrs, kgo.TransactionalID(id))
					if err := p.BeginTransaction(); err != nil {
						return bridge.Ack{}, nil, err
					}
					ack, err := put(ctx, p, name, r)
					return ack, func(commit bool) error { return p.EndTransaction(ctx, kgo.TransactionEndTry(commit)) }, err
				},
				Damage: bridgetest.Damage{Trim: func(ctx context.Context, partition string, upTo bridge.Position) error {
					return b.trim(ctx, name, partition, upTo)
				}},
			}
		},
	}
}

// put produces one record with another client than the one under test.
func put(ctx context.Context, p *kgo.Client, topic string, r bridge.Record) (bridge.Ack, error) {
	partition, err := strconv.Atoi(r.Partition)
	if err != nil {
		return bridge.Ack{}, err
	}
	k := &kgo.Record{Topic: topic, Partition: int32(partition), Key: r.Key, Value: r.Value, Timestamp: r.Time}
	for _, h := range r.Headers {
		k.Headers = append(k.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	stored, err := p.ProduceSync(ctx, k).First()
	if err != nil {
		return bridge.Ack{}, err
	}
	return bridge.Ack{Partition: r.Partition, Position: bridge.OffsetPosition(stored.Offset)}, nil
}
