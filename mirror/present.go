package mirror

import (
	"context"
	"fmt"

	"github.com/kinesis-msk-bridge/bridge"
)

// A lane is what must stay in order: one source partition on its way to one target
// partition, or to one key where the target places by key.
type lane struct{ source, target string }

// presence is what a scan found on the target behind the checkpoint: for each lane the
// positions that are there, in the order of the target. It does not change after the scan.
type presence map[lane]*there

type there struct {
	at   map[bridge.Position]struct{}
	last bridge.Position
	// where is the last place of each target partition in which the lane was found.
	where map[string]bridge.Position
}

// scan asks the sink what is on the target, which is nothing new after a clean stop.
func (r *run) scan(ctx context.Context, cp bridge.Checkpoint, rows map[string]bridge.Row) (presence, error) {
	found := presence{}
	sink, ok := r.m.Sink.(bridge.Recoverable)
	if !ok {
		return found, nil
	}
	from := cp.Floor
	from.Clean = cp.Clean || cp.At.IsZero() && r.m.Fresh
	n := 0
	for placed, err := range sink.Tail(ctx, from) {
		if err != nil {
			return nil, fmt.Errorf("look for what is on the target already: %w", err)
		}
		if placed.Origin.Stream != r.from {
			continue
		}
		n++
		found.add(placed, rows[placed.Origin.Partition].Position)
	}
	if n > 0 {
		r.log.Info("found records of this workflow on the target", "records", n, "checkpoint", !cp.At.IsZero())
	}
	return found, nil
}

// add notes one record that was found. What the checkpoint covers will not be read again.
func (p presence) add(placed bridge.Placed, done bridge.Position) {
	l := lane{source: placed.Origin.Partition, target: placed.Partition}
	if placed.Key != nil {
		l.target = string(placed.Key)
	}
	t := p[l]
	if t == nil {
		t = &there{at: map[bridge.Position]struct{}{}, where: map[string]bridge.Position{}}
		p[l] = t
	}
	at := placed.Origin.Position
	if at.After(done) {
		t.at[at] = struct{}{}
	}
	if at.After(t.last) {
		t.last = at
	}
	if placed.Position.After(t.where[placed.Partition]) {
		t.where[placed.Partition] = placed.Position
	}
}

// has reports whether the record at this position of the lane is on the target. One that
// is not there while a later one of its lane is was there once: the mirror writes a lane
// in order. To write it now would put it behind its successor, so it counts as there if
// the target drops superseded records, and is a gap if not.
func (p presence) has(l lane, at bridge.Position, compacted bool, target string) (bool, error) {
	t := p[l]
	if t == nil || at.After(t.last) {
		return false, nil
	}
	if _, ok := t.at[at]; ok || compacted {
		return true, nil
	}
	gap := &bridge.GapError{
		Stream: target, Partition: l.target, Before: t.last,
		Reason: fmt.Sprintf("the record from %s %s is missing while a later one of its lane is there", l.source, at),
	}
	return false, bridge.WithHint(gap, "somebody removed records from the target, or it lost acknowledged data; compare both sides before going on")
}

func rowsByPartition(cp bridge.Checkpoint) map[string]bridge.Row {
	rows := make(map[string]bridge.Row, len(cp.Rows))
	for _, row := range cp.Rows {
		rows[row.Partition] = row
	}
	return rows
}
