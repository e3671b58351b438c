package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/metrics"
	"github.com/kinesis-msk-bridge/bridge/mirror"
	"github.com/kinesis-msk-bridge/bridge/state"
	"github.com/kinesis-msk-bridge/bridge/state/dynamostate"
	"github.com/kinesis-msk-bridge/bridge/state/filestate"
)

// What a mirror does, as it writes it into the state.
const (
	doingBackfill = "backfill" // reads what was there before
	doingTailing  = "tailing"  // follows what comes
	doingPaused   = "paused"   // reads nothing, because that is wanted
	doingDraining = "draining"
	doingStopped  = "stopped"
)

// openState is the store that the configuration names.
func openState(l *loaded) state.Store {
	if kind, table, _ := cutPlace(l.State); kind == "dynamodb" {
		return dynamostate.New(dynamostate.Config{API: l.dynamo, Table: table, Workflow: l.Workflow})
	}
	return filestate.New(l.stateDir(), l.Workflow)
}

// A marker writes into the state what the mirror does, for people: a mirror does not stop
// because that could not be written. It is used by one goroutine at a time.
type marker struct {
	store         state.Store
	log           *slog.Logger
	doing, reason string // the last that was written
	outage        string
	failed        bool // to write, the last time
}

// markTries bounds how often a change of somebody else is met.
const markTries = 5

func (m *marker) set(ctx context.Context, doing, reason, outage string) {
	if m.doing == doing && m.reason == reason && m.outage == outage {
		return
	}
	for range markTries {
		w, version, err := m.store.Load(ctx)
		if err == nil {
			w.Actual = state.Actual{Doing: doing, Reason: reason, At: now(), Outage: outage}
			_, err = m.store.Swap(ctx, version, w)
		}
		if errors.Is(err, bridge.ErrConflict) {
			continue
		}
		if err == nil {
			m.doing, m.reason, m.outage = doing, reason, outage
		} else if !m.failed && ctx.Err() == nil {
			m.log.Warn("the state could not be written", "err", err)
		}
		m.failed = err != nil
		return
	}
}

// tailLag is how little a mirror is behind that follows what comes.
const tailLag = 10 * time.Second

// lookEvery is how often watch looks: often enough for progress, and twice in the time
// that a mirror may take to obey.
func (r *mirrorRun) lookEvery() time.Duration {
	look := min(time.Second, max(time.Duration(r.Config.CheckpointInterval)/2, time.Millisecond))
	if every := r.Run.ProgressInterval; every > 0 {
		look = min(look, every)
	}
	return look
}

// watch logs progress until ctx ends, lets the mirror do what is wanted, and notes in the
// state what it does.
func (r *mirrorRun) watch(ctx, drain context.Context) {
	t := time.NewTicker(r.lookEvery())
	defer t.Stop()
	last, lastAt := int64(-1), r.began
	draining := drain.Done()
	told, outage := newOutages(r.Log), ""
	defer r.undraw()
	for {
		select {
		case <-ctx.Done():
			return
		case <-draining:
			draining = nil
			r.mark.set(ctx, doingDraining, context.Cause(drain).Error(), outage)
		case <-t.C:
		}
		p := r.runner.Progress()
		r.tailing = r.tailing || caughtUp(p)
		if r.Gate.Limits().Paused {
			told.paused(readingSource)
		}
		outage = told.look(time.Now(), p, r.meter.Troubles())
		r.draw(p)
		if draining != nil {
			r.obey(ctx)
			doing, reason := r.doing()
			r.mark.set(ctx, doing, reason, outage)
		}
		if p.Source.IsZero() {
			continue
		}
		if last < 0 {
			last = p.Counts.Read // of earlier runs
		}
		if every := r.Run.ProgressInterval; r.bar == nil && every > 0 && time.Since(lastAt) >= every {
			r.report(p, float64(p.Counts.Read-last)/time.Since(lastAt).Seconds())
			last, lastAt = p.Counts.Read, time.Now()
		}
	}
}

// caughtUp reports whether every partition is close to its end.
func caughtUp(p mirror.Progress) bool {
	now := time.Now()
	for _, row := range p.Partitions {
		behind, known := metrics.Behind(row, now)
		if !row.Ended && (!known || behind > tailLag || len(row.Waiting) > 0) {
			return false
		}
	}
	return len(p.Partitions) > 0
}

func (r *mirrorRun) report(p mirror.Progress, rate float64) {
	worst, lag, now := "", time.Duration(-1), time.Now()
	waiting := 0
	for _, row := range p.Partitions {
		if len(row.Waiting) > 0 {
			waiting++
		}
		if behind, known := metrics.Behind(row, now); !row.Ended && known && behind > lag {
			worst, lag = row.Partition, behind
		}
	}
	r.Log.Info("progress", "read", p.Counts.Read, "written", p.Counts.Written, "already_present", p.Counts.Present, "under_way", p.UnderWay, "rewind", p.Counts.Rewind,
		"per_second", int64(rate), "lag_max", lag.Round(time.Millisecond), "partition", worst, "waiting_for_parents", waiting)
}
