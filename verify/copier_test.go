package verify_test

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
	"github.com/kinesis-msk-bridge/bridge/verify"
)

// A line is one record on its way from a clean target to a damaged one.
type line struct {
	rec     bridge.Record
	was     bridge.Coordinate // before anybody touched it
	value   []byte            // the same
	foreign bool
	native  bool // without any coordinate
	dropped bool // it is not written; a ledger goes on saying that it was
	copyOf  bool // a ledger knows nothing of it
	late    bool // but that it was in doubt
	dead    bool // it goes to the dead letters
	taken   bool // a damage that concerns two lines has it already
	place   verify.Place
}

// A copier copies a clean target line by line, in the order of arrival.
type copier struct {
	w     *world
	lines []*line
	// byKey holds the lines of each key in order.
	byKey  map[string][]*line
	stamp  *bridge.Stamp
	ledger bool // the target's records carry nothing: a ledger does
	log    *memstream.Log
	dead   letters
	// pending are the results of the entry that is being filled.
	pending []bridge.Settled
	parts   int // of the target
	// strangers are the keys that damages borrow coordinates from; nil is all.
	strangers []string
	untold    bool // the ledger does not say what came of its last intents
	hold      int  // so many lines at the end are kept back, for late
}

func newCopier(w *world) *copier {
	c := &copier{w: w, byKey: map[string][]*line{}, parts: len(w.partitions(w.dst))}
	target, _ := w.dst.Identity(w.t.Context())
	c.stamp = bridge.NewStamp(bridge.StampConfig{Workflow: "wf", Key: workflowKey, Source: w.source, Target: target})
	for _, s := range w.dst.Everything() {
		if !s.Record.Origin.IsZero() {
			l := &line{rec: s.Record, was: s.Record.Origin, value: s.Record.Value}
			l.rec.Foreign = false
			c.lines = append(c.lines, l)
			c.byKey[string(s.Record.Key)] = append(c.byKey[string(s.Record.Key)], l)
		}
	}
	return c
}

// claims makes the line carry its provenance as a header that does not hold.
func (c *copier) claims(l *line, origin bridge.Coordinate) {
	rec := l.rec
	rec.Key, rec.Value = []byte("another"), []byte("record")
	rec.Origin = origin
	l.foreign = true
	l.rec.Headers = append(slices.Clone(l.rec.Headers), bridge.Header{Key: bridge.ProvenanceHeader, Value: c.stamp.Append(nil, &rec)})
}

// write makes the damaged target.
func (c *copier) write() (*memstream.Stream, verify.LedgerReader) {
	ctx := c.w.t.Context()
	parts := 0
	for _, p := range c.w.partitions(c.w.dst) {
		if len(p.Parents) == 0 {
			parts++
		}
	}
	dst := memstream.New(memstream.Config{Flavour: c.w.to, Name: "target", Partitions: parts, Calm: true, Seed: c.w.seed, Retention: 1000 * time.Hour})
	var out []*line
	var recs []bridge.Record
	for _, l := range c.lines {
		switch {
		case l.dead:
			if !l.dropped {
				c.dead = append(c.dead, bridge.DeadLetter{Origin: l.was, Key: l.rec.Key, Value: l.rec.Value, Headers: l.rec.Headers, Time: l.rec.Time})
			}
		case !l.dropped:
			out, recs = append(out, l), append(recs, c.outgoing(l))
		}
	}
	n := len(out) - c.hold
	c.put(dst, out[:n], recs[:n])
	c.w.late = func(dst *memstream.Stream) { c.put(dst, out[n:], recs[n:]) }
	if !c.ledger {
		return dst, nil
	}
	return dst, c.writeLedger(ctx, out)
}

func (c *copier) outgoing(l *line) bridge.Record {
	r := l.rec
	r.Foreign, r.Position = l.foreign, bridge.Position{}
	if l.native || c.ledger {
		r.Origin = bridge.Coordinate{}
	}
	return r
}

func (c *copier) put(s *memstream.Stream, lines []*line, recs []bridge.Record) {
	acks, err := s.PutCopy(c.w.t.Context(), "wf", recs...)
	if err != nil {
		c.w.t.Fatal(err)
	}
	for i, a := range acks {
		if a.Err != nil {
			c.w.t.Fatal(a.Err)
		}
		lines[i].place = verify.Place{Partition: a.Partition, Position: a.Position}
	}
}

