package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/positions"
	"github.com/kinesis-msk-bridge/bridge/stream/kafkastream"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesisstream"
)

// No position is believed: what this file asks is whether the partition can have given it,
// and whether the side that the consumer goes to still holds what follows.

// probes is how many shards are asked at a time.
const probes = 16

// probing reads the stream for single positions.
func (r *relocation) probing() bridge.Source {
	c := r.reading
	c.PageRecords = 100
	return r.kinesis.Source(c)
}

// refusedNumbers asks the service of each number in a lease whether it is one of the shard.
func (r *relocation) refusedNumbers(ctx context.Context, leases []positions.Lease, shards []bridge.Partition) (map[string]bool, error) {
	listed := map[string]bool{}
	for _, s := range shards {
		listed[s.ID] = true
	}
	source, refused := r.probing(), map[string]bool{}
	var mu sync.Mutex
	err := each(ctx, leases, func(ctx context.Context, l positions.Lease) error {
		b, err := l.Bound()
		if err != nil || b.All || b.At.IsZero() || !listed[l.Shard] {
			return nil
		}
		err = r.again(ctx, l.Shard, func() error {
			reader, err := source.Open(ctx, l.Shard, bridge.Start{After: b.At})
			if err == nil {
				err = reader.Close()
			}
			return err
		})
		if errors.Is(err, bridge.ErrForeignPosition) {
			mu.Lock()
			refused[l.Shard] = true
			mu.Unlock()
			return nil
		}
		return err
	})
	return refused, err
}

// each calls do for all of them, some at a time, and returns its first error.
func each[T any](ctx context.Context, all []T, do func(context.Context, T) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(probes)
	for _, one := range all {
		group.Go(func() error { return do(ctx, one) })
	}
	return group.Wait()
}

// again repeats a call while its failures pass.
func (r *relocation) again(ctx context.Context, partition string, call func() error) error {
	for {
		err := call()
		if !bridge.Retryable(err) {
			return err
		}
		r.Log.Warn("read fails, is repeated", "partition", partition, "error", err)
		if err := rest(ctx, time.Second); err != nil {
			return err
		}
	}
}

// records yields what a partition holds from start on, up to its end, until do returns false.
func (r *relocation) records(ctx context.Context, source bridge.Source, partition string, start bridge.Start, do func(bridge.Record) bool) error {
	var reader bridge.Reader
	err := r.again(ctx, partition, func() (err error) {
		reader, err = source.Open(ctx, partition, start)
		return err
	})
	if err != nil {
		return err
	}
	err = r.readOn(ctx, reader, partition, do)
	return errors.Join(err, reader.Close())
}

func (r *relocation) readOn(ctx context.Context, reader bridge.Reader, partition string, do func(bridge.Record) bool) error {
	for {
		var b bridge.Batch
		err := r.again(ctx, partition, func() (err error) {
			b, err = reader.Read(ctx)
			return err
		})
		if err != nil {
			return err
		}
		for _, rec := range b.Records {
			if !do(rec) {
				return nil
			}
		}
		// What an open transaction holds back cannot be read now.
		if b.Ended || b.Behind == 0 || b.Open != nil {
			return nil
		}
	}
}

// first is the first record behind start, and the zero Record if there is none. It is a
// *bridge.GapError if records before it are gone.
func (r *relocation) first(ctx context.Context, source bridge.Source, partition string, start bridge.Start) (rec bridge.Record, err error) {
	err = r.records(ctx, source, partition, start, func(one bridge.Record) bool {
		rec = one
		return false
	})
	return rec, err
}

// arriveOnStream says of each listed shard whether it still holds what stands behind the
// new position. The mirror's own target is asked only for what it is known to hold.
func (r *relocation) arriveOnStream(ctx context.Context, lines []positions.Line, shards []bridge.Partition, rows []bridge.Row) ([]positions.Problem, error) {
	tips := map[string]time.Time{}
	for _, row := range rows {
		tips[row.Partition] = row.Tip
	}
	bounds := map[string]positions.Bound{}
	for _, l := range lines {
		bounds[l.Partition] = l.Bound
	}
	a := &arrival{relocation: r, source: r.probing(), isSource: r.Config.Direction == kinesisToKafka, tips: tips}
	if err := a.ages(ctx); err != nil {
		return nil, err
	}
	sights := map[string]positions.Sight{}
	var mu sync.Mutex
	err := each(ctx, shards, func(ctx context.Context, s bridge.Partition) error {
		sight, err := a.sight(ctx, s, bounds[s.ID], shards)
		mu.Lock()
		defer mu.Unlock()
		sights[s.ID] = sight
		return err
	})
	return positions.Arrive(lines, sights), err
}

