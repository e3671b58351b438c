package lint

import (
	"go/ast"
	"regexp"
	"strings"
	"testing"
)

// Nothing sleeps to wait: a test that does is slow where it passes and fails where the
// machine is busy. In a bubble of testing/synctest, time is fake.
func TestNobodySleeps(t *testing.T) {
	for _, s := range sources(t) {
		ast.Inspect(s.file, func(n ast.Node) bool {
			if c, ok := n.(*ast.CallExpr); ok && isSelector(c.Fun, "synctest", "Test") {
				return false
			}
			if e, ok := n.(ast.Expr); ok && isSelector(e, "time", "Sleep") {
				t.Errorf("%s: sleeps", s.at(n))
			}
			return true
		})
	}
}

// No test leaves itself out: what cannot run fails, and what must not run is not there.
func TestNothingIsSkipped(t *testing.T) {
	for _, s := range sources(t) {
		ast.Inspect(s.file, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if ok && s.test && (sel.Sel.Name == "Skip" || sel.Sel.Name == "Skipf" || sel.Sel.Name == "SkipNow") {
				t.Errorf("%s: skips", s.at(n))
			}
			return true
		})
	}
}

// Each known gap of a server names server, test, behaviour and version.
func TestKnownGapsAreNamed(t *testing.T) {
	for _, s := range sources(t) {
		ast.Inspect(s.file, func(n ast.Node) bool {
			lit, ok := n.(*ast.CompositeLit)
			if !ok || !isSelector(lit.Type, "bridgetest", "Gap") {
				return true
			}
			if len(lit.Elts) != 4 {
				t.Errorf("%s: a gap has Server, Test, Behaviour and Version", s.at(lit))
			}
			return true
		})
	}
}

// leftOver are notes of things that were not done.
var leftOver = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X|HA` + `CK)\b|//no` + `lint|_ = er` + `r\b`)

// machine are names that mean something on one machine only, and hosts that packages come
// from, which everybody configures for themselves.
var machine = regexp.MustCompile(`/wo` + `rk/|/ro` + `ot/|/ho` + `me/[a-z]|/Us` + `ers/|proxy\.go` + `lang\.org|regis` + `try\.npm|repo1?\.ma` + `ven|py` + `pi\.org|arti` + `factory`)

func TestNothingIsLeftOver(t *testing.T) {
	for path, text := range texts(t) {
		if path == "LICENSE" || path == "go.sum" || strings.Contains(path, "testdata/golden/") {
			continue
		}
		for i, line := range strings.Split(text, "\n") {
			if m := leftOver.FindString(line); m != "" {
				t.Errorf("%s:%d: %s", path, i+1, m)
			}
			if m := machine.FindString(line); m != "" {
				t.Errorf("%s:%d names %s, which is a place of one machine", path, i+1, m)
			}
		}
	}
}
