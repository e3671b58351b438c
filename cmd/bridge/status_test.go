package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/metrics"
	"github.com/kinesis-msk-bridge/bridge/mirror"
	"github.com/kinesis-msk-bridge/bridge/state"
	"github.com/kinesis-msk-bridge/bridge/state/filestate"
	"github.com/kinesis-msk-bridge/bridge/state/statetest"
)

// newViewer looks at n shards of the simulation.
func newViewer(t *testing.T, dir string, n int) *viewer {
	t.Helper()
	store := filestate.New(dir, "orders")
	if _, err := store.Swap(t.Context(), 0, statetest.Workflow("orders")); err != nil {
		t.Fatal(err)
	}
	return &viewer{
		settings: settings{Config: &loaded{config: config{Workflow: "orders"}}}, store: store,
		look: func(context.Context, settings, state.Workflow) (sighting, error) {
			return simSighting(n, time.Now()), nil
		},
	}
}

// liveOf is what a running mirror with n shards of the simulation says.
func liveOf(n int) metrics.Live {
	e := metrics.New(metrics.Config{})
	e.KeepsFor(24 * time.Hour)
	e.Follow(func() mirror.Progress { return mirror.Progress{Partitions: simProgress(n, time.Now())} })
	e.Hooks().Retry("read", simShard(1), bridge.ErrThrottled, time.Second)
	return e.Live("orders")
}

var andMore = regexp.MustCompile(`and [0-9]+ more`)

// Whatever there is to show fits the screen, the worst on top, and the last line says how
// many are not shown.
func TestScreenFits(t *testing.T) {
	for _, live := range []bool{true, false} {
		for _, n := range []int{4, 400} {
			for _, size := range [][2]int{{80, 24}, {200, 50}, {80, 50}, {200, 24}, {40, 10}} {
				v := newViewer(t, filepath.Join(t.TempDir(), "state"), n)
				res, err := v.see(t.Context(), 0)
				if err != nil {
					t.Fatal(err)
				}
				if live {
					res.addLive(liveOf(n), nil)
				}
				text, err := v.draw(res, size[0], size[1])
				if err != nil {
					t.Fatal(err)
				}
				lines := strings.Split(regexp.MustCompile(`\x1b\[[?0-9]*[A-Za-z]`).ReplaceAllString(text, ""), "\r\n")
				if len(lines) > size[1] {
					t.Errorf("live %t: %d shards take %d lines of a screen of %d", live, n, len(lines), size[1])
				}
				for _, l := range lines {
					if w := utf8.RuneCountInString(strings.TrimRight(l, " ")); w > size[0] {
						t.Errorf("live %t: %d shards: %d columns of %d: %q", live, n, w, size[0], l)
					}
				}
				all := strings.Join(lines, "\n")
				worst := simShard(0)
				if live {
					worst = simShard(1)
				}
				if size[1] > 10 && (andMore.MatchString(all) != (n == 400) || !strings.Contains(all, "worst       "+worst)) {
					t.Errorf("live %t: %d shards at %v show:\n%s", live, n, size, all)
				}
			}
		}
	}
}

// What a person sees of 4 and of 400 shards, on a small screen and a large one: watched,
// and once. A large one has the positions, too.
func TestScreens(t *testing.T) {
	for _, n := range []int{4, 400} {
		for _, size := range [][2]int{{80, 24}, {200, 50}} {
			file := filepath.Join("testdata", "screens", fmt.Sprintf("status-%d-%d.txt", n, size[0]))
			dir := filepath.Join(t.TempDir(), "state")
			synctest.Test(t, func(t *testing.T) {
				v := newViewer(t, dir, n)
				v.Config.Kinesis.EndpointURL = "https://kinesis.eu-central-1.amazonaws.com"
				res, err := v.see(t.Context(), 0)
				if err != nil {
					t.Fatal(err)
				}
				res.Source = bridge.Identity{Name: "kinesis:arn:aws:kinesis:eu-central-1:123456789012:stream/orders", Incarnation: "1795764982000"}
				res.addLive(liveOf(n), nil)
				watched, err := v.draw(res, size[0], size[1])
				if err != nil {
					t.Fatal(err)
				}
				var once strings.Builder
				if err := res.writeFor(&once, nil, size[0], size[1]-1); err != nil {
					t.Fatal(err)
				}
				watched = strings.ReplaceAll(regexp.MustCompile(`\x1b\[[?0-9]*[A-Za-z]`).ReplaceAllString(watched, ""), "\r\n", "\n")
				golden(t, file, regexp.MustCompile(` +\n`).ReplaceAllString(watched+"\n\n-- once --\n"+once.String(), "\n"))
			})
		}
	}
}

