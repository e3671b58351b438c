package main

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/kpl"
	"github.com/kinesis-msk-bridge/bridge/mirror"
	"github.com/kinesis-msk-bridge/bridge/state"
	"github.com/kinesis-msk-bridge/bridge/stream/kafkastream"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesisstream"
)

// A mover is a mirror with the session that owns its task. If the broker loses track of
// the session's producer, it takes the task again, as nobody else may, and begins anew
// with a look at the target; and so it does once it ran and a service does not answer, for
// as long as that takes.
type mover struct {
	*pair
	workflow state.Workflow
	drained  chan struct{}
	once     sync.Once

	mu      sync.Mutex
	current *mirror.Mirror
	session *kafkastream.Session
	last    mirror.Progress
}

// restarts bounds how often in a row the task is taken again without a record moved.
const restarts = 5

func (m *mover) Run(ctx context.Context) error {
	// The watch looks on from before the task is taken: to open a session can take longer
	// than one lasts.
	watch := bridge.NewWatch(time.Duration(m.Config.SessionTimeout))
	group, work := errgroup.WithContext(ctx)
	watching, stop := context.WithCancel(work)
	group.Go(func() error { return watch.Run(watching) })
	group.Go(func() error {
		defer stop()
		return m.keep(work, watch)
	})
	return group.Wait()
}

// keep takes the task and carries records, again if the broker lost track, or what went
// wrong may pass.
func (m *mover) keep(ctx context.Context, watch *bridge.Watch) (err error) {
	wait, lost := mirror.NewBackOff(), 0
	for {
		before := m.Progress().Counts.Read
		if err = m.take(ctx, watch); err == nil {
			err = m.carry(ctx, watch)
		}
		if m.Progress().Counts.Read > before {
			lost = 0
			wait.Reset()
		}
		switch {
		case err == nil || ctx.Err() != nil:
			return err
		case errors.Is(err, bridge.ErrLostTrack):
			if lost++; lost == restarts {
				return err
			}
		case !bridge.Retryable(err), m.Progress().Source.IsZero():
			return err // a start, too, which was patient
		}
		m.Log.Warn("begins anew with a look at the target", "error", err)
		if !m.pause(ctx, wait.NextBackOff()) {
			return err
		}
	}
}

// pause is false if it ended because nothing more shall be moved.
func (m *mover) pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
	case <-m.drained:
	}
	return false
}

// take opens the session of the task, or takes it again.
func (m *mover) take(ctx context.Context, watch *bridge.Watch) error {
	if m.session != nil {
		again, err := m.session.Restart(ctx)
		if err == nil {
			m.session = again
		}
		return err
	}
	c := kafkastream.SessionConfig{
		Client: m.kafka, Workflow: m.workflow.Name, Tasks: m.Config.Tasks, Key: m.workflow.Key,
		ReplicationFactor: m.Config.Kafka.ReplicationFactor, Watch: watch, Logger: m.Log,
		Retention: storesKeep(m.kinesis.Info().Retention, m.topic.RetentionMs),
	}
	if m.Config.Direction == kinesisToKafka {
		c.Target, c.Compression = m.Config.Kafka.Topic, m.Config.Kafka.Compression
	}
	c.DeadLetters = m.letters.Name
	session, err := patiently(ctx, m.settings, "take the task", func() (*kafkastream.Session, error) { return kafkastream.OpenSession(ctx, c) })
	if err == nil {
		m.session = session
	}
	return err
}

// carry runs one mirror beside what keeps its session.
func (m *mover) carry(ctx context.Context, watch *bridge.Watch) (err error) {
	next, err := m.mirror(ctx, watch)
	if err != nil {
		return errors.Join(err, m.session.Close())
	}
	m.mu.Lock()
	m.current = next
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		m.last = next.Progress()
		m.mu.Unlock()
		closeErr := errors.Join(next.Sink.Close(), m.session.Close())
		if next.DeadLetters != nil {
			closeErr = errors.Join(closeErr, next.DeadLetters.Close())
		}
		if err == nil {
			err = closeErr
		}
	}()
	group, work := errgroup.WithContext(ctx)
	beside, stop := context.WithCancel(work)
	defer stop()
	group.Go(func() error { return m.session.Run(beside) })
	group.Go(func() error {
		select {
		case <-m.drained:
			next.Drain()
		case <-beside.Done():
		}
		return nil
	})
	group.Go(func() error {
		defer stop()
		return next.Run(work)
	})
	return group.Wait()
}

