package verify

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"
)

// follow reads both sides as they grow, and judges each window once it was closed for
// the settle time and the target was read to its end since. Beside that it sweeps. It ends
// with ctx.
func (r *run) follow(ctx context.Context) error {
	if r.FenceAt.IsZero() {
		r.FenceAt = time.Now().UTC()
	}
	if err := r.heads(ctx); err != nil {
		return err
	}
	r.setPhase(phaseRead)
	r.readingSince = time.Now()
	return r.saving(ctx, func(ctx context.Context) error {
		group, work := errgroup.WithContext(ctx)
		r.startParts(work, group)
		if r.v.Ledger != nil {
			group.Go(func() error { return r.readByLedger(work) })
		}
		group.Go(func() error { return r.judging(work, group) })
		group.Go(func() error { return r.sweeping(work) })
		group.Go(func() error { r.report(work); return nil })
		return group.Wait()
	})
}

// startParts reads the partitions that are not read yet.
func (r *run) startParts(ctx context.Context, group *errgroup.Group) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.Sources {
		if !s.reading {
			s.reading = true
			group.Go(func() error {
				if !r.chosen(s) {
					r.sourceDone(s, "")
					return nil
				}
				return r.readSource(ctx, s, limit{})
			})
		}
	}
	for _, t := range r.Targets {
		if !t.reading && r.v.Ledger == nil {
			t.reading = true
			group.Go(func() error { return r.readTarget(ctx, t) })
		}
	}
}

// judging looks for new partitions and judges what can be judged, now and then.
func (r *run) judging(ctx context.Context, group *errgroup.Group) error {
	for {
		if err := pause(ctx, max(r.v.Settle/4, 100*time.Millisecond)); err != nil {
			return err
		}
		if err := errors.Join(r.listSource(ctx), r.listTarget(ctx)); err != nil {
			return err
		}
		r.mu.Lock()
		r.cond.Broadcast()
		r.mu.Unlock()
		r.startParts(ctx, group)
		if err := r.judgeDue(ctx); err != nil {
			return err
		}
	}
}

// judgeDue judges the windows whose time has come.
func (r *run) judgeDue(ctx context.Context) error {
	if r.v.asksMirror() {
		rows, err := r.rows(ctx)
		if err != nil {
			return err
		}
		r.mu.Lock()
		r.Acked, r.acked = rows, rows
		r.mu.Unlock()
	}
	due := r.due()
	r.mu.Lock()
	r.checkKeymap()
	strays := len(r.Strays)
	r.mu.Unlock()
	if len(due) == 0 && strays == 0 {
		return nil
	}
	if err := errors.Join(r.strangers(ctx), r.readDeadLetters(ctx, due)); err != nil {
		return err
	}
	if err := r.judge(ctx, due); err != nil {
		return err
	}
	r.release(due)
	r.tellJudged()
	return nil
}

// tellJudged tells the hook what is known. Rounds and sweeps end in their own time; the
// hook is told by one at a time, and of nothing older than before.
func (r *run) tellJudged() {
	if r.v.Hooks.Judged == nil {
		return
	}
	r.judged.Lock()
	defer r.judged.Unlock()
	r.v.Hooks.Judged(r.result())
}

// due are the windows that were closed for the settle time, that the mirror has
// acknowledged, and since whose end the target was read.
func (r *run) due() []*drillWindow {
	var list []*drillWindow
	for _, d := range r.closedWindows(r.seen().Add(-r.v.Settle)) {
		if r.acked == nil || !d.w.Through.After(r.acked[d.s.ID].Position) {
			list = append(list, d)
		}
	}
	return list
}

// seen is up to when all of the target was read: each partition to its end, or as far as
// the ledger speaks of it. A shard of which it says nothing more is not asked for more.
func (r *run) seen() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.Join != nil {
		return r.Join.SeenAt
	}
	seen := time.Now()
	for _, t := range r.Targets {
		if !t.Done && t.SeenAt.Before(seen) {
			seen = t.SeenAt
		}
	}
	return seen
}

// release lets go of the cells of judged windows.
func (r *run) release(list []*drillWindow) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, d := range list {
		r.cells -= len(d.w.Cells)
		r.spans -= len(d.w.Spans)
		d.w.Cells, d.w.Spans, d.w.Wide = nil, nil, true
	}
}
