package mirror

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/keymap"
	"golang.org/x/sync/errgroup"
)

// A Mirror carries one source to one sink. Fields must not be changed once Run was
// called. Source, Sink, Checkpoints and Keys are required.
type Mirror struct {
	Source      bridge.Source
	Sink        bridge.Sink
	Checkpoints bridge.CheckpointStore
	Keys        keymap.Strategy

	// Start is where partitions begin that have no checkpoint: at records that arrived
	// then or later. Zero begins at the oldest record.
	Start time.Time
	// Interval between checkpoints while records move; 5 s if zero. An idle mirror writes
	// one only every Heartbeat, 10 min if zero.
	Interval, Heartbeat time.Duration
	// StartPatience is for how long a start waits for a service that does not answer, or
	// asks for less; DefaultPatience if zero.
	StartPatience time.Duration
	// Discover is how often the source's partitions are listed again; 30 s if zero. They
	// are also listed whenever one ends.
	Discover time.Duration
	// UntilCaughtUp drains once everything that was in the source when Run began is on
	// the target and checkpointed.
	UntilCaughtUp bool
	// Compacted says that the target may drop a record once a later one of its key is
	// there, so that a missing one is no sign of damage.
	Compacted bool
	// Policy says what happens to records that cannot be carried. DeadLetters is where
	// those go that it does not stop at; nil is good for the zero Policy only.
	Policy      Policy
	DeadLetters bridge.DeadLetters

	// Memory bounds the bytes of records that are held at a time, 1 GiB if zero. The whole
	// of ReadMost, the largest that one read can take (16 MiB if zero), is reserved before
	// each, and is the least that Memory can be.
	Memory, ReadMost int64

	// Fresh says that nothing on the target can be the workflow's own, because its key was
	// made a moment ago: a start without a checkpoint then need not look.
	Fresh bool

	// Gate can hold the intake back; nil never does.
	Gate *Gate

	Hooks  Hooks
	Logger *slog.Logger // nil logs nothing

	once  sync.Once
	drain chan struct{}
	mu    sync.Mutex
	run   *run
}

// Hooks are called as things happen, from any goroutine, and must return quickly. Nil
// ones are left out.
type Hooks struct {
	// Checkpoint is called with each checkpoint that was saved.
	Checkpoint func(bridge.Checkpoint)
	// Retry is called before the engine waits to try again; op is "read", "write", "list",
	// "open", "checkpoint", "identify" or "dead letter".
	Retry func(op, partition string, err error, wait time.Duration)
	// Started and Ended are called when the flow of a partition begins, and when the
	// partition's end is durable.
	Started, Ended func(partition string)
	// Carried is called with each page that is done, also with empty ones.
	Carried func(Carried)
	// Handed is called when n records are given to the sink for the first time.
	Handed func(n int)
	// Dropped is called with each record that the rules of its format keep from readers,
	// again after a restart that reads it again. DeadLettered is called with each letter
	// that is durable.
	Dropped      func(at bridge.Coordinate, reason error)
	DeadLettered func(bridge.DeadLetter)
}

// A Carried is a page that is done.
type Carried struct {
	Partition string
	// Records and Bytes were written to the target; Bytes are those of keys, values and
	// headers.
	Records, Bytes int64
	// Oldest and Newest are when the first and the last of them arrived at the source.
	Oldest, Newest time.Time
}

// Rewound counts copies that an adapter saw land on the target after the first one.
func (m *Mirror) Rewound(n int64) {
	m.mu.Lock()
	r := m.run
	m.mu.Unlock()
	if r != nil {
		r.tracker.rewound(n)
	}
}

func (m *Mirror) init() {
	m.once.Do(func() { m.drain = make(chan struct{}) })
}

// Drain asks Run to read no more, finish what is under way, save a clean checkpoint and
// return nil. It returns at once and may be called any number of times.
func (m *Mirror) Drain() {
	m.init()
	m.mu.Lock()
	defer m.mu.Unlock()
	select {
	case <-m.drain:
	default:
		close(m.drain)
	}
}

// Run mirrors until Drain is called, the goal of UntilCaughtUp is reached, or something
// fails for good. Ending ctx cuts: what is under way is found again at the next start.
// Errors that passing time can mend are retried inside. What Run returns is a class of
// package bridge: ErrFenced if another worker took over, ErrGap and ErrChanged if data is
// gone or the ends are not what they were, ErrState if the checkpoint is of another
// workflow, and what the policy stops at. Run may be called once.
func (m *Mirror) Run(ctx context.Context) error {
	m.init()
	if err := m.Policy.check(m.DeadLetters); err != nil {
		return err
	}
	r, err := m.begin(ctx)
	if r == nil || err != nil {
		return err
	}
	m.mu.Lock()
	m.run = r
	m.mu.Unlock()
	return r.run(ctx)
}

