package main

import (
	"context"
	"fmt"
	"time"

	"github.com/kinesis-msk-bridge/bridge/verify"
)

// verifiedSeen is what status shows of the newest verify run that has said something.
type verifiedSeen struct {
	Run     string           `json:"run"`
	Kind    string           `json:"kind"`
	State   string           `json:"state"`
	Verdict verify.Verdict   `json:"verdict"`
	Percent float64          `json:"coverage_percent"`
	At      time.Time        `json:"at"`    // when it ended, or else began
	Scope   string           `json:"scope"` // what it looked at, and what lay beyond
	Through []verify.Through `json:"verified_through,omitempty"`
	Sweep   *verify.Sweep    `json:"sweep,omitempty"`
}

// lastVerified is nil if there is no such run. A run over ranges only has verified nothing.
func lastVerified(ctx context.Context, l *loaded) (*verifiedSeen, error) {
	ids, err := listRuns(l)
	if err != nil {
		return nil, err
	}
	for i := len(ids) - 1; i >= 0; i-- {
		d, err := openRun(l, ids[i])
		if err != nil {
			return nil, err
		}
		res, ok, err := d.result()
		if err != nil {
			return nil, err
		}
		if !ok || res.Kind == kindQuick {
			continue
		}
		if killed, err := d.killed(ctx, res); err != nil {
			return nil, err
		} else if killed {
			res.State = unfinished
		}
		v := &verifiedSeen{
			Run: res.Run, Kind: res.Kind, State: res.State, Verdict: res.Verdict, Percent: res.Coverage.Percent, At: res.FinishedAt,
			Scope: res.Coverage.Beyond.Sentence(res.Totals.SourceRecords), Through: res.Through, Sweep: res.Sweep,
		}
		if v.At.IsZero() {
			v.At = res.StartedAt
		}
		return v, nil
	}
	return nil, nil
}

// text is for one line: the verdict, and of a continuous run the partition that is
// verified least far.
func (v *verifiedSeen) text(at time.Time) string {
	s := fmt.Sprintf("%s, run %s, coverage %.4g %%, %s ago", v.Verdict, v.Run, v.Percent, age(at.Sub(v.At).Seconds()))
	if v.State == unfinished {
		s += "; its process is gone"
	}
	if v.Kind != "continuous" {
		s += "; scope " + v.Scope
	}
	var last *verify.Through
	for i := range v.Through {
		// A partition that ended and is verified to its end holds nothing back.
		if t := &v.Through[i]; !t.Ended && !t.Time.IsZero() && (last == nil || t.Time.Before(last.Time)) {
			last = t
		}
	}
	if last != nil {
		s += fmt.Sprintf("; verified through %s (%s)", stamp(last.Time), last.Partition)
	}
	if v.Sweep != nil && v.Sweep.Rounds > 0 {
		s += "; read again by " + stamp(v.Sweep.EndedAt)
	}
	return s
}
