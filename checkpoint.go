package bridge

import (
	"context"
	"errors"
	"iter"
	"time"
)

// A Row is how far one source partition was mirrored.
type Row struct {
	Partition string `json:"partition"`
	// Position: this record and all before it were acknowledged by the target, or are
	// listed as not carried.
	Position Position `json:"position"`
	// Ended: the partition gets no more records, and all of them are done.
	Ended bool `json:"ended,omitempty"`
	// Parents as the source listed them, kept because an expired parent is listed no more.
	Parents []string `json:"parents,omitempty"`
	// Batch is the Kafka batch that Position stood in; zero for Kinesis.
	Batch BatchID `json:"batch,omitzero"`
	// First is where the workflow begins in the partition, as Source.Begin said, while Position
	// is zero. Zero if not known, and where Tip says that the partition held nothing.
	First Position `json:"first,omitzero"`
	// Tip is when the partition was last seen to hold nothing behind Position.
	Tip time.Time `json:"tip,omitzero"`
}

// A Floor is where a restart begins to look for what is already on the target: below it
// every record either belongs to the checkpoint or is not the mirror's own.
type Floor struct {
	// Partitions holds the last such position of each target partition; one that is not
	// named must be looked at from its beginning.
	Partitions map[string]Position `json:"partitions,omitempty"`
	// Log is the last such position of the sink's Ledger, zero if it has none.
	Log Position `json:"log,omitzero"`
	// DeadLetters holds the same for each partition of the place of dead letters.
	DeadLetters map[string]Position `json:"dead_letters,omitempty"`
	// At is when this was noted: nothing of the mirror's behind these positions was written
	// before. Zero if not known.
	At time.Time `json:"at,omitzero"`
	// Clean: nothing was under way when this was noted, and nothing stands behind it.
	Clean bool `json:"-"`
}

// Counts says what became of the records that were read since the workflow began:
// Read = Written + Present + DeadLettered + Dropped + LoopSkipped, once nothing is under way.
type Counts struct {
	Read         int64 `json:"read"`
	Written      int64 `json:"written"`
	Present      int64 `json:"already_present"`
	DeadLettered int64 `json:"dead_lettered"`
	Dropped      int64 `json:"dropped_by_policy"`
	LoopSkipped  int64 `json:"loop_skipped"`
	// Foreign counts records with a copied provenance header; they are mirrored as data
	// and stand in Written, too.
	Foreign int64 `json:"foreign_provenance"`
	// Rewind counts copies that landed on a Kinesis target after the record's first one.
	Rewind int64 `json:"rewind"`
}

// Add adds what happened to more records.
func (c *Counts) Add(d Counts) {
	c.Read += d.Read
	c.Written += d.Written
	c.Present += d.Present
	c.DeadLettered += d.DeadLettered
	c.Dropped += d.Dropped
	c.LoopSkipped += d.LoopSkipped
	c.Foreign += d.Foreign
	c.Rewind += d.Rewind
}

// Balanced reports whether every record that was read is accounted for.
func (c Counts) Balanced() bool {
	return c.Read == c.Written+c.Present+c.DeadLettered+c.Dropped+c.LoopSkipped
}

// An IndexEntry says which source records stand below one position of a target
// partition, so that consumer positions can be translated without reading everything.
type IndexEntry struct {
	Partition string   `json:"partition"` // of the target
	Position  Position `json:"position"`
	// Below holds, for each source partition, a position that none of its records that
	// stand at or before Position in this target partition is behind.
	Below map[string]Position `json:"below"`
}

// A Checkpoint is what one task knows durably. To be saved it holds only the rows that
// moved; loaded it holds all.
type Checkpoint struct {
	Source Identity `json:"source"`
	Target Identity `json:"target"`
	Keymap string   `json:"keymap"`
	Rows   []Row    `json:"rows"`
	// Forget names partitions whose rows are needed no more: ended, and all their
	// children have rows.
	Forget []string `json:"forget,omitempty"`
	Floor  Floor    `json:"floor"`
	// Clean: nothing was under way, so that a restart need not look at the target.
	Clean bool      `json:"clean,omitempty"`
	At    time.Time `json:"at"`
	// Clock is what the source's clock showed at At, by which its records expire; zero is not
	// known.
	Clock  time.Time `json:"clock,omitzero"`
	Counts Counts    `json:"counts"`
	// Index holds new entries of the position index; they are never loaded.
	Index []IndexEntry `json:"-"`
}

