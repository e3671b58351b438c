package main

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/metrics"
	"github.com/kinesis-msk-bridge/bridge/mirror"
)

// warnings are the messages that were logged as warnings.
func warnings(log *bytes.Buffer) (out []string) {
	for line := range strings.Lines(log.String()) {
		if _, rest, ok := strings.Cut(line, "level=WARN msg="); ok {
			message, attrs, _ := strings.Cut(rest, " what=")
			what, _, _ := strings.Cut(attrs, " for=")
			what, _, _ = strings.Cut(what, " after=")
			out = append(out, strings.Trim(message, `"`)+": "+strings.Trim(strings.TrimSpace(what), `"`))
		}
	}
	return out
}

func outagesTo(log *bytes.Buffer) *outages {
	return newOutages(slog.New(slog.NewTextHandler(log, nil)))
}

// An outage is told of when it begins, once a minute, and when it ends, however many
// partitions it has and however often it is looked at.
func TestOutageIsTold(t *testing.T) {
	trouble := func(op, class string) func(since, now time.Time) (mirror.Progress, map[string]metrics.Trouble) {
		return func(since, now time.Time) (mirror.Progress, map[string]metrics.Trouble) {
			tr := metrics.Trouble{Op: op, Class: class, Since: since, Last: now, Err: errors.New("dial tcp: refused")}
			if op == "checkpoint" {
				return mirror.Progress{}, map[string]metrics.Trouble{metrics.Checkpoints: tr}
			}
			return mirror.Progress{}, map[string]metrics.Trouble{"0": tr, "1": tr, "2": tr, "3": tr}
		}
	}
	silent := func(since, now time.Time) (p mirror.Progress, _ map[string]metrics.Trouble) {
		for _, id := range []string{"0", "1"} {
			p.Partitions = append(p.Partitions, mirror.PartitionProgress{Row: bridge.Row{Partition: id}, Carrying: since})
		}
		return p, nil
	}
	for _, c := range []struct {
		name string
		what string
		sees func(since, now time.Time) (mirror.Progress, map[string]metrics.Trouble)
	}{
		{"source away", readingSource, trouble("read", "unreachable")},
		{"source cannot be opened", readingSource, trouble("open", "transient")},
		{"target away", writingTarget, trouble("write", "unreachable")},
		{"target throttles", writingTarget, trouble("write", "throttled")},
		{"dead letters away", writingLetters, trouble("dead letter", "unreachable")},
		{"checkpoints away", savingCheckpoints, trouble("checkpoint", "transient")},
		{"target without an answer", writingTarget, silent},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				o := outagesTo(&log)
				since, clause := time.Now(), ""
				for range 150 {
					time.Sleep(time.Second)
					p, troubles := c.sees(since, time.Now())
					clause = o.look(time.Now(), p, troubles)
				}
				if !strings.HasPrefix(clause, "cannot "+c.what+" since ") {
					t.Errorf("the state says %q", clause)
				}
				if clause := o.look(time.Now(), mirror.Progress{}, nil); clause != "" {
					t.Errorf("after the end the state says %q", clause)
				}
				want := []string{"does not work, and is tried again: " + c.what, "still does not work: " + c.what, "still does not work: " + c.what, "works again: " + c.what}
				if got := warnings(&log); strings.Join(got, "\n") != strings.Join(want, "\n") {
					t.Errorf("told:\n%s", strings.Join(got, "\n"))
				}
			})
		})
	}
}

// What passes soon is not told of as an outage.
func TestShortTroubleIsNoOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		o := outagesTo(&log)
		for n := range 600 {
			tr := metrics.Trouble{Op: "write", Class: "throttled", Since: time.Now().Add(-time.Duration(n%20) * time.Second), Err: errors.New("slow down")}
			if clause := o.look(time.Now(), mirror.Progress{}, map[string]metrics.Trouble{"0": tr}); clause != "" {
				t.Fatalf("the state says %q", clause)
			}
			time.Sleep(time.Second)
		}
		if log.Len() > 0 {
			t.Errorf("told:\n%s", log.String())
		}
	})
}

// A mirror that cannot be asked shows its outage by what it noted in the state.
func TestStatusShowsAnOutage(t *testing.T) {
	tip := 3.0
	s := statusResult{Partitions: []partitionRow{{Partition: "0", TipSeconds: &tip}, {Partition: "1", TipSeconds: &tip, Ended: true}, {Partition: "2", TipSeconds: &tip}}}
	s.Actual.Outage = "cannot read the source since 10:00"
	s.addLive(metrics.Live{}, errors.New("only checkpoints are seen"))
	if got := census(s.Partitions); !strings.Contains(got, "2 in trouble") || strings.Contains(got, "fine") || !strings.Contains(s.Worst, s.Actual.Outage) {
		t.Errorf("status says %q, worst %q", got, s.Worst)
	}
	live := metrics.Live{Partitions: []metrics.LivePart{{Partition: "0", BehindSeconds: new(float64), CarryingSeconds: 61}}}
	s.Actual.Outage = ""
	s.addLive(live, nil)
	if s.Partitions[0].rank != rankTrouble {
		t.Errorf("a page without an answer for a minute is %+v", s.Partitions[0])
	}
}
