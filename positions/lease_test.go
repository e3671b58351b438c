package positions_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/positions"
)

func at(seq string, sub uint32) bridge.Position { return bridge.Position{Seq: seq, Sub: sub} }

// A lease names the last record that was processed. A sub-sequence number of -1, which no
// KCL writes but each understands, says that not even the first of an aggregate was.
func TestLeaseBound(t *testing.T) {
	for _, c := range []struct {
		checkpoint string
		sub        int64
		want       positions.Bound
		covers     []bridge.Position
		not        []bridge.Position
	}{
		{"TRIM_HORIZON", 0, positions.Bound{}, nil, []bridge.Position{at("0", 0)}},
		{"SHARD_END", 0, positions.Everything(), []bridge.Position{at("99", 9)}, nil},
		{"17", 0, positions.Through(at("17", 0)), []bridge.Position{at("9", 5), at("17", 0)}, []bridge.Position{at("17", 1), at("18", 0)}},
		{"17", 2, positions.Through(at("17", 2)), []bridge.Position{at("17", 2)}, []bridge.Position{at("17", 3)}},
		{"17", -1, positions.Next(at("17", 0)), []bridge.Position{at("16", 7)}, []bridge.Position{at("17", 0)}},
	} {
		l := positions.Lease{Shard: "s", Checkpoint: c.checkpoint, Sub: c.sub}
		b, err := l.Bound()
		if err != nil || b != c.want {
			t.Errorf("%s/%d: %s, %v; want %s", c.checkpoint, c.sub, b, err, c.want)
		}
		for _, p := range c.covers {
			if !b.Covers(p) {
				t.Errorf("%s/%d does not cover %s", c.checkpoint, c.sub, p)
			}
		}
		for _, p := range c.not {
			if b.Covers(p) {
				t.Errorf("%s/%d covers %s", c.checkpoint, c.sub, p)
			}
		}
		back := positions.Lease{Shard: "s"}
		if err := back.SetBound(b); err != nil || back.Checkpoint != c.checkpoint || back.Sub != c.sub {
			t.Errorf("SetBound(%s) = %s/%d, %v; want %s/%d", b, back.Checkpoint, back.Sub, err, c.checkpoint, c.sub)
		}
	}
	for _, l := range []positions.Lease{{Checkpoint: "LATEST"}, {Checkpoint: "AT_TIMESTAMP"}, {Checkpoint: ""}, {Checkpoint: "x"}, {Checkpoint: "12/3"}, {Checkpoint: "12", Sub: -2}, {Checkpoint: "-"}} {
		if b, err := l.Bound(); !errors.Is(err, bridge.ErrForeignPosition) {
			t.Errorf("%+v: %s, %v; want ErrForeignPosition", l, b, err)
		}
	}
}

func shards(parents map[string][]string, names ...string) []bridge.Partition {
	var out []bridge.Partition
	for _, n := range names {
		out = append(out, bridge.Partition{ID: n, Parents: parents[n]})
	}
	return out
}

func TestResolveShardsWithoutALease(t *testing.T) {
	tree := map[string][]string{"b": {"a"}, "c": {"a"}, "d": {"b", "c"}}
	open := positions.Lease{Checkpoint: "5", Shard: "b"}
	for _, c := range []struct {
		name     string
		app      positions.Application
		want     map[string]string
		problems string
	}{
		{"a descendant has one", positions.Application{Leases: []positions.Lease{{Shard: "d", Checkpoint: "7"}}, Shards: shards(tree, "a", "b", "c", "d")},
			map[string]string{"a": "its end", "b": "its end", "c": "its end", "d": "through 7"}, ""},
		{"only an ancestor has one", positions.Application{Leases: []positions.Lease{{Shard: "a", Checkpoint: "7"}}, Shards: shards(tree, "a", "b", "c", "d")},
			map[string]string{"a": "through 7", "b": "nothing", "c": "nothing", "d": "nothing"}, ""},
		{"a sister has one", positions.Application{Leases: []positions.Lease{open}, Shards: shards(tree, "a", "b", "c")},
			map[string]string{"a": "its end", "b": "through 5", "c": "nothing"}, ""},
		{"the lineage stands in the lease", positions.Application{Leases: []positions.Lease{{Shard: "b", Checkpoint: "5", Parents: []string{"a"}}}, Seen: []string{"a"}},
			map[string]string{"a": "its end", "b": "through 5"}, ""},
		{"the lineage stands in the mirror's rows", positions.Application{Leases: []positions.Lease{open}, Rows: []bridge.Row{{Partition: "b", Parents: []string{"a"}}}, Seen: []string{"a"}},
			map[string]string{"a": "its end", "b": "through 5"}, ""},
		{"no relative", positions.Application{Leases: []positions.Lease{open}, Shards: shards(nil, "b", "x")},
			map[string]string{"b": "through 5", "x": "nothing"}, "no-lease x"},
		{"no relative, and expired", positions.Application{Leases: []positions.Lease{open}, Shards: shards(nil, "b"), Seen: []string{"x"}},
			map[string]string{"b": "through 5", "x": "nothing"}, "no-lease x"},
		{"told that what expired is consumed", positions.Application{Leases: []positions.Lease{open}, Shards: shards(nil, "b", "y"), Seen: []string{"x"}, Missing: positions.As{End: true}},
			map[string]string{"b": "through 5", "x": "its end", "y": "nothing"}, "no-lease y"},
		{"told that nothing is", positions.Application{Leases: []positions.Lease{open}, Shards: shards(nil, "b", "y"), Seen: []string{"x"}, Missing: positions.As{Start: true}},
			map[string]string{"b": "through 5", "x": "nothing", "y": "nothing"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, problems, err := positions.Resolve(c.app)
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			for name, b := range f {
				got[name] = b.String()
			}
			if fmt.Sprint(got) != fmt.Sprint(c.want) || listed(problems) != c.problems {
				t.Errorf("got %v, problems %q; want %v, %q", got, listed(problems), c.want, c.problems)
			}
		})
	}
}

