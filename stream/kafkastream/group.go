package kafkastream

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/IBM/sarama"

	"github.com/kinesis-msk-bridge/bridge"
)

// A Group is what a cluster says of a consumer group and of its offsets in one topic.
type Group struct {
	Name string
	// State is Kafka's word; "Dead" also stands for a group that does not exist.
	State string
	// Members are those that consume now, each as client id and host.
	Members []string
	// Committed holds the offset of the next record of each partition for which the group
	// has committed one.
	Committed map[int32]int64
}

// Running reports whether somebody consumes as this group.
func (g Group) Running() bool {
	return len(g.Members) > 0 || g.State != "Empty" && g.State != "Dead"
}

// Group asks for a group, of the classic protocol or the new one, and for all that it has
// committed for the topic.
func (c *Client) Group(ctx context.Context, name string, t Topic) (g Group, err error) {
	err = patiently(ctx, func() error {
		g, err = c.group(ctx, name, t)
		return err
	})
	return g, err
}

// groupPatience is how long a group's coordinator is waited for: a new cluster makes it
// with the first question, and after a broker's end another takes its groups over.
const groupPatience = 30 * time.Second

// patiently calls again after failures that pass.
func patiently(ctx context.Context, call func() error) error {
	wait, began := 50*time.Millisecond, time.Now()
	for {
		err := call()
		if !errors.Is(err, bridge.ErrTransient) || time.Since(began) > groupPatience {
			return err
		}
		if err := pause(ctx, wait); err != nil {
			return err
		}
		wait = min(2*wait, time.Second)
	}
}

func (c *Client) group(ctx context.Context, name string, t Topic) (Group, error) {
	g := Group{Name: name, Committed: map[int32]int64{}}
	if err := c.describeGroup(ctx, &g); err != nil {
		return g, fmt.Errorf("look up group %s: %w", name, err)
	}
	answer, err := await(ctx, c, func() (*sarama.OffsetFetchResponse, error) {
		return c.admin.ListConsumerGroupOffsets(name, map[string][]int32{t.Name: t.numbers()})
	})
	if errors.Is(err, sarama.ErrGroupIDNotFound) {
		return g, nil
	}
	if err != nil {
		return g, fmt.Errorf("read the offsets of group %s: %w", name, err)
	}
	for _, p := range t.numbers() {
		block := answer.GetBlock(t.Name, p)
		if block == nil {
			return g, fmt.Errorf("read the offsets of group %s: %w", name, classify(sarama.ErrIncompleteResponse))
		}
		if block.Err != sarama.ErrNoError {
			return g, fmt.Errorf("read the offset of group %s in %s partition %d: %w", name, t.Name, p, classify(block.Err))
		}
		if block.Offset >= 0 {
			g.Committed[p] = block.Offset
		}
	}
	return g, nil
}

func (c *Client) describeGroup(ctx context.Context, g *Group) error {
	found, err := await(ctx, c, func() ([]*sarama.GroupDescription, error) {
		return c.admin.DescribeConsumerGroups([]string{g.Name})
	})
	switch {
	case err != nil:
		return err
	case len(found) != 1:
		return classify(sarama.ErrIncompleteResponse)
	case found[0].Err != sarama.ErrNoError && found[0].Err != sarama.ErrGroupIDNotFound:
		return classify(found[0].Err)
	}
	g.State = found[0].State
	for _, m := range found[0].Members {
		g.Members = append(g.Members, m.ClientId+" at "+m.ClientHost)
	}
	slices.Sort(g.Members)
	if g.State != "" && g.State != "Dead" {
		return nil
	}
	// To a broker asked in the old words, a group of the new protocol is dead.
	g.State = "Dead"
	return c.describeNewGroup(ctx, g)
}

