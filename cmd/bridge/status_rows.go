package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/kinesis-msk-bridge/bridge/metrics"
)

// How bad a partition's state is; the worst is shown first.
const (
	rankFine = iota
	rankEnded
	rankUnknown // only the checkpoint is known, and it does not say
	rankBehind
	rankPaused
	rankWaiting
	rankTrouble
	rankExpiring
	rankStalled
)

// lateFor is how long a partition may not have been seen empty before that is worth a
// word: an idle one is noted every ten minutes only.
const lateFor = 15 * time.Minute

// explain says how bad the state of a partition is, and why. live is nil if only the
// checkpoint is known; paused is why nothing is read, empty if the intake is not paused.
func (row *partitionRow) explain(live *metrics.LivePart, retention float64, paused string) {
	row.rank, row.Why = rankFine, ""
	switch {
	case row.Ended:
		row.rank = rankEnded
	case live != nil:
		row.explainLive(live, retention, paused)
	case paused != "":
		row.rank, row.Why = rankPaused, paused
	case row.TipSeconds == nil:
		row.rank, row.Why = rankUnknown, "was never seen empty"
	case *row.TipSeconds > lateFor.Seconds():
		row.rank, row.Why = rankUnknown, "was not seen empty for long"
	}
}

func (row *partitionRow) explainLive(live *metrics.LivePart, retention float64, paused string) {
	row.LagSeconds, row.LagRecords, row.Waiting = live.BehindSeconds, live.BehindRecords, live.Waiting
	behind := -1.0
	if live.BehindSeconds != nil {
		behind = *live.BehindSeconds
	}
	trouble := ""
	if t := live.Trouble; t != nil {
		tries := grouped(t.Tries) + " tries"
		if t.Tries == 1 {
			tries = "1 try"
		}
		trouble = fmt.Sprintf("%s %s, %s in %s", t.Op, t.Class, tries, age(time.Since(t.Since).Seconds()))
	}
	switch left := retention - behind; {
	case live.Stalled && trouble == "" && live.CarryingSeconds > 0:
		row.rank, row.Why = rankStalled, "stalled: a page is on its way for "+age(live.CarryingSeconds)
	case live.Stalled:
		row.rank, row.Why = rankStalled, strings.TrimSuffix("stalled: "+trouble, ": ")
	case retention > 0 && behind > 0 && left < retention/4:
		row.rank, row.Why = rankExpiring, "the source drops its records in "+age(max(left, 0))
	case trouble != "":
		row.rank, row.Why = rankTrouble, trouble
	case live.CarryingSeconds >= outageAfter.Seconds():
		row.rank, row.Why = rankTrouble, "a page is on its way for "+age(live.CarryingSeconds)
	case paused != "":
		row.rank, row.Why = rankPaused, paused
	case len(live.Waiting) > 0:
		row.rank, row.Why = rankWaiting, "waits for the end of "+shorten(strings.Join(live.Waiting, ", "), 20)
	case behind < 0 && live.BehindRecords == nil:
		row.rank, row.Why = rankBehind, "nothing of it was read yet"
	case behind < 0:
		row.rank, row.Why = rankBehind, "behind" // Kafka does not say since when
	case behind > tailLag.Seconds():
		row.rank, row.Why = rankBehind, "behind"
	}
}

// worstFirst orders rows by how bad they are; what is equally bad by how far it is behind,
// but for those that are fine: they would change places with each look.
func worstFirst(rows []partitionRow) []partitionRow {
	rows = slices.Clone(rows)
	slices.SortStableFunc(rows, func(a, b partitionRow) int {
		if a.rank == rankFine && b.rank == rankFine {
			return 0
		}
		return cmp.Or(cmp.Compare(b.rank, a.rank), cmp.Compare(late(b.LagSeconds), late(a.LagSeconds)), cmp.Compare(many(b.LagRecords), many(a.LagRecords)), cmp.Compare(late(b.TipSeconds), late(a.TipSeconds)))
	})
	return rows
}

