package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/urfave/cli/v2"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/metrics"
	"github.com/kinesis-msk-bridge/bridge/mirror"
	"github.com/kinesis-msk-bridge/bridge/state"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesisstream"
	"github.com/kinesis-msk-bridge/bridge/verify"
)

// runOptions are the flags of mirror run.
type runOptions struct {
	UntilCaughtUp    bool
	ProgressInterval time.Duration // 0 prints no progress
	ShutdownTimeout  time.Duration // between the first signal and the cut
	NewKey           bool          // begin under a new key where the old one is lost
}

// settings is all that the adapters are made from.
type settings struct {
	Config *loaded
	Run    runOptions
	Log    *slog.Logger
	Begun  bool // the workflow has a state, so that nothing it needs is made anew
	// Gate holds the mirror back as it is wanted; nil never does.
	Gate *mirror.Gate
	// Hooks of the mirror; they outlive one that is begun anew.
	Hooks mirror.Hooks
	// Reading is how a stream is read; zero as the service allows.
	Reading kinesisstream.SourceConfig
	// HTTP carries the calls of Kinesis, in tests; nil is a client of the SDK.
	HTTP aws.HTTPClient
}

// adapters connect commands with services. Tests put others in their place.
type adapters struct {
	// connect reaches both ends and proves that they can be used. It changes nothing.
	connect func(ctx context.Context, s settings) (session, error)
	// look reads what status shows, and changes nothing. The workflow was begun.
	look func(ctx context.Context, s settings, w state.Workflow) (sighting, error)
	// rest says what the source holds behind a checkpoint. It changes nothing.
	rest func(ctx context.Context, s settings, w state.Workflow, cp bridge.Checkpoint) (verify.Beyond, error)
	// witness opens both ends to be read and compared. The workflow was begun.
	witness func(ctx context.Context, s settings, w state.Workflow) (*witness, error)
	// letters yields the dead letters of a workflow that was begun. It changes nothing.
	letters func(ctx context.Context, s settings, w state.Workflow) iter.Seq2[bridge.DeadLetter, error]
	// keeps says how long the source keeps a record; 0 is without an end.
	keeps func(ctx context.Context, s settings) (time.Duration, error)
	// http is settings.HTTP.
	http aws.HTTPClient
}

// A session is a pair of ends that answered.
type session interface {
	// Prepare creates what is missing, unless pinned says that it was there already, and
	// returns what is there. It runs under the workflow's lock.
	Prepare(ctx context.Context, pinned state.Pinned) (prepared, error)
	// Open makes the mirror of the workflow, which has its key and its pins by now. It
	// refuses a checkpoint that cannot be used, and changes nothing.
	Open(ctx context.Context, w state.Workflow) (runner, error)
	Close() error
}

// prepared is what a session found out about its two ends.
type prepared struct {
	// Pinned names Source, Target and Partitions; the rest comes from the configuration.
	Pinned state.Pinned
	// Key is the one that an earlier run left with the workflow's checkpoints, zero if
	// there is none.
	Key bridge.WorkflowKey
	// Retention is how long the source keeps records, zero if that is not known or for ever.
	Retention time.Duration
	// Ahead is how far this machine's clock is ahead of the one that records of the source
	// arrive by, zero if that is not known.
	Ahead time.Duration
}

// A runner is a *mirror.Mirror.
type runner interface {
	Run(ctx context.Context) error
	Drain()
	Progress() mirror.Progress
}

var _ runner = (*mirror.Mirror)(nil)

