package verify

import (
	"context"
	"fmt"
)

// rolledBack notes what contradicts the mirror's checkpoint: a cluster that was restored from
// an older copy has lost checkpoints and the ends of topics together, and looks whole.
//
//   - The target ends before the place that the checkpoint has noted on it.
//   - The target names records that the source does not hold, since it ends before them.
//   - The checkpoint is clean, so nothing was under way, and yet the target holds records of
//     the workflow behind it.
//   - Whoever began the run knows something else: see Verifier.Doubt.
func (r *run) rolledBack(ctx context.Context) error {
	if r.main != nil || r.v.Content {
		return nil
	}
	ends, err := r.ends(ctx, "source", r.v.Source)
	if err != nil {
		return err
	}
	rows := r.acked
	if r.surveys() && r.v.Checkpoint != nil {
		if rows, err = r.rows(ctx); err != nil { // it may have moved since the run began
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, noted := range r.checkpoint.Floor.Partitions {
		if end, ok := r.targetEnds[id]; ok && noted.After(end) {
			r.uncovered(Uncovered{Side: "target", Partition: id, After: end, Through: noted, Class: Unverifiable,
				Reason: "it ends before the place that the mirror's checkpoint has noted: its log was cut back"})
		}
	}
	for _, s := range r.Sources {
		at := r.Farthest[s.ID]
		row, end := rows[s.ID], ends[s.ID]
		switch {
		case at.IsZero() || !r.chosen(s):
		case ends != nil && at.After(end):
			r.uncovered(Uncovered{Side: "source", Partition: s.ID, After: end, Through: at, Class: Unverifiable,
				Reason: "the target holds records behind its end: its log was cut back"})
		case r.surveys() && r.checkpoint.Clean && at.After(row.Position):
			r.uncovered(Uncovered{Side: "source", Partition: s.ID, After: row.Position, Through: at, Class: Unverifiable,
				Reason: fmt.Sprintf("the target holds records behind the mirror's checkpoint of %s, which says that nothing was under way: the checkpoint is older than the target",
					r.checkpoint.At.UTC().Format("2006-01-02 15:04:05Z"))})
		}
	}
	if r.v.Doubt != "" {
		r.uncovered(Uncovered{Side: "run", Partition: "checkpoint", Class: Unverifiable, Reason: r.v.Doubt})
	}
	return nil
}
