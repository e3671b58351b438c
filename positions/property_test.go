package positions_test

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/positions"
)

func runs(n, full int) int {
	if p, err := strconv.Atoi(os.Getenv("RUNS")); err == nil {
		return max(n, full*p/100)
	}
	return n
}

// shares count in how many cases something was there to go wrong.
type shares struct {
	cases                                           int
	replays, missing, holes, aggregates, refused    int
	copies, dead, trimmed, undecided, indexed, idle int
	beyond                                          int // trimmed, and translated all the same
	translated, replayed                            int64
}

func (s *shares) report(t *testing.T, needed map[string]int) {
	t.Helper()
	t.Logf("seeds 0..%d, %d partitions translated, skipped 0, replays %d (the least there can be)", s.cases-1, s.translated, s.replayed)
	text := "shares of cases:"
	for _, name := range []string{"replays", "missing leases", "holes", "inside an aggregate", "copies", "dead letters", "trimmed", "translated though trimmed", "undecided", "with index", "idle", "refused"} {
		n, ok := needed[name]
		if !ok {
			continue
		}
		text += fmt.Sprintf(" %s %.1f %%,", name, 100*float64(n)/float64(s.cases))
		if n*20 < s.cases && name != "refused" {
			t.Errorf("only %d of %d cases have %s, want at least 5 %%", n, s.cases, name)
		}
	}
	t.Log(text[:len(text)-1])
}

// consume decides what of each shard a KCL application has consumed, parents first, and
// writes the leases that it would have.
func (w *world) consume() []positions.Lease {
	done := map[string]bool{}
	begun := map[string]bool{}
	leases := map[string]positions.Lease{}
	for _, s := range w.shards {
		ready := !slices.ContainsFunc(s.Parents, func(p string) bool { return !done[p] })
		if !ready {
			continue // the KCL makes a child's lease when its parents have ended
		}
		begun[s.ID] = true
		l := positions.Lease{Shard: s.ID, Parents: s.Parents}
		n := w.rng.IntN(len(s.facts) + 1)
		if w.chance(0.3) {
			n = max(n, len(s.facts)-w.rng.IntN(4)) // near the tip, as most are
		}
		if s.Closed && w.chance(0.5) {
			n = len(s.facts)
			done[s.ID] = true
			l.Checkpoint = positions.ShardEnd
		} else {
			l.Checkpoint, l.Sub = w.checkpoint(s, n)
		}
		for _, r := range s.facts[:n] {
			r.consumed = true
		}
		leases[s.ID] = l
	}
	return w.clean(leases, done, begun)
}

// checkpoint is how a lease says that the first n records are consumed.
func (w *world) checkpoint(s *shard, n int) (string, int64) {
	switch {
	case n == 0:
		return positions.TrimHorizon, 0
	case n < len(s.facts) && w.chance(0.2): // resume at the next one
		next := s.facts[n].pos
		return next.Seq, int64(next.Sub) - 1
	}
	last := s.facts[n-1]
	w.inside = w.inside || int(last.pos.Sub) < last.subs-1
	return last.pos.Seq, int64(last.pos.Sub)
}

// clean removes leases as the KCL does: of shards that are done and whose children all
// have leases beyond TRIM_HORIZON.
func (w *world) clean(leases map[string]positions.Lease, done, begun map[string]bool) []positions.Lease {
	for _, s := range w.shards {
		children := 0
		beyond := true
		for _, c := range w.shards {
			if slices.Contains(c.Parents, s.ID) {
				children++
				l, ok := leases[c.ID]
				beyond = beyond && (ok && l.Checkpoint != positions.TrimHorizon || !ok && done[c.ID])
			}
		}
		if !begun[s.ID] {
			w.missing = true // a child that is not begun
		}
		if done[s.ID] && children > 0 && beyond && w.chance(0.7) {
			delete(leases, s.ID)
			w.missing = true
		}
	}
	var out []positions.Lease
	for _, s := range w.shards {
		if l, ok := leases[s.ID]; ok {
			out = append(out, l)
		}
	}
	return out
}

// consumeOffsets decides the same for a consumer group on a Kafka source.
func (w *world) consumeOffsets() positions.Frontier {
	out := positions.Frontier{}
	for _, s := range w.shards {
		n := w.rng.IntN(len(s.facts) + 1)
		if w.chance(0.5) {
			n = max(n, len(s.facts)-w.rng.IntN(4))
		}
		for _, r := range s.facts[:n] {
			r.consumed = true
		}
		next := int64(0)
		if n > 0 {
			next, _ = s.facts[n-1].pos.Offset()
			next++
		}
		if n < len(s.facts) {
			after, _ := s.facts[n].pos.Offset()
			next += w.rng.Int64N(after - next + 1)
		}
		out[s.ID] = positions.Offset(next)
	}
	return out
}

