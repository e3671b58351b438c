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
	partitions, err := c.partitionCounts(ctx)
	if err != nil || len(partitions) == 0 {
		return 0, 0, err
	}
	var of []*sarama.ConfigResource
	for name := range partitions {
		of = append(of, &sarama.ConfigResource{Type: sarama.TopicResource, Name: name, ConfigNames: []string{cleanupPolicy}})
	}
	shown, err := c.configs(ctx, of...)
	if err != nil {
		return 0, 0, fmt.Errorf("read %s of all topics: %w", cleanupPolicy, err)
	}
	for name, p := range partitions {
		entries, err := entriesOf(shown, name)
		if err != nil {
			unread++
			continue
		}
		if slices.ContainsFunc(entries, func(e *sarama.ConfigEntry) bool {
			return e.Name == cleanupPolicy && strings.Contains(e.Value, "compact")
		}) {
			n += p
		}
	}
	return n, unread, nil
}

// partitionCounts lists the topics that this principal sees, without those of Kafka itself.
func (c *Client) partitionCounts(ctx context.Context) (map[string]int, error) {
	all, err := c.allTopics(ctx)
	if err != nil {
		return nil, err
	}
	partitions := map[string]int{}
	for _, t := range all.Topics {
		if !t.IsInternal && !strings.HasPrefix(t.Name, "__") {
			partitions[t.Name] = len(t.Partitions)
		}
	}
	return partitions, nil
}
