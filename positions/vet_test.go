package positions_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/positions"
)

// A grove is a stream with a tree of shards, of which the oldest have expired, and the
// sound lease table of an application that reads it.
type grove struct {
	rng    *rand.Rand
	all    []bridge.Partition // also those that have expired
	listed []bridge.Partition
	rows   []bridge.Row
	leases []positions.Lease
}

func (g *grove) number(s bridge.Partition) string {
	from, _ := strconv.Atoi(s.From.Seq)
	return strconv.Itoa(from + g.rng.IntN(1000))
}

// newGrove splits and merges shards. A shard created in round r has the numbers from
// 10,000 r, which overlap those of its sisters.
func newGrove(seed uint64) *grove {
	g := &grove{rng: rand.New(rand.NewPCG(seed, 11))}
	var open []int
	plant := func(round, first, last int, parents ...string) {
		open = append(open, len(g.all))
		g.all = append(g.all, bridge.Partition{
			ID: fmt.Sprintf("shardId-%012d", len(g.all)), Parents: parents, FirstHash: strconv.Itoa(first), LastHash: strconv.Itoa(last),
			From: bridge.Position{Seq: strconv.Itoa(10_000 * (round + 1))},
		})
	}
	closeShard := func(i, round int) bridge.Partition {
		g.all[i].Closed, g.all[i].To.Seq = true, strconv.Itoa(10_000*(round+1)-1)
		return g.all[i]
	}
	for i := range 1 + g.rng.IntN(3) {
		plant(0, i*1000, i*1000+999)
	}
	for round := range 1 + g.rng.IntN(4) {
		at := g.rng.IntN(len(open))
		s := closeShard(open[at], round+1)
		first, _ := strconv.Atoi(s.FirstHash)
		last, _ := strconv.Atoi(s.LastHash)
		open = slices.Delete(open, at, at+1)
		plant(round+1, first, (first+last)/2, s.ID)
		plant(round+1, (first+last)/2+1, last, s.ID)
	}
	expired := g.rng.IntN(len(g.all) - len(open) + 1)
	for i, s := range g.all {
		if s.Closed && i < expired {
			continue
		}
		g.listed = append(g.listed, s)
	}
	for i, s := range g.all {
		row := bridge.Row{Partition: s.ID, Parents: s.Parents, Ended: s.Closed, Position: bridge.Position{Seq: strconv.Itoa(10_000*(i+1) + 999_999)}}
		if g.rng.IntN(2) == 0 {
			g.rows = append(g.rows, row)
		}
		g.lease(s)
	}
	return g
}

// lease adds what a KCL can hold for a shard.
func (g *grove) lease(s bridge.Partition) {
	l := positions.Lease{Shard: s.ID, Parents: s.Parents, Checkpoint: positions.TrimHorizon}
	if g.rng.IntN(2) == 0 {
		l.FirstHash, l.LastHash = s.FirstHash, s.LastHash
	}
	switch n := g.rng.IntN(10); {
	case n == 0 && s.Closed:
		return // done with, and deleted
	case n < 4 && s.Closed:
		l.Checkpoint = positions.ShardEnd
		for _, child := range g.all {
			if slices.Contains(child.Parents, s.ID) {
				l.Children = append(l.Children, child.ID)
			}
		}
	case n < 8:
		l.Checkpoint, l.Sub = g.number(s), g.rng.Int64N(3)-1
	}
	g.leases = append(g.leases, l)
}

// vet resolves and judges, with what the service says of the numbers.
func (g *grove) vet(t *testing.T, refused map[string]bool) []positions.Problem {
	t.Helper()
	consumed, _, err := positions.Resolve(positions.Application{Leases: g.leases, Shards: g.listed, Rows: g.rows})
	if err != nil {
		t.Fatal(err)
	}
	return positions.Vet(g.leases, consumed, positions.Evidence{Shards: g.listed, Rows: g.rows, Refused: refused})
}

// damages make one lease of a listed shard a lie. Each reports false if it cannot.
var damages = map[string]func(g *grove, l *positions.Lease, s bridge.Partition) (refused, ok bool){
	"the end of an open shard": func(_ *grove, l *positions.Lease, s bridge.Partition) (bool, bool) {
		l.Checkpoint, l.Sub = positions.ShardEnd, 0
		return false, !s.Closed
	},
	"a number below the shard": func(_ *grove, l *positions.Lease, s bridge.Partition) (bool, bool) {
		from, _ := strconv.Atoi(s.From.Seq)
		l.Checkpoint = strconv.Itoa(from - 1)
		return false, true
	},
	"a number above the shard": func(_ *grove, l *positions.Lease, s bridge.Partition) (bool, bool) {
		to, _ := strconv.Atoi(s.To.Seq)
		l.Checkpoint = strconv.Itoa(to + 1)
		return false, s.Closed
	},
	"a number of another shard": func(g *grove, l *positions.Lease, s bridge.Partition) (bool, bool) {
		l.Checkpoint = g.number(s)
		return true, true
	},
	"other parents": func(_ *grove, l *positions.Lease, s bridge.Partition) (bool, bool) {
		l.Parents = []string{"shardId-000000000077"}
		return false, len(s.Parents) > 0
	},
	"another child": func(g *grove, l *positions.Lease, s bridge.Partition) (bool, bool) {
		l.Children = []string{g.listed[0].ID}
		return false, !slices.Contains(g.listed[0].Parents, s.ID)
	},
	"other hash keys": func(_ *grove, l *positions.Lease, s bridge.Partition) (bool, bool) {
		l.FirstHash, l.LastHash = "1", s.LastHash
		return false, true
	},
	"a shard that never was": func(g *grove, l *positions.Lease, _ bridge.Partition) (bool, bool) {
		l.Shard, l.Parents, l.Children = fmt.Sprintf("shardId-%012d", len(g.all)+g.rng.IntN(5)), nil, nil
		return false, true
	},
	"a name that is none": func(_ *grove, l *positions.Lease, _ bridge.Partition) (bool, bool) {
		l.Shard, l.Parents, l.Children = "0", nil, nil
		return false, true
	},
}

