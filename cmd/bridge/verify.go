package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/metrics"
	"github.com/kinesis-msk-bridge/bridge/state"
	"github.com/kinesis-msk-bridge/bridge/verify"
)

func (a *app) verifyCommand() *cli.Command {
	return group("verify", "compare source and target record by record",
		command(cli.Command{
			Name:  "run",
			Usage: "read both sides and say consistent, inconsistent or inconclusive",
			Description: `Reads source and target by itself, joins them record by record, and says whether anything
was lost, changed, reordered or invented. Without a range it looks at everything that the
mirror has acknowledged, and says how much more the source holds: what a mirror at work does
not acknowledge while the run waits for it makes the run inconclusive. A difference is reported if it is still there after the settle
time. It writes to neither side. Exit code 0 is consistent, 5 inconsistent, 6 inconclusive:
something could not be judged.

Examples:
   bridge verify run
   bridge verify run --final
   bridge verify run --from 2026-01-31T00:00:00Z --shard shardId-000000000003
   bridge --output json verify run --quick`,
			Flags: runFlags(),
		}, a.verifyRun),
		command(cli.Command{
			Name: "resume", ArgsUsage: "[RUN]", Usage: "go on with a run that was stopped or killed",
			Description: "Goes on where the last save of the run was: the newest one, or RUN.\n\nExamples:\n   bridge verify resume\n   bridge verify resume 20260131-101500-x7qa",
			Flags:       showingFlags(),
		}, a.verifyResume),
		a.verifyStopCommand(),
		a.verifyShowCommand(),
		a.verifyListCommand(),
		a.verifyDiffCommand(),
		a.verifyExplainCommand(),
	)
}

// A verifyRun is one run, from the ends to the last word.
type verifyRun struct {
	settings
	dir      *runDir
	options  verifyOptions
	progress time.Duration
	listen   string // where it shows itself; empty is nowhere
	meter    *metrics.Witness
}

func (a *app) verifyRun(c *cli.Context) error {
	log, l, err := a.begun(c)
	if err != nil {
		return err
	}
	o, err := verifyOptionsOf(c, l)
	if err != nil {
		return err
	}
	if c.NArg() > 0 {
		return usage(fmt.Errorf("verify run takes no argument, found %q", c.Args().First()))
	}
	name := c.String("name")
	if name != "" && !runName.MatchString(name) {
		return usage(fmt.Errorf("--name %q is not a name of up to 100 letters, digits, - and _", name))
	}
	r := &verifyRun{settings: settings{Config: l, Log: log}, options: o, progress: c.Duration("progress-interval")}
	if r.listen, err = listenOf(c); err != nil {
		return err
	}
	return a.runVerify(c.Context, r, func() (err error) {
		if r.dir, err = newRun(l, name); err == nil {
			err = r.dir.writeJSON(fileOptions, r.options)
		}
		return err
	})
}

func (a *app) verifyResume(c *cli.Context) error {
	log, l, err := a.begun(c)
	if err != nil {
		return err
	}
	r := &verifyRun{settings: settings{Config: l, Log: log}, progress: c.Duration("progress-interval")}
	if r.listen, err = listenOf(c); err != nil {
		return err
	}
	if r.dir, err = openRun(l, c.Args().First()); err != nil {
		return err
	}
	if _, err := r.dir.readJSON(fileOptions, &r.options); err != nil {
		return err
	}
	if res, ok, err := r.dir.result(); err != nil || ok && res.State == "done" {
		if err == nil {
			a.answer = resultAnswer(res)
			err = verdictError(res)
		}
		return err
	}
	return a.runVerify(c.Context, r, r.dir.forgetStop)
}

// begun loads the configuration and makes the log.
func (a *app) begun(c *cli.Context) (*slog.Logger, *loaded, error) {
	log, err := a.logger(c)
	if err != nil {
		return nil, nil, err
	}
	l, err := a.load(c)
	if err != nil {
		return nil, nil, err
	}
	return log.With("workflow", l.Workflow), l, nil
}

