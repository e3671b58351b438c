package kafkastream

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/IBM/sarama"

	"github.com/kinesis-msk-bridge/bridge"
)

// The names of topic settings that this package reads or writes.
const (
	cleanupPolicy   = "cleanup.policy"
	timestampType   = "message.timestamp.type"
	maxMessageBytes = "max.message.bytes"
	retentionMs     = "retention.ms"
	minISR          = "min.insync.replicas"
)

// A Topic is what the cluster says of one topic.
type Topic struct {
	Name string
	// ID is the topic id as Kafka's own tools print it. A topic that was deleted and
	// created anew has another.
	ID        string
	ClusterID string
	// Partitions are numbered from 0 to Partitions-1.
	Partitions        int
	ReplicationFactor int
	// CleanupPolicy is "delete", "compact", or both with a comma between them.
	CleanupPolicy string
	// TimestampType is "CreateTime" or "LogAppendTime".
	TimestampType   string
	MaxMessageBytes int
	// RetentionMs is how long records are kept, in milliseconds; -1 is for ever.
	RetentionMs int64
	MinISR      int
	// Settings are all that the cluster told, by Kafka's names.
	Settings map[string]string
}

// Identity is "kafka:", cluster id, slash and name; its incarnation is the topic id.
func (t Topic) Identity() bridge.Identity {
	return bridge.Identity{Name: "kafka:" + t.ClusterID + "/" + t.Name, Incarnation: t.ID}
}

// Topic asks for a topic and its settings. It wraps ErrMissing if there is none, and
// ErrDenied if this principal may not see it or its settings.
func (c *Client) Topic(ctx context.Context, name string) (Topic, error) {
	t, err := c.lookup(ctx, name)
	if err != nil {
		return Topic{}, err
	}
	entries, err := c.settingsOf(ctx, name)
	if err != nil {
		err = fmt.Errorf("read settings of topic %s: %w", name, err)
		if errors.Is(err, bridge.ErrDenied) {
			err = bridge.WithHint(err, "allow this principal DescribeConfigs on the topic (IAM: kafka-cluster:DescribeTopicDynamicConfiguration)")
		}
		return Topic{}, err
	}
	t.Settings = make(map[string]string, len(entries))
	for _, e := range entries {
		t.Settings[e.Name] = e.Value
	}
	t.CleanupPolicy = t.Settings[cleanupPolicy]
	t.TimestampType = t.Settings[timestampType]
	// A setting that is not a number is one that this cluster does not have.
	t.MaxMessageBytes, _ = strconv.Atoi(t.Settings[maxMessageBytes])
	t.RetentionMs, _ = strconv.ParseInt(t.Settings[retentionMs], 10, 64)
	t.MinISR, _ = strconv.Atoi(t.Settings[minISR])
	return t, nil
}

// settingsOf reads the settings of a topic from any broker that answers.
func (c *Client) settingsOf(ctx context.Context, topic string) ([]*sarama.ConfigEntry, error) {
	answer, err := c.configs(ctx, &sarama.ConfigResource{Type: sarama.TopicResource, Name: topic})
	if err != nil {
		return nil, err
	}
	return entriesOf(answer, topic)
}

// configs has any broker show the settings of topics. sarama's admin client asks one of the
// brokers that it remembers, whether it is up or not.
func (c *Client) configs(ctx context.Context, of ...*sarama.ConfigResource) (answer *sarama.DescribeConfigsResponse, err error) {
	err = c.ask(ctx, func(b *sarama.Broker) (err error) {
		answer, err = b.DescribeConfigs(configsRequest(of...))
		return err
	})
	return answer, err
}

func configsRequest(of ...*sarama.ConfigResource) *sarama.DescribeConfigsRequest {
	return &sarama.DescribeConfigsRequest{Version: 4, Resources: of}
}

// entriesOf are the settings that an answer shows of a topic or a broker.
func entriesOf(answer *sarama.DescribeConfigsResponse, name string) ([]*sarama.ConfigEntry, error) {
	for _, r := range answer.Resources {
		if r.Name != name {
			continue
		}
		if code := sarama.KError(r.ErrorCode); code != sarama.ErrNoError {
			return nil, classify(&sarama.DescribeConfigError{Err: code, ErrMsg: r.ErrorMsg})
		}
		return r.Configs, nil
	}
	return nil, fmt.Errorf("the answer does not name %s: %w", name, bridge.ErrTransient)
}

// control runs a call on the controller. sarama caches the controller, also one that is gone:
// after a broken connection the cache is refreshed, so that the next try reaches the new one.
func (c *Client) control(ctx context.Context, call func() error) error {
	_, err := await(ctx, c, func() (struct{}, error) { return struct{}{}, call() })
	if broken(err) && ctx.Err() == nil {
		_, _ = await(ctx, c, func() (*sarama.Broker, error) { return c.cl.RefreshController() })
	}
	return err
}

