package bridge

import (
	"context"
	"errors"
	"time"
)

// A DeadLetter is a record that was not carried, with what a person needs to deal with it.
type DeadLetter struct {
	Origin Coordinate
	// Stream is the name of the source stream or topic.
	Stream string
	// Key, Value, Headers and Time are the source's own; see Record.
	Key     []byte
	Value   []byte
	Headers []Header
	Time    time.Time
	// Class is one of the constants Class…
	Class string
	// Reason is the error, as a sentence.
	Reason string
	// At is when it was given up.
	At time.Time
}

// The classes of dead letters.
const (
	ClassOversize    = "oversize"
	ClassUndecodable = "undecodable"
	ClassUnmappable  = "unmappable"
)

// DeadLetterClass is the class of an error that one record was refused with for good, and
// empty if the error is of none: then not the record is at fault.
func DeadLetterClass(err error) string {
	switch {
	case errors.Is(err, ErrOversize):
		return ClassOversize
	case errors.Is(err, ErrUndecodable):
		return ClassUndecodable
	case errors.Is(err, ErrUnmappable):
		return ClassUnmappable
	}
	return ""
}

// DeadLetters is where records go that the policy does not stop at. It has one owner at a
// time and is safe for concurrent use. Its places are not those of the target: the
// Partition of an Ack or Placed names the place, too.
//
// One that can be searched is a Recoverable, and Floor.DeadLetters is the Partitions of
// the Floor that it is given. It never ends with a gap because letters were removed that
// had been dealt with, only if the place ends before from.
type DeadLetters interface {
	// Put returns when all letters are durable, and where each stands. The letters of one
	// source partition come in its order, and never in two calls at a time. Put may be
	// called again with the same ones after a failure or a restart: readers tell copies by
	// Origin. It wraps ErrOversize if the place cannot hold a letter, and ErrFenced if
	// another worker owns the task.
	Put(ctx context.Context, letters []DeadLetter) ([]Ack, error)
	Close() error
}
