package main

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/mirror"
	"github.com/kinesis-msk-bridge/bridge/state"
)

func (s *stage) want(t *testing.T, change func(*state.Wanted)) {
	t.Helper()
	if _, err := wantIn(t.Context(), s.store, false, func(w *state.Wanted) error { change(w); return nil }); err != nil {
		t.Fatal(err)
	}
}

// What is wanted is done, and said to be done, within a checkpoint interval.
func TestObeyWithinCheckpointInterval(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, dir, newFakeRunner(untilDrained))
		done := make(chan error)
		go func() { done <- s.move(t) }()
		for _, c := range []struct {
			change func(*state.Wanted)
			limits mirror.Limits
			actual state.Actual
		}{
			{func(w *state.Wanted) { w.Mode, w.Reason, w.RecordsPerSecond = state.Paused, "night", 0 },
				mirror.Limits{Paused: true}, state.Actual{Doing: "paused", Reason: "night"}},
			{func(w *state.Wanted) { w.RecordsPerSecond = 7 },
				mirror.Limits{Paused: true, RecordsPerSecond: 7}, state.Actual{Doing: "paused", Reason: "night"}},
			{func(w *state.Wanted) { w.Mode, w.Reason = state.Running, "" },
				mirror.Limits{RecordsPerSecond: 7}, state.Actual{Doing: "tailing", Reason: "at most 7 records a second"}},
			{func(w *state.Wanted) { w.RecordsPerSecond, w.BytesPerSecond, w.Reason = 0, 1<<20, "day" },
				mirror.Limits{BytesPerSecond: 1 << 20}, state.Actual{Doing: "tailing", Reason: "at most 1MiB a second (day)"}},
			{func(w *state.Wanted) { *w = state.Wanted{Mode: state.Running} },
				mirror.Limits{}, state.Actual{Doing: "tailing"}},
		} {
			s.want(t, c.change)
			<-time.After(time.Duration(s.run.Config.CheckpointInterval))
			got := s.actual(t)
			got.At = time.Time{}
			if l := s.run.Gate.Limits(); l != c.limits || got != c.actual {
				t.Errorf("the mirror has %+v and says %+v, want %+v and %+v", l, got, c.limits, c.actual)
			}
			<-time.After(time.Minute)
		}
		s.signals <- syscall.SIGTERM
		if err := <-done; exitCode(err) != 143 {
			t.Errorf("it ended with %v", err)
		}
	})
}

// A state that cannot be read changes nothing, and is said once; what the mirror does is
// written once the state is there again.
func TestObeyWithoutState(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, dir, newFakeRunner(untilDrained))
		away := &awayStore{Store: s.store}
		s.run.store, s.run.mark.store = away, away
		s.want(t, func(w *state.Wanted) { w.Mode = state.Paused })
		done := make(chan error)
		go func() { done <- s.move(t) }()
		<-time.After(5*time.Second + 500*time.Millisecond)
		away.gone.Store(true)
		s.want(t, func(w *state.Wanted) { w.Mode = state.Running })
		<-time.After(time.Minute)
		synctest.Wait()
		if !s.run.Gate.Limits().Paused {
			t.Error("a mirror that cannot see what is wanted went on by itself")
		}
		if n := strings.Count(s.log.String(), "cannot see what is wanted"); n != 1 {
			t.Errorf("said %d times that the state is away, want once", n)
		}
		away.gone.Store(false)
		<-time.After(5 * time.Second)
		if a := s.actual(t); a.Doing != "tailing" || s.run.Gate.Limits().Paused {
			t.Errorf("the state says %+v once it can be reached again", a)
		}
		s.signals <- syscall.SIGTERM
		<-done
	})
}

// An awayStore can be out of reach.
type awayStore struct {
	state.Store
	gone atomic.Bool
}

func (a *awayStore) Load(ctx context.Context) (state.Workflow, uint64, error) {
	if a.gone.Load() {
		return state.Workflow{}, 0, bridge.ErrUnreachable
	}
	return a.Store.Load(ctx)
}

// Others write the state meanwhile, and no word is lost; but not for ever.
func TestWantMeetsOthers(t *testing.T) {
	s := newStage(t, filepath.Join(t.TempDir(), "state"), nil)
	other := &racingStore{Store: s.store, change: func(w *state.Workflow) { w.Actual.Reason = "of the mirror" }}
	res, err := wantIn(t.Context(), other, false, func(w *state.Wanted) error { w.Mode = state.Paused; return nil })
	w, version, loadErr := s.store.Load(t.Context())
	if err != nil || loadErr != nil || !res.Changed || version != 3 || w.Wanted.Mode != state.Paused || w.Actual.Reason != "of the mirror" {
		t.Errorf("%+v, %v: the state is %+v, version %d, %v", res, err, w, version, loadErr)
	}
	_, err = wantIn(t.Context(), busyStore{s.store}, false, func(w *state.Wanted) error { w.Mode = state.Running; return nil })
	if !errors.Is(err, bridge.ErrConflict) {
		t.Errorf("a state that always changes gives %v, want ErrConflict", err)
	}
}

// A busyStore is always written by somebody else first.
type busyStore struct{ state.Store }

func (busyStore) Swap(context.Context, uint64, state.Workflow) (uint64, error) {
	return 0, bridge.ErrConflict
}

// A word that could not be written is written later.
func TestMarkTriesAgain(t *testing.T) {
	s := newStage(t, filepath.Join(t.TempDir(), "state"), nil)
	away := &awayStore{Store: s.store}
	away.gone.Store(true)
	m := &marker{store: away, log: slog.New(slog.DiscardHandler)}
	m.set(t.Context(), doingPaused, "", "")
	away.gone.Store(false)
	m.set(t.Context(), doingPaused, "", "")
	if a := s.actual(t); a.Doing != doingPaused {
		t.Errorf("the state says %+v, want paused", a)
	}
}
