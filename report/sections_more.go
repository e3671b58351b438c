package report

import (
	"fmt"
	"strings"

	"github.com/kinesis-msk-bridge/bridge/verify"
)

func (r *Report) orderSection() section {
	o, f := r.Order, r.Findings
	return section{ID: "order", Title: "Order and repeats", Facts: []fact{
		{Label: "method", Line: say(prose(o.Method))},
		{Label: "keys covered", Line: say(data(o.Coverage), ", "+grouped(o.Pairs)+" pairs watched")},
		{Label: "suspects", Line: say(grouped(o.Suspects) + " read again")},
		{Label: "result", Line: say(counted(o.Violations, "violation")), Mood: passMood(o.Violations == 0)},
		{Label: "without order", Line: say(counted(o.Unordered, "record") + " whose key has no order to keep")},
		{Label: "repeats", Line: say(fmt.Sprintf("%s, %s: copies behind the first occurrence, which stands in order",
			counted(f.Duplicate, "duplicate record"), counted(f.Rewind, "rewind")))},
	}}
}

// classWords say what a class means.
var classWords = map[verify.Class]string{
	verify.Missing:      "on the source, and nowhere on the target or in the dead letters",
	verify.Extra:        "on the target, and not on the source",
	verify.Corrupt:      "the same record with another content",
	verify.Reordered:    "first occurrences of a key in another order than on the source",
	verify.Misrouted:    "in another partition than its key's",
	verify.Unread:       "should have been read and was not",
	verify.Unverifiable: "what the judgement needed is gone",
	verify.Duplicate:    "there again",
	verify.Rewind:       "a run of records there again in its old order",
}

// countOf is the number of findings of one class.
func countOf(f verify.Findings, c verify.Class) int64 {
	return map[verify.Class]int64{
		verify.Missing: f.Missing, verify.Extra: f.Extra, verify.Corrupt: f.Corrupt, verify.Reordered: f.Reordered,
		verify.Misrouted: f.Misrouted, verify.Unread: f.Unread, verify.Unverifiable: f.Unverifiable,
		verify.Duplicate: f.Duplicate, verify.Rewind: f.Rewind,
	}[c]
}

func (r *Report) findingsSection() section {
	t := table{Caption: "Findings by class", Head: []string{"class", "found", "meaning"}, Figures: []bool{false, true, false}}
	for _, c := range classes {
		m, n := good, countOf(r.Findings, c)
		switch {
		case n > 0 && (c == verify.Unread || c == verify.Unverifiable):
			m = unsure
		case n > 0 && (c == verify.Duplicate || c == verify.Rewind):
			m = neutral
		case n > 0:
			m = bad
		}
		t.row(m, string(c), grouped(n), classWords[c])
	}
	s := section{ID: "findings", Title: "Findings", Tables: []table{t, r.samplesTable()}}
	s.Notes = []line{say("Keys stand here as keyed hashes, which only the workflow's key can make. Values stand nowhere in this report.")}
	if r.KeysRevealed {
		s.Notes = []line{say("Keys were revealed on request: those that were named stand here in clear. Values stand nowhere in this report.")}
	}
	return s
}

func (r *Report) samplesTable() table {
	t := table{Caption: fmt.Sprintf("Samples, up to %d of a class", r.Scope.MaxSamples),
		Head: []string{"class", "source", "target", "key", "what", "remark"}, Empty: "There is nothing to show."}
	for _, s := range r.Samples {
		m := bad
		switch s.Class {
		case verify.Unread, verify.Unverifiable:
			m = unsure
		case verify.Duplicate, verify.Rewind:
			m = neutral
		}
		t.add(m, say(data(s.Class)), place(s.Source), place(s.Target), s.keyLine(), s.whatLine(), s.remark())
	}
	return t
}

func place(p verify.Place) line {
	if p.IsZero() {
		return say("nowhere")
	}
	return say(data(p.Partition), " at ", position(p.Position, "its beginning"))
}

func (s Sample) keyLine() line {
	switch {
	case s.Name != "":
		return say(data("key " + s.Name))
	case s.Key == "":
		return say("none")
	}
	return say(data("#" + s.Key))
}

