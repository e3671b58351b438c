package kafkastream

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"

	"github.com/IBM/sarama"
)

// A Census is how many brokers a cluster has, and which of them do not answer.
type Census struct {
	Up, Known int
	Away      []string // by address, or by id where that is all that is known
}

// Brokers connects to each broker. One that is away is known until the cluster gives it up;
// then by the cluster (Kafka 4), or by the replicas that it holds.
func (c *Client) Brokers(ctx context.Context) (Census, error) {
	cluster, err := c.cluster(ctx)
	if err != nil {
		return Census{}, err
	}
	given, away := c.reach(ctx, cluster.Brokers) // by id
	holders, err := c.replicaIDs(ctx)
	if err != nil {
		return Census{}, err
	}
	for _, id := range holders {
		given = append(given, &sarama.DescribeClusterBroker{BrokerID: id})
	}
	up := map[int32]bool{}
	for _, b := range cluster.Brokers {
		up[b.BrokerID] = !away[b.BrokerID]
	}
	out := Census{}
	seen := map[int32]bool{}
	for _, b := range append(cluster.Brokers, given...) {
		if seen[b.BrokerID] {
			continue
		}
		seen[b.BrokerID] = true
		if !up[b.BrokerID] {
			out.Away = append(out.Away, addrOf(b))
		}
	}
	slices.Sort(out.Away)
	out.Known, out.Up = len(seen), len(seen)-len(out.Away)
	return out, ctx.Err()
}

// addrOf is the address of a broker, or its id where that is all that is known.
func addrOf(b *sarama.DescribeClusterBroker) string {
	if b.Host == "" {
		return fmt.Sprint("broker ", b.BrokerID)
	}
	return net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port)))
}

// reach tries each broker, and returns those that do not answer. All are the brokers with
// those that the cluster has given up, as far as it says.
func (c *Client) reach(ctx context.Context, listed []*sarama.DescribeClusterBroker) (all []*sarama.DescribeClusterBroker, away map[int32]bool) {
	away = map[int32]bool{}
	var mu sync.Mutex
	var tries sync.WaitGroup
	for _, b := range listed {
		tries.Go(func() {
			l, err := c.connectFor(ctx, addrOf(b), sarama.V4_0_0_0)
			var answer *sarama.DescribeClusterResponse
			if err == nil {
				defer l.close()
				err = l.do(ctx, func() (err error) {
					answer, err = l.broker.DescribeCluster(sarama.NewDescribeClusterRequest(sarama.V4_0_0_0))
					return err
				})
			}
			mu.Lock()
			defer mu.Unlock()
			switch {
			case broken(err):
				away[b.BrokerID] = true
			case err == nil && answer.Err == sarama.ErrNoError:
				all = answer.Brokers
			}
		})
	}
	tries.Wait()
	return all, away
}

// replicaIDs are the ids of the brokers that hold partitions.
func (c *Client) replicaIDs(ctx context.Context) (ids []int32, err error) {
	all, err := c.allTopics(ctx)
	if err != nil {
		return nil, err
	}
	for _, t := range all.Topics {
		for _, p := range t.Partitions {
			ids = append(ids, p.Replicas...)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

// allTopics describes the topics that this principal sees.
func (c *Client) allTopics(ctx context.Context) (all *sarama.MetadataResponse, err error) {
	err = c.ask(ctx, func(b *sarama.Broker) (err error) {
		all, err = b.GetMetadata(sarama.NewMetadataRequest(protocolVersion, nil))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list the topics: %w", err)
	}
	return all, nil
}
