package report

import (
	"fmt"
	"io"
	"strings"
)

// markdownRows is how many rows a table in Markdown has.
const markdownRows = 200

// moodWords stand in tables, where a sign would be lost.
var moodWords = map[mood]string{good: "✓ ", bad: "**✗** ", unsure: "**?** ", neutral: ""}

// writeMarkdown writes GitHub's dialect. What came from outside stands in code spans,
// in which nothing has a meaning.
func writeMarkdown(w io.Writer, d *document) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s: %s\n\n%s\n\n", signs[d.mood], d.verdict, d.headline.markdown())
	for _, r := range d.reasons {
		fmt.Fprintf(&b, "- %s\n", r.markdown())
	}
	fmt.Fprintf(&b, "\n%s\n\n", d.title.markdown())
	markdownFacts(&b, d.summary)
	for _, s := range d.sections {
		fmt.Fprintf(&b, "\n## %s\n\n", s.Title)
		s.markdown(&b)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (s section) markdown(b *strings.Builder) {
	if len(s.Facts) > 0 {
		markdownFacts(b, s.Facts)
		b.WriteByte('\n')
	}
	if s.Chart != nil {
		var text strings.Builder
		s.Chart.write(&text)
		fmt.Fprintf(b, "```text\n%s```\n\n", strings.ReplaceAll(strings.TrimPrefix(text.String(), "\n"), "`", `\u0060`))
	}
	for _, t := range s.Tables {
		t.markdown(b)
	}
	for _, n := range s.Notes {
		fmt.Fprintf(b, "%s\n\n", n.markdown())
	}
}

func markdownFacts(b *strings.Builder, facts []fact) {
	b.WriteString("| | |\n|---|---|\n")
	for _, f := range facts {
		fmt.Fprintf(b, "| %s | %s%s |\n", escapeWords(f.Label), moodWords[f.Mood], f.Line.markdown())
	}
}

func (t table) markdown(b *strings.Builder) {
	fmt.Fprintf(b, "**%s**\n\n", escapeWords(t.Caption))
	if len(t.Rows) == 0 {
		fmt.Fprintf(b, "%s\n\n", escapeWords(t.Empty))
		return
	}
	rows, left := t.first(markdownRows)
	b.WriteByte('|')
	for _, h := range t.Head {
		fmt.Fprintf(b, " %s |", escapeWords(h))
	}
	b.WriteString("\n|")
	for i := range t.Head {
		if i < len(t.Figures) && t.Figures[i] {
			b.WriteString("--:|")
		} else {
			b.WriteString("---|")
		}
	}
	b.WriteByte('\n')
	for _, r := range rows {
		b.WriteByte('|')
		for i, c := range r.Cells {
			sign := ""
			if i == 0 {
				sign = moodWords[r.Mood]
			}
			fmt.Fprintf(b, " %s%s |", sign, c.markdown())
		}
		b.WriteByte('\n')
	}
	if left > 0 {
		fmt.Fprintf(b, "\n%s\n", escapeWords(leftOut(left)))
	}
	b.WriteByte('\n')
}

// markdown is a line with data in code spans.
func (l line) markdown() string {
	var b strings.Builder
	for _, s := range l {
		if s.Data {
			b.WriteString(codeSpan(s.Text))
		} else {
			b.WriteString(escapeWords(s.Text))
		}
	}
	return b.String()
}

// codeSpan shows a text in which two characters would mean something even there.
func codeSpan(s string) string {
	s = strings.TrimSpace(plain(s))
	if s == "" {
		return "(blank)"
	}
	return "`" + strings.NewReplacer("`", `\u0060`, "|", `\u007c`).Replace(s) + "`"
}

// escapeWords keeps the report's own words from being taken for markup.
func escapeWords(s string) string {
	return strings.NewReplacer(`\`, `\\`, "`", "\\`", "|", `\|`, "*", `\*`, "_", `\_`, "<", `\<`, ">", `\>`,
		"[", `\[`, "]", `\]`, "#", `\#`, "&", `\&`, "~", `\~`).Replace(s)
}
