package walk

import (
	"context"
	"slices"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
	"github.com/kinesis-msk-bridge/bridge/verify"
)

// explained is what the lag of a mirror that works explains at the most.
const explained = time.Hour

// acknowledged is what the mirror's checkpoints say.
func (w *walk) acknowledged(context.Context) (map[string]bridge.Row, error) {
	rows := map[string]bridge.Row{}
	for _, cp := range w.cps.History() {
		for _, row := range cp.Rows {
			rows[row.Partition] = row
		}
	}
	return rows, nil
}

// compare runs verify on a target, and returns nil if it said nothing.
func (w *walk) compare(target *memstream.Stream, final bool) *verify.Result {
	ctx, stop := context.WithTimeout(w.t.Context(), patience)
	defer stop()
	src, err := w.source(ctx, 0)
	if err != nil {
		w.note("verify: %v", err)
		return nil
	}
	w.verifies++
	v := &verify.Verifier{
		Workflow: workflow, ID: "run", Source: src, Target: target.Source(workflow), Keys: w.keys, Key: workflowKey,
		Acknowledged: w.acknowledged, WindowRecords: 10 + w.rng.IntN(40), MaxSamples: 1 << 16, Settle: 10 * time.Second,
		Final: final, Drain: 3 * time.Minute, Stall: time.Minute,
	}
	if w.toKafka {
		v.Keeps = verify.Keeps{Time: true, Headers: true, Nulls: true}
	}
	res, err := v.Run(ctx)
	switch {
	case ctx.Err() != nil && w.t.Context().Err() == nil:
		w.finds(hang, "verify did not end in %s", patience)
		return nil
	case err != nil:
		w.note("verify ended with: %v", err)
		if !w.gone && !w.hurt && w.cuts == 0 {
			w.finds(falseAlarm, "verify ended with: %v", err)
		}
		return nil
	}
	w.note("verify (final %t): %s %v, %d records of the source, findings %+v", final, res.Verdict, res.Reasons, res.Totals.SourceRecords, res.Findings)
	return res
}

// claims reports whether the mirror's checkpoints claim anything yet.
func (w *walk) claims() bool {
	rows, _ := w.acknowledged(w.t.Context())
	for _, r := range rows {
		if !r.Position.IsZero() {
			return true
		}
	}
	return false
}

// nothing reports whether no row that must reach the target is in the source.
func (w *walk) nothing() bool {
	src := w.inSource()
	return !slices.ContainsFunc(w.rows, func(r *row) bool { return r.wanted() && src[r.n] })
}

// held counts the rows that the source holds since before a time.
func (w *walk) held(before time.Time) (n int) {
	src := w.inSource()
	for _, r := range w.rows {
		if r.wanted() && src[r.n] && r.at.Before(before) {
			n++
		}
	}
	return n
}

// A standing is how the two sides stand to each other, as the model sees it.
type standing struct {
	missing int // in the source for longer than lag explains, and not on the target
	behind  int // in the source, and not on the target
	expired int // no more in the source
}

func (w *walk) standing(before time.Time) (s standing) {
	src, dst := w.inSource(), onTarget(w.dst)
	for _, r := range w.rows {
		switch {
		case !r.wanted():
		case !src[r.n]:
			s.expired++
		case dst[r.n] == 0:
			s.behind++
			if r.at.Before(before) {
				s.missing++
			}
		}
	}
	return s
}

// verify compares the two sides, and judges the verdict.
func (w *walk) verify(final bool) {
	if !w.begun {
		return
	}
	w.carried()
	before := time.Now()
	claimed := w.claims()
	if !final {
		before = before.Add(-explained)
	}
	res := w.compare(w.dst, final)
	if res == nil {
		return
	}
	s := w.standing(before)
	sound := !w.hurt && !w.gone && w.cuts == 0
	switch res.Verdict {
	case verify.Consistent:
		if s.missing > 0 {
			w.finds(falseVerdict, "verify (final %t), and %d rows of the source are not on the target", final, s.missing)
		}
		if n := w.held(before); final && sound && res.Totals.SourceRecords < int64(n) {
			w.finds(falseVerdict, "a final run read %d of the %d records that the source holds", res.Totals.SourceRecords, n)
		}
	case verify.Inconsistent:
		if sound && s.behind == 0 {
			w.finds(falseAlarm, "verify (final %t) says inconsistent: %v", final, res.Reasons)
		}
	case verify.Inconclusive:
		if sound && s == (standing{}) && w.txn == nil && !w.nothing() && (final || w.clean && claimed) {
			w.finds(falseAlarm, "verify (final %t) says inconclusive: %v", final, res.Reasons)
		}
	}
}

