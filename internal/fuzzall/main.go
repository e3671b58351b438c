// Command fuzzall runs every fuzz target of the module for a given time each, since
// go test -fuzz takes only one.
//
//	go run ./internal/fuzzall -time 10m
package main

import (
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

var target = regexp.MustCompile(`(?m)^func (Fuzz\w+)\(`)

func main() {
	each := flag.Duration("time", time.Minute, "for each target")
	flag.Parse()
	if err := run(*each); err != nil {
		fmt.Fprintln(os.Stderr, "fuzzall:", err)
		os.Exit(1)
	}
}

func run(each time.Duration) error {
	n := 0
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		src, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range target.FindAllSubmatch(src, -1) {
			n++
			pkg, name := "./"+filepath.Dir(path), string(m[1])
			fmt.Printf("== %s %s for %s\n", pkg, name, each)
			// Making each finding smaller would take a minute of the time, each time.
			c := exec.Command("go", "test", "-run", "^$", "-fuzz", "^"+name+"$", "-fuzztime", each.String(), "-fuzzminimizetime", "5s", pkg)
			c.Stdout, c.Stderr = os.Stdout, os.Stderr
			if err := c.Run(); err != nil {
				return fmt.Errorf("%s %s: %w", pkg, name, err)
			}
		}
		return nil
	})
	if err == nil && n == 0 {
		err = fmt.Errorf("no fuzz target found: run this in the root of the tree")
	}
	fmt.Printf("%d fuzz targets, no failure\n", n)
	return err
}
