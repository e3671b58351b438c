package memstream

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
)

// Letters is the durable place of one task's dead letters, one partition like that of a
// topic: each new writer takes an offset for its fence. It is safe for concurrent use.
type Letters struct {
	inj *injector
	max int // bytes of a letter; 0 takes any

	mu    sync.Mutex
	epoch int
	next  int64
	first int64 // what is before was removed
	kept  []letter
}

type letter struct {
	bridge.DeadLetter
	offset   int64
	workflow string
}

// lettersName is the one partition.
const lettersName = "letters/0"

// NewLetters makes an empty place that takes letters of up to max bytes, of any size if
// max is 0. The faults are asked before every put and tail; nil is none.
func NewLetters(max int, faults func(Op) Fault) *Letters {
	return &Letters{inj: newInjector(faults), max: max}
}

// SetFaults replaces the faults from now on.
func (l *Letters) SetFaults(fn func(Op) Fault) { l.inj.set(fn) }

// Open makes a new writer for a workflow, and the puts of every older one fail with
// bridge.ErrFenced.
func (l *Letters) Open(workflow string) *LetterWriter {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.epoch++
	l.next++
	return &LetterWriter{l, l.epoch, workflow}
}

// Remove drops all that is kept, as somebody does who has dealt with it.
func (l *Letters) Remove() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.first, l.kept = l.next, nil
}

// Lose drops all that is kept and the offsets with it, as a log does that is created anew.
func (l *Letters) Lose() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.first, l.next, l.kept = 0, 0, nil
}

// All returns every letter that was put, copies among them, in order.
func (l *Letters) All() []bridge.DeadLetter {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []bridge.DeadLetter
	for _, k := range l.kept {
		out = append(out, k.DeadLetter)
	}
	return out
}

// Read yields each letter of a workflow once, in order.
func (l *Letters) Read(workflow string) iter.Seq2[bridge.DeadLetter, error] {
	l.mu.Lock()
	kept := slices.Clone(l.kept)
	l.mu.Unlock()
	return func(yield func(bridge.DeadLetter, error) bool) {
		seen := map[bridge.Coordinate]bool{}
		for _, k := range kept {
			if k.workflow != workflow || seen[k.Origin] {
				continue
			}
			seen[k.Origin] = true
			if !yield(k.DeadLetter, nil) {
				return
			}
		}
	}
}

// A LetterWriter is a bridge.DeadLetters and a bridge.Recoverable.
type LetterWriter struct {
	l        *Letters
	epoch    int
	workflow string
}

var (
	_ bridge.DeadLetters = (*LetterWriter)(nil)
	_ bridge.Recoverable = (*LetterWriter)(nil)
)

// Put keeps the letters unless a newer writer was opened. All are kept, or none.
func (w *LetterWriter) Put(ctx context.Context, letters []bridge.DeadLetter) ([]bridge.Ack, error) {
	f, err := w.l.inj.begin(ctx, Op{Kind: OpLetterPut, Records: len(letters)})
	if err != nil {
		return nil, err
	}
	if f.Err != nil && !f.Took {
		return nil, f.Err
	}
	w.l.mu.Lock()
	defer w.l.mu.Unlock()
	if w.epoch != w.l.epoch {
		return nil, fmt.Errorf("keep dead letters with epoch %d of %d: %w", w.epoch, w.l.epoch, bridge.ErrFenced)
	}
	for i := range letters {
		r := bridge.Record{Key: letters[i].Key, Value: letters[i].Value, Headers: letters[i].Headers}
		if n := r.Size(); w.l.max > 0 && n > w.l.max {
			return nil, fmt.Errorf("dead letter of %d bytes, the place takes %d: %w", n, w.l.max, bridge.ErrOversize)
		}
	}
	acks := make([]bridge.Ack, len(letters))
	for i, d := range letters {
		acks[i] = bridge.Ack{Partition: lettersName, Position: bridge.OffsetPosition(w.l.next)}
		w.l.kept = append(w.l.kept, letter{own(d), w.l.next, w.workflow})
		w.l.next++
	}
	if f.Err != nil {
		return nil, f.Err
	}
	return acks, nil
}

// own is a copy that shares no memory.
func own(d bridge.DeadLetter) bridge.DeadLetter {
	d.Key, d.Value, d.Headers = bytes.Clone(d.Key), bytes.Clone(d.Value), slices.Clone(d.Headers)
	for i := range d.Headers {
		d.Headers[i].Value = bytes.Clone(d.Headers[i].Value)
	}
	return d
}

// Tail yields the workflow's letters behind from.
func (w *LetterWriter) Tail(ctx context.Context, from bridge.Floor) iter.Seq2[bridge.Placed, error] {
	return func(yield func(bridge.Placed, error) bool) {
		f, err := w.l.inj.begin(ctx, Op{Kind: OpLetterTail})
		if err == nil {
			err = f.Err
		}
		at, bad := from.Partitions[lettersName].Offset()
		if err == nil {
			err = bad
		}
		w.l.mu.Lock()
		kept, next := slices.Clone(w.l.kept), w.l.next
		w.l.mu.Unlock()
		if err == nil && at >= next {
			err = &bridge.GapError{Stream: "dead letters", Partition: lettersName, Before: bridge.OffsetPosition(at), Reason: "the place ends before what was acknowledged"}
		}
		if err != nil {
			yield(bridge.Placed{}, err)
			return
		}
		for _, k := range kept {
			if from.Clean || k.offset <= at || k.workflow != w.workflow {
				continue
			}
			if !yield(bridge.Placed{Partition: lettersName, Position: bridge.OffsetPosition(k.offset), Origin: k.Origin, Digest: bridge.ContentDigest(k.Key, k.Value, time.Time{})}, nil) {
				return
			}
		}
	}
}

// Digest is that of key and value.
func (w *LetterWriter) Digest(r *bridge.Record) uint64 {
	return bridge.ContentDigest(r.Key, r.Value, time.Time{})
}

// Close does nothing.
func (w *LetterWriter) Close() error { return nil }
