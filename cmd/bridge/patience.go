package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/mirror"
	"github.com/kinesis-msk-bridge/bridge/state"
)

// statusPatience bounds how long a screen waits for what it shows.
const statusPatience = 10 * time.Second

// patiently tries a step of a start until it succeeds, fails for good, or has failed for
// start_patience. What cannot be done yet is told as an outage is.
func patiently[T any](ctx context.Context, s settings, step string, try func() (T, error)) (T, error) {
	told := newOutages(s.Log)
	v, err := mirror.AtStart(time.Duration(s.Config.StartPatience), func(d time.Duration, why error) error {
		told.failed(step, time.Now(), outage{why: why.Error()})
		return rest(ctx, d)
	}, try)
	if err == nil {
		told.ended(step, time.Now())
	}
	return v, err
}

// loadState reads the workflow's state.
func (s settings) loadState(ctx context.Context, store state.Store) (w state.Workflow, version uint64, err error) {
	w, err = patiently(ctx, s, "read the state", func() (w state.Workflow, err error) {
		w, version, err = store.Load(ctx)
		return w, err
	})
	return w, version, err
}

// lock takes the lock of a workflow. Where the answer was lost the lock may be ours, and a
// second try would find it taken.
func lock(ctx context.Context, store state.Store) (func() error, error) {
	release, err := store.Lock(ctx)
	if errors.Is(err, bridge.ErrTransient) {
		err = bridge.WithHint(fmt.Errorf("%w: %w", err, bridge.ErrLostTrack), "start again in a minute; a lock that nobody holds ends by itself")
	}
	return release, err
}

// patient adapters try again what may pass.
func (a adapters) patient() adapters {
	out := a
	out.look = func(ctx context.Context, s settings, w state.Workflow) (sighting, error) {
		return patiently(ctx, s, "read the checkpoint", func() (sighting, error) { return a.look(ctx, s, w) })
	}
	out.witness = func(ctx context.Context, s settings, w state.Workflow) (*witness, error) {
		return patiently(ctx, s, "reach both ends", func() (*witness, error) { return a.witness(ctx, s, w) })
	}
	out.keeps = func(ctx context.Context, s settings) (time.Duration, error) {
		return patiently(ctx, s, "ask how long the source keeps records", func() (time.Duration, error) { return a.keeps(ctx, s) })
	}
	out.letters = func(ctx context.Context, s settings, w state.Workflow) iter.Seq2[bridge.DeadLetter, error] {
		return patientLetters(ctx, s, func() iter.Seq2[bridge.DeadLetter, error] { return a.letters(ctx, s, w) })
	}
	return out
}

// patientLetters begins again until a first letter was read, or there is none.
func patientLetters(ctx context.Context, s settings, read func() iter.Seq2[bridge.DeadLetter, error]) iter.Seq2[bridge.DeadLetter, error] {
	return func(yield func(bridge.DeadLetter, error) bool) {
		_, err := patiently(ctx, s, "read the dead letters", func() (began struct{}, err error) {
			first := true
			for l, e := range read() {
				if e != nil && first {
					return began, e
				}
				if first = false; !yield(l, e) {
					return began, nil
				}
			}
			return began, nil
		})
		if err != nil {
			yield(bridge.DeadLetter{}, err)
		}
	}
}
