package kinesisstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/kpl"
)

// A doubt is an intent of which the ledger does not say what came of it. There is at most
// one a key, because no later record of a key is put before that is said.
type doubt struct {
	entry bridge.Position
	index int
	mark  mark
	shard string // where it was found, if it was
	at    bridge.Position
}

// A spot is one record of the stream.
type spot struct {
	shard string
	seq   string
}

// A journal is what the ledger says from some place on.
type journal struct {
	intents map[intentID]intent
	order   []intentID
	settled map[intentID]bridge.Settled
	taken   map[spot]bool // records that are accounted for
}

// An intent is what the ledger holds, and when that was written.
type intent struct {
	bridge.Intent
	at time.Time
}

type intentID struct {
	entry string
	index int
}

func (s *Sink) readJournal(ctx context.Context, after bridge.Position) (*journal, error) {
	j := &journal{intents: map[intentID]intent{}, settled: map[intentID]bridge.Settled{}, taken: map[spot]bool{}}
	for e, err := range s.conf.Ledger.Read(ctx, after) {
		if err != nil {
			return nil, err
		}
		for _, r := range e.Settled {
			j.settle(r)
		}
		for i, in := range e.Intents {
			id := intentID{e.At.Seq, i}
			j.intents[id] = intent{in, e.Time}
			j.order = append(j.order, id)
		}
	}
	return j, nil
}

func (j *journal) settle(r bridge.Settled) {
	j.settled[intentID{r.Entry.Seq, r.Index}] = r
	if r.Stored {
		j.taken[spot{r.Partition, r.Position.Seq}] = true
	}
}

// doubts are the intents without a result, by key, and when the first of them was written.
func (j *journal) doubts() (doubts map[string]*doubt, since time.Time) {
	doubts = map[string]*doubt{}
	for _, id := range j.order {
		if _, ok := j.settled[id]; ok {
			continue
		}
		in := j.intents[id]
		doubts[in.Key] = &doubt{entry: bridge.Position{Seq: id.entry}, index: id.index, mark: mark{digest: in.Digest}}
		if since.IsZero() || in.at.Before(since) {
			since = in.at
		}
	}
	return doubts, since
}

// placed is what was stored behind the floor, each shard in its order. Calls are settled
// one after the other, but the records of one call are not in the order of their places.
func (j *journal) placed(from bridge.Floor) []bridge.Placed {
	var out []bridge.Placed
	for _, id := range j.order {
		r := j.settled[id]
		if !r.Stored || !r.Position.After(from.Partitions[r.Partition]) {
			continue
		}
		in := j.intents[id]
		out = append(out, bridge.Placed{Partition: r.Partition, Position: r.Position, Origin: in.Origin, Digest: in.Digest, Key: []byte(in.Key)})
	}
	slices.SortStableFunc(out, func(a, b bridge.Placed) int {
		return cmp.Or(cmp.Compare(a.Partition, b.Partition), a.Position.Compare(b.Position))
	})
	return out
}

// Tail says what stands on the stream, each shard in its order. In the format Raw it joins
// ledger and shards: what the ledger says is stored is yielded as it says, and what it
// leaves in doubt is looked for; the answer is then told to the ledger. In the others the
// shards are read, unless the ledger says that nothing was put behind the floor. Before that
// PutTimeout passes since the sink was opened, so that a put of an older worker has had its
// time. Puts wait meanwhile.
func (s *Sink) Tail(ctx context.Context, from bridge.Floor) iter.Seq2[bridge.Placed, error] {
	return func(yield func(bridge.Placed, error) bool) {
		placed, err := s.recall(ctx, from)
		for _, p := range placed {
			if !yield(p, nil) {
				return
			}
		}
		if err != nil {
			yield(bridge.Placed{}, err)
		}
	}
}

// Digest is that of the ledger's intents in the format Raw. In the others it is that of key,
// value and time, all of which the provenance header's tag covers.
func (s *Sink) Digest(r *bridge.Record) uint64 {
	if s.codec.ledgered() {
		return s.codec.mark(r).digest
	}
	return bridge.ContentDigest(r.Key, r.Value, r.Time)
}

// recall is Tail, all at once. A floor that is clean has nothing behind it.
func (s *Sink) recall(ctx context.Context, from bridge.Floor) ([]bridge.Placed, error) {
	s.turn.Lock()
	defer s.turn.Unlock()
	for shard, at := range from.Partitions {
		s.advance(shard, at)
	}
	switch {
	case from.Clean:
		return nil, nil
	case !s.codec.ledgered():
		return s.reread(ctx, from)
	}
	j, err := s.readJournal(ctx, from.Log)
	if head, gone := bridge.LedgerHead(err, from.Log); gone && (s.keeps(from.At) || from.Log.IsZero()) {
		// The ledger keeps its entries for longer than the stream its records: those that are
		// gone are older than the floor.
		j, err = s.readJournal(ctx, head)
	}
	if err != nil {
		return nil, err
	}
	for _, r := range s.settled { // by puts that the ledger was not told of yet
		j.settle(r)
	}
	for p := range j.taken {
		s.advance(p.shard, bridge.Position{Seq: p.seq})
	}
	if err := s.decide(ctx, j, from); err != nil {
		return nil, err
	}
	return j.placed(from), s.tell(ctx)
}

