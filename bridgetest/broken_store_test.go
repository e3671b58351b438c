package bridgetest_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"testing"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/bridgetest"
	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
)

// A store is a bridge.CheckpointStore with some of its ways changed.
type store struct {
	bridge.CheckpointStore
	load func(*bridge.Checkpoint, *error)
	save func(context.Context, bridge.CheckpointStore, bridge.Checkpoint) error
}

func (s *store) Load(ctx context.Context) (bridge.Checkpoint, error) {
	c, err := s.CheckpointStore.Load(ctx)
	if s.load != nil {
		s.load(&c, &err)
	}
	return c, err
}

func (s *store) Save(ctx context.Context, c bridge.Checkpoint) error {
	if s.save != nil {
		return s.save(ctx, s.CheckpointStore, c)
	}
	return s.CheckpointStore.Save(ctx, c)
}

func onSave(fn func(*bridge.Checkpoint)) func(context.Context, bridge.CheckpointStore, bridge.Checkpoint) error {
	return func(ctx context.Context, s bridge.CheckpointStore, c bridge.Checkpoint) error {
		fn(&c)
		return s.Save(ctx, c)
	}
}

func TestBrokenStores(t *testing.T) {
	whole := []string{"round trip", "rows are merged", "forget", "checkpoint fence", "many saves", "save cancel"}
	for _, b := range []struct {
		name  string
		store func() store
		fails []string
	}{
		{"loads the rows that moved last alone", func() store {
			var last []bridge.Row
			return store{
				save: onSave(func(c *bridge.Checkpoint) { last = c.Rows }),
				load: func(c *bridge.Checkpoint, _ *error) { c.Rows = last },
			}
		}, []string{"round trip", "rows are merged", "forget", "many saves"}},
		{"forgets nothing", func() store {
			return store{save: onSave(func(c *bridge.Checkpoint) { c.Forget = nil })}
		}, []string{"forget", "many saves"}},
		{"keeps what is to be forgotten for the next load", func() store {
			return store{load: func(c *bridge.Checkpoint, _ *error) { c.Forget = []string{"x"} }}
		}, append([]string{"many rows"}, whole...)},
		{"loses the ends", func() store {
			return store{save: onSave(func(c *bridge.Checkpoint) {
				rows := append([]bridge.Row{}, c.Rows...)
				for i := range rows {
					rows[i].Ended = false
				}
				c.Rows = rows
			})}
		}, whole},
		{"cuts long positions", func() store {
			return store{save: onSave(func(c *bridge.Checkpoint) {
				rows := append([]bridge.Row{}, c.Rows...)
				for i := range rows {
					rows[i].Position.Seq = rows[i].Position.Seq[:min(38, len(rows[i].Position.Seq))]
				}
				c.Rows = rows
			})}
		}, []string{"round trip", "rows are merged", "forget", "checkpoint fence", "many rows", "save cancel"}},
		{"has a floor of its own", func() store {
			return store{save: onSave(func(c *bridge.Checkpoint) { c.Floor.Log = bridge.Position{} })}
		}, append([]string{"many rows"}, whole...)},
		{"is never clean", func() store {
			return store{save: onSave(func(c *bridge.Checkpoint) { c.Clean = false })}
		}, []string{"round trip", "rows are merged", "forget", "checkpoint fence", "many rows", "save cancel"}},
		{"saves nothing", func() store {
			return store{save: func(context.Context, bridge.CheckpointStore, bridge.Checkpoint) error { return nil }}
		}, append([]string{"many rows"}, whole...)},
		{"does not say that it is fenced", func() store {
			return store{save: func(ctx context.Context, s bridge.CheckpointStore, c bridge.Checkpoint) error {
				if err := s.Save(ctx, c); !errors.Is(err, bridge.ErrFenced) {
					return err
				}
				return nil
			}}
		}, []string{"checkpoint fence"}},
		{"loads what is damaged", func() store {
			return store{load: func(_ *bridge.Checkpoint, err *error) {
				if errors.Is(*err, bridge.ErrState) {
					*err = nil
				}
			}}
		}, []string{"damage"}},
		{"finds something in nothing", func() store {
			return store{load: func(c *bridge.Checkpoint, _ *error) {
				if c.At.IsZero() {
					c.Rows = []bridge.Row{{Partition: "0"}}
				}
			}}
		}, []string{"load nothing"}},
		{"loses a row after a thousand saves", func() store {
			n := 0
			return store{
				save: onSave(func(*bridge.Checkpoint) { n++ }),
				load: func(c *bridge.Checkpoint, _ *error) {
					if n > 1000 {
						c.Rows = c.Rows[1:]
					}
				},
			}
		}, []string{"many saves"}},
	} {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			bridgetest.TestCheckpointStore(t, bridgetest.CheckpointHarness{
				Server: "broken", Known: gaps(b.fails...),
				New: func(testing.TB) bridgetest.CheckpointPlace {
					c := memstream.NewCheckpoints(nil)
					broken := b.store()
					return bridgetest.CheckpointPlace{
						Open: func(context.Context) (bridge.CheckpointStore, error) {
							s := broken
							s.CheckpointStore = c.Open()
							return &s, nil
						},
						Damage: func(context.Context) error { c.Damage(); return nil },
					}
				},
			})
		})
	}
}

