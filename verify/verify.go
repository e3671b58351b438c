package verify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/keymap"
)

// A LedgerReader is the half of a bridge.Ledger that a witness needs. It says which
// coordinates the records of a target have that cannot carry them.
type LedgerReader interface {
	Read(ctx context.Context, after bridge.Position) iter.Seq2[bridge.LedgerEntry, error]
}

// A DeadLetterReader shows what the mirror put aside, copies and all, up to what is there
// at the time of the call.
type DeadLetterReader interface {
	Read(ctx context.Context) iter.Seq2[bridge.DeadLetter, error]
}

// A Store keeps the state of one run, so that it can be resumed. What is saved replaces
// what was saved before, wholly or not at all.
type Store interface {
	// Load returns nil if nothing was saved.
	Load(ctx context.Context) ([]byte, error)
	Save(ctx context.Context, b []byte) error
}

// A Selection says what part of the source a run looks at. The zero Selection is all.
type Selection struct {
	// From is the time, and After the positions, behind which the run begins; To the time,
	// and Through the positions, up to which it goes.
	From, To       time.Time
	After, Through map[string]bridge.Position
	Partitions     []string
	Keys           [][]byte // as they stand on the target
}

// An Expiry says how a target forgets that cannot say where its partitions begin (Kinesis).
// The zero Expiry forgets nothing.
type Expiry struct {
	// Began is when the mirror's first record can have been written. What is there for less
	// than Least is kept, whatever anybody sets; Kept is what is set now.
	Began       time.Time
	Least, Kept time.Duration
}

// horizon is the time before which a record may have expired by now; zero if there is none.
func (e Expiry) horizon(now time.Time) time.Time {
	if e.Kept <= 0 || !now.Add(-e.Kept).After(e.Began) {
		return time.Time{}
	}
	return now.Add(-e.Kept)
}

// Hooks are told what happens, from several goroutines. A nil one is not called.
type Hooks struct {
	// Progress is told from time to time what was read so far.
	Progress func(p Progress)
	// Saved is called after each save of the run's state.
	Saved func()
	// Judged is called in a continuous run after each round and each sweep, one call at a time.
	Judged func(r *Result)
}

// Progress is what was read so far.
type Progress struct {
	SourceRecords int64  `json:"source_records"`
	TargetRecords int64  `json:"target_records"`
	SourceDone    int    `json:"source_partitions_done"` // that were read to the end of the scope
	TargetDone    int    `json:"target_partitions_done"`
	Sources       int    `json:"source_partitions"`
	Targets       int    `json:"target_partitions"`
	Phase         string `json:"phase"`
	// SourceBytes and TargetBytes are of keys, values and headers.
	SourceBytes int64 `json:"source_bytes"`
	TargetBytes int64 `json:"target_bytes"`
	// SourceLeft and TargetLeft are about how many bytes are still to be read, -1 if nobody
	// can tell; Left is how long that takes at the rate so far, 0 if nobody can tell.
	SourceLeft int64         `json:"source_bytes_left"`
	TargetLeft int64         `json:"target_bytes_left"`
	Left       time.Duration `json:"left_ns"`
	// Stalls counts the partitions that have given nothing for a minute although they are
	// not at their end. Stalled names the worst, "source" or "target" before its name;
	// empty if there is none.
	Stalls  int    `json:"stalled_partitions"`
	Stalled string `json:"stalled,omitempty"`
	// Findings are those confirmed so far. Through and Sweep are those of a continuous run.
	Findings Findings  `json:"findings"`
	Through  []Through `json:"verified_through,omitempty"`
	Sweep    *Sweep    `json:"sweep,omitempty"`
}

