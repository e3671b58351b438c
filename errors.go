package bridge

import (
	"context"
	"errors"
	"fmt"
)

// The classes of errors. Adapters wrap one of them; engines ask with errors.Is.
var (
	// ErrThrottled: the service asks for less. Retryable.
	ErrThrottled = errors.New("throttled")
	// ErrTransient: the service or the network failed in a way that passes. Retryable.
	ErrTransient = errors.New("temporary failure")
	// ErrUnreachable: nobody answered. At start it ends the program, later it is retryable.
	ErrUnreachable = errors.New("unreachable")
	// ErrDenied: the service answered that this principal may not.
	ErrDenied = errors.New("access denied")
	// ErrMissing: the stream or topic does not exist.
	ErrMissing = errors.New("does not exist")
	// ErrRefused: the service refuses the request for good; trying again will not help.
	ErrRefused = errors.New("refused")
	// ErrGap: records are gone that were not read yet, or acknowledged ones are gone from
	// the target. See GapError.
	ErrGap = errors.New("data is gone")
	// ErrChanged: the stream or topic is not the one that the workflow began with: it was
	// recreated, or has another number of partitions.
	ErrChanged = errors.New("is not what it was")
	// ErrFenced: another worker owns the task, or this one was away for too long. Final.
	ErrFenced = errors.New("task lost to another worker")
	// ErrLostTrack: a sink or a store no longer knows what of its own was appended, and is of
	// no more use. A new one for the same task must look at the target first.
	ErrLostTrack = errors.New("what was written must be looked for")
	// ErrLocked: another process holds the workflow.
	ErrLocked = errors.New("in use by another process")
	// ErrState: stored state is corrupt, newer than this program, or of another workflow.
	ErrState = errors.New("state cannot be used")
	// ErrConflict: a compare-and-set found another version than the one it was given.
	ErrConflict = errors.New("changed by somebody else")
	// ErrForeignPosition: a position that is not one of this partition.
	ErrForeignPosition = errors.New("not a position of this partition")
	// ErrOversize: the record is larger than the target takes.
	ErrOversize = errors.New("record too large for the target")
	// ErrUndecodable: the record is not what its format says.
	ErrUndecodable = errors.New("record cannot be decoded")
	// ErrDropped: the rules of the source's format say that its readers are not given the
	// record, such as a user record of a KPL aggregate that came to the wrong shard.
	ErrDropped = errors.New("record is not for readers")
	// ErrUnmappable: the target cannot express the record in the chosen format.
	ErrUnmappable = errors.New("record cannot be expressed on the target")
)

// Retryable reports whether trying again later can help.
func Retryable(err error) bool {
	for _, final := range []error{context.Canceled, ErrFenced, ErrLostTrack, ErrGap, ErrDenied} {
		if errors.Is(err, final) {
			return false
		}
	}
	return errors.Is(err, ErrThrottled) || errors.Is(err, ErrTransient) || errors.Is(err, ErrUnreachable)
}

// A GapError is a hole that no retry fills: what the mirror still needed, or what it had
// been told is safe, is gone. It wraps ErrGap.
type GapError struct {
	Stream    string // which stream or topic, for people
	Partition string
	// After and Before bound what is gone: everything behind After and before Before. A
	// zero Before means that the far end is not known.
	After, Before Position
	Reason        string // what happened, as a clause: "retention passed the checkpoint"
}

func (e *GapError) Error() string {
	to := e.Before.String()
	if e.Before.IsZero() {
		to = "an unknown position"
	}
	return fmt.Sprintf("%s partition %s: gap behind %s up to %s: %s", e.Stream, e.Partition, e.After, to, e.Reason)
}

// Unwrap makes errors.Is(err, ErrGap) hold.
func (e *GapError) Unwrap() error { return ErrGap }

// WithHint adds to err a way out, one sentence for the person who reads it. It is nil if
// err is nil.
func WithHint(err error, hint string) error {
	if err == nil {
		return nil
	}
	return &hinted{err, hint}
}

// Hint is the outermost hint that was added to err, or empty.
func Hint(err error) string {
	var h *hinted
	if errors.As(err, &h) {
		return h.hint
	}
	return ""
}

type hinted struct {
	error
	hint string
}

func (h *hinted) Unwrap() error { return h.error }
