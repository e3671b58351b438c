package kafkastream_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/stream/kafkastream"
)

// realKafka names the variable that gives the address of a broker, plaintext, on which
// the tests that need no fake run too.
const realKafka = "BRIDGE_TEST_KAFKA"

// cluster starts an in-process broker and a client of it; both end with the test.
func cluster(t *testing.T, opts ...kfake.Opt) (*kfake.Cluster, *kafkastream.Client) {
	t.Helper()
	fake, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fake.Close)
	return fake, dial(t, kafkastream.Config{Brokers: fake.ListenAddrs()})
}

// brokers is the address of a broker for tests that need nothing of the fake.
func brokers(t *testing.T) []string {
	t.Helper()
	if addr := os.Getenv(realKafka); addr != "" {
		return []string{addr}
	}
	fake, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fake.Close)
	return fake.ListenAddrs()
}

// topic creates a topic of its own for the test.
func topic(t testing.TB, client *kafkastream.Client, partitions int, settings map[string]string) string {
	t.Helper()
	name := fmt.Sprintf("t-%d-%d", os.Getpid(), topics.Add(1))
	_, err := client.CreateTopic(t.Context(), kafkastream.TopicSpec{Name: name, Partitions: partitions, ReplicationFactor: 1, Settings: settings})
	if err != nil {
		t.Fatal(err)
	}
	return name
}

var topics atomic.Int64

// producer is another client than the one under test.
func producer(t testing.TB, addrs []string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	p, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(addrs...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.NoCompression()),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func produce(t *testing.T, p *kgo.Client, records ...*kgo.Record) {
	t.Helper()
	if err := p.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

func dial(t *testing.T, c kafkastream.Config) *kafkastream.Client {
	t.Helper()
	client, err := kafkastream.Dial(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Errorf("close the client: %v", err)
		}
	})
	return client
}

// The answer that names the controller is lost a few times.
func TestControllerIsAskedForAgain(t *testing.T) {
	fake, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fake.Close)
	lost := 0
	fake.ControlKey(int16(kmsg.Metadata), func(r kmsg.Request) (kmsg.Response, error, bool) {
		fake.KeepControl()
		if len(r.(*kmsg.MetadataRequest).Topics) == 0 || lost == 3 {
			return nil, nil, false
		}
		lost++
		return nil, errors.New("lost"), true
	})
	client := dial(t, kafkastream.Config{Brokers: fake.ListenAddrs()})
	if _, err := client.Topic(t.Context(), "none"); !errors.Is(err, bridge.ErrMissing) || lost != 3 {
		t.Errorf("after %d lost answers: %v, want ErrMissing after 3", lost, err)
	}
}

// A broker is behind the others, and does not know for a while a topic that was just created.
func TestCreatedTopicIsNotKnownEverywhereAtOnce(t *testing.T) {
	fake, client := cluster(t)
	asked := 0
	fake.ControlKey(int16(kmsg.DescribeConfigs), func(r kmsg.Request) (kmsg.Response, error, bool) {
		fake.KeepControl()
		if asked++; asked > 3 {
			return nil, nil, false
		}
		answer := r.ResponseKind().(*kmsg.DescribeConfigsResponse)
		for _, about := range r.(*kmsg.DescribeConfigsRequest).Resources {
			unknown := kmsg.NewDescribeConfigsResponseResource()
			unknown.ResourceType, unknown.ResourceName, unknown.ErrorCode = about.ResourceType, about.ResourceName, kerr.UnknownTopicOrPartition.Code
			answer.Resources = append(answer.Resources, unknown)
		}
		return answer, nil, true
	})
	if made, err := client.CreateTopic(t.Context(), kafkastream.TopicSpec{Name: "orders", Partitions: 1, ReplicationFactor: 1}); err != nil || made.CleanupPolicy == "" || asked <= 3 {
		t.Errorf("CreateTopic = %+v, %v, after %d answers", made, err, asked)
	}
}

func TestTopicIdentity(t *testing.T) {
	_, client := cluster(t, kfake.ClusterID("c1"))
	ctx := t.Context()
	if _, err := client.Topic(ctx, "orders"); !errors.Is(err, bridge.ErrMissing) {
		t.Fatalf("Topic of a topic that is not there: %v, want ErrMissing", err)
	}
	spec := kafkastream.TopicSpec{Name: "orders", Partitions: 3, ReplicationFactor: 1, Settings: map[string]string{"retention.ms": "-1", "cleanup.policy": "compact"}}
	made, err := client.CreateTopic(ctx, spec)
	if err != nil {
		t.Fatal(err)
	}
	if made.Partitions != 3 || made.RetentionMs != -1 || made.CleanupPolicy != "compact" || made.ReplicationFactor != 1 {
		t.Errorf("CreateTopic(%+v) = %+v", spec, made)
	}
	if made.MaxMessageBytes == 0 || made.TimestampType != "CreateTime" {
		t.Errorf("settings that were not named: %+v, want the cluster's defaults", made)
	}
	if id := made.Identity(); id.Name != "kafka:c1/orders" || len(id.Incarnation) != 22 {
		t.Errorf("Identity = %s, want kafka:c1/orders@ and a topic id", id)
	}
	if _, err := client.CreateTopic(ctx, spec); !errors.Is(err, bridge.ErrConflict) {
		t.Errorf("CreateTopic twice: %v, want ErrConflict", err)
	}
	for p := range int32(3) {
		first, end, stable, err := client.Offsets(ctx, "orders", p)
		if err != nil || first != 0 || end != 0 || stable != 0 {
			t.Errorf("Offsets of an empty partition = %d %d %d, %v", first, end, stable, err)
		}
	}
}

func TestCancelledCallsReturn(t *testing.T) {
	_, client := cluster(t, kfake.SeedTopics(1, "orders"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := client.Topic(ctx, "orders"); !errors.Is(err, context.Canceled) {
		t.Errorf("Topic under a cancelled context: %v", err)
	}
	if _, err := client.ProduceBroker(ctx, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("ProduceBroker under a cancelled context: %v", err)
	}
	if _, err := client.Topic(t.Context(), "orders"); err != nil {
		t.Errorf("Topic afterwards: %v", err)
	}
}