// describeNewGroup asks for a group of the protocol of Kafka 4. A broker that does not
// know it has none.
func (c *Client) describeNewGroup(ctx context.Context, g *Group) error {
	coordinator, err := await(ctx, c, func() (*sarama.Broker, error) { return c.admin.Coordinator(g.Name) })
	if err != nil {
		return err
	}
	l, err := c.connectFor(ctx, coordinator.Addr(), sarama.V3_7_0_0)
	if err != nil {
		return err
	}
	defer l.close()
	var answer *sarama.ConsumerGroupDescribeResponse
	err = l.do(ctx, func() (err error) {
		answer, err = l.broker.ConsumerGroupDescribe(&sarama.ConsumerGroupDescribeRequest{GroupIDs: []string{g.Name}})
		return err
	})
	if errors.Is(err, sarama.ErrUnsupportedVersion) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, d := range answer.Groups {
		switch d.ErrorCode {
		case sarama.ErrNoError:
			g.State = d.GroupState
			for _, m := range d.Members {
				g.Members = append(g.Members, m.ClientID+" at "+m.ClientHost)
			}
		case sarama.ErrGroupIDNotFound, sarama.ErrUnsupportedVersion:
		default:
			return classify(d.ErrorCode)
		}
	}
	slices.Sort(g.Members)
	return nil
}

// CommitGroup sets the offsets of a group that nobody consumes as. It wraps ErrConflict,
// and nothing is set, if somebody does: the broker itself sees to that. It is not told
// apart which of the partitions were set if it fails otherwise; read them back.
func (c *Client) CommitGroup(ctx context.Context, name, topic string, next map[int32]int64) error {
	if len(next) == 0 {
		return nil
	}
	offsets := make(map[int32]sarama.OffsetAndMetadata, len(next))
	for p, n := range next {
		offsets[p] = sarama.OffsetAndMetadata{Offset: n, LeaderEpoch: -1, Metadata: "bridge"}
	}
	return patiently(ctx, func() error { return inUse(name, c.commit(ctx, name, topic, offsets)) })
}

func (c *Client) commit(ctx context.Context, name, topic string, offsets map[int32]sarama.OffsetAndMetadata) error {
	answer, err := await(ctx, c, func() (*sarama.OffsetCommitResponse, error) {
		return c.admin.AlterConsumerGroupOffsets(name, map[string]map[int32]sarama.OffsetAndMetadata{topic: offsets}, nil)
	})
	if err != nil {
		return err
	}
	for _, p := range slices.Sorted(maps.Keys(offsets)) {
		if code, ok := answer.Errors[topic][p]; !ok {
			err = sarama.ErrIncompleteResponse
		} else if code != sarama.ErrNoError {
			err = code
		}
	}
	return err
}

// ForgetGroup removes what a group has committed for partitions, so that it is as if it
// never had. It wraps ErrConflict if somebody consumes the topic as this group.
func (c *Client) ForgetGroup(ctx context.Context, name, topic string, partitions []int32) error {
	for _, p := range partitions {
		err := patiently(ctx, func() error {
			_, err := await(ctx, c, func() (struct{}, error) {
				return struct{}{}, c.admin.DeleteConsumerGroupOffset(name, topic, p)
			})
			if errors.Is(err, sarama.ErrGroupIDNotFound) {
				return nil
			}
			return inUse(name, err)
		})
		if err != nil {
			return fmt.Errorf("partition %d: %w", p, err)
		}
	}
	return nil
}

// inUse gives the refusals by which a broker says that a group has members their class.
func inUse(name string, err error) error {
	if err == nil {
		return nil
	}
	for _, code := range []sarama.KError{
		sarama.ErrUnknownMemberId, sarama.ErrIllegalGeneration, sarama.ErrRebalanceInProgress, sarama.ErrNonEmptyGroup, sarama.ErrGroupSubscribedToTopic,
	} {
		if errors.Is(err, code) {
			return bridge.WithHint(fmt.Errorf("set the offsets of group %s: it has members: %w", name, bridge.ErrConflict),
				"stop every consumer of the group and wait for its session timeout")
		}
	}
	return fmt.Errorf("set the offsets of group %s: %w", name, classify(err))
}
