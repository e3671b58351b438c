package bridgetest_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/bridgetest"
	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
)

// These tests break adapters on purpose. The suites must find each break, in exactly the
// tests that are named: a test that is listed as a known gap fails the run if it passes.

func gaps(tests ...string) []bridgetest.Gap {
	var list []bridgetest.Gap
	for _, test := range tests {
		list = append(list, bridgetest.Gap{Server: "broken", Test: test, Behaviour: "broken on purpose", Version: "test"})
	}
	return list
}

func newStream(f memstream.Flavour) *memstream.Stream {
	return memstream.New(memstream.Config{Flavour: f, Partitions: 2, Page: 10, Wait: time.Millisecond, Calm: true})
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

// A source is a bridge.Source with some of its ways changed.
type source struct {
	bridge.Source
	start func(context.Context, *bridge.Start) // changed before it is opened
	again func(error) bool                     // opens at the beginning instead
	batch func(*bridge.Batch)
	first bool // begins at the record that expires next
	skips bool // goes on at the oldest record where a reader comes upon a gap
}

func (s *source) Open(ctx context.Context, p string, from bridge.Start) (bridge.Reader, error) {
	if s.start != nil {
		s.start(ctx, &from)
	}
	r, err := s.Source.Open(ctx, p, from)
	if err != nil && s.again != nil && s.again(err) {
		r, err = s.Source.Open(ctx, p, bridge.Start{})
	}
	if err != nil || !s.skips {
		return &reader{r, s.batch, nil}, err
	}
	return &reader{r, s.batch, func() (bridge.Reader, error) { return s.Source.Open(ctx, p, bridge.Start{}) }}, nil
}

func (s *source) Begin(ctx context.Context, p string, at time.Time) (bridge.Position, time.Time, error) {
	if !s.first {
		return s.Source.Begin(ctx, p, at)
	}
	r, err := s.Source.Open(ctx, p, bridge.Start{At: at})
	if err != nil {
		return bridge.Position{}, time.Time{}, err
	}
	b, err := r.Read(ctx)
	if err != nil || len(b.Records) == 0 {
		return bridge.Position{}, b.Clock, err
	}
	return bridge.Position{Seq: b.Records[0].Position.Seq}, time.Time{}, nil
}

type reader struct {
	bridge.Reader
	batch func(*bridge.Batch)
	anew  func() (bridge.Reader, error) // nil: a gap is an error
}

func (r *reader) Read(ctx context.Context) (bridge.Batch, error) {
	b, err := r.Reader.Read(ctx)
	if errors.Is(err, bridge.ErrGap) && r.anew != nil {
		if r.Reader, err = r.anew(); err == nil {
			return r.Read(ctx)
		}
	}
	if err == nil && r.batch != nil {
		r.batch(&b)
	}
	return b, err
}

func each(fn func(*bridge.Record)) func(*bridge.Batch) {
	return func(b *bridge.Batch) {
		for i := range b.Records {
			fn(&b.Records[i])
		}
	}
}

func TestBrokenSources(t *testing.T) {
	for _, b := range []struct {
		name   string
		source source
		fails  []string
	}{
		{"works", source{}, nil},
		{"skips what expired", source{skips: true}, []string{"gap under way", "expired under way"}},
		{"does not know when records arrived", source{batch: each(func(r *bridge.Record) { r.Arrived = time.Time{} })}, []string{"arrival"}},
		{"goes by its own clock", source{batch: func(b *bridge.Batch) { b.Clock = time.Now() }}, []string{"arrival"}},
		{"begins again after a gap", source{again: func(err error) bool { return errors.Is(err, bridge.ErrGap) }},
			[]string{"gap", "beginning that is gone", "beginning that expired"}},
		{"takes any position", source{again: func(err error) bool { return errors.Is(err, bridge.ErrForeignPosition) }},
			[]string{"foreign position"}},
		{"resumes at the beginning", source{start: func(_ context.Context, s *bridge.Start) { s.After = bridge.Position{} }},
			[]string{"resume", "end", "foreign position", "gap", "beginning"}},
		{"does not know the tip", source{start: func(_ context.Context, s *bridge.Start) { s.Tip = time.Time{} }},
			[]string{"gap", "idle", "beginning that expired"}},
		{"forgets where it began", source{start: func(_ context.Context, s *bridge.Start) { s.First = bridge.Position{} }},
			[]string{"beginning that is gone"}},
		{"begins at the record that expires next", source{first: true}, []string{"beginning about to expire"}},
		{"ignores the time", source{start: func(_ context.Context, s *bridge.Start) { s.At = time.Time{} }},
			[]string{"at"}},
		{"sees through nothing", source{batch: func(b *bridge.Batch) { b.Through = bridge.Position{} }},
			[]string{"order", "resume", "at", "tip", "end", "batch", "cancel", "gap", "gap under way", "idle", "arrival", "expired under way", "pause", "beginning", "beginning that is gone", "beginning that expired", "beginning about to expire"}},
		{"turns records round", source{batch: func(b *bridge.Batch) { slices.Reverse(b.Records) }},
			[]string{"order", "resume", "at", "tip", "end", "batch", "cancel", "readers", "gap", "gap under way", "idle", "arrival", "expired under way", "pause", "beginning", "beginning that is gone", "beginning that expired", "beginning about to expire"}},
		{"replaces a record by its successor", source{batch: func(b *bridge.Batch) {
			if len(b.Records) == 10 {
				b.Records[8] = b.Records[9]
			}
		}}, []string{"order", "resume", "at", "end", "batch", "readers", "gap", "gap under way", "expired under way", "beginning", "beginning that is gone", "beginning about to expire"}},
		{"times are not milliseconds", source{batch: each(func(r *bridge.Record) { r.Time = r.Time.Add(time.Microsecond) })},
			[]string{"order", "resume", "at", "tip", "end", "batch", "cancel", "gap", "gap under way", "idle", "arrival", "expired under way", "pause", "beginning", "beginning that is gone", "beginning that expired", "beginning about to expire"}},
		{"does not say when it asked", source{batch: func(b *bridge.Batch) { b.Asked = time.Time{} }},
			[]string{"order", "resume", "at", "tip", "end", "batch", "cancel", "gap", "gap under way", "idle", "arrival", "expired under way", "pause", "beginning", "beginning that is gone", "beginning that expired", "beginning about to expire"}},
		{"changes values", source{batch: each(func(r *bridge.Record) { r.Value = append(r.Value[:len(r.Value):len(r.Value)], '\n') })},
			[]string{"order", "resume", "at", "tip", "end", "batch", "cancel", "gap", "idle", "pause", "beginning", "beginning that is gone", "beginning that expired", "beginning about to expire"}},
		{"nil is empty", source{batch: each(func(r *bridge.Record) {
			if len(r.Value) == 0 {
				r.Value = nil
			}
		})}, []string{"order", "resume", "at", "tip", "end", "batch", "gap", "idle", "pause", "beginning", "beginning that is gone", "beginning that expired", "beginning about to expire"}},
		{"says every record is its own", source{batch: each(func(r *bridge.Record) { r.Origin.Stream = "kafka:x@1" })},
			[]string{"order"}},
	} {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			bridgetest.TestSource(t, bridgetest.SourceHarness{
				Server: "broken", Known: gaps(b.fails...),
				New: func(testing.TB) bridgetest.SourceServer {
					s := newStream(memstream.Kinesis)
					broken := b.source
					broken.Source = s.Source(bridgetest.Workflow)
					server := bridgetest.SourceServer{Source: &broken, Put: putOne(s), Advance: s.Advance}
					server.Split = func(_ context.Context, shard string) error { _, _, err := s.Split(shard); return err }
					server.Trim = func(_ context.Context, p string, upTo bridge.Position) error { return s.Trim(p, upTo) }
					return server
				},
			})
		})
	}
}

// A gap that is closed is struck out, or the run fails.
func TestClosedGap(t *testing.T) {
	harness := bridgetest.LedgerHarness{
		Server: "broken", Known: gaps("read nothing"),
		New: func(testing.TB) bridgetest.LedgerPlace {
			l := memstream.NewLog(nil)
			return bridgetest.LedgerPlace{Open: func(context.Context) (bridge.Ledger, error) { return l.Open(), nil }}
		},
	}
	if os.Getenv("BRIDGETEST_CLOSED_GAP") != "" {
		bridgetest.TestLedger(t, harness)
		return
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestClosedGap$")
	cmd.Env = append(os.Environ(), "BRIDGETEST_CLOSED_GAP=1")
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "known gap of broken test is closed") {
		t.Errorf("a closed gap: %v\n%s", err, out)
	}
}
