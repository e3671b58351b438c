package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gofrs/flock"
	"github.com/google/renameio/v2"
	"github.com/urfave/cli/v2"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/report"
	"github.com/kinesis-msk-bridge/bridge/state"
	"github.com/kinesis-msk-bridge/bridge/verify"
)

// maxReport bounds what is read into memory: a report of a million windows is smaller.
const maxReport = 1 << 30

// findResult reads the result that the flags name.
func findResult(c *cli.Context, l *loaded) (verify.Result, error) {
	if c.IsSet("run") && c.IsSet("result") {
		return verify.Result{}, usage(errors.New("--run and --result say the same twice"))
	}
	if c.IsSet("result") {
		return readResult(c.String("result"))
	}
	if id := c.String("run"); id != "" {
		d, err := openRun(l, id)
		if err != nil {
			return verify.Result{}, err
		}
		r, ok, err := d.result()
		if err == nil && !ok {
			err = reportError(fmt.Errorf("run %s: %w", d.id, report.ErrNotDone))
		}
		return *r, err
	}
	return lastResult(l)
}

// lastResult is that of the last run that is done and compared records. One over ranges only
// is reported if it is named.
func lastResult(l *loaded) (verify.Result, error) {
	ids, err := listRuns(l)
	if err != nil {
		return verify.Result{}, err
	}
	for _, id := range slices.Backward(ids) {
		d, err := openRun(l, id)
		if err != nil {
			return verify.Result{}, err
		}
		r, ok, err := d.result()
		if err != nil {
			return verify.Result{}, err
		}
		if ok && r.State == "done" && r.Kind != kindQuick {
			return *r, nil
		}
	}
	return verify.Result{}, usageHint(fmt.Errorf("workflow %q has no run of verify that is done", l.Workflow), "bridge verify run makes one")
}

// readResult takes a result as it is, or inside the envelope that commands print.
func readResult(file string) (verify.Result, error) {
	var r verify.Result
	b, err := readNamed(file)
	if err != nil {
		return r, err
	}
	var head struct {
		Schema string          `json:"schema"`
		Result json.RawMessage `json:"result"`
	}
	if err := json.Unmarshal(b, &head); err != nil {
		return r, usage(fmt.Errorf("%s is not a result of bridge verify: %w", file, err))
	}
	if head.Schema == schemaName {
		b = head.Result
	}
	if err := json.Unmarshal(b, &r); err != nil || r.Schema != verify.Schema {
		return r, usageHint(fmt.Errorf("%s is not a result of bridge verify of the form %s", file, verify.Schema),
			"bridge verify run --output json prints one")
	}
	return r, nil
}

// revealed names the keys of a file by the hashes under which they stand in a result. A
// key that nobody names stays hidden.
func revealed(file string, w state.Workflow) (map[string]string, error) {
	if file == "" {
		return nil, nil
	}
	if w.Name == "" {
		return nil, usage(errors.New("--reveal-keys needs the workflow's state, which holds the key of the hashes"))
	}
	b, err := readNamed(file)
	if err != nil {
		return nil, err
	}
	keys, hash := map[string]string{}, verify.KeyHasher(w.Key)
	for line := range bytes.Lines(b) {
		key := bytes.TrimRight(line, "\r\n")
		keys[hash(key)] = string(key)
	}
	return keys, nil
}

// readNamed reads a file that an argument names.
func readNamed(file string) ([]byte, error) {
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, usage(fmt.Errorf("there is no file %s", file))
	case err != nil:
		return nil, usage(err)
	case info.Size() > maxReport:
		return nil, usage(fmt.Errorf("%s has %d bytes, which is more than a report has", file, info.Size()))
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, usage(err)
	}
	return b, nil
}

// safeName makes a file name of what came from outside.
func safeName(s string) string {
	s = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' {
			return r
		}
		return '_'
	}, s)
	return s[:min(len(s), 120)]
}

// beside is the file of another form beside a report.
func beside(file string, f report.Form) string {
	return strings.TrimSuffix(file, report.JSON.Extension()) + f.Extension()
}

// lockPatience is how long a command waits for another one that writes the same report.
const lockPatience = 10 * time.Second

// lockReport keeps other commands from writing reports in the directory of file until the
// returned function is called; it does nothing if there is no such directory. The lock is on
// the directory, because a writer replaces the file: a process that opens the new file does
// not see a lock on the old one.
func lockReport(ctx context.Context, file string) (unlock func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	l := flock.New(filepath.Dir(file), flock.SetFlag(os.O_RDONLY))
	_, err = l.TryLockContext(ctx, 20*time.Millisecond)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return func() {}, nil
	case errors.Is(err, context.DeadlineExceeded):
		return nil, bridge.WithHint(fmt.Errorf("another process writes %s: %w", file, bridge.ErrLocked), "run the command again when that process has ended")
	case err != nil:
		return nil, usage(fmt.Errorf("lock %s: %w", file, err))
	}
	return func() { _ = l.Close() }, nil // the lock ends with the process in any case
}

// replaceable refuses to write over a report that somebody signed, and over a file that
// is no report.
func replaceable(file string, replace bool) error {
	if _, err := os.Lstat(file); errors.Is(err, fs.ErrNotExist) || replace {
		return nil
	}
	r, err := openReport(file)
	switch {
	case err != nil:
		return usageHint(fmt.Errorf("%s is there already and cannot be read as a report", file), "choose another --name, or --replace it")
	case len(r.Approvals) > 0:
		return usageHint(fmt.Errorf("%s is signed (signatures: %d); it was not replaced", file, len(r.Approvals)),
			"choose another --name, or --replace it together with its signatures")
	}
	return nil
}

// writeReport writes a report and its renderings, the report itself last, so that what it
// names is there. Each file is whole or not there. A report that could not be read again
// is not written.
func writeReport(file string, r *report.Report, forms []report.Form) (reportResult, error) {
	out := reportResult{Report: file, Files: map[string]string{}, ID: r.ID, Verdict: string(r.Verdict), Root: r.Root,
		ValidUntil: r.ValidUntil, Approvals: len(r.Approvals)}
	if err := readable(r); err != nil {
		return out, err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return out, fmt.Errorf("make the directory of the report: %w", err)
	}
	for i := len(forms) - 1; i >= 0; i-- {
		name := beside(file, forms[i])
		var b bytes.Buffer
		if err := report.Write(&b, r, forms[i]); err != nil {
			return out, err
		}
		if err := renameio.WriteFile(name, b.Bytes(), 0o600); err != nil {
			return out, fmt.Errorf("write the report: %w", err)
		}
		out.Files[string(forms[i])] = name
	}
	return out, nil
}

// readable holds that the file of a report can be decoded and passes its own checks.
func readable(r *report.Report) error {
	text, err := r.Encode()
	if err != nil {
		return err
	}
	again, err := report.Decode(text)
	if err != nil {
		return fmt.Errorf("nothing was written: the report cannot be read again: %w", err)
	}
	controls, err := again.Check()
	for _, c := range controls {
		if !c.Pass {
			return fmt.Errorf("nothing was written: the report would not pass its check: %s: %s", c.Name, c.Message)
		}
	}
	return err
}

// reportError gives the errors of package report their class: what was altered does not
// say what it said.
func reportError(err error) error {
	switch {
	case errors.Is(err, report.ErrAltered):
		return classed{bridge.WithHint(err, "nobody should act on this file; ask for it again where it was made"), errInconsistent}
	case errors.Is(err, report.ErrNotDone):
		return usageHint(err, "bridge verify resume goes on with it")
	}
	return err
}
