package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"strconv"
	"strings"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/kpl"
	"github.com/kinesis-msk-bridge/bridge/positions"
	"github.com/kinesis-msk-bridge/bridge/positions/leasetable"
	"github.com/kinesis-msk-bridge/bridge/state"
	"github.com/kinesis-msk-bridge/bridge/stream/kafkastream"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesisstream"
)

// A relocation moves one consumer.
type relocation struct {
	settings
	options  offsetOptions
	consumer consumerConfig
	shelf    shelf

	workflow state.Workflow
	kafka    *kafkastream.Client
	kinesis  *kinesisstream.Client
	topic    kafkastream.Topic
	stream   bridge.Identity
	table    *leasetable.Table
	reading  kinesisstream.SourceConfig // how the mirror reads the stream, or what it wrote there
	warned   checks                     // what a plan is to be read with
}

// open reaches the workflow's state and both services.
func (r *relocation) open(ctx context.Context) (err error) {
	defer func() {
		if err != nil {
			err = startError{errors.Join(err, r.close())}
		}
	}()
	if r.workflow, _, err = r.loadState(ctx, openState(r.Config)); err != nil {
		return err
	}
	if r.workflow.Name == "" {
		return usageHint(fmt.Errorf("workflow %s was never started", r.Config.Workflow), "bridge mirror run starts it; a consumer moves once the mirror has caught up")
	}
	return r.reach(ctx)
}

// reach opens both ends and the lease table.
func (r *relocation) reach(ctx context.Context) (err error) {
	if r.kafka, err = patiently(ctx, r.settings, "connect to Kafka", func() (*kafkastream.Client, error) { return r.dialKafka(ctx) }); err != nil {
		return err
	}
	if r.topic, err = patiently(ctx, r.settings, "look up the topic", func() (kafkastream.Topic, error) { return r.kafka.Topic(ctx, r.Config.Kafka.Topic) }); err != nil {
		return err
	}
	if r.kinesis, err = patiently(ctx, r.settings, "look up the stream", func() (*kinesisstream.Client, error) { return kinesisstream.Dial(ctx, r.settings.stream()) }); err != nil {
		return err
	}
	if r.stream, err = patiently(ctx, r.settings, "look up the stream", func() (bridge.Identity, error) { return r.kinesis.Identity(ctx) }); err != nil {
		return err
	}
	now := state.Pinned{Source: r.stream, Target: r.topic.Identity(), Partitions: r.topic.Partitions}
	if r.Config.Direction == kafkaToKinesis {
		now.Source, now.Target = now.Target, now.Source
	}
	if err := r.workflow.Pinned.Check(now); err != nil {
		return err
	}
	r.reading = r.readingOf()
	api, err := r.Config.dynamo(ctx)
	if err != nil {
		return err
	}
	r.table = leasetable.New(api, r.consumer.table(), leasetable.Dialect(r.consumer.Dialect), streamOf(r.kinesis.Info()))
	return nil
}

// streamOf takes the account and the name out of an ARN.
func streamOf(i kinesisstream.Info) leasetable.Stream {
	s := leasetable.Stream{Created: i.Created}
	if parts := strings.SplitN(i.ARN, ":", 6); len(parts) == 6 {
		s.Account = parts[4]
		_, s.Name, _ = strings.Cut(parts[5], "/")
	}
	return s
}

func (r *relocation) close() error {
	if r.kafka == nil {
		return nil
	}
	return r.kafka.Close()
}

// way is where the consumer moves.
func (r *relocation) way() string {
	if (r.Config.Direction == kinesisToKafka) != r.options.Back {
		return kclToGroup
	}
	return groupToKCL
}

// A trail is what the mirror left behind.
type trail struct {
	checkpoint bridge.Checkpoint
	index      []bridge.IndexEntry
	letters    []bridge.Coordinate // of what was set aside
}