// A copy is one record on its way to a damaged target.
type copied struct {
	rec bridge.Record
	n   int // its row
}

// A wound is what was done to a copy of the target.
type wound struct {
	dropped []copied
	trimmed string // the partition whose head is gone
	upTo    int    // so many records of it
	moved   map[int]bool
}

// damage makes a copy of the target that is not what the source is, and judges what verify
// says of it.
func (w *walk) damage() {
	var list []copied
	for _, s := range w.dst.Everything() {
		if n := rowOf(s.Record.Value); n >= 0 && !s.Native {
			list = append(list, copied{s.Record, n})
		}
	}
	if len(list) < 10 {
		return
	}
	w.damaged++
	hurt := wound{moved: map[int]bool{}}
	for range w.rng.IntN(4) {
		switch w.rng.IntN(4) {
		case 0:
			list = hurt.drop(w, list)
		case 1:
			hurt.reverse(w, list, func(a, b copied) bool { return string(a.rec.Key) == string(b.rec.Key) })
		case 2:
			hurt.reverse(w, list, func(a, b copied) bool { return a.rec.Partition == b.rec.Partition })
		case 3:
			if w.toKafka {
				hurt.trimmed = list[w.rng.IntN(len(list))].rec.Partition
			}
		}
	}
	dst, ok := w.copyOf(list, &hurt)
	if !ok {
		return
	}
	w.judgeDamage(dst, hurt)
}

// drop leaves a few records out.
func (h *wound) drop(w *walk, list []copied) []copied {
	for range 1 + w.rng.IntN(3) {
		i := w.rng.IntN(len(list))
		n := list[i].n
		w.note("row %d is dropped from the target", n)
		h.dropped = append(h.dropped, list[i])
		list = slices.DeleteFunc(list, func(c copied) bool { return c.n == n })
		if len(list) == 0 {
			break
		}
	}
	return list
}

// reverse turns the order of some records round: those that belong to one of them, from there
// on, over the places that they have.
func (h *wound) reverse(w *walk, list []copied, same func(a, b copied) bool) {
	if len(list) == 0 {
		return
	}
	from := w.rng.IntN(len(list))
	var at []int
	for i := from; i < len(list); i++ {
		if same(list[from], list[i]) {
			at, h.moved[list[i].n] = append(at, i), true
		}
	}
	w.note("%d records from row %d on are reversed", len(at), list[from].n)
	for i, j := 0, len(at)-1; i < j; i, j = i+1, j-1 {
		list[at[i]], list[at[j]] = list[at[j]], list[at[i]]
	}
}

// copyOf writes the damaged target.
func (w *walk) copyOf(list []copied, hurt *wound) (*memstream.Stream, bool) {
	flavour := memstream.Kinesis
	if w.toKafka {
		flavour = memstream.Kafka
	}
	dst := memstream.New(memstream.Config{Flavour: flavour, Name: "target", Partitions: len(w.dst.Snapshot()), Calm: true, Seed: w.seed, Retention: 10_000 * time.Hour})
	if w.toKafka {
		for id := range dst.Snapshot() { // the fence of a first start
			if err := dst.Marker(id); err != nil {
				w.t.Fatal(err)
			}
		}
	}
	for i := range list {
		r := list[i].rec
		r.Position, r.Foreign = bridge.Position{}, false
		if _, err := dst.PutCopy(w.t.Context(), workflow, r); err != nil {
			w.t.Fatal(err)
		}
	}
	if hurt.trimmed == "" {
		return dst, true
	}
	kept := dst.Snapshot()[hurt.trimmed]
	if len(kept) < 2 {
		return nil, false
	}
	hurt.upTo = 1 + w.rng.IntN(len(kept)-1)
	w.note("the first %d of %d records of partition %s have expired", hurt.upTo, len(kept), hurt.trimmed)
	if err := dst.Trim(hurt.trimmed, kept[hurt.upTo-1].Record.Position); err != nil {
		w.t.Fatal(err)
	}
	return dst, true
}

