package kafkastream

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/IBM/sarama"
)

// The quotas of MSK Serverless that a workflow can meet.
const (
	// ServerlessCompacted is how many partitions the compacted topics of a cluster have.
	ServerlessCompacted = 120
	// ServerlessMessage is the largest max.message.bytes.
	ServerlessMessage = 8 << 20
)

// Serverless reports whether the cluster is MSK Serverless. The names of its brokers tell:
// those that were configured, or that MSK gave for the cluster's ARN, and those that the
// cluster gives itself have the label kafka-serverless.
func (c *Client) Serverless(ctx context.Context) (bool, error) {
	if slices.ContainsFunc(c.brokers, serverlessName) {
		return true, nil
	}
	cluster, err := c.cluster(ctx)
	if err != nil {
		return false, fmt.Errorf("ask for the names of the brokers: %w", err)
	}
	return slices.ContainsFunc(cluster.Brokers, func(b *sarama.DescribeClusterBroker) bool { return serverlessName(b.Host) }), nil
}

// serverlessName knows boot-x1y2z3.c1.kafka-serverless.us-east-1.amazonaws.com:9098.
func serverlessName(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = addr
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	labels := strings.Split(host, ".")
	i := slices.Index(labels, "kafka-serverless")
	return i > 0 && i+2 < len(labels) && strings.HasPrefix(labels[i+2], "amazonaws")
}

// CompactedPartitions counts the partitions of the compacted topics that this principal
// sees, without those of Kafka itself. Unread is how many topics do not show their settings.
func (c *Client) CompactedPartitions(ctx context.Context) (n, unread int, err error) {
	var all *sarama.MetadataResponse
	err = c.ask(ctx, func(b *sarama.Broker) (err error) {
		all, err = b.GetMetadata(sarama.NewMetadataRequest(protocolVersion, nil))
		return err
	})
	if err != nil {
		return 0, 0, fmt.Errorf("list the topics: %w", err)
	}
	partitions := map[string]int{}
	var resources []*sarama.ConfigResource
	for _, t := range all.Topics {
		if t.IsInternal || strings.HasPrefix(t.Name, "__") {
			continue
		}
		partitions[t.Name] = len(t.Partitions)
		resources = append(resources, &sarama.ConfigResource{Type: sarama.TopicResource, Name: t.Name, ConfigNames: []string{cleanupPolicy}})
	}
	shown, err := await(ctx, c, func() ([]*sarama.ConfigResourceResult, error) {
		return c.admin.DescribeConfigs(resources, sarama.DescribeConfigsOptions{})
	})
	if err != nil {
		return 0, 0, fmt.Errorf("read %s of all topics: %w", cleanupPolicy, err)
	}
	unread = len(resources)
	for _, t := range shown {
		if t.ErrorCode != sarama.ErrNoError {
			continue
		}
		unread--
		for _, e := range t.Configs {
			if e.Name == cleanupPolicy && strings.Contains(e.Value, "compact") {
				n += partitions[t.Name]
			}
		}
	}
	return n, unread, nil
}
