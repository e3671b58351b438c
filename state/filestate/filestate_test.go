package filestate_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/state"
	"github.com/kinesis-msk-bridge/bridge/state/filestate"
	"github.com/kinesis-msk-bridge/bridge/state/statetest"
)

type backend struct{ dir string }

func (b backend) Open(_ *testing.T, workflow string) state.Store {
	return filestate.New(b.dir, workflow)
}

func (b backend) Overwrite(t *testing.T, workflow string, raw []byte) {
	t.Helper()
	if err := os.MkdirAll(b.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filestate.New(b.dir, workflow).Path(), raw, 0o600); err != nil {
		t.Fatal(err)
	}
}

func newBackend(t *testing.T) statetest.Backend {
	return backend{filepath.Join(t.TempDir(), "state")}
}

func TestStore(t *testing.T) { statetest.Run(t, newBackend) }

// A look must leave no trace: a refused command changes nothing on disk.
func TestLoadCreatesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	if _, _, err := filestate.New(dir, "orders").Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Load made %s (%v)", dir, err)
	}
}

func TestModes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	s := filestate.New(dir, "orders")
	if _, err := s.Swap(t.Context(), 0, statetest.Workflow("orders")); err != nil {
		t.Fatal(err)
	}
	release, err := s.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	if got := mode(t, dir); got != 0o700 {
		t.Errorf("directory has mode %o, want 700", got)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 3 {
		t.Errorf("directory holds %v, want the record and two locks", files)
	}
	for _, f := range files {
		if got := mode(t, filepath.Join(dir, f.Name())); got != 0o600 {
			t.Errorf("%s has mode %o, want 600", f.Name(), got)
		}
	}
}

func mode(t *testing.T, path string) os.FileMode {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().Perm()
}

// Whatever a workflow is called, all files stay inside the directory.
func TestNamesStayInside(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "state")
	for _, name := range []string{"../orders", "/etc/orders", "a/../../b", "..", "x\x00y", strings.Repeat("n", 5000), "Orders", "CON"} {
		s := filestate.New(dir, name)
		if filepath.Dir(s.Path()) != dir {
			t.Errorf("workflow %q is kept at %s, outside of %s", name, s.Path(), dir)
		}
		if _, err := s.Swap(t.Context(), 0, statetest.Workflow(name)); err != nil {
			t.Errorf("workflow %q: %v", name, err)
		}
	}
	if files, err := os.ReadDir(parent); err != nil || len(files) != 1 {
		t.Errorf("beside the directory there is %v, %v", files, err)
	}
}

func TestUnsafePlaces(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(t *testing.T, dir, file string)
		want  string // in the sentence
	}{
		{"record is a link", func(t *testing.T, dir, file string) {
			aside := filepath.Join(filepath.Dir(dir), "aside")
			must(t, os.Rename(file, aside))
			must(t, os.Symlink(aside, file))
		}, "not a plain file"},
		{"directory is a link", func(t *testing.T, dir, _ string) {
			must(t, os.Rename(dir, dir+"2"))
			must(t, os.Symlink(dir+"2", dir))
		}, "not a directory"},
		{"directory is a file", func(t *testing.T, dir, _ string) {
			must(t, os.RemoveAll(dir))
			must(t, os.WriteFile(dir, nil, 0o600))
		}, "not a directory"},
		{"record open to all", func(t *testing.T, _, file string) { must(t, os.Chmod(file, 0o644)) }, "open to every user"},
		{"directory open to all", func(t *testing.T, dir, _ string) { must(t, os.Chmod(dir, 0o777)) }, "every user can write"},
		{"record is a directory", func(t *testing.T, _, file string) {
			must(t, os.Remove(file))
			must(t, os.Mkdir(file, 0o700))
		}, "not a plain file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "state")
			s := filestate.New(dir, "orders")
			if _, err := s.Swap(t.Context(), 0, statetest.Workflow("orders")); err != nil {
				t.Fatal(err)
			}
			c.spoil(t, dir, s.Path())
			_, _, err := s.Load(t.Context())
			if !errors.Is(err, bridge.ErrState) || !strings.Contains(err.Error(), c.want) || bridge.Hint(err) == "" {
				t.Errorf("Load = %v (hint %q), want ErrState that says %q", err, bridge.Hint(err), c.want)
			}
			if _, err := s.Swap(t.Context(), 1, statetest.Workflow("orders")); !errors.Is(err, bridge.ErrState) {
				t.Errorf("Swap = %v, want ErrState", err)
			}
		})
	}
}

// A link in the place of a lock would let two processes lock two different files.
func TestLockIsALink(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o700))
	must(t, os.Symlink(filepath.Join(t.TempDir(), "elsewhere"), filepath.Join(dir, "orders.lock")))
	if _, err := filestate.New(dir, "orders").Lock(t.Context()); !errors.Is(err, bridge.ErrState) {
		t.Errorf("Lock = %v, want ErrState", err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
