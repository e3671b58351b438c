package main

import (
	"errors"
	"os"
	"syscall"

	"github.com/kinesis-msk-bridge/bridge"
)

// The exit codes. They are a promise to scripts: a code never gets another meaning. 3 is
// left to urfave/cli, which uses it by itself.
const (
	exitDone         = 0  // done, or already so
	exitFailed       = 1  // failed in a way that has no code of its own
	exitUsage        = 2  // wrong arguments or configuration, or state that cannot be used
	exitAccess       = 4  // preflight or access refused; nothing was changed
	exitInconsistent = 5  // ran well, and found a difference
	exitInconclusive = 6  // ran well, and cannot tell
	exitGate         = 7  // a gate refused; nothing was changed
	exitGone         = 8  // data of the source or target is gone
	exitRolledBack   = 9  // timed out, and everything was taken back
	exitPartly       = 10 // partly applied
	exitLost         = 11 // lock, lease or epoch lost
	exitGaveUp       = 75 // was told to stop and could not do so in time
	exitSignal       = 128
)

// Classes of errors that only commands know; those of package bridge are the others.
var (
	errUsage        = errors.New("wrong use")
	errInconsistent = errors.New("inconsistent")
	errInconclusive = errors.New("inconclusive")
	errGate         = errors.New("refused by a gate")
	errRolledBack   = errors.New("timed out and rolled back")
	errPartly       = errors.New("partly applied")
	errGaveUp       = errors.New("could not stop in time")
	// errCut marks an end without a clean checkpoint; its exit code is that of its cause.
	errCut = errors.New("cut")
)

// A classed error belongs to a class without showing its name in the sentence.
type classed struct {
	error
	class error
}

func (c classed) Unwrap() []error { return []error{c.error, c.class} }

func usage(err error) error                  { return classed{err, errUsage} }
func usageHint(err error, hint string) error { return bridge.WithHint(usage(err), hint) }

// An interrupted is the cause of a context that a signal ended.
type interrupted struct{ signal os.Signal }

func (i interrupted) Error() string { return "stopped by " + i.signal.String() }

// A startError failed before anything moved. What is refused then is a matter of access
// and not of data: nothing was changed yet.
type startError struct{ error }

func (s startError) Unwrap() error { return s.error }

// exitCodes is searched from its beginning: what says more stands before what says less.
var exitCodes = []struct {
	class error
	code  int
}{
	{errUsage, exitUsage},
	{bridge.ErrState, exitUsage},
	{errGaveUp, exitGaveUp},
	{bridge.ErrFenced, exitLost},
	{bridge.ErrLocked, exitLost},
	{bridge.ErrGap, exitGone},
	{bridge.ErrChanged, exitGone},
	{bridge.ErrForeignPosition, exitGone},
	{errInconsistent, exitInconsistent},
	{errInconclusive, exitInconclusive},
	{errGate, exitGate},
	{errRolledBack, exitRolledBack},
	{errPartly, exitPartly},
	{bridge.ErrDenied, exitAccess},
}

// startCodes are those of errors that mean something else once records moved:
// unreachable is retried then, and a stream that is missing was deleted.
var startCodes = []struct {
	class error
	code  int
}{
	{bridge.ErrUnreachable, exitAccess},
	{bridge.ErrThrottled, exitAccess},
	{bridge.ErrTransient, exitAccess},
	{bridge.ErrMissing, exitAccess},
	{bridge.ErrRefused, exitAccess},
}

// exitCode is the one place where errors become exit codes.
func exitCode(err error) int {
	if err == nil {
		return exitDone
	}
	for _, e := range exitCodes {
		if errors.Is(err, e.class) {
			return e.code
		}
	}
	if errors.As(err, &startError{}) {
		for _, e := range startCodes {
			// What passes was only waited for when the signal came.
			waited := bridge.Retryable(e.class) && errors.As(err, new(interrupted))
			if errors.Is(err, e.class) && !waited {
				return e.code
			}
		}
	} else if errors.Is(err, bridge.ErrMissing) {
		return exitGone
	}
	return signalCode(err)
}

func signalCode(err error) int {
	var i interrupted
	if !errors.As(err, &i) {
		return exitFailed
	}
	if n, ok := i.signal.(syscall.Signal); ok {
		return exitSignal + int(n)
	}
	return exitSignal + int(syscall.SIGTERM)
}