func (s Sample) whatLine() line {
	return say(data(strings.Join(s.What, ", ")))
}

func (s Sample) remark() line {
	var l line
	if s.Records > 1 {
		l = say(l, counted(s.Records, "record")+"; ")
	}
	if !s.Other.IsZero() {
		l = say(l, "other place ", place(s.Other), "; ")
	}
	if s.Expected != "" {
		l = say(l, "belongs in partition ", data(s.Expected), "; ")
	}
	l = say(l, prose(s.Reason))
	if n := len(l); n > 0 && s.Reason == "" {
		l[n-1].Text = strings.TrimSuffix(l[n-1].Text, "; ")
	}
	return l
}

func (r *Report) lossSection() section {
	d := r.DeadLetters
	s := section{ID: "losses", Title: "Dead letters and accepted losses", Facts: []fact{
		{Label: "dead letters", Line: say(counted(r.Totals.DeadLetters, "record"))},
	}}
	if d.Place != "" {
		s.Facts = append(s.Facts, fact{Label: "kept in", Line: say(data(d.Place))})
	}
	if d.Policy != "" {
		s.Facts = append(s.Facts, fact{Label: "policy", Line: say(prose(d.Policy))})
	}
	s.Facts = append(s.Facts, fact{Label: "declared drops", Line: say(counted(r.Totals.Dropped, "record"))})
	lost := say("none: whatever a record carries was compared")
	if len(r.Scope.AcceptLoss) > 0 {
		lost = say(data(strings.Join(r.Scope.AcceptLoss, ", ")), ": accepted by name in the configuration, and not compared")
	}
	s.Facts = append(s.Facts, fact{Label: "accepted losses", Line: lost},
		fact{Label: "record time", Line: say(map[bool]string{true: "compared", false: "not compared"}[r.Scope.RecordTime])})
	return s
}

func (r *Report) translationSection() section {
	if len(r.Translations) == 0 {
		return section{}
	}
	t := table{Caption: "Consumers, each with its newest plan", Head: []string{"consumer", "status", "from", "to", "records again", "dead letters left", "remark"},
		Figures: []bool{false, false, false, false, true, true, false}}
	for _, p := range r.Translations {
		m, again := unsure, grouped(p.Replayed)
		if p.Exact && p.Unconsumed == 0 {
			m = good
		}
		if !p.Exact {
			again = "at least " + again
		}
		remark := say("made "+stamp(p.At)+", plan ", data(p.Plan))
		if p.Reason != "" {
			remark = say(remark, "; ", prose(p.Reason))
		}
		t.add(m, say(data(p.Consumer)), say(data(p.Status)), say(data(p.From)), say(data(p.To)), say(again), say(grouped(p.Unconsumed)), remark)
	}
	return section{ID: "translations", Title: "Position translations", Tables: []table{t},
		Notes: []line{say("Records again are those that the consumer has consumed and gets once more; dead letters left are those that it has not consumed and does not find on the other side.")}}
}

func (r *Report) mirrorSection() section {
	m := r.Mirror
	s := section{ID: "mirror", Title: "The mirror's own account"}
	if !m.Known {
		s.Notes = []line{say("Nobody was asked. The verdict does not need it.")}
		return s
	}
	c := m.Counts
	s.Facts = []fact{
		{Label: "phase", Line: say(data(m.Phase))},
		{Label: "counts", Mood: passMood(m.Balanced), Line: say(fmt.Sprintf(
			"read %s, written %s, already present %s, dead-lettered %s, dropped by policy %s, loop-skipped %s",
			grouped(c.Read), grouped(c.Written), grouped(c.Present), grouped(c.DeadLettered), grouped(c.Dropped), grouped(c.LoopSkipped)))},
		{Label: "foreign, rewinds", Line: say(fmt.Sprintf("%s with copied provenance, %s copies that landed after the first",
			counted(c.Foreign, "record"), grouped(c.Rewind)))},
		{Label: "checkpoint", Line: say(stamp(m.CheckpointAt))},
		{Label: "lag", Line: say(number(m.LagSeconds, "s"))},
		{Label: "fenced", Line: say(yesNo(m.Fenced)), Mood: passMood(m.Fenced)},
	}
	if m.Unfenced != "" {
		s.Facts[len(s.Facts)-1].Line = say("no: ", prose(m.Unfenced))
	}
	s.Notes = []line{say("It is shown beside the verdict and is no part of its proof.")}
	return s
}

