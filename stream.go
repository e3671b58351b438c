package bridge

import (
	"context"
	"time"
)

// A Partition is one ordered part of a stream: a Kinesis shard or a Kafka partition.
type Partition struct {
	ID string
	// Parents are the shards that must be read to their end before this one; they may
	// have expired and then be listed no more. Kafka has none.
	Parents []string
	// Closed says that no record will be added: a shard that was split or merged.
	Closed bool
	// FirstHash and LastHash bound the hash keys of a shard, inclusive, as decimal
	// numbers below 2^128. Kafka leaves them empty.
	FirstHash, LastHash string
	// From and To bound the sequence numbers of a shard, inclusive; To is zero while the shard
	// is open. Both are zero if the service does not say.
	From, To Position
}

// A Batch is what one Read returned. It may hold no record at all.
type Batch struct {
	Records []Record
	// Through is the position up to which everything was seen. It can be past the last
	// record: an offset can belong to a transaction marker or a compacted record.
	Through Position
	// Behind is how much older than the newest record the end of this batch is at most; 0
	// says that nothing more was there, and a negative value that it is not known. Of Kafka
	// it is by the records' times, which producers may set to anything.
	Behind time.Duration
	// Asked is when the service was asked for this batch, by the reader's clock.
	Asked time.Time
	// Clock is the service's clock when it answered; zero if it did not say. Record.Arrived
	// is compared with this clock, never with this machine's.
	Clock time.Time
	// End is the last position that the partition held then, readable or not: a Kafka
	// partition ends at its high watermark. Zero if the service did not say.
	End Position
	// Open is the transaction that keeps records between Through and End from being read;
	// nil if none does. Behind is not 0 while one does.
	Open *OpenTransaction
	// Last identifies the Kafka batch that holds Through, or the last one before it that
	// was read. Zero for Kinesis, and if nothing was read yet.
	Last BatchID
	// Ended says that the partition gets no more records and that this batch is the last.
	Ended bool
}

// A BatchID identifies a record batch in the log of a Kafka partition. A log that was cut
// back and written again (an unclean leader election) holds another batch, or none, where
// this one stood.
type BatchID struct {
	Epoch int32 `json:"epoch"` // leader epoch that the batch was appended under
	Base  int64 `json:"base"`  // offset of its first record as it was appended
	// Known is false in rows of earlier versions: then nothing can be compared.
	Known bool `json:"known,omitempty"`
}

// An OpenTransaction is a Kafka transaction that is neither committed nor aborted.
type OpenTransaction struct {
	Partition string
	First     Position // its first record in the partition
	Producer  int64    // producer id
	ID        string   // transactional id; empty if it could not be read
	Since     time.Time
}

// A Start says where to begin in a partition.
type Start struct {
	// After is the last position that is done; reading begins behind it. Zero begins at
	// At, or if that is zero too at the oldest record.
	After Position
	// At begins at the first record that arrived at or after this time.
	At time.Time
	// Batch is the batch that held After when it was read. If it is known, the source
	// proves that the log still holds it, and reports a *GapError if the log was cut.
	Batch BatchID
	// First, if After is zero, is what Begin once gave for the same At. That it, or what
	// stands behind it, is no longer kept is a *GapError.
	First Position
	// Tip is the last time at which everything up to After is known to have been all
	// there was: a partition seen empty behind After less than the retention ago has
	// lost nothing, even if the record at After itself has expired. Zero if unknown. If it
	// is set and After is zero, the partition held nothing then.
	Tip time.Time
}

// A Stream lists its partitions and knows who it is.
type Stream interface {
	// Identity asks the service; it wraps ErrMissing if there is no such stream.
	Identity(ctx context.Context) (Identity, error)
	// Partitions lists all that can be read, parents before their children.
	Partitions(ctx context.Context) ([]Partition, error)
}

// A Source is a stream that can be read. It is safe for concurrent use.
type Source interface {
	Stream
	// Open starts reading one partition. It never moves forward in silence: what is
	// behind from.After and no longer kept is a *GapError, from Open or the first Read.
	Open(ctx context.Context, partition string, from Start) (Reader, error)
	// Begin says what Open with the time at, and with nothing else, would read now, so that a
	// later Open proves by its Start that none of that is gone: first is the first of it that
	// will be kept for some minutes. Where there is none first is zero, and tip is the time,
	// by the service's clock, at which the partition held none.
	Begin(ctx context.Context, partition string, at time.Time) (first Position, tip time.Time, err error)
}

// A Reader reads one partition in order, from one goroutine.
type Reader interface {
	// Read returns what comes next, after at most a few seconds even if that is
	// nothing. The batch belongs to the caller. Read does not retry: after an error for
	// which Retryable is true the caller waits and calls it again, and it goes on where
	// it was. After a Batch with Ended it must not be called again.
	Read(ctx context.Context) (Batch, error)
	Close() error
}

// A Waiter is a Reader that must let time pass between two reads. Who holds something back
// for the time of a Read waits first.
type Waiter interface {
	// Wait returns when a Read would ask the service at once, or ctx ends.
	Wait(ctx context.Context) error
}

// An Ender is a Source or a Sink that can say where its partitions end. Kinesis cannot.
type Ender interface {
	// Ends returns the last position that each partition holds, readable or not: the one
	// before the high watermark. A partition that is empty has the zero Position.
	Ends(ctx context.Context) (map[string]Position, error)
}

// An Ack tells the fate of one record of a Write.
type Ack struct {
	// Partition and Position are where the record stands, if Err is nil.
	Partition string
	Position  Position
	// Log is where a Ledger last spoke of the record; zero if the sink has none.
	Log Position
	// Err says why the record was certainly not appended; see the error classes.
	Err error
}

// A Sink is a stream that can be appended to. It is safe for concurrent use.
type Sink interface {
	Stream
	// Write appends recs and returns when the fate of each is known; acks[i] is that of
	// recs[i]. If a record fails, no later record of its lane is appended. Records of one
	// lane are never given to two calls at a time. Write does not retry what was refused,
	// resolves what is in doubt before it returns, and keeps nothing of recs.
	// A non-nil error means that nothing is known of any record and that the sink is of
	// no more use; what was under way must then be found by a restart.
	Write(ctx context.Context, recs []Record) (acks []Ack, err error)
	Close() error
}

// A Placed is one record found on a target.
type Placed struct {
	Partition string
	Position  Position
	Origin    Coordinate
	// Digest is that of the record by Recoverable.Digest; zero if it is not known. A source
	// log that was cut back and written again holds another record at the same Origin.
	Digest uint64
	// Key is the partition key if the target places by it (Kinesis); nil otherwise.
	Key []byte
}
