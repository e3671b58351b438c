package kinesisstream

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/kinesis-msk-bridge/bridge"
)

// edgeMargin is how much longer a record must be kept when a workflow begins for its loss to be
// a gap. A stream that is older than its retention loses its oldest record at every moment.
const edgeMargin = 10 * time.Minute

// edgeFor is how long what was asked about the stream is good for: a start asks every shard.
const edgeFor = time.Minute

// An edge is since when records arrived that are kept for edgeMargin at least.
type edge struct {
	turn  *semaphore.Weighted // one asks, the others wait for its answer
	asked time.Time
	at    time.Time // when asked, by the service's clock
	since time.Time // no record is older: when the stream was created
}

// now is zero while the stream is younger than that: nothing is near its end.
func (e *edge) now(ctx context.Context, c *Client) (time.Time, error) {
	if err := e.turn.Acquire(ctx, 1); err != nil {
		return time.Time{}, err
	}
	defer e.turn.Release(1)
	if e.asked.IsZero() || time.Since(e.asked) > edgeFor {
		info, ahead, err := c.DescribeWithClock(ctx)
		if err != nil {
			return time.Time{}, err
		}
		e.asked, e.since = time.Now(), info.Created
		e.at = e.asked.Add(edgeMargin - ahead - info.Retention)
	}
	if at := e.at.Add(time.Since(e.asked)); at.After(e.since) {
		return at, nil
	}
	return time.Time{}, nil
}

// Begin reads the first record that arrived at that time or later, and is kept for edgeMargin
// at least, or reads up to where nothing more is.
func (s *Source) Begin(ctx context.Context, partition string, at time.Time) (bridge.Position, time.Time, error) {
	edge, err := s.edge.now(ctx, s.Client)
	if err != nil {
		return bridge.Position{}, time.Time{}, fmt.Errorf("look for the beginning of %s: %w", partition, err)
	}
	if at.Before(edge) {
		at = edge
	}
	conf := s.conf
	conf.PageRecords, conf.ExplicitHashKey = 1, nil
	r := newReader(s.Client, conf, partition, bridge.Start{At: at})
	r.lax = true // what expires meanwhile is not yet of the workflow
	if !s.conf.NoRates {
		r.budget = s.budget
	}
	for {
		b, err := r.Read(ctx)
		switch {
		case err != nil:
			return bridge.Position{}, time.Time{}, fmt.Errorf("look for the beginning of %s: %w", partition, err)
		case !b.Through.IsZero():
			return bridge.Position{Seq: b.Through.Seq}, time.Time{}, nil
		case b.Behind != 0 && !b.Ended:
		case b.Clock.IsZero():
			return bridge.Position{}, b.Asked, nil
		default:
			return bridge.Position{}, b.Clock, nil
		}
	}
}
