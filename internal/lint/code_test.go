package lint

import (
	"go/ast"
	"go/token"
	"strings"
	"testing"
)

func TestPackagesAreDocumented(t *testing.T) {
	documented := map[string]bool{}
	for _, s := range sources(t) {
		if !s.test {
			documented[s.pkg] = documented[s.pkg] || s.file.Doc.Text() != ""
		}
	}
	for pkg, ok := range documented {
		if !ok {
			t.Errorf("package %s has no doc comment", pkg)
		}
	}
}

// obvious methods have a contract that everybody knows.
var obvious = map[string]bool{
	"Error": true, "Unwrap": true, "String": true, "Close": true, "Len": true, "Less": true, "Swap": true,
	"MarshalText": true, "UnmarshalText": true, "MarshalJSON": true, "UnmarshalJSON": true, "Write": true, "Read": true,
}

func TestExportsAreDocumented(t *testing.T) {
	for _, s := range sources(t) {
		if s.test || s.file.Name.Name == "main" {
			continue
		}
		for _, d := range s.file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				checkFunc(t, s, d)
			case *ast.GenDecl:
				checkDecl(t, s, d)
			}
		}
	}
}

func checkFunc(t *testing.T, s *source, f *ast.FuncDecl) {
	t.Helper()
	if !f.Name.IsExported() || f.Recv != nil && (!ast.IsExported(receiver(f)) || obvious[f.Name.Name]) {
		return
	}
	if !saysName(f.Doc.Text(), f.Name.Name) {
		t.Errorf("%s: the comment of %s does not begin with its name", s.at(f), f.Name.Name)
	}
}

func receiver(f *ast.FuncDecl) string {
	name := ""
	ast.Inspect(f.Recv.List[0].Type, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && name == "" {
			name = id.Name
		}
		return true
	})
	return name
}

// saysName reports whether a comment begins with the name, after an article perhaps.
func saysName(doc, name string) bool {
	words := strings.Fields(doc)
	if len(words) > 1 && (words[0] == "A" || words[0] == "An" || words[0] == "The") {
		words = words[1:]
	}
	return len(words) > 0 && strings.TrimRight(words[0], ":,;.'s") == strings.TrimRight(name, "s")
}

func checkDecl(t *testing.T, s *source, d *ast.GenDecl) {
	t.Helper()
	for _, spec := range d.Specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			doc := spec.Doc.Text() + d.Doc.Text()
			if spec.Name.IsExported() && !saysName(doc, spec.Name.Name) {
				t.Errorf("%s: the comment of %s does not begin with its name", s.at(spec), spec.Name.Name)
			}
		case *ast.ValueSpec:
			// A group may speak for its members.
			if spec.Names[0].IsExported() && d.Doc.Text()+spec.Doc.Text()+spec.Comment.Text() == "" {
				t.Errorf("%s: %s has no comment", s.at(spec), spec.Names[0].Name)
			}
		}
	}
}

func TestInterfacesAreSmall(t *testing.T) {
	for _, s := range sources(t) {
		ast.Inspect(s.file, func(n ast.Node) bool {
			if i, ok := n.(*ast.InterfaceType); ok && !s.test && i.Methods.NumFields() > 4 {
				t.Errorf("%s: an interface of %d methods, at most 4", s.at(i), i.Methods.NumFields())
			}
			return true
		})
	}
}

func TestContextComesFirst(t *testing.T) {
	for _, s := range sources(t) {
		ast.Inspect(s.file, func(n ast.Node) bool {
			f, ok := n.(*ast.FuncType)
			if !ok {
				return true
			}
			for i, p := range f.Params.List {
				if i > 0 && isContext(p.Type) && !isContext(f.Params.List[0].Type) && !isTest(f.Params.List[0].Type) {
					t.Errorf("%s: the context is not the first parameter", s.at(f))
				}
			}
			return true
		})
	}
}

func isContext(e ast.Expr) bool { return isSelector(e, "context", "Context") }

// isTest allows for func(t *testing.T, ctx context.Context, …), as testing has it.
func isTest(e ast.Expr) bool {
	if star, ok := e.(*ast.StarExpr); ok {
		e = star.X
	}
	sel, ok := e.(*ast.SelectorExpr)
	return ok && (isSelector(e, "testing", "TB") || isSelector(e, "testing", "T") || isSelector(e, "testscript", sel.Sel.Name))
}

func isSelector(e ast.Expr, pkg, name string) bool {
	sel, ok := e.(*ast.SelectorExpr)
	if !ok || sel.Sel.Name != name {
		return false
	}
	id, ok := sel.X.(*ast.Ident)
	return ok && id.Name == pkg
}

func TestNoInitNoPanic(t *testing.T) {
	for _, s := range sources(t) {
		for _, d := range s.file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if f.Name.Name == "init" && f.Recv == nil {
				t.Errorf("%s: init runs behind everybody's back", s.at(f))
			}
			if s.test || strings.HasPrefix(f.Name.Name, "Must") {
				continue
			}
			ast.Inspect(f, func(n ast.Node) bool {
				if c, ok := n.(*ast.CallExpr); ok && isIdent(c.Fun, "panic") {
					t.Errorf("%s: %s panics", s.at(c), f.Name.Name)
				}
				return true
			})
		}
	}
}

func isIdent(e ast.Expr, name string) bool {
	id, ok := e.(*ast.Ident)
	return ok && id.Name == name
}

// TestNoMutablePackageVariables: a variable of a package has a value from the beginning
// and is never given another one.
func TestNoMutablePackageVariables(t *testing.T) {
	vars := map[string]map[string]bool{}
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		for _, d := range s.file.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.VAR {
				continue
			}
			for _, spec := range g.Specs {
				notePackageVar(t, s, g, spec.(*ast.ValueSpec), vars)
			}
		}
	}
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			for _, target := range assigned(n) {
				if id := base(target); id != nil && vars[s.pkg][id.Name] && ofPackage(s, id) {
					t.Errorf("%s: %s is a variable of the package and is changed", s.at(n), id.Name)
				}
			}
			return true
		})
	}
}

func notePackageVar(t *testing.T, s *source, g *ast.GenDecl, spec *ast.ValueSpec, vars map[string]map[string]bool) {
	t.Helper()
	embedded := g.Doc != nil && strings.Contains(g.Doc.List[len(g.Doc.List)-1].Text, "go:embed")
	for _, name := range spec.Names {
		if len(spec.Values) == 0 && !embedded {
			t.Errorf("%s: variable %s of the package has no value", s.at(spec), name.Name)
		}
		if vars[s.pkg] == nil {
			vars[s.pkg] = map[string]bool{}
		}
		vars[s.pkg][name.Name] = name.Name != "_"
	}
}

// assigned are the expressions that a statement gives new values.
func assigned(n ast.Node) []ast.Expr {
	switch n := n.(type) {
	case *ast.AssignStmt:
		if n.Tok != token.DEFINE {
			return n.Lhs
		}
	case *ast.IncDecStmt:
		return []ast.Expr{n.X}
	}
	return nil
}

// base is the variable that an expression such as a.b[c] begins with.
func base(e ast.Expr) *ast.Ident {
	switch e := e.(type) {
	case *ast.Ident:
		return e
	case *ast.IndexExpr:
		return base(e.X)
	case *ast.SelectorExpr:
		return base(e.X)
	}
	return nil
}

// ofPackage reports whether a name means something outside its function.
func ofPackage(s *source, id *ast.Ident) bool {
	return id.Obj == nil || s.file.Scope.Lookup(id.Name) == id.Obj
}
