package bridgetest_test

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"testing"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/bridgetest"
	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
)

// A sink is a bridge.Sink and a bridge.Recoverable with some of its ways changed.
type sink struct {
	bridge.Sink
	write func(context.Context, bridge.Sink, []bridge.Record) ([]bridge.Ack, error)
	floor func(*bridge.Floor)
	tail  func(iter.Seq2[bridge.Placed, error]) iter.Seq2[bridge.Placed, error]
	close func() error
}

func (s *sink) Write(ctx context.Context, recs []bridge.Record) ([]bridge.Ack, error) {
	if s.write == nil {
		return s.Sink.Write(ctx, recs)
	}
	return s.write(ctx, s.Sink, recs)
}

func (s *sink) Tail(ctx context.Context, from bridge.Floor) iter.Seq2[bridge.Placed, error] {
	if s.floor != nil {
		s.floor(&from)
	}
	seq := s.Sink.(bridge.Recoverable).Tail(ctx, from)
	if s.tail == nil {
		return seq
	}
	return s.tail(seq)
}

func (s *sink) Digest(r *bridge.Record) uint64 {
	return s.Sink.(bridge.Recoverable).Digest(r)
}

func (s *sink) Close() error {
	if s.close == nil {
		return s.Sink.Close()
	}
	return s.close()
}

// onRecords changes a copy of the records before they are written.
func onRecords(fn func(*bridge.Record)) func(context.Context, bridge.Sink, []bridge.Record) ([]bridge.Ack, error) {
	return func(ctx context.Context, k bridge.Sink, recs []bridge.Record) ([]bridge.Ack, error) {
		changed := append([]bridge.Record{}, recs...)
		for i := range changed {
			fn(&changed[i])
		}
		return k.Write(ctx, changed)
	}
}

func onAcks(fn func([]bridge.Ack)) func(context.Context, bridge.Sink, []bridge.Record) ([]bridge.Ack, error) {
	return func(ctx context.Context, k bridge.Sink, recs []bridge.Record) ([]bridge.Ack, error) {
		acks, err := k.Write(ctx, recs)
		fn(acks)
		return acks, err
	}
}

// oneByOne writes every record by itself, whatever became of the ones before it.
func oneByOne(ctx context.Context, k bridge.Sink, recs []bridge.Record) ([]bridge.Ack, error) {
	acks := make([]bridge.Ack, len(recs))
	for i := range recs {
		a, err := k.Write(ctx, recs[i:i+1])
		if err != nil {
			return nil, err
		}
		acks[i] = a[0]
	}
	return acks, nil
}

// writeTwice stores everything twice.
func writeTwice(ctx context.Context, k bridge.Sink, recs []bridge.Record) ([]bridge.Ack, error) {
	if _, err := k.Write(ctx, recs); err != nil {
		return nil, err
	}
	return k.Write(ctx, recs)
}

func onTail(fn func(n int, p bridge.Placed, err error, yield func(bridge.Placed, error) bool) bool) func(iter.Seq2[bridge.Placed, error]) iter.Seq2[bridge.Placed, error] {
	return func(seq iter.Seq2[bridge.Placed, error]) iter.Seq2[bridge.Placed, error] {
		return func(yield func(bridge.Placed, error) bool) {
			n := 0
			for p, err := range seq {
				n++
				if !fn(n, p, err, yield) {
					return
				}
			}
		}
	}
}

var (
	writes = []string{"write", "write order", "write many", "write lanes at once", "write keeps nothing", "write oversize", "fence"}
	tails  = []string{"tail", "tail behind a floor", "tail behind a whole floor", "tail of an older sink", "tail of producers",
		"tail of copies", "tail ends", "tail of a trimmed target"}
)