// consumeLanes decides what a consumer of the target has consumed: all copies up to
// somewhere in each lane.
func (w *world) consumeLanes() positions.Frontier {
	out := positions.Frontier{}
	for _, l := range w.lanes {
		n := w.rng.IntN(len(l.stood) + 1)
		if w.chance(0.2) {
			n = len(l.stood)
		}
		if n < l.from && w.chance(0.8) {
			n = l.from
		}
		for _, st := range l.stood[:n] {
			if st.r != nil {
				st.r.consumed = true
			}
		}
		switch {
		case n == 0:
		case n == len(l.stood) && l.closed && w.chance(0.5):
			out[l.id] = positions.Everything()
		case n < len(l.stood) && w.chance(0.4):
			out[l.id] = positions.Next(l.stood[n].at)
		default:
			out[l.id] = positions.Through(l.stood[n-1].at)
		}
	}
	return out
}

func TestOnwardSkipsNothingAndReplaysTheLeast(t *testing.T) {
	for _, kafka := range []bool{true, false} {
		t.Run(map[bool]string{true: "kcl to group", false: "group to kcl"}[kafka], func(t *testing.T) {
			var all shares
			for seed := range uint64(runs(4000, 100_000)) {
				onward(t, seed, kafka, &all)
				if t.Failed() {
					return
				}
			}
			needed := map[string]int{"replays": all.replays, "holes": all.holes, "copies": all.copies, "dead letters": all.dead, "trimmed": all.trimmed, "translated though trimmed": all.beyond, "with index": all.indexed, "idle": all.idle, "refused": all.refused}
			if kafka {
				needed["missing leases"], needed["inside an aggregate"], needed["undecided"] = all.missing, all.aggregates, all.undecided
			}
			all.report(t, needed)
		})
	}
}

func (w *world) frontier(t *testing.T, seed uint64) positions.Frontier {
	if !w.kafka {
		return w.consumeOffsets()
	}
	leases := w.consume()
	parts := make([]bridge.Partition, 0, len(w.shards))
	for _, s := range w.shards {
		parts = append(parts, s.Partition)
	}
	f, problems, err := positions.Resolve(positions.Application{Leases: leases, Shards: parts, Rows: w.rows})
	if err != nil || len(problems) > 0 {
		t.Fatalf("seed %d: Resolve: %v, %v", seed, problems, err)
	}
	for _, s := range w.shards {
		for _, r := range s.facts {
			if f[s.ID].Covers(r.pos) != r.consumed {
				t.Fatalf("seed %d: shard %s: bound %s covers %s: %v, consumed is %v; leases %+v", seed, s.ID, f[s.ID], r.pos, f[s.ID].Covers(r.pos), r.consumed, leases)
			}
		}
	}
	return f
}

