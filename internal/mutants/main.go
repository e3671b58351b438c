// Command mutants breaks the code on purpose and sees that a test notices.
//
// Each file in patches is a mutant: a few lines of header, an empty line, and a patch in
// the form of git diff. The header says what is broken and which test must fail:
//
//	breaks: a child is released before its parent is acknowledged
//	package: ./mirror
//	test: TestChildWaitsForParent
//	tags: integration          (optional)
//
// A mutant is killed if its patch applies, the package compiles, and the named test
// fails. One whose patch no longer applies is an error, not a success.
//
//	go run ./internal/mutants [-draw N] [-plain] [-only SUBSTRING] [-seed N]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

func main() {
	draw := flag.Int("draw", 0, "run only a seeded choice of `N`; all if 0")
	only := flag.String("only", "", "run mutants whose file name contains this")
	plain := flag.Bool("plain", false, "leave out mutants that need real servers")
	seed := flag.Uint64("seed", uint64(time.Now().Unix()), "of the choice made by -draw")
	flag.Parse()
	if err := run(*draw, *plain, *only, *seed); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

func run(draw int, plain bool, only string, seed uint64) error {
	files, err := filepath.Glob("internal/mutants/patches/*.patch")
	if err != nil || len(files) == 0 {
		return errors.Join(err, errors.New("no patches: run this in the root of the tree"))
	}
	files = slices.DeleteFunc(files, func(f string) bool { return !strings.Contains(f, only) })
	if draw > 0 {
		rng := rand.New(rand.NewPCG(seed, 0))
		rng.Shuffle(len(files), func(i, j int) { files[i], files[j] = files[j], files[i] })
		files = files[:min(len(files), draw)]
		slices.Sort(files)
		fmt.Printf("seed %d\n", seed)
	}
	tree, err := os.MkdirTemp("", "bridge-mutants-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tree)
	if err := os.CopyFS(tree, sources{os.DirFS(".")}); err != nil {
		return fmt.Errorf("copy the tree: %w", err)
	}
	mutants, err := readAll(files)
	if err != nil {
		return err
	}
	if plain {
		mutants = slices.DeleteFunc(mutants, func(m mutant) bool { return m.tags != "" })
	}
	if len(mutants) == 0 {
		return errors.New("no mutant is left to run")
	}
	if err := sound(tree, mutants); err != nil {
		return err
	}
	killed := 0
	for _, m := range mutants {
		began := time.Now()
		verdict := "killed by " + m.test
		if err := try(tree, m); err != nil {
			verdict = "SURVIVED: " + err.Error()
		} else {
			killed++
		}
		fmt.Printf("%-40s %5.1fs %s\n", m.name, time.Since(began).Seconds(), verdict)
	}
	fmt.Printf("%d of %d mutants killed\n", killed, len(mutants))
	if killed < len(mutants) {
		return errors.New("a mutant survived")
	}
	return nil
}

func readAll(files []string) (all []mutant, err error) {
	for _, f := range files {
		m, err := parse(f)
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return all, nil
}

// sound runs the named tests on the code as it is: one that fails anyway kills nothing.
func sound(tree string, mutants []mutant) error {
	type group struct{ pkg, tags, parent string }
	tests := map[group][]string{}
	for _, m := range mutants {
		g := group{pkg: m.pkg, tags: m.tags}
		if parent, _, sub := strings.Cut(m.test, "/"); sub {
			g.parent = parent
		}
		if !slices.Contains(tests[g], m.test) {
			tests[g] = append(tests[g], m.test)
		}
	}
	for g, names := range tests {
		began := time.Now()
		if out, err := goTest(tree, g.pkg, g.tags, names...); err != nil {
			return fmt.Errorf("a test of %s fails without a mutant: %s", g.pkg, out)
		}
		fmt.Printf("%-40s %5.1fs %d tests pass without a mutant\n", g.pkg, time.Since(began).Seconds(), len(names))
	}
	return nil
}

// goTest runs tests of one package by name: plain tests, or subtests of one test.
func goTest(tree, pkg, tags string, tests ...string) (string, error) {
	return command(tree, "", "go", "test", "-vet=off", "-count=1", "-failfast", "-timeout=120s", "-tags="+tags, "-run", pattern(tests), pkg)
}

// pattern is the value of -run. The flag takes a pattern for each level of names, and does not
// split at a slash that is in parentheses.
func pattern(tests []string) string {
	parent, _, sub := strings.Cut(tests[0], "/")
	if !sub {
		return "^(" + strings.Join(tests, "|") + ")$"
	}
	names := make([]string, len(tests))
	for i, t := range tests {
		names[i] = strings.TrimPrefix(t, parent+"/")
	}
	return "^" + parent + "$/^(" + strings.Join(names, "|") + ")$"
}

// sources leaves out what a build does not need.
type sources struct{ fs.FS }

func (s sources) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(s.FS, name)
	return slices.DeleteFunc(entries, func(e fs.DirEntry) bool {
		return name == "." && (e.Name() == ".git" || e.Name() == "bin")
	}), err
}

type mutant struct{ name, breaks, pkg, test, tags, patch string }

func parse(file string) (m mutant, err error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return m, err
	}
	m.name = strings.TrimSuffix(filepath.Base(file), ".patch")
	head, patch, found := strings.Cut(string(b), "\n\n")
	m.patch = patch
	for _, line := range strings.Split(head, "\n") {
		name, value, _ := strings.Cut(line, ": ")
		switch name {
		case "breaks":
			m.breaks = value
		case "package":
			m.pkg = value
		case "test":
			m.test = value
		case "tags":
			m.tags = value
		default:
			return m, fmt.Errorf("%s: unknown header line %q", file, line)
		}
	}
	if !found || m.breaks == "" || m.pkg == "" || m.test == "" {
		return m, fmt.Errorf("%s: needs breaks, package, test, an empty line and a patch", file)
	}
	return m, nil
}

// try returns nil if the mutant was killed.
func try(tree string, m mutant) (err error) {
	if out, err := apply(tree, m.patch, false); err != nil {
		return fmt.Errorf("the patch does not apply: %s", out)
	}
	defer func() {
		if out, back := apply(tree, m.patch, true); back != nil {
			err = errors.Join(err, fmt.Errorf("cannot be taken back: %s", out))
		}
	}()
	out, err := goTest(tree, m.pkg, m.tags, m.test)
	switch {
	case strings.Contains(out, "[build failed]") || strings.Contains(out, "[setup failed]"):
		return fmt.Errorf("does not compile: %s", out)
	case err == nil && strings.Contains(out, "no tests to run"):
		return fmt.Errorf("there is no test %s in %s", m.test, m.pkg)
	case err == nil:
		return fmt.Errorf("%s passes although %s", m.test, m.breaks)
	case !strings.Contains(out, "--- FAIL: "+m.test) && !strings.Contains(out, "panic: "):
		return fmt.Errorf("%s did not fail by itself: %s", m.test, out)
	}
	return nil
}

func apply(tree, patch string, reverse bool) (string, error) {
	args := []string{"apply", "--whitespace=nowarn", "--unidiff-zero"}
	if reverse {
		args = append(args, "--reverse")
	}
	return command(tree, patch, "git", append(args, "-")...)
}

func command(dir, stdin, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, name, args...)
	c.Dir = dir
	c.Stdin = strings.NewReader(stdin)
	out, err := c.CombinedOutput()
	if len(out) > 8000 { // the beginning says which test, the end how it went
		out = append(out[:4000:4000], out[len(out)-4000:]...)
	}
	return strings.TrimSpace(string(out)), err
}
