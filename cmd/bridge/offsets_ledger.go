package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/big"
	"slices"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/positions"
	"github.com/kinesis-msk-bridge/bridge/stream/kafkastream"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesisstream"
)

// streamTarget is the stream, as what the mirror wrote there: by its ledger, or in the
// formats that carry coordinates by the records themselves. What is under way when the
// ledger ends is stored behind everything that it knows of: one put is under way at a time.
func (r *relocation) streamTarget(ctx context.Context, t trail) (positions.Target, error) {
	out := positions.Target{Index: t.index, Keyed: true}
	shards, err := r.kinesis.Partitions(ctx)
	if err != nil {
		return out, err
	}
	read := r.readLedger
	if r.Config.Kinesis.Format != string(kinesisstream.Raw) {
		read = func(ctx context.Context) (map[string][]positions.Entry, bool, error) {
			return r.readShards(ctx, shards)
		}
	}
	entries, trimmed, err := read(ctx)
	if err != nil {
		return out, err
	}
	for _, s := range shards {
		out.Extents = append(out.Extents, extentOf(s, entries[s.ID], t.index, trimmed))
	}
	for _, s := range expired(shards, entries, t.index) {
		out.Extents = append(out.Extents, extentOf(s, entries[s.ID], t.index, trimmed || len(entries[s.ID]) == 0))
	}
	out.Read = func(_ context.Context, partition string, after, through bridge.Position) iter.Seq2[positions.Entry, error] {
		return func(yield func(positions.Entry, error) bool) {
			for _, e := range entries[partition] {
				if e.At.After(after) && !e.At.After(through) && !yield(e, nil) {
					return
				}
			}
		}
	}
	return out, nil
}

// expired are the shards that the mirror wrote and that the stream lists no more.
func expired(shards []bridge.Partition, entries map[string][]positions.Entry, index []bridge.IndexEntry) []bridge.Partition {
	gone := map[string]bool{}
	for shard := range entries {
		gone[shard] = true
	}
	for _, shard := range targetsOf(index) {
		gone[shard] = true
	}
	for _, s := range shards {
		delete(gone, s.ID)
	}
	var out []bridge.Partition
	for _, shard := range slices.Sorted(maps.Keys(gone)) {
		out = append(out, bridge.Partition{ID: shard, Closed: true})
	}
	return out
}

// extentOf is what can be known of a shard by the entries that were found.
func extentOf(s bridge.Partition, entries []positions.Entry, index []bridge.IndexEntry, trimmed bool) positions.Extent {
	x := positions.Extent{Partition: s.ID, Ended: s.Closed}
	if len(entries) > 0 {
		x.Through = entries[len(entries)-1].At
	}
	if trimmed {
		x.Removed = lastBefore(entries, index, s.ID)
	}
	if x.Removed.After(x.Through) {
		x.Through = x.Removed
	}
	return x
}

// readShards returns the workflow's records on the stream, each shard in its order, and
// whether records may have expired since it began.
func (r *relocation) readShards(ctx context.Context, shards []bridge.Partition) (map[string][]positions.Entry, bool, error) {
	source := r.kinesis.Source(kinesisstream.SourceConfig{
		Aggregation: r.Config.Kinesis.writes().ReadBy(), Restore: true, Stamp: bridge.NewStamp(bridge.StampConfig{
			Workflow: r.workflow.Name, Key: r.workflow.Key, Epoch: r.workflow.Epoch, Source: r.topic.Identity(), Target: r.stream,
		}),
	})
	out := map[string][]positions.Entry{}
	for _, s := range shards {
		list, err := r.readShard(ctx, source, s.ID)
		if err != nil {
			return nil, false, fmt.Errorf("read shard %s: %w", s.ID, err)
		}
		out[s.ID] = list
	}
	info, ahead, err := r.kinesis.DescribeWithClock(ctx)
	if err != nil {
		return nil, false, err
	}
	old := len(r.workflow.Decisions) > 0 && mayHaveExpired(r.workflow.Decisions[0].At, time.Now(), ahead, info.Retention)
	return out, old, nil
}

// clockMargin is how closely two times are compared.
const clockMargin = time.Minute

