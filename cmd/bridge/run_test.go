package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/metrics"
	"github.com/kinesis-msk-bridge/bridge/mirror"
	"github.com/kinesis-msk-bridge/bridge/state"
	"github.com/kinesis-msk-bridge/bridge/state/filestate"
	"github.com/kinesis-msk-bridge/bridge/state/statetest"
)

// A fakeRunner reads 100 records a second and is at the tip after ten. How it stops is up
// to the test.
type fakeRunner struct {
	began   time.Time
	drained chan struct{}
	asked   atomic.Bool
	run     func(ctx context.Context, drained <-chan struct{}) error
}

func newFakeRunner(run func(ctx context.Context, drained <-chan struct{}) error) *fakeRunner {
	return &fakeRunner{began: time.Now(), drained: make(chan struct{}), run: run}
}

func (f *fakeRunner) Run(ctx context.Context) error { return f.run(ctx, f.drained) }

func (f *fakeRunner) Drain() {
	if f.asked.CompareAndSwap(false, true) {
		close(f.drained)
	}
}

func (f *fakeRunner) Progress() mirror.Progress {
	past := time.Since(f.began)
	n := int64(past.Seconds() * 100)
	return mirror.Progress{
		Source: bridge.Identity{Name: "s", Incarnation: "1"},
		Counts: bridge.Counts{Read: n, Written: n},
		Partitions: []mirror.PartitionProgress{
			{Row: bridge.Row{Partition: "0"}, Lag: max(20*time.Second-past, 0), Asked: time.Now()},
			{Row: bridge.Row{Partition: "1", Ended: true}, Lag: -1},
		},
	}
}

func untilDrained(ctx context.Context, drained <-chan struct{}) error {
	select {
	case <-drained:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func untilCut(ctx context.Context, _ <-chan struct{}) error {
	<-ctx.Done()
	return errors.Join(ctx.Err(), context.Cause(ctx))
}

// A stage is a mirror run in fake time, with a real state file.
type stage struct {
	run     *mirrorRun
	store   *filestate.Store
	signals chan os.Signal
	log     bytes.Buffer
}

func newStage(t *testing.T, dir string, r runner) *stage {
	s := &stage{store: filestate.New(dir, "orders"), signals: make(chan os.Signal, 2)}
	if _, err := s.store.Swap(t.Context(), 0, statetest.Workflow("orders")); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(&s.log, nil))
	s.run = &mirrorRun{
		settings: settings{Log: log, Gate: &mirror.Gate{}, Config: &loaded{config: config{CheckpointInterval: duration(5 * time.Second)}}, Run: runOptions{ProgressInterval: 30 * time.Second, ShutdownTimeout: 30 * time.Second}},
		meter:    metrics.New(metrics.Config{}), store: s.store, runner: r, mark: &marker{store: s.store, log: log},
	}
	return s
}

func (s *stage) move(t *testing.T) error {
	stop := newStopper(t.Context(), s.signals, s.run.Run.ShutdownTimeout)
	defer stop.done()
	return s.run.move(stop)
}

func (s *stage) actual(t *testing.T) state.Actual {
	t.Helper()
	w, _, err := s.store.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return w.Actual
}

func TestMoveStops(t *testing.T) {
	boom := errors.New("boom")
	for _, c := range []struct {
		name    string
		run     func(ctx context.Context, drained <-chan struct{}) error
		signals []os.Signal // one each ten seconds
		want    int
		took    time.Duration
		ended   string
	}{
		{"goal", func(context.Context, <-chan struct{}) error { return nil }, nil, 0, 0, "caught-up"},
		{"failure", func(context.Context, <-chan struct{}) error { return boom }, nil, 1, 0, "failed"},
		{"drain", untilDrained, []os.Signal{syscall.SIGTERM}, 143, 10 * time.Second, "stopped"},
		{"drain by hand", untilDrained, []os.Signal{os.Interrupt}, 130, 10 * time.Second, "stopped"},
		{"drain that fails", func(_ context.Context, d <-chan struct{}) error { <-d; return boom }, []os.Signal{os.Interrupt}, 1, 10 * time.Second, "failed"},
		{"second signal", untilCut, []os.Signal{syscall.SIGTERM, os.Interrupt}, 130, 20 * time.Second, "cut"},
		{"drain too slow", untilCut, []os.Signal{syscall.SIGTERM}, 75, 40 * time.Second, "cut"},
		{"fenced while draining", func(_ context.Context, d <-chan struct{}) error { <-d; return bridge.ErrFenced }, []os.Signal{syscall.SIGTERM}, 11, 10 * time.Second, "failed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "state")
			synctest.Test(t, func(t *testing.T) {
				s := newStage(t, dir, newFakeRunner(c.run))
				sent := make(chan struct{})
				go func() {
					defer close(sent)
					for _, sig := range c.signals {
						<-time.After(10 * time.Second)
						s.signals <- sig
					}
				}()
				began := time.Now()
				err := s.move(t)
				if took := time.Since(began); took != c.took {
					t.Errorf("it took %s, want %s", took, c.took)
				}
				<-sent
				if exitCode(err) != c.want || endedBy(err) != c.ended {
					t.Errorf("%v has code %d and is %q, want %d and %q", err, exitCode(err), endedBy(err), c.want, c.ended)
				}
				a := s.actual(t)
				if a.Doing != doingStopped || (a.Reason == "") != (err == nil) {
					t.Errorf("the state says %+v after %v", a, err)
				}
			})
		})
	}
}