// A sound lease table is never refused, and one with a single lie in it always is, with a
// problem of the shard that it is told of.
func TestVetFindsEveryLieAndNoOther(t *testing.T) {
	cases := 2_000
	if testing.Short() {
		cases = 200
	}
	lies := map[string]int{}
	for seed := range uint64(cases) {
		g := newGrove(seed)
		if found := g.vet(t, nil); len(found) != 0 {
			t.Fatalf("seed %d: a sound table is refused: %s", seed, found[0])
		}
		for name, damage := range damages {
			g := newGrove(seed)
			at := slices.IndexFunc(g.leases, func(l positions.Lease) bool {
				return slices.ContainsFunc(g.listed, func(s bridge.Partition) bool { return s.ID == l.Shard })
			})
			if at < 0 {
				continue
			}
			l := &g.leases[at]
			s := g.listed[slices.IndexFunc(g.listed, func(s bridge.Partition) bool { return s.ID == l.Shard })]
			refused, ok := damage(g, l, s)
			if !ok {
				continue
			}
			lies[name]++
			found := g.vet(t, map[string]bool{l.Shard: refused})
			if len(found) != 1 || found[0].Kind != positions.Foreign || found[0].Partition != l.Shard || found[0].Hint == "" {
				t.Fatalf("seed %d: %s in the lease of %s: found %v", seed, name, l.Shard, found)
			}
		}
	}
	for name := range damages {
		if lies[name] < cases/20 {
			t.Errorf("%s was tried %d times of %d", name, lies[name], cases)
		}
	}
	t.Logf("%d tables, lies by kind: %v", cases, lies)
}

// Shards without a lease are consumed if a descendant has one; a descendant that is made up
// must not consume a shard that is open.
func TestVetAnOpenShardThatADescendantClaims(t *testing.T) {
	shards := []bridge.Partition{{ID: "shardId-000000000003"}, {ID: "shardId-000000000004"}}
	leases := []positions.Lease{{Shard: "shardId-000000000001", Checkpoint: "5", Parents: []string{"shardId-000000000003"}}, {Shard: "shardId-000000000004", Checkpoint: "7"}}
	consumed, _, err := positions.Resolve(positions.Application{Leases: leases, Shards: shards})
	if err != nil {
		t.Fatal(err)
	}
	found := positions.Vet(leases, consumed, positions.Evidence{Shards: shards})
	if listed(found) != "foreign-position shardId-000000000003" {
		t.Errorf("found %v", found)
	}
}

// An offset is in the log, or it is said on which side of it.
func TestVetOffset(t *testing.T) {
	l := positions.Log{Partition: "3", First: 10, Stable: 20, End: 25}
	for at := range int64(40) {
		want := positions.Kind("")
		switch {
		case at > 25:
			want = positions.Foreign
		case at > 20:
			want = positions.Undecided
		case at < 10:
			want = positions.OutOfRange
		}
		p := positions.VetOffset("g", at, l)
		if p == nil {
			p = &positions.Problem{}
		}
		if p.Kind != want || want != "" && (p.Partition != "3" || p.Hint == "") {
			t.Errorf("offset %d: %v, want kind %q", at, p, want)
		}
		if p.Kind == positions.OutOfRange && (p.Through != bridge.OffsetPosition(9) || p.After != bridge.OffsetPosition(at-1)) {
			t.Errorf("offset %d: gone behind %s through %s", at, p.After, p.Through)
		}
	}
}

// What the side that a consumer goes to no longer holds is named; a line that needs nothing
// of it is not.
func TestArrive(t *testing.T) {
	lines := []positions.Line{
		{Partition: "held", Bound: positions.Next(at("5", 0)), Known: true},
		{Partition: "expired", Bound: positions.Next(at("5", 0)), Known: true},
		{Partition: "not listed", Bound: positions.Through(at("5", 0)), Known: true},
		{Partition: "not listed, and done", Bound: positions.Everything(), Known: true},
		{Partition: "refused already"},
	}
	sights := map[string]positions.Sight{"held": {Held: true}, "expired": {First: at("9", 0)}}
	found := positions.Arrive(lines, sights)
	if listed(found) != "expired expired, expired not listed" || found[0].Through != at("9", 0) || !found[0].Kind.Gone() {
		t.Errorf("found %v", found)
	}
}
