package report

import (
	"fmt"
	"math"

	"github.com/kinesis-msk-bridge/bridge/verify"
)

// A Control is one thing that was computed again.
type Control struct {
	Name string `json:"name"`
	Pass bool   `json:"pass"`
	// NotChecked: this program cannot compute it again. Then Pass is false, and the report
	// may be intact.
	NotChecked bool   `json:"not_checked,omitempty"`
	Message    string `json:"message"`
}

// Failed reports whether something is not as it was made.
func (c Control) Failed() bool { return !c.Pass && !c.NotChecked }

// Check computes everything again that a report says of itself: the digest of each part
// and the root, the sums over the windows, the verdict, and the signatures. It reads
// nothing but the report.
func (r *Report) Check() ([]Control, error) {
	m, err := r.manifest()
	if err != nil {
		return nil, err
	}
	out := append(r.checkManifest(m), r.recompute()...)
	for _, a := range r.Approvals {
		c := Control{Name: "approval", Pass: true, Message: "signed by " + a.By}
		if err := a.verify(r.Root); err != nil {
			c.Pass, c.Message = false, err.Error()
		}
		out = append(out, c)
	}
	return out, nil
}

func (r *Report) checkManifest(m []Part) []Control {
	c := Control{Name: "manifest", Pass: true, Message: fmt.Sprintf("%d parts have the digest that was noted", len(m))}
	if len(m) != len(r.Manifest) {
		c.Pass, c.Message = false, fmt.Sprintf("%d parts were noted, there are %d", len(r.Manifest), len(m))
	}
	for i := 0; c.Pass && i < len(m); i++ {
		if m[i] != r.Manifest[i] {
			c.Pass, c.Message = false, fmt.Sprintf("%s was changed after the report was made", m[i].Name)
		}
	}
	root := Control{Name: "root", Pass: rootOf(m) == r.Root, Message: "the root is that of the manifest"}
	if !root.Pass {
		root.Message = fmt.Sprintf("the root is %s and not %s", rootOf(m), r.Root)
	}
	return []Control{c, root}
}

// recompute holds that the figures follow from the windows, and the verdict from them.
func (r *Report) recompute() []Control {
	return []Control{
		r.checkWindows(), r.checkTotals(), r.checkBalance(), r.checkFindings(), r.checkCoverage(), r.checkVerdict(),
	}
}

// checkWindows holds that the windows are those of the run.
func (r *Report) checkWindows() Control {
	root, err := verify.RootOf(r.Windows)
	if err != nil || root != r.Run.Root {
		return Control{Name: "windows", Message: fmt.Sprintf("the root of the windows is %s and not %s", root, r.Run.Root)}
	}
	return Control{Name: "windows", Pass: true, Message: "the root of the windows is that of the run"}
}

// A figure is a number of the report and what it comes to when computed again.
type figure struct {
	name      string
	said, sum int64
}

// compare names the first figure that does not come out.
func compare(name, good string, figures ...figure) Control {
	for _, f := range figures {
		if f.said != f.sum {
			return Control{Name: name, Message: fmt.Sprintf("%s: the report says %s, its windows come to %s",
				f.name, grouped(f.said), grouped(f.sum))}
		}
	}
	return Control{Name: name, Pass: true, Message: good}
}

func (r *Report) checkTotals() Control {
	var s verify.Totals
	for _, w := range r.Windows {
		s.SourceRecords += w.Source.Count + w.Dropped
		s.SourceBytes += w.Source.Bytes
		s.TargetFirsts += w.Firsts.Count
		s.TargetFirstBytes += w.Firsts.Bytes
		s.Repeats += w.Repeats.Count
		s.DeadLetters += w.DeadLetters.Count
		s.Dropped += w.Dropped
		s.Missing += w.Findings.Missing
	}
	t := r.Totals
	if r.Run.Mode == "content" {
		// Copies have no place of their own there: what is not missing is a first.
		s.TargetFirsts, s.Repeats = s.SourceRecords-s.Missing, t.Repeats
	}
	return compare("totals", fmt.Sprintf("the sums over %s windows are those of the report", grouped(len(r.Windows))),
		figure{"source records", t.SourceRecords, s.SourceRecords}, figure{"source bytes", t.SourceBytes, s.SourceBytes},
		figure{"target firsts", t.TargetFirsts, s.TargetFirsts}, figure{"bytes of target firsts", t.TargetFirstBytes, s.TargetFirstBytes},
		figure{"repeats", t.Repeats, s.Repeats}, figure{"dead letters", t.DeadLetters, s.DeadLetters},
		figure{"declared drops", t.Dropped, s.Dropped})
}