// An arrival looks at the shards that a consumer goes to.
type arrival struct {
	*relocation
	source   bridge.Source
	isSource bool // the mirror reads the stream
	young    bool // the stream exists for less than its retention: nothing has expired
	tips     map[string]time.Time
}

// ages finds out by the service's clock whether anything can have expired.
func (a *arrival) ages(ctx context.Context) error {
	info, ahead, err := a.kinesis.DescribeWithClock(ctx)
	a.young = err == nil && time.Now().Add(-ahead).Sub(info.Created) < info.Retention
	return err
}

func (a *arrival) sight(ctx context.Context, s bridge.Partition, b positions.Bound, shards []bridge.Partition) (positions.Sight, error) {
	start := bridge.Start{After: b.At}
	switch {
	case b.All || a.young && b.At.IsZero() || !a.isSource && (b.Done || b.At.IsZero()):
		// On the mirror's target nothing unconsumed is known behind a record that is consumed.
		return positions.Sight{Held: true}, nil
	case b.At.IsZero() && a.tips[s.ID].IsZero():
		return a.beginning(ctx, s, shards)
	case b.Done || b.At.IsZero():
		start.Tip = a.tips[s.ID]
	}
	_, err := a.first(ctx, a.source, s.ID, start)
	var gap *bridge.GapError
	if errors.As(err, &gap) {
		return positions.Sight{First: gap.Before}, nil
	}
	return positions.Sight{Held: err == nil}, err
}

// beginning says whether a shard of which nothing was ever read still holds its first
// record: its parents' records are older, so that none of its own has expired while one of
// theirs is there.
func (a *arrival) beginning(ctx context.Context, s bridge.Partition, shards []bridge.Partition) (positions.Sight, error) {
	for _, parent := range shards {
		for _, name := range s.Parents {
			if parent.ID != name {
				continue
			}
			if rec, err := a.first(ctx, a.source, parent.ID, bridge.Start{}); err != nil || !rec.Position.IsZero() {
				return positions.Sight{Held: err == nil}, err
			}
		}
	}
	rec, err := a.first(ctx, a.source, s.ID, bridge.Start{})
	return positions.Sight{First: rec.Position}, err
}

// arriveOnTopic says of each partition whether the topic still holds what stands behind the
// new offset. One of a topic that holds nothing is where the topic begins.
func arriveOnTopic(lines []positions.Line, extents []kafkastream.Extent) []positions.Problem {
	sights := map[string]positions.Sight{}
	for i, l := range lines {
		n, err := strconv.Atoi(l.Partition)
		if err != nil || n >= len(extents) {
			continue
		}
		x := extents[n]
		if l.Bound.IsZero() && x.First == x.End {
			lines[i].Bound = positions.Offset(x.First)
		}
		next, err := lines[i].Bound.Offset()
		sights[l.Partition] = positions.Sight{Held: err == nil && next >= x.First && next <= x.End, First: bridge.OffsetPosition(x.First)}
	}
	return positions.Arrive(lines, sights)
}

// vetOffsets compares what the group has committed with the topic.
func vetOffsets(g kafkastream.Group, extents []kafkastream.Extent) (out []positions.Problem) {
	for _, x := range extents {
		at, ok := g.Committed[x.Partition]
		if !ok {
			continue
		}
		l := positions.Log{Partition: strconv.Itoa(int(x.Partition)), First: x.First, Stable: x.Stable, End: x.End}
		if p := positions.VetOffset(g.Name, at, l); p != nil {
			out = append(out, *p)
		}
	}
	return out
}

