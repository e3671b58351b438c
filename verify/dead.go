package verify

import (
	"context"
	"fmt"

	"github.com/kinesis-msk-bridge/bridge"
)

// maxDead bounds how many dead letters are held.
const maxDead = 1 << 20

// eachDead reads all dead letters that are there now, and calls fn for the first of each
// coordinate, as it would stand on the target.
func (r *run) eachDead(ctx context.Context, fn func(s *sourcePart, p prepared)) error {
	if r.v.DeadLetters == nil {
		return nil
	}
	seen := map[coord]bool{}
	dg := r.canon.digester()
	return each(ctx, r.v, "the dead letters", r.v.DeadLetters.Read, func(letter bridge.DeadLetter, err error) (bool, error) {
		if err != nil {
			return false, fmt.Errorf("read the dead letters: %w", err)
		}
		before := len(seen)
		r.deadLetter(dg, &letter, seen, fn)
		return len(seen) > before, nil
	})
}

func (r *run) deadLetter(dg *digester, l *bridge.DeadLetter, seen map[coord]bool, fn func(*sourcePart, prepared)) {
	s := r.sourceByID[l.Origin.Partition]
	if l.Origin.Stream != r.source.String() || s == nil || len(seen) >= maxDead {
		return
	}
	c := coordOf(s.Index, l.Origin.Position)
	if seen[c] {
		return
	}
	seen[c] = true
	rec := bridge.Record{
		Key: l.Key, Value: l.Value, Headers: l.Headers, Time: l.Time,
		Partition: l.Origin.Partition, Position: l.Origin.Position,
	}
	fn(s, r.prepare(dg, s.ID, &rec))
}

// readDeadLetters books what the mirror put aside of the given windows. A place that
// cannot be read leaves nothing to say of what is missing.
func (r *run) readDeadLetters(ctx context.Context, list []*drillWindow) error {
	due := map[*window]bool{}
	for _, d := range list {
		due[d.w] = true
	}
	err := r.eachDead(ctx, func(s *sourcePart, p prepared) {
		r.mu.Lock()
		defer r.mu.Unlock()
		i := s.find(p.at)
		if i < 0 || !due[s.Windows[i]] || !r.chosen(s) || r.keys != nil && !r.keys[p.key] {
			return
		}
		w := s.Windows[i]
		w.Dead.add(p.digest, p.size)
		w.Cells[w.index(p.cell)].sub(p.digest, p.size)
	})
	if err == nil || ctx.Err() != nil || final(err) {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.deadLost = true
	r.uncovered(Uncovered{Side: "dead-letters", Class: classOf(err), Reason: err.Error()})
	return nil
}

// readDead reads the dead letters of chosen windows.
func (d *drill) readDead(ctx context.Context) error {
	err := d.r.eachDead(ctx, func(s *sourcePart, p prepared) {
		if d.window(s.Index, p.at) != nil {
			d.dead[coordOf(s.Index, p.at)] = p.content
		}
	})
	if err == nil || ctx.Err() != nil || final(err) {
		return err
	}
	d.noDead = "it may be among the dead letters, which cannot be read again: " + err.Error()
	return nil
}
