package report

import (
	"fmt"

	"github.com/kinesis-msk-bridge/bridge/verify"
)

// differences counts the findings that make a run inconsistent.
func differences(f verify.Findings) int64 {
	return f.Missing + f.Extra + f.Corrupt + f.Reordered + f.Misrouted
}

// ownGates are the conditions that the verification itself can answer. All but the last
// guard data.
func (r *Report) ownGates() []Gate {
	c, o := r.Coverage, r.Order
	whole := c.Inconclusive == 0 && len(c.Uncovered) == 0 && c.Windows == c.Consistent+c.Inconsistent
	stock := r.Scope.Decoders == "stock"
	return []Gate{
		r.scopeGate(),
		{Name: "differences", Pass: differences(r.Findings) == 0, Data: true,
			Value: fmt.Sprintf("%s records", grouped(differences(r.Findings))), Limit: "0 records",
			Message: "missing, extra, corrupt, reordered or misrouted"},
		{Name: "coverage", Pass: whole, Data: true, Value: percent(c.Percent), Limit: "100 %",
			Message: "of the records in scope were judged"},
		{Name: "balance", Pass: r.Totals.Balanced, Data: true, Value: yesNo(r.Totals.Balanced), Limit: "yes",
			Message: "every source record is accounted for"},
		{Name: "order", Pass: o.Violations == 0 && o.Coverage == "all", Data: true,
			Value: fmt.Sprintf("%s of keys, %s violations", o.Coverage, grouped(o.Violations)), Limit: "all of keys, 0 violations"},
		r.stragglersGate(),
		{Name: "independent", Pass: c.Independent >= 100, Data: true, Value: percent(c.Independent), Limit: "100 %",
			Message: "of the records were read from both systems by the verification itself"},
		{Name: "decoders", Pass: stock, Value: r.Scope.Decoders, Limit: "stock",
			Message: "what the verification shares with the mirror"},
	}
}

// scopeGate holds that the source held nothing more than the run looked at, but for what a
// mirror at work had not come to yet.
func (r *Report) scopeGate() Gate {
	b := &r.Coverage.Beyond
	return Gate{
		Name: "scope", Pass: b.Known && (len(b.Parts) == 0 || b.Explained), CannotTell: !b.Known, Data: true,
		Value: r.scopeSentence(), Limit: "all that the mirror's lag does not explain",
		Message: "what the source held when the run began",
	}
}

// scopeSentence says how much of the source is in scope.
func (r *Report) scopeSentence() string {
	n := r.Totals.SourceRecords
	if r.Run.Kind == "quick" {
		n = -1
	}
	s := r.Coverage.Beyond.Sentence(n)
	if !r.Coverage.Beyond.Known {
		s += "; what lies beyond was not asked for"
	}
	return s
}

// stragglersGate holds that nothing came behind the fence. Only a final run looks.
func (r *Report) stragglersGate() Gate {
	g := Gate{Name: "stragglers", Data: true, Limit: "0", Message: "records behind the fence", Value: grouped(r.Fence.Stragglers)}
	g.CannotTell = r.Fence.Watched <= 0
	if g.Pass = r.Fence.Stragglers == 0 && !g.CannotTell; g.CannotTell {
		g.Value, g.Message = "not watched", "records behind the fence; only a final run watches for them"
	}
	return g
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// percent never rounds up to 100.
func percent(p float64) string {
	if p >= 100 {
		return "100 %"
	}
	if s := fmt.Sprintf("%.2f", p); s != "100.00" {
		return s + " %"
	}
	return "99.99 %"
}

// grouped writes 1234567 as 1,234,567.
func grouped[N int | int64](n N) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
