package mirror

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
)

// lookEvery is how often the two ends are asked who they are. A stream that was deleted and
// created again under its name answers reads and writes like the old one.
const lookEvery = 5 * time.Second

// answerWithin bounds what an end has to say who it is. An end that does not answer has not
// changed: reads and writes tell of outages.
const answerWithin = 30 * time.Second

// watchEnds returns an error when the source or the target is not the one that Run began with,
// or is gone, and nil when ctx ends.
func (r *run) watchEnds(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for _, end := range []struct {
			what string
			of   bridge.Stream
			was  bridge.Identity
		}{{"target", r.m.Sink, r.target}, {"source", r.m.Source, r.source}} {
			if err := isStill(ctx, end.of, end.was); err != nil {
				return fmt.Errorf("the %s: %w", end.what, err)
			}
		}
		r.countUnread(ctx)
	}
}

// countUnread finds out how much is behind while nothing is read, or what was read does not
// get to the target, if the source can say where it ends.
func (r *run) countUnread(ctx context.Context) {
	s, ok := r.m.Source.(bridge.Ender)
	if !ok || !r.tracker.unread() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	asked := time.Now()
	if ends, err := s.Ends(ctx); err == nil {
		r.tracker.ending(ends, asked)
	}
}

// isStill asks a stream who it is.
func isStill(ctx context.Context, s bridge.Stream, was bridge.Identity) error {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	now, err := s.Identity(ctx)
	switch {
	case errors.Is(err, bridge.ErrMissing):
		err = fmt.Errorf("%s was deleted: %w: %w", was.Name, err, bridge.ErrChanged)
	case err != nil || now == was:
		return nil
	default:
		err = fmt.Errorf("%s was recreated: it was %s, and is %s now: %w", was.Name, was.Incarnation, now.Incarnation, bridge.ErrChanged)
	}
	return bridge.WithHint(err, "what was there is gone with the old one; begin a new workflow under another name")
}
