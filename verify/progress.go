package verify

import (
	"context"
	"time"
)

// report tells the hook and the log from time to time how reading goes, until ctx ends.
func (r *run) report(ctx context.Context) {
	for pause(ctx, r.v.ProgressEvery) == nil {
		p := r.progress()
		r.warnStalls()
		if r.v.Hooks.Progress != nil {
			r.v.Hooks.Progress(p)
		}
	}
}

// warnStalls logs each partition that has begun to give nothing, once until it gives again.
func (r *run) warnStalls() {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	warn := func(side, id string, p *pace, done bool) {
		idle, is := p.stalled(now)
		if p.told = is && !done && p.told; !is || done || p.told {
			return
		}
		p.told = true
		args := []any{"side", side, "partition", id, "for", idle.Round(time.Second).String()}
		if p.open != nil {
			args = append(args, "reason", openError(p.open).Error())
		}
		r.v.Logger.Warn("a partition gives nothing although its end is ahead", args...)
	}
	for _, s := range r.Sources {
		warn("source", s.ID, &s.pace, s.Done)
	}
	for _, t := range r.Targets {
		warn("target", t.ID, &t.pace, t.Done)
	}
}

func (r *run) progress() Progress {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	p := Progress{Sources: len(r.Sources), Targets: len(r.Targets), Phase: r.Phase, SourceBytes: r.SourceGot, TargetBytes: r.TargetGot}
	var source, target side
	longest := time.Duration(0)
	note := func(where string, id string, pace *pace, done bool) {
		if idle, is := pace.stalled(now); is && !done {
			if p.Stalls++; idle > longest {
				longest, p.Stalled = idle, where+" "+id
			}
		}
	}
	for _, s := range r.Sources {
		p.SourceRecords += s.Records
		if s.Done {
			p.SourceDone++
		}
		source.add(&s.pace, s.Done || !r.chosen(s))
		note("source", s.ID, &s.pace, s.Done)
	}
	for _, t := range r.Targets {
		p.TargetRecords += t.Records
		if t.Done {
			p.TargetDone++
		}
		target.add(&t.pace, t.Done)
		note("target", t.ID, &t.pace, t.Done)
	}
	if all := r.v.Select; all.From.IsZero() && all.To.IsZero() && len(all.After)+len(all.Through)+len(all.Partitions)+len(all.Keys) == 0 {
		source.like(r.SourceGot, &target, r.TargetGot)
		target.like(r.TargetGot, &source, r.SourceGot)
	}
	var there, here time.Duration
	p.SourceLeft, there = source.eta(now.Sub(r.readingSince))
	p.TargetLeft, here = target.eta(now.Sub(r.readingSince))
	if p.Left = max(there, here); p.Stalls > 0 {
		p.Left = 0 // nobody can tell when a partition that gives nothing goes on
	}
	p.Findings, p.Through = r.findings(), r.through()
	if r.v.Continuous {
		sweep := r.Swept.Sweep
		p.Sweep = &sweep
	}
	return p
}

// findings are the differences told so far. The lock is held.
func (r *run) findings() Findings {
	f := r.Loose
	f.merge(r.unjudged())
	for _, s := range r.Sources {
		for _, w := range s.Windows {
			f.merge(w.Found)
		}
	}
	for c, n := range r.Overflow {
		f.add(c, n)
	}
	return f
}