// reread finds the workflow's own records on the shards, by what they carry. Behind a floor
// there are none unless the ledger holds a put behind it, however long the shards were idle.
func (s *Sink) reread(ctx context.Context, from bridge.Floor) (placed []bridge.Placed, err error) {
	since, put, err := s.firstPut(ctx, from)
	known := len(from.Partitions) > 0 || !from.Log.IsZero()
	if err != nil || known && !put {
		return nil, err
	}
	if put {
		if err := s.outlast(ctx); err != nil {
			return nil, err
		}
	}
	shards, _, err := s.shardsOf(ctx, nil)
	tips, seen, copies := map[string]bridge.Position{}, map[bridge.Coordinate]bool{}, int64(0)
	for _, shard := range shards {
		start := bridge.Start{After: from.Partitions[shard]}
		whole := s.keeps(since)
		if whole && known {
			start.At = s.theirs(since).Add(-clockSkew)
		}
		tip, err := s.scanShard(ctx, shard, start, whole, func(r *bridge.Record) {
			if !r.Origin.IsZero() {
				if seen[r.Origin] {
					copies++
				}
				seen[r.Origin] = true
				placed = append(placed, bridge.Placed{Partition: shard, Position: r.Position, Origin: r.Origin, Digest: s.Digest(r), Key: r.Key})
			}
		})
		if err != nil {
			return nil, err
		}
		s.advance(shard, tip)
		tips[shard] = tip
	}
	if err == nil && put {
		s.rewound(copies)
		s.watchAll(tips)
	}
	return placed, err
}

// firstPut tells whether any worker of this task wrote ahead of a put behind the floor, and
// since when what it put can be on the stream; zero is not known. Older workers are fenced
// from the ledger by now, so that without an entry none is under way.
func (s *Sink) firstPut(ctx context.Context, from bridge.Floor) (since time.Time, put bool, err error) {
	for e, err := range s.conf.Ledger.Read(ctx, from.Log) {
		if _, gone := bridge.LedgerHead(err, from.Log); gone {
			// Whether a put is among the entries that are gone is not known, only that it
			// came behind the floor.
			return from.At, true, nil
		}
		return e.Time, err == nil, err
	}
	return time.Time{}, false, nil
}

// keeps reports whether the stream still holds everything that was put since then.
func (s *Sink) keeps(since time.Time) bool {
	return !since.IsZero() && time.Since(since) < s.Info().Retention-clockSkew
}

// outlast waits until a put of an older worker has had its time.
func (s *Sink) outlast(ctx context.Context) error {
	return pause(ctx, time.Until(s.opened.Add(s.conf.PutTimeout+s.conf.ReadDelay)))
}

// decide settles what the journal leaves in doubt.
func (s *Sink) decide(ctx context.Context, j *journal, from bridge.Floor) error {
	doubts, since := j.doubts()
	if len(doubts) == 0 {
		return nil
	}
	if err := s.outlast(ctx); err != nil {
		return err
	}
	if err := s.search(ctx, doubts, from.Partitions, since, j.taken); err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(doubts)) {
		d := doubts[key]
		r := bridge.Settled{Entry: d.entry, Index: d.index, Stored: d.shard != "", Partition: d.shard, Position: d.at}
		j.settle(r)
		s.settled = append(s.settled, r)
		if r.Stored {
			s.advance(r.Partition, r.Position)
		}
	}
	return nil
}

// advance notes that a record of this workflow stands there.
func (s *Sink) advance(shard string, at bridge.Position) {
	if at.After(s.ends[shard]) {
		s.ends[shard] = at
	}
}

// look searches for the records of a call that got no answer, from where each shard stood when
// the call was formed: behind the last record of this workflow, which Tail and the puts since
// know, or if that is older behind the time.
func (s *Sink) look(ctx context.Context, doubts map[string]*doubt, since time.Time) error {
	return s.search(ctx, doubts, s.ends, since, nil)
}