// mayHaveExpired reports whether what was written since a workflow began may be gone from a
// stream. When it began is known by this machine's clock, which is so much ahead of the
// service's now; whether it was then is not known, so that the longer time counts.
func mayHaveExpired(began, now time.Time, ahead, retention time.Duration) bool {
	return now.Add(max(-ahead, 0)).Sub(began) > retention-clockMargin
}

// readShard reads one shard up to where it ended when the reading began.
func (r *relocation) readShard(ctx context.Context, source bridge.Source, shard string) (list []positions.Entry, err error) {
	reader, err := source.Open(ctx, shard, bridge.Start{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, reader.Close()) }()
	began := time.Now()
	for {
		b, err := reader.Read(ctx)
		if bridge.Retryable(err) {
			r.Log.Warn("reads again", "shard", shard, "error", err)
			err = rest(ctx, time.Second)
			if err == nil {
				continue
			}
		}
		if err != nil {
			return nil, err
		}
		for _, rec := range b.Records {
			if rec.Origin.Stream == r.topic.Identity().String() {
				list = append(list, positions.Entry{At: rec.Position, Source: rec.Origin.Partition, First: rec.Origin.Position, Time: arrived(rec)})
			}
		}
		if b.Ended || b.Behind == 0 && b.Asked.After(began) {
			return list, nil
		}
	}
}

// arrived is when a record came to the stream. A source that does not say so gives the
// record the time of its arrival.
func arrived(rec bridge.Record) time.Time {
	if rec.Arrived.IsZero() {
		return rec.Time
	}
	return rec.Arrived
}

// rest waits for d or until ctx ends.
func rest(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// An intentID is the place of an intent in the ledger.
type intentID struct {
	entry string
	index int
}

// readLedger returns what the ledger says is stored, each shard in its order, and whether
// its beginning is gone.
func (r *relocation) readLedger(ctx context.Context) (map[string][]positions.Entry, bool, error) {
	extents, err := r.ledgerExtents(ctx)
	if err != nil {
		return nil, false, err
	}
	trimmed := len(extents) > 0 && extents[0].First > 0
	intents, fates := map[intentID]bridge.Intent{}, map[intentID]bridge.Settled{}
	for e, err := range kafkastream.ReadLedger(ctx, r.kafka, r.workflow.Name, 0, r.workflow.Key, r.topic.Identity()) {
		if err != nil {
			return nil, false, err
		}
		// A result can be told twice, after an answer that was lost; the last one counts.
		for _, s := range e.Settled {
			fates[intentID{s.Entry.Seq, s.Index}] = s
		}
		for i, in := range e.Intents {
			intents[intentID{e.At.Seq, i}] = in
		}
	}
	out := map[string][]positions.Entry{}
	for id, s := range fates {
		in, ok := intents[id]
		trimmed = trimmed || !ok
		if ok && s.Stored && in.Origin.Stream == r.topic.Identity().String() {
			out[s.Partition] = append(out[s.Partition], positions.Entry{
				At: s.Position, Source: in.Origin.Partition, First: in.Origin.Position, Time: in.Time,
			})
		}
	}
	for _, list := range out {
		slices.SortFunc(list, func(a, b positions.Entry) int { return a.At.Compare(b.At) })
	}
	return out, trimmed, nil
}

// ledgerExtents says where the ledger begins; nothing if there is none.
func (r *relocation) ledgerExtents(ctx context.Context) ([]kafkastream.Extent, error) {
	t, err := r.kafka.Topic(ctx, kafkastream.OwnTopics(r.workflow.Name)[1])
	if errors.Is(err, bridge.ErrMissing) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return r.kafka.Extents(ctx, t)
}

// lastBefore is the last position of a shard of which a ledger whose beginning is gone
// does not know: the one before the first that it knows of, or by the index the last one
// of the shard.
func lastBefore(entries []positions.Entry, index []bridge.IndexEntry, shard string) bridge.Position {
	if len(entries) > 0 {
		n, ok := new(big.Int).SetString(entries[0].At.Seq, 10)
		if !ok || n.Sign() == 0 {
			return bridge.Position{}
		}
		return bridge.Position{Seq: n.Sub(n, big.NewInt(1)).String()}
	}
	var last bridge.Position
	for _, i := range index {
		if i.Partition == shard && i.Position.After(last) {
			last = i.Position
		}
	}
	return last
}
