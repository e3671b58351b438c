//go:build integration

package report_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kinesis-msk-bridge/bridge/report"
)

// The versions of what looks at the pages; npm installs them by name.
var browserPackages = []string{"axe-core@4.14.1", "puppeteer-core@24.43.1"}

// A view is what was seen of one page at one width.
type view struct {
	File, View, Verdict  string
	Overflow, Cut, Cells int
	Tall                 float64
	Styled, Above        bool
	Said, Violations     []string
	Passes               int
}

// pages are the reports that are looked at: every verdict with 1, 50 and 2,000 shards,
// and one full of hostile texts. Of 50 and 2,000 shards all three are looked at in the full
// count only: they differ in nothing but the number of what one shard has.
func pages(t *testing.T) map[string]*report.Report {
	out := map[string]*report.Report{}
	for _, n := range []int{1, 50, 2000} {
		for name, w := range map[string]world{"consistent": fine, "inconsistent": damaged, "inconclusive": doubtful} {
			if n > 1 && name != "inconsistent" && os.Getenv("RUNS") != "100" {
				continue
			}
			if n == 2000 {
				w = world{hours: w.hours, damage: w.damage * 40, holes: w.holes * 40, trimmed: w.trimmed * 40}
			}
			r := reportOf(t, w.with(n))
			if string(r.Verdict) != name {
				t.Fatalf("%s with %d shards is %s", name, n, r.Verdict)
			}
			sign(t, r, "Ada Byron")
			out[fmt.Sprintf("%s-%d", name, n)] = r
		}
	}
	i := 0
	out["hostile"] = filled(t, func() string { i++; return hostile[i%len(hostile)] })
	return out
}

// TestIntegrationPages opens the pages in Chromium. BRIDGE_PAGES names a directory in
// which the pictures stay.
func TestIntegrationPages(t *testing.T) {
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatalf("%v: integration/install.sh installs it", err)
	}
	dir := os.Getenv("BRIDGE_PAGES")
	if dir == "" {
		dir = t.TempDir()
	}
	run(t, dir, "npm", append([]string{"install", "--no-save", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", dir}, browserPackages...)...)
	script, err := os.ReadFile("testdata/browser/look.js")
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "look.js"), script)
	args := []string{filepath.Join(dir, "look.js"), chromium, dir}
	for name, r := range pages(t) {
		file := filepath.Join(dir, name+".html")
		write(t, file, render(t, r, report.HTML))
		args = append(args, file)
	}
	var views []view
	if err := json.Unmarshal(run(t, dir, "node", args...), &views); err != nil {
		t.Fatal(err)
	}
	if want := 3 * (len(args) - 3); len(views) != want {
		t.Fatalf("%d views, want %d", len(views), want)
	}
	for _, v := range views {
		v.check(t)
	}
	for _, file := range args[3:] {
		printed(t, strings.TrimSuffix(file, ".html"))
	}
	t.Logf("%d pages looked at in %d views, axe-core found nothing", len(args)-3, len(views))
}

func (v view) check(t *testing.T) {
	name := v.File + " " + v.View
	for _, what := range append(v.Violations, v.Said...) {
		t.Errorf("%s: %s", name, what)
	}
	if v.Overflow > 0 || v.Cut > 0 {
		t.Errorf("%s: %d pixels and %d cells stand out at the right", name, v.Overflow, v.Cut)
	}
	if !v.Styled || !v.Above || v.Passes == 0 || v.Passes > 0 && v.View != "dark" && v.Passes < 10 || v.Passes < 0 && v.View == "desktop" {
		t.Errorf("%s: style sheet in effect: %v, verdict on the first screen: %v, %d rules of axe-core pass", name, v.Styled, v.Above, v.Passes)
	}
	if v.Cells < 1 || v.Tall > 1200 {
		t.Errorf("%s: the map has %d strips and is %.0f pixels tall", name, v.Cells, v.Tall)
	}
	if want := strings.ToUpper(strings.SplitN(v.File, "-", 2)[0]); !strings.HasPrefix(v.File, "hostile") && !strings.Contains(v.Verdict, want) {
		t.Errorf("%s: the verdict reads %q", name, v.Verdict)
	}
}

// printed holds that a page on paper begins with the verdict.
func printed(t *testing.T, base string) {
	text := run(t, "", "pdftotext", "-f", "1", "-l", "1", base+".pdf", "-")
	name := filepath.Base(base)
	if want := strings.ToUpper(strings.SplitN(name, "-", 2)[0]); name != "hostile" && !bytes.Contains(text, []byte(want)) {
		t.Errorf("the first page of %s on paper has no %s", name, want)
	}
}

func run(t *testing.T, dir, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", name, err, out, stderr.Bytes())
	}
	return out
}

func write(t *testing.T, file string, b []byte) {
	t.Helper()
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
