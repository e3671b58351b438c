package kinesisstream

import (
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/big"
	"slices"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
)

// A doubt is an intent of which the ledger does not say what came of it. There is at most
// one a key, because no later record of a key is put before that is said.
type doubt struct {
	entry  bridge.Position
	index  int
	intent bridge.Intent
	shard  string // where it was found, if it was
	at     bridge.Position
}

// A spot is one record of the stream.
type spot struct {
	shard string
	seq   string
}

// A journal is what the ledger says from some place on.
type journal struct {
	intents map[intentID]bridge.Intent
	order   []intentID
	settled map[intentID]bridge.Settled
	taken   map[spot]bool // records that are accounted for
}

type intentID struct {
	entry string
	index int
}

func (s *Sink) readJournal(ctx context.Context, after bridge.Position) (*journal, error) {
	j := &journal{intents: map[intentID]bridge.Intent{}, settled: map[intentID]bridge.Settled{}, taken: map[spot]bool{}}
	for e, err := range s.conf.Ledger.Read(ctx, after) {
		if err != nil {
			return nil, err
		}
		for _, r := range e.Settled {
			j.settled[intentID{r.Entry.Seq, r.Index}] = r
			if r.Stored {
				j.taken[spot{r.Partition, r.Position.Seq}] = true
			}
		}
		for i, intent := range e.Intents {
			id := intentID{e.At.Seq, i}
			j.intents[id] = intent
			j.order = append(j.order, id)
		}
	}
	return j, nil
}

// doubts are the intents without a result, by key.
func (j *journal) doubts() map[string]*doubt {
	out := map[string]*doubt{}
	for _, id := range j.order {
		if _, ok := j.settled[id]; !ok {
			intent := j.intents[id]
			out[intent.Key] = &doubt{entry: bridge.Position{Seq: id.entry}, index: id.index, intent: intent}
		}
	}
	return out
}

// Tail joins ledger and shards. What the ledger says is stored is yielded as it says. What
// it leaves in doubt is looked for on the shards, after PutTimeout since the sink was
// opened has passed, so that a put of an older worker has had its time; the answer is then
// told to the ledger. It must be called before the first Write.
func (s *Sink) Tail(ctx context.Context, from bridge.Floor) iter.Seq2[bridge.Placed, error] {
	return func(yield func(bridge.Placed, error) bool) {
		j, err := s.recall(ctx, from)
		if err != nil {
			yield(bridge.Placed{}, err)
			return
		}
		for _, id := range j.order {
			r := j.settled[id]
			if !r.Stored || !r.Position.After(from.Partitions[r.Partition]) {
				continue
			}
			intent := j.intents[id]
			placed := bridge.Placed{Partition: r.Partition, Position: r.Position, Origin: intent.Origin, Key: []byte(intent.Key)}
			if !yield(placed, nil) {
				return
			}
		}
	}
}

// recall reads the ledger and settles what it leaves in doubt.
func (s *Sink) recall(ctx context.Context, from bridge.Floor) (*journal, error) {
	j, err := s.readJournal(ctx, from.Log)
	if err != nil {
		return nil, err
	}
	for p := range j.taken {
		s.advance(p.shard, p.seq)
	}
	doubts := j.doubts()
	if len(doubts) == 0 {
		return j, nil
	}
	if err := pause(ctx, time.Until(s.opened.Add(s.conf.PutTimeout))); err != nil {
		return nil, err
	}
	if err := s.search(ctx, doubts, from.Partitions, time.Time{}, j.taken); err != nil {
		return nil, err
	}
	for _, key := range slices.Sorted(maps.Keys(doubts)) {
		d := doubts[key]
		r := bridge.Settled{Entry: d.entry, Index: d.index, Stored: d.shard != "", Partition: d.shard, Position: d.at}
		j.settled[intentID{d.entry.Seq, d.index}] = r
		s.settled = append(s.settled, r)
		if r.Stored {
			s.advance(r.Partition, r.Position.Seq)
		}
	}
	return j, s.tell(ctx)
}

func (s *Sink) advance(shard, seq string) {
	if at := (bridge.Position{Seq: seq}); at.After(s.ends[shard]) {
		s.ends[shard] = at
	}
}

