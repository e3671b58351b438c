package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/gofrs/flock"
	"github.com/google/renameio/v2"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/state/dynamostate"
)

// A shelf keeps the plan of one consumer, beside the workflow's state.
type shelf interface {
	// load returns what was kept, nil if nothing was.
	load(ctx context.Context) ([]byte, error)
	// keep replaces it, durably. It wraps bridge.ErrConflict if it is no longer before.
	keep(ctx context.Context, before, next []byte) error
	// lock keeps other processes from moving this consumer. It wraps bridge.ErrLocked.
	lock(ctx context.Context) (release func() error, err error)
}

func shelfOf(l *loaded, consumer string) shelf {
	if kind, table, _ := cutPlace(l.State); kind == "dynamodb" {
		c := dynamostate.Config{API: l.dynamo, Table: table, Workflow: l.Workflow}
		locked := c
		locked.Workflow += " offsets " + consumer
		return dynamoShelf{dynamostate.New(c), dynamostate.New(locked), "offsets " + consumer}
	}
	return fileShelf(filepath.Join(l.stateDir(), l.Workflow+"."+consumer+".offsets"))
}

type dynamoShelf struct {
	notes, locks *dynamostate.Store
	name         string
}

func (d dynamoShelf) load(ctx context.Context) ([]byte, error) { return d.notes.Note(ctx, d.name) }

func (d dynamoShelf) keep(ctx context.Context, before, next []byte) error {
	return d.notes.SetNote(ctx, d.name, before, next)
}

func (d dynamoShelf) lock(ctx context.Context) (func() error, error) {
	release, err := d.locks.Lock(ctx)
	if errors.Is(err, bridge.ErrLocked) {
		_, when, _ := strings.Cut(bridge.Hint(err), "; ")
		err = bridge.WithHint(fmt.Errorf("another process moves this consumer: %w", bridge.ErrLocked), "wait for it; "+when)
	}
	return release, err
}

// A fileShelf is a file of that name.
type fileShelf string

func (f fileShelf) load(context.Context) ([]byte, error) {
	b, err := os.ReadFile(string(f))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return b, err
}

func (f fileShelf) keep(ctx context.Context, before, next []byte) error {
	now, err := f.load(ctx)
	if err != nil {
		return err
	}
	if string(now) != string(before) {
		return fmt.Errorf("keep %s: %w", string(f), bridge.ErrConflict)
	}
	if err := renameio.WriteFile(string(f), next, 0o600); err != nil {
		return fmt.Errorf("keep %s: %w", string(f), err)
	}
	d, err := os.Open(filepath.Dir(string(f)))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (f fileShelf) lock(context.Context) (func() error, error) {
	l := flock.New(string(f)+".lock", flock.SetPermissions(0o600))
	held, err := l.TryLock()
	switch {
	case err != nil:
		return nil, fmt.Errorf("lock %s: %w", string(f), err)
	case !held:
		return nil, bridge.WithHint(fmt.Errorf("another process moves this consumer (lock %s.lock): %w", string(f), bridge.ErrLocked), "wait for it; the lock ends with its process")
	}
	return l.Close, nil
}
