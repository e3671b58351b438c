package kinesisstream

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kinesis-msk-bridge/bridge"
)

// traceReaders is how many shards are read side by side.
const traceReaders = 8

// Traces reads a stream for records that name the stamp's workflow in their provenance, as
// the format writes it; raw writes none. It ends with the first that the workflow wrote, and
// if first is set with the first of any kind.
func (c *Client) Traces(ctx context.Context, format Format, stamp *bridge.Stamp, first bool) (bridge.Traces, error) {
	shards, err := again(ctx, func() ([]bridge.Partition, error) { return c.Partitions(ctx) })
	if err != nil {
		return bridge.Traces{}, err
	}
	var mu sync.Mutex
	var found bridge.Traces
	group, work := errgroup.WithContext(ctx)
	group.SetLimit(traceReaders)
	for _, shard := range shards {
		group.Go(func() error {
			return c.traces(work, shard.ID, format, stamp, func(r *bridge.Record) bool {
				mark := bridge.NotProvenance
				switch {
				case !r.Origin.IsZero():
					mark = bridge.Ours
				case r.Foreign:
					mark = bridge.Copied
				}
				mu.Lock()
				defer mu.Unlock()
				at := bridge.Placed{Partition: r.Partition, Position: r.Position, Origin: r.Origin, Key: r.Key}
				return found.Add(at, mark, first) || format == Raw
			})
		})
	}
	if err := group.Wait(); err != nil && !errors.Is(err, errSeenEnough) {
		return found, err
	}
	return found, nil
}

// errSeenEnough ends the readers of a stream.
var errSeenEnough = errors.New("seen enough")

func (c *Client) traces(ctx context.Context, shard string, format Format, stamp *bridge.Stamp, add func(*bridge.Record) (enough bool)) error {
	r := newReader(c, SourceConfig{Share: 1, Aggregation: format.ReadBy(), Stamp: stamp}, shard, bridge.Start{})
	began := time.Now()
	if _, err := again(ctx, func() (struct{}, error) { return struct{}{}, r.open(ctx) }); err != nil {
		return err
	}
	for {
		b, err := again(ctx, func() (bridge.Batch, error) { return r.Read(ctx) })
		if err != nil {
			return err
		}
		for i := range b.Records {
			if add(&b.Records[i]) {
				return errSeenEnough
			}
		}
		if b.Ended || b.Behind == 0 && b.Asked.After(began) {
			return nil
		}
	}
}
