package kafkastream

import (
	"context"
	"errors"
	"strconv"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/kinesis-msk-bridge/bridge"
)

// Traces reads a topic for records that name the stamp's workflow in their provenance. It
// ends with the first that the workflow wrote, and if first is set with the first of any
// kind. The number of offsets to read is told to announce first; nothing is read if it is 0.
func (c *Client) Traces(ctx context.Context, t Topic, stamp *bridge.Stamp, first bool, announce func(offsets int64)) (bridge.Traces, error) {
	extents, err := c.Extents(ctx, t)
	if err != nil {
		return bridge.Traces{}, err
	}
	total := int64(0)
	for _, e := range extents {
		total += e.End - e.First
	}
	if total == 0 {
		return bridge.Traces{}, nil
	}
	announce(total)
	var mu sync.Mutex
	var found bridge.Traces
	group, work := errgroup.WithContext(ctx)
	group.SetLimit(tailReaders)
	for _, e := range extents {
		group.Go(func() error {
			return c.traces(work, t, e, stamp, func(at bridge.Placed, mark bridge.Mark) bool {
				mu.Lock()
				defer mu.Unlock()
				return found.Add(at, mark, first)
			})
		})
	}
	if err := group.Wait(); err != nil && !errors.Is(err, errSeenEnough) {
		return found, err
	}
	return found, nil
}

// errSeenEnough ends the readers of a topic.
var errSeenEnough = errors.New("seen enough")

func (c *Client) traces(ctx context.Context, t Topic, e Extent, stamp *bridge.Stamp, add func(bridge.Placed, bridge.Mark) (enough bool)) error {
	if e.First >= e.End {
		return nil
	}
	for rec, err := range c.scan(ctx, t.Name, e.Partition, e.First, e.End, scanAll) {
		if err != nil {
			return err
		}
		i := lastHeader(rec, bridge.ProvenanceHeader)
		if i < 0 {
			continue
		}
		origin, _, mark := stamp.Judge(rec.Headers[i].Value, rec.Key, rec.Value)
		at := bridge.Placed{Partition: strconv.Itoa(int(e.Partition)), Position: bridge.OffsetPosition(rec.Offset), Origin: origin}
		if add(at, mark) {
			return errSeenEnough
		}
	}
	return nil
}

// Leftovers are the own topics of a workflow, other than its checkpoints, that hold records.
func Leftovers(ctx context.Context, c *Client, workflow string) (topics []string, err error) {
	own := topicsOf(workflow)
	for _, name := range []string{own.ledger, own.index} {
		t, err := c.Topic(ctx, name)
		if errors.Is(err, bridge.ErrMissing) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for task := range t.Partitions {
			holds := false
			for _, err := range readOwn(ctx, c, name, task) {
				if err != nil {
					return nil, err
				}
				holds = true
				break
			}
			if holds {
				topics = append(topics, name)
				break
			}
		}
	}
	return topics, nil
}