// search reads the shards that own keys in doubt, from the given positions or else from
// clockSkew before since, when the first of the doubts arose, to their tips. It notes the
// first record that is the one in doubt and that nothing else accounts for, and forgets
// what was noted before.
func (s *Sink) search(ctx context.Context, doubts map[string]*doubt, from map[string]bridge.Position, since time.Time, taken map[spot]bool) error {
	shards, others, err := s.shardsOf(ctx, slices.Collect(maps.Keys(doubts)))
	if err != nil {
		return err
	}
	for _, d := range doubts {
		d.shard, d.at = "", bridge.Position{}
	}
	// What was put before the oldest record that is kept cannot be looked for.
	old := !s.keeps(since)
	tips := map[string]bridge.Position{}
	for _, shard := range shards {
		start := bridge.Start{After: from[shard]}
		if !old {
			start.At = s.theirs(since).Add(-clockSkew)
		}
		if old && start.After.IsZero() {
			return s.tooLate(shard, since)
		}
		tips[shard], err = s.scanShard(ctx, shard, start, !old, func(r *bridge.Record) {
			d := doubts[string(r.Key)]
			if d != nil && d.shard == "" && !taken[spot{r.Partition, r.Position.Seq}] && s.codec.mark(r) == d.mark {
				d.shard, d.at = r.Partition, r.Position
			}
		})
		if err != nil {
			return err
		}
	}
	s.watch(doubts, tips, others)
	return nil
}

func (s *Sink) tooLate(shard string, since time.Time) error {
	gap := &bridge.GapError{Stream: "stream " + s.name(), Partition: shard, Reason: fmt.Sprintf(
		"a put of %s got no answer, and whether it took effect has expired since", since.UTC().Format(time.RFC3339))}
	return bridge.WithHint(gap, "compare both sides; then begin a new workflow on an empty target")
}

// shardsOf lists the shards, open and closed, that the keys hash into, or all if keys is nil,
// and the others.
func (s *Sink) shardsOf(ctx context.Context, keys []string) (ids, others []string, err error) {
	err = s.readBack(ctx, "list the shards", func() error {
		ids, others = nil, nil
		shards, err := s.Partitions(ctx)
		for _, shard := range shards {
			if keys == nil || owns(shard, keys) {
				ids = append(ids, shard.ID)
			} else {
				others = append(others, shard.ID)
			}
		}
		return err
	})
	return ids, others, err
}

// owns reports whether a key hashes into the shard.
func owns(shard bridge.Partition, keys []string) bool {
	space, err := kpl.ParseHashRange(shard.FirstHash, shard.LastHash)
	return err != nil || slices.ContainsFunc(keys, func(key string) bool { return space.Contains(kpl.KeyHash([]byte(key))) })
}

// scanShard shows every record of one shard behind start, up to the shard's tip, and
// returns where that is. Unless whole is known, the record at start must still be there,
// because what stood behind it may have expired with it. With start.At, too, nothing is looked
// for that arrived before: a shard that was idle for long is not read from its last record on.
func (s *Sink) scanShard(ctx context.Context, shard string, start bridge.Start, whole bool, see func(*bridge.Record)) (tip bridge.Position, err error) {
	r := newReader(s.Client, SourceConfig{Share: 1, Aggregation: s.conf.Format.ReadBy(), Stamp: s.conf.Stamp}, shard, start)
	r.proved = r.proved || whole
	if err := s.readBack(ctx, "read back "+shard, func() error { return r.open(ctx) }); err != nil {
		return tip, err
	}
	began, skipped := time.Now(), start.After.IsZero()
	for {
		var b bridge.Batch
		err := s.readBack(ctx, "read back "+shard, func() (err error) {
			b, err = r.Read(ctx)
			return err
		})
		if gap := (*bridge.GapError)(nil); errors.As(err, &gap) {
			gap.Reason = "records in doubt cannot be looked for: " + gap.Reason
		}
		if err != nil {
			return tip, fmt.Errorf("look for records in doubt: %w", err)
		}
		for i := range b.Records {
			if b.Records[i].Position.After(start.After) {
				see(&b.Records[i])
			}
		}
		if n := len(b.Records); !skipped && n > 0 && !start.At.IsZero() && arrivedBefore(&b.Records[n-1], start.At) {
			skipped = true
			r = newReader(s.Client, r.conf, shard, bridge.Start{At: start.At})
			if err := s.readBack(ctx, "read back "+shard, func() error { return r.open(ctx) }); err != nil {
				return tip, err
			}
			continue
		}
		// A page that was asked for after the search began and says that nothing is behind it
		// has shown everything that was stored before.
		if b.Through.After(tip) {
			tip = b.Through
		}
		if b.Ended || b.Behind == 0 && b.Asked.After(began) {
			return tip, nil
		}
	}
}

// arrivedBefore reports whether a record is known to have arrived before then.
func arrivedBefore(r *bridge.Record, then time.Time) bool {
	return !r.Arrived.IsZero() && r.Arrived.Before(then)
}
