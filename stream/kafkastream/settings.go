package kafkastream

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/IBM/sarama"

	"github.com/kinesis-msk-bridge/bridge"
)

// More names of topic settings.
const (
	retentionBytes = "retention.bytes"
	unclean        = "unclean.leader.election.enable"
)

// Durable are the settings with which nothing that was acknowledged is lost or removed
// early: no leader that lacks records, and no limit of bytes. With one replica there can be
// no second one in sync; with the cluster's default (0) that is not known.
func Durable(replicas int) map[string]string {
	s := map[string]string{unclean: "false", retentionBytes: "-1"}
	if replicas > 0 {
		s[minISR] = strconv.Itoa(min(2, replicas))
	}
	return s
}

// AsSafe reports whether a topic whose setting has the value found does at least as well as
// with the value wanted. An empty found is what the cluster does not show: MSK Serverless
// and Express show and set only some settings, and take care of the others.
func AsSafe(setting, wanted, found string) bool {
	switch setting {
	case cleanupPolicy, timestampType:
		return found == wanted
	case retentionBytes, retentionMs:
		return atLeast(found, wanted, true)
	case maxMessageBytes:
		return atLeast(found, wanted, false)
	case minISR:
		return found == "" || atLeast(found, wanted, false)
	case unclean:
		return found == "" || found == wanted
	}
	return true // how large segments are changes speed only
}

// atLeast compares numbers; a negative one is without a limit if the setting has that.
func atLeast(found, wanted string, unlimited bool) bool {
	f, err := strconv.ParseInt(found, 10, 64)
	w, _ := strconv.ParseInt(wanted, 10, 64)
	switch {
	case err != nil:
		return false
	case unlimited && f < 0:
		return true
	case unlimited && w < 0:
		return false
	}
	return f >= w
}

// Unsafe names the settings with which a topic does less than with those wanted, sorted.
func (t Topic) Unsafe(wanted map[string]string) []string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(wanted)) {
		if !AsSafe(k, wanted[k], t.Settings[k]) {
			out = append(out, k)
		}
	}
	return out
}

// AlterCommand is the command with which a person sets settings of a topic.
func AlterCommand(topic string, settings map[string]string) string {
	var list []string
	for _, k := range slices.Sorted(maps.Keys(settings)) {
		list = append(list, k+"="+settings[k])
	}
	return "kafka-configs.sh --bootstrap-server BROKERS --alter --entity-type topics --entity-name " + topic + " --add-config " + strings.Join(list, ",")
}

// notSettable reports whether a cluster refused settings and not the topic.
func notSettable(err error) bool {
	for _, code := range []sarama.KError{sarama.ErrInvalidConfig, sarama.ErrPolicyViolation, sarama.ErrInvalidRequest} {
		if errors.Is(err, code) {
			return true
		}
	}
	return false
}

// create asks for a topic. Settings that the cluster does not let anybody set are left out,
// and returned.
func (c *Client) create(ctx context.Context, spec TopicSpec) (left []string, err error) {
	if err = c.createTopic(ctx, spec, spec.Settings, false); !notSettable(err) {
		return nil, err
	}
	// The cluster does not say which one it was: each is tried by itself, and nothing is made.
	if c.createTopic(ctx, spec, nil, true) != nil {
		return nil, err
	}
	taken := map[string]string{}
	for _, k := range slices.Sorted(maps.Keys(spec.Settings)) {
		alone := c.createTopic(ctx, spec, map[string]string{k: spec.Settings[k]}, true)
		switch {
		case alone == nil:
			taken[k] = spec.Settings[k]
		case notSettable(alone):
			left = append(left, k)
		default:
			return nil, alone
		}
	}
	if len(left) == 0 {
		return nil, err
	}
	return left, c.createTopic(ctx, spec, taken, false)
}

func (c *Client) createTopic(ctx context.Context, spec TopicSpec, settings map[string]string, dry bool) error {
	detail := &sarama.TopicDetail{
		NumPartitions:     int32(spec.Partitions),
		ReplicationFactor: int16(spec.ReplicationFactor),
		ConfigEntries:     map[string]*string{},
	}
	if spec.ReplicationFactor == 0 {
		detail.ReplicationFactor = -1
	}
	for k, v := range settings {
		detail.ConfigEntries[k] = &v
	}
	err := c.control(ctx, func() error { return c.admin.CreateTopic(spec.Name, detail, dry) })
	return err
}

// judgeLeft refuses a topic that was just made without settings that the cluster does not
// let anybody set, if it does less for it, and takes it away again.
func (c *Client) judgeLeft(ctx context.Context, t Topic, spec TopicSpec, left []string) error {
	wanted := map[string]string{}
	for _, k := range left {
		wanted[k] = spec.Settings[k]
	}
	bad := t.Unsafe(wanted)
	if len(bad) == 0 {
		return nil
	}
	err := c.control(ctx, func() error { return c.admin.DeleteTopic(t.Name) })
	if err != nil {
		err = fmt.Errorf("delete topic %s, which was made without them: %w", t.Name, err)
	}
	return errors.Join(unsettable(t, wanted, bad), err)
}

// unsettable is the error for settings that a topic needs and that the cluster does not let
// anybody set.
func unsettable(t Topic, wanted map[string]string, bad []string) error {
	var list []string
	for _, k := range bad {
		found := t.Settings[k]
		if found == "" {
			found = "not shown"
		}
		list = append(list, fmt.Sprintf("%s=%s (it is %s)", k, wanted[k], found))
	}
	return bridge.WithHint(
		fmt.Errorf("the cluster does not let topic %s have %s: %w", t.Name, strings.Join(list, ", "), bridge.ErrRefused),
		"change the default of the cluster, or use a cluster that lets topics set it")
}

// Secure sets what a topic of the workflow's own lacks of the settings wanted. What the
// cluster does not let anybody set is refused by name. A principal that may not see the
// settings changes nothing.
func (c *Client) Secure(ctx context.Context, name string, wanted map[string]string) error {
	t, err := c.Topic(ctx, name)
	if errors.Is(err, bridge.ErrDenied) {
		return nil
	}
	if err != nil {
		return err
	}
	wanted = maps.Clone(wanted)
	if _, asked := wanted[minISR]; asked {
		wanted[minISR] = strconv.Itoa(min(2, t.ReplicationFactor))
	}
	bad := t.Unsafe(wanted)
	if len(bad) == 0 {
		return nil
	}
	entries := map[string]sarama.IncrementalAlterConfigsEntry{}
	for _, k := range bad {
		v := wanted[k]
		entries[k] = sarama.IncrementalAlterConfigsEntry{Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &v}
	}
	err = c.control(ctx, func() error {
		return c.admin.IncrementalAlterConfig(sarama.TopicResource, name, entries, false)
	})
	switch {
	case err == nil:
		return nil
	case notSettable(err):
		return unsettable(t, wanted, bad)
	case errors.Is(err, bridge.ErrDenied):
		set := map[string]string{}
		for _, k := range bad {
			set[k] = wanted[k]
		}
		return bridge.WithHint(fmt.Errorf("set %s of topic %s: %w", strings.Join(bad, ", "), name, err),
			"allow AlterConfigs on it (IAM: kafka-cluster:AlterTopicDynamicConfiguration), or run "+AlterCommand(name, set))
	}
	return fmt.Errorf("set %s of topic %s: %w", strings.Join(bad, ", "), name, err)
}