func (a *app) mirrorCommand() *cli.Command {
	return group("mirror", "move records",
		command(cli.Command{
			Name:  "run",
			Usage: "move records from the source to the target until stopped",
			Description: `Moves every record from the source to the target, in order for each key, and goes on
where it was after a stop or crash. The first signal (SIGTERM, Ctrl-C) lets it finish what
is under way and save its checkpoint; a second one ends it at once, and the next start
then finds out what is already on the target.

Examples:
   bridge mirror run
   bridge mirror run --config orders.yaml --until-caught-up
   bridge --output json mirror run --until-caught-up --progress-interval 5s`,
			Flags: []cli.Flag{
				&cli.BoolFlag{Name: "until-caught-up", Usage: "end once everything that was in the source at the start is on the target", EnvVars: []string{"BRIDGE_UNTIL_CAUGHT_UP"}},
				&cli.DurationFlag{Name: "progress-interval", Value: 30 * time.Second, Usage: "how often progress is logged; 0s is never", EnvVars: []string{"BRIDGE_PROGRESS_INTERVAL"}},
				&cli.BoolFlag{Name: "new-key", Usage: "begin under a new key where that of the workflow is lost: what it wrote before becomes foreign data, and every record of the source is written again"},
				&cli.DurationFlag{Name: "shutdown-timeout", Value: 30 * time.Second, Usage: "how long the first signal waits for a clean end", EnvVars: []string{"BRIDGE_SHUTDOWN_TIMEOUT"}},
			},
		}, a.mirrorRun),
		a.pauseCommand(), a.resumeCommand(), a.throttleCommand(),
	)
}

func (a *app) mirrorRun(c *cli.Context) error {
	o := runOptions{
		UntilCaughtUp:    c.Bool("until-caught-up"),
		ProgressInterval: c.Duration("progress-interval"),
		ShutdownTimeout:  c.Duration("shutdown-timeout"),
		NewKey:           c.Bool("new-key"),
	}
	if o.ProgressInterval < 0 || o.ShutdownTimeout <= 0 {
		return usage(errors.New("--progress-interval and --shutdown-timeout take positive durations"))
	}
	below := a.bar(c)
	log, err := a.logger(c)
	if below != nil {
		log, err = a.loggerTo(c, below)
	}
	if err != nil {
		return err
	}
	l, err := a.load(c)
	if err != nil {
		return err
	}
	a.warn(l)
	collect(l.Memory, a.env)
	r := newMirrorRun(settings{Config: l, Run: o, Log: log.With("workflow", l.Workflow)})
	r.bar = below
	stop := a.stopper(c.Context, o.ShutdownTimeout)
	defer stop.done()
	err = r.run(stop, a.adapters)
	if r.runner != nil && !r.runner.Progress().Source.IsZero() {
		a.answer = r.answer(err)
	}
	return err
}

// A mirrorRun is one mirror run, from the lock to the last word in the state.
type mirrorRun struct {
	settings
	store  state.Store
	mark   *marker
	runner runner
	meter  *metrics.Exporter
	began  time.Time

	// Of watch only, once the mirror runs.
	why     string // a person's reason for what is wanted
	blind   bool   // the state could not be read the last time
	tailing bool   // the backfill is over
	bar     *bar   // nil where there is no terminal
	drawn   int64  // records read when the bar was drawn
	drawnAt time.Time
}

// newMirrorRun adds to the settings what holds the mirror back and what counts.
func newMirrorRun(s settings) *mirrorRun {
	s.Gate = &mirror.Gate{}
	r := &mirrorRun{settings: s, store: openState(s.Config)}
	_, name, _ := strings.Cut(s.Config.Kinesis.StreamARN, ":stream/")
	r.meter = metrics.New(metrics.Config{
		Direction: s.Config.Direction, Stream: orWord(s.Config.Kinesis.Stream, name), Topic: s.Config.Kafka.Topic,
		Gate: s.Gate, Version: thisBuild().Version,
	})
	r.Hooks = r.meter.Hooks()
	return r
}

// serve shows the mirror on this machine, if that is configured, until done is called.
func (r *mirrorRun) serve(ctx context.Context) (done func() error, err error) {
	address := r.Config.Metrics.Listen
	if address == "" {
		return func() error { return nil }, nil
	}
	server, err := r.meter.Serve(ctx, address, r.Config.Workflow)
	if err != nil {
		return nil, err
	}
	r.Log.Info("shows itself on this machine", "metrics", "http://"+server.Address()+"/metrics")
	return server.Close, nil
}

