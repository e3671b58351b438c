package kafkastream_test

import (
	"slices"
	"testing"

	"github.com/kinesis-msk-bridge/bridge/stream/kafkastream"
)

// A setting is as safe as another one only if nothing can be lost that it would keep.
func TestSettingsAsSafe(t *testing.T) {
	for _, c := range []struct {
		setting, wanted, found string
		safe                   bool
	}{
		{"unclean.leader.election.enable", "false", "true", false},
		{"unclean.leader.election.enable", "false", "false", true},
		{"unclean.leader.election.enable", "false", "", true},
		{"min.insync.replicas", "2", "1", false},
		{"min.insync.replicas", "2", "2", true},
		{"min.insync.replicas", "2", "3", true},
		{"min.insync.replicas", "2", "", true},
		{"retention.bytes", "-1", "268435456000", false},
		{"retention.bytes", "-1", "-1", true},
		{"retention.bytes", "-1", "", false},
		{"retention.ms", "1000", "999", false},
		{"retention.ms", "1000", "1000", true},
		{"retention.ms", "1000", "-1", true},
		{"retention.ms", "-1", "1000", false},
		{"max.message.bytes", "2000", "1000", false},
		{"max.message.bytes", "2000", "", false},
		{"max.message.bytes", "2000", "2000", true},
		{"cleanup.policy", "compact", "compact,delete", false},
		{"cleanup.policy", "compact", "compact", true},
		{"message.timestamp.type", "CreateTime", "LogAppendTime", false},
		{"segment.ms", "600000", "604800000", true},
		{"min.cleanable.dirty.ratio", "0.1", "", true},
	} {
		if got := kafkastream.AsSafe(c.setting, c.wanted, c.found); got != c.safe {
			t.Errorf("%s=%s where %s is wanted: as safe %v, want %v", c.setting, c.found, c.wanted, got, c.safe)
		}
	}
	topic := kafkastream.Topic{Settings: map[string]string{"unclean.leader.election.enable": "true", "retention.bytes": "5", "min.insync.replicas": "2"}}
	if got := topic.Unsafe(kafkastream.Durable(3)); !slices.Equal(got, []string{"retention.bytes", "unclean.leader.election.enable"}) {
		t.Errorf("unsafe: %v", got)
	}
	if _, asked := kafkastream.Durable(0)["min.insync.replicas"]; asked || kafkastream.Durable(1)["min.insync.replicas"] != "1" {
		t.Error("replicas in sync are asked for that there may not be")
	}
}
