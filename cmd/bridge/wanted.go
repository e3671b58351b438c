package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/mirror"
	"github.com/kinesis-msk-bridge/bridge/state"
)

// maxReason bounds what a person may write into the state.
const maxReason = 200

// wantFlags are those of every command that says what is wanted.
func wantFlags(own ...cli.Flag) []cli.Flag {
	return append(own,
		&cli.StringFlag{Name: "reason", Usage: "`WHY`, shown in status; at most 200 bytes"},
		&cli.BoolFlag{Name: "dry-run", Usage: "say what would change and how to undo it, and change nothing"},
	)
}

func (a *app) pauseCommand() *cli.Command {
	return command(cli.Command{
		Name:  "pause",
		Usage: "let the mirror read no more until resume",
		Description: `Writes into the state that the mirror is to pause. A running mirror obeys within one
checkpoint_interval: it reads no more, finishes what it has read, and keeps its task and its
heartbeat; one that is started later begins paused. The source keeps records for its
retention only. status shows what is wanted and what the mirror does.

Examples:
   bridge mirror pause
   bridge mirror pause --reason "maintenance of the cluster"`,
		Flags: wantFlags(),
	}, a.want(func(c *cli.Context, w *state.Wanted) error {
		w.Mode, w.Reason = state.Paused, reasonOf(c)
		return nil
	}))
}

func (a *app) resumeCommand() *cli.Command {
	return command(cli.Command{
		Name:  "resume",
		Usage: "let a paused mirror go on",
		Description: `Takes a pause back. A throttle stays.

Examples:
   bridge mirror resume`,
		Flags: wantFlags(),
	}, a.want(func(c *cli.Context, w *state.Wanted) error {
		w.Mode, w.Reason = state.Running, reasonOf(c)
		return nil
	}))
}

func (a *app) throttleCommand() *cli.Command {
	return command(cli.Command{
		Name:  "throttle",
		Usage: "bound how fast the mirror reads",
		Description: `Writes into the state how fast the mirror may read, over all partitions together and over
time: pages are read whole. A bound that is not named stays; 0 ends it. A running mirror
obeys within one checkpoint_interval. A mirror that reads more slowly than its producers
write falls behind, and the source keeps records for its retention only.

Examples:
   bridge mirror throttle --records-per-second 5000
   bridge mirror throttle --bytes-per-second 2MiB --reason "office hours"
   bridge mirror throttle --records-per-second 0 --bytes-per-second 0`,
		Flags: wantFlags(
			&cli.Int64Flag{Name: "records-per-second", Usage: "`NUMBER` of records; 0 is no bound"},
			&cli.StringFlag{Name: "bytes-per-second", Usage: "`SIZE` of keys and values, such as 500KiB; 0 is no bound"},
		),
	}, a.want(throttled))
}

func reasonOf(c *cli.Context) string { return strings.ToValidUTF8(c.String("reason"), "?") }

// throttled sets the bounds that are named. A reason for the mode stays if none is given.
func throttled(c *cli.Context, w *state.Wanted) error {
	if !c.IsSet("records-per-second") && !c.IsSet("bytes-per-second") {
		return usageHint(errors.New("throttle needs a bound"), "give --records-per-second or --bytes-per-second; 0 ends a bound")
	}
	if c.IsSet("reason") {
		w.Reason = reasonOf(c)
	}
	if c.IsSet("records-per-second") {
		if w.RecordsPerSecond = c.Int64("records-per-second"); w.RecordsPerSecond < 0 {
			return usage(fmt.Errorf("--records-per-second %d is below zero", w.RecordsPerSecond))
		}
	}
	if c.IsSet("bytes-per-second") {
		var n size
		if err := n.set(c.String("bytes-per-second")); err != nil {
			return usage(fmt.Errorf("--bytes-per-second: %w", err))
		}
		w.BytesPerSecond = int64(n)
	}
	return nil
}

// A wantResult is what pause, resume and throttle print.
type wantResult struct {
	Workflow string       `json:"workflow"`
	Changed  bool         `json:"changed"` // the state; with dry-run, whether it would
	DryRun   bool         `json:"dry_run"`
	Before   state.Wanted `json:"before"`
	Wanted   state.Wanted `json:"wanted"`
	Actual   state.Actual `json:"actual"` // what the mirror did when it was last heard of
	Within   duration     `json:"obeyed_within"`
	Undo     string       `json:"undo,omitempty"`
}

// want is the action of a command that changes what is wanted. It needs no lock.
func (a *app) want(change func(*cli.Context, *state.Wanted) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		if len(c.String("reason")) > maxReason {
			return usage(fmt.Errorf("--reason has %d bytes, %d are allowed", len(c.String("reason")), maxReason))
		}
		if err := change(c, &state.Wanted{}); err != nil {
			return err // of the arguments alone
		}
		l, err := a.load(c)
		if err != nil {
			return err
		}
		res, err := wantIn(c.Context, openState(l), c.Bool("dry-run"), func(w *state.Wanted) error { return change(c, w) })
		if err != nil {
			return startError{err}
		}
		res.Workflow, res.Within = l.Workflow, l.CheckpointInterval
		a.answer = &answer{result: res, text: res.write, nextSteps: []string{"bridge status"}}
		return nil
	}
}