// look searches for the records of a call that got no answer. Shards that this sink has
// written to are read from its last record on. In the others older records of the same key
// and value may stand, which the ledger accounts for.
func (s *Sink) look(ctx context.Context, doubts map[string]*doubt, ends map[string]bridge.Position, since time.Time) error {
	return s.readBack(ctx, "read back", func() error {
		for _, d := range doubts {
			d.shard = ""
		}
		if err := s.search(ctx, doubts, ends, since, nil); err != nil {
			return err
		}
		strangers := false
		for _, d := range doubts {
			strangers = strangers || d.shard != "" && ends[d.shard].IsZero()
		}
		if !strangers {
			return nil
		}
		j, err := s.readJournal(ctx, bridge.Position{})
		if err != nil {
			return err
		}
		for _, d := range doubts {
			d.shard = ""
		}
		return s.search(ctx, doubts, ends, since, j.taken)
	})
}

// search reads the shards that own keys in doubt, from the given positions or else from a
// time or their beginning, to their tips, and notes the first record that is the one in
// doubt and that nothing else accounts for.
func (s *Sink) search(ctx context.Context, doubts map[string]*doubt, from map[string]bridge.Position, since time.Time, taken map[spot]bool) error {
	shards, err := s.Partitions(ctx)
	if err != nil {
		return err
	}
	copies := int64(0)
	for _, shard := range shards {
		if !owns(shard, doubts) {
			continue
		}
		start := bridge.Start{After: from[shard.ID]}
		if start.After.IsZero() {
			start.At = since
		}
		n, err := s.scanShard(ctx, shard.ID, start, !since.IsZero(), doubts, taken)
		if err != nil {
			return err
		}
		copies += n
	}
	if copies > 0 && s.conf.Rewind != nil {
		s.conf.Rewind(copies)
	}
	return nil
}

// owns reports whether a key in doubt hashes into the shard.
func owns(shard bridge.Partition, doubts map[string]*doubt) bool {
	lo, ok1 := new(big.Int).SetString(shard.FirstHash, 10)
	hi, ok2 := new(big.Int).SetString(shard.LastHash, 10)
	if !ok1 || !ok2 {
		return true
	}
	for key := range doubts {
		sum := md5.Sum([]byte(key))
		if h := new(big.Int).SetBytes(sum[:]); h.Cmp(lo) >= 0 && h.Cmp(hi) <= 0 {
			return true
		}
	}
	return false
}

// scanShard reads one shard to its tip. It returns how many further copies it met. What is
// recent cannot have expired; otherwise a start that has expired is a gap.
func (s *Sink) scanShard(ctx context.Context, shard string, start bridge.Start, recent bool, doubts map[string]*doubt, taken map[spot]bool) (copies int64, err error) {
	r := &reader{client: s.Client, conf: SourceConfig{Share: 1}, shard: shard, start: start, last: start.After, proved: start.After.IsZero() || recent}
	if err := s.readBack(ctx, "read back "+shard, func() error { return r.open(ctx) }); err != nil {
		return 0, err
	}
	began := time.Now()
	for {
		var b bridge.Batch
		err := s.readBack(ctx, "read back "+shard, func() (err error) {
			b, err = r.Read(ctx)
			return err
		})
		var gap *bridge.GapError
		if errors.As(err, &gap) {
			gap.Reason = "records in doubt cannot be looked for: " + gap.Reason
		}
		if err != nil && !errors.Is(err, bridge.ErrUndecodable) {
			return copies, fmt.Errorf("look for records in doubt: %w", err)
		}
		for i := range b.Records {
			copies += s.match(&b.Records[i], doubts, taken)
		}
		// A page that was asked for after the search began and says that nothing is behind it
		// has shown everything that was stored before.
		if err != nil || b.Ended || b.Behind == 0 && b.Asked.After(began) {
			return copies, nil
		}
	}
}

func (s *Sink) match(r *bridge.Record, doubts map[string]*doubt, taken map[spot]bool) (copies int64) {
	d := doubts[string(r.Key)]
	if d == nil || taken[spot{r.Partition, r.Position.Seq}] || s.digest(r.Key, r.Value) != d.intent.Digest {
		return 0
	}
	if d.shard != "" {
		return 1
	}
	d.shard, d.at = r.Partition, r.Position
	return 0
}