func TestBrokenSinks(t *testing.T) {
	for _, b := range []struct {
		name  string
		sink  sink
		fails []string
	}{
		{"writes twice", sink{write: writeTwice}, join(writes, tails, "origin")},
		{"lets records overtake a failed one", sink{write: oneByOne}, join(nil, nil, "write oversize")},
		{"drops headers", sink{write: onRecords(func(r *bridge.Record) { r.Headers = nil })}, writes},
		{"turns no value into an empty one", sink{write: onRecords(func(r *bridge.Record) {
			if r.Value == nil {
				r.Value = []byte{}
			}
		})}, join(nil, nil, "write", "write order", "write lanes at once", "write keeps nothing", "write oversize", "fence", "tail")},
		{"sets its own time", sink{write: onRecords(func(r *bridge.Record) { r.Time = time.Now().Truncate(time.Millisecond) })}, writes},
		{"changes what it is given", sink{write: func(ctx context.Context, k bridge.Sink, recs []bridge.Record) ([]bridge.Ack, error) {
			acks, err := k.Write(ctx, recs)
			for i := range recs {
				recs[i].Key = bytes.ToUpper(recs[i].Key)
			}
			return acks, err
		}}, join(writes, tails, "origin", "tail stops", "tail of a shorter target")},
		{"acknowledges what was refused", sink{write: onAcks(func(acks []bridge.Ack) {
			for i := range acks {
				acks[i].Err = nil
			}
		})}, join(nil, nil, "write oversize", "write bad partition")},
		{"mixes up positions", sink{write: onAcks(func(acks []bridge.Ack) {
			if n := len(acks); n > 1 {
				acks[0], acks[n-1] = acks[n-1], acks[0]
			}
		})}, join(writes, tails, "origin")},
		{"has no class for its errors", sink{write: onAcks(func(acks []bridge.Ack) {
			for i := range acks {
				if errors.Is(acks[i].Err, bridge.ErrOversize) {
					acks[i].Err = errors.New("too large")
				}
			}
		})}, join(nil, nil, "write oversize")},
		{"writes on when closed", sink{close: func() error { return nil }}, join(nil, nil, "close")},
		{"drops origins", sink{write: onRecords(func(r *bridge.Record) { r.Origin = bridge.Coordinate{} })}, join(nil, tails, "origin")},
		{"tail ignores the floor", sink{floor: func(f *bridge.Floor) { *f = bridge.Floor{} }},
			join(nil, nil, "tail behind a floor", "tail behind a whole floor", "tail of a trimmed target", "tail of a shorter target")},
		{"tail swallows a gap", sink{tail: onTail(func(_ int, p bridge.Placed, err error, yield func(bridge.Placed, error) bool) bool {
			return err == nil && yield(p, nil)
		})}, join(nil, nil, "tail stops", "tail of a trimmed target", "tail of a shorter target")},
		{"tail yields twice", sink{tail: onTail(func(_ int, p bridge.Placed, err error, yield func(bridge.Placed, error) bool) bool {
			return yield(p, err) && yield(p, err)
		})}, tails},
		{"tail leaves out the first", sink{tail: onTail(func(n int, p bridge.Placed, err error, yield func(bridge.Placed, error) bool) bool {
			return n == 1 && err == nil || yield(p, err)
		})}, tails},
		{"tail has the wrong partition", sink{tail: onTail(func(_ int, p bridge.Placed, err error, yield func(bridge.Placed, error) bool) bool {
			p.Partition = "7"
			return yield(p, err)
		})}, tails},
		{"tail does not tell what it found", sink{tail: onTail(func(_ int, p bridge.Placed, err error, yield func(bridge.Placed, error) bool) bool {
			p.Digest = 0
			return yield(p, err)
		})}, join(nil, nil, "tail")},
	} {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			h := sinkHarness(b.sink)
			h.Known = gaps(b.fails...)
			bridgetest.TestSink(t, h)
			bridgetest.TestRecoverable(t, h)
		})
	}
}

func join(a, b []string, c ...string) []string {
	return append(append(append([]string{}, a...), b...), c...)
}

func sinkHarness(broken sink) bridgetest.SinkHarness {
	return bridgetest.SinkHarness{
		Server: "broken", TooLarge: 1<<20 + 1, Fences: true,
		Carries: bridgetest.Carries{NullKeys: true, NullValues: true, Headers: true, Time: true, Origin: true},
		Origin:  bridge.Identity{Name: "kinesis:origin", Incarnation: "1"},
		New: func(testing.TB) bridgetest.SinkServer {
			s := newStream(memstream.Kafka)
			server := bridgetest.SinkServer{Source: s.Source, Put: putOne(s)}
			server.Open = func(context.Context) (bridge.Sink, error) {
				k := broken
				k.Sink = s.Sink(memstream.SinkConfig{Workflow: bridgetest.Workflow})
				return &k, nil
			}
			server.Trim = func(_ context.Context, p string, upTo bridge.Position) error { return s.Trim(p, upTo) }
			server.LoseTail = func(_ context.Context, p string, behind bridge.Position) error { return s.LoseTail(p, behind) }
			server.Copy = func(ctx context.Context, p string, at bridge.Position, value []byte) error {
				for _, st := range s.Snapshot()[p] {
					if st.Record.Position == at {
						if value != nil {
							st.Record.Value, st.Record.Foreign = value, true
						}
						_, err := s.PutCopy(ctx, st.Workflow, st.Record)
						return err
					}
				}
				return errors.New("nothing there")
			}
			return server
		},
	}
}

// Without a fence the older worker writes on, and nothing but the fence's test sees it.
func TestNoFence(t *testing.T) {
	h := sinkHarness(sink{})
	h.Known = gaps("fence")
	fenced := h.New
	h.New = func(t testing.TB) bridgetest.SinkServer {
		s := newStream(memstream.Kafka)
		server := fenced(t)
		server.Source, server.Put, server.Damage = s.Source, putOne(s), bridgetest.Damage{}
		server.Open = func(context.Context) (bridge.Sink, error) {
			return s.Sink(memstream.SinkConfig{Workflow: bridgetest.Workflow, NoFence: true}), nil
		}
		return server
	}
	bridgetest.TestSink(t, h)
}
