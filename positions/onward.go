package positions

import (
	"context"
	"fmt"
	"math"

	"github.com/kinesis-msk-bridge/bridge"
)

// A Forward is what Onward translates.
type Forward struct {
	Target Target
	// Consumed are the bounds of the source partitions.
	Consumed Frontier
	// Rows say how far the mirror is.
	Rows []bridge.Row
	// DeadLetters are all records that the mirror did not write but set aside.
	DeadLetters []bridge.Coordinate
	// LatestValueOnly accepts a compacted target.
	LatestValueOnly bool
	// CountLimit bounds how many records are read only to count repeats; negative is no
	// bound.
	CountLimit int64
}

// A Line is the new position of a consumer in one partition.
type Line struct {
	Partition string `json:"partition"`
	Bound     Bound  `json:"bound"`
	// Known says that Bound is certain; if not there is a Problem that says why.
	Known bool `json:"known"`
	// Replays is how many records the consumer will get that it has consumed. No later
	// position has less without skipping one.
	Replays int64 `json:"replays"`
	// Copies is how many records stand there twice among those that it has not consumed.
	Copies int64 `json:"copies"`
	// Counted says that Replays and Copies are exact and not only least numbers.
	Counted bool `json:"counted"`
}

// A Plan is a translation.
type Plan struct {
	Lines    []Line    `json:"lines"`
	Problems []Problem `json:"problems"`
	// Unconsumed are the dead letters that the consumer has not consumed, and will not
	// find on the other side.
	Unconsumed []bridge.Coordinate `json:"unconsumed_dead_letters"`
	// Read is how many records were read to find the positions, Counted how many only to
	// count repeats.
	Read    int64 `json:"read"`
	Counted int64 `json:"read_to_count"`
}

// Onward finds the position of each target partition. It returns an error only if the
// target could not be read.
func Onward(ctx context.Context, f Forward) (Plan, error) {
	var p Plan
	f.checkMirror(&p)
	for _, d := range f.DeadLetters {
		if !f.Consumed[d.Partition].Covers(d.Position) {
			p.Unconsumed = append(p.Unconsumed, d)
		}
	}
	if n := len(p.Unconsumed); n > 0 {
		p.Problems = append(p.Problems, unconsumedLetters(n))
	}
	starts := f.Starts()
	for _, x := range f.Target.Extents {
		if err := f.partition(ctx, x, starts[x.Partition], &p); err != nil {
			return Plan{}, fmt.Errorf("read partition %s of the target: %w", x.Partition, err)
		}
	}
	return p, nil
}

func unconsumedLetters(n int) Problem {
	return Problem{
		Kind: DeadLettered,
		Text: fmt.Sprintf("unconsumed and not on the target: %d dead letters", n),
		Hint: "deliver them to the consumer in another way, then say --accept-dead-letters",
	}
}

// Starts says for each target partition behind which position reading begins: everything
// up to there is consumed. The zero Position is the beginning of the partition.
func (f *Forward) Starts() map[string]bridge.Position {
	index := f.Target.index()
	out := make(map[string]bridge.Position, len(f.Target.Extents))
	for _, x := range f.Target.Extents {
		out[x.Partition] = lastBelow(index[x.Partition], func(source string, at bridge.Position) bool {
			return at.IsZero() || f.Consumed[source].Covers(at)
		})
	}
	return out
}

// partition reads on from a position at or before which everything is consumed.
func (f *Forward) partition(ctx context.Context, x Extent, from bridge.Position, p *Plan) error {
	if x.Removed.After(from) {
		p.Problems = append(p.Problems, removed(x.Partition, from, x.Removed, "the consumer may not have consumed all of them"))
		p.Lines = append(p.Lines, Line{Partition: x.Partition})
		return nil
	}
	if x.Compacted && !f.LatestValueOnly {
		p.Problems = append(p.Problems, compacted(x.Partition))
	}
	s := search{forward: f, plan: p, seen: f.Target.memory(), line: Line{Partition: x.Partition, Known: true, Counted: true}}
	for e, err := range f.Target.Read(ctx, x.Partition, from, x.Through) {
		if err != nil {
			return err
		}
		if !s.take(e) {
			break
		}
	}
	switch {
	case !s.found && x.Ended:
		s.line.Bound = Everything()
	case !s.found:
		s.line.Bound = Through(x.Through)
	}
	p.Lines = append(p.Lines, s.line)
	return nil
}

// A search goes through one partition.
type search struct {
	forward *Forward
	plan    *Plan
	seen    *memory
	found   bool
	line    Line
}

// take looks at the next entry. It is false if that was too many.
func (s *search) take(e Entry) bool {
	done := s.forward.Consumed[e.Source].Consumed(e)
	if !s.found {
		s.plan.Read++
		if done {
			return true
		}
		s.found, s.line.Bound = true, Next(e.At)
	} else {
		if limit := s.forward.CountLimit; limit >= 0 && s.plan.Counted >= limit {
			s.line.Counted = false
			return false
		}
		s.plan.Counted++
	}
	if done {
		s.line.Replays++
	} else if !s.seen.add(s.line.Partition, e) {
		s.line.Copies++
	}
	return true
}

// checkMirror finds the source partitions of which the consumer has consumed more than
// the mirror is known to have carried.
func (f *Forward) checkMirror(p *Plan) {
	rows := map[string]bridge.Row{}
	for _, r := range f.Rows {
		rows[r.Partition] = r
	}
	for _, name := range sortedKeys(f.Consumed) {
		b := f.Consumed[name]
		row, known := rows[name]
		// A row is forgotten once its partition has ended and its children have rows. Of an
		// aggregate all is carried at once.
		carried := bridge.Position{Seq: row.Position.Seq, Sub: math.MaxUint32}
		if !known || row.Ended || b.All || b.IsZero() || !b.Until.IsZero() || carried.Compare(b.At) >= 0 {
			continue
		}
		p.Problems = append(p.Problems, Problem{
			Kind: MirrorBehind, Partition: name,
			Text: fmt.Sprintf("partition %s: the consumer is at %s, the mirror's checkpoint at %s", name, b.At, row.Position),
			Hint: "wait until the mirror has come past it, then plan again",
		})
	}
}
