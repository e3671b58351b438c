package main

import (
	"strings"
	"testing"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/state"
	"github.com/kinesis-msk-bridge/bridge/verify"
)

// A checkpoint that is older than the orderly stop that the state notes is doubted.
func TestOlderCheckpointIsDoubted(t *testing.T) {
	stop := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name   string
		actual state.Actual
		cp     bridge.Checkpoint
		doubt  bool
	}{
		{"saved at the stop", state.Actual{Doing: doingStopped, At: stop}, bridge.Checkpoint{At: stop.Add(-time.Second), Clean: true}, false},
		{"drained, two saves are gone", state.Actual{Doing: doingStopped, Reason: "terminated; " + checkpointSaved, At: stop}, bridge.Checkpoint{At: stop.Add(-10 * time.Second)}, true},
		{"an older clean one", state.Actual{Doing: doingStopped, At: stop}, bridge.Checkpoint{At: stop.Add(-time.Hour), Clean: true}, true},
		{"none", state.Actual{Doing: doingStopped, At: stop}, bridge.Checkpoint{}, true},
		{"it failed, and could not save", state.Actual{Doing: doingStopped, Reason: "unreachable", At: stop}, bridge.Checkpoint{At: stop.Add(-time.Hour)}, false},
		{"at work", state.Actual{Doing: doingTailing, At: stop}, bridge.Checkpoint{At: stop.Add(-time.Hour)}, false},
	} {
		if got := doubtOf(state.Workflow{Actual: c.actual}, c.cp, 5*time.Second); (got != "") != c.doubt {
			t.Errorf("%s: %q", c.name, got)
		}
	}
}

// The watermark in status is that of a partition that still gets records.
func TestWatermarkOfEndedPartitions(t *testing.T) {
	at := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	v := verifiedSeen{Kind: "continuous", At: at, Through: []verify.Through{
		{Partition: "ended", Time: at.Add(-100 * time.Hour), Ended: true},
		{Partition: "open", Time: at.Add(-time.Minute)},
		{Partition: "newer", Time: at},
	}}
	if text := v.text(at); !strings.Contains(text, "(open)") || strings.Contains(text, "(ended)") {
		t.Error(text)
	}
}

// A run over ranges only replaces no verdict: not in status, and not as the newest run.
func TestRangesReplaceNoVerdict(t *testing.T) {
	l := &loaded{}
	l.Workflow, l.State = "orders", "file:"+t.TempDir()
	for _, run := range []struct {
		id, kind string
		quick    bool
		verdict  verify.Verdict
	}{{"real", "once", false, verify.Consistent}, {"ranges", kindQuick, true, verify.Inconclusive}} {
		d, err := newRun(l, run.id)
		if err == nil {
			err = d.writeJSON(fileOptions, verifyOptions{Quick: run.quick})
		}
		if err == nil {
			err = d.writeJSON(fileResult, verify.Result{Run: run.id, Kind: run.kind, State: "done", Verdict: run.verdict})
		}
		proceed(t, err)
	}
	v, err := lastVerified(t.Context(), l)
	proceed(t, err)
	d, err := openRun(l, "")
	proceed(t, err)
	r, err := lastResult(l)
	proceed(t, err)
	if v.Run != "real" || v.Verdict != verify.Consistent || d.id != "real" || r.Run != "real" {
		t.Errorf("status shows %s, %s; the newest run is %s, that of a report %s", v.Run, v.Verdict, d.id, r.Run)
	}
}
