package verify

import (
	"fmt"
	"sort"
	"time"
)

// result says what is known at this moment.
func (r *run) result() *Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	res := &Result{
		Schema: Schema, Run: r.ID, Workflow: r.v.Workflow, Direction: r.v.Direction, Kind: r.v.kind(), Mode: "coordinate",
		State: "running", StartedAt: r.StartedAt, Scope: r.scope(), Fence: r.fenceMarks(),
		Samples: r.Confirmed, Targets: r.ranges(), Through: r.through(),
	}
	if r.v.Continuous {
		sweep := r.Swept.Sweep
		res.Sweep = &sweep
	}
	if r.v.Content {
		res.Mode = "content"
	}
	if r.Phase == phaseDone {
		res.State, res.FinishedAt = "done", time.Now().UTC()
	}
	r.windows(res)
	r.count(res)
	r.algorithm(res)
	res.Coverage.Uncovered = r.Gaps
	r.verdict(res)
	if root, err := RootOf(res.Windows); err == nil {
		res.Root = root
	}
	return res
}

func (r *run) scope() Scope {
	v := r.v
	s := Scope{
		Source: r.source, Target: r.target, Keymap: v.Keys.Name(), Format: v.Format,
		From: "beginning", To: "fence", Partitions: v.Select.Partitions, Keys: len(v.Select.Keys),
		TargetPartitions: len(r.Targets), Settle: v.Settle, WindowLimit: v.Window, ReadShare: v.ReadShare,
		MaxSamples: v.MaxSamples, RecordTime: v.Keeps.Time, AcceptLoss: v.AcceptLoss, Decoders: v.Decoders,
	}
	s.Start = v.Start
	switch {
	case len(v.Select.After) > 0:
		s.From = "positions"
	case v.Start.After(v.Select.From):
		s.From = "workflow-start"
	case !v.Select.From.IsZero():
		s.From = v.Select.From.UTC().Format(time.RFC3339Nano)
	}
	switch {
	case v.Continuous:
		s.To = "verified through"
	case len(v.Select.Through) > 0:
		s.To = "positions"
	case !v.Select.To.IsZero():
		s.To = v.Select.To.UTC().Format(time.RFC3339Nano)
	}
	for _, p := range r.Sources {
		if r.chosen(p) {
			s.Shards++
			if p.Ended {
				s.Closed++
			}
		}
	}
	return s
}

func (r *run) fenceMarks() Fence {
	f := Fence{TakenAt: r.FenceAt, Stragglers: r.Straggled, Watched: r.v.Watch}
	if !r.v.Final {
		f.Watched = 0
	}
	for _, s := range r.Sources {
		if r.chosen(s) {
			f.Source = append(f.Source, FenceMark{s.ID, s.Through, s.Ended})
		}
	}
	for _, t := range r.Targets {
		f.Target = append(f.Target, FenceMark{t.ID, t.Through, t.Ended})
	}
	return f
}

func (r *run) ranges() (out []Range) {
	for _, t := range r.Targets {
		out = append(out, Range{Partition: t.ID, From: t.First, To: t.Last, Records: t.Records, Bytes: t.Bytes})
	}
	return out
}

// through is, by source partition, the end of the last window before which all are
// consistent.
func (r *run) through() (out []Through) {
	if !r.v.Continuous {
		return nil
	}
	for _, s := range r.Sources {
		at := Through{Partition: s.ID, Position: s.Start}
		for _, w := range s.Windows {
			if w.Verdict != Consistent {
				at.Oldest = w.Arrived
				break
			}
			at.Position, at.Time = w.Through, w.To
		}
		at.Ended = s.Ended && at.Oldest.IsZero()
		if at.Oldest.IsZero() && !s.Done && s.pace.behind > 0 {
			at.Oldest = time.Now().Add(-s.pace.behind)
		}
		out = append(out, at)
	}
	return out
}

func (r *run) windows(res *Result) {
	if r.All != nil {
		w := r.contentWindow()
		res.Windows = append(res.Windows, w)
		res.cover(w)
		if w.Verdict == Inconclusive {
			res.open = w.Source.Count
		}
		res.Totals.Repeats, res.Totals.TargetFirsts = r.All.Copies, w.Source.Count-w.Findings.Missing
		return
	}
	for _, s := range r.Sources {
		for _, w := range s.Windows {
			v := Window{
				Partition: s.ID, After: w.After, Through: w.Through, From: w.From, To: w.To,
				Source: w.Source.sum(), Firsts: w.Firsts.sum(), DeadLetters: w.Dead.sum(), Dropped: w.Dropped, Repeats: w.Repeats.sum(),
				Cells: w.Cell, Drilled: w.Drilled, Findings: w.Found, Verdict: w.Verdict, Reason: w.Reason,
			}
			if res.open += w.Open; !w.Done {
				v.Verdict, v.Reason = Inconclusive, "not judged yet"
				res.open += w.Source.N
			}
			res.Windows = append(res.Windows, v)
			res.cover(v)
		}
	}
}

