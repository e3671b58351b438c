package report_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/report"
)

// hostile are texts that mean something to a browser, a Markdown renderer, a spreadsheet,
// a terminal or the eye.
var hostile = []string{
	`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `' onmouseover='x`, `</style><style>*{display:none}`,
	`</title></head>`, `<!--`, `]]>`, `{{.Root}}`, `&lt;b&gt;`, `javascript:alert(1)`, `url(http://x.example/)`,
	"a | b || c", "`code` ``more``", "```\nfence", "[link](javascript:alert(1))", "![i](http://x.example/i.png)", "https://x.example", "www.x.example",
	"**bold** __b__ ~~s~~", "# head", "> quote", "- item", "1. item", "| - |", "@everyone", "<https://x.example>", `\`, `\|`, "&#124;", "$x$",
	`=cmd|'/c calc'!A1`, "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1",
	"\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\x1b]8;;http://x.example\x1b\\link", "\x9b31m", "a\x00b", "a\bb", "\x7f",
	"one\ntwo", "one\r\n\r\ntwo", "a\u2028b\u2029c", "a\u0085b", "a\vb\fc",
	"\u202eright to left\u202c", "\u2066isolate\u2069", "\u05d0\u05d1\u05d2 12", "\u0645\u0631\u062d\u0628\u0627 1/2", "\u200b\u200d\ufeff", "\U000e0041tag",
	"\xff\xfe", strings.Repeat("long", 100), strings.Repeat("\u0301", 50), "✓ CONSISTENT", "", " ", "  two  blanks  ",
}

// fill puts a text into every string of a value, and an item into every empty list.
func fill(v reflect.Value, text func() string) {
	if v.Type() == reflect.TypeFor[bridge.Position]() {
		return // it holds digits only: nothing else decodes
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text())
	case reflect.Pointer:
		if !v.IsNil() {
			fill(v.Elem(), text)
		}
	case reflect.Slice:
		if v.Len() == 0 {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		}
		for i := range v.Len() {
			fill(v.Index(i), text)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				fill(v.Field(i), text)
			}
		}
	}
}

// filled is a report in which every text is what text gives.
func filled(t *testing.T, text func() string) *report.Report {
	t.Helper()
	r := reportOf(t, small(world{damage: 5, holes: 7, trimmed: 2}))
	fill(reflect.ValueOf(r).Elem(), text)
	for i := range r.Windows { // some columns stand only where a window was left out
		r.Windows[i].Verdict = "inconclusive"
	}
	r.Scope.Decoders = "stock"
	return r
}

// filledWith has one text in every place; which of its places matter, the text decides.
func filledWith(t *testing.T, text string) *report.Report {
	return filled(t, func() string { return text })
}

func TestFillReachesEverything(t *testing.T) {
	n := 0
	filled(t, func() string { n++; return "x" })
	if n < 150 {
		t.Errorf("only %d texts were filled", n)
	}
}

// No character that steers anything comes through, in any form.
func TestNothingSteers(t *testing.T) {
	for _, h := range hostile {
		r := filledWith(t, h)
		for _, f := range report.Forms() {
			out := string(render(t, r, f))
			if !utf8.ValidString(out) {
				t.Errorf("%s of %q is not UTF-8", f, h)
			}
			if f != report.JSON && strings.Contains(out, strings.Repeat("\u0301", 3)) {
				t.Errorf("%s of %q has marks that reach into other lines", f, h)
			}
			for _, c := range out {
				if c >= ' ' && c < 0x7f || c == '\n' {
					continue
				}
				if unicode.IsControl(c) || unicode.Is(unicode.Bidi_Control, c) || unicode.In(c, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Hebrew, unicode.Arabic) {
					t.Errorf("%s of %q has %U", f, h, c)
					break
				}
			}
		}
	}
}

// The page has the same elements and attributes, whatever its texts are.
func TestHostileTextsAreNoHTML(t *testing.T) {
	want := skeleton(t, render(t, filledWith(t, "x"), report.HTML))
	for _, h := range hostile {
		page := render(t, filledWith(t, h), report.HTML)
		if h == "" || strings.TrimSpace(h) == "" {
			continue // fewer spans
		}
		if got := skeleton(t, page); got != want {
			t.Errorf("%q changes the page:\n%s", h, cmp.Diff(want, got))
		}
	}
}

// skeleton lists the elements of a page with the names of their attributes, and holds
// that none runs or loads anything and that no text begins like a formula.
func skeleton(t *testing.T, page []byte) string {
	t.Helper()
	var b strings.Builder
	d := xml.NewDecoder(bytes.NewReader(page))
	d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return b.String()
		}
		if err != nil {
			t.Fatalf("the page is no HTML: %v", err)
		}
		switch e := token.(type) {
		case xml.StartElement:
			switch e.Name.Local {
			case "script", "a", "img", "iframe", "object", "embed", "link", "form", "foreignObject", "use", "base":
				t.Errorf("the page has an element %s", e.Name.Local)
			}
			fmt.Fprintf(&b, "<%s", e.Name.Local)
			for _, a := range e.Attr {
				if n := strings.ToLower(a.Name.Local); strings.HasPrefix(n, "on") || n == "href" || n == "src" || n == "style" {
					t.Errorf("the page has an attribute %s", n)
				}
				if e.Name.Local != "bdi" && e.Name.Local != "svg" {
					fmt.Fprintf(&b, " %s", a.Name.Local)
				}
			}
			b.WriteString(">\n")
		case xml.CharData:
			if s := strings.TrimSpace(string(e)); s != "" && strings.ContainsRune("=+@-", rune(s[0])) && !ours(s) {
				t.Errorf("a text of the page begins like a formula: %q", s)
			}
		}
	}
}

// ours are the page's own words that begin with a sign.
func ours(s string) bool {
	return strings.HasPrefix(s, "+ ") || strings.HasPrefix(s, "= accounted")
}

var codeSpans = regexp.MustCompile("`[^`\n]*`")

// Outside code spans the Markdown is the same, whatever its texts are, and inside them
// nothing can end one or a table's cell.
func TestHostileTextsAreNoMarkdown(t *testing.T) {
	bare := func(text string) (string, string) {
		out := string(render(t, filledWith(t, text), report.Markdown))
		chart := out[strings.Index(out, "```text"):]
		chart = chart[:strings.Index(chart[3:], "```")+6]
		for _, s := range codeSpans.FindAllString(strings.Replace(out, chart, "", 1), -1) {
			if strings.Contains(s, "|") {
				t.Errorf("%q ends a cell inside a code span: %s", text, s)
			}
		}
		return codeSpans.ReplaceAllString(strings.Replace(out, chart, "", 1), "`x`"), chart
	}
	want, wantChart := bare("x")
	for _, h := range hostile {
		if strings.TrimSpace(h) == "" {
			continue
		}
		got, chart := bare(h)
		if got = strings.ReplaceAll(got, strings.ToUpper(h), "X"); heads(got) != heads(want) {
			t.Errorf("%q changes the Markdown:\n%s", h, cmp.Diff(heads(want), heads(got)))
		}
		if strings.Count(chart, "\n") != strings.Count(wantChart, "\n") || strings.Count(chart, "`") != 6 {
			t.Errorf("%q changes the map:\n%s", h, chart)
		}
	}
}

// heads drops the first line, in which the verdict stands, which is one of three words.
func heads(s string) string { return s[strings.Index(s, "\n"):] }

// A report comes back from JSON as it was, and JSON holds no angle bracket.
func TestHostileTextsAreJSON(t *testing.T) {
	for _, h := range hostile {
		r := filledWith(t, h)
		out := render(t, r, report.JSON)
		if bytes.ContainsAny(out, "<>&") {
			t.Errorf("the JSON of %q has markup", h)
		}
		var back report.Report
		if err := json.Unmarshal(out, &back); err != nil {
			t.Errorf("%q: %v", h, err)
		}
		if want := string([]rune(h)); back.Workflow != want || back.Windows[0].Reason != want {
			t.Errorf("%q came back as %q and %q", h, back.Workflow, back.Windows[0].Reason)
		}
	}
}

// No line of the text form can be mistaken for one that bridge itself wrote at the
// beginning of a line.
func TestHostileTextsAreOneLine(t *testing.T) {
	for _, h := range []string{"one\nCONSISTENT", "x\n✓ CONSISTENT\n", "a\r\n✓ CONSISTENT"} {
		for line := range strings.Lines(string(render(t, filledWith(t, h), report.Text))) {
			if strings.HasPrefix(line, "✓ CONSISTENT") || strings.HasPrefix(line, "CONSISTENT") {
				t.Errorf("%q makes a line %q", h, line)
			}
		}
	}
}

// A report can be read again whatever bytes its texts hold, also those that are no UTF-8
// and those that look like the escape for them.
func TestReportsOfAnyTextAreReadAgain(t *testing.T) {
	for _, h := range append(slices.Clone(hostile), "\ufffd", `\ufffd`, `\\ufffd`, "\xc3", "key-\xf0\x9f", "\\\xff", `"\`) {
		r := filledWith(t, h)
		r.Schema = report.Schema
		text, err := r.Encode()
		if err != nil {
			t.Fatalf("%q: %v", h, err)
		}
		if _, err := report.Decode(text); err != nil {
			t.Errorf("%q: %v", h, err)
		}
	}
}

// An approval whose name or note cannot be stored or printed leaves the report as it was.
func TestApproversAreChecked(t *testing.T) {
	r := reportOf(t, small(fine))
	before := render(t, r, report.JSON)
	long := strings.Repeat("x", 3_000)
	for _, c := range [][2]string{
		{"", ""}, {" \t", ""}, {"Ren\xe9", ""}, {"Ada\nok", ""}, {"Ada\u202e", ""}, {"Ada\x1b[2K", ""}, {"Ada\u2028", ""}, {"a\ufffdb", ""}, {long, ""},
		{"Ada", "a\xff"}, {"Ada", "a\rb"}, {"Ada", long},
	} {
		if err := r.Approve(report.Approval{By: c[0], Note: c[1], At: began}, key("x")); !errors.Is(err, report.ErrApprover) {
			t.Errorf("%q, %q: %v", c[0], c[1], err)
		}
	}
	if !bytes.Equal(before, render(t, r, report.JSON)) {
		t.Error("the report was changed")
	}
	for _, name := range []string{"Ada Byron", "René", "Ľudmila", "山田 太郎", "אדה", "O'Neil (ops)", "=Ada"} {
		if err := r.Approve(report.Approval{By: name, Note: "known: " + name, At: began}, key("x")); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	if err := refused(render(t, r, report.JSON)); err != nil {
		t.Error(err)
	}
}