// A Verifier compares a source with a target. Source, Target, Keys and Key are needed.
// It reads both by itself and writes to neither. A Verifier is used once.
type Verifier struct {
	Workflow  string
	ID        string // of the run
	Direction string
	Format    string // of the target, for the Result

	Source bridge.Source
	Target bridge.Source
	// Ledger gives the records of Target their coordinates; nil if they carry them.
	Ledger LedgerReader
	// DeadLetters holds what the mirror put aside; nil if there is no such place.
	DeadLetters DeadLetterReader
	Keys        keymap.Strategy
	Key         bridge.WorkflowKey
	Keeps       Keeps

	// Acknowledged says how far the mirror claims to be, by source partition. A record up
	// to there that is not on the target is missing, one behind it is not there yet. Nil
	// claims everything that was in the source when the run began.
	Acknowledged func(ctx context.Context) (map[string]bridge.Row, error)
	// Checkpoint is the mirror's checkpoint, from which the same follows. It is asked if
	// Acknowledged is nil, and says more: whether the mirror was stopped, and how far the
	// target reached.
	Checkpoint func(ctx context.Context) (bridge.Checkpoint, error)
	// Lag is how long a mirror at work may go without acknowledging anything while it is
	// behind: the settle time or a minute, and 5 s, if zero. A negative Lag waits for no mirror.
	// A run waits for the mirror, no longer than Drain, to acknowledge what was in the source
	// when it began; what the mirror leaves makes the run inconclusive.
	Lag time.Duration
	// Start is when the workflow began to read; zero if it read all that there was. What
	// arrived before is out of scope.
	Start time.Time
	// Doubt says why the mirror's checkpoint is not believed; empty if it is.
	Doubt string

	Select Selection
	// Quick looks at ranges only. Final takes a fence of all that is in the source, waits
	// until the mirror has acknowledged it, and looks for stragglers for as long as Watch.
	// Continuous goes on until the context ends. Content compares records that carry no
	// coordinates as multisets.
	Quick, Final, Continuous, Content bool
	Watch                             time.Duration
	// RecordID, in content mode, is what a record is known by on both sides, such as a
	// header or a field of its value; nil if this one has none. If the function is nil a
	// changed record is one that is missing and one that is extra.
	RecordID func(r *bridge.Record) []byte
	// Compacted says that the source forgets records that were mirrored.
	Compacted bool
	// Natives says that others may write to the target by now: records without a
	// coordinate are counted and are not extra.
	Natives bool

	Settle        time.Duration // 60 s if zero
	Window        time.Duration // 15 min if zero
	WindowRecords int           // 2^20 if zero
	Drain         time.Duration // how long a run waits for the mirror; 10 min if zero
	Stall         time.Duration // without a move, before a partition counts as unread; 10 min if zero
	SurveyFor     time.Duration // how long is counted what lies beyond the scope; 30 s if zero
	MaxSamples    int           // of each class; 10 if zero
	DrillRecords  int           // that are held at a time; 2^20 if zero
	OrderKeys     int           // whose order is followed in content mode; 2^20 if zero
	Parallel      int           // partitions of a side read at a time; 64 if zero
	// SweepEvery is how long after the last one a continuous run begins to read again what
	// it has judged; 6 h if zero.
	SweepEvery time.Duration
	Expiry     Expiry

	Store     Store         // nil keeps nothing
	SaveEvery time.Duration // 10 s if zero
	// ProgressEvery is how often Hooks.Progress is called; 5 s if zero.
	ProgressEvery time.Duration
	Hooks         Hooks
	Logger        *slog.Logger // nil logs nothing
	// Notes are copied into the Result's scope.
	ReadShare  float64
	AcceptLoss []string
	Decoders   string

	noBitmap bool // in a test, to see what the bitmap is good for
	most     int  // differences of one look that are held one by one; maxFindings if zero
	piece    int  // how many results of the ledger are taken at a time; ledgerPiece if zero
}

// ErrStopped is the cause to cancel a run with that is to be resumed later.
var ErrStopped = errors.New("the run was stopped")

func (v *Verifier) defaults() error {
	if v.Source == nil || v.Target == nil || v.Keys == nil {
		return errors.New("a verifier needs a source, a target and a keymap")
	}
	setDuration(&v.Settle, time.Minute)
	setDuration(&v.Window, 15*time.Minute)
	setDuration(&v.Drain, 10*time.Minute)
	setDuration(&v.Stall, 10*time.Minute)
	setDuration(&v.Lag, max(v.Settle, time.Minute)+5*time.Second)
	setDuration(&v.SurveyFor, 30*time.Second)
	if v.Quick {
		v.SurveyFor = min(v.SurveyFor, 5*time.Second)
	}
	setDuration(&v.SaveEvery, 10*time.Second)
	setDuration(&v.ProgressEvery, 5*time.Second)
	setDuration(&v.SweepEvery, 6*time.Hour)
	setInt(&v.WindowRecords, 1<<20)
	setInt(&v.MaxSamples, 10)
	setInt(&v.DrillRecords, 1<<20)
	setInt(&v.Parallel, 64)
	setInt(&v.OrderKeys, 1<<20)
	setInt(&v.piece, ledgerPiece)
	setInt(&v.most, maxFindings)
	if v.Logger == nil {
		v.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	if v.Decoders == "" {
		v.Decoders = "stock"
	}
	return nil
}

func setDuration(d *time.Duration, otherwise time.Duration) {
	if *d == 0 {
		*d = otherwise
	}
}

func setInt(n *int, otherwise int) {
	if *n == 0 {
		*n = otherwise
	}
}

// kind names the run in its Result.
func (v *Verifier) kind() string {
	switch {
	case v.Quick:
		return "quick"
	case v.Final:
		return "final"
	case v.Continuous:
		return "continuous"
	}
	return "once"
}

// Run compares, and returns what it found. A difference is no error: an error says that
// nothing can be said. If the context ends, the Result holds what is known so far, with
// the State "stopped", and the error is the context's cause.
func (v *Verifier) Run(ctx context.Context) (*Result, error) {
	if err := v.defaults(); err != nil {
		return nil, err
	}
	r, err := v.begin(ctx)
	if err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	switch {
	case v.Quick:
		err = r.quick(ctx)
	case v.Content:
		err = r.content(ctx)
	case v.Continuous:
		err = r.follow(ctx)
	default:
		err = r.once(ctx)
	}
	var stalled *stallError
	if errors.As(err, &stalled) && ctx.Err() == nil {
		err = nil
		r.giveUp(stalled)
	}
	if err != nil && ctx.Err() == nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if saveErr := r.save(context.WithoutCancel(ctx)); saveErr != nil {
		err = errors.Join(err, saveErr)
	}
	res := r.result()
	if ctx.Err() != nil {
		res.State = "stopped"
	}
	return res, err
}
