package report

import (
	"fmt"
	"strings"

	"github.com/kinesis-msk-bridge/bridge/verify"
)

// document puts the report into words.
func (r *Report) document(bins int) *document {
	d := &document{
		title:    say("Consistency report: ", data(r.Workflow)),
		mood:     moodOf(r.Verdict),
		verdict:  strings.ToUpper(plain(string(r.Verdict))),
		headline: r.headline(),
		summary:  r.summary(),
		overTime: r.overTime(),
	}
	for _, s := range r.Reasons {
		d.reasons = append(d.reasons, say(prose(s)))
	}
	for _, s := range []section{
		r.coverageSection(bins), r.findingsSection(), r.countsSection(), r.scopeSection(), r.rangesSection(), r.orderSection(),
		r.lossSection(), r.translationSection(), r.mirrorSection(), r.gatesSection(), r.rollbackSection(),
		r.methodSection(), r.approvalSection(),
	} {
		if s.Title != "" {
			d.sections = append(d.sections, s)
		}
	}
	return d
}

func moodOf(v verify.Verdict) mood {
	switch v {
	case verify.Consistent:
		return good
	case verify.Inconsistent:
		return bad
	}
	return unsure
}

func passMood(pass bool) mood {
	if pass {
		return good
	}
	return bad
}

// headline is the verdict in a sentence, with what lies beyond its scope.
func (r *Report) headline() line {
	l := r.verdictLine()
	if len(r.Coverage.Beyond.Parts) > 0 {
		l = say(l, " Scope: "+r.scopeSentence()+".")
	}
	return l
}

func (r *Report) verdictLine() line {
	n := counted(r.Totals.SourceRecords, "source record")
	switch r.Verdict {
	case verify.Consistent:
		accounted := "on the target"
		if r.Totals.DeadLetters+r.Totals.Dropped > 0 {
			accounted = "on the target, or listed as not carried"
		}
		return say("Each of the " + n + " in scope is " + accounted + ", unchanged and in order.")
	case verify.Inconsistent:
		return say(fmt.Sprintf("The two sides differ in %s of %s in scope. Each difference survived a second read.",
			counted(differences(r.Findings), "record"), n))
	}
	return say(fmt.Sprintf("No difference was confirmed, but not everything in scope was judged: %s of the records were.",
		percent(r.Coverage.Percent)))
}

// summary is the first screen.
func (r *Report) summary() []fact {
	c := r.Coverage
	facts := []fact{
		{Label: "scope", Line: r.scopeLine(), Mood: gateMood(r.scopeGate())},
		{Label: "workflow", Line: say(data(r.Workflow), ", ", data(r.Direction), ", run ", data(r.Run.ID), " (", data(r.Run.Kind), ", ", data(r.Run.Mode), " mode)")},
		{Label: "source", Line: say(data(r.Scope.Source.String()))},
		{Label: "target", Line: say(data(r.Scope.Target.String()))},
		{Label: "fence", Line: r.fenceLine(), Mood: gateMood(r.stragglersGate())},
		{Label: "coverage", Line: say(fmt.Sprintf("%s of the records; windows: %s agree, %s differ, %s not judged", percent(c.Percent),
			grouped(c.Consistent), grouped(c.Inconsistent), grouped(c.Inconclusive))), Mood: r.coverageMood()},
		{Label: "counts", Line: r.balanceLine(), Mood: passMood(r.Totals.Balanced)},
		{Label: "differences", Line: r.differencesLine(), Mood: passMood(differences(r.Findings) == 0)},
		{Label: "order", Line: say(counted(r.Order.Violations, "violation")+", ", data(r.Order.Coverage), " of the keys; repeats: "+grouped(r.Findings.Duplicate)+" duplicate, "+counted(r.Findings.Rewind, "rewind")),
			Mood: passMood(r.Order.Violations == 0)},
		{Label: "gates", Line: r.gatesLine(), Mood: r.gatesMood()},
	}
	for _, s := range r.Remarks {
		facts = append(facts, fact{Label: "remark", Line: say(prose(s)), Mood: unsure})
	}
	return append(facts,
		fact{Label: "valid until", Line: say(stamp(r.ValidUntil) + ", as of " + stamp(r.judgedAt()))},
		fact{Label: "approved", Line: r.approvedLine()},
		fact{Label: "root", Line: say(data(r.Root))})
}