// look reads the mirror's checkpoint and index, and where its dead letters came from.
func (r *relocation) look(ctx context.Context) (t trail, err error) {
	if t.checkpoint, _, err = kafkastream.ReadCheckpoint(ctx, r.kafka, r.workflow.Name, 0, r.workflow.Key); err != nil {
		return t, err
	}
	if t.checkpoint.At.IsZero() {
		return t, gateRefused(bridge.WithHint(fmt.Errorf("the mirror of workflow %s has saved no checkpoint yet", r.workflow.Name), "let it run until it has caught up"))
	}
	if t.index, err = kafkastream.ReadIndex(ctx, r.kafka, r.workflow.Name, 0, r.workflow.Key); err != nil {
		return t, err
	}
	for letter, err := range readLetters(ctx, r.settings, r.workflow) {
		if err != nil {
			return t, fmt.Errorf("read the dead letters: %w", err)
		}
		t.letters = append(t.letters, letter.Origin)
	}
	return t, nil
}

// topicTarget is the topic, as what the mirror wrote. What a group can read now ends at
// the last stable offset; to know what a group has not consumed, all up to the high
// watermark counts.
func (r *relocation) topicTarget(ctx context.Context, t trail, undecided bool) (positions.Target, error) {
	out := positions.Target{Index: t.index}
	if r.opaque() {
		out.Index = wholeRecords(t.index)
	}
	extents, err := r.kafka.Extents(ctx, r.topic)
	if err != nil {
		return out, err
	}
	for _, x := range extents {
		through := x.Stable
		if undecided {
			through = x.End
		}
		out.Extents = append(out.Extents, positions.Extent{
			Partition: strconv.Itoa(int(x.Partition)), Removed: bridge.OffsetPosition(x.First - 1), Through: bridge.OffsetPosition(through - 1),
			Compacted: strings.Contains(r.topic.CleanupPolicy, "compact"),
		})
	}
	producers, err := kafkastream.ReadProducers(ctx, r.kafka, r.workflow.Name, 0, r.workflow.Key)
	if err != nil {
		return out, err
	}
	c := kafkastream.WrittenConfig{Topic: r.topic, Producers: producers, Stamp: bridge.NewStamp(bridge.StampConfig{
		Workflow: r.workflow.Name, Key: r.workflow.Key, Epoch: r.workflow.Epoch, Source: r.stream, Target: r.topic.Identity(),
	})}
	out.Read = func(ctx context.Context, partition string, after, through bridge.Position) iter.Seq2[positions.Entry, error] {
		return r.topicEntries(ctx, c, partition, after, through)
	}
	return out, nil
}

func (r *relocation) topicEntries(ctx context.Context, c kafkastream.WrittenConfig, partition string, after, through bridge.Position) iter.Seq2[positions.Entry, error] {
	return func(yield func(positions.Entry, error) bool) {
		n, err := strconv.ParseInt(partition, 10, 32)
		from, err1 := after.Offset()
		to, err2 := through.Offset()
		if err = errors.Join(err, err1, err2); err != nil {
			yield(positions.Entry{}, err)
			return
		}
		c.Partition, c.From, c.To = int32(n), from+1, to+1
		for w, err := range r.kafka.Written(ctx, c) {
			if err == nil && w.Origin.Stream != r.stream.String() {
				continue
			}
			if !yield(entryOf(w, r.opaque()), err) || err != nil {
				return
			}
		}
	}
}

// opaque reports whether the mirror forwards aggregates whole.
func (r *relocation) opaque() bool { return r.Config.Kinesis.Aggregation == kpl.Opaque.String() }

// entryOf is what stands on the topic. An aggregate that was forwarded whole is consumed
// once its last user record is.
func entryOf(w kafkastream.Written, opaque bool) positions.Entry {
	e := positions.Entry{At: w.Position, Source: w.Origin.Partition, First: w.Origin.Position, Time: w.Time, Copied: w.Copied}
	if opaque && w.Subs > 1 {
		e.Last = bridge.Position{Seq: e.First.Seq, Sub: w.Subs - 1}
	}
	return e
}

// wholeRecords says of index entries that name aggregates by their first user record that
// all of the aggregate may stand there.
func wholeRecords(index []bridge.IndexEntry) []bridge.IndexEntry {
	out := make([]bridge.IndexEntry, len(index))
	for i, e := range index {
		out[i] = bridge.IndexEntry{Partition: e.Partition, Position: e.Position, Below: map[string]bridge.Position{}}
		for source, at := range e.Below {
			if !at.IsZero() {
				at.Sub = math.MaxUint32
			}
			out[i].Below[source] = at
		}
	}
	return out
}
