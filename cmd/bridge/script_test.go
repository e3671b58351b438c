package main

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"
)

// cmdCode runs a program and holds that it ends with this exit code:
//
//	code 2 bridge switch
//
// What it printed is there for stdout and stderr afterwards.
func cmdCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code NUMBER program [args...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// cmdUnchanged holds that everything in the work directory is as it was when it was first
// called, but for the files that the script itself makes: stdout and stderr.
//
//	unchanged          remember, the first time; compare, later
func cmdUnchanged(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: unchanged")
	}
	now := snapshot(ts)
	before := ts.Getenv("UNCHANGED")
	if before == "" {
		ts.Setenv("UNCHANGED", now)
		return
	}
	if now != before {
		ts.Fatalf("files changed:\n--- before\n%s--- now\n%s", before, now)
	}
}

func snapshot(ts *testscript.TestScript) string {
	root := ts.Getenv("WORK")
	var b strings.Builder
	ts.Check(filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.Name() == ".tmp" {
			return filepath.SkipDir
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%s %s", strings.TrimPrefix(path, root), info.Mode())
		if d.Type().IsRegular() {
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %x", sha256.Sum256(text))
		}
		b.WriteString("\n")
		return nil
	}))
	return b.String()
}

// cmdJSON holds that stdout is one JSON object in which the path has the value:
//
//	jsonpath exit_code 2
//	jsonpath findings.0.line 3
func cmdJSON(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: jsonpath PATH VALUE")
	}
	var v any
	if err := json.Unmarshal([]byte(ts.ReadFile("stdout")), &v); err != nil {
		ts.Fatalf("stdout is not JSON: %v", err)
	}
	for step := range strings.SplitSeq(args[0], ".") {
		switch in := v.(type) {
		case map[string]any:
			v = in[step]
		case []any:
			i, err := strconv.Atoi(step)
			if step == "#" {
				v = len(in)
				continue
			}
			if err != nil || i >= len(in) {
				ts.Fatalf("%s: no item %s of %d", args[0], step, len(in))
			}
			v = in[i]
		default:
			ts.Fatalf("%s: %v has no %s", args[0], in, step)
		}
	}
	if got := fmt.Sprint(v); got != args[1] {
		ts.Fatalf("%s is %s, want %s", args[0], got, args[1])
	}
}

// cmdSignal sends a signal to the one background program: signal TERM.
func cmdSignal(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]os.Signal{"TERM": syscall.SIGTERM, "INT": os.Interrupt, "KILL": os.Kill}
	bg := ts.BackgroundCmds()
	if neg || len(args) != 1 || signals[args[0]] == nil || len(bg) != 1 {
		ts.Fatalf("usage: signal TERM|INT|KILL, with one program in the background")
	}
	ts.Check(bg[0].Process.Signal(signals[args[0]]))
}
