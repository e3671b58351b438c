package report_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/kinesis-msk-bridge/bridge/report"
)

var update = flag.Bool("update", false, "write golden files and the schema")

func render(t testing.TB, r *report.Report, f report.Form) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := report.Write(&b, r, f); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// golden compares with a file, or writes it.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, got) {
		t.Errorf("%s has changed; if that is meant, run go test ./report -update:\n%s", file, cmp.Diff(string(want), string(got)))
	}
}

func TestGolden(t *testing.T) {
	for name, w := range map[string]world{"consistent": small(fine), "inconsistent": small(world{damage: 5}), "inconclusive": small(world{holes: 6, trimmed: 2})} {
		r := reportOf(t, w)
		if string(r.Verdict) != name {
			t.Fatalf("the fixture %s is %s", name, r.Verdict)
		}
		for _, f := range report.Forms() {
			golden(t, name+f.Extension(), render(t, r, f))
		}
	}
}

// The first screen of the text form says it all, and the map fits beside its labels.
func TestTextFitsAScreen(t *testing.T) {
	for _, w := range worlds() {
		text := string(render(t, reportOf(t, w), report.Text))
		screen, rest, found := strings.Cut(text, "\nCoverage\n--------\n")
		if n := strings.Count(screen, "\n"); !found || n > 24 {
			t.Errorf("%+v: the first screen has %d lines", w, n)
		}
		for line := range strings.Lines(rest) {
			if n := utf8.RuneCountInString(line); strings.Contains(line, "|") && n > 81 {
				t.Errorf("%+v: a line of the map has %d characters: %s", w, n, line)
			}
		}
	}
}

// The map has a row for each partition as long as that can be read, and not many more
// rows than fit a screen whatever comes. The partitions that need a look have their own.
func TestMapReadsWell(t *testing.T) {
	for shards, most := range map[int]int{1: 1, 50: 50, 64: 64, 65: 49, 2000: 49} {
		w := world{shards: shards, hours: 2, holes: shards * 2}
		text := string(render(t, reportOf(t, w), report.Text))
		rows := strings.Count(text, "|\n")
		if rows < 1 || rows > most {
			t.Errorf("%d partitions have %d rows, at most %d are wanted", shards, rows, most)
		}
		open := 0 // cells, of the 28 of a window
		for line := range strings.Lines(text) {
			if _, cells, ok := strings.Cut(line, "|"); ok {
				open = max(open, strings.Count(cells, "!"))
			}
		}
		if open != 28 || shards > 64 && !strings.Contains(text, "1 partition with something") {
			t.Errorf("%d partitions: the window that was not judged has %d cells and no row of its own", shards, open)
		}
	}
}

// Rows that need a look are in the page and come first, and no row is lost without a word.
func TestTablesLoseNothingUnsaid(t *testing.T) {
	w := world{shards: 2000, hours: 2, damage: 1001}
	r := reportOf(t, w)
	for _, f := range []report.Form{report.Text, report.Markdown} {
		out := string(render(t, r, f))
		if !strings.Contains(out, "more, in the JSON form") {
			t.Errorf("%s does not say that rows are left out", f)
		}
	}
	page := string(render(t, r, report.HTML))
	for i := range w.shards {
		if !strings.Contains(page, ">"+shard(i)+"<") {
			t.Fatalf("%s is not in the page", shard(i))
		}
	}
}

// What Decode takes it gives back byte by byte, and every form can be made of it.
func FuzzDecode(f *testing.F) {
	for _, w := range []world{small(fine), small(world{damage: 5, holes: 7}), {shards: 1}} {
		r := reportOf(f, w)
		f.Add(render(f, r, report.JSON))
		sign(f, r, "Ada Byron")
		f.Add(render(f, r, report.JSON))
	}
	f.Add([]byte(`{"schema":"bridge.report/v2"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := report.Decode(b)
		if err != nil {
			return
		}
		for _, form := range report.Forms() {
			out := render(t, r, form)
			if form == report.JSON && !bytes.Equal(out, b) {
				t.Error("what was decoded is written otherwise")
			}
		}
		if _, err := r.Check(); err != nil {
			t.Error(err)
		}
	})
}