// golden compares a text with a file, or writes it if the test is told to.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(got), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(file); err != nil || string(want) != got {
		t.Errorf("%s differs (%v):\n%s", file, err, got)
	}
}

// Rows that are fine stay where they are from look to look, however far each is behind.
func TestFineRowsStay(t *testing.T) {
	var rows []partitionRow
	for i := range 9 {
		rows = append(rows, partitionRow{Partition: simShard(i), LagSeconds: seconds(time.Duration(i*7%9) * time.Millisecond)})
	}
	rows[7].rank = rankBehind
	for i, row := range worstFirst(rows) {
		want := []int{7, 0, 1, 2, 3, 4, 5, 6, 8}[i]
		if row.Partition != simShard(want) {
			t.Errorf("row %d is %s, want %d", i, row.Partition, want)
		}
	}
}

func TestExplain(t *testing.T) {
	behind := func(s float64) *float64 { return &s }
	trouble := &metrics.Trouble{Op: "write", Class: "unreachable", Since: time.Now(), Tries: 3}
	for _, c := range []struct {
		live      metrics.LivePart
		retention float64
		paused    string
		rank      int
		why       string
	}{
		{metrics.LivePart{BehindSeconds: behind(0.1)}, 86400, "", rankFine, ""},
		{metrics.LivePart{BehindSeconds: behind(11)}, 86400, "", rankBehind, "behind"},
		{metrics.LivePart{}, 86400, "", rankBehind, "nothing of it was read yet"},
		{metrics.LivePart{Waiting: []string{"p"}}, 86400, "", rankWaiting, "waits for the end of p"},
		{metrics.LivePart{BehindSeconds: behind(1), Trouble: trouble}, 86400, "", rankTrouble, "write unreachable, 3 tries in 0.0s"},
		{metrics.LivePart{BehindSeconds: behind(80000), Trouble: trouble}, 86400, "", rankExpiring, "the source drops its records in 1h47m"},
		{metrics.LivePart{BehindSeconds: behind(90000)}, 86400, "", rankExpiring, "the source drops its records in 0.0s"},
		{metrics.LivePart{BehindSeconds: behind(90000)}, 0, "", rankBehind, "behind"},
		{metrics.LivePart{Stalled: true, Trouble: trouble}, 0, "", rankStalled, "stalled: write unreachable, 3 tries in 0.0s"},
		{metrics.LivePart{Stalled: true}, 0, "", rankStalled, "stalled"},
		{metrics.LivePart{Stalled: true, CarryingSeconds: 75}, 0, "", rankStalled, "stalled: a page is on its way for 1m15s"},
		{metrics.LivePart{BehindRecords: new(int64)}, 0, "", rankBehind, "behind"},
		{metrics.LivePart{BehindSeconds: behind(3600)}, 86400, "paused (night)", rankPaused, "paused (night)"},
		{metrics.LivePart{}, 86400, "paused", rankPaused, "paused"},
		{metrics.LivePart{BehindSeconds: behind(1), Trouble: trouble}, 86400, "paused", rankTrouble, "write unreachable, 3 tries in 0.0s"},
		{metrics.LivePart{BehindSeconds: behind(80000)}, 86400, "paused", rankExpiring, "the source drops its records in 1h47m"},
		{metrics.LivePart{Stalled: true, CarryingSeconds: 75}, 0, "paused", rankStalled, "stalled: a page is on its way for 1m15s"},
	} {
		var row partitionRow
		row.explain(&c.live, c.retention, c.paused)
		if row.Why != c.why || row.rank != c.rank {
			t.Errorf("%+v is %d, %q, want %d, %q", c.live, row.rank, row.Why, c.rank, c.why)
		}
	}
}

