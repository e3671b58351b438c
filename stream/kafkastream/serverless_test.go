package kafkastream_test

import (
	"context"
	"net"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kinesis-msk-bridge/bridge/stream/kafkastream"
)

// A cluster is MSK Serverless by its broker names: configured, from MSK, or from the cluster.
func TestServerlessByName(t *testing.T) {
	for _, c := range []struct {
		configured, named string
		want              bool
	}{
		{"boot-a1b2.c1.kafka-serverless.us-east-1.amazonaws.com:9098", "", true},
		{"BOOT-A1B2.C1.Kafka-Serverless.eu-west-1.amazonaws.com.:9098", "", true},
		{"boot-a1b2.c1.kafka-serverless.cn-north-1.amazonaws.com.cn:9098", "", true},
		{"bootstrap.example.com:9098", "b-1.a1b2.c1.kafka-serverless.us-east-1.amazonaws.com", true},
		{"b-1.orders.x1y2z3.c2.kafka.us-east-1.amazonaws.com:9098", "", false},
		{"kafka-serverless.us-east-1.amazonaws.com:9098", "", false},
		{"boot.kafka-serverless.example.com:9098", "", false},
		{"bootstrap.example.com:9098", "", false},
	} {
		fake, err := kfake.NewCluster(kfake.NumBrokers(1))
		if err != nil {
			t.Fatal(err)
		}
		addr := fake.ListenAddrs()[0]
		if c.named != "" {
			fake.ControlKey(int16(kmsg.DescribeCluster), func(req kmsg.Request) (kmsg.Response, error, bool) {
				fake.KeepControl()
				resp := req.ResponseKind().(*kmsg.DescribeClusterResponse)
				resp.ClusterID = "cluster"
				resp.Brokers = append(resp.Brokers, kmsg.DescribeClusterResponseBroker{NodeID: 0, Host: c.named, Port: 9098})
				return resp, nil, true
			})
		}
		client, err := kafkastream.Dial(t.Context(), kafkastream.Config{Brokers: []string{c.configured}, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, addr)
		}})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := client.Serverless(t.Context()); got != c.want || err != nil {
			t.Errorf("%s, named %q: %v, %v", c.configured, c.named, got, err)
		}
		if err := client.Close(); err != nil {
			t.Error(err)
		}
		fake.Close()
	}
}

// The partitions of compacted topics are counted, and the topics of which nobody says
// whether they are compacted.
func TestCompactedPartitions(t *testing.T) {
	fake, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	defer fake.Close()
	for _, topic := range []struct {
		name, policy string
		partitions   int32
	}{{"a", "compact", 3}, {"b", "compact,delete", 2}, {"c", "delete", 50}, {"__own", "compact", 50}, {"hidden", "compact", 7}} {
		if err := fake.CreateTopic(topic.name, topic.partitions, map[string]string{"cleanup.policy": topic.policy}); err != nil {
			t.Fatal(err)
		}
	}
	fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.DescribeConfigs}, Resource: "hidden", Err: kerr.TopicAuthorizationFailed, Count: -1})
	client, err := kafkastream.Dial(t.Context(), kafkastream.Config{Brokers: fake.ListenAddrs()})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if n, unread, err := client.CompactedPartitions(t.Context()); n != 5 || unread != 1 || err != nil {
		t.Errorf("%d partitions, %d topics unread, %v", n, unread, err)
	}
}
