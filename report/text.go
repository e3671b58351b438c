package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	screen    = 80 // characters a line of prose
	textRows  = 40 // of a table
	textWidth = 26 // characters a cell, but the last of a row
)

// signs stand before what is good, bad or unsure.
var signs = map[mood]string{good: "✓", bad: "✗", unsure: "?", neutral: " "}

// writeText writes one screen that says it all, and the details behind it.
func writeText(w io.Writer, d *document) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\n%s\n\n", signs[d.mood], d.verdict, d.title.text())
	wrap(&b, "", d.headline.text())
	for i, r := range d.reasons {
		if i == 3 && len(d.reasons) > 4 {
			fmt.Fprintf(&b, "  … and %d more reasons, in the JSON form\n", len(d.reasons)-i)
			break
		}
		wrap(&b, "  - ", r.text())
	}
	b.WriteByte('\n')
	var facts []fact
	for _, f := range d.summary {
		facts = append(facts, f)
		if f.Label == "coverage" {
			facts = append(facts, fact{Label: "over time", Line: say(d.overTime)})
		}
	}
	writeFacts(&b, facts)
	for _, s := range d.sections {
		fmt.Fprintf(&b, "\n%s\n%s\n", s.Title, strings.Repeat("-", utf8.RuneCountInString(s.Title)))
		s.write(&b)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (s section) write(b *strings.Builder) {
	writeFacts(b, s.Facts)
	if s.Chart != nil {
		s.Chart.write(b)
	}
	for _, t := range s.Tables {
		t.write(b)
	}
	for _, n := range s.Notes {
		b.WriteByte('\n')
		wrap(b, "", n.text())
	}
}

// text is a line for a terminal.
func (l line) text() string {
	var b strings.Builder
	for _, s := range l {
		if s.Data {
			b.WriteString(plain(s.Text))
		} else {
			b.WriteString(s.Text)
		}
	}
	return b.String()
}

// writeFacts writes one fact a line, the labels below each other.
func writeFacts(b *strings.Builder, facts []fact) {
	width := 0
	for _, f := range facts {
		width = max(width, utf8.RuneCountInString(f.Label))
	}
	for _, f := range facts {
		m := f.Mood
		if m == "" {
			m = neutral
		}
		wrap(b, fmt.Sprintf("%s %-*s  ", signs[m], width, f.Label), f.Line.text())
	}
}

// wrap writes a text behind a prefix, broken at blanks, further lines indented.
func wrap(b *strings.Builder, prefix, text string) {
	indent := utf8.RuneCountInString(prefix)
	used, begun := indent, false
	b.WriteString(prefix)
	for word := range strings.FieldsSeq(text) {
		n := utf8.RuneCountInString(word)
		switch {
		case begun && used+1+n > screen:
			b.WriteString("\n" + strings.Repeat(" ", indent))
			used = indent
		case begun:
			b.WriteByte(' ')
			used++
		}
		b.WriteString(word)
		used, begun = used+n, true
	}
	b.WriteByte('\n')
}

func (t table) write(b *strings.Builder) {
	fmt.Fprintf(b, "\n%s\n", t.Caption)
	if len(t.Rows) == 0 {
		fmt.Fprintf(b, "  %s\n", t.Empty)
		return
	}
	rows, left := t.first(textRows)
	lines := [][]string{append([]string{" "}, t.Head...)}
	for _, r := range rows {
		l := []string{signs[r.Mood]}
		for i, c := range r.Cells {
			text := c.text()
			if i < len(r.Cells)-1 && c.holdsData() {
				text = tail(text, textWidth)
			}
			l = append(l, text)
		}
		lines = append(lines, l)
	}
	widths := make([]int, len(lines[0]))
	for _, l := range lines {
		for i, c := range l {
			widths[i] = max(widths[i], utf8.RuneCountInString(c))
		}
	}
	for _, l := range lines {
		b.WriteString(strings.TrimRight(t.aligned(l, widths), " ") + "\n")
	}
	if left > 0 {
		fmt.Fprintf(b, "  %s\n", leftOut(left))
	}
}

func (l line) holdsData() bool {
	return slices.ContainsFunc(l, func(s span) bool { return s.Data })
}

// aligned is one line of a table; figures stand to the right.
func (t table) aligned(l []string, widths []int) string {
	var b strings.Builder
	for i, c := range l {
		fill := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c))
		switch {
		case i > 0 && i-1 < len(t.Figures) && t.Figures[i-1]:
			b.WriteString(fill + c)
		case i < len(l)-1:
			b.WriteString(c + fill)
		default:
			b.WriteString(c)
		}
		b.WriteString("  ")
	}
	return b.String()
}

// tail keeps the end of a long text: the digits there are the ones that differ.
func tail(s string, width int) string {
	runes := []rune(s)
	if len(runes) <= width {
		return s
	}
	return "…" + string(runes[len(runes)-width+1:])
}

// write draws the map with one sign a cell.
func (c *chart) write(b *strings.Builder) {
	for _, band := range c.Bands {
		fmt.Fprintf(b, "\n%s\n", band.Caption)
		width := 0
		for _, r := range band.Rows {
			width = max(width, utf8.RuneCountInString(tail(r.Label.text(), 2*shortest)))
		}
		for _, r := range band.Rows {
			l := tail(r.Label.text(), 2*shortest)
			fmt.Fprintf(b, "  %s%s |%s|\n", strings.Repeat(" ", width-utf8.RuneCountInString(l)), l, drawn(r.Cells))
		}
		fmt.Fprintf(b, "  %*s  %-*s%s\n", width, "", textBins-20, stamp(c.From), stamp(c.To))
	}
	b.WriteString("  = agrees   * differs   ! not judged   . no records\n")
}

func drawn(cells []cell) string {
	out := make([]byte, len(cells))
	for i, c := range cells {
		out[i] = cellSigns[c]
	}
	return string(out)
}

// overall lays all rows of a chart over each other.
func (c *chart) overall() []cell {
	var out []cell
	for _, r := range c.Bands[len(c.Bands)-1].Rows {
		if out == nil {
			out = slices.Clone(r.Cells)
		}
		for i, x := range r.Cells {
			out[i] = max(out[i], x)
		}
	}
	return out
}