// mirror puts the two ends together.
func (m *mover) mirror(ctx context.Context, watch *bridge.Watch) (*mirror.Mirror, error) {
	keys, err := m.Config.strategy(m.topic.Partitions)
	if err != nil {
		return nil, err
	}
	out := &mirror.Mirror{
		Checkpoints: m.session.Checkpoints(), Keys: keys, Start: m.Config.startTime(), Fresh: m.fresh(), StartPatience: time.Duration(m.Config.StartPatience),
		Interval: time.Duration(m.Config.CheckpointInterval), Memory: recordMemory(m.Config.Memory), UntilCaughtUp: m.settings.Run.UntilCaughtUp, Logger: m.Log, Gate: m.Gate, Hooks: m.Hooks,
	}
	if out.DeadLetters, err = m.openLetters(ctx, watch); err != nil {
		return nil, err
	}
	out.Policy = m.Config.policy()
	if !m.workflow.Pinned.StartAt.IsZero() {
		out.Start = m.workflow.Pinned.StartAt
	}
	stamp := bridge.StampConfig{Workflow: m.workflow.Name, Key: m.workflow.Key, Epoch: m.workflow.Epoch, Target: m.topic.Identity()}
	if m.Config.Direction == kinesisToKafka {
		stamp.Source = m.source
		out.Source = m.kinesis.Source(m.sourceConfig())
		out.Sink = m.session.Sink(kafkastream.SinkConfig{Stamp: bridge.NewStamp(stamp)})
		out.Compacted = strings.Contains(m.topic.CleanupPolicy, "compact")
		return out, nil
	}
	stamp.Known = []bridge.Identity{m.target}
	source, err := kafkastream.NewSource(ctx, kafkastream.SourceConfig{
		Client: m.kafka, Topic: m.topic.Name, Partitions: m.topic.Partitions, ID: m.topic.ID, Stamp: bridge.NewStamp(stamp),
	})
	if err != nil {
		return nil, err
	}
	out.Source = source
	onStream := bridge.NewStamp(bridge.StampConfig{
		Workflow: m.workflow.Name, Key: m.workflow.Key, Epoch: m.workflow.Epoch, Source: m.source, Target: m.target,
	})
	out.Sink, err = m.kinesis.Sink(ctx, kinesisstream.SinkConfig{
		Format: m.Config.Kinesis.writes(), Stamp: onStream,
		Ledger: m.session.Ledger(m.source), Tagger: bridge.NewTagger(m.workflow.Key, "digest"), Watch: watch,
		PutTimeout:    time.Duration(m.Config.PutTimeout),
		AcceptHeaders: m.accepts("headers"), AcceptTombstones: m.accepts("tombstones"),
		Rewind: func(n int64) { out.Rewound(n) },
		Unwatched: func(why string) {
			m.Log.Warn("the watch for copies that land late was given up: some may not be counted as rewind, and verify finds them", "why", why)
		},
		Misplaced: func(n int) {
			m.Log.Info("an aggregate came to a shard that not all of its keys belong to, where the KCL drops it: it is put again", "records", n)
		},
	})
	return out, err
}

// sourceConfig says how the mirror reads the stream.
func (m *mover) sourceConfig() kinesisstream.SourceConfig {
	c := m.reading(m.workflow)
	c.ExplicitHashKey = m.warnHashKeys()
	return c
}

// reading says how the stream is read. What the workflow itself wrote into it is known by
// its stamp.
func (p *pair) reading(w state.Workflow) kinesisstream.SourceConfig {
	c := p.Reading
	c.Aggregation, _ = kpl.ParseMode(p.Config.Kinesis.Aggregation) // one of the names that the field takes
	c.Restore = p.Config.Kinesis.WrittenBy == writtenByBridge
	stamp := bridge.StampConfig{Workflow: w.Name, Key: w.Key, Epoch: w.Epoch, Target: p.source, Known: []bridge.Identity{p.target}}
	if p.Config.Direction == kafkaToKinesis {
		stamp.Source, stamp.Target, stamp.Known = p.source, p.target, nil
		c.Aggregation, c.Restore = p.Config.Kinesis.writes().ReadBy(), p.Config.Kinesis.Format != string(kinesisstream.Raw)
	}
	c.Stamp = bridge.NewStamp(stamp)
	return c
}

// writtenByBridge is the value of kinesis.written_by for a stream that a mirror writes.
const writtenByBridge = "bridge"

func (m *mover) accepts(loss string) bool {
	for _, l := range m.Config.AcceptLoss {
		if l == loss {
			return true
		}
	}
	return false
}

// warnHashKeys warns once of producers that choose the shard themselves.
func (m *mover) warnHashKeys() func(shard string) {
	var once sync.Once
	return func(shard string) {
		once.Do(func() {
			m.Log.Warn("producers choose hash keys: records of one key can be in several shards, and have no order to keep", "shard", shard)
		})
	}
}

func (m *mover) Drain() { m.once.Do(func() { close(m.drained) }) }

func (m *mover) Progress() mirror.Progress {
	m.mu.Lock()
	current, last := m.current, m.last
	m.mu.Unlock()
	if current == nil {
		return last
	}
	if p := current.Progress(); !p.Source.IsZero() {
		return p
	}
	return last
}
