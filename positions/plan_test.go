package positions_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/positions"
)

// A small is a target of one partition, written as "shard:seq" items by offset; "." is a
// hole.
func small(text string) positions.Target {
	items := strings.Fields(text)
	read := func(_ context.Context, _ string, after, through bridge.Position) iter.Seq2[positions.Entry, error] {
		return func(yield func(positions.Entry, error) bool) {
			for i, item := range items {
				p := bridge.OffsetPosition(int64(i))
				s, seq, ok := strings.Cut(item, ":")
				if !ok || !p.After(after) || p.After(through) {
					continue
				}
				e := positions.Entry{At: p, Source: s, Time: time.UnixMilli(int64(i))}
				var err error
				if e.First, err = bridge.ParsePosition(seq); err != nil {
					panic(err)
				}
				if e.First.Sub > 0 { // written as the last of an aggregate that went whole
					e.Last, e.First.Sub = e.First, 0
				}
				if !yield(e, nil) {
					return
				}
			}
		}
	}
	return positions.Target{Read: read, Extents: []positions.Extent{{Partition: "0", Through: bridge.OffsetPosition(int64(len(items)) - 1)}}}
}

func plain(seq string) positions.Bound { return positions.Through(at(seq, 0)) }

func TestOnward(t *testing.T) {
	const log = "a:1 b:1 . a:2 b:2 a:3 b:3"
	entry := func(offset int64, below map[string]bridge.Position) []bridge.IndexEntry {
		return []bridge.IndexEntry{{Partition: "0", Position: bridge.OffsetPosition(offset), Below: below}}
	}
	for _, c := range []struct {
		name     string
		log      string
		change   func(*positions.Forward)
		want     string
		problems string
	}{
		{"in the middle", log, func(f *positions.Forward) { f.Consumed = positions.Frontier{"a": plain("1"), "b": plain("2")} }, "before 3, replays 1, copies 0", ""},
		{"all", log, func(f *positions.Forward) { f.Consumed = positions.Frontier{"a": plain("3"), "b": plain("3")} }, "through 6, replays 0, copies 0", ""},
		{"a shard that nobody names is not consumed", log, func(f *positions.Forward) { f.Consumed = positions.Frontier{"a": plain("3")} }, "before 1, replays 2, copies 0", ""},
		{"by time", log, func(f *positions.Forward) {
			f.Consumed = positions.Frontier{"a": {Until: time.UnixMilli(4)}, "b": plain("3")}
		}, "before 5, replays 1, copies 0", ""},
		{"copies", "a:1 a:2 a:1 a:3 a:2 a:3", func(f *positions.Forward) { f.Consumed = positions.Frontier{"a": plain("1")} }, "before 1, replays 1, copies 2", ""},
		{"an aggregate that went whole, half consumed", "a:1/3 a:2", func(f *positions.Forward) {
			f.Consumed = positions.Frontier{"a": positions.Through(at("1", 2))}
		}, "before 0, replays 0, copies 0", ""},
		{"an aggregate that went whole, consumed", "a:1/3 a:2", func(f *positions.Forward) {
			f.Consumed = positions.Frontier{"a": positions.Through(at("1", 3))}
		}, "before 1, replays 0, copies 0", ""},
		{"the head is gone", log, func(f *positions.Forward) {
			f.Target.Extents[0].Removed = bridge.OffsetPosition(1)
			f.Consumed = positions.Frontier{"a": plain("1"), "b": plain("2")}
		}, "", "removed 0"},
		{"the head is gone, but the index knows what it held", log, func(f *positions.Forward) {
			f.Target.Extents[0].Removed = bridge.OffsetPosition(1)
			f.Target.Index = entry(1, map[string]bridge.Position{"a": at("1", 0), "b": at("1", 0)})
			f.Consumed = positions.Frontier{"a": plain("1"), "b": plain("2")}
		}, "before 3, replays 1, copies 0", ""},
		{"the index does not reach up to what is gone", log, func(f *positions.Forward) {
			f.Target.Extents[0].Removed = bridge.OffsetPosition(1)
			f.Target.Index = entry(0, map[string]bridge.Position{"a": at("1", 0)})
			f.Consumed = positions.Frontier{"a": plain("1"), "b": plain("2")}
		}, "", "removed 0"},
		{"the index says that more was there", log, func(f *positions.Forward) {
			f.Target.Extents[0].Removed = bridge.OffsetPosition(1)
			f.Target.Index = entry(1, map[string]bridge.Position{"a": at("1", 0), "b": at("1", 0), "gone": at("7", 0)})
			f.Consumed = positions.Frontier{"a": plain("1"), "b": plain("2")}
		}, "", "removed 0"},
		{"compacted", log, func(f *positions.Forward) {
			f.Target.Extents[0].Compacted = true
			f.Consumed = positions.Frontier{"a": plain("3"), "b": plain("3")}
		}, "through 6, replays 0, copies 0", "compacted 0"},
		{"compacted, and that is known", log, func(f *positions.Forward) {
			f.Target.Extents[0].Compacted, f.LatestValueOnly = true, true
			f.Consumed = positions.Frontier{"a": plain("3"), "b": plain("3")}
		}, "through 6, replays 0, copies 0", ""},
		{"the mirror is behind", log, func(f *positions.Forward) {
			f.Rows = []bridge.Row{{Partition: "a", Position: at("3", 0)}, {Partition: "b", Position: at("2", 0)}}
			f.Consumed = positions.Frontier{"a": plain("3"), "b": plain("3")}
		}, "through 6, replays 0, copies 0", "mirror-behind b"},
		{"an unconsumed dead letter", log, func(f *positions.Forward) {
			f.DeadLetters = []bridge.Coordinate{{Partition: "a", Position: at("2", 1)}, {Partition: "b", Position: at("4", 0)}}
			f.Consumed = positions.Frontier{"a": plain("3"), "b": plain("3")}
		}, "through 6, replays 0, copies 0", "dead-lettered"},
		{"counting has a limit", log, func(f *positions.Forward) {
			f.CountLimit = 1
			f.Consumed = positions.Frontier{"b": plain("3")}
		}, "before 0, replays 1, copies 0 at least", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := positions.Forward{Target: small(c.log), CountLimit: -1}
			c.change(&f)
			p, err := positions.Onward(t.Context(), f)
			if err != nil {
				t.Fatal(err)
			}
			line, got := p.Lines[0], ""
			if line.Known {
				got = fmt.Sprintf("%s, replays %d, copies %d", line.Bound, line.Replays, line.Copies)
			}
			if !line.Counted && line.Known {
				got += " at least"
			}
			if got != c.want || listed(p.Problems) != c.problems {
				t.Errorf("got %q, problems %q; want %q, %q", got, listed(p.Problems), c.want, c.problems)
			}
		})
	}
}

