package memstream

import (
	"context"
	"iter"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
)

// Tail yields what sinks of this workflow wrote behind from. On Kinesis it first lets
// PutTimeout pass since the sink was opened, and what arrives meanwhile is yielded.
//
// A Floor that names no partition at all is that of a first start and begins at what is
// there. Otherwise a partition that is not named is looked at from its beginning, and that
// this beginning is gone is a gap.
//
// From a Clean floor nothing is yielded. A Kafka-like stream must still reach that floor.
func (k *sink) Tail(ctx context.Context, from bridge.Floor) iter.Seq2[bridge.Placed, error] {
	return func(yield func(bridge.Placed, error) bool) {
		if from.Clean && k.s.cfg.Flavour == Kinesis {
			return
		}
		list, err := k.tail(ctx, from)
		// What stands before the gap is yielded, so that the caller may use it.
		for _, p := range list {
			if !yield(p, nil) {
				return
			}
		}
		if err != nil {
			yield(bridge.Placed{}, err)
		}
	}
}

func (k *sink) tail(ctx context.Context, from bridge.Floor) ([]bridge.Placed, error) {
	if err := k.s.ask(ctx, Op{Kind: OpTail, Worker: k.cfg.Worker}); err != nil {
		return nil, err
	}
	s := k.s
	if s.cfg.Flavour == Kinesis {
		if err := sleep(ctx, time.Until(k.opened.Add(k.cfg.PutTimeout))); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.deleted {
		return nil, s.missing()
	}
	s.expire()
	var list []bridge.Placed
	for id := range from.Partitions {
		if p, ok := s.byID[id]; !ok || p.expired {
			return nil, &bridge.GapError{Stream: s.cfg.Name, Partition: id, After: from.Partitions[id], Reason: "the partition is gone"}
		}
	}
	for _, p := range s.parts {
		if p.expired {
			continue
		}
		at := from.Partitions[p.id]
		if lost := k.mark(p, at); lost != nil {
			return list, lost
		}
		if err := s.gone(p, at, from); err != nil {
			return list, err
		}
		if !from.Clean {
			list = k.ours(list, p, at)
		}
	}
	return list, nil
}

// Digest is that of key and value.
func (k *sink) Digest(r *bridge.Record) uint64 {
	return bridge.ContentDigest(r.Key, r.Value, time.Time{})
}

// gone reports a range that cannot be looked at. Behind a Clean floor nothing is looked for.
func (s *Stream) gone(p *part, at bridge.Position, from bridge.Floor) error {
	gap := &bridge.GapError{Stream: s.cfg.Name, Partition: p.id, After: at, Before: p.oldest()}
	switch {
	case at.After(p.end()):
		gap.Reason = "the partition ends before what was acknowledged"
	case from.Clean:
		return nil
	case p.lost(at) && len(from.Partitions) > 0:
		gap.Reason = "what is behind the position is no longer kept"
	case s.cfg.Flavour == Kinesis && !at.IsZero() && !p.has(at.Seq):
		gap.Reason = "possible gap: the record at the position is no longer kept"
	default:
		return nil
	}
	return gap
}

// ours appends the records behind a position that this workflow's sinks wrote.
func (k *sink) ours(list []bridge.Placed, p *part, at bridge.Position) []bridge.Placed {
	for i := p.behind(at); i < len(p.log); i++ {
		e := &p.log[i]
		if e.marker || e.gone || e.Native || e.Workflow != k.cfg.Workflow || e.Record.Origin.IsZero() {
			continue
		}
		placed := bridge.Placed{Partition: p.id, Position: e.at(), Origin: e.Record.Origin, Digest: k.Digest(&e.Record)}
		if k.s.cfg.Flavour == Kinesis {
			placed.Key = e.Record.Key
		}
		list = append(list, placed)
	}
	return list
}

// mark is a gap if the marker of this sink's fence stands where a record was acknowledged.
func (k *sink) mark(p *part, at bridge.Position) error {
	before, fenced := k.before[p.id]
	i := p.behind(before)
	if !fenced || i == len(p.log) || !p.log[i].marker || p.log[i].at() != at {
		return nil
	}
	return &bridge.GapError{Stream: k.s.cfg.Name, Partition: p.id, After: before, Before: at, Reason: "the partition ended before what was acknowledged"}
}
