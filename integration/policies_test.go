//go:build integration

package integration

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/integration/servers"
	"github.com/kinesis-msk-bridge/bridge/stream/kafkastream"
)

// A policy refuses topics with settings that are not listed, as MSK does.
const policySource = `
import java.util.*;
import org.apache.kafka.common.errors.PolicyViolationException;
import org.apache.kafka.server.policy.*;
public class %[1]s implements CreateTopicPolicy {
	static final Set<String> ALLOWED = Set.of(%[2]s);
	public void configure(Map<String, ?> m) {}
	public void close() {}
	public void validate(RequestMetadata r) {
		if (r.topic().startsWith("__")) return; // the brokers make these themselves
		for (String key : r.configs().keySet())
			if (!ALLOWED.contains(key)) throw new PolicyViolationException("Topic configuration is not allowed");
	}
}
`

// What the kinds of MSK let one set.
var settable = map[string]string{
	"Serverless": `"cleanup.policy", "compression.type", "max.message.bytes", "message.timestamp.type", "message.timestamp.difference.max.ms", "retention.ms", "retention.bytes"`,
	"Express": `"cleanup.policy", "compression.type", "delete.retention.ms", "max.compaction.lag.ms", "max.message.bytes", "message.timestamp.after.max.ms",
		"message.timestamp.before.max.ms", "message.timestamp.type", "min.compaction.lag.ms", "retention.bytes", "retention.ms"`,
}

// The workflow's own topics can be made on clusters that let one set few settings. A
// setting that matters and cannot be set is refused by name, and the topic is not there.
func TestIntegrationTopicPolicies(t *testing.T) {
	for kind, keys := range settable {
		t.Run(kind, func(t *testing.T) {
			classes, name := t.TempDir(), "Only"+kind
			if err := servers.Compile(t.Context(), classes, name, fmt.Sprintf(policySource, name, keys)); err != nil {
				t.Fatal(err)
			}
			start := func(defaults map[string]string) *kafkastream.Client {
				properties := map[string]string{"create.topic.policy.class.name": name}
				for k, v := range defaults {
					properties[k] = v
				}
				k, err := servers.StartKafka(t.Context(), servers.KafkaConfig{Dir: t.TempDir(), Classes: classes, Properties: properties})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(k.Close)
				c, err := kafkastream.Dial(t.Context(), kafkastream.Config{Brokers: k.Brokers()})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { c.Close() })
				return c
			}
			open := func(c *kafkastream.Client) error {
				s, err := kafkastream.OpenSession(t.Context(), kafkastream.SessionConfig{Client: c, Workflow: "orders", Key: bridge.WorkflowKey{1}, ReplicationFactor: 1})
				if err == nil {
					err = s.Close()
				}
				return err
			}
			good := start(nil)
			for range 2 { // made, and found as made
				if err := open(good); err != nil {
					t.Fatal(err)
				}
			}
			for _, own := range kafkastream.OwnTopics("orders") {
				topic, err := good.Topic(t.Context(), own)
				if err != nil {
					t.Fatal(err)
				}
				if unsafe := topic.Unsafe(kafkastream.Durable(1)); len(unsafe) > 0 {
					t.Errorf("%s has unsafe %v: %v", own, unsafe, topic.Settings)
				}
			}
			bad := start(map[string]string{"unclean.leader.election.enable": "true"})
			err := open(bad)
			if !errors.Is(err, bridge.ErrRefused) || !strings.Contains(err.Error(), "unclean.leader.election.enable=false (it is true)") || bridge.Hint(err) == "" {
				t.Errorf("with unclean elections: %v", err)
			}
			if _, err := bad.Topic(t.Context(), kafkastream.OwnTopics("orders")[0]); !errors.Is(err, bridge.ErrMissing) {
				t.Errorf("the topic that was refused: %v", err)
			}
		})
	}
}
