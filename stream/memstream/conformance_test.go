package memstream_test

import (
	"context"
	"fmt"
	"iter"
	"testing"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/bridgetest"
	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
)

var flavours = []struct {
	name    string
	flavour memstream.Flavour
	carries bridgetest.Carries // by a sink; a Kinesis producer has only key and value
}{
	{"kinesis", memstream.Kinesis, bridgetest.Carries{NullValues: true, Headers: true, Origin: true}},
	{"kafka", memstream.Kafka, bridgetest.Carries{NullKeys: true, NullValues: true, Headers: true, Time: true, Origin: true}},
}

// newStream makes a stream that is as unkind as usual, but loses no time.
func newStream(f memstream.Flavour, calm bool) *memstream.Stream {
	c := memstream.Config{Flavour: f, Partitions: 3, Page: 9, Wait: 2 * time.Millisecond, Calm: calm, Seed: 5}
	if rough := memstream.Rough(c.Seed); !calm {
		c.Faults = func(op memstream.Op) memstream.Fault {
			fault := rough(op)
			fault.Delay = 0
			return fault
		}
	}
	return memstream.New(c)
}

func byProducers(f memstream.Flavour, c bridgetest.Carries) bridgetest.Carries {
	if f == memstream.Kinesis {
		return bridgetest.Carries{}
	}
	return c
}

func putOne(s *memstream.Stream) func(context.Context, bridge.Record) (bridge.Ack, error) {
	return func(ctx context.Context, r bridge.Record) (bridge.Ack, error) {
		acks, err := s.Put(ctx, r)
		if err != nil {
			return bridge.Ack{}, err
		}
		return acks[0], acks[0].Err
	}
}

func TestSource(t *testing.T) {
	for _, f := range flavours {
		for name, calm := range map[string]bool{"": false, " calm": true} {
			t.Run(f.name+name, func(t *testing.T) {
				bridgetest.TestSource(t, bridgetest.SourceHarness{
					Server:  "memstream",
					Carries: byProducers(f.flavour, f.carries),
					New: func(t testing.TB) bridgetest.SourceServer {
						s := newStream(f.flavour, calm)
						server := bridgetest.SourceServer{
							Source: s.Source(bridgetest.Workflow),
							Put:    putOne(s),
						}
						server.Trim = func(_ context.Context, p string, upTo bridge.Position) error { return s.Trim(p, upTo) }
						if f.flavour == memstream.Kafka {
							server.Begin = func(ctx context.Context, id string, r bridge.Record) (bridge.Ack, func(bool) error, error) {
								txn := s.Begin(id)
								acks, err := txn.Put(ctx, r)
								if err != nil {
									return bridge.Ack{}, nil, err
								}
								return acks[0], txn.End, nil
							}
						}
						if f.flavour == memstream.Kinesis {
							server.Advance = s.Advance
							server.Split = func(_ context.Context, shard string) error {
								_, _, err := s.Split(shard)
								return err
							}
						}
						return server
					},
				})
			})
		}
	}
}

func damageOf(s *memstream.Stream) bridgetest.Damage {
	return bridgetest.Damage{
		Trim:     func(_ context.Context, p string, upTo bridge.Position) error { return s.Trim(p, upTo) },
		LoseTail: func(_ context.Context, p string, behind bridge.Position) error { return s.LoseTail(p, behind) },
		Copy: func(ctx context.Context, p string, at bridge.Position, value []byte) error {
			for _, st := range s.Snapshot()[p] {
				if st.Record.Position == at {
					return copyOne(ctx, s, st, value)
				}
			}
			return fmt.Errorf("nothing at %s %s", p, at)
		},
	}
}

func copyOne(ctx context.Context, s *memstream.Stream, st memstream.Stored, value []byte) error {
	rec := st.Record
	if value != nil {
		rec.Value, rec.Foreign = value, true
	}
	for {
		acks, err := s.PutCopy(ctx, st.Workflow, rec)
		if err != nil || acks[0].Err == nil || !bridge.Retryable(acks[0].Err) {
			return err
		}
	}
}

func sinkHarness(f memstream.Flavour, carries bridgetest.Carries, calm bool) bridgetest.SinkHarness {
	h := bridgetest.SinkHarness{
		Server:   "memstream",
		Carries:  carries,
		Origin:   bridge.Identity{Name: "kinesis:origin", Incarnation: "1"},
		TooLarge: 1<<20 + 1,
		Fences:   true,
		New: func(t testing.TB) bridgetest.SinkServer {
			s := newStream(f, calm)
			return bridgetest.SinkServer{
				Open: func(context.Context) (bridge.Sink, error) {
					return s.Sink(memstream.SinkConfig{Workflow: bridgetest.Workflow, PutTimeout: time.Millisecond}), nil
				},
				Source: s.Source,
				Put:    putOne(s),
				Damage: damageOf(s),
			}
		},
	}
	if f == memstream.Kinesis {
		h.Origin.Name = "kafka:origin/topic"
	}
	return h
}

func TestSinkAndTail(t *testing.T) {
	for _, f := range flavours {
		for name, calm := range map[string]bool{"": false, " calm": true} {
			t.Run(f.name+name, func(t *testing.T) {
				bridgetest.TestSink(t, sinkHarness(f.flavour, f.carries, calm))
				bridgetest.TestRecoverable(t, sinkHarness(f.flavour, f.carries, calm))
			})
		}
	}
}

func TestCheckpoints(t *testing.T) {
	bridgetest.TestCheckpointStore(t, bridgetest.CheckpointHarness{
		Server: "memstream",
		New: func(testing.TB) bridgetest.CheckpointPlace {
			c := memstream.NewCheckpoints(nil)
			return bridgetest.CheckpointPlace{
				Open:   func(context.Context) (bridge.CheckpointStore, error) { return c.Open(), nil },
				Damage: func(context.Context) error { c.Damage(); return nil },
			}
		},
	})
}

func TestLog(t *testing.T) {
	bridgetest.TestLedger(t, bridgetest.LedgerHarness{
		Server: "memstream",
		New: func(testing.TB) bridgetest.LedgerPlace {
			l := memstream.NewLog(nil)
			return bridgetest.LedgerPlace{
				Open: func(context.Context) (bridge.Ledger, error) { return l.Open(), nil },
				Trim: func(_ context.Context, upTo bridge.Position) error { l.Trim(upTo); return nil },
			}
		},
	})
}

func TestLetters(t *testing.T) {
	rough := func(op memstream.Op) memstream.Fault {
		if op.N%5 == 2 {
			return memstream.Fault{Err: bridge.ErrThrottled, Took: op.N%2 == 0 && op.Kind == memstream.OpLetterPut}
		}
		return memstream.Fault{}
	}
	bridgetest.TestDeadLetters(t, bridgetest.DeadLettersHarness{
		Server: "memstream", Fences: true, TooLarge: 1 << 20,
		New: func(testing.TB) bridgetest.LettersPlace {
			l := memstream.NewLetters(1<<20-1, rough)
			return bridgetest.LettersPlace{
				Open:   func(_ context.Context, wf string) (bridge.DeadLetters, error) { return l.Open(wf), nil },
				Read:   func(_ context.Context, wf string) iter.Seq2[bridge.DeadLetter, error] { return l.Read(wf) },
				Remove: func(context.Context) error { l.Remove(); return nil },
				Lose:   func(context.Context) error { l.Lose(); return nil },
			}
		},
	})
}