// checkBalance does the sum of the report again.
func (r *Report) checkBalance() Control {
	t := r.Totals
	open := openRecords(t)
	c := Control{Name: "balance", Pass: (open == 0) == t.Balanced, Message: "the sum was done again"}
	if !c.Pass {
		c.Message = fmt.Sprintf("balanced: %s, but the sum leaves %s of %s source records open",
			yesNo(t.Balanced), grouped(open), grouped(t.SourceRecords))
	}
	return c
}

// openRecords is how many source records nothing accounts for.
func openRecords(t verify.Totals) int64 {
	return t.SourceRecords - t.TargetFirsts - t.DeadLetters - t.Dropped - t.Missing
}

// checkFindings holds that no finding of a window is left out. There can be more of them:
// a record without provenance stands in no window.
func (r *Report) checkFindings() Control {
	var s verify.Findings
	for _, w := range r.Windows {
		f := w.Findings
		s.Missing += f.Missing
		s.Extra += f.Extra
		s.Corrupt += f.Corrupt
		s.Duplicate += f.Duplicate
		s.Reordered += f.Reordered
		s.Misrouted += f.Misrouted
		s.Rewind += f.Rewind
		s.Unread += f.Unread
		s.Unverifiable += f.Unverifiable
	}
	for _, c := range classes {
		if said, sum := countOf(r.Findings, c), countOf(s, c); said < sum {
			return Control{Name: "findings", Message: fmt.Sprintf("%s: the report says %s, its windows come to %s", c, grouped(said), grouped(sum))}
		}
	}
	return Control{Name: "findings", Pass: true, Message: "no finding of a window is left out"}
}

func (r *Report) checkCoverage() Control {
	var s verify.Coverage
	for _, w := range r.Windows {
		s.Windows++
		switch w.Verdict {
		case verify.Consistent:
			s.Consistent++
		case verify.Inconsistent:
			s.Inconsistent++
		default:
			s.Inconclusive++
		}
	}
	c := r.Coverage
	out := compare("coverage", "the verdicts of the windows are those of the report",
		figure{"windows", int64(c.Windows), int64(s.Windows)}, figure{"consistent", int64(c.Consistent), int64(s.Consistent)},
		figure{"inconsistent", int64(c.Inconsistent), int64(s.Inconsistent)},
		figure{"inconclusive", int64(c.Inconclusive), int64(s.Inconclusive)})
	if out.Pass && (c.Percent < 0 || c.Percent > 100 || math.IsNaN(c.Percent) || c.Percent == 100 && s.Inconclusive > 0) {
		out.Pass, out.Message = false, fmt.Sprintf("%v %% cannot be with %s inconclusive windows", c.Percent, grouped(s.Inconclusive))
	}
	return out
}

// checkVerdict holds that the verdict is no better than its figures allow. A worse one may
// have reasons that the figures do not show.
func (r *Report) checkVerdict() Control {
	bad := func(format string, args ...any) Control {
		return Control{Name: "verdict", Message: fmt.Sprintf(format, args...)}
	}
	code, known := exitCodes[r.Verdict]
	c := r.Coverage
	open := c.Inconclusive > 0 || len(c.Uncovered) > 0 || r.Findings.Unread > 0 || r.Findings.Unverifiable > 0 || c.Percent < 100
	switch {
	case !known || code != r.ExitCode:
		return bad("%q does not go with exit code %d", r.Verdict, r.ExitCode)
	case r.Verdict == verify.Inconsistent:
	case differences(r.Findings) > 0 || c.Inconsistent > 0:
		return bad("%s, with %s differences in %s windows", r.Verdict, grouped(differences(r.Findings)), grouped(c.Inconsistent))
	case r.Verdict == verify.Consistent && (open || c.Windows == 0):
		return bad("consistent, and not everything was judged")
	case r.Verdict == verify.Consistent && (!r.Totals.Balanced || r.Order.Violations > 0 || r.Run.State != "done" || r.Run.Kind == "quick"):
		return bad("consistent, with an open balance, broken order, or a run that was not finished")
	case r.Verdict == verify.Consistent && c.Beyond.Known && len(c.Beyond.Parts) > 0 && !c.Beyond.Explained:
		return bad("consistent, and the source held records behind the scope that the mirror's lag does not explain")
	}
	return Control{Name: "verdict", Pass: true, Message: "the verdict follows from the figures"}
}