// run returns nil only if the goal was reached. All that can refuse comes before anything
// is written: first the stored state, then both ends, then the lock.
func (r *mirrorRun) run(stop *stopper, with adapters) (err error) {
	ctx := stop.drain // until records move, the first signal is enough
	w, _, err := r.loadState(ctx, r.store)
	if err == nil {
		err = r.sameDirection(w)
	}
	if err != nil {
		return atStart(stop, err)
	}
	r.Begun = w.Name != ""
	ends, err := patiently(ctx, r.settings, "reach both ends", func() (session, error) { return with.connect(ctx, r.settings) })
	if err != nil {
		return atStart(stop, sinceBegun(w, err))
	}
	defer func() { err = errors.Join(err, ends.Close()) }()
	release, err := patiently(ctx, r.settings, "lock the workflow", func() (func() error, error) { return lock(ctx, r.store) })
	if err != nil {
		return atStart(stop, err)
	}
	defer func() { err = errors.Join(err, release()) }()
	unserve, err := r.serve(ctx)
	if err != nil {
		return atStart(stop, err)
	}
	defer func() { err = errors.Join(err, unserve()) }()
	if err := r.open(ctx, ends); err != nil {
		return atStart(stop, err)
	}
	return r.move(stop)
}

// atStart marks an error as one of the start, and says so if it is only that a signal
// came before there was anything to move.
func atStart(stop *stopper, err error) error {
	if cause := context.Cause(stop.drain); cause != nil {
		return fmt.Errorf("%w before anything moved", cause)
	}
	return startError{err}
}

// sinceBegun says of a stream or topic that is missing what that means once a workflow
// began with it.
func sinceBegun(w state.Workflow, err error) error {
	if w.Name == "" || !errors.Is(err, bridge.ErrMissing) {
		return err
	}
	return bridge.WithHint(
		fmt.Errorf("%w; the workflow began with %s: %w", err, w.Pinned.Source.Name, bridge.ErrChanged),
		"if it was deleted, what it held is gone: begin a new workflow; if not, name what the workflow began with")
}

func (r *mirrorRun) sameDirection(w state.Workflow) error {
	if w.Name == "" || string(w.Direction) == r.Config.Direction {
		return nil
	}
	return bridge.WithHint(
		fmt.Errorf("workflow %q moves records %s and cannot turn to %s: %w", w.Name, w.Direction, r.Config.Direction, bridge.ErrState),
		"give the other direction a workflow name of its own")
}

// open brings ends, state and key together and makes the mirror.
func (r *mirrorRun) open(ctx context.Context, ends session) error {
	// What was loaded before the lock may be old.
	w, version, err := r.loadState(ctx, r.store)
	if err != nil {
		return err
	}
	if err := r.sameDirection(w); err != nil {
		return err
	}
	found, err := patiently(ctx, r.settings, "prepare both ends", func() (prepared, error) { return ends.Prepare(ctx, w.Pinned) })
	if err != nil {
		return err
	}
	r.meter.KeepsFor(found.Retention)
	if err := r.configured(&found.Pinned); err != nil {
		return err
	}
	if err := w.Pinned.Check(found.Pinned); err != nil {
		return err
	}
	if err := r.newKey(w, found.Key); err != nil {
		return err
	}
	begins := w.Name == ""
	if begins {
		w, err = r.begin(found)
	} else {
		err = r.sameKey(w, found.Key)
	}
	if err != nil {
		return err
	}
	w.Phase = state.Mirroring
	r.limit(w.Wanted)
	// Open is told what the last run did.
	mirror, err := patiently(ctx, r.settings, "read the checkpoint", func() (runner, error) { return ends.Open(ctx, w) })
	if err != nil {
		return err
	}
	doing, reason := r.doing()
	w.Actual = state.Actual{Doing: doing, Reason: reason, At: now()}
	if _, err = r.store.Swap(ctx, version, w); err != nil {
		return err
	}
	if begins {
		r.Log.Info("the workflow begins", "how", w.Decisions[0].Detail)
	}
	r.mark = &marker{store: r.store, log: r.Log}
	r.runner = mirror
	r.meter.Follow(mirror.Progress)
	return nil
}

// configured adds what the configuration alone decides.
func (r *mirrorRun) configured(p *state.Pinned) error {
	keys, err := r.Config.strategy(p.Partitions)
	if err != nil {
		return err
	}
	p.Keymap = keys.Name()
	p.Start, p.Tasks, p.ConfigHash = r.Config.Start, r.Config.Tasks, r.Config.hash()
	if r.Config.Direction == kafkaToKinesis {
		p.Format = string(r.Config.Kinesis.writes())
	}
	return nil
}

