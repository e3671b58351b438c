package bridge

import (
	"context"
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
	// Class is "oversize", "undecodable" or "unmappable".
	Class string
	// Reason is the error, as a sentence.
	Reason string
	// At is when it was given up.
	At time.Time
}

// DeadLetters is where records go that the policy does not stop at. It has one writer at a
// time.
type DeadLetters interface {
	// Put returns when all letters are durable. It may be called again with the same ones
	// after a failure or a restart: readers tell copies by Origin. It wraps ErrOversize if
	// the place cannot hold a letter, and ErrFenced if another worker owns the task.
	Put(ctx context.Context, letters []DeadLetter) error
	Close() error
}