func onward(t *testing.T, seed uint64, kafka bool, all *shares) {
	w := newWorld(seed, kafka)
	f := w.frontier(t, seed)
	plan, err := positions.Onward(t.Context(), positions.Forward{
		Target: w.target(false), Consumed: f, Rows: w.rows, DeadLetters: w.dead, CountLimit: -1,
	})
	if err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	all.cases++
	w.note(all)
	if !w.checkLetters(plan) {
		t.Errorf("seed %d: unconsumed dead letters %v", seed, plan.Unconsumed)
	}
	refused, beyond, replays, copies := false, false, int64(0), int64(0)
	for i, l := range w.lanes {
		line := plan.Lines[i]
		at, wantReplays, wantCopies, lost := wantOnward(l.stood, l.from, l.stable)
		if !line.Known {
			refused = true
			if l.from == 0 {
				t.Errorf("seed %d: partition %s was refused, but nothing was removed", seed, l.id)
			}
			continue
		}
		beyond = beyond || l.from > 0
		want := positions.Through(w.target(false).Extents[i].Through)
		switch {
		case at < l.stable:
			want = positions.Next(l.stood[at].at)
		case l.closed:
			want = positions.Everything()
		}
		if lost || line.Bound != want || line.Replays != wantReplays || line.Copies != wantCopies || !line.Counted {
			t.Errorf("seed %d: partition %s: %s, replays %d, copies %d; want %s, %d, %d; an unconsumed record was removed: %v",
				seed, l.id, line.Bound, line.Replays, line.Copies, want, wantReplays, wantCopies, lost)
		}
		replays, copies = replays+wantReplays, copies+wantCopies
		all.translated++
	}
	all.replayed += replays
	all.replays += count(replays > 0)
	all.copies += count(copies > 0)
	all.refused += count(refused)
	all.beyond += count(beyond)
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (w *world) note(all *shares) {
	all.missing += count(w.missing)
	all.holes += count(w.holes)
	all.aggregates += count(w.inside)
	all.dead += count(len(w.dead) > 0)
	all.indexed += count(len(w.index) > 0)
	all.trimmed += count(slices.ContainsFunc(w.lanes, func(l *lane) bool { return l.from > 0 }))
	all.undecided += count(slices.ContainsFunc(w.lanes, func(l *lane) bool { return l.stable < len(l.stood) }))
	all.idle += count(slices.ContainsFunc(w.shards, func(s *shard) bool { return len(s.facts) == 0 }))
}

// checkLetters holds that exactly the dead letters that are not consumed are listed.
func (w *world) checkLetters(p positions.Plan) bool {
	want := 0
	for _, s := range w.shards {
		for _, r := range s.facts {
			if r.dead && !r.consumed {
				want++
			}
		}
	}
	return len(p.Unconsumed) == want
}

func TestBackSkipsNothingAndReplaysTheLeast(t *testing.T) {
	for _, kafka := range []bool{true, false} {
		t.Run(map[bool]string{true: "group to kcl", false: "kcl to group"}[kafka], func(t *testing.T) {
			var all shares
			for seed := range uint64(runs(4000, 100_000)) {
				backward(t, seed, kafka, &all)
				if t.Failed() {
					return
				}
			}
			needed := map[string]int{"replays": all.replays, "holes": all.holes, "copies": all.copies, "dead letters": all.dead, "trimmed": all.trimmed, "with index": all.indexed, "idle": all.idle, "refused": all.refused}
			if kafka {
				needed["inside an aggregate"], needed["undecided"] = all.aggregates, all.undecided
			}
			all.report(t, needed)
		})
	}
}

func (w *world) back(t *testing.T, seed uint64, f positions.Frontier) positions.Plan {
	parts := make([]bridge.Partition, 0, len(w.shards))
	for _, s := range w.shards {
		parts = append(parts, s.Partition)
	}
	plan, err := positions.Back(t.Context(), positions.Backward{
		Target: w.target(true), Consumed: f, Sources: parts, Rows: w.rows, DeadLetters: w.dead, CountLimit: -1,
	})
	if err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	return plan
}

func backward(t *testing.T, seed uint64, kafka bool, all *shares) {
	w := newWorld(seed, kafka)
	f := w.consumeLanes()
	plan := w.back(t, seed, f)
	all.cases++
	w.note(all)
	copies := false
	for _, l := range w.lanes {
		for _, st := range l.stood {
			copies = copies || st.r != nil && st.r.stands > 1
		}
		// What was removed unconsumed must be refused.
		lost := slices.ContainsFunc(l.stood[:l.from], func(st stand) bool { return st.r != nil && !f[l.id].Covers(st.at) })
		refused := slices.ContainsFunc(plan.Problems, func(p positions.Problem) bool {
			return p.Kind == positions.Removed && p.Partition == l.id
		})
		if lost && !refused {
			t.Errorf("seed %d: partition %s: unconsumed records were removed and nobody says so", seed, l.id)
		}
		if refused {
			all.refused++
			return
		}
	}
	trimmed := slices.ContainsFunc(w.lanes, func(l *lane) bool { return l.from > 0 })
	replays, inside := int64(0), false
	for i, s := range w.shards {
		line := plan.Lines[i]
		at, want := wantBack(s.facts, s.carried)
		for j, r := range s.facts {
			passed := r.dead && slices.ContainsFunc(plan.Unconsumed, func(c bridge.Coordinate) bool {
				return c.Partition == s.ID && c.Position == r.pos
			})
			covered := line.Bound.Covers(r.pos)
			switch {
			case covered && !r.consumed && !passed:
				t.Errorf("seed %d: partition %s: %s skips %s", seed, s.ID, line.Bound, r.pos)
			case covered != (j < at) && !trimmed:
				t.Errorf("seed %d: partition %s: %s, want to go on at record %d; record %d is covered: %v", seed, s.ID, line.Bound, at, j, covered)
			}
		}
		if line.Replays != want && !trimmed {
			t.Errorf("seed %d: partition %s: replays %d, want %d", seed, s.ID, line.Replays, want)
		}
		if line.Bound.All != (s.ended && at == len(s.facts)) && !trimmed {
			t.Errorf("seed %d: partition %s: %s, but it has ended is %v", seed, s.ID, line.Bound, s.ended)
		}
		if at > 0 && at < len(s.facts) && s.facts[at].pos.Seq == s.facts[at-1].pos.Seq {
			inside = true
		}
		replays += want
		all.translated++
	}
	all.replayed += replays
	all.replays += count(replays > 0)
	all.copies += count(copies)
	all.aggregates += count(inside)
}

// There and back, with nothing consumed in between, never moves past where it began.
func TestThereAndBackNeverMovesOn(t *testing.T) {
	moved := 0
	for seed := range uint64(runs(2000, 100_000)) {
		w := newWorld(seed, true)
		f := w.frontier(t, seed)
		there, err := positions.Onward(t.Context(), positions.Forward{Target: w.target(false), Consumed: f, Rows: w.rows})
		if err != nil {
			t.Fatal(err)
		}
		group, refused := positions.Frontier{}, false
		for _, line := range there.Lines {
			group[line.Partition] = line.Bound
			refused = refused || !line.Known
		}
		if refused {
			continue
		}
		plan := w.back(t, seed, group)
		for i, s := range w.shards {
			for _, r := range s.facts {
				if plan.Lines[i].Bound.Covers(r.pos) && !r.consumed && !r.dead {
					t.Fatalf("seed %d: shard %s: went to %s and came back to %s, past %s", seed, s.ID, f[s.ID], plan.Lines[i].Bound, r.pos)
				}
				moved++
			}
		}
	}
	t.Logf("%d records looked at", moved)
}