func TestBackRefusesWhatItCannotKnow(t *testing.T) {
	b := positions.Backward{Target: small("a:1 a:2 a:3 a:4"), Rows: []bridge.Row{{Partition: "a", Position: at("4", 0)}}, CountLimit: -1}
	b.Target.Extents[0].Removed = bridge.OffsetPosition(1)
	b.Consumed = positions.Frontier{"0": positions.Offset(1)}
	p, err := positions.Back(t.Context(), b)
	if err != nil || listed(p.Problems) != "removed 0" {
		t.Errorf("what was removed unconsumed: %q, %v", listed(p.Problems), err)
	}
	b.Consumed = positions.Frontier{"0": positions.Offset(2)}
	b.Target.Extents[0].Compacted = true
	if p, err = positions.Back(t.Context(), b); err != nil || listed(p.Problems) != "compacted 0" {
		t.Errorf("a compacted target: %q, %v", listed(p.Problems), err)
	}
	b.LatestValueOnly = true
	p, err = positions.Back(t.Context(), b)
	if err != nil || listed(p.Problems) != "" || p.Lines[0].Bound != positions.Next(at("3", 0)) {
		t.Errorf("got %+v, %v", p, err)
	}
}

// Of two records the later one can be there alone: what the mirror is not known to have
// carried is not consumed, whatever stands behind it.
func TestBackGoesNoFurtherThanTheMirror(t *testing.T) {
	p, err := positions.Back(t.Context(), positions.Backward{
		Target: small("a:1 a:3 a:5"), Rows: []bridge.Row{{Partition: "a", Position: at("1", 0)}},
		Consumed: positions.Frontier{"0": positions.Offset(2)}, CountLimit: -1,
	})
	if err != nil || p.Lines[0].Bound != plain("1") || p.Lines[0].Replays != 1 {
		t.Errorf("got %+v, %v; want through 1 with 1 replay", p.Lines, err)
	}
}

// A copy that an application made, into whatever partition, is no proof that the original
// was consumed.
func TestBackTrustsNoCopies(t *testing.T) {
	target := small("a:1 a:9 a:2 a:3 a:9")
	read := target.Read
	target.Read = func(ctx context.Context, p string, after, through bridge.Position) iter.Seq2[positions.Entry, error] {
		return func(yield func(positions.Entry, error) bool) {
			for e, err := range read(ctx, p, after, through) {
				e.Copied = e.At.Seq == "1"
				if !yield(e, err) {
					return
				}
			}
		}
	}
	p, err := positions.Back(t.Context(), positions.Backward{
		Target: target, Rows: []bridge.Row{{Partition: "a", Position: at("9", 0)}},
		Consumed: positions.Frontier{"0": positions.Offset(2)}, CountLimit: -1,
	})
	if err != nil || p.Lines[0].Bound != positions.Next(at("2", 0)) || p.Lines[0].Replays != 0 {
		t.Errorf("got %+v, %v; want before 2", p.Lines, err)
	}
}

func TestErrorsOfTheTargetAreReturned(t *testing.T) {
	target := small("a:1")
	target.Read = func(context.Context, string, bridge.Position, bridge.Position) iter.Seq2[positions.Entry, error] {
		return func(yield func(positions.Entry, error) bool) { yield(positions.Entry{}, bridge.ErrDenied) }
	}
	if _, err := positions.Onward(t.Context(), positions.Forward{Target: target}); !errors.Is(err, bridge.ErrDenied) {
		t.Errorf("Onward = %v", err)
	}
	if _, err := positions.Back(t.Context(), positions.Backward{Target: target, CountLimit: -1}); !errors.Is(err, bridge.ErrDenied) {
		t.Errorf("Back = %v", err)
	}
}