func listed(problems []positions.Problem) string {
	var out []string
	for _, p := range problems {
		out = append(out, strings.TrimSpace(string(p.Kind)+" "+p.Partition))
		if p.Hint == "" || p.Text == "" {
			out = append(out, "without a way out")
		}
	}
	return strings.Join(out, ", ")
}

// LATEST and AT_TIMESTAMP say nothing; somebody must.
func TestResolveLatest(t *testing.T) {
	when := time.UnixMilli(1_700_000_000_000)
	for _, word := range []string{"LATEST", "AT_TIMESTAMP"} {
		for _, c := range []struct {
			as   positions.As
			want string
			bad  string
		}{
			{positions.As{}, "nothing", "no-position s"},
			{positions.As{Start: true}, "nothing", ""},
			{positions.As{End: true}, "through 41", ""},
			{positions.As{Time: when}, "before 2023-11-14T22:13:20Z", ""},
		} {
			f, problems, err := positions.Resolve(positions.Application{
				Leases: []positions.Lease{{Shard: "s", Checkpoint: word}}, Shards: shards(nil, "s"),
				Rows: []bridge.Row{{Partition: "s", Position: at("41", 0)}}, As: c.as,
			})
			if err != nil || f["s"].String() != c.want || listed(problems) != c.bad {
				t.Errorf("%s as %+v: %s, %q, %v; want %s, %q", word, c.as, f["s"], listed(problems), err, c.want, c.bad)
			}
		}
	}
	_, _, err := positions.Resolve(positions.Application{Leases: []positions.Lease{{Shard: "s", Checkpoint: "garbage"}}})
	if !errors.Is(err, bridge.ErrForeignPosition) {
		t.Errorf("a checkpoint that is none: %v", err)
	}
}

func ranged(id, first, last string, closed bool, parents ...string) bridge.Partition {
	return bridge.Partition{ID: id, FirstHash: first, LastHash: last, Closed: closed, Parents: parents}
}

const (
	lastKey = "340282366920938463463374607431768211455"
	middle  = "170141183460469231731687303715884105728"
	below   = "170141183460469231731687303715884105727"
)

func TestSeedsCoverTheHashRange(t *testing.T) {
	parent := ranged("p", "0", lastKey, true)
	left, right := ranged("l", "0", below, false, "p"), ranged("r", middle, lastKey, false, "p")
	for _, c := range []struct {
		name   string
		shards []bridge.Partition
		bounds positions.Frontier
		want   string
	}{
		{"one open shard", []bridge.Partition{ranged("p", "0", lastKey, false)}, positions.Frontier{"p": positions.Through(at("9", 0))}, "p:9/0"},
		{"parent unfinished, children not begun", []bridge.Partition{parent, left, right}, positions.Frontier{"p": positions.Next(at("9", 0))}, "p:9/-1 l:TRIM_HORIZON/0 r:TRIM_HORIZON/0"},
		{"parent done", []bridge.Partition{parent, left, right}, positions.Frontier{"p": positions.Everything(), "l": positions.Through(at("3", 1))}, "p:SHARD_END/0 l:3/1 r:TRIM_HORIZON/0"},
		{"a child is not listed yet", []bridge.Partition{parent, left}, positions.Frontier{"p": positions.Everything()}, "uncovered from " + middle},
		{"a child is not listed yet, but its parent is unfinished", []bridge.Partition{parent, left}, positions.Frontier{}, "p:TRIM_HORIZON/0 l:TRIM_HORIZON/0"},
		{"nothing is left", []bridge.Partition{parent}, positions.Frontier{"p": positions.Everything()}, "uncovered from 0"},
		{"no shard", nil, nil, "uncovered from 0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			leases, problem, err := positions.Seeds(c.shards, c.bounds)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, l := range leases {
				got = append(got, fmt.Sprintf("%s:%s/%d", l.Shard, l.Checkpoint, l.Sub))
			}
			if problem != nil {
				got = []string{"uncovered", problem.Text[strings.Index(problem.Text, "from "):]}
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("got %s, want %s", strings.Join(got, " "), c.want)
			}
		})
	}
	if _, _, err := positions.Seeds([]bridge.Partition{left, right}, positions.Frontier{"l": positions.Everything()}); err == nil {
		t.Error("an open shard was seeded with its end")
	}
}
