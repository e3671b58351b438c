package kafkastream

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
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
	// Commits holds the same with all that was committed beside the offset.
	Commits map[int32]Commit
	// Pending: an open transaction is about to commit other offsets.
	Pending bool
	// Kind is Kafka's word for a group that keeps no offset of its own for each partition,
	// "share" or "streams"; empty for a consumer group.
	Kind string
}

// A Commit is what a group has committed for one partition.
type Commit struct {
	Offset   int64
	Epoch    int32 // leader epoch of the last consumed record, -1 if it was not committed
	Metadata string
}

// CommitOf is the commit of a bare offset.
func CommitOf(offset int64) Commit { return Commit{Offset: offset, Epoch: -1, Metadata: "bridge"} }

// Running reports whether somebody consumes as this group.
func (g Group) Running() bool {
	return len(g.Members) > 0 || g.State != "Empty" && g.State != "Dead"
}

// Group asks for a group, of the classic protocol or the new one, and for all that it has
// committed for the topic.
func (c *Client) Group(ctx context.Context, name string, t Topic) (g Group, err error) {
	began := time.Now()
	for {
		err = patiently(ctx, func() error {
			g, err = c.group(ctx, name, t)
			return err
		})
		// Most transactions end soon.
		if err != nil || !g.Pending || time.Since(began) > pendingPatience {
			return g, err
		}
		if err := pause(ctx, pendingPatience/10); err != nil {
			return g, err
		}
	}
}

// pendingPatience is how long the end of a transaction is waited for that commits offsets.
const pendingPatience = 3 * time.Second

// groupPatience is how long a group's coordinator is waited for: a new cluster makes it
// with the first question, and after a broker's end another takes its groups over.
const groupPatience = 30 * time.Second

// patiently calls again after failures that pass.
func patiently(ctx context.Context, call func() error) error {
	began := time.Now()
	return poll(ctx, 50*time.Millisecond, func() (bool, error) {
		err := call()
		if errors.Is(err, bridge.ErrTransient) && time.Since(began) <= groupPatience {
			return false, nil
		}
		return true, err
	})
}

func (c *Client) group(ctx context.Context, name string, t Topic) (Group, error) {
	g := Group{Name: name, Committed: map[int32]int64{}, Commits: map[int32]Commit{}}
	if err := c.describeGroup(ctx, &g); err != nil {
		return g, fmt.Errorf("look up group %s: %w", name, err)
	}
	if g.Kind != "" {
		return g, nil
	}
	if err := c.fetchOffsets(ctx, &g, t); err != nil {
		return g, fmt.Errorf("read the offsets of group %s: %w", name, err)
	}
	return g, nil
}

// fetchOffsets asks only for offsets that no open transaction is about to replace: to such a
// partition the broker answers that it is unstable.
func (c *Client) fetchOffsets(ctx context.Context, g *Group, t Topic) error {
	var answer *sarama.OffsetFetchResponse
	err := c.askCoordinator(ctx, g.Name, protocolVersion, func(b *sarama.Broker) (err error) {
		request := sarama.NewOffsetFetchRequest(protocolVersion, g.Name, map[string][]int32{t.Name: t.numbers()})
		request.RequireStable = true
		if answer, err = b.FetchOffset(request); err == nil && answer.GroupError() != sarama.ErrNoError {
			err = answer.GroupError()
		}
		return err
	})
	if errors.Is(err, sarama.ErrGroupIDNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, p := range t.numbers() {
		block := answer.GetBlock(t.Name, p)
		switch {
		case block == nil:
			return classify(sarama.ErrIncompleteResponse)
		case block.Err == sarama.ErrUnstableOffsetCommit:
			g.Pending = true
		case block.Err != sarama.ErrNoError:
			return fmt.Errorf("%s partition %d: %w", t.Name, p, classify(block.Err))
		case block.Offset >= 0:
			g.Committed[p] = block.Offset
			g.Commits[p] = Commit{Offset: block.Offset, Epoch: block.LeaderEpoch, Metadata: block.Metadata}
		}
	}
	return nil
}

// askCoordinator asks the coordinator of a group on a connection of its own, in the words of
// that protocol version.
func (c *Client) askCoordinator(ctx context.Context, group string, version sarama.KafkaVersion, exchange func(*sarama.Broker) error) error {
	coordinator, err := await(ctx, c, func() (*sarama.Broker, error) {
		if err := c.cl.RefreshCoordinator(group); err != nil {
			return nil, err
		}
		return c.cl.Coordinator(group)
	})
	if err != nil {
		return err
	}
	l, err := c.connectFor(ctx, coordinator.Addr(), version)
	if err != nil {
		return err
	}
	defer l.close()
	return l.do(ctx, func() error { return exchange(l.broker) })
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
	// To a broker asked in the old words, a group of another kind is dead.
	g.State = "Dead"
	if err := c.describeNewGroup(ctx, g); err != nil || g.State != "Dead" {
		return err
	}
	return c.findKind(ctx, g)
}

// findKind finds out whether there is a group of that name that is no consumer group. Old
// brokers know no other kind, and leave it out.
func (c *Client) findKind(ctx context.Context, g *Group) error {
	var answer *sarama.ListGroupsResponse
	err := c.askCoordinator(ctx, g.Name, sarama.V3_8_0_0, func(b *sarama.Broker) (err error) {
		answer, err = b.ListGroups(&sarama.ListGroupsRequest{Version: 5, TypesFilter: []string{"share", "streams"}})
		if err == nil && answer.Err != sarama.ErrNoError {
			err = answer.Err
		}
		return err
	})
	if errors.Is(err, sarama.ErrUnsupportedVersion) {
		return nil
	}
	if err != nil {
		return err
	}
	if d, ok := answer.GroupsData[g.Name]; ok && !slices.Contains([]string{"", "classic", "consumer"}, strings.ToLower(d.GroupType)) {
		g.Kind, g.State = strings.ToLower(d.GroupType), d.GroupState
	}
	return nil
}

// describeNewGroup asks for a group of the protocol of Kafka 4. A broker that does not
// know it has none.
func (c *Client) describeNewGroup(ctx context.Context, g *Group) error {
	var answer *sarama.ConsumerGroupDescribeResponse
	err := c.askCoordinator(ctx, g.Name, sarama.V3_7_0_0, func(b *sarama.Broker) (err error) {
		answer, err = b.ConsumerGroupDescribe(&sarama.ConsumerGroupDescribeRequest{GroupIDs: []string{g.Name}})
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
func (c *Client) CommitGroup(ctx context.Context, name, topic string, next map[int32]Commit) error {
	if len(next) == 0 {
		return nil
	}
	offsets := make(map[int32]sarama.OffsetAndMetadata, len(next))
	for p, n := range next {
		offsets[p] = sarama.OffsetAndMetadata{Offset: n.Offset, LeaderEpoch: n.Epoch, Metadata: n.Metadata}
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