// begin is resume, which a Drain ends: nothing is under way yet, and the checkpoint stays
// what it was. It returns nil then.
func (m *Mirror) begin(ctx context.Context) (*run, error) {
	starting, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-m.drain:
			stop()
		case <-starting.Done():
		}
	}()
	r, err := m.resume(starting)
	drained := starting.Err() != nil && ctx.Err() == nil
	stop()
	<-ended
	if drained && (err == nil || errors.Is(err, context.Canceled)) {
		return nil, nil
	}
	return r, err
}

// A run is one Run of a Mirror.
type run struct {
	m        *Mirror
	log      *slog.Logger
	source   bridge.Identity
	target   bridge.Identity
	from, to string // source and target spelled out, as coordinates hold them
	tracker  *tracker
	lineage  *lineage
	present  presence
	letters  presence // dead letters; lanes without a target
	goal     *goal
	memory   memory
	group    *errgroup.Group
	underWay atomic.Int64
	told     summary   // of records that were not written
	lastSave time.Time // of the saver only
	fresh    bool      // of the saver: the target said where it ends at the last heartbeat
	saveNow  chan struct{}
	relist   chan struct{}
}

// resume loads the checkpoint, proves that it belongs to these two ends, and finds out
// what an earlier run left on the target.
func (m *Mirror) resume(ctx context.Context) (*run, error) {
	r := &run{
		m:       m,
		log:     m.Logger,
		memory:  newMemory(m),
		saveNow: make(chan struct{}, 1),
		relist:  make(chan struct{}, 1),
	}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	var err error
	if r.source, err = atStart(ctx, r, "identify", m.Source.Identity); err != nil {
		return nil, fmt.Errorf("identify the source: %w", err)
	}
	if r.target, err = atStart(ctx, r, "identify", m.Sink.Identity); err != nil {
		return nil, fmt.Errorf("identify the target: %w", err)
	}
	r.from, r.to = r.source.String(), r.target.String()
	cp, err := atStart(ctx, r, "checkpoint", m.Checkpoints.Load)
	if err != nil {
		return nil, fmt.Errorf("load the checkpoint: %w", err)
	}
	if !cp.At.IsZero() {
		if err := r.belongs(cp); err != nil {
			return nil, err
		}
	}
	// A shard that is born behind this moment is not listed, and holds nothing older.
	now := time.Now()
	parts, err := atStart(ctx, r, "list", m.Source.Partitions)
	if err != nil {
		return nil, fmt.Errorf("list the source's partitions: %w", err)
	}
	rows := rowsByPartition(cp)
	if r.goal, err = r.newGoal(ctx, now, parts, rows); err != nil {
		return nil, err
	}
	if r.present, err = r.scan(ctx, cp, rows); err != nil {
		return nil, err
	}
	if r.letters, err = r.scanLetters(ctx, cp, rows); err != nil {
		return nil, err
	}
	if err := r.reaches(ctx, rows); err != nil {
		return nil, err
	}
	if !cp.At.IsZero() {
		r.log.Info("goes on from the checkpoint", "at", cp.At, "clean", cp.Clean, "read", cp.Counts.Read, "already_present", cp.Counts.Present)
	}
	r.tracker = newTracker(cp, r.present)
	r.tracker.await(r.letters)
	r.lineage = newLineage(r.tracker, cp.At.IsZero(), r.source.Name)
	if !cp.At.IsZero() {
		r.lineage.resume(cp)
	}
	if parts, err = r.settle(ctx, parts); err != nil {
		return nil, err
	}
	r.tracker.expect(parts)
	return r, r.pinBeginnings(ctx)
}

// beginnings is how many partitions are asked at a time where they begin.
const beginnings = 16

// pinBeginnings finds out where the workflow begins in each partition that it has not read from,
// for the first checkpoint, which is saved before anything is carried. Without it a start that
// follows a kill could not tell that records expired unread in between. Rows of earlier versions
// do not say it: there the workflow begins where it would have begun, now.
func (r *run) pinBeginnings(ctx context.Context) error {
	ids := r.tracker.unknown()
	if len(ids) == 0 {
		return nil
	}
	r.log.Info("asks the source where the partitions begin", "partitions", len(ids))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(beginnings)
	for _, id := range ids {
		group.Go(func() error { return r.pinBeginning(ctx, id) })
	}
	return group.Wait()
}

func (r *run) pinBeginning(ctx context.Context, id string) error {
	type beginning struct {
		first bridge.Position
		tip   time.Time
	}
	b, err := atStart(ctx, r, "open", func(ctx context.Context) (b beginning, err error) {
		if err := r.memory.left.Acquire(ctx, r.memory.most); err != nil {
			return b, err
		}
		defer r.memory.left.Release(r.memory.most)
		b.first, b.tip, err = r.m.Source.Begin(ctx, id, r.m.Start)
		return b, err
	})
	if errors.Is(err, bridge.ErrMissing) {
		return nil // it expired a moment ago: its flow finds out
	}
	if err != nil {
		return fmt.Errorf("ask where partition %s begins: %w", id, err)
	}
	r.tracker.begins(id, b.first, b.tip)
	return nil
}

