package filestate

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/gofrs/flock"

	"github.com/kinesis-msk-bridge/bridge"
)

// maxName leaves room for extensions below the 255 bytes that file systems allow.
const maxName = 200

func digest(name string) string {
	sum := sha256.Sum256([]byte(name))
	return "sha256-" + hex.EncodeToString(sum[:])
}

// Lock implements state.Store. The lock belongs to the process and ends with it.
func (s *Store) Lock(ctx context.Context) (release func() error, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	root, err := s.create()
	if err != nil {
		return nil, err
	}
	if err := root.Close(); err != nil {
		return nil, fmt.Errorf("lock workflow %q: %w", s.workflow, err)
	}
	path := s.path(".lock")
	l, held, err := s.try(path)
	switch {
	case err != nil:
		return nil, err
	case !held:
		return nil, bridge.WithHint(
			fmt.Errorf("workflow %q has another mirror running here (lock %s): %w", s.workflow, path, bridge.ErrLocked),
			"stop that one first; the lock ends with its process")
	}
	return l.Close, nil
}

// acquire waits for the lock with this extension until ctx ends.
func (s *Store) acquire(ctx context.Context, ext string) (*flock.Flock, error) {
	path := s.path(ext)
	t := time.NewTicker(20 * time.Millisecond)
	defer t.Stop()
	for {
		l, held, err := s.try(path)
		if err != nil || held {
			return l, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("lock %s: %w", path, context.Cause(ctx))
		case <-t.C:
		}
	}
}

func (s *Store) path(ext string) string { return filepath.Join(s.dir, s.base+ext) }

// try takes the lock at path if it is free. A lock file is never removed, because a
// process that opened it before would then lock something that nobody else sees.
func (s *Store) try(path string) (*flock.Flock, bool, error) {
	if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() {
		return nil, false, refuse("remove it", "lock %s is not a plain file", path)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, false, fmt.Errorf("lock %s: %w", path, err)
	}
	l := flock.New(path, flock.SetFlag(os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW), flock.SetPermissions(0o600))
	held, err := l.TryLock()
	if err != nil {
		return nil, false, fmt.Errorf("lock %s: %w", path, err)
	}
	if !held {
		return nil, false, l.Close()
	}
	return l, true, nil
}
