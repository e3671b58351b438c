package report

import (
	"fmt"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/verify"
)

func (r *Report) coverageSection(bins int) section {
	t := table{Caption: "Ranges that were not judged", Head: []string{"side", "partition", "behind", "up to", "class", "reason"},
		Empty: "Nothing in scope was left out."}
	for _, u := range r.Coverage.Uncovered {
		t.row(unsure, data(u.Side), data(u.Partition), position(u.After, "its beginning"), position(u.Through, "not known"),
			data(u.Class), prose(u.Reason))
	}
	holes := r.holes()
	for _, w := range r.Windows {
		if w.Verdict == verify.Inconclusive && !listed(w, holes[w.Partition]) {
			t.row(unsure, "source", data(w.Partition), position(w.After, "its beginning"), position(w.Through, "not known"), "", prose(w.Reason))
		}
	}
	if len(t.Rows) == 0 && r.Coverage.Windows == 0 {
		t.Empty = "No window was read at all."
	}
	s := section{ID: "coverage", Title: "Coverage", Chart: r.chartOf(bins), Tables: []table{t}}
	s.Facts = []fact{
		{Label: "judged", Line: say(percent(r.Coverage.Percent) + " of the records in scope")},
		{Label: "independent", Line: say(percent(r.Coverage.Independent) + " of the records were read from both systems by the verification itself")},
	}
	if n := len(r.Through); n > 0 {
		s.Facts = append(s.Facts, fact{Label: "verified through", Line: say(counted(n, "partition") + "; the table of ranges says how far")})
	}
	return s
}

// holes are the uncovered ranges of the source, by partition.
func (r *Report) holes() map[string][]verify.Uncovered {
	out := map[string][]verify.Uncovered{}
	for _, u := range r.Coverage.Uncovered {
		if u.Side == "source" {
			out[u.Partition] = append(out[u.Partition], u)
		}
	}
	return out
}

// listed reports whether one of the holes says already what window w would.
func listed(w verify.Window, holes []verify.Uncovered) bool {
	for _, u := range holes {
		if !u.After.After(w.After) && (u.Through.IsZero() || !w.Through.After(u.Through)) {
			return true
		}
	}
	return false
}

// position names a place, or what a zero one stands for.
func position(p bridge.Position, zero string) any {
	if p.IsZero() {
		return zero
	}
	return data(p.String())
}

func (r *Report) scopeSection() section {
	s := r.Scope
	sec := section{ID: "scope", Title: "Scope and fences", Facts: []fact{
		{Label: "source", Line: say(data(s.Source.String()))},
		{Label: "target", Line: say(data(s.Target.String()))},
		{Label: "scope", Line: say(r.scopeSentence()), Mood: gateMood(r.scopeGate())},
		{Label: "from", Line: r.fromLine()},
		{Label: "to", Line: say(data(s.To))},
		{Label: "source partitions", Line: say(fmt.Sprintf("%s, %s of them ended in scope", grouped(s.Shards), grouped(s.Closed)))},
		{Label: "target partitions", Line: say(grouped(s.TargetPartitions))},
		{Label: "keys", Line: say(keysInScope(s.Keys))},
		{Label: "settled", Line: say(fmt.Sprintf("a difference counts if it is still there %s later", s.Settle))},
		{Label: "fence", Line: r.fenceLine()},
	}}
	if len(s.Partitions) > 0 {
		sec.Notes = append(sec.Notes, say(fmt.Sprintf("Only %s of the source were asked for.", counted(len(s.Partitions), "partition"))))
	}
	if len(r.Coverage.Beyond.Parts) > 0 {
		sec.Tables = append(sec.Tables, r.beyondTable())
	}
	for _, side := range []struct {
		name  string
		marks []verify.FenceMark
	}{{"source", r.Fence.Source}, {"target", r.Fence.Target}} {
		t := table{Caption: "Fence of the " + side.name, Head: []string{"partition", "last position judged", "ended"},
			Empty: "The " + side.name + " has no fence."}
		for _, m := range side.marks {
			t.row(neutral, data(m.Partition), position(m.Position, "nothing in it"), yesNo(m.Ended))
		}
		sec.Tables = append(sec.Tables, t)
	}
	return sec
}

// fromLine says where the scope begins.
func (r *Report) fromLine() line {
	l := say(data(r.Scope.From))
	if !r.Scope.Start.IsZero() {
		l = say(l, "; the workflow began to read at "+stamp(r.Scope.Start)+", what arrived before is out of scope")
	}
	if n := r.Coverage.BeforeStart; n > 0 {
		l = say(l, "; "+counted(n, "record")+" of the target stood before it in the source")
	}
	return l
}

