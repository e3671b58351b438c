package memstream

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
)

// A Log is the durable place of one task's ledger. Its positions are offsets, of which
// each new writer takes one for its fence. It is safe for concurrent use.
type Log struct {
	inj *injector

	mu      sync.Mutex
	epoch   int
	next    int64
	trimmed bridge.Position
	entries []bridge.LedgerEntry
}

// NewLog makes an empty one. The faults are asked before every append and read; nil is
// none.
func NewLog(faults func(Op) Fault) *Log { return &Log{inj: newInjector(faults)} }

// SetFaults replaces the faults from now on.
func (l *Log) SetFaults(fn func(Op) Fault) { l.inj.set(fn) }

// Open makes a new writer, and the appends of every older one fail with bridge.ErrFenced.
func (l *Log) Open() *LedgerWriter {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.epoch++
	l.next++
	return &LedgerWriter{l, l.epoch}
}

// Trim drops the entries up to and including a position.
func (l *Log) Trim(upTo bridge.Position) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.entries) > 0 && !l.entries[0].At.After(upTo) {
		l.trimmed = l.entries[0].At
		l.entries = l.entries[1:]
	}
}

// Entries returns all that is kept, in order.
func (l *Log) Entries() []bridge.LedgerEntry {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.entries)
}

// A LedgerWriter is a bridge.Ledger.
type LedgerWriter struct {
	l     *Log
	epoch int
}

var _ bridge.Ledger = (*LedgerWriter)(nil)

// Append keeps an entry unless a newer writer was opened.
func (w *LedgerWriter) Append(ctx context.Context, e bridge.LedgerEntry) (bridge.Position, error) {
	f, err := w.l.inj.begin(ctx, Op{Kind: OpLedgerAppend, Records: len(e.Intents)})
	if err != nil {
		return bridge.Position{}, err
	}
	if f.Err != nil && !f.Took {
		return bridge.Position{}, f.Err
	}
	w.l.mu.Lock()
	defer w.l.mu.Unlock()
	if w.epoch != w.l.epoch {
		return bridge.Position{}, fmt.Errorf("append to the ledger with epoch %d of %d: %w", w.epoch, w.l.epoch, bridge.ErrFenced)
	}
	e.At, e.Time = bridge.OffsetPosition(w.l.next), time.Now()
	e.Settled, e.Intents = slices.Clone(e.Settled), slices.Clone(e.Intents)
	w.l.next++
	w.l.entries = append(w.l.entries, e)
	if f.Err != nil {
		return bridge.Position{}, f.Err
	}
	return e.At, nil
}

// Read yields what is behind a position at the time of the call.
func (w *LedgerWriter) Read(ctx context.Context, after bridge.Position) iter.Seq2[bridge.LedgerEntry, error] {
	return func(yield func(bridge.LedgerEntry, error) bool) {
		list, err := w.read(ctx, after)
		if err != nil {
			yield(bridge.LedgerEntry{}, err)
			return
		}
		for _, e := range list {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func (w *LedgerWriter) read(ctx context.Context, after bridge.Position) ([]bridge.LedgerEntry, error) {
	f, err := w.l.inj.begin(ctx, Op{Kind: OpLedgerRead})
	if err == nil {
		err = f.Err
	}
	if err != nil {
		return nil, err
	}
	w.l.mu.Lock()
	defer w.l.mu.Unlock()
	gap := &bridge.GapError{Stream: "ledger", After: after}
	switch {
	case w.l.trimmed.After(after):
		gap.Before = bridge.OffsetPosition(w.l.next)
		if len(w.l.entries) > 0 {
			gap.Before = w.l.entries[0].At
		}
		gap.Reason = "entries behind the position are no longer kept"
		return nil, gap
	case after.After(bridge.OffsetPosition(w.l.next - 1)):
		gap.After, gap.Before = bridge.OffsetPosition(w.l.next-1), after
		gap.Reason = "the ledger ends before the position"
		return nil, gap
	}
	i := 0
	for i < len(w.l.entries) && !w.l.entries[i].At.After(after) {
		i++
	}
	list := slices.Clone(w.l.entries[i:])
	for j := range list {
		list[j].Settled, list[j].Intents = slices.Clone(list[j].Settled), slices.Clone(list[j].Intents)
	}
	return list, nil
}
