package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/kinesis-msk-bridge/bridge/positions"
)

// An offsetsResult is what the offsets commands print. Sequence numbers are strings.
type offsetsResult struct {
	Plan     string            `json:"plan"` // its hash
	Workflow string            `json:"workflow"`
	Consumer string            `json:"consumer"`
	Way      string            `json:"way"`
	From     string            `json:"from"`
	To       string            `json:"to"`
	Status   string            `json:"status"`
	Old      []positionLine    `json:"old"`
	New      []positionLine    `json:"new"`
	Replays  int64             `json:"replays"`
	Copies   int64             `json:"copies"`
	Exact    bool              `json:"exact"` // Replays and Copies are; the positions always are
	Letters  int               `json:"unconsumed_dead_letters"`
	Before   int64             `json:"before_start,omitempty"` // unconsumed, and older than the workflow's start
	Read     int64             `json:"records_read"`
	Counted  int64             `json:"records_read_to_count"`
	Cut      map[string]string `json:"cut,omitempty"`
}

type positionLine struct {
	Partition string `json:"partition"`
	Position  string `json:"position"`
	Replays   int64  `json:"replays"`
	Copies    int64  `json:"copies"`
	Known     bool   `json:"known"`
}

func positionLines(lines []positions.Line, offsets map[string]int64) []positionLine {
	out := []positionLine{}
	for _, l := range lines {
		p := positionLine{Partition: l.Partition, Position: l.Bound.String(), Replays: l.Replays, Copies: l.Copies, Known: l.Known}
		if n, ok := offsets[l.Partition]; ok {
			p.Position = "offset " + strconv.FormatInt(n, 10)
		}
		if !l.Known {
			p.Position = "not known"
		}
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b positionLine) int {
		return cmp.Or(cmp.Compare(len(a.Partition), len(b.Partition)), cmp.Compare(a.Partition, b.Partition))
	})
	return out
}

func (m *move) result(status string) offsetsResult {
	h, _ := m.hash() // it was hashed when it was kept
	r := offsetsResult{
		Plan: h, Workflow: m.Workflow, Consumer: m.Consumer, Way: m.Way, From: m.From, To: m.To, Status: status,
		Exact: true, Letters: len(m.Plan.Unconsumed), Before: m.BeforeStart, Read: m.Plan.Read, Counted: m.Plan.Counted, Cut: m.Cut,
	}
	var after map[string]int64
	if m.Offsets != nil {
		after = m.Offsets.After
	}
	r.Old, r.New = positionLines(m.Old, m.Left.Group), positionLines(m.Plan.Lines, after)
	for _, l := range m.Plan.Lines {
		r.Replays, r.Copies, r.Exact = r.Replays+l.Replays, r.Copies+l.Copies, r.Exact && l.Counted
	}
	return r
}

// answer is what plan prints, with what it is to be read with.
func (m *move) answer(warned checks) *answer {
	r := m.result(movePlanned)
	ans := &answer{result: r, text: func(w io.Writer) error { return errors.Join(m.write(w, r), warned.write(w)) }}
	for _, k := range warned {
		ans.findings = append(ans.findings, finding{Kind: k.ID, fault: fault{Text: k.Evidence, Hint: k.Fix}})
	}
	for _, p := range m.Plan.Problems {
		ans.gates = append(ans.gates, gate{Name: string(p.Kind), Text: p.Text})
		ans.findings = append(ans.findings, finding{Kind: string(p.Kind), fault: fault{Path: p.Partition, Text: p.Text, Hint: p.Hint}})
	}
	if len(m.Plan.Problems) == 0 {
		ans.gates = []gate{{Name: "exact", Pass: true, Text: "nothing is skipped, and nothing comes again that need not"}}
		ans.nextSteps = []string{"stop the consumer on both sides", "bridge offsets apply --consumer " + m.Consumer + " --plan " + r.Plan}
	}
	return ans
}

// applied is what apply prints.
func (m *move) applied() *answer {
	r := m.result(moveApplied)
	return &answer{
		result: r, nextSteps: []string{"start the consumer on the other side", "bridge offsets undo --consumer " + m.Consumer + " takes this back until then"},
		text: func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "%s: %s now goes on from plan %s; it gets %s again\n", m.Consumer, m.To, r.Plan, r.again())
			return err
		},
	}
}

// undone is what undo prints.
func (m *move) undone() *answer {
	return &answer{result: m.result(moveUndone), text: func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%s: %s is as it was before\n", m.Consumer, m.To)
		return err
	}}
}

// again says how many records come again.
func (r offsetsResult) again() string {
	least := ""
	if !r.Exact {
		least = "at least "
	}
	return fmt.Sprintf("%s%d records", least, r.Replays+r.Copies)
}

// write prints the plan for people.
func (m *move) write(w io.Writer, r offsetsResult) error {
	_, err := fmt.Fprintf(w, "%s: plan %s\nfrom     %s\nto       %s\n", m.Consumer, r.Plan, m.From, m.To)
	if err != nil {
		return err
	}
	for _, part := range []struct {
		title string
		lines []positionLine
		fresh bool
	}{{"stands at", r.Old, false}, {"goes on at", r.New, true}} {
		t := table.NewWriter()
		t.SetStyle(table.StyleLight)
		t.Style().Options = table.OptionsNoBordersAndSeparators
		header := table.Row{"partition", part.title}
		if part.fresh {
			header = append(header, "again", "copies")
		}
		t.AppendHeader(header)
		for i, l := range part.lines {
			if i == maxRows {
				t.AppendRow(table.Row{fmt.Sprintf("and %d more", len(part.lines)-maxRows)})
				break
			}
			row := table.Row{l.Partition, l.Position}
			if part.fresh {
				row = append(row, l.Replays, l.Copies)
			}
			t.AppendRow(row)
		}
		if _, err := fmt.Fprintln(w, t.Render()); err != nil {
			return err
		}
	}
	if _, err := fmt.Fprintf(w, "again    %s: %d that it has consumed, %d copies; the cut-over filter drops the former\nmissing  %d unconsumed and not on the other side\nread     %d records to find this, %d to count\n",
		r.again(), r.Replays, r.Copies, int64(r.Letters)+r.Before, r.Read, r.Counted); err != nil {
		return err
	}
	for _, p := range m.Plan.Problems {
		if _, err := fmt.Fprintf(w, "refused  %s\n", p.Text); err != nil {
			return err
		}
	}
	if len(m.Plan.Problems) == 0 {
		_, err = fmt.Fprintf(w, "next     stop the consumer, then: bridge offsets apply --consumer %s --plan %s\n", m.Consumer, r.Plan)
	}
	return err
}