// settle takes the first listing, and lists again until nothing in it is in doubt: what expired
// unread must be known before anything can be said to be caught up.
func (r *run) settle(ctx context.Context, parts []bridge.Partition) ([]bridge.Partition, error) {
	for {
		if err := r.listed(parts); err != nil || len(r.lineage.doubts) == 0 {
			return parts, err
		}
		r.log.Info("the listing of the source may be incomplete: it is asked for again", "partitions", len(r.lineage.doubts))
		if err := await(ctx, relistAfter, nil); err != nil {
			return nil, err
		}
		var err error
		if parts, err = atStart(ctx, r, "list", r.m.Source.Partitions); err != nil {
			return nil, fmt.Errorf("list the source's partitions: %w", err)
		}
	}
}

// belongs proves that a checkpoint was made for this source, target and keymap.
func (r *run) belongs(cp bridge.Checkpoint) error {
	for _, end := range []struct {
		what      string
		have, was bridge.Identity
	}{{"source", r.source, cp.Source}, {"target", r.target, cp.Target}} {
		switch {
		case end.have == end.was:
		case end.have.Name == end.was.Name:
			err := fmt.Errorf("the %s %s was recreated: the checkpoint is of %s, this one is %s: %w",
				end.what, end.have.Name, end.was.Incarnation, end.have.Incarnation, bridge.ErrChanged)
			return bridge.WithHint(err, "the records behind the checkpoint are gone with the old one; begin a new workflow under another name")
		default:
			err := fmt.Errorf("the checkpoint was made for the %s %s, not for %s: %w",
				end.what, end.was.Name, end.have.Name, bridge.ErrState)
			return bridge.WithHint(err, "give this migration a workflow name of its own")
		}
	}
	if k := r.m.Keys.Name(); k != cp.Keymap {
		err := fmt.Errorf("the checkpoint was made with keymap %s, not %s: %w", cp.Keymap, k, bridge.ErrState)
		return bridge.WithHint(err, "another keymap would split keys over two partitions; use "+cp.Keymap+" or a new workflow and an empty target")
	}
	return nil
}

// run starts the flows and the saver and waits for all of them.
func (r *run) run(ctx context.Context) error {
	// The first checkpoint says that something may be under way from here on, so that a
	// crash before the next one is not taken for the clean stop that came before it.
	if err := r.save(ctx, false); err != nil {
		return err
	}
	intake, stop := context.WithCancel(ctx)
	defer stop()
	cuttable, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	group, work := errgroup.WithContext(cuttable)
	r.group = group

	saver := make(chan error, 1)
	flowsDone := make(chan struct{})
	group.Go(func() error { return r.schedule(work, intake) })
	looking, seen := context.WithCancel(work)
	group.Go(func() error { return r.watchEnds(looking) })
	group.Go(func() error {
		defer stop()
		defer seen()
		select {
		case <-r.m.drain:
		case <-r.goal.reached():
			r.log.Info("everything that was in the source at the start is on the target")
		case <-work.Done():
		}
		return nil
	})
	go func() {
		err := r.keepSaving(cuttable, flowsDone)
		if err != nil {
			fail(err)
		}
		saver <- err
	}()
	err := group.Wait()
	close(flowsDone)
	if saveErr := <-saver; saveErr != nil {
		err = saveErr // the flows only fell with it
	}
	return r.finish(ctx, err)
}

// finish saves what is done. A stop without error has nothing under way, and is clean if
// the flows have come past all that was found on the target at the start.
func (r *run) finish(ctx context.Context, err error) error {
	r.told.flush()
	if ctx.Err() != nil || errors.Is(err, bridge.ErrFenced) {
		return errors.Join(err, context.Cause(ctx))
	}
	if saveErr := r.save(ctx, err == nil); saveErr != nil {
		return errors.Join(err, saveErr)
	}
	return err
}

// schedule begins a flow for every partition whose parents are done, as they come.
func (r *run) schedule(ctx, intake context.Context) error {
	tick := time.NewTicker(orElse(r.m.Discover, 30*time.Second))
	defer tick.Stop()
	for {
		for _, p := range r.lineage.startable() {
			r.group.Go(func() error { return r.flow(ctx, intake, p) })
		}
		var soon <-chan time.Time
		if len(r.lineage.doubts) > 0 {
			soon = time.After(relistAfter)
		}
		select {
		case <-intake.Done():
			return nil
		case <-tick.C:
		case <-soon:
		case <-r.relist:
		}
		parts, err := retry(intake, r, "list", "", func() ([]bridge.Partition, error) {
			return r.m.Source.Partitions(intake)
		})
		if intake.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("list the source's partitions: %w", err)
		}
		if err := r.listed(parts); err != nil {
			return err
		}
	}
}

// listed takes a listing of the source's partitions.
func (r *run) listed(parts []bridge.Partition) error {
	if err := r.lineage.update(parts); err != nil {
		return err
	}
	if keys, ok := r.m.Keys.(keymap.Conditional); ok {
		return keys.Holds(r.lineage.all())
	}
	return nil
}

func orElse[T time.Duration | int64](d, fallback T) T {
	if d > 0 {
		return d
	}
	return fallback
}
