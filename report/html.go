package report

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the template and its style sheet
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"strings"
)

//go:embed html/report.tmpl
var pageText string

//go:embed html/report.css
var styleText string

// How many rows of a table stand open, and how many are in the page at all.
const (
	openRows = 20
	pageRows = 2500
)

// writeHTML writes one file that needs no other and runs nothing: the policy in its head
// allows its own style sheet by digest, and nothing else.
func writeHTML(w io.Writer, d *document) error {
	page, err := template.New("report").Funcs(template.FuncMap{
		"plain": func(s span) string { return plain(s.Text) },
		"sign":  func(m mood) string { return strings.TrimSpace(signs[m]) },
		"word":  func(m mood) string { return map[mood]string{good: "good:", bad: "bad:", unsure: "open:"}[m] },
		"kind":  kindOf,
		"shown": shownOf, "legend": legend, "rects": rectsOf, "stamp": stamp,
		"few": func(b band) bool { return len(b.Rows) <= 4 },
	}).Parse(strings.Replace(pageText, "STYLE", styleText, 1))
	if err != nil {
		return fmt.Errorf("read the template of the page: %w", err)
	}
	var b bytes.Buffer
	sum := sha256.Sum256([]byte(styleText))
	err = page.Execute(&b, struct {
		StyleHash, Verdict string
		Title, Headline    line
		Mood               mood
		Reasons            []line
		Summary            []fact
		Sections           []section
	}{"sha256-" + base64.StdEncoding.EncodeToString(sum[:]), d.verdict, d.title, d.headline, d.mood, d.reasons, d.summary, d.sections})
	if err != nil {
		return fmt.Errorf("make the page: %w", err)
	}
	_, err = w.Write(b.Bytes())
	return err
}

// longData is from how many characters on a text may be broken anywhere.
const longData = 22

// kindOf is the class of a text from outside.
func kindOf(s span) string {
	switch {
	case s.Prose:
		return "prose"
	case len(s.Text) > longData:
		return "long"
	}
	return ""
}

// A shown is a table as the page has it.
type shown struct {
	Columns  []column
	Rows     []row
	Wide     bool // it needs another form on a phone
	More     *shown
	MoreText string
	Left     string // says what is not in the page
}

type column struct {
	Head   string
	Figure bool
}

// Column is the i-th column.
func (s shown) Column(i int) column { return s.Columns[i] }

func shownOf(t table) shown {
	s := shown{Wide: len(t.Head) > 3, More: &shown{}}
	for i, h := range t.Head {
		s.Columns = append(s.Columns, column{h, i < len(t.Figures) && t.Figures[i]})
	}
	rows, left := t.first(pageRows)
	if left > 0 {
		s.Left = leftOut(left)
	}
	top, behind := table{Rows: rows}.first(openRows)
	s.Rows = top
	if behind > 0 {
		s.More.Columns, s.More.Wide = s.Columns, s.Wide
		s.More.Rows = sortedRows(rows)[len(rows)-behind:]
		s.MoreText = fmt.Sprintf("%s more", grouped(behind))
	}
	return s
}

// A rect is one piece of a row of the map. Height tells cells apart where colour does not.
type rect struct {
	Class               string
	X, Y, Width, Height int
}

func rectOf(c cell, x, width int) rect {
	switch c {
	case agrees:
		return rect{"agrees", x, 2, width, 8}
	case open:
		return rect{"open", x, 6, width, 4}
	case differing:
		return rect{"differs", x, 0, width, 10}
	}
	return rect{"blank", x, 9, width, 1}
}

// rectsOf joins neighbours that are alike.
func rectsOf(cells []cell) []rect {
	var out []rect
	for i := 0; i < len(cells); {
		j := i
		for j < len(cells) && cells[j] == cells[i] {
			j++
		}
		if cells[i] != blank {
			out = append(out, rectOf(cells[i], i, j-i))
		}
		i = j
	}
	return out
}

// A key explains one kind of cell.
type key struct {
	Rect rect
	Text string
}

func legend() []key {
	return []key{
		{rectOf(agrees, 0, 10), "judged, agrees"}, {rectOf(differing, 0, 10), "judged, differs"},
		{rectOf(open, 0, 10), "not judged"}, {rectOf(blank, 0, 10), "no records"},
	}
}
