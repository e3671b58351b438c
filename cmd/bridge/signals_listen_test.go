package main

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"
)

// A signal ends the context of whatever command runs, and its exit code says so, unless the
// command has something half done to tell of, or was done all the same.
func TestASignalEndsACommand(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		signals := make(chan os.Signal, 2)
		a := &app{signals: signals}
		ctx, done := a.listen(t.Context())
		signals <- sig
		<-ctx.Done()
		for err, want := range map[error]int{
			nil: exitDone, context.Canceled: exitSignal + int(sig), startError{fmt.Errorf("read: %w", context.Canceled)}: exitSignal + int(sig),
			classed{context.Canceled, errGate}: exitSignal + int(sig), classed{context.Canceled, errPartly}: exitPartly,
		} {
			if got := exitCode(interruption(ctx, err)); got != want {
				t.Errorf("%s and then %v: exit %d, want %d", sig, err, got, want)
			}
		}
		done()
	}
}

// A command that drains gets the signals itself, and only while it does.
func TestAStopperTakesTheSignals(t *testing.T) {
	signals := make(chan os.Signal, 2)
	a := &app{signals: signals}
	ctx, done := a.listen(t.Context())
	defer done()
	s := a.stopper(ctx, time.Minute)
	signals <- os.Interrupt
	<-s.drain.Done()
	if err := ctx.Err(); err != nil {
		t.Errorf("the context of the command ended: %v", err)
	}
	s.done()
	signals <- os.Interrupt
	<-ctx.Done()
	if got := exitCode(interruption(ctx, ctx.Err())); got != 130 {
		t.Errorf("exit %d, want 130", got)
	}
}