// beyondTable lists what the source held behind the scope.
func (r *Report) beyondTable() table {
	t := table{Caption: "Behind the scope, by partition of the source", Head: []string{"partition", "behind", "records", "read by the mirror", "remark"},
		Figures: []bool{false, false, true, false, false}}
	for _, p := range r.Coverage.Beyond.Parts {
		t.row(gateMood(r.scopeGate()), data(p.Partition), position(p.After, "its beginning"), verify.Word(p.Count)+grouped(p.Records), yesNo(p.Seen), prose(p.Reason))
	}
	return t
}

func (r *Report) rangesSection() section {
	src := table{Caption: "Source, by partition", Figures: []bool{false, false, false, false, false, true, true, true, true},
		Head:  []string{"partition", "behind", "up to", "first record", "last record", "records", "bytes", "firsts on target", "repeats"},
		Empty: "Nothing was read of the source."}
	for _, p := range r.sourceRanges() {
		src.row(p.mood, data(p.Partition), position(p.After, "its beginning"), position(p.Through, "nothing"), stamp(p.From), stamp(p.To),
			grouped(p.Source.Count), grouped(p.Source.Bytes), grouped(p.Firsts.Count), grouped(p.Repeats.Count))
	}
	dst := table{Caption: "Target, by partition", Head: []string{"partition", "first read", "last read", "records", "bytes"},
		Figures: []bool{false, false, false, true, true}, Empty: "Nothing was read of the target."}
	for _, t := range r.Targets {
		dst.row(neutral, data(t.Partition), position(t.From, "nothing"), position(t.To, "nothing"), grouped(t.Records), grouped(t.Bytes))
	}
	s := section{ID: "ranges", Title: "Ranges on both sides", Tables: []table{src, dst}}
	if len(r.Through) > 0 {
		t := table{Caption: "Verified through", Head: []string{"partition", "position", "record time"}}
		for _, w := range r.Through {
			t.row(neutral, data(w.Partition), position(w.Position, "nothing yet"), stamp(w.Time))
		}
		s.Tables = append(s.Tables, t)
	}
	return s
}

// A sourceRange is all windows of one partition.
type sourceRange struct {
	verify.Window
	mood mood
}

// sourceRanges adds up the windows of each partition, in the order of the windows.
func (r *Report) sourceRanges() []*sourceRange {
	var out []*sourceRange
	at := map[string]*sourceRange{}
	for _, w := range r.Windows {
		p := at[w.Partition]
		if p == nil {
			p = &sourceRange{Window: verify.Window{Partition: w.Partition, After: w.After, From: w.From}, mood: good}
			at[w.Partition], out = p, append(out, p)
		}
		p.Through, p.To = w.Through, w.To
		p.Source.Count += w.Source.Count
		p.Source.Bytes += w.Source.Bytes
		p.Firsts.Count += w.Firsts.Count
		p.Repeats.Count += w.Repeats.Count
		if m := moodOf(w.Verdict); m == bad || m == unsure && p.mood == good {
			p.mood = m
		}
	}
	return out
}

func (r *Report) countsSection() section {
	t := r.Totals
	sum := table{Caption: "What became of every source record", Head: []string{"what", "records", "bytes"}, Figures: []bool{false, true, true}}
	sum.row(neutral, "source records", grouped(t.SourceRecords), grouped(t.SourceBytes))
	sum.row(neutral, "target, first occurrences", grouped(t.TargetFirsts), grouped(t.TargetFirstBytes))
	sum.row(neutral, "+ dead letters", grouped(t.DeadLetters), "")
	sum.row(neutral, "+ declared drops", grouped(t.Dropped), "")
	sum.row(neutral, "+ missing", grouped(t.Missing), "")
	sum.row(passMood(t.Balanced), "= accounted for", grouped(t.SourceRecords-openRecords(t)), "")
	target := table{Caption: "What stands on the target", Head: []string{"what", "records"}, Figures: []bool{false, true}}
	target.row(neutral, "all records read, with repeats", grouped(t.TargetRecords))
	target.row(neutral, "first occurrences", grouped(t.TargetFirsts))
	target.row(neutral, "repeats", grouped(t.Repeats))
	target.row(neutral, "on the target only (extra)", grouped(t.Extra))
	target.row(neutral, "without provenance of this workflow", grouped(t.Foreign))
	return section{ID: "counts", Title: "Counts", Tables: []table{sum, target}, Facts: []fact{
		{Label: "balance", Line: say(prose(t.Balance)), Mood: passMood(t.Balanced)},
		{Label: "read", Line: say(fmt.Sprintf("%s bytes from the source, %s bytes from the target, second reads included",
			grouped(t.SourceRead), grouped(t.TargetRead)))},
	}}
}
