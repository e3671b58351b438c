package lint

import (
	"go/ast"
	"go/token"
	"slices"
	"testing"
)

// The budget, in lines. Medians keep the tree readable in one sitting, maxima keep one
// file or function from taking everything in.
const (
	fileMedian, fileP95, fileMax = 165, 450, 700
	testFileMax                  = 900
	funcMedian, funcP95, funcMax = 12, 45, 80
	branchesP95                  = 10
)

func TestSizes(t *testing.T) {
	var files, functions, branches []int
	for _, s := range sources(t) {
		if s.test {
			if s.lines > testFileMax {
				t.Errorf("%s has %d lines, a test file may have %d", s.path, s.lines, testFileMax)
			}
			continue
		}
		files = append(files, s.lines)
		if s.lines > fileMax {
			t.Errorf("%s has %d lines, a file may have %d", s.path, s.lines, fileMax)
		}
		for _, d := range s.file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Body == nil {
				continue
			}
			n := s.fset.Position(f.End()).Line - s.fset.Position(f.Pos()).Line + 1
			functions, branches = append(functions, n), append(branches, cyclomatic(f))
			if n > funcMax {
				t.Errorf("%s: %s has %d lines, a function may have %d", s.at(f), f.Name.Name, n, funcMax)
			}
		}
	}
	for _, c := range []struct {
		what        string
		values      []int
		part, limit int // percent
	}{
		{"median of lines in a file", files, 50, fileMedian},
		{"p95 of lines in a file", files, 95, fileP95},
		{"median of lines in a function", functions, 50, funcMedian},
		{"p95 of lines in a function", functions, 95, funcP95},
		{"p95 of cyclomatic complexity", branches, 95, branchesP95},
	} {
		slices.Sort(c.values)
		got := c.values[(len(c.values)-1)*c.part/100]
		t.Logf("%s: %d, at most %d", c.what, got, c.limit)
		if got > c.limit {
			t.Errorf("%s is %d, the budget is %d", c.what, got, c.limit)
		}
	}
}

// cyclomatic is one more than the number of places where a function can go two ways.
func cyclomatic(f *ast.FuncDecl) int {
	n := 1
	ast.Inspect(f, func(node ast.Node) bool {
		switch x := node.(type) {
		case *ast.IfStmt, *ast.ForStmt, *ast.RangeStmt:
			n++
		case *ast.CaseClause:
			if x.List != nil {
				n++
			}
		case *ast.CommClause:
			if x.Comm != nil {
				n++
			}
		case *ast.BinaryExpr:
			if x.Op == token.LAND || x.Op == token.LOR {
				n++
			}
		}
		return true
	})
	return n
}
