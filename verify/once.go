package verify

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kinesis-msk-bridge/bridge"
)

// The phases of a run, as they are saved.
const (
	phaseRead  = "read"
	phaseJudge = "judge"
	phaseDone  = "done"
)

// once compares everything up to a fence.
func (r *run) once(ctx context.Context) error {
	if err := r.fence(ctx); err != nil {
		return err
	}
	if r.Phase == "" || r.Phase == phaseRead {
		r.setPhase(phaseRead)
		if err := r.saving(ctx, r.readBoth); err != nil {
			return err
		}
		r.FenceTip = r.sourceTime(r.FenceAt)
		if err := errors.Join(r.unlisted(ctx), r.strangers(ctx), r.rolledBack(ctx), r.explain(ctx)); err != nil {
			return err
		}
		if err := r.readDeadLetters(ctx, r.closedWindows(time.Time{})); err != nil {
			return err
		}
		r.setPhase(phaseJudge)
		if err := r.save(ctx); err != nil {
			return err
		}
	}
	if r.Phase == phaseJudge {
		r.mu.Lock()
		r.checkKeymap()
		r.mu.Unlock()
		if err := r.judge(ctx, r.closedWindows(time.Time{})); err != nil {
			return err
		}
	}
	if r.v.Final {
		if err := r.watch(ctx); err != nil {
			return err
		}
	}
	r.setPhase(phaseDone)
	return nil
}

func (r *run) setPhase(p string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Phase = p
}

// fence notes up to when both sides are judged, and how far the mirror says that it is.
func (r *run) fence(ctx context.Context) error {
	if r.FenceAt.IsZero() {
		r.FenceAt = time.Now().UTC()
	}
	if r.v.asksMirror() && r.Acked == nil && !r.v.Final {
		rows, err := r.rows(ctx)
		if err != nil {
			return err
		}
		r.Acked = rows
	}
	r.acked = r.Acked
	if r.until = r.Until; r.acked != nil && r.until.IsZero() {
		if err := r.reach(ctx, r.FenceAt); err != nil {
			return err
		}
	}
	return r.heads(ctx)
}

// asksMirror reports whether the mirror says how far it is.
func (v *Verifier) asksMirror() bool { return v.Acknowledged != nil || v.Checkpoint != nil }

// rows asks the mirror how far it is, by source partition.
func (r *run) rows(ctx context.Context) (map[string]bridge.Row, error) {
	rows, err := ask(ctx, r.v, "the mirror's checkpoint", func(ctx context.Context) (map[string]bridge.Row, error) {
		if r.v.Acknowledged != nil {
			return r.v.Acknowledged(ctx)
		}
		cp, err := r.v.Checkpoint(ctx)
		rows := make(map[string]bridge.Row, len(cp.Rows))
		for _, row := range cp.Rows {
			rows[row.Partition] = row
		}
		cp.Rows = nil
		r.mu.Lock()
		defer r.mu.Unlock()
		r.checkpoint = cp
		return rows, err
	})
	if err != nil {
		return nil, fmt.Errorf("ask how far the mirror is: %w", err)
	}
	return orMap(rows, map[string]bridge.Row{}), nil
}

// ends asks a side where its partitions end; nil if it cannot say.
func (r *run) ends(ctx context.Context, side string, s bridge.Source) (map[string]bridge.Position, error) {
	e, ok := s.(bridge.Ender)
	if !ok {
		return nil, nil
	}
	ends, err := ask(ctx, r.v, "the end of the "+side, func(ctx context.Context) (map[string]bridge.Position, error) { return e.Ends(ctx) })
	if err != nil {
		return nil, fmt.Errorf("ask for the end of the %s: %w", side, err)
	}
	return ends, nil
}

