package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
)

// A Form is one of the renderings.
type Form string

// The forms. JSON is the report itself; the others are made from it.
const (
	JSON     Form = "json"
	Text     Form = "text"
	Markdown Form = "markdown"
	HTML     Form = "html"
)

// Forms lists all of them.
func Forms() []Form { return []Form{JSON, Text, Markdown, HTML} }

// Extension is how files of the form end.
func (f Form) Extension() string {
	switch f {
	case JSON:
		return ".json"
	case Markdown:
		return ".md"
	case HTML:
		return ".html"
	}
	return ".txt"
}

// How many cells a row of the coverage map has.
const (
	textBins = 56
	htmlBins = 96
)

// Write renders the report. The same report gives the same bytes.
func Write(w io.Writer, r *Report, f Form) error {
	switch f {
	case JSON:
		b, err := r.Encode()
		if err != nil {
			return err
		}
		_, err = w.Write(b)
		return err
	case Text:
		return writeText(w, r.document(textBins))
	case Markdown:
		return writeMarkdown(w, r.document(textBins))
	case HTML:
		return writeHTML(w, r.document(htmlBins))
	}
	return fmt.Errorf("there is no rendering %q", f)
}

// weight orders rows that need a look before others.
func (m mood) weight() int { return slices.Index([]mood{bad, unsure, neutral, good}, m) }

// first splits rows into those to show and the number of those left out. If some must be,
// the ones that need a look stay.
func (t table) first(most int) (shown []row, left int) {
	if len(t.Rows) <= most+1 {
		return t.Rows, 0
	}
	return sortedRows(t.Rows)[:most], len(t.Rows) - most
}

// sortedRows puts what needs a look first.
func sortedRows(rows []row) []row {
	rows = slices.Clone(rows)
	slices.SortStableFunc(rows, func(a, b row) int { return cmp.Compare(a.Mood.weight(), b.Mood.weight()) })
	return rows
}

// leftOut says that rows are not shown here.
func leftOut(n int) string {
	return fmt.Sprintf("… and %s more, in the JSON form; those that need a look stand first", grouped(n))
}
