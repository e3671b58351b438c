//go:build integration

package verify_test

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kinesis-msk-bridge/bridge/integration/servers"
)

// The damaging copier writes into a topic of Apache Kafka.
func TestIntegrationLies(t *testing.T) {
	k, err := servers.StartKafka(t.Context(), servers.KafkaConfig{Dir: t.TempDir()})
	check(t, err)
	t.Cleanup(k.Close)
	client, err := kgo.NewClient(kgo.SeedBrokers(k.Brokers()...))
	check(t, err)
	defer client.Close()
	_, err = kadm.NewClient(client).CreateTopic(t.Context(), liesTopicPartitions, 1, nil, "copy")
	check(t, err)
	liesThrough(t, k.Brokers())
}