// cover counts one window.
func (res *Result) cover(w Window) {
	res.Coverage.Windows++
	switch w.Verdict {
	case Consistent:
		res.Coverage.Consistent++
	case Inconsistent:
		res.Coverage.Inconsistent++
	default:
		res.Coverage.Inconclusive++
	}
	res.Algorithm.Cells += int64(w.Cells)
	res.Algorithm.Drilled += int64(w.Drilled)
	res.Findings.merge(w.Findings)
	t := &res.Totals
	t.SourceRecords += w.Source.Count + w.Dropped
	t.SourceBytes += w.Source.Bytes
	t.TargetFirsts += w.Firsts.Count
	t.TargetFirstBytes += w.Firsts.Bytes
	t.Repeats += w.Repeats.Count
	t.DeadLetters += w.DeadLetters.Count
	t.Dropped += w.Dropped
}

// count adds up what the windows say, and the rest.
func (r *run) count(res *Result) {
	res.Findings.merge(r.Loose)
	res.Findings.merge(r.unjudged())
	for c, n := range r.Overflow {
		res.Findings.add(c, n)
	}
	t := &res.Totals
	for _, p := range r.Targets {
		t.TargetRecords += p.Records
	}
	t.Foreign, t.Missing, t.Extra = r.Foreign, res.Findings.Missing, res.Findings.Extra
	t.SourceRead, t.TargetRead = r.SourceGot, r.TargetGot
	t.Balance, t.Balanced = t.balance()
	c := &res.Coverage
	c.Beyond, c.BeforeStart = r.Beyond, r.Before
	c.Percent, c.Independent = r.coverage(t.SourceRecords, res.open)
}

// coverage is what share of the records in scope was judged, and what share was read from
// both sides. What is gone was in scope, too: where its number is not known it is one record
// a range, so that neither is 100 while anything is uncovered.
func (r *run) coverage(read, open int64) (judged, independent float64) {
	gone := int64(0)
	for i := range r.Gaps {
		gone += r.Gaps[i].records(r.windowed)
	}
	all := read + gone
	if read == 0 {
		return 0, 0
	}
	return 100 * float64(read-open) / float64(all), 100 * float64(read) / float64(all)
}

// balance is the arithmetic in words and figures.
func (t *Totals) balance() (string, bool) {
	open := t.SourceRecords - t.TargetFirsts - t.DeadLetters - t.Dropped - t.Missing
	s := fmt.Sprintf("source %d = target firsts %d + dead letters %d + dropped %d + missing %d",
		t.SourceRecords, t.TargetFirsts, t.DeadLetters, t.Dropped, t.Missing)
	if open != 0 {
		s += fmt.Sprintf(" + not judged %d", open)
	}
	return s, open == 0
}

func (r *run) algorithm(res *Result) {
	res.Algorithm.Digest = "sha256/128 keyed, bound to the coordinate"
	res.Algorithm.Combine = "sum mod 2^128"
	res.Algorithm.FalseMatch = "2^-84"
	res.Order = Order{
		Method: "watermark per target partition and source partition, and lineage", Coverage: "all",
		Pairs: int64(len(r.Marks)), Suspects: r.Suspects, Violations: res.Findings.Reordered,
	}
	for _, s := range r.Sources {
		res.Order.Unordered += s.Unordered
	}
	if r.All != nil {
		res.Algorithm.Digest = "sha256/128 keyed"
		res.Order.Method, res.Order.Coverage = "a chain of contents of each key", r.All.orderCoverage()
		res.Order.Pairs = int64(len(r.All.Chains))
		return
	}
	if r.bitmapped {
		res.Order.Method = "bitmap of 2^20 offsets and last offset of each key, per source partition"
		res.Order.Pairs = int64(len(r.Sources))
	}
}

// verdict judges the whole.
func (r *run) verdict(res *Result) {
	f := &res.Findings
	say := func(s string, args ...any) { res.Reasons = append(res.Reasons, fmt.Sprintf(s, args...)) }
	for _, n := range []struct {
		n    int64
		what string
	}{
		{f.Missing, "missing on the target"}, {f.Extra, "on the target that the source never had"},
		{f.Corrupt, "changed"}, {f.Reordered, "out of order"}, {f.Misrouted, "in a partition where their key does not belong"},
	} {
		if n.n > 0 {
			say("%d records are %s", n.n, n.what)
		}
	}
	if f.bad() > 0 {
		res.Verdict = Inconsistent
		return
	}
	if f.Unread > 0 {
		say("%d records could not be judged", f.Unread)
	}
	if f.Unverifiable > 0 {
		say("what %d records need to be judged by is gone", f.Unverifiable)
	}
	for _, g := range r.Gaps {
		say("%s %s: %s", g.Side, g.Partition, g.Reason)
	}
	r.sayBeyond(say)
	switch {
	case r.Phase != phaseDone && !r.v.Continuous:
		say("the run is not finished")
	case r.All != nil && r.All.Reason != "":
		say("%s", r.All.Reason)
	case r.v.Quick:
		say("only ranges were compared, not records")
	case res.Totals.SourceRecords == 0:
		say("no record was read: there is nothing to judge")
	}
	res.Verdict = Consistent
	if len(res.Reasons) > 0 {
		res.Verdict = Inconclusive
	}
	sort.SliceStable(res.Samples, func(i, j int) bool { return res.Samples[i].Class < res.Samples[j].Class })
}