// A ledger is a bridge.Ledger with some of its ways changed.
type ledger struct {
	bridge.Ledger
	append func(context.Context, bridge.Ledger, bridge.LedgerEntry) (bridge.Position, error)
	read   func(context.Context, bridge.Ledger, bridge.Position) iter.Seq2[bridge.LedgerEntry, error]
}

func (l *ledger) Append(ctx context.Context, e bridge.LedgerEntry) (bridge.Position, error) {
	if l.append != nil {
		return l.append(ctx, l.Ledger, e)
	}
	return l.Ledger.Append(ctx, e)
}

func (l *ledger) Read(ctx context.Context, after bridge.Position) iter.Seq2[bridge.LedgerEntry, error] {
	if l.read != nil {
		return l.read(ctx, l.Ledger, after)
	}
	return l.Ledger.Read(ctx, after)
}

func onEntries(fn func(*bridge.LedgerEntry)) func(context.Context, bridge.Ledger, bridge.Position) iter.Seq2[bridge.LedgerEntry, error] {
	return func(ctx context.Context, l bridge.Ledger, after bridge.Position) iter.Seq2[bridge.LedgerEntry, error] {
		return func(yield func(bridge.LedgerEntry, error) bool) {
			for e, err := range l.Read(ctx, after) {
				fn(&e)
				if !yield(e, err) {
					return
				}
			}
		}
	}
}

func onAppend(fn func(*bridge.LedgerEntry)) func(context.Context, bridge.Ledger, bridge.LedgerEntry) (bridge.Position, error) {
	return func(ctx context.Context, l bridge.Ledger, e bridge.LedgerEntry) (bridge.Position, error) {
		fn(&e)
		return l.Append(ctx, e)
	}
}

func TestBrokenLedgers(t *testing.T) {
	most := []string{"append and read", "read behind a position", "append at once", "ledger fence", "ledger gap"}
	all := append([]string{"large entries"}, most...)
	for _, b := range []struct {
		name   string
		ledger ledger
		fails  []string
	}{
		{"does not say where entries are", ledger{read: onEntries(func(e *bridge.LedgerEntry) { e.At = bridge.Position{} })}, all},
		{"leaves out what was settled", ledger{append: onAppend(func(e *bridge.LedgerEntry) { e.Settled = nil })}, most},
		{"leaves out intents", ledger{append: onAppend(func(e *bridge.LedgerEntry) { e.Intents = nil })}, all},
		{"cuts keys", ledger{append: onAppend(func(e *bridge.LedgerEntry) {
			e.Intents = append([]bridge.Intent{}, e.Intents...)
			for i := range e.Intents {
				e.Intents[i].Key = e.Intents[i].Key[:min(100, len(e.Intents[i].Key))]
			}
		})}, all},
		{"rounds times to seconds", ledger{append: onAppend(func(e *bridge.LedgerEntry) {
			e.Intents = append([]bridge.Intent{}, e.Intents...)
			for i := range e.Intents {
				e.Intents[i].Time = e.Intents[i].Time.Truncate(1e9)
			}
		})}, all},
		{"reads from the beginning", ledger{read: func(ctx context.Context, l bridge.Ledger, _ bridge.Position) iter.Seq2[bridge.LedgerEntry, error] {
			return l.Read(ctx, bridge.Position{})
		}}, []string{"read behind a position", "ledger gap"}},
		{"stops at a gap in silence", ledger{read: func(ctx context.Context, l bridge.Ledger, after bridge.Position) iter.Seq2[bridge.LedgerEntry, error] {
			return func(yield func(bridge.LedgerEntry, error) bool) {
				for e, err := range l.Read(ctx, after) {
					if err != nil || !yield(e, nil) {
						return
					}
				}
			}
		}}, []string{"ledger gap"}},
		{"appends twice", ledger{append: func(ctx context.Context, l bridge.Ledger, e bridge.LedgerEntry) (bridge.Position, error) {
			if _, err := l.Append(ctx, e); err != nil {
				return bridge.Position{}, err
			}
			return l.Append(ctx, e)
		}}, append([]string{"read ends"}, all...)},
		{"acknowledges the wrong place", ledger{append: func(ctx context.Context, l bridge.Ledger, e bridge.LedgerEntry) (bridge.Position, error) {
			at, err := l.Append(ctx, e)
			if n, _ := at.Offset(); err == nil {
				at = bridge.OffsetPosition(n + 1)
			}
			return at, err
		}}, all},
		{"does not say that it is fenced", ledger{append: func(ctx context.Context, l bridge.Ledger, e bridge.LedgerEntry) (bridge.Position, error) {
			at, err := l.Append(ctx, e)
			if errors.Is(err, bridge.ErrFenced) {
				err = fmt.Errorf("append: %w", bridge.ErrRefused)
			}
			return at, err
		}}, []string{"ledger fence"}},
	} {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			bridgetest.TestLedger(t, bridgetest.LedgerHarness{
				Server: "broken", Known: gaps(b.fails...),
				New: func(testing.TB) bridgetest.LedgerPlace {
					log := memstream.NewLog(nil)
					return bridgetest.LedgerPlace{
						Open: func(context.Context) (bridge.Ledger, error) {
							l := b.ledger
							l.Ledger = log.Open()
							return &l, nil
						},
						Trim: func(_ context.Context, upTo bridge.Position) error { log.Trim(upTo); return nil },
					}
				},
			})
		})
	}
}
