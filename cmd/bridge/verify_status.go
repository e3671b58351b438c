package main

import (
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
	At      time.Time        `json:"at"` // when it ended, or else began
	Through []verify.Through `json:"verified_through,omitempty"`
	Sweep   *verify.Sweep    `json:"sweep,omitempty"`
}

// lastVerified is nil if there is no such run.
func lastVerified(l *loaded) (*verifiedSeen, error) {
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
		if !ok {
			continue
		}
		v := &verifiedSeen{res.Run, res.Kind, res.State, res.Verdict, res.Coverage.Percent, res.FinishedAt, res.Through, res.Sweep}
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
	var last *verify.Through
	for i := range v.Through {
		if t := &v.Through[i]; !t.Time.IsZero() && (last == nil || t.Time.Before(last.Time)) {
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
