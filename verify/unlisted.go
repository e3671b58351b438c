package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
)

// unlisted notes partitions that the mirror has read and that are listed no more, unless they
// ended before the scope begins.
func (r *run) unlisted(ctx context.Context) error {
	var gone []string
	r.mu.Lock()
	for id := range r.acked {
		if r.sourceByID[id] == nil && len(r.v.Select.Partitions) == 0 {
			gone = append(gone, id)
		}
	}
	r.mu.Unlock()
	if len(gone) == 0 {
		return nil
	}
	before, err := r.endedBefore(ctx)
	if before || err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range gone {
		r.uncovered(Uncovered{Side: "source", Partition: id, Through: r.acked[id].Position, Class: Unverifiable, Reason: "it has expired"})
	}
	return nil
}

// strangers notes partitions that the target holds records of and that are not listed, unless
// they ended before the scope begins. One that was opened since the run began is none of them.
func (r *run) strangers(ctx context.Context) error {
	r.mu.Lock()
	n := len(r.Unknown)
	r.mu.Unlock()
	if n == 0 {
		return nil
	}
	parts, err := ask(ctx, r.v, "the list of the source", r.v.Source.Partitions)
	if err != nil {
		return fmt.Errorf("list the source again: %w", err)
	}
	before, err := r.endedBefore(ctx)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for id := range r.Unknown {
		switch {
		case slices.ContainsFunc(parts, func(p bridge.Partition) bool { return p.ID == id }):
		case before:
			r.Before += r.BeforeOf[id]
		default:
			r.uncovered(Uncovered{Side: "source", Partition: id, Class: Unverifiable,
				Reason: "the target holds records of it, and it is not listed: it has expired, or never was"})
		}
	}
	clear(r.Unknown)
	clear(r.BeforeOf)
	return nil
}

// endedBefore reports whether all shards that are listed no more ended before the scope begins.
// Such a shard has a descendant that is listed and has an unlisted parent, and all that it held
// arrived before any record of that one. So it is enough that each shard with an unlisted parent
// still holds a record from before the scope.
func (r *run) endedBefore(ctx context.Context) (bool, error) {
	from := r.v.from()
	if from.IsZero() {
		return false, nil
	}
	heirs := 0
	for _, s := range r.Sources {
		if !slices.ContainsFunc(s.Parents, func(id string) bool { return r.sourceByID[id] == nil }) {
			continue
		}
		heirs++
		if holds, err := r.holdsOlder(ctx, s, from); !holds {
			return false, err
		}
	}
	return heirs > 0, nil
}

// holdsOlder reports whether a source partition is known to hold a record from before a time.
func (r *run) holdsOlder(ctx context.Context, s *sourcePart, from time.Time) (bool, error) {
	at, err := r.oldest(ctx, s)
	if err != nil && ctx.Err() == nil && !final(err) {
		return false, nil
	}
	return err == nil && !at.IsZero() && at.Before(from), err
}

// oldest notes the oldest record that a source partition still holds, and returns when it arrived;
// zero if there is none. One from before the scope proves that nothing of the scope has expired.
func (r *run) oldest(ctx context.Context, s *sourcePart) (time.Time, error) {
	var p pace
	reader, err := r.open(ctx, r.v.Source, "source "+s.ID, s.ID, bridge.Start{}, &p)
	if err != nil {
		return time.Time{}, fmt.Errorf("open %s: %w", s.ID, err)
	}
	for {
		b, err := r.readOn(ctx, reader, &p)
		if err != nil {
			return time.Time{}, errors.Join(fmt.Errorf("read %s: %w", s.ID, err), reader.Close())
		}
		if len(b.Records) == 0 && b.Behind != 0 && !b.Ended {
			continue
		}
		var at time.Time
		if len(b.Records) > 0 {
			at = arrival(&b.Records[0])
			r.mu.Lock()
			s.Oldest = b.Records[0].Position.Clone()
			r.mu.Unlock()
		}
		return at, reader.Close()
	}
}