// keeps reports whether brokers store batches of this compression as they are sent.
func (t Topic) keeps(compression string) bool {
	switch set := t.Settings["compression.type"]; set {
	case "", "producer":
		return true
	case "uncompressed":
		return compression == "" || compression == "none"
	default:
		return set == compression
	}
}

// lookup asks for what identifies a topic, without its settings.
func (c *Client) lookup(ctx context.Context, name string) (Topic, error) {
	t, _, err := c.describe(ctx, name)
	return t, err
}

// describe also tells how many partitions have a leader.
func (c *Client) describe(ctx context.Context, name string) (Topic, int, error) {
	var answer *sarama.MetadataResponse
	err := c.ask(ctx, func(b *sarama.Broker) (err error) {
		answer, err = b.GetMetadata(sarama.NewMetadataRequest(protocolVersion, []string{name}))
		return err
	})
	if err != nil {
		return Topic{}, 0, fmt.Errorf("look up topic %s: %w", name, err)
	}
	for _, m := range answer.Topics {
		if m.Name != name {
			continue
		}
		// A topic whose leaders are being elected is described in full all the same.
		if m.Err != sarama.ErrNoError && m.Err != sarama.ErrLeaderNotAvailable {
			err := fmt.Errorf("look up topic %s: %w", name, classify(m.Err))
			if errors.Is(err, bridge.ErrDenied) {
				err = bridge.WithHint(err, "allow this principal Describe on the topic (IAM: kafka-cluster:DescribeTopic)")
			}
			return Topic{}, 0, err
		}
		if (m.Uuid == sarama.Uuid{}) {
			return Topic{}, 0, bridge.WithHint(fmt.Errorf("look up topic %s: the cluster gives it no id: %w", name, bridge.ErrRefused),
				"upgrade the cluster to Kafka 2.8 or later")
		}
		t := Topic{Name: name, ID: m.Uuid.String(), ClusterID: c.clusterID, Partitions: len(m.Partitions)}
		led := 0
		for _, p := range m.Partitions {
			t.ReplicationFactor = max(t.ReplicationFactor, len(p.Replicas))
			if p.Err == sarama.ErrNoError && p.Leader >= 0 {
				led++
			}
		}
		return t, led, nil
	}
	return Topic{}, 0, fmt.Errorf("look up topic %s: %w", name, classify(sarama.ErrUnknownTopicOrPartition))
}

// A TopicSpec is a topic to be created.
type TopicSpec struct {
	Name       string
	Partitions int
	// ReplicationFactor is the cluster's default if zero.
	ReplicationFactor int
	// Settings are by Kafka's names; what is not named is the cluster's default.
	Settings map[string]string
}

// CreateTopic creates a topic and returns when each of its partitions answers. A setting
// that the cluster does not let anybody set is left out if the topic does as well without
// it. It wraps ErrConflict if the topic exists, and ErrRefused if the cluster does not take
// the spec, or not that setting.
func (c *Client) CreateTopic(ctx context.Context, spec TopicSpec) (Topic, error) {
	left, err := c.create(ctx, spec)
	if err != nil {
		return Topic{}, fmt.Errorf("create topic %s: %w", spec.Name, err)
	}
	if err := c.awaitLeaders(ctx, spec.Name, spec.Partitions); err != nil {
		return Topic{}, fmt.Errorf("create topic %s: wait for its leaders: %w", spec.Name, err)
	}
	t, err := c.awaitSettings(ctx, spec.Name)
	if err == nil {
		err = c.judgeLeft(ctx, t, spec, left)
	}
	return t, err
}

// awaitSettings asks for a topic that was just created. A broker that does not know it yet is
// behind the others.
func (c *Client) awaitSettings(ctx context.Context, name string) (t Topic, err error) {
	err = poll(ctx, 10*time.Millisecond, func() (bool, error) {
		if t, err = c.Topic(ctx, name); errors.Is(err, bridge.ErrMissing) {
			return false, nil
		}
		return true, err
	})
	return t, err
}

// awaitLeaders returns when each partition has a leader that knows that it is one: the
// metadata name leaders some time before those will answer for it.
func (c *Client) awaitLeaders(ctx context.Context, name string, partitions int) error {
	return poll(ctx, 10*time.Millisecond, func() (bool, error) {
		led, err := c.led(ctx, name, partitions)
		if bridge.Retryable(err) || errors.Is(err, bridge.ErrMissing) {
			return false, nil
		}
		return led, err
	})
}

// poll calls try until it reports that it is done, or fails. Between two calls it waits, longer
// each time and at most a second.
func poll(ctx context.Context, wait time.Duration, try func() (done bool, err error)) error {
	for {
		if done, err := try(); done || err != nil {
			return err
		}
		if err := pause(ctx, wait); err != nil {
			return err
		}
		wait = min(2*wait, time.Second)
	}
}

