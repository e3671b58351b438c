package lint

import (
	"go/ast"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// pages are the pages of the documentation, by path.
func pages(t *testing.T) map[string]string {
	t.Helper()
	out := texts(t)
	for p := range out {
		if !strings.HasSuffix(p, ".md") {
			delete(out, p)
		}
	}
	if len(out) < 10 {
		t.Fatalf("only %d pages found", len(out))
	}
	return out
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	code    = regexp.MustCompile("(?s)```.*?```|`[^`\n]+`")
	fence   = regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```$")
)

func TestLinksResolve(t *testing.T) {
	all := pages(t)
	for page, text := range all {
		for _, m := range link.FindAllStringSubmatch(code.ReplaceAllString(text, ""), -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") {
				t.Errorf("%s: %s: the documentation stands by itself; name the thing and leave the address out", page, m[1])
				continue
			}
			to := page
			if target != "" {
				to = path.Join(path.Dir(page), target)
			}
			if _, err := os.Stat(filepath.Join(root, to)); err != nil {
				t.Errorf("%s: %s leads nowhere", page, m[1])
			} else if anchor != "" && !slices.Contains(anchors(all[to]), anchor) {
				t.Errorf("%s: %s has no heading of that name", page, m[1])
			}
		}
	}
}

func anchors(text string) []string {
	var out []string
	for _, m := range heading.FindAllStringSubmatch(text, -1) {
		name := regexp.MustCompile(`[^a-z0-9 _-]`).ReplaceAllString(strings.ToLower(m[1]), "")
		out = append(out, strings.ReplaceAll(name, " ", "-"))
	}
	return out
}

// Every page is reached from the README.
func TestPagesAreReachable(t *testing.T) {
	all := pages(t)
	seen := map[string]bool{}
	var walk func(page string)
	walk = func(page string) {
		if seen[page] {
			return
		}
		seen[page] = true
		for _, m := range link.FindAllStringSubmatch(all[page], -1) {
			target, _, _ := strings.Cut(m[1], "#")
			walk(path.Join(path.Dir(page), target))
		}
	}
	walk("README.md")
	for page := range all {
		if !seen[page] && !strings.Contains(page, "testdata/") {
			t.Errorf("%s: no page leads there", page)
		}
	}
}

var (
	testName = regexp.MustCompile(`\b(?:Test|Fuzz|Benchmark|Example)[A-Z]\w*\b`)
	fileName = regexp.MustCompile("[A-Za-z0-9_./*-]+\\.(?:go|md|txtar|sh|patch)\\b")
	flagName = regexp.MustCompile(`(?:^|[\s\x60(])--([a-z][a-z-]*)`)
	setting  = regexp.MustCompile("`((?:kinesis|kafka|policy)(?:\\.[a-z_]+)+|[a-z]+(?:_[a-z]+)+)[:`]")
	metric   = regexp.MustCompile(`\bbridge_[a-z_]+\b`)
)

// What the documentation names is there: tests, files, flags, settings, metrics.
func TestNamesExist(t *testing.T) {
	tests, literals := namesOf(t)
	paths, _ := tree()
	for page, text := range pages(t) {
		if strings.Contains(page, "testdata/") {
			continue
		}
		for _, name := range testName.FindAllString(text, -1) {
			if !tests[name] {
				t.Errorf("%s: there is no %s", page, name)
			}
		}
		for _, name := range fileName.FindAllString(text, -1) {
			if !slices.ContainsFunc(paths, func(p string) bool { return matches(p, name, page) }) {
				t.Errorf("%s: there is no file %s", page, name)
			}
		}
		for _, m := range flagName.FindAllStringSubmatch(text, -1) {
			if !literals[m[1]] && !literals["--"+m[1]] {
				t.Errorf("%s: there is no flag --%s", page, m[1])
			}
		}
		for _, name := range metric.FindAllString(text, -1) {
			if !literals[name] && !literals[strings.TrimPrefix(name, "bridge_")] {
				t.Errorf("%s: there is no metric %s", page, name)
			}
		}
		for _, m := range setting.FindAllStringSubmatch(text, -1) {
			last := m[1][strings.LastIndex(m[1], ".")+1:]
			if !literals[last] && !strings.HasPrefix(last, "bridge_") { // those are metrics
				t.Errorf("%s: there is no setting %s", page, m[1])
			}
		}
	}
}

// matches reports whether a name on a page, perhaps with a star, means this file.
func matches(file, name, page string) bool {
	for _, full := range []string{name, path.Join(path.Dir(page), name)} {
		if ok, _ := path.Match(full, file); ok {
			return true
		}
	}
	ok, _ := path.Match(path.Base(name), path.Base(file))
	return ok && (!strings.Contains(name, "/") || strings.HasSuffix(path.Dir(file), path.Dir(name)))
}

// namesOf collects test functions, and what stands in string literals and struct tags of
// the code: names of flags and settings.
func namesOf(t *testing.T) (tests, literals map[string]bool) {
	t.Helper()
	tests, literals = map[string]bool{}, map[string]bool{}
	word := regexp.MustCompile(`[A-Za-z_-]+`)
	for _, s := range sources(t) {
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && (s.test || s.pkg == "bridgetest") {
				tests[f.Name.Name] = true
			}
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			lit, ok := n.(*ast.BasicLit)
			if !ok || s.test {
				return true
			}
			if text, err := strconv.Unquote(lit.Value); err == nil {
				for _, w := range word.FindAllString(text, -1) {
					literals[w] = true
				}
			}
			return true
		})
	}
	return tests, literals
}

// Lines that pages tell people to type exist. Those of the runbooks and the README are
// typed by TestPages of cmd/bridge, exit code and all.
func TestCommandsExist(t *testing.T) {
	makefile := texts(t)["Makefile"]
	for page, text := range pages(t) {
		if page == "README.md" || strings.HasPrefix(page, "runbooks/") || strings.Contains(page, "testdata/") {
			continue
		}
		for _, m := range fence.FindAllStringSubmatch(text, -1) {
			if m[1] != "sh" {
				continue
			}
			for line := range strings.Lines(m[2]) {
				checkCommand(t, page, strings.TrimSpace(line), makefile)
			}
		}
	}
}

func checkCommand(t *testing.T, page, line, makefile string) {
	t.Helper()
	words := strings.Fields(line)
	for len(words) > 0 && strings.Contains(words[0], "=") {
		words = words[1:] // variables of the command
	}
	if len(words) == 0 {
		return
	}
	switch words[0] {
	case "make":
		for _, w := range words[1:] {
			if !strings.Contains(w, "=") && !strings.Contains(makefile, "\n"+w+": ## ") {
				t.Errorf("%s: the Makefile has no target %s", page, w)
			}
		}
	case "go":
		for _, w := range words[2:] {
			if folder, ok := strings.CutPrefix(w, "./"); ok {
				if _, err := os.Stat(filepath.Join(root, strings.TrimSuffix(folder, "..."))); err != nil {
					t.Errorf("%s: %q: there is no %s", page, line, w)
				}
			}
		}
	default:
		t.Errorf("%s: nobody tries %q", page, line)
	}
}
