package kafkastream

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
)

// Ledger keeps what was intended and what came of it in the workflow's ledger topic, one
// record an entry. It implements bridge.Ledger.
type Ledger struct {
	session *Session
	codec   ledgerCodec
}

var _ bridge.Ledger = (*Ledger)(nil)

// Ledger returns the task's ledger for records of one source.
func (s *Session) Ledger(source bridge.Identity) *Ledger {
	return &Ledger{session: s, codec: ledgerCodec{
		tagger: bridge.NewTagger(s.conf.Key, "ledger"),
		source: bridge.SourceID(source),
		name:   source.String(),
	}}
}

// Append returns when the entry is durable.
func (l *Ledger) Append(ctx context.Context, e bridge.LedgerEntry) (bridge.Position, error) {
	value, err := l.codec.encode(e)
	if err != nil {
		return bridge.Position{}, err
	}
	offset, err := l.session.appendTo(ctx, l.session.own.ledger, nil, value)
	if err != nil {
		return bridge.Position{}, fmt.Errorf("append to the ledger: %w", err)
	}
	return bridge.OffsetPosition(offset), nil
}

// Read yields the entries behind after.
func (l *Ledger) Read(ctx context.Context, after bridge.Position) iter.Seq2[bridge.LedgerEntry, error] {
	return func(yield func(bridge.LedgerEntry, error) bool) {
		if err := l.read(ctx, after, yield); err != nil {
			yield(bridge.LedgerEntry{}, fmt.Errorf("read the ledger: %w", err))
		}
	}
}

func (l *Ledger) read(ctx context.Context, after bridge.Position, yield func(bridge.LedgerEntry, error) bool) error {
	s := l.session
	from, err := after.Offset()
	if err != nil {
		return err
	}
	_, end, _, err := s.client.offsets(ctx, s.own.ledger, int32(s.conf.Task))
	if err != nil {
		return err
	}
	// From offset 0 on where after is zero: the log begins later only if entries are gone.
	for r, err := range s.client.scan(ctx, s.own.ledger, int32(s.conf.Task), from+1, end, scanAll) {
		if err != nil {
			return err
		}
		e, err := l.codec.decode(r.Value)
		if err != nil {
			return fmt.Errorf("offset %d of %s, written %s: %w", r.Offset, s.own.ledger, r.Time.Format(time.RFC3339), err)
		}
		e.At, e.Time = bridge.OffsetPosition(r.Offset), r.Time
		if !yield(e, nil) {
			return nil
		}
	}
	return nil
}