// Elsewhere than on a terminal each look is one line without control bytes; a look that
// fails is said and does not end the watch.
func TestWatchLines(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	synctest.Test(t, func(t *testing.T) {
		v := newViewer(t, dir, 4)
		looks := 0
		look := v.look
		v.look = func(ctx context.Context, s settings, w state.Workflow) (sighting, error) {
			if looks++; looks == 2 {
				return sighting{}, errors.New("gone \x1b[31m for now")
			}
			return look(ctx, s, w)
		}
		var out bytes.Buffer
		signals := make(chan os.Signal)
		done := make(chan error)
		go func() { done <- v.watch(t.Context(), signals, 2*time.Second, &out) }()
		<-time.After(15 * time.Second)
		signals <- syscall.SIGINT
		if err := <-done; !errors.Is(err, interrupted{syscall.SIGINT}) {
			t.Errorf("the watch ends with %v, want the signal", err)
		}
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		// Looks come every 2 s, and the checkpoint is read again when it is 10 s old.
		if len(lines) != 8 || looks != 3 || strings.ContainsAny(out.String(), "\x1b\r") {
			t.Errorf("%d lines of %d looks, want 8 of 3, and no control bytes:\n%s", len(lines), looks, out.String())
		}
		if !strings.Contains(lines[5], "cannot look: gone") || strings.Contains(lines[6], "cannot look") {
			t.Errorf("a look that fails shows as:\n%s", out.String())
		}
		if !strings.Contains(lines[0], "worst shardId-000000000000: was never seen empty; only checkpoints are seen") {
			t.Errorf("the first line is %q", lines[0])
		}
	})
}

// A pause is no trouble: status says of each partition that it is paused and why, also if a
// read failed before, and also if only the state can be asked.
func TestPauseIsNoTrouble(t *testing.T) {
	gate := &mirror.Gate{}
	e := metrics.New(metrics.Config{Gate: gate})
	e.Follow(func() (p mirror.Progress) {
		for i := range 4 {
			p.Partitions = append(p.Partitions, mirror.PartitionProgress{Row: bridge.Row{Partition: simShard(i)}, Asked: time.Now()})
		}
		return p
	})
	e.Hooks().Retry("read", simShard(1), bridge.ErrUnreachable, time.Second)
	v := newViewer(t, filepath.Join(t.TempDir(), "state"), 4)
	seen := func(live bool) (census, worst, line string) {
		res, err := v.see(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		res.Actual, res.Wanted = state.Actual{Doing: doingTailing}, state.Wanted{Mode: state.Running}
		if gate.Limits().Paused {
			res.Actual, res.Wanted = state.Actual{Doing: doingPaused}, state.Wanted{Mode: state.Paused, Reason: "new brokers"}
		}
		if live {
			res.addLive(e.Live("orders"), nil)
		} else {
			res.addLive(metrics.Live{}, errors.New("only checkpoints are seen"))
		}
		var out bytes.Buffer
		if err := v.line(&out, res); err != nil {
			t.Fatal(err)
		}
		return censusOf(res), res.Worst, out.String()
	}
	if census, _, _ := seen(true); !strings.Contains(census, "1 in trouble") {
		t.Errorf("before the pause: %s, want a partition in trouble", census)
	}
	gate.Set(mirror.Limits{Paused: true})
	for _, live := range []bool{true, false} {
		census, worst, line := seen(live)
		if strings.Contains(census, "trouble") || !strings.Contains(census, " paused") || !strings.Contains(worst, ": paused (new brokers)") {
			t.Errorf("live %t: %s; %s", live, census, worst)
		}
		if strings.Contains(line, "trouble") || !strings.Contains(line, "paused (new brokers)") {
			t.Errorf("live %t: %s", live, line)
		}
	}
	gate.Set(mirror.Limits{})
	if census, _, _ := seen(true); strings.Contains(census, "paused") || strings.Contains(census, "trouble") {
		t.Errorf("behind the pause: %s", census)
	}
}

func censusOf(s statusResult) string { return census(s.Partitions) }
