package kafkastream

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kinesis-msk-bridge/bridge"
)

// tailReaders is how many partitions a tail reads at a time.
const tailReaders = 8

// Tail reads the target from the floor to the high watermarks of this moment, those of
// transactions that are still open included: what the mirror writes stands outside of
// them. A record counts if its provenance holds and its batch is of a producer id that
// this task had; the same record from any other producer is a copy.
func (k *Sink) Tail(ctx context.Context, from bridge.Floor) iter.Seq2[bridge.Placed, error] {
	return func(yield func(bridge.Placed, error) bool) {
		ctx, stop := context.WithCancel(ctx)
		defer stop()
		ranges, err := k.ranges(ctx, from)
		if err != nil {
			yield(bridge.Placed{}, err)
			return
		}
		found := make(chan bridge.Placed, 1024)
		group, work := errgroup.WithContext(ctx)
		group.SetLimit(tailReaders)
		ended := make(chan error, 1)
		go func() {
			for n, r := range ranges {
				group.Go(func() error { return k.tail(work, int32(n), r, found) })
			}
			ended <- group.Wait()
			close(found)
		}()
		for placed := range found {
			if !yield(placed, nil) {
				stop()
				for range found {
				}
				return
			}
		}
		err = <-ended
		if err == nil {
			err = k.session.adopt(ctx)
		}
		if err != nil {
			yield(bridge.Placed{}, err)
		}
	}
}

// A span is a range of offsets, to excluded.
type span struct{ from, to int64 }

// ranges takes all ends before anything is read, and finds out what is gone.
func (k *Sink) ranges(ctx context.Context, floor bridge.Floor) ([]span, error) {
	target := k.session.target
	out := make([]span, target.Partitions)
	total := int64(0)
	for n := range out {
		first, end, _, err := k.session.client.offsets(ctx, target.Name, int32(n))
		if err != nil {
			return nil, err
		}
		id := strconv.Itoa(n)
		at, err := floor.Partitions[id].Offset()
		if err != nil {
			return nil, fmt.Errorf("floor of %s partition %d: %w", target.Name, n, err)
		}
		lost, err := k.session.marker(ctx, partitionID{target.Name, int32(n)}, at)
		if err != nil {
			return nil, err
		}
		out[n] = span{max(at+1, first), end}
		gap := &bridge.GapError{Stream: "topic " + target.Name, Partition: id}
		switch {
		case at >= end:
			return nil, endsBefore(gap.Stream, int32(n), end, floor.Partitions[id])
		case lost:
			return nil, endsBefore(gap.Stream, int32(n), at, floor.Partitions[id])
		case floor.Clean && k.session.direct:
			out[n].from = end // nothing was under way: nothing to look for
		case floor.Clean: // there was a session since, which may have written
		case first > at+1 && (at >= 0 || len(floor.Partitions) > 0):
			gap.After, gap.Before, gap.Reason = floor.Partitions[id], bridge.OffsetPosition(first), "the topic now begins behind the checkpoint: what was written there cannot be looked for"
			return nil, bridge.WithHint(gap, "raise retention.ms of the topic; records may have been written there that would be repeated")
		}
		total += end - out[n].from
	}
	if total > 0 {
		k.session.log.Info("looking at the target for what is there already", "topic", target.Name, "offsets", total)
	}
	return out, nil
}

func (k *Sink) tail(ctx context.Context, n int32, r span, found chan<- bridge.Placed) error {
	if r.from >= r.to {
		return nil
	}
	s := k.session
	for rec, err := range s.client.scan(ctx, s.target.Name, n, r.from, r.to, scanAll) {
		if err != nil {
			return err
		}
		origin, at, ok := s.mine(k.stamp, rec)
		if !ok {
			continue
		}
		digest := bridge.ContentDigest(rec.Key, rec.Value, at)
		select {
		case found <- bridge.Placed{Partition: strconv.Itoa(int(n)), Position: bridge.OffsetPosition(rec.Offset), Origin: origin, Digest: digest}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Digest is that of key, value and time, all of which the provenance header's tag covers.
func (k *Sink) Digest(r *bridge.Record) uint64 {
	return bridge.ContentDigest(r.Key, r.Value, r.Time)
}

// mine reports whether this task wrote the record, from where it had it, and with what time. Without a
// checkpoint the list of producer ids may be gone, too: the tag alone decides then, and the
// producer id is adopted.
func (s *Session) mine(stamp *bridge.Stamp, rec fetchedRecord) (bridge.Coordinate, time.Time, bool) {
	listed := slices.Contains(s.listed, rec.ProducerID)
	if !listed && !s.adopted.open() {
		return bridge.Coordinate{}, time.Time{}, false
	}
	i := lastHeader(rec, bridge.ProvenanceHeader)
	if i < 0 {
		return bridge.Coordinate{}, time.Time{}, false
	}
	origin, p, mark := stamp.Judge(rec.Headers[i].Value, rec.Key, rec.Value)
	if mark == bridge.Ours && !listed {
		s.adopted.add(rec.ProducerID)
	}
	return origin, p.Time, mark == bridge.Ours
}

// adopted are producer ids that wrote records of the task and that no list names.
type adopted struct {
	over atomic.Bool // the session wrote: what it finds from then on can be a copy of that
	mu   sync.Mutex
	ids  map[int64]bool
}

func (a *adopted) open() bool { return a != nil && !a.over.Load() }

func (a *adopted) add(id int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ids[id] = true
}

// adopt lists the producer ids that a scan without a checkpoint found, so that a scan behind
// the next checkpoint takes their records for the task's own, too.
func (s *Session) adopt(ctx context.Context) error {
	if s.adopted == nil {
		return nil
	}
	s.adopted.mu.Lock()
	ids := slices.Sorted(maps.Keys(s.adopted.ids))
	s.adopted.mu.Unlock()
	ids = slices.DeleteFunc(ids, func(id int64) bool { return slices.Contains(s.listed, id) })
	if len(ids) == 0 {
		return nil
	}
	all := slices.Concat(s.listed, ids)
	if err := s.put(ctx, producersRecord, producersRecord, producersBody{IDs: all}); err != nil {
		return err
	}
	s.listed = all
	return nil
}

// lastHeader is the index of the last header of that name, -1 without one.
func lastHeader(rec fetchedRecord, name string) int {
	for i := len(rec.Headers) - 1; i >= 0; i-- {
		if string(rec.Headers[i].Key) == name {
			return i
		}
	}
	return -1
}