// scopeLine says how much of the source is in scope, and between what.
func (r *Report) scopeLine() line {
	l := say(r.scopeSentence()+"; from ", data(r.Scope.From), " to ", data(r.Scope.To))
	if r.Scope.Keys > 0 {
		l = say(l, ", "+keysInScope(r.Scope.Keys))
	}
	return l
}

func keysInScope(n int) string {
	if n == 0 {
		return "all keys"
	}
	return counted(n, "chosen key")
}

func (r *Report) coverageMood() mood {
	switch c := r.Coverage; {
	case c.Inconsistent > 0:
		return bad
	case c.Inconclusive > 0 || len(c.Uncovered) > 0 || c.Windows == 0:
		return unsure
	}
	return good
}

func (r *Report) fenceLine() line {
	if r.Fence.TakenAt.IsZero() {
		return say("none was taken")
	}
	text := "taken " + stamp(r.Fence.TakenAt)
	if r.Fence.Watched > 0 {
		return say(text + fmt.Sprintf(", %s within %s", counted(r.Fence.Stragglers, "straggler"), r.Fence.Watched))
	}
	return say(text + ", not watched for stragglers")
}

// balanceLine is the sum in figures.
func (r *Report) balanceLine() line {
	t := r.Totals
	sign := "="
	if !t.Balanced {
		sign = "≠"
	}
	text := fmt.Sprintf("source %s %s target firsts %s + dead letters %s + declared drops %s + missing %s",
		grouped(t.SourceRecords), sign, grouped(t.TargetFirsts), grouped(t.DeadLetters), grouped(t.Dropped), grouped(t.Missing))
	if open := openRecords(t); open != 0 {
		text += "; not accounted for: " + grouped(open)
	}
	return say(text)
}

func (r *Report) differencesLine() line {
	f := r.Findings
	return say(fmt.Sprintf("missing %s, extra %s, corrupt %s, reordered %s, misrouted %s",
		grouped(f.Missing), grouped(f.Extra), grouped(f.Corrupt), grouped(f.Reordered), grouped(f.Misrouted)))
}

func (r *Report) gatesLine() line {
	held, broken, unknown := 0, line{}, line{}
	add := func(l line, name string) line {
		if len(l) == 0 {
			return say(data(name))
		}
		return say(l, ", ", data(name))
	}
	for _, g := range r.Gates {
		switch {
		case g.Pass:
			held++
		case g.CannotTell:
			unknown = add(unknown, g.Name)
		default:
			broken = add(broken, g.Name)
		}
	}
	out := say(fmt.Sprintf("%d of %d hold", held, len(r.Gates)))
	if len(broken) > 0 {
		out = say(out, "; not: ", broken)
	}
	if len(unknown) > 0 {
		out = say(out, "; cannot tell: ", unknown)
	}
	return out
}

func (r *Report) gatesMood() mood {
	worst := good
	for _, g := range r.Gates {
		switch gateMood(g) {
		case bad:
			return bad
		case unsure:
			worst = unsure
		}
	}
	return worst
}

// gateMood is bad for a gate that does not hold, and unsure for one of which nobody can tell.
func gateMood(g Gate) mood {
	if g.CannotTell {
		return unsure
	}
	return passMood(g.Pass)
}

// holds is a word for whether a gate holds.
func (g Gate) holds() string {
	if g.CannotTell {
		return "cannot tell"
	}
	return yesNo(g.Pass)
}

func (r *Report) approvedLine() line {
	if len(r.Approvals) == 0 {
		return say("by nobody yet")
	}
	l := say("by ")
	for i, a := range r.Approvals {
		if i > 0 {
			l = say(l, ", ")
		}
		l = say(l, data(a.By), " on "+stamp(a.At))
	}
	return l
}

// overTime is the coverage map in one line, every partition laid over the others.
func (r *Report) overTime() string {
	c := r.chartOf(textBins)
	if c == nil {
		return "nothing was read"
	}
	return "[" + drawn(c.overall()) + "]"
}
