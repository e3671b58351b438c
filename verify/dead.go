package verify

import (
	"context"
	"fmt"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
)

// maxDead bounds how many dead letters are held.
const maxDead = 1 << 20

// eachDead reads all dead letters that are there now, and calls fn for the first of each
// coordinate, as it would stand on the target.
func (r *run) eachDead(ctx context.Context, fn func(s *sourcePart, p prepared)) error {
	src := r.v.DeadLetters
	if src == nil {
		return nil
	}
	parts, err := retry(ctx, func() ([]bridge.Partition, error) { return src.Partitions(ctx) })
	if err != nil {
		return fmt.Errorf("list the dead letters: %w", err)
	}
	seen := map[coord]bool{}
	dg := r.canon.digester()
	d := &drill{r: r}
	for _, part := range parts {
		began := time.Now()
		err := d.scan(ctx, src, part.ID, bridge.Position{}, time.Time{}, func(b bridge.Batch) bool {
			for i := range b.Records {
				r.deadLetter(dg, &b.Records[i], seen, fn)
			}
			return b.Ended || b.Behind == 0 && b.Asked.After(began)
		})
		if err != nil {
			return fmt.Errorf("read the dead letters: %w", err)
		}
	}
	return nil
}

func (r *run) deadLetter(dg *digester, rec *bridge.Record, seen map[coord]bool, fn func(*sourcePart, prepared)) {
	s := r.sourceByID[rec.Origin.Partition]
	if rec.Origin.Stream != r.source.String() || s == nil || len(seen) >= maxDead {
		return
	}
	c := coordOf(s.Index, rec.Origin.Position)
	if seen[c] {
		return
	}
	seen[c] = true
	as := *rec
	as.Partition, as.Position, as.Origin = rec.Origin.Partition, rec.Origin.Position, bridge.Coordinate{}
	fn(s, r.prepare(dg, s.ID, &as))
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
	d.loseAll("the dead letters cannot be read: " + err.Error())
	return nil
}
