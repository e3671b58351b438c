package verify

import (
	"context"
	"errors"
	"fmt"

	"github.com/kinesis-msk-bridge/bridge"
)

// quick looks at ranges only: which partitions there are, where they begin and end, and
// how far the mirror says that it is. It takes seconds and proves nothing about records.
func (r *run) quick(ctx context.Context) error {
	if err := r.fence(ctx); err != nil {
		return err
	}
	ends, err := r.ends(ctx, "source", r.v.Source)
	if err != nil {
		return err
	}
	if err := r.survey(ctx); err != nil {
		return err
	}
	for _, s := range r.Sources {
		if err := r.quickSource(ctx, s, ends); err != nil {
			return err
		}
	}
	for _, t := range r.Targets {
		if err := r.probeHead(ctx, t); err != nil {
			return err
		}
		for _, h := range t.Holes {
			r.uncovered(h.uncovered(t.ID))
		}
		t.Through = r.targetEnds[t.ID]
	}
	if err := r.unlisted(ctx); err != nil {
		return err
	}
	r.setPhase(phaseDone)
	return nil
}

// quickSource compares what the mirror says of one partition with what the source says.
func (r *run) quickSource(ctx context.Context, s *sourcePart, ends map[string]bridge.Position) error {
	if !r.chosen(s) {
		return nil
	}
	row, begun := r.acked[s.ID]
	note := func(class Class, through bridge.Position, reason string) {
		r.uncovered(Uncovered{Side: "source", Partition: s.ID, After: row.Position, Through: through, Class: class, Reason: reason})
	}
	s.Through, s.Ended = row.Position, row.Ended
	end, known := ends[s.ID]
	switch {
	case r.acked == nil:
		s.Through = end
		return nil
	case !begun && (!known || !end.IsZero()):
		note(Unread, end, "the mirror has no checkpoint of it")
	case known && row.Position.After(end):
		note(Unverifiable, end, "it ends before what the mirror has acknowledged")
	case known && end.After(row.Position):
		note(Unread, end, "the mirror is not at its end")
	}
	if row.Position.IsZero() {
		return nil
	}
	reader, err := ask(ctx, r.v, "source "+s.ID, func(ctx context.Context) (bridge.Reader, error) {
		return r.v.Source.Open(ctx, s.ID, bridge.Start{After: row.Position, Tip: row.Tip})
	})
	if errors.Is(err, bridge.ErrGap) || errors.Is(err, bridge.ErrMissing) {
		note(Unverifiable, end, err.Error())
		return nil
	}
	if err != nil {
		return fmt.Errorf("open %s: %w", s.ID, err)
	}
	return reader.Close()
}