// heads finds out where the source begins. Where positions are no offsets, nobody can
// tell whether older records are gone.
func (r *run) heads(ctx context.Context) error {
	for _, s := range r.Sources {
		if err := r.head(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) head(ctx context.Context, s *sourcePart) error {
	_, offsets := r.v.Source.(bridge.Ender)
	gone := !offsets || !r.v.from().IsZero()
	if !gone && r.chosen(s) {
		var err error
		if gone, _, err = r.headGone(ctx, r.v.Source, s.ID); err != nil {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s.headless = gone
	return nil
}

// readBoth reads both sides at the same time.
func (r *run) readBoth(ctx context.Context) error {
	r.readingSince = time.Now()
	limits, err := r.limits(ctx)
	if err != nil {
		return err
	}
	beside, stop := context.WithCancel(ctx)
	var reporting sync.WaitGroup
	reporting.Go(func() { r.report(beside) })
	defer func() { stop(); reporting.Wait() }()
	group, work := errgroup.WithContext(ctx)
	group.Go(func() error { return r.readSources(work, limits) })
	group.Go(func() error { return r.survey(work) })
	group.Go(func() error {
		if r.v.Ledger != nil {
			return r.readByLedger(work)
		}
		return r.readTargets(work)
	})
	return group.Wait()
}

func (r *run) readSources(ctx context.Context, limits map[string]limit) error {
	group, work := errgroup.WithContext(ctx)
	group.SetLimit(r.v.Parallel)
	for _, s := range r.Sources {
		if !r.chosen(s) {
			r.sourceDone(s, "")
			continue
		}
		group.Go(func() error { return r.readSource(work, s, limits[s.ID]) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return r.settleFence(ctx)
}

// settleFence decides when the target has had its time: at once if the mirror has said
// how far it is, when it has said so in a final run, else after the settle time.
func (r *run) settleFence(ctx context.Context) error {
	if !r.until.IsZero() {
		return nil
	}
	if r.v.Final && r.v.asksMirror() {
		if err := r.drained(ctx); err != nil {
			return err
		}
	} else if err := pause(ctx, time.Until(r.FenceAt.Add(r.v.Settle))); err != nil {
		return err
	}
	return r.reach(ctx, time.Now().UTC())
}

// reach lets the target be read up to what it holds now, at least until the given time.
func (r *run) reach(ctx context.Context, until time.Time) error {
	ends, err := r.ends(ctx, "target", r.v.Target)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.until, r.Until, r.targetEnds = until, until, ends
	for _, t := range r.Targets {
		t.pace.end = ends[t.ID]
	}
	return nil
}

// drained waits until the mirror has acknowledged all that was read from the source, or
// has had its time.
func (r *run) drained(ctx context.Context) error {
	deadline := time.Now().Add(r.v.Drain)
	for {
		rows, err := r.rows(ctx)
		if err != nil {
			return err
		}
		r.mu.Lock()
		r.Acked, r.acked = rows, rows
		behind := 0
		for _, s := range r.Sources {
			if r.chosen(s) && s.Records > 0 && s.LastRecord.After(rows[s.ID].Position) {
				behind++
			}
		}
		r.mu.Unlock()
		if behind == 0 || !time.Now().Before(deadline) {
			return nil
		}
		if err := pause(ctx, time.Second); err != nil {
			return err
		}
	}
}

// readTargets reads all partitions, and those that are opened meanwhile.
func (r *run) readTargets(ctx context.Context) error {
	for from := 0; ; {
		r.mu.Lock()
		list := r.Targets[from:]
		from = len(r.Targets)
		r.mu.Unlock()
		if len(list) == 0 {
			return nil
		}
		group, work := errgroup.WithContext(ctx)
		group.SetLimit(r.v.Parallel)
		for _, t := range list {
			group.Go(func() error { return r.readTarget(work, t) })
		}
		if err := group.Wait(); err != nil {
			return err
		}
		if err := r.listTarget(ctx); err != nil {
			return err
		}
	}
}

// watch looks, for a while after the verdict, for records that came behind the fence.
func (r *run) watch(ctx context.Context) error {
	if r.v.Watch <= 0 {
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, r.v.Watch)
	defer cancel()
	group, work := errgroup.WithContext(limited)
	for _, s := range r.Sources {
		if r.chosen(s) && !s.Ended {
			group.Go(func() error { return r.straggle(work, s) })
		}
	}
	if err := group.Wait(); err != nil && limited.Err() == nil {
		return fmt.Errorf("watch for stragglers: %w", err)
	}
	return context.Cause(ctx)
}

func (r *run) straggle(ctx context.Context, s *sourcePart) error {
	reader, err := ask(ctx, r.v, "source "+s.ID, func(ctx context.Context) (bridge.Reader, error) {
		return r.v.Source.Open(ctx, s.ID, bridge.Start{After: s.Through, Tip: later(s.Tip, r.FenceTip)})
	})
	if err != nil {
		return err
	}
	for {
		b, err := ask(ctx, r.v, "source "+s.ID, reader.Read)
		if err != nil {
			return errors.Join(err, reader.Close())
		}
		r.mu.Lock()
		r.Straggled += int64(len(b.Records))
		r.mu.Unlock()
		if b.Ended {
			return reader.Close()
		}
	}
}