// wantIn changes what is wanted by compare-and-set.
func wantIn(ctx context.Context, store state.Store, dry bool, change func(*state.Wanted) error) (res wantResult, err error) {
	for range markTries {
		w, version, err := store.Load(ctx)
		if err != nil {
			return res, err
		}
		if w.Name == "" {
			return res, usageHint(errors.New("the workflow was never started"), "bridge mirror run starts it")
		}
		res = wantResult{Before: w.Wanted, Wanted: w.Wanted, Actual: w.Actual, DryRun: dry, Undo: undoOf(w.Wanted)}
		if err := change(&res.Wanted); err != nil {
			return res, err
		}
		res.Changed = res.Wanted != res.Before
		if !res.Changed || dry {
			return res, nil
		}
		res.Wanted.At = now()
		w.Wanted = res.Wanted
		if _, err = store.Swap(ctx, version, w); !errors.Is(err, bridge.ErrConflict) {
			return res, err
		}
	}
	return res, fmt.Errorf("the state was changed by others %d times meanwhile: %w", markTries, bridge.ErrConflict)
}

// undoOf is the commands that bring back what was wanted.
func undoOf(w state.Wanted) string {
	mode := "bridge mirror resume"
	if w.Mode == state.Paused {
		mode = "bridge mirror pause"
	}
	return fmt.Sprintf("%s; bridge mirror throttle --records-per-second %d --bytes-per-second %d", mode, w.RecordsPerSecond, w.BytesPerSecond)
}

func (r wantResult) write(w io.Writer) error {
	text := fmt.Sprintf("%s: wanted is %s; a running mirror obeys within %s\n", r.Workflow, wantedText(r.Wanted), r.Within)
	switch {
	case !r.Changed:
		text = fmt.Sprintf("%s: already so: wanted is %s\n", r.Workflow, wantedText(r.Wanted))
	case r.DryRun:
		text = fmt.Sprintf("%s: nothing was changed\n1. what is wanted would become %s; a running mirror would obey within %s\n   undo: %s\n",
			r.Workflow, wantedText(r.Wanted), r.Within, r.Undo)
	}
	_, err := io.WriteString(w, text)
	return err
}

// wantedText is what is wanted, for people.
func wantedText(w state.Wanted) string {
	text := string(w.Mode)
	if b := bounds(mirror.Limits{RecordsPerSecond: w.RecordsPerSecond, BytesPerSecond: w.BytesPerSecond}); b != "" {
		text += ", at most " + b
	}
	return text + because(w.Reason)
}

// bounds is what limits allow in a second, empty if that is everything.
func bounds(l mirror.Limits) string {
	var out []string
	if l.RecordsPerSecond > 0 {
		out = append(out, grouped(l.RecordsPerSecond)+" records")
	}
	if l.BytesPerSecond > 0 {
		out = append(out, size(l.BytesPerSecond).String())
	}
	if len(out) == 0 {
		return ""
	}
	return strings.Join(out, " and ") + " a second"
}

func limitsOf(w state.Wanted) mirror.Limits {
	return mirror.Limits{Paused: w.Mode == state.Paused, RecordsPerSecond: w.RecordsPerSecond, BytesPerSecond: w.BytesPerSecond}
}

// obeyTimeout bounds how long a look at what is wanted may hold up the rest.
const obeyTimeout = 5 * time.Second

// obey looks at what is wanted and lets the mirror do it. A state that cannot be read
// changes nothing.
func (r *mirrorRun) obey(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, obeyTimeout)
	defer cancel()
	w, _, err := r.store.Load(ctx)
	if err != nil || w.Name == "" {
		if ctx.Err() == nil && !r.blind {
			r.Log.Warn("cannot see what is wanted; goes on as before", "err", err)
		}
		r.blind = true
		return
	}
	r.blind = false
	r.limit(w.Wanted)
}

// limit sets the gate to what is wanted.
func (r *mirrorRun) limit(w state.Wanted) {
	r.why = w.Reason
	next := limitsOf(w)
	if r.Gate == nil || next == r.Gate.Limits() {
		return
	}
	r.Gate.Set(next)
	r.Log.Info("does what is wanted", "mode", w.Mode, "records_per_second", w.RecordsPerSecond, "bytes_per_second", w.BytesPerSecond, "reason", w.Reason)
}

// doing is what the mirror does and why, for the state.
func (r *mirrorRun) doing() (doing, reason string) {
	l := r.Gate.Limits()
	switch b := bounds(l); {
	case l.Paused:
		return doingPaused, orWord(r.why, "as wanted")
	case b != "":
		reason = "at most " + b + because(r.why)
	}
	if r.tailing {
		return doingTailing, reason
	}
	return doingBackfill, reason
}

func orWord(text, fallback string) string {
	if text == "" {
		return fallback
	}
	return text
}