// begin makes the record of a workflow that has none. If its checkpoints hold a key, the
// state was lost and the workflow goes on.
func (r *mirrorRun) begin(found prepared) (state.Workflow, error) {
	key, what := found.Key, "taken up again: the state was gone, the workflow's topics were not"
	if key == (bridge.WorkflowKey{}) {
		var err error
		if key, err = bridge.NewWorkflowKey(); err != nil {
			return state.Workflow{}, err
		}
		if what = "first start"; r.Run.NewKey {
			what = "first start under a new key, as --new-key says"
		}
	}
	p := found.Pinned
	if p.Start == "latest" && p.StartAt.IsZero() {
		p.StartAt = now().Add(-found.Ahead).Truncate(time.Millisecond)
	}
	return state.Workflow{
		Name:      r.Config.Workflow,
		Direction: state.Direction(r.Config.Direction),
		Key:       key,
		Epoch:     1,
		Pinned:    p,
		Wanted:    state.Wanted{Mode: state.Running, At: now()},
		Decisions: []state.Decision{{At: now(), Kind: "created", By: thisBuild().String(), Detail: what}},
	}, nil
}

func (r *mirrorRun) sameKey(w state.Workflow, found bridge.WorkflowKey) error {
	if found == (bridge.WorkflowKey{}) || found == w.Key {
		return nil
	}
	return bridge.WithHint(
		fmt.Errorf("the topics of workflow %q were written under another key than the one in %s: %w", w.Name, r.Config.State, bridge.ErrState),
		"two workflows share a name on this cluster; rename one, or name the state that belongs to these topics")
}

// now is the time as it is stored: whole milliseconds, UTC.
func now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }

// move runs the mirror until it is done, drained or cut.
func (r *mirrorRun) move(stop *stopper) error {
	r.began = time.Now()
	ended := make(chan error, 1)
	go func() { ended <- r.runner.Run(stop.cut) }()
	watch, unwatch := context.WithCancel(stop.cut)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		r.watch(watch, stop.drain)
	}()
	err := r.await(stop, ended)
	unwatch()
	<-watched
	err = r.judge(stop, err)
	reason := ""
	if err != nil {
		reason = err.Error()
	}
	r.mark.set(context.WithoutCancel(stop.cut), doingStopped, reason, "")
	return err
}

// checkpointSaved ends the reason of a mirror that was drained.
const checkpointSaved = "the checkpoint is saved"

// patience is how long a mirror that was cut may take to return.
const patience = 5 * time.Second

func (r *mirrorRun) await(stop *stopper, ended <-chan error) error {
	select {
	case err := <-ended:
		return err
	case <-stop.drain.Done():
		r.Log.Info("draining", "why", context.Cause(stop.drain))
		r.runner.Drain()
	}
	select {
	case err := <-ended:
		return err
	case <-stop.cut.Done():
	}
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case err := <-ended:
		return err
	case <-late.C:
		return context.Cause(stop.cut)
	}
}

// judge says what the end of the mirror means.
func (r *mirrorRun) judge(stop *stopper, err error) error {
	cut, drained := context.Cause(stop.cut), context.Cause(stop.drain)
	switch {
	case err != nil && cut != nil && plainCancel(err, cut):
		return bridge.WithHint(classed{fmt.Errorf("%w before a clean end", cut), errCut}, "the next start finds out what is already on the target")
	case err != nil && r.runner.Progress().Source.IsZero():
		return startError{err}
	case errors.Is(err, bridge.ErrFenced):
		return bridge.WithHint(err, "another mirror of this workflow took the task over: leave that one running; if none runs, start this one again")
	case errors.Is(err, bridge.ErrMissing):
		return bridge.WithHint(err, "it was there at the start: what was deleted since is gone; begin a new workflow")
	case err != nil:
		return err
	case !r.runner.Progress().Counts.Balanced():
		return fmt.Errorf("the counts do not balance: %s", arithmetic(r.runner.Progress().Counts))
	case drained != nil:
		return fmt.Errorf("%w; %s", drained, checkpointSaved)
	}
	return nil
}

// plainCancel reports whether err says no more than that the context was ended.
func plainCancel(err, cause error) bool {
	return errors.Is(err, cause) || errors.Is(err, context.Canceled)
}
