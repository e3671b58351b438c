// Package filestate keeps the state of workflows in a directory of this machine, one
// file each. It satisfies state.Store.
//
// A change replaces the whole file atomically, so that after a crash it holds the old
// record or the new one and never a piece of either: a file that does not decode is
// always damage, and is refused. Processes of one machine are kept apart by locks of the
// operating system, which end with the process that holds them. Network file systems
// whose locks do not work between machines are not safe.
//
// Files are readable by their owner only, since they hold the workflow's key. What
// others can read, or a link, is refused.
package filestate

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/google/renameio/v2"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/state"
)

// maxFile bounds what is read; a record is never larger.
const maxFile = 1 << 20

// A Store is the state of one workflow in a directory.
type Store struct {
	dir, workflow string
	base          string // file name without its extension
}

var _ state.Store = (*Store)(nil)

// New returns the store of the workflow called name in dir. It touches nothing: the
// directory is made, for its owner only, by the first Swap or Lock.
func New(dir, name string) *Store {
	return &Store{dir: filepath.Clean(dir), workflow: name, base: fileName(name)}
}

// fileName turns any workflow name into a file name: plain ones stay as they are, every
// other byte is written as "%" and two digits, and what gets too long becomes a digest.
func fileName(name string) string {
	var b strings.Builder
	for _, c := range []byte(name) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
			b.WriteByte(c)
		default:
			b.WriteString("%" + hex.EncodeToString([]byte{c}))
		}
	}
	if b.Len() == 0 || b.Len() > maxName {
		return digest(name)
	}
	return b.String()
}

// Path is the file that holds the record.
func (s *Store) Path() string { return filepath.Join(s.dir, s.base+".state") }

// Load implements state.Store.
func (s *Store) Load(ctx context.Context) (state.Workflow, uint64, error) {
	if err := ctx.Err(); err != nil {
		return state.Workflow{}, 0, err
	}
	root, err := s.open()
	if errors.Is(err, fs.ErrNotExist) {
		return state.Workflow{}, 0, nil
	}
	if err != nil {
		return state.Workflow{}, 0, err
	}
	defer root.Close()
	return s.load(root)
}

func (s *Store) load(root *os.Root) (state.Workflow, uint64, error) {
	b, err := s.read(root)
	if errors.Is(err, fs.ErrNotExist) {
		return state.Workflow{}, 0, nil
	}
	if err != nil {
		return state.Workflow{}, 0, err
	}
	w, version, err := state.Decode(b, s.workflow)
	if err != nil {
		return state.Workflow{}, 0, fmt.Errorf("state %s %w", s.Path(), err)
	}
	return w, version, nil
}

// read returns the bytes of the file, if it is a plain one that only its owner can read.
func (s *Store) read(root *os.Root) ([]byte, error) {
	name := s.base + ".state"
	named, err := root.Lstat(name)
	if err != nil {
		return nil, fmt.Errorf("read state: %w", err)
	}
	if !named.Mode().IsRegular() {
		return nil, refuse("put the file itself in its place", "state %s is not a plain file", s.Path())
	}
	f, err := root.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read state: %w", err)
	}
	defer f.Close()
	// The opened file is compared with the named one, so that a link that was put there
	// in between is not followed.
	opened, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read state: %w", err)
	}
	if !os.SameFile(named, opened) {
		return nil, refuse("put the file itself in its place", "state %s was exchanged while it was read", s.Path())
	}
	if checkModes && opened.Mode().Perm()&0o007 != 0 {
		return nil, refuse("chmod 600 "+s.Path(), "state %s holds a secret and is open to every user", s.Path())
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return nil, fmt.Errorf("read state %s: %w", s.Path(), err)
	}
	return b, nil
}

// checkModes is false where file modes say nothing.
const checkModes = runtime.GOOS != "windows"

// open opens the directory if it is there and is safe to use.
func (s *Store) open() (*os.Root, error) {
	info, err := os.Lstat(s.dir)
	if err != nil {
		return nil, fmt.Errorf("open state directory: %w", err)
	}
	if !info.IsDir() {
		return nil, refuse("name the directory itself", "state directory %s is not a directory", s.dir)
	}
	if checkModes && info.Mode().Perm()&0o002 != 0 {
		return nil, refuse("chmod 700 "+s.dir, "every user can write into state directory %s", s.dir)
	}
	root, err := os.OpenRoot(s.dir)
	if err != nil {
		return nil, fmt.Errorf("open state directory: %w", err)
	}
	return root, nil
}

func (s *Store) create() (*os.Root, error) {
	root, err := s.open()
	if !errors.Is(err, fs.ErrNotExist) {
		return root, err
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, fmt.Errorf("make state directory: %w", err)
	}
	return s.open()
}

// Swap implements state.Store.
func (s *Store) Swap(ctx context.Context, old uint64, next state.Workflow) (uint64, error) {
	if next.Name != s.workflow {
		return 0, fmt.Errorf("write state %s: a record of workflow %q: %w", s.Path(), next.Name, bridge.ErrState)
	}
	line, err := state.Encode(next, old+1)
	if err != nil {
		return 0, err
	}
	root, err := s.create()
	if err != nil {
		return 0, err
	}
	defer root.Close()
	// The lock is held from the look at the old version to the end of the replacement.
	// Holders are quick, so waiting for it is bounded.
	ctx, cancel := context.WithTimeoutCause(ctx, swapPatience, errBusy)
	defer cancel()
	l, err := s.acquire(ctx, ".swap")
	if err != nil {
		return 0, err
	}
	version, err := s.replace(root, old, next, line)
	return version, errors.Join(err, l.Close())
}

const swapPatience = 10 * time.Second

var errBusy = fmt.Errorf("another process keeps writing: %w", bridge.ErrTransient)

func (s *Store) replace(root *os.Root, old uint64, next state.Workflow, line []byte) (uint64, error) {
	found, version, err := s.load(root)
	if err != nil {
		return 0, err
	}
	if version != old {
		return 0, fmt.Errorf("write state %s: version %d was expected, %d is there: %w", s.Path(), old, version, bridge.ErrConflict)
	}
	if err := state.CheckSuccessor(found, next); err != nil {
		return 0, fmt.Errorf("write state %s: %w", s.Path(), err)
	}
	err = renameio.WriteFile(s.base+".state", line, 0o600, renameio.WithRoot(root), renameio.IgnoreUmask())
	if err != nil {
		return 0, fmt.Errorf("write state %s: %w", s.Path(), err)
	}
	if err := syncDir(root); err != nil {
		return 0, fmt.Errorf("write state %s: %w", s.Path(), err)
	}
	return old + 1, nil
}

// syncDir makes a rename in the directory durable.
func syncDir(root *os.Root) error {
	d, err := root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func refuse(hint, format string, args ...any) error {
	return bridge.WithHint(fmt.Errorf(format+": %w", append(args, bridge.ErrState)...), hint)
}
