package verify

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"
)

// sixteenths is what order coverage is counted in: above Verifier.OrderKeys keys only part
// of them are followed, by sixteenths of their hashes.
const sixteenths = 16

// A chain folds the contents of one key on each side, in order.
type chain struct{ Source, Target uint64 }

// A contentBook is what a run in content mode knows: one window of all records, without
// coordinates.
type contentBook struct {
	Cells                  []tally // source minus target
	Suspect                [cellsPerWindow / 64]uint64
	Source, Target         tally
	From, To               time.Time
	Dropped                int64
	Chains                 map[uint64]chain
	Residues               uint64 // keys whose hash is below it modulo 16 are followed
	Found                  Findings
	Verdict                Verdict
	Reason                 string
	Drilled                int
	Missing, Extra, Copies int64
}

func newContent() *contentBook {
	return &contentBook{Cells: make([]tally, cellsPerWindow), Chains: map[uint64]chain{}, Residues: sixteenths}
}

// content compares two multisets of records, and the order of each key.
func (r *run) content(ctx context.Context) error {
	if r.All == nil {
		r.All = newContent()
	}
	if r.FenceAt.IsZero() {
		r.FenceAt = time.Now().UTC()
	}
	if r.until = r.Until; r.Phase == "" || r.Phase == phaseRead {
		r.setPhase(phaseRead)
		if err := r.saving(ctx, r.readBoth); err != nil {
			return err
		}
		r.setPhase(phaseJudge)
		if err := r.save(ctx); err != nil {
			return err
		}
	}
	if r.Phase == phaseJudge {
		if err := r.judgeContent(ctx); err != nil {
			return err
		}
	}
	r.setPhase(phaseDone)
	return nil
}

// link is the next value of a chain. The lock is held.
func link(before uint64, d digest) uint64 {
	var b [24]byte
	binary.BigEndian.PutUint64(b[:], before)
	binary.BigEndian.PutUint64(b[8:], d.Hi)
	binary.BigEndian.PutUint64(b[16:], d.Lo)
	return sum128(b[:]).Hi
}

// followed reports whether the order of a key is followed. The lock is held.
func (c *contentBook) followed(key uint64) bool { return key%sixteenths < c.Residues }

// follow books a record in the order of its key, of at most so many keys. The lock is held.
func (c *contentBook) follow(most int, key uint64, d digest, target bool) {
	if !c.followed(key) {
		return
	}
	have, ok := c.Chains[key]
	if !ok && len(c.Chains) >= most {
		c.Residues /= 2
		for k := range c.Chains {
			if !c.followed(k) {
				delete(c.Chains, k)
			}
		}
		c.follow(most, key, d, target)
		return
	}
	if target {
		have.Target = link(have.Target, d)
	} else {
		have.Source = link(have.Source, d)
	}
	c.Chains[key] = have
}

// bookContent adds a record of the source. The lock is held.
func (r *run) bookContent(s *sourcePart, p *prepared) {
	c := r.All
	s.Records++
	s.Bytes += p.size
	r.SourceGot += p.size
	if c.From.IsZero() || p.time.Before(c.From) {
		c.From = p.time
	}
	if p.time.After(c.To) {
		c.To = p.time
	}
	if p.dropped {
		c.Dropped++
		return
	}
	c.Source.add(p.content, p.size)
	c.Cells[p.cell].add(p.content, p.size)
	c.follow(r.v.OrderKeys, p.key, p.content, false)
}

// bookTargetContent adds a record of the target. The lock is held.
func (r *run) bookTargetContent(t *targetPart, p *placed) {
	c := r.All
	t.count(p)
	c.Target.add(p.content, p.size)
	c.Cells[p.cell].sub(p.content, p.size)
	c.follow(r.v.OrderKeys, p.key, p.content, true)
	if !p.right {
		c.Suspect[p.cell/64] |= 1 << (p.cell % 64)
	}
}

// suspects are the cells that differ, or hold a key whose order does. The lock is held.
func (r *run) suspects() (cells [cellsPerWindow / 64]uint64, n int) {
	c := r.All
	cells = c.Suspect
	for i := range c.Cells {
		if !c.Cells[i].isZero() {
			cells[i/64] |= 1 << (i % 64)
		}
	}
	for key, ch := range c.Chains {
		if ch.Source != ch.Target {
			cell := cellOf(key)
			cells[cell/64] |= 1 << (cell % 64)
		}
	}
	for i := range cellsPerWindow {
		if cells[i/64]&(1<<(i%64)) != 0 {
			n++
		}
	}
	return cells, n
}

// waitForSources returns when the parents of a shard are read, so that a key that moved
// is met in its order.
func (r *run) waitForSources(ctx context.Context, s *sourcePart) error {
	stop := context.AfterFunc(ctx, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.cond.Broadcast()
	})
	defer stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range s.Parents {
		for p := r.sourceByID[id]; p != nil && !p.Done; {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			r.cond.Wait()
		}
	}
	return nil
}

// contentWindow is the one window of the Result.
func (r *run) contentWindow() Window {
	c := r.All
	w := Window{
		Partition: "*", From: c.From, To: c.To, Source: c.Source.sum(), Firsts: c.Target.sum(),
		DeadLetters: tally{}.sum(), Repeats: tally{}.sum(), Dropped: c.Dropped,
		Cells: cellsPerWindow, Drilled: c.Drilled, Findings: c.Found, Verdict: c.Verdict, Reason: c.Reason,
	}
	if c.Verdict == "" {
		w.Verdict, w.Reason = Inconclusive, "not judged yet"
	}
	return w
}

// orderCoverage is "all", or how many sixteenths of the keys were followed.
func (c *contentBook) orderCoverage() string {
	if c.Residues == sixteenths {
		return "all"
	}
	return fmt.Sprintf("%d/%d", c.Residues, sixteenths)
}
