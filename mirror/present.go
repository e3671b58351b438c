package mirror

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/kinesis-msk-bridge/bridge"
)

// A lane is what must stay in order: one source partition on its way to one target
// partition, or to one key where the target places by key.
type lane struct{ source, target string }

// A presence is what a scan found on the target behind the checkpoint: the lanes, and for each
// source partition the records that are there. It does not change after the scan.
type presence struct {
	lanes  map[lane]*there
	at     map[string]map[bridge.Position]found
	last   map[string]bridge.Position // of each source partition that anything was found of
	digest func(*bridge.Record) uint64
}

// A found is one record that is there.
type found struct {
	lane   *there
	digest uint64 // of Recoverable; zero if it is not known
}

// A there is what was found of one lane.
type there struct {
	last bridge.Position
	// where is the last place of each target partition in which the lane was found.
	where map[string]bridge.Position
}

func newPresence(digest func(*bridge.Record) uint64) presence {
	return presence{map[lane]*there{}, map[string]map[bridge.Position]found{}, map[string]bridge.Position{}, digest}
}

// scan asks the sink what is on the target, which is nothing new after a clean stop.
func (r *run) scan(ctx context.Context, cp bridge.Checkpoint, rows map[string]bridge.Row) (presence, error) {
	sink, ok := r.m.Sink.(bridge.Recoverable)
	if !ok {
		return newPresence(nil), nil
	}
	all := newPresence(sink.Digest)
	from := cp.Floor
	from.Clean = cp.Clean || cp.At.IsZero() && r.m.Fresh
	n := 0
	for placed, err := range sink.Tail(ctx, from) {
		if err != nil {
			return all, fmt.Errorf("look for what is on the target already: %w", err)
		}
		if placed.Origin.Stream != r.from {
			continue
		}
		n++
		all.add(placed, rows[placed.Origin.Partition].Position)
	}
	if n > 0 {
		r.log.Info("found records of this workflow on the target", "records", n, "checkpoint", !cp.At.IsZero())
	}
	return all, nil
}

// reaches proves that the source still reaches what an earlier run brought from it: a log that
// was cut back, by an unclean leader election, can end before.
func (r *run) reaches(ctx context.Context, rows map[string]bridge.Row) error {
	source, ok := r.m.Source.(bridge.Ender)
	if !ok || len(r.present.last) == 0 && len(r.letters.last) == 0 {
		return nil
	}
	ends, err := atStart(ctx, r, "list", func(ctx context.Context) (map[string]bridge.Position, error) { return source.Ends(ctx) })
	if err != nil {
		return fmt.Errorf("ask where the source ends: %w", err)
	}
	for _, p := range []presence{r.present, r.letters} {
		for _, id := range slices.Sorted(maps.Keys(p.last)) {
			if last := p.last[id]; last.After(ends[id]) && last.After(rows[id].Position) {
				end := "ends at " + ends[id].String()
				if ends[id].IsZero() {
					end = "holds nothing"
				}
				return cutSource(r.source.Name, id, rows[id].Position, last, fmt.Sprintf("the partition %s, and a record from %s was carried before", end, last))
			}
		}
	}
	return nil
}

// cutSource is the error for a source log that no longer holds what was carried: nothing behind
// the first position is proved, and what stood up to the last one is gone or another record.
func cutSource(source, partition string, after, last bridge.Position, reason string) error {
	gap := &bridge.GapError{Stream: source, Partition: partition, After: after, Before: last, Reason: reason + ": the log was cut back"}
	if n, err := last.Offset(); err == nil {
		gap.Before = bridge.OffsetPosition(n + 1)
	}
	return bridge.WithHint(gap, "records that were acknowledged are gone from the source, as after an unclean leader election; compare both sides, and begin a new workflow on an empty target")
}

// add notes one record that was found. What the checkpoint covers will not be read again. Of
// copies the first counts.
func (p presence) add(placed bridge.Placed, done bridge.Position) {
	l := lane{source: placed.Origin.Partition, target: placed.Partition}
	if placed.Key != nil {
		l.target = string(placed.Key)
	}
	t := p.lanes[l]
	if t == nil {
		t = &there{where: map[string]bridge.Position{}}
		p.lanes[l] = t
	}
	at := placed.Origin.Position
	if at.After(done) {
		p.note(l.source, at, found{t, placed.Digest})
	}
	if at.After(t.last) {
		t.last = at
	}
	if placed.Position.After(t.where[placed.Partition]) {
		t.where[placed.Partition] = placed.Position
	}
}

func (p presence) note(source string, at bridge.Position, f found) {
	if p.at[source] == nil {
		p.at[source] = map[bridge.Position]found{}
	}
	if _, known := p.at[source][at]; !known {
		p.at[source][at] = f
	}
	if at.After(p.last[source]) {
		p.last[source] = at
	}
}

// find returns what was found of the coordinate of a record, and whether it is another record
// than rec, which has the key that it is known by.
func (p presence) find(source string, rec *bridge.Record) (f found, ok, other bool) {
	if f, ok = p.at[source][rec.Position]; !ok || f.digest == 0 {
		return f, ok, false
	}
	return f, ok, p.digest(rec) != f.digest
}

// has reports whether a record of the lane is on the target. One that is not there while a
// later one of its lane is was there once: the mirror writes a lane in order. To write it now
// would put it behind its successor, so it counts as there if the target drops superseded
// records, and is a gap if not. A coordinate that another record is found with is one, too.
func (f *flow) has(l lane, rec *bridge.Record) (bool, error) {
	p := f.r.present
	on, ok, other := p.find(l.source, rec)
	if other {
		return false, f.cut(rec.Position, p.last[l.source])
	}
	t := p.lanes[l]
	switch {
	case t == nil || rec.Position.After(t.last):
		return false, nil
	case ok && on.lane == t || f.r.m.Compacted:
		return true, nil
	}
	gap := &bridge.GapError{
		Stream: f.r.target.Name, Partition: l.target, Before: t.last,
		Reason: fmt.Sprintf("the record from %s %s is missing while a later one of its lane is there", l.source, rec.Position),
	}
	return false, bridge.WithHint(gap, "somebody removed records from the target, or it lost acknowledged data; compare both sides before going on")
}

// cut is the error for a record that is not the one that was carried from its position.
func (f *flow) cut(at, last bridge.Position) error {
	row, _ := f.r.tracker.row(f.part.ID)
	return cutSource(f.r.source.Name, f.part.ID, row.Position, last, fmt.Sprintf("%s holds another record than the one that was carried from there", at))
}

func rowsByPartition(cp bridge.Checkpoint) map[string]bridge.Row {
	rows := make(map[string]bridge.Row, len(cp.Rows))
	for _, row := range cp.Rows {
		rows[row.Partition] = row
	}
	return rows
}
