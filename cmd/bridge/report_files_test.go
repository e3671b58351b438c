package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/renameio/v2"

	"github.com/kinesis-msk-bridge/bridge"
)

// Whoever holds the lock of a report is alone, although each replaces the file.
func TestReportLockIsExclusive(t *testing.T) {
	file := filepath.Join(t.TempDir(), "r.json")
	unlock, err := lockReport(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	unlock()
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("the lock left a file where none was: %v", err)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	unlock, err = lockReport(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	if err := renameio.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	soon, end := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer end()
	if _, err := lockReport(soon, file); !errors.Is(err, bridge.ErrLocked) {
		t.Error("two hold the lock once one of them has replaced the file")
	}
	unlock()
	const writers, rounds = 8, 10
	var inside atomic.Int32
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			for range rounds {
				unlock, err := lockReport(t.Context(), file)
				if err != nil {
					t.Error(err)
					return
				}
				if n := inside.Add(1); n != 1 {
					t.Errorf("%d hold the lock", n)
				}
				b, err := os.ReadFile(file)
				if err == nil {
					err = renameio.WriteFile(file, append(b, 'x'), 0o600)
				}
				if err != nil {
					t.Error(err)
				}
				inside.Add(-1)
				unlock()
			}
		})
	}
	all.Wait()
	b, err := os.ReadFile(file)
	if err != nil || len(b) != writers*rounds {
		t.Errorf("%d of %d writes are left, %v", len(b), writers*rounds, err)
	}
	entries, err := os.ReadDir(filepath.Dir(file))
	if err != nil || len(entries) != 1 {
		t.Errorf("the lock leaves files beside the report: %v, %v", entries, err)
	}
}
