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
	"time"

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

// A story is what the commands of one script remember.
type story struct {
	before string    // files and servers as remember saw them
	last   *exec.Cmd // that was sent a signal
}

type storyKey struct{}

func storyOf(ts *testscript.TestScript) *story { return ts.Value(storyKey{}).(*story) }

// cmdRemember notes everything in the work directory and on both servers, for
// cmdUnchanged.
func cmdRemember(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: remember")
	}
	storyOf(ts).before = snapshot(ts) + serversOf(ts).snapshot(ts)
}

// cmdUnchanged holds that everything in the work directory is as it was remembered (names,
// modes and bytes), and so is every topic and stream (who it is, and from where to where it
// holds records).
func cmdUnchanged(ts *testscript.TestScript, neg bool, args []string) {
	before, now := storyOf(ts).before, snapshot(ts)+serversOf(ts).snapshot(ts)
	if neg || len(args) != 0 || before == "" {
		ts.Fatalf("usage: unchanged, after remember")
	}
	if now != before {
		ts.Fatalf("something changed:\n--- before\n%s--- now\n%s", before, now)
	}
}

// cmdFlip flips one bit of the last byte of a text, at its last place in a file:
//
//	flip FILE TEXT
func cmdFlip(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: flip FILE TEXT")
	}
	file := ts.MkAbs(args[0])
	b := []byte(ts.ReadFile(file))
	at := strings.LastIndex(string(b), args[1])
	if at < 0 {
		ts.Fatalf("%s has no %q", args[0], args[1])
	}
	b[at+len(args[1])-1] ^= 1
	ts.Check(os.WriteFile(file, b, 0o600))
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
			if step == "len" {
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
	storyOf(ts).last = bg[0]
	ts.Check(bg[0].Process.Signal(signals[args[0]]))
}

// storyPatience bounds every wait of a story.
const storyPatience = 20 * time.Second

// cmdWaitFor waits until a file is there, and holds a text if one is given:
//
//	waitfor FILE [TEXT]
func cmdWaitFor(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: waitfor FILE [TEXT]")
	}
	text := strings.Join(args[1:], "")
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(storyPatience)
	for {
		b, err := os.ReadFile(ts.MkAbs(args[0]))
		if err == nil && strings.Contains(string(b), text) {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			ts.Fatalf("%s: no %q after %s: %q, %v", args[0], text, storyPatience, b, err)
		}
	}
}

// cmdEnded holds how the program ended that was sent a signal, once it was waited for:
//
//	! exec bridge mirror run &run&
//	signal TERM
//	wait run
//	ended 143
func cmdEnded(ts *testscript.TestScript, neg bool, args []string) {
	last := storyOf(ts).last
	if neg || len(args) != 1 || last == nil || last.ProcessState == nil {
		ts.Fatalf("usage: ended CODE, after signal and wait")
	}
	if got := fmt.Sprint(last.ProcessState.ExitCode()); got != args[0] {
		ts.Fatalf("it ended with %s (%s), want %s", got, last.ProcessState, args[0])
	}
}
