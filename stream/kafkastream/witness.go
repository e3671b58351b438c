package kafkastream

import (
	"context"
	"fmt"
	"iter"

	"github.com/kinesis-msk-bridge/bridge"
)

// A LedgerReader reads the ledger of one task without taking the task over. It is safe for
// concurrent use.
type LedgerReader struct {
	client *Client
	topic  string
	task   int
	codec  ledgerCodec
}

// NewLedgerReader returns a reader of a task's ledger for records of one source.
func NewLedgerReader(c *Client, workflow string, task int, key bridge.WorkflowKey, source bridge.Identity) *LedgerReader {
	return &LedgerReader{client: c, topic: topicsOf(workflow).ledger, task: task, codec: ledgerCodec{
		tagger: bridge.NewTagger(key, "ledger"),
		source: bridge.SourceID(source),
		name:   source.String(),
	}}
}

// Read yields the entries behind after, up to the end of the log at the time of the call.
// It ends with a *GapError if the log does not reach back to after, or, from the zero
// Position, if its oldest entries are gone.
func (l *LedgerReader) Read(ctx context.Context, after bridge.Position) iter.Seq2[bridge.LedgerEntry, error] {
	return func(yield func(bridge.LedgerEntry, error) bool) {
		if err := l.read(ctx, after, yield); err != nil {
			yield(bridge.LedgerEntry{}, fmt.Errorf("read the ledger: %w", err))
		}
	}
}

func (l *LedgerReader) read(ctx context.Context, after bridge.Position, yield func(bridge.LedgerEntry, error) bool) error {
	from, err := after.Offset()
	if err != nil {
		return err
	}
	first, end, _, err := l.client.offsets(ctx, l.topic, int32(l.task))
	if err != nil {
		return err
	}
	next := from + 1
	if after.IsZero() {
		next = -1
		if first > 0 {
			return &bridge.GapError{Stream: "topic " + l.topic, Partition: fmt.Sprint(l.task), Before: bridge.OffsetPosition(first),
				Reason: "the ledger's oldest entries are gone"}
		}
	}
	for r, err := range l.client.scan(ctx, l.topic, int32(l.task), next, end, scanAll) {
		if err != nil {
			return err
		}
		e, err := l.codec.decode(r.Value)
		if err != nil {
			return fmt.Errorf("offset %d of %s: %w", r.Offset, l.topic, err)
		}
		e.At, e.Time = bridge.OffsetPosition(r.Offset), r.Time
		if !yield(e, nil) {
			return nil
		}
	}
	return nil
}