// writeLedger says of each line where it stands, in batches as a sink does: what was
// intended, and later what came of it. Of what was dropped it says a place, too.
func (c *copier) writeLedger(ctx context.Context, out []*line) verify.LedgerReader {
	c.log = memstream.NewLog(nil)
	w := c.log.Open()
	tagger := bridge.NewTagger(workflowKey, "digest")
	taken := map[string]bool{}
	low := map[string]verify.Place{}
	for _, l := range out {
		taken[l.place.Position.Seq] = true
		if p, ok := low[l.place.Partition]; !ok || p.Position.After(l.place.Position) {
			low[l.place.Partition] = l.place
		}
	}
	var settled []bridge.Settled
	var e bridge.LedgerEntry
	keys := map[string]bool{}
	for _, l := range c.lines { // puts that got no answer in their time
		if l.late {
			settled = append(settled, bridge.Settled{Index: len(e.Intents), Doubt: true})
			e.Intents = append(e.Intents, bridge.Intent{Origin: l.rec.Origin, Key: string(c.keyOf(l)), Time: l.rec.Time, Digest: tagger.Digest(c.keyOf(l), l.value)})
		}
	}
	at, err := w.Append(ctx, e)
	check(c.w.t, err)
	for i := range settled {
		settled[i].Entry = at
	}
	e = bridge.LedgerEntry{}
	flush := func() {
		clear(keys)
		c.w.rng.Shuffle(len(settled), func(i, j int) { settled[i], settled[j] = settled[j], settled[i] })
		e.Settled = settled
		at, err := w.Append(ctx, e)
		if err != nil {
			c.w.t.Fatal(err)
		}
		for i := range c.pending {
			c.pending[i].Entry = at
		}
		settled, c.pending, e = c.pending, nil, bridge.LedgerEntry{}
	}
	for _, l := range c.lines {
		if l.copyOf || l.native || l.dead {
			continue
		}
		key := c.keyOf(l)
		if keys[string(key)] {
			flush() // no two of a key are under way at a time
		}
		place := l.place
		if l.dropped {
			place = between(low[slices.Sorted(maps.Keys(low))[0]], taken)
		}
		c.pending = append(c.pending, bridge.Settled{Index: len(e.Intents), Stored: true, Partition: place.Partition, Position: place.Position})
		e.Intents = append(e.Intents, bridge.Intent{Origin: l.rec.Origin, Key: string(key), Time: l.rec.Time, Digest: tagger.Digest(key, l.value)})
		if keys[string(key)] = true; len(e.Intents) == 7 {
			flush()
		}
	}
	flush()
	if !c.untold {
		flush()
	}
	return w
}

// keyOf is the key that the mirror wrote.
func (c *copier) keyOf(l *line) []byte {
	for key, list := range c.byKey {
		if slices.Contains(list, l) {
			return []byte(key)
		}
	}
	return l.rec.Key
}

// between is a place behind another one where nothing stands.
func between(p verify.Place, taken map[string]bool) verify.Place {
	n, _ := new(big.Int).SetString(p.Position.Seq, 10)
	for {
		n.Add(n, big.NewInt(1))
		if s := n.String(); !taken[s] {
			taken[s] = true
			return verify.Place{Partition: p.Partition, Position: bridge.Position{Seq: s}}
		}
	}
}

// letters are dead letters to read; each is there twice, as after a restart.
type letters []bridge.DeadLetter

func (l letters) Read(context.Context) iter.Seq2[bridge.DeadLetter, error] {
	return func(yield func(bridge.DeadLetter, error) bool) {
		for _, d := range append(slices.Clone(l), l...) {
			if !yield(d, nil) {
				return
			}
		}
	}
}

// A lie is a difference that a run must report, by class and both coordinates.
type lie struct {
	class  verify.Class
	source string
	target string
	n      int64
}

func (l lie) String() string {
	return fmt.Sprintf("%s source %s target %s ×%d", l.class, l.source, l.target, l.n)
}

func placeText(p verify.Place) string {
	if p.IsZero() {
		return "-"
	}
	return p.Partition + "/" + p.Position.String()
}

func told(res *verify.Result) []string {
	var out []string
	for _, f := range res.Samples {
		if f.Class == verify.Rewind && f.Records == 1 {
			f.Source = verify.Place{} // of equal records any can be meant
		}
		out = append(out, lie{f.Class, placeText(f.Source), placeText(f.Target), f.Records}.String())
	}
	slices.Sort(out)
	return out
}

// A truth is what a damager did. Its places are known once the copy was written.
type truth struct {
	class verify.Class
	of    bridge.Coordinate // zero: none
	at    *line             // nil: nowhere
	n     int64
}

func (c *copier) lies(list []truth) []string {
	var out []string
	for _, l := range c.runs(list) {
		source, target := "-", "-"
		if !l.of.IsZero() {
			source = l.of.Partition + "/" + l.of.Position.String()
		}
		if l.at != nil {
			target = placeText(l.at.place)
		}
		out = append(out, lie{l.class, source, target, max(l.n, 1)}.String())
	}
	slices.Sort(out)
	return out
}

// difference shows what is in one list only.
func difference(want, got []string) string {
	var b strings.Builder
	for _, s := range want {
		if !slices.Contains(got, s) {
			fmt.Fprintf(&b, "\n  not told: %s", s)
		}
	}
	for _, s := range got {
		if !slices.Contains(want, s) {
			fmt.Fprintf(&b, "\n  not true: %s", s)
		}
	}
	return b.String()
}
