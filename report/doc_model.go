package report

import "time"

// A document is what text, Markdown and HTML have in common: a report in words, without
// any markup. Every rendering escapes all of it; spans that came from outside are set
// apart besides.
type document struct {
	title    line
	mood     mood
	verdict  string
	headline line   // the verdict in one sentence
	reasons  []line // why it is not consistent
	summary  []fact // what fits on one screen
	overTime string // the coverage map in one line, for where there is only text
	sections []section
}

// A mood is what a thing is to be taken for, by colour, sign and word.
type mood string

const (
	good    mood = "good"
	bad     mood = "bad"
	unsure  mood = "unsure"
	neutral mood = "neutral"
)

// A span is a piece of a line; data came from outside.
type span struct {
	Text  string
	Data  bool
	Prose bool // data that is a sentence
}

type line []span

// data marks a text that came from outside.
type data string

// prose marks a sentence that came from outside.
type prose string

// say makes a line of words and of data.
func say(parts ...any) line {
	l := make(line, 0, len(parts))
	for _, p := range parts {
		switch p := p.(type) {
		case string:
			l = append(l, span{Text: p})
		case data:
			if p != "" {
				l = append(l, span{Text: string(p), Data: true})
			}
		case prose:
			if p != "" {
				l = append(l, span{Text: string(p), Data: true, Prose: true})
			}
		case line:
			l = append(l, p...)
		}
	}
	return l
}

// A fact is a line with a label.
type fact struct {
	Label string
	Line  line
	Mood  mood
}

// A section is one heading and what stands under it. Each field may be empty.
type section struct {
	ID, Title string
	Facts     []fact
	Chart     *chart
	Tables    []table
	Notes     []line
}

// A table has a caption, a head, and rows whose first cell names the row.
type table struct {
	Caption string
	Head    []string
	Figures []bool // columns that hold figures
	Rows    []row
	// Empty is said instead of a table without rows.
	Empty string
}

// A row can have a mood, which its first cell shows.
type row struct {
	Mood  mood
	Cells []line
}

func (t *table) add(m mood, cells ...line) { t.Rows = append(t.Rows, row{m, cells}) }

// cells makes a cell of each word or data.
func cells(parts ...any) []line {
	out := make([]line, len(parts))
	for i, p := range parts {
		out[i] = say(p)
	}
	return out
}

func (t *table) row(m mood, parts ...any) { t.add(m, cells(parts...)...) }

// stamp is a time to the second in UTC.
func stamp(t time.Time) string {
	if t.IsZero() {
		return "not known"
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}