// A CheckpointStore keeps the checkpoint of one task. It has one writer at a time, which
// the store's own fence makes sure of.
type CheckpointStore interface {
	// Load returns what was saved, with all rows, and the zero Checkpoint (At is zero) if
	// nothing was. It wraps ErrState if what it finds is corrupt, newer, or was not
	// written by this workflow.
	Load(ctx context.Context) (Checkpoint, error)
	// Save returns when the checkpoint is durable, all of it or nothing. It wraps
	// ErrFenced if another worker owns the task.
	Save(ctx context.Context, c Checkpoint) error
}

// A Recoverable is a Sink that can show what stands on the target, or a DeadLetters that
// can show what it holds.
type Recoverable interface {
	// Tail yields the records of this workflow behind from, in order for each target
	// partition, up to what was there when it was called. It ends with a *GapError if
	// that cannot be told: the beginning of the range is gone, or the target ends before
	// from. Copies that another producer made of the mirror's records are not yielded.
	// From a Clean floor it yields nothing, and only notes where the target stands.
	// Before Tail ends, everything that an earlier worker could still have had under way
	// is either on the target or can come no more (Kafka) or has had its time (Kinesis).
	Tail(ctx context.Context, from Floor) iter.Seq2[Placed, error]
	// Digest is what Tail tells two records of one Origin apart by: r is a record as it is
	// given to Write, or one that becomes a dead letter with the key that its source gave it.
	Digest(r *Record) uint64
}

// An Intent is one record that is about to be put.
type Intent struct {
	Origin Coordinate
	Key    string    // the partition key
	Time   time.Time // the source record's own
	Digest uint64    // keyed, over key and value: see Tagger.Digest
}

// A Settled is the fate of one intent.
type Settled struct {
	Entry     Position // of the ledger entry that held the intent
	Index     int      // of the intent in it
	Stored    bool     // false: not stored, unless Doubt says otherwise
	Partition string   // where it stands, if stored
	Position  Position
	// Doubt, if not Stored: the call got no answer and the record was not found in its time.
	// It is put again under another intent, and the first call can still land: a copy. It is
	// false in entries of earlier versions, where Stored alone does not tell a refused record
	// from one in doubt.
	Doubt bool
}

// A LedgerEntry is what a Ledger holds as one record: first what became of earlier
// intents, then the next ones. At is its own position and Time is when it was appended,
// by the clock of whoever did; both are set when it is read.
type LedgerEntry struct {
	At      Position
	Time    time.Time
	Settled []Settled
	Intents []Intent
}

// LedgerHead tells from an error of Ledger.Read(after) where the ledger begins: a Read from
// head yields all that is kept, and nothing is known of what stood at or before it. ok is
// false for every other error, also if the log ends before after.
func LedgerHead(err error, after Position) (head Position, ok bool) {
	var gap *GapError
	if !errors.As(err, &gap) || gap.After != after || !gap.Before.After(after) {
		return Position{}, false
	}
	first, err := gap.Before.Offset()
	return OffsetPosition(first - 1), err == nil
}

// A Ledger is a durable, ordered log of what a sink intended and what came of it, for
// targets whose records cannot carry a coordinate. It has one writer at a time and is
// safe for concurrent use.
type Ledger interface {
	// Append returns the entry's position when it is durable. It wraps ErrFenced if
	// another worker owns the task. The entry's At and Time are ignored.
	Append(ctx context.Context, e LedgerEntry) (Position, error)
	// Read yields the entries behind after, up to the end of the log at the time of the
	// call. It ends with a *GapError if entries behind after are gone: what stood behind
	// after, or from the zero Position the oldest entries. Before is then the position of the
	// first entry that is kept; see LedgerHead. A log that ends before after is a *GapError, too.
	Read(ctx context.Context, after Position) iter.Seq2[LedgerEntry, error]
}
