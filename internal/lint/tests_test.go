package lint

import (
	"go/ast"
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

// leftOver are notes of things that were not done, each broken here so that it is not found
// in this file.
var leftOver = []string{"TO" + "DO", "FIX" + "ME", "XX" + "X:", "//no" + "lint", "_ = er" + "r\n"}

// machine are names that mean something on one machine only, and hosts that packages come
// from, which everybody configures for themselves.
var machine = []string{
	"/wo" + "rk/", "/ro" + "ot/", "/ho" + "me/", "/Us" + "ers/",
	"proxy.go" + "lang.org", "regis" + "try.npm", "repo.ma" + "ven", "repo1.ma" + "ven", "py" + "pi.org", "arti" + "factory",
}

func TestNothingIsLeftOver(t *testing.T) {
	for path, text := range texts(t) {
		if path == "LICENSE" || path == "go.sum" || strings.Contains(path, "testdata/golden/") {
			continue
		}
		for _, c := range []struct {
			what  string
			words []string
		}{{"was left over", leftOver}, {"is a place of one machine", machine}} {
			for _, word := range c.words {
				if at := strings.Index(text, word); at >= 0 {
					t.Errorf("%s:%d: %q %s", path, 1+strings.Count(text[:at], "\n"), word, c.what)
				}
			}
		}
	}
}
