package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/mirror"
)

// A partitionRow is how far one source partition is.
type partitionRow struct {
	Partition string          `json:"partition"`
	Position  bridge.Position `json:"position"` // all up to here is done
	Ended     bool            `json:"ended"`
	// LagSeconds is how far behind the newest record; null if nobody said.
	LagSeconds *float64 `json:"lag_seconds"`
	// LagRecords is how many records of the source were behind it, at most, when it was
	// last read; null if nobody said.
	LagRecords *int64 `json:"lag_records"`
	// TipSeconds is how long ago it was last seen to hold nothing more; null if never.
	TipSeconds *float64 `json:"seen_empty_seconds_ago"`
	Waiting    []string `json:"waiting_for,omitempty"` // parents
	Why        string   `json:"why,omitempty"`         // what is wrong with it
	rank       int      // how bad that is
}

func seconds(d time.Duration) *float64 {
	s := d.Round(time.Millisecond).Seconds()
	return &s
}

func rowOf(r bridge.Row, at time.Time) partitionRow {
	row := partitionRow{Partition: r.Partition, Position: r.Position, Ended: r.Ended}
	if !r.Tip.IsZero() {
		row.TipSeconds = seconds(max(at.Sub(r.Tip), 0))
	}
	return row
}

func rowsOf(p mirror.Progress, at time.Time) []partitionRow {
	rows := make([]partitionRow, 0, len(p.Partitions))
	for _, s := range p.Partitions {
		row := rowOf(s.Row, at)
		row.Waiting = s.Waiting
		if s.Lag >= 0 {
			row.LagSeconds = seconds(s.Lag)
		}
		if s.Left >= 0 {
			row.LagRecords = &s.Left
		}
		rows = append(rows, row)
	}
	return rows
}

// arithmetic shows that every record that was read is accounted for.
func arithmetic(c bridge.Counts) string {
	sign := "="
	if !c.Balanced() {
		sign = "≠"
	}
	return fmt.Sprintf("read %s %s written %s + already present %s + dead-lettered %s\n  + dropped by policy %s + loop-skipped %s",
		grouped(c.Read), sign, grouped(c.Written), grouped(c.Present), grouped(c.DeadLettered), grouped(c.Dropped), grouped(c.LoopSkipped))
}

// grouped writes 1234567 as 1,234,567.
func grouped(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// A runResult is what mirror run prints at its end.
type runResult struct {
	Workflow   string         `json:"workflow"`
	Direction  string         `json:"direction"`
	Ended      string         `json:"ended"` // caught-up, stopped, cut or failed
	Seconds    float64        `json:"seconds"`
	Counts     bridge.Counts  `json:"counts"`
	Balanced   bool           `json:"balanced"`
	Partitions []partitionRow `json:"partitions"`
}

func (r *mirrorRun) answer(err error) *answer {
	p := r.runner.Progress()
	res := runResult{
		Workflow: r.Config.Workflow, Direction: r.Config.Direction, Ended: endedBy(err),
		Seconds: time.Since(r.began).Round(time.Millisecond).Seconds(),
		Counts:  p.Counts, Balanced: p.Counts.Balanced(), Partitions: rowsOf(p, time.Now()),
	}
	return &answer{result: res, text: func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%s: %s after %.1f s\n%s\n", res.Workflow, res.Ended, res.Seconds, arithmetic(res.Counts))
		return err
	}}
}

func endedBy(err error) string {
	var i interrupted
	switch {
	case err == nil:
		return "caught-up"
	case errors.Is(err, errCut):
		return "cut"
	case errors.As(err, &i):
		return "stopped"
	}
	return "failed"
}
