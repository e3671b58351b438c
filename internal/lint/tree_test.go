package lint

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const (
	root   = "../.."
	module = "github.com/kinesis-msk-bridge/bridge"
)

// A source is one Go file.
type source struct {
	path  string // from the root of the tree
	pkg   string // its folder, "." for the root package
	test  bool
	lines int
	file  *ast.File
	fset  *token.FileSet
}

// at says where a node is, for people.
func (s *source) at(n ast.Node) string {
	p := s.fset.Position(n.Pos())
	return s.path + ":" + strconv.Itoa(p.Line)
}

// tree is everything in the tree but what .gitignore leaves out: paths, and Go files.
var tree = sync.OnceValues(func() (paths []string, sources []*source) {
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(root, p)
		name = filepath.ToSlash(name)
		if d.IsDir() {
			if skipped(name) {
				return filepath.SkipDir
			}
			return nil
		}
		if name == ".git" || strings.HasSuffix(name, ".test") || strings.HasSuffix(name, ".out") {
			return nil
		}
		paths = append(paths, name)
		if strings.HasSuffix(name, ".go") {
			sources = append(sources, parse(name))
		}
		return nil
	})
	if err != nil {
		return nil, nil
	}
	return paths, sources
})

func skipped(folder string) bool {
	switch path.Base(folder) {
	case ".git", "bin", ".cache", ".bridge", "node_modules", "target":
		return true
	}
	return false
}

func parse(name string) *source {
	s := &source{path: name, pkg: path.Dir(name), test: strings.HasSuffix(name, "_test.go"), fset: token.NewFileSet()}
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		return s
	}
	s.lines = strings.Count(string(text), "\n")
	s.file, _ = parser.ParseFile(s.fset, name, text, parser.ParseComments)
	return s
}

// sources are the Go files of the tree; it fails the test if there are hardly any.
func sources(t *testing.T) []*source {
	t.Helper()
	_, all := tree()
	if len(all) < 100 {
		t.Fatalf("only %d Go files found", len(all))
	}
	for _, s := range all {
		if s.file == nil {
			t.Fatalf("%s cannot be read or parsed", s.path)
		}
	}
	return all
}

// texts are the files of the tree that people write, by path. The map is the caller's.
func texts(t *testing.T) map[string]string {
	t.Helper()
	all := readTexts()
	if len(all) < 100 {
		t.Fatalf("only %d files found", len(all))
	}
	return maps.Clone(all)
}

var readTexts = sync.OnceValue(func() map[string]string {
	paths, _ := tree()
	out := map[string]string{}
	for _, p := range paths {
		b, err := os.ReadFile(filepath.Join(root, p))
		if err != nil {
			return nil
		}
		if len(b) < 1<<20 && !strings.Contains(string(b), "\x00") && !strings.HasSuffix(p, ".z") {
			out[p] = string(b)
		}
	}
	return out
})