// beforeStart counts what the consumer has not consumed of each partition of the mirror's
// source and what is older than the workflow's start: the mirror does not carry it.
func (r *relocation) beforeStart(ctx context.Context, m *move, consumed positions.Frontier, listed []bridge.Partition, skip map[string]bool) error {
	at := r.workflow.Pinned.StartAt
	if at.IsZero() {
		return nil
	}
	source, err := r.mirrorSource(ctx)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	first, partitions := "", 0
	err = each(ctx, listed, func(ctx context.Context, p bridge.Partition) error {
		b := consumed[p.ID]
		if b.All || !b.Until.IsZero() || skip[p.ID] {
			return nil
		}
		n, err := r.olderThan(ctx, source, p.ID, b, at)
		mu.Lock()
		defer mu.Unlock()
		if m.BeforeStart += n; n > 0 {
			if partitions++; first == "" || p.ID < first {
				first = p.ID
			}
		}
		return err
	})
	if err != nil || m.BeforeStart == 0 {
		return err
	}
	m.Plan.Problems = append(m.Plan.Problems, positions.Problem{
		Kind: positions.BeforeStart, Partition: first,
		Text: fmt.Sprintf("%d records that the consumer has not consumed are older than the workflow's start at %s, and the mirror does not carry them: %d partitions, %s first",
			m.BeforeStart, at.UTC().Format(time.RFC3339), partitions, first),
		Hint: "let the consumer consume up to the start of the workflow, then plan again; or mirror from an earlier start under another workflow name",
	})
	return nil
}

// mirrorSource is the mirror's source, as the mirror reads it.
func (r *relocation) mirrorSource(ctx context.Context) (bridge.Source, error) {
	if r.Config.Direction == kinesisToKafka {
		return r.kinesis.Source(r.reading), nil
	}
	return kafkastream.NewSource(ctx, kafkastream.SourceConfig{Client: r.kafka, Topic: r.topic.Name, Partitions: r.topic.Partitions, ID: r.topic.ID})
}

// olderThan counts the records behind b that stand before the first record of time at.
func (r *relocation) olderThan(ctx context.Context, source bridge.Source, partition string, b positions.Bound, at time.Time) (n int64, err error) {
	begin, err := r.first(ctx, source, partition, bridge.Start{At: at})
	if err != nil || !begin.Position.IsZero() && !b.At.IsZero() && !begin.Position.After(b.At) {
		return 0, err
	}
	count := func(rec bridge.Record) bool {
		if !begin.Position.IsZero() && !begin.Position.After(rec.Position) {
			return false
		}
		if !b.Covers(rec.Position) {
			n++
		}
		return true
	}
	start := bridge.Start{After: b.At}
	if !b.Done {
		start = bridge.Start{} // the record at the position counts, too
	}
	err = r.records(ctx, source, partition, start, count)
	if errors.Is(err, bridge.ErrGap) {
		n = 0
		err = r.records(ctx, source, partition, bridge.Start{}, count)
	}
	return n, err
}

// byTime makes bounds by time ones by position: the service knows when a record arrived,
// the records on the other side only which time their producers gave them. What cannot be
// asked any more stays as it is.
func (r *relocation) byTime(ctx context.Context, consumed positions.Frontier, listed []bridge.Partition) error {
	source := r.kinesis.Source(r.reading)
	var mu sync.Mutex
	return each(ctx, listed, func(ctx context.Context, s bridge.Partition) error {
		mu.Lock()
		b := consumed[s.ID]
		mu.Unlock()
		if b.Until.IsZero() {
			return nil
		}
		begin, err := r.first(ctx, source, s.ID, bridge.Start{At: b.Until})
		if errors.Is(err, bridge.ErrRefused) || err == nil && begin.Position.IsZero() {
			return nil // a time to come, or nothing has arrived since
		}
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		consumed[s.ID] = positions.Next(begin.Position)
		return nil
	})
}

// readingOf says how the mirror of the workflow reads the stream, or how what it wrote there
// is read.
func (r *relocation) readingOf() kinesisstream.SourceConfig {
	p := &pair{settings: r.settings, source: r.topic.Identity(), target: r.stream}
	if r.Config.Direction == kinesisToKafka {
		p.source, p.target = r.stream, r.topic.Identity()
	}
	return p.reading(r.workflow)
}
