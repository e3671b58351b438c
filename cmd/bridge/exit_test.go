package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"

	"github.com/kinesis-msk-bridge/bridge"
)

func TestExitCode(t *testing.T) {
	for _, c := range []struct {
		name           string
		err            error
		start, running int
	}{
		{"done", nil, 0, 0},
		{"not classed", errors.New("x"), 1, 1},
		{"throttled", bridge.ErrThrottled, 4, 1},
		{"transient", bridge.ErrTransient, 4, 1},
		{"unreachable", bridge.ErrUnreachable, 4, 1},
		{"denied", bridge.ErrDenied, 4, 4},
		{"missing", bridge.ErrMissing, 4, 8},
		{"refused", bridge.ErrRefused, 4, 1},
		{"gap", &bridge.GapError{}, 8, 8},
		{"changed", bridge.ErrChanged, 8, 8},
		{"foreign position", bridge.ErrForeignPosition, 8, 8},
		{"fenced", bridge.ErrFenced, 11, 11},
		{"locked", bridge.ErrLocked, 11, 11},
		{"state", bridge.ErrState, 2, 2},
		{"conflict", bridge.ErrConflict, 1, 1},
		{"oversize", bridge.ErrOversize, 1, 1},
		{"undecodable", bridge.ErrUndecodable, 1, 1},
		{"unmappable", bridge.ErrUnmappable, 1, 1},
		{"usage", usage(errors.New("x")), 2, 2},
		{"not available", usage(errUnavailable{"x"}), 2, 2},
		{"inconsistent", errInconsistent, 5, 5},
		{"inconclusive", errInconclusive, 6, 6},
		{"gate", errGate, 7, 7},
		{"rolled back", errRolledBack, 9, 9},
		{"partly", errPartly, 10, 10},
		{"gave up", errGaveUp, 75, 75},
		{"interrupt", interrupted{os.Interrupt}, 130, 130},
		{"terminate", interrupted{syscall.SIGTERM}, 143, 143},
		{"cut", classed{interrupted{syscall.SIGTERM}, errCut}, 143, 143},
		// What says more wins over what says less.
		{"fenced while stopping", errors.Join(interrupted{syscall.SIGTERM}, bridge.ErrFenced), 11, 11},
		{"stopped while it waited", errors.Join(bridge.ErrTransient, interrupted{syscall.SIGTERM}), 143, 143},
		{"gap behind a denial", errors.Join(bridge.ErrDenied, bridge.ErrGap), 8, 8},
		{"gave up, cancelled", errors.Join(context.Canceled, errGaveUp), 75, 75},
	} {
		t.Run(c.name, func(t *testing.T) {
			wrapped := c.err
			if c.err != nil {
				wrapped = bridge.WithHint(fmt.Errorf("read shard 1: %w", c.err), "a hint")
			}
			if got := exitCode(wrapped); got != c.running {
				t.Errorf("while running: %d, want %d", got, c.running)
			}
			if wrapped != nil {
				wrapped = fmt.Errorf("open: %w", startError{wrapped})
			}
			if got := exitCode(wrapped); got != c.start {
				t.Errorf("at start: %d, want %d", got, c.start)
			}
		})
	}
}

// Every class of package bridge has been thought of: one that is in neither list ends
// with 1, and is named here.
func TestNoCodeIsShared(t *testing.T) {
	seen := map[error]bool{}
	for _, list := range [][]struct {
		class error
		code  int
	}{exitCodes, startCodes} {
		for _, e := range list {
			if seen[e.class] {
				t.Errorf("%v stands in the lists twice", e.class)
			}
			seen[e.class] = true
			if e.code == 3 || e.code == 0 || e.code == 1 {
				t.Errorf("%v has code %d, which means something else", e.class, e.code)
			}
		}
	}
}
