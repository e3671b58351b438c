package mirror

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
)

// settleTime is how long after a time T Kinesis must be asked for its answer to hold
// everything that was put before T: a put is readable within a second of its
// acknowledgement.
const settleTime = 2 * time.Second

// A goal is reached when everything that was in the source at one moment is done. Where
// the source can say its ends, the moment is that answer; what an open transaction keeps
// from being read is in the source, too. Where it cannot, a partition is
// past the moment T once it ended, once a page that was asked for at T + settleTime or later
// says that nothing is behind it, or once a record is done that arrived more than clockMargin
// after T. T is by this process's clock and arrival by the service's, and these may differ by
// anything; so for arrivals T is the service's clock in the first answer that it gave since.
type goal struct {
	mu    sync.Mutex
	at    time.Time
	clock time.Time                  // the service's, at or after at; zero until it said it
	ends  map[string]bridge.Position // nil if the source cannot say
	left  map[string]bool
	all   chan struct{} // nil if there is no goal
}

// clockMargin is how closely arrival times are compared with the service's clock: they are
// approximate, and its hosts have a clock each.
const clockMargin = time.Minute

// newGoal makes the goal for the moment at, before which parts were not listed.
func (r *run) newGoal(ctx context.Context, at time.Time, parts []bridge.Partition, rows map[string]bridge.Row) (*goal, error) {
	g := &goal{at: at, left: map[string]bool{}}
	if !r.m.UntilCaughtUp {
		return g, nil
	}
	g.all = make(chan struct{})
	if s, ok := r.m.Source.(bridge.Ender); ok {
		ends, err := atStart(ctx, r, "list", s.Ends)
		if err != nil {
			return nil, fmt.Errorf("ask where the source ends: %w", err)
		}
		g.ends = ends
	}
	for _, p := range parts {
		// Also one that ends at its checkpoint takes a page: only a reader proves that the log
		// still is the one that was read up to there.
		if !rows[p.ID].Ended {
			g.left[p.ID] = true
		}
	}
	if len(g.left) == 0 {
		close(g.all)
	}
	return g, nil
}

// reached is closed once the goal is; it is nil, and blocks for ever, if there is none.
func (g *goal) reached() <-chan struct{} { return g.all }

// saw notes that a page is done whose newest record arrived at the given time; zero if that
// is not known.
func (g *goal) saw(partition string, b bridge.Batch, newest time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.clock.IsZero() {
		g.clock = b.Clock
	}
	if !g.left[partition] || !g.past(partition, b, newest) {
		return
	}
	delete(g.left, partition)
	if len(g.left) == 0 {
		close(g.all)
	}
}

// waitsFor reports whether the goal is not reached because of this partition.
func (g *goal) waitsFor(partition string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.left[partition]
}

func (g *goal) past(partition string, b bridge.Batch, newest time.Time) bool {
	if b.Ended {
		return true
	}
	if end, ok := g.ends[partition]; ok {
		return !end.After(b.Through)
	}
	arrivedSince := !g.clock.IsZero() && newest.Sub(g.clock) > clockMargin
	return arrivedSince || b.Behind == 0 && !b.Asked.Before(g.at.Add(settleTime))
}