// number is a measure that may not be known.
func number(v *float64, unit string) string {
	if v == nil {
		return "not known"
	}
	return fmt.Sprintf("%.1f %s", *v, unit)
}

func (r *Report) gatesSection() section {
	t := table{Caption: "Gates", Head: []string{"gate", "holds", "value", "limit", "can be waived", "meaning"}}
	for _, g := range r.Gates {
		t.row(gateMood(g), data(g.Name), g.holds(), data(g.Value), data(g.Limit), yesNo(!g.Data), prose(g.Message))
	}
	w := table{Caption: "Waivers", Head: []string{"gate", "by", "at", "reason"}, Empty: "Nothing was waived."}
	for _, x := range r.Waivers {
		w.row(unsure, data(x.Gate), data(x.By), stamp(x.At), prose(x.Reason))
	}
	return section{ID: "gates", Title: "Gates and waivers", Tables: []table{t, w}}
}

func (r *Report) rollbackSection() section {
	b := r.Rollback
	ready := say(yesNo(b.Ready))
	if b.Reason != "" {
		ready = say(yesNo(b.Ready)+": ", prose(b.Reason))
	}
	m := good
	if !b.Ready {
		m = unsure
	}
	return section{ID: "rollback", Title: "Rollback readiness", Facts: []fact{
		{Label: "ready", Line: ready, Mood: m},
		{Label: "until the source forgets what was not judged", Line: say(number(b.HeadroomHours, "h"))},
	}}
}

func (r *Report) methodSection() section {
	a := r.Algorithm
	return section{ID: "method", Title: "How it was compared, and with what", Facts: []fact{
		{Label: "digest", Line: say(data(a.Digest), ", combined by ", data(a.Combine))},
		{Label: "cells", Line: say(grouped(a.Cells) + ", " + grouped(a.Drilled) + " of them read record by record")},
		{Label: "false match", Line: say("at most ", data(a.FalseMatch))},
		{Label: "decoders", Line: say(data(r.Scope.Decoders))},
		{Label: "format", Line: say(data(r.Scope.Format))},
		{Label: "keymap", Line: say(data(r.Keymap))},
		{Label: "run", Line: say(data(r.Run.ID), ", started "+stamp(r.Run.StartedAt)+", finished "+stamp(r.Run.FinishedAt))},
		{Label: "root of the windows", Line: say(data(r.Run.Root))},
		{Label: "tool", Line: say(data(r.Tool))},
		{Label: "configuration", Line: say(orWords(r.Config, "not known"))},
		{Label: "plan", Line: say(orWords(r.Plan, "there was none"))},
		{Label: "report", Line: say(data(r.ID), ", made "+stamp(r.CreatedAt)+", form ", data(r.Schema))},
	}}
}

// orWords is data, or words if there is none.
func orWords(s, words string) any {
	if s == "" {
		return words
	}
	return data(s)
}

func (r *Report) approvalSection() section {
	t := table{Caption: "Approvals over the root", Head: []string{"by", "at", "note", "key"}, Empty: "Nobody signed yet."}
	for _, a := range r.Approvals {
		t.row(neutral, data(a.By), stamp(a.At), prose(a.Note), data(a.Key))
	}
	return section{ID: "approvals", Title: "Approvals", Tables: []table{t}, Facts: []fact{
		{Label: "root", Line: say(data(r.Root))},
		{Label: "valid until", Line: say(stamp(r.ValidUntil))},
	}, Notes: []line{say("bridge report check FILE does all sums again and holds every signature against the root. Whose key it is must be known from elsewhere.")}}
}