func (w *walk) judgeDamage(dst *memstream.Stream, hurt wound) {
	w.carried()
	src, was, there := w.inSource(), onTarget(w.dst), onTarget(dst)
	res := w.compare(dst, w.rng.IntN(2) == 0)
	if res == nil {
		return
	}
	missing, covered, expired, behind := 0, 0, 0, 0
	// could are rows of which verify may know that they did not stand in a head that is gone:
	// they were dropped, or one that is older than they was moved out of it.
	could := 0
	for _, r := range w.rows {
		switch {
		case !r.wanted():
		case !src[r.n]:
			expired++
		case was[r.n] == 0:
			behind++ // it came during the last run, which had another goal
		case there[r.n] == 0:
			i := slices.IndexFunc(hurt.dropped, func(c copied) bool { return c.n == r.n })
			switch {
			case hurt.trimmed == "" || i >= 0 && hurt.dropped[i].rec.Partition != hurt.trimmed:
				missing++
			case i >= 0 || len(hurt.moved) > 0:
				could++
				covered++
			default:
				covered++ // its copy is gone with the head
			}
		}
	}
	// Behind a head that is gone a record out of order may be one that is there again.
	w.note("%d rows in all, %d missing, %d covered by a head that is gone, %d expired, %d behind", len(w.rows), missing, covered, expired, behind)
	wrong := missing + w.readableDisorder(dst, src, hurt.trimmed)
	doubtful := w.readableDisorder(dst, src, "")
	switch {
	case wrong > 0 && res.Verdict == verify.Consistent:
		w.finds(falseVerdict, "%d rows are missing, and %d out of order", missing, wrong-missing)
	case wrong > 0 && expired == 0 && res.Verdict == verify.Inconclusive:
		w.finds(missedDamage, "%d rows are missing, and %d out of order; verify says inconclusive: %v", missing, wrong-missing, res.Reasons)
	case expired == 0 && res.Findings.Missing < int64(missing):
		w.finds(missedDamage, "%d rows are missing, and verify names %d", missing, res.Findings.Missing)
	case wrong+doubtful+could == 0 && res.Verdict == verify.Inconsistent:
		w.finds(falseAlarm, "verify says inconsistent: %v", res.Reasons)
	case res.Findings.Missing > int64(missing+could):
		w.finds(falseAlarm, "%d rows are missing, or may be, and verify names %d", missing+could, res.Findings.Missing)
	case covered > 0 && res.Verdict == verify.Consistent:
		w.finds(falseVerdict, "the copies of %d rows have expired", covered)
	case wrong+doubtful+covered+expired+behind == 0 && !w.gone && res.Verdict != verify.Consistent:
		w.finds(falseAlarm, "verify says %s of an equal target: %v", res.Verdict, res.Reasons)
	}
}

// readableDisorder counts the rows on a target that stand behind a later one of their key
// in the same partition, where both can still be read on both sides, but for one partition.
func (w *walk) readableDisorder(dst *memstream.Stream, src map[int]bool, but string) (n int) {
	for id, list := range dst.Snapshot() {
		if id == but {
			continue
		}
		last, seen := map[string]int{}, map[int]bool{}
		for _, s := range list {
			i := rowOf(s.Record.Value)
			if i < 0 || !src[i] || seen[i] {
				continue
			}
			seen[i] = true
			if before, ok := last[w.rows[i].key]; ok && i < before {
				n++
			}
			last[w.rows[i].key] = max(last[w.rows[i].key], i)
		}
	}
	return n
}