// workflow loads a workflow that was begun.
func (s settings) workflow(ctx context.Context) (state.Workflow, error) {
	w, _, err := s.loadState(ctx, openState(s.Config))
	switch {
	case err != nil:
		return w, startError{err}
	case w.Name == "":
		return w, usageHint(fmt.Errorf("workflow %s was not begun: there is nothing to compare", s.Config.Workflow), "bridge mirror run")
	case string(w.Direction) != s.Config.Direction:
		return w, startError{fmt.Errorf("workflow %s moves records %s, the configuration says %s: %w", w.Name, w.Direction, s.Config.Direction, bridge.ErrState)}
	}
	return w, nil
}

// runVerify opens both ends, makes a place for the run with begin, and compares.
func (a *app) runVerify(ctx context.Context, r *verifyRun, begin func() error) (err error) {
	w, err := r.workflow(ctx)
	if err != nil && (!r.options.Content || w.Name != "") {
		return err
	}
	if w.Name == "" {
		if w, err = r.options.stranger(r.Config); err != nil {
			return err
		}
	}
	ends, err := a.adapters.witness(ctx, r.settings, w)
	if err != nil {
		return startError{err}
	}
	defer func() { err = errors.Join(err, ends.close()) }()
	collect(r.Config.Memory, a.env)
	// An address that is taken leaves no run behind.
	unserve, err := r.serve(ctx)
	if err != nil {
		return startError{err}
	}
	defer func() { err = errors.Join(err, unserve()) }()
	if err := begin(); err != nil {
		return err
	}
	release, err := r.dir.lock(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	v := ends.verifier
	v.Lag = lagOf(w, r.options.Settle, time.Duration(r.Config.CheckpointInterval))
	if err := r.doubt(ctx, w, v); err != nil {
		return startError{err}
	}
	r.options.apply(v)
	v.ID, v.Store, v.Logger = r.dir.id, r.dir, r.Log
	r.Log.Info("verify begins", "run", r.dir.id)
	res, err := r.compare(ctx, a, v)
	if res != nil {
		r.limitRepeats(res)
		a.answer = resultAnswer(res)
		err = errors.Join(err, r.dir.writeJSON(fileResult, res))
	}
	if err != nil {
		return err
	}
	return verdictError(res)
}

// doubt notes what the state says against the mirror's checkpoint.
func (r *verifyRun) doubt(ctx context.Context, w state.Workflow, v *verify.Verifier) error {
	if v.Checkpoint == nil || r.options.Content {
		return nil
	}
	cp, err := patiently(ctx, r.settings, "read the checkpoint", func() (bridge.Checkpoint, error) { return v.Checkpoint(ctx) })
	v.Doubt = doubtOf(w, cp, time.Duration(r.Config.CheckpointInterval))
	return err
}

// stranger stands for a workflow that was not begun: the copy is another program's.
func (o *verifyOptions) stranger(l *loaded) (state.Workflow, error) {
	w := state.Workflow{Direction: state.Direction(l.Direction)}
	if o.Key != "" {
		key, err := bridge.ParseWorkflowKey(o.Key)
		w.Key = key
		return w, err
	}
	key, err := bridge.NewWorkflowKey()
	w.Key, o.Key = key, key.Reveal()
	return w, err
}

// compare runs until the end, a signal, or somebody asks it to stop.
func (r *verifyRun) compare(ctx context.Context, a *app, v *verify.Verifier) (*verify.Result, error) {
	stop := a.stopper(ctx, 30*time.Second)
	defer stop.done()
	work, cancel := context.WithCancelCause(stop.drain)
	defer cancel(nil)
	var beside sync.WaitGroup
	watching, unwatch := context.WithCancel(work)
	beside.Go(func() {
		if r.dir.awaitStop(watching) {
			cancel(verify.ErrStopped)
		}
	})
	defer beside.Wait()
	defer unwatch()
	r.hooks(v)
	res, err := v.Run(work)
	if errors.Is(err, verify.ErrStopped) {
		r.Log.Info("stopped: somebody asked for it", "run", r.dir.id)
		err = nil
	}
	return res, err
}

// hooks show and keep progress, and keep the result of each round of a continuous run.
func (r *verifyRun) hooks(v *verify.Verifier) {
	var logged, kept time.Time
	if r.progress > 0 {
		v.ProgressEvery = min(r.progress, progressKept)
	}
	v.Hooks.Progress = func(p verify.Progress) {
		r.meter.Note(p)
		if time.Since(kept) >= progressKept {
			kept = time.Now()
			if err := r.dir.writeJSON(fileProgress, &p); err != nil {
				r.Log.Warn("progress could not be kept", "error", err)
			}
		}
		if r.progress > 0 && time.Since(logged) >= r.progress {
			logged = time.Now()
			r.Log.Info("progress", progressArgs(&p)...)
		}
	}
	v.Hooks.Judged = func(res *verify.Result) {
		if err := r.dir.writeJSON(fileResult, res); err != nil {
			r.Log.Warn("the result could not be kept", "error", err)
		}
	}
}

// progressKept is how often progress is written down for verify show.
const progressKept = 5 * time.Second

func progressArgs(p *verify.Progress) []any {
	args := []any{"phase", p.Phase, "source_records", p.SourceRecords, "target_records", p.TargetRecords,
		"source_partitions", fmt.Sprintf("%d of %d", p.SourceDone, p.Sources), "target_partitions", fmt.Sprintf("%d of %d", p.TargetDone, p.Targets),
		"source_bytes", p.SourceBytes, "target_bytes", p.TargetBytes}
	if p.SourceLeft >= 0 && p.TargetLeft >= 0 {
		args = append(args, "source_bytes_left", p.SourceLeft, "target_bytes_left", p.TargetLeft)
	}
	if p.Left > 0 {
		args = append(args, "time_left", p.Left.Round(time.Second).String())
	}
	if p.Stalled != "" {
		args = append(args, "stalled", p.Stalled, "stalled_partitions", p.Stalls)
	}
	if lag, of := longestLag(p, now()); of != "" {
		args = append(args, "verify_lag", lag.Round(time.Millisecond).String(), "verify_lag_of", of)
	}
	return args
}

// longestLag is that of the partition that is verified least far, if there is one.
func longestLag(p *verify.Progress, at time.Time) (lag time.Duration, of string) {
	for i := range p.Through {
		if d := p.Through[i].Lag(at); of == "" || d > lag {
			lag, of = d, p.Through[i].Partition
		}
	}
	return lag, of
}

// serve shows the run on this machine, if that was asked for, until done is called.
func (r *verifyRun) serve(ctx context.Context) (done func() error, err error) {
	_, name, _ := strings.Cut(r.Config.Kinesis.StreamARN, ":stream/")
	r.meter = metrics.NewWitness(metrics.Config{
		Direction: r.Config.Direction, Stream: orWord(r.Config.Kinesis.Stream, name), Topic: r.Config.Kafka.Topic, Version: thisBuild().Version,
	})
	if r.listen == "" {
		return func() error { return nil }, nil
	}
	server, err := r.meter.Serve(ctx, r.listen)
	if err != nil {
		return nil, err
	}
	r.Log.Info("shows itself on this machine", "metrics", "http://"+server.Address()+"/metrics")
	return server.Close, nil
}

// listenOf is where the run is to show itself.
func listenOf(c *cli.Context) (string, error) {
	address := c.String("listen")
	if address == "" {
		return "", nil
	}
	if err := metrics.CheckAddress(address); err != nil {
		return "", usageHint(fmt.Errorf("--listen: %w", err), "an address such as 127.0.0.1:9465; a proxy or an agent on this machine can pass it on")
	}
	return address, nil
}

// limitRepeats lets a run fail that found more repeats than were allowed.
func (r *verifyRun) limitRepeats(res *verify.Result) {
	if n := r.options.MaxRepeats; n >= 0 && res.Totals.Repeats > n {
		res.Verdict = verify.Inconsistent
		res.Reasons = append(res.Reasons, fmt.Sprintf("%d records are there again, at most %d were allowed", res.Totals.Repeats, n))
	}
}

// verdictError is nil for a consistent result, and else says why it is not.
func verdictError(res *verify.Result) error {
	why := ""
	if len(res.Reasons) > 0 {
		why = ": " + res.Reasons[0]
	}
	if n := len(res.Reasons); n > 1 {
		why += fmt.Sprintf(" (and %d more reasons)", n-1)
	}
	err := fmt.Errorf("%s%s", res.Verdict, why)
	switch res.Verdict {
	case verify.Consistent:
		return nil
	case verify.Inconsistent:
		return bridge.WithHint(classed{err, errInconsistent}, "bridge verify diff shows each difference, bridge verify explain one record")
	case verify.Inconclusive:
	}
	return bridge.WithHint(classed{err, errInconclusive}, "bridge verify show lists every range that was not judged, with its reason")
}
