package kinesistest

import (
	"errors"
	"fmt"
	"os"
	"sync"
)

// A spill is the file that full blocks of all shards of a server go to, so that keys and
// data take no memory. It is safe for concurrent use.
type spill struct {
	mu   sync.Mutex
	file *os.File
	end  int64
}

// newSpill makes the file in a directory; nil if there is none.
func newSpill(dir string) (*spill, error) {
	if dir == "" {
		return nil, nil
	}
	f, err := os.CreateTemp(dir, "kinesistest-")
	if err != nil {
		return nil, fmt.Errorf("make a file for records: %w", err)
	}
	return &spill{file: f}, nil
}

// write keeps b, and returns where.
func (s *spill) write(b []byte) (at int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at = s.end
	n, err := s.file.WriteAt(b, at)
	s.end += int64(n)
	return at, err
}

// close removes the file.
func (s *spill) close() error {
	if s == nil {
		return nil
	}
	err := errors.Join(s.file.Close(), os.Remove(s.file.Name()))
	if errors.Is(err, os.ErrClosed) {
		return nil // it was closed before
	}
	return err
}

// put moves the arena of a full block into the file. If that fails the block keeps it.
func (s *spill) put(b *block) {
	if s == nil || b.away || len(b.arena) == 0 {
		return
	}
	if at, err := s.write(b.arena); err == nil {
		b.at, b.length, b.arena, b.away = at, len(b.arena), nil, true
	}
}

// load reads the arena of a block back.
func (s *spill) load(b *block) ([]byte, error) {
	arena := make([]byte, b.length)
	if _, err := s.file.ReadAt(arena, b.at); err != nil {
		return nil, fmt.Errorf("read %d records back: %w", len(b.entries), err)
	}
	return arena, nil
}
