package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/state/filestate"
	"github.com/kinesis-msk-bridge/bridge/verify"
)

// The files of one run, in a directory of its own.
const (
	fileOptions  = "run.json"      // what was asked for
	fileBook     = "book"          // what is known so far, to resume from
	fileResult   = "result.json"   // what was found
	fileProgress = "progress.json" // how far it is
	fileStop     = "stop"          // somebody asked the run to stop
)

// A runDir keeps one verify run. Its files are readable by their owner only, since a
// book holds hashes that are made with the workflow's key.
type runDir struct {
	path string
	id   string
}

// runsDir is where the runs of a workflow are kept.
func (l *loaded) runsDir() string { return filepath.Join(l.stateDir(), l.Workflow+".verify") }

// runName is what a run may be called.
var runName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$`)

// newRun makes a directory for a run that begins now. Without a name it is named by the
// time.
func newRun(l *loaded, name string) (*runDir, error) {
	id := name
	if id == "" {
		id = strings.Replace(now().Format("20060102-150405.000"), ".", "", 1) + "-" + strings.ToLower(rand.Text()[:4])
	}
	d := &runDir{path: filepath.Join(l.runsDir(), id), id: id}
	if err := os.MkdirAll(l.runsDir(), 0o700); err != nil {
		return nil, fmt.Errorf("make a place for the run: %w", err)
	}
	err := os.Mkdir(d.path, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return nil, usageHint(fmt.Errorf("there is a run %s already", id), "bridge verify resume "+id+", or another --name")
	}
	if err != nil {
		return nil, fmt.Errorf("make a place for the run: %w", err)
	}
	return d, nil
}

// kindQuick is the kind of a run that compares ranges only.
const kindQuick = "quick"

// newest is the newest run that compares records, or if there is none the newest one.
func newest(l *loaded, ids []string) (string, error) {
	for _, id := range slices.Backward(ids) {
		d := &runDir{path: filepath.Join(l.runsDir(), id), id: id}
		var o verifyOptions
		if _, err := d.readJSON(fileOptions, &o); err != nil {
			return "", err
		}
		if !o.Quick {
			return id, nil
		}
	}
	return ids[len(ids)-1], nil
}

// openRun finds a run by its id, or by the beginning of it; "" and "last" are the newest
// that compares records.
func openRun(l *loaded, id string) (*runDir, error) {
	ids, err := listRuns(l)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, have := range ids {
		if strings.HasPrefix(have, id) {
			found = append(found, have)
		}
	}
	switch {
	case len(ids) > 0 && (id == "" || id == "last"):
		last, err := newest(l, ids)
		if err != nil {
			return nil, err
		}
		found = []string{last}
	case len(found) == 0:
		return nil, usageHint(fmt.Errorf("workflow %s has no verify run %q", l.Workflow, id), "bridge verify list shows those there are")
	case len(found) > 1 && !slices.Contains(found, id):
		return nil, usage(fmt.Errorf("%d runs begin with %q: %s", len(found), id, strings.Join(found, ", ")))
	case slices.Contains(found, id):
		found = []string{id}
	}
	return &runDir{path: filepath.Join(l.runsDir(), found[0]), id: found[0]}, nil
}

// listRuns are the ids of all runs, the oldest first.
func listRuns(l *loaded) ([]string, error) {
	entries, err := os.ReadDir(l.runsDir())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the runs: %w", err)
	}
	began := map[string]time.Time{}
	for _, e := range entries {
		info, err := os.Stat(filepath.Join(l.runsDir(), e.Name(), fileOptions))
		if err == nil {
			began[e.Name()] = info.ModTime()
		}
	}
	return slices.SortedFunc(maps.Keys(began), func(a, b string) int {
		return cmp.Or(began[a].Compare(began[b]), cmp.Compare(a, b))
	}), nil
}

// lock makes this process the one that runs it.
func (d *runDir) lock(ctx context.Context) (func() error, error) {
	release, err := filestate.New(d.path, "run").Lock(ctx)
	if errors.Is(err, bridge.ErrLocked) {
		return nil, bridge.WithHint(classed{fmt.Errorf("run %s is at work in another process", d.id), bridge.ErrLocked}, "bridge verify stop "+d.id)
	}
	return release, err
}

// write replaces a file, wholly or not at all, also if the machine stops meanwhile.
func (d *runDir) write(name string, b []byte) (err error) {
	f, err := os.CreateTemp(d.path, name+".new-")
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("write %s: %w", name, err), os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(b)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), filepath.Join(d.path, name)); err != nil {
		return err
	}
	dir, err := os.Open(d.path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// read is nil if there is no such file.
func (d *runDir) read(name string) ([]byte, error) {
	b, err := os.ReadFile(filepath.Join(d.path, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return b, err
}

// Load and Save make a runDir the store of a run.
func (d *runDir) Load(context.Context) ([]byte, error) { return d.read(fileBook) }

// Save keeps what is known so far.
func (d *runDir) Save(_ context.Context, b []byte) error { return d.write(fileBook, b) }

var _ verify.Store = (*runDir)(nil)

func (d *runDir) writeJSON(name string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return d.write(name, append(b, '\n'))
}

func (d *runDir) readJSON(name string, v any) (bool, error) {
	b, err := d.read(name)
	if err != nil || b == nil {
		return false, err
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	if err := dec.Decode(v); err != nil {
		return false, fmt.Errorf("%s of run %s is not readable: %w", name, d.id, bridge.ErrState)
	}
	return true, nil
}

// result is what the run has found, and false if it has not said anything yet.
func (d *runDir) result() (*verify.Result, bool, error) {
	var r verify.Result
	ok, err := d.readJSON(fileResult, &r)
	return &r, ok, err
}

// askStop leaves word for the process of the run.
func (d *runDir) askStop() error { return d.write(fileStop, nil) }

// awaitStop returns once somebody asked the run to stop, or ctx ends.
func (d *runDir) awaitStop(ctx context.Context) bool {
	t := time.NewTicker(200 * time.Millisecond)
	defer t.Stop()
	for {
		if _, err := os.Stat(filepath.Join(d.path, fileStop)); err == nil {
			return true
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return false
		}
	}
}

// forgetStop takes the word back before a run goes on.
func (d *runDir) forgetStop() error {
	err := os.Remove(filepath.Join(d.path, fileStop))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