// led reports whether each of the topic's partitions has a leader that answers.
func (c *Client) led(ctx context.Context, name string, partitions int) (bool, error) {
	t, led, err := c.describe(ctx, name)
	if err != nil || t.Partitions != partitions || led != partitions {
		return false, err
	}
	if err := c.refresh(ctx, name); err != nil {
		return false, err
	}
	_, err = c.listOffsets(ctx, name, t.numbers(), sarama.OffsetNewest, sarama.ReadUncommitted)
	return err == nil, err
}

// numbers are all partitions of the topic.
func (t Topic) numbers() []int32 {
	all := make([]int32, t.Partitions)
	for i := range all {
		all[i] = int32(i)
	}
	return all
}

// pause waits for d or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// refresh asks the cluster anew who leads the partitions of topics.
func (c *Client) refresh(ctx context.Context, topics ...string) error {
	_, err := await(ctx, c, func() (struct{}, error) {
		return struct{}{}, c.cl.RefreshMetadata(topics...)
	})
	return err
}

// leader is the broker that leads a partition, as far as is known; after an answer that
// it does not, call refresh. It wraps ErrTransient while there is none.
func (c *Client) leader(ctx context.Context, topic string, partition int32) (*sarama.Broker, error) {
	b, _, err := c.leaderEpoch(ctx, topic, partition)
	return b, err
}

func (c *Client) leaderEpoch(ctx context.Context, topic string, partition int32) (*sarama.Broker, int32, error) {
	type led struct {
		broker *sarama.Broker
		epoch  int32
	}
	l, err := await(ctx, c, func() (led, error) {
		b, epoch, err := c.cl.LeaderAndEpoch(topic, partition)
		return led{b, epoch}, err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("leader of %s partition %d: %w", topic, partition, err)
	}
	return l.broker, l.epoch, nil
}

// offsets tells where a partition begins, its high watermark, and its last stable offset;
// the latter two are those of the next record. The last stable offset is asked first, so
// that it is never above the high watermark.
func (c *Client) offsets(ctx context.Context, topic string, partition int32) (first, highWatermark, lastStable int64, err error) {
	ask := func(when int64, isolation sarama.IsolationLevel) int64 {
		if err != nil {
			return 0
		}
		var all map[int32]int64
		all, err = c.listOffsets(ctx, topic, []int32{partition}, when, isolation)
		return all[partition]
	}
	first = ask(sarama.OffsetOldest, sarama.ReadUncommitted)
	lastStable = ask(sarama.OffsetNewest, sarama.ReadCommitted)
	highWatermark = ask(sarama.OffsetNewest, sarama.ReadUncommitted)
	return first, highWatermark, lastStable, err
}

// listOffsets asks the leaders of partitions where they stand at a time in Unix
// milliseconds, or at sarama's OffsetOldest or OffsetNewest; -1 is no such record.
func (c *Client) listOffsets(ctx context.Context, topic string, partitions []int32, when int64, isolation sarama.IsolationLevel) (map[int32]int64, error) {
	requests := map[*sarama.Broker]*sarama.OffsetRequest{}
	asked := map[*sarama.Broker][]int32{}
	for _, p := range partitions {
		b, err := c.leader(ctx, topic, p)
		if err != nil {
			return nil, err
		}
		if requests[b] == nil {
			requests[b] = sarama.NewOffsetRequest(protocolVersion)
			requests[b].IsolationLevel = isolation
		}
		requests[b].AddBlock(topic, p, when, 1)
		asked[b] = append(asked[b], p)
	}
	all := make(map[int32]int64, len(partitions))
	for b, request := range requests {
		answer, err := await(ctx, c, func() (*sarama.OffsetResponse, error) {
			r, err := b.GetAvailableOffsets(request)
			if err != nil {
				_ = b.Close() // a broken connection is opened anew by the next call
			}
			return r, err
		})
		if err != nil {
			return nil, c.stale(ctx, topic, fmt.Errorf("list offsets of %s: %w", topic, err))
		}
		for _, p := range asked[b] {
			block := answer.GetBlock(topic, p)
			if block == nil {
				return nil, fmt.Errorf("list offsets of %s: %w", topic, classify(sarama.ErrIncompleteResponse))
			}
			if block.Err != sarama.ErrNoError {
				return nil, c.stale(ctx, topic, fmt.Errorf("list offsets of %s partition %d: %w", topic, p, classify(block.Err)))
			}
			all[p] = block.Offset
		}
	}
	return all, nil
}

// stale returns err, having asked who leads the topic if err says that this may be known
// wrongly. What comes of that is left to the next attempt.
func (c *Client) stale(ctx context.Context, topic string, err error) error {
	if errors.Is(err, bridge.ErrTransient) || errors.Is(err, bridge.ErrMissing) || errors.Is(err, bridge.ErrUnreachable) {
		_ = c.refresh(ctx, topic)
	}
	return err
}