// late makes what is not known later than all that is.
func late(s *float64) float64 {
	if s == nil {
		return 1e18
	}
	return *s
}

// many makes what is not known less than all that is.
func many(n *int64) int64 {
	if n == nil {
		return -1
	}
	return *n
}

// behindText says how far a partition is behind: for how long, or if that is not known by how
// many records; empty if neither is.
func (row *partitionRow) behindText() string {
	switch {
	case row.LagSeconds != nil:
		return age(*row.LagSeconds)
	case row.LagRecords != nil:
		return grouped(*row.LagRecords) + " records"
	}
	return ""
}

// census says how many partitions are how.
func census(rows []partitionRow) string {
	var n [rankStalled + 1]int
	for _, row := range rows {
		n[row.rank]++
	}
	text := []string{grouped(int64(len(rows)))}
	for _, c := range []struct {
		rank int
		what string
	}{
		{rankStalled, "stalled"}, {rankExpiring, "soon dropped by the source"}, {rankTrouble, "in trouble"}, {rankWaiting, "waiting for a parent"}, {rankPaused, "paused"},
		{rankBehind, "behind"}, {rankUnknown, "not seen empty"}, {rankEnded, "ended"}, {rankFine, "fine"},
	} {
		if n[c.rank] > 0 {
			text = append(text, fmt.Sprintf("%s %s", grouped(int64(n[c.rank])), c.what))
		}
	}
	return strings.Join(text, ", ")
}

// worst names the worst partition and why; empty if none is worth a word.
func worst(rows []partitionRow) string {
	if len(rows) == 0 {
		return ""
	}
	row := worstFirst(rows)[0]
	if row.Why == "" {
		return ""
	}
	text := row.Partition + ": " + row.Why
	if b := row.behindText(); b != "" {
		text += ", " + b + " behind"
	}
	return text
}

// wide is from how many columns on a table has room for everything.
const wide = 110

// A layout is what a table of partitions has room for.
type layout struct {
	width, most int // columns, partitions
	// live tables say how far each is behind, and leave out when it was seen empty if
	// there is no room for both.
	live bool
}

// table shows one partition a line, the worst first.
func (l layout) table(rows []partitionRow) string {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.Style().Options = table.OptionsNoBordersAndSeparators
	t.Style().Format.Header = 0
	t.SetAllowedRowLength(l.width)
	t.AppendHeader(l.pick("partition", "behind", "seen empty", "why", "position"))
	for i, p := range worstFirst(rows) {
		if i == l.most && len(rows) > l.most {
			t.AppendRow(table.Row{fmt.Sprintf("and %s more", grouped(int64(len(rows)-l.most)))})
			break
		}
		t.AppendRow(l.cells(p))
	}
	return t.Render()
}

// pick leaves out the columns that there is no room for.
func (l layout) pick(partition, behind, empty, why, position string) table.Row {
	switch {
	case l.width >= wide:
		return table.Row{partition, behind, empty, why, position}
	case l.live:
		return table.Row{partition, behind, why}
	}
	return table.Row{partition, behind, empty, why}
}

func (l layout) cells(p partitionRow) table.Row {
	behind, empty := p.behindText(), "never"
	if p.Ended {
		behind, empty = "ended", ""
	}
	if p.TipSeconds != nil && !p.Ended {
		empty = age(*p.TipSeconds) + " ago"
	}
	// What is left of the line beside a shard's name, ages, positions and gaps.
	room := l.width - 20 - 8 - 10
	switch {
	case l.width >= wide:
		room -= 12 + 58
	case !l.live:
		room -= 12
	}
	return l.pick(shorten(p.Partition, 20), behind, empty, head(p.Why, max(room, 12)), shorten(p.Position.String(), 56))
}

// head keeps the beginning of a long text.
func head(s string, width int) string {
	if len(s) <= width {
		return s
	}
	return s[:width-1] + "…"
}