// A mirror that does not even hear a cut must not keep the process.
func TestMoveDoesNotHang(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	synctest.Test(t, func(t *testing.T) {
		deaf := make(chan struct{})
		s := newStage(t, dir, newFakeRunner(func(context.Context, <-chan struct{}) error { <-deaf; return nil }))
		s.signals <- syscall.SIGTERM
		s.signals <- syscall.SIGTERM
		began := time.Now()
		if err := s.move(t); exitCode(err) != 143 || endedBy(err) != "cut" {
			t.Errorf("it ended with %v", err)
		}
		if took := time.Since(began); took != patience {
			t.Errorf("it took %s, want %s", took, patience)
		}
		close(deaf)
	})
}

func TestProgressAndState(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, dir, newFakeRunner(untilDrained))
		done := make(chan error)
		go func() { done <- s.move(t) }()

		<-time.After(5500 * time.Millisecond)
		if got := s.actual(t).Doing; got != doingBackfill {
			t.Errorf("after 5 s, 15 s behind, the state says %q", got)
		}
		<-time.After(10 * time.Second)
		if got := s.actual(t).Doing; got != doingTailing {
			t.Errorf("after 15 s, 5 s behind, the state says %q", got)
		}
		<-time.After(60 * time.Second)
		s.signals <- syscall.SIGTERM
		if err := <-done; exitCode(err) != 143 {
			t.Errorf("it ended with %v", err)
		}
		lines := strings.Split(s.log.String(), "\n")
		var progress []string
		for _, l := range lines {
			if strings.Contains(l, "msg=progress") {
				progress = append(progress, l)
			}
		}
		if len(progress) != 2 || !strings.Contains(progress[1], "read=6000") || !strings.Contains(progress[1], "per_second=100") {
			t.Errorf("75 s have these lines of progress, want two with 100 a second:\n%s", strings.Join(progress, "\n"))
		}
	})
}

// Somebody else may write the state meanwhile; neither word is lost.
func TestMarkMeetsOthers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	s := newStage(t, dir, nil)
	other := &racingStore{Store: s.store, change: func(w *state.Workflow) { w.Wanted.Reason = "of somebody else" }}
	m := &marker{store: other, log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	m.set(t.Context(), doingTailing, "", "")
	w, version, err := s.store.Load(t.Context())
	if err != nil || version != 3 || w.Actual.Doing != doingTailing || w.Wanted.Reason != "of somebody else" {
		t.Errorf("the state is %+v, version %d, %v", w, version, err)
	}
}

// A racingStore lets somebody else write once between a Load and its Swap.
type racingStore struct {
	state.Store
	change func(*state.Workflow)
}

func (r *racingStore) Swap(ctx context.Context, old uint64, next state.Workflow) (uint64, error) {
	if change := r.change; change != nil {
		r.change = nil
		w, version, err := r.Load(ctx)
		if err != nil {
			return 0, err
		}
		change(&w)
		if _, err := r.Store.Swap(ctx, version, w); err != nil {
			return 0, err
		}
	}
	return r.Store.Swap(ctx, old, next)
}

func TestLogger(t *testing.T) {
	for _, c := range []struct {
		format, level string
		env           map[string]string
		want, not     string
	}{
		{"auto", "info", nil, `"msg":"seen"`, "unseen"},
		{"json", "debug", nil, `"msg":"unseen"`, "\x1b"},
		{"text", "info", nil, "INF seen", "\x1b"},
		{"text", "warn", map[string]string{"NO_COLOR": "1"}, "", "seen"},
	} {
		var b bytes.Buffer
		log, err := newLogger(&b, c.format, c.level, func(name string) (string, bool) { v, ok := c.env[name]; return v, ok })
		if err != nil {
			t.Fatal(err)
		}
		log.Info("seen")
		log.Debug("unseen")
		if !strings.Contains(b.String(), c.want) || strings.Contains(b.String(), c.not) {
			t.Errorf("%s at %s writes %q, want %q and not %q", c.format, c.level, b.String(), c.want, c.not)
		}
	}
}

func TestNoColor(t *testing.T) {
	for _, c := range []struct {
		name, value string
		want        bool
	}{{"NO_COLOR", "", false}, {"NO_COLOR", "1", true}, {"NO_COLOR", "0", true}, {"TERM", "dumb", true}, {"TERM", "xterm", false}} {
		env := func(name string) (string, bool) {
			if name == c.name {
				return c.value, true
			}
			return "", false
		}
		if got := noColor(env); got != c.want {
			t.Errorf("%s=%q: no colours is %t, want %t", c.name, c.value, got, c.want)
		}
	}
}

// What a service or file says cannot steer the terminal.
func TestClean(t *testing.T) {
	var out, errs bytes.Buffer
	a := &app{stdout: &out, stderr: &errs}
	hostile := "a\x1b[31mred\x07\r\u202e\xff b"
	code := a.print("x", &answer{text: func(w io.Writer) error { _, err := io.WriteString(w, hostile+"\n"); return err }},
		bridge.WithHint(errors.New(hostile), hostile))
	for _, text := range []string{out.String(), errs.String()} {
		if strings.ContainsAny(text, "\x1b\x07\r\u202e\xff") || !strings.Contains(text, "red") {
			t.Errorf("printed %q", text)
		}
	}
	if code != exitFailed {
		t.Errorf("code %d", code)
	}
}
