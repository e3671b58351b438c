package bridgetest_test

import (
	"context"
	"errors"
	"iter"
	"testing"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/bridgetest"
	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
)

// A grave is a place of dead letters with some of its ways changed.
type grave struct {
	*memstream.LetterWriter
	put   func(ctx context.Context, w *memstream.LetterWriter, letters []bridge.DeadLetter) ([]bridge.Ack, error)
	floor func(*bridge.Floor)
	found func(*bridge.Placed) bool // false leaves it out
	calm  func(error) bool          // errors of a tail that are kept to itself
}

func (g *grave) Put(ctx context.Context, letters []bridge.DeadLetter) ([]bridge.Ack, error) {
	if g.put != nil {
		return g.put(ctx, g.LetterWriter, letters)
	}
	return g.LetterWriter.Put(ctx, letters)
}

func (g *grave) Tail(ctx context.Context, from bridge.Floor) iter.Seq2[bridge.Placed, error] {
	if g.floor != nil {
		g.floor(&from)
	}
	return func(yield func(bridge.Placed, error) bool) {
		for p, err := range g.LetterWriter.Tail(ctx, from) {
			if err != nil && g.calm != nil && g.calm(err) || err == nil && g.found != nil && !g.found(&p) {
				continue
			}
			if !yield(p, err) {
				return
			}
		}
	}
}

// changed puts letters of which something is changed.
func changed(fn func(*bridge.DeadLetter)) func(context.Context, *memstream.LetterWriter, []bridge.DeadLetter) ([]bridge.Ack, error) {
	return func(ctx context.Context, w *memstream.LetterWriter, letters []bridge.DeadLetter) ([]bridge.Ack, error) {
		letters = append([]bridge.DeadLetter{}, letters...)
		for i := range letters {
			fn(&letters[i])
		}
		return w.Put(ctx, letters)
	}
}

func TestBrokenLetters(t *testing.T) {
	read := []string{"put and read", "put again", "letters of others", "put at once", "letters closed"}
	for _, b := range []struct {
		name  string
		grave grave
		fails []string
	}{
		{"acknowledges before anything is kept", grave{put: func(_ context.Context, _ *memstream.LetterWriter, letters []bridge.DeadLetter) ([]bridge.Ack, error) {
			acks := make([]bridge.Ack, len(letters))
			for i := range acks {
				acks[i] = bridge.Ack{Partition: "letters/0", Position: bridge.OffsetPosition(int64(i) + 1)}
			}
			return acks, nil
		}}, append([]string{"letters tail", "letters removed", "letter too large"}, read...)},
		{"keeps an empty value for none", grave{put: changed(func(l *bridge.DeadLetter) { l.Value = append([]byte{}, l.Value...) })}, append([]string{"letters tail"}, read...)},
		{"keeps no key for an empty one", grave{put: changed(func(l *bridge.DeadLetter) {
			if len(l.Key) == 0 {
				l.Key = nil
			}
		})}, append([]string{"letters tail"}, read...)},
		{"does not tell what it found", grave{found: func(p *bridge.Placed) bool { p.Digest = 0; return true }}, []string{"letters tail", "letters of others", "put at once", "letters removed", "letters closed", "letter too large"}},
		{"drops headers", grave{put: changed(func(l *bridge.DeadLetter) { l.Headers = nil })}, read},
		{"forgets the time of the record", grave{put: changed(func(l *bridge.DeadLetter) { l.Time = l.At })}, read},
		{"forgets why", grave{put: changed(func(l *bridge.DeadLetter) { l.Reason = "" })}, read},
		{"forgets sub-sequence numbers", grave{put: changed(func(l *bridge.DeadLetter) { l.Origin.Position.Sub = 0 })},
			append([]string{"letters tail", "letters removed", "letter too large"}, read...)},
		{"does not say where letters are", grave{put: func(ctx context.Context, w *memstream.LetterWriter, letters []bridge.DeadLetter) ([]bridge.Ack, error) {
			acks, err := w.Put(ctx, letters)
			return make([]bridge.Ack, len(acks)), err
		}}, []string{"put and read", "put again", "letters tail", "letters of others", "letters removed", "letters lost", "letters closed", "letter too large"}},
		{"takes what is too large", grave{put: changed(func(l *bridge.DeadLetter) { l.Value = l.Value[:min(len(l.Value), 1000)] })}, []string{"letter too large"}},
		{"does not say that it is fenced", grave{put: func(ctx context.Context, w *memstream.LetterWriter, letters []bridge.DeadLetter) ([]bridge.Ack, error) {
			acks, err := w.Put(ctx, letters)
			if errors.Is(err, bridge.ErrFenced) {
				err = bridge.ErrRefused
			}
			return acks, err
		}}, []string{"letters closed"}},
		{"looks from the beginning", grave{floor: func(f *bridge.Floor) { f.Partitions = nil }}, []string{"letters tail", "letters lost"}},
		{"looks when nothing can be there", grave{floor: func(f *bridge.Floor) { f.Clean = false }}, []string{"letters tail"}},
		{"never looks", grave{floor: func(f *bridge.Floor) { f.Clean = true }},
			[]string{"letters tail", "letters of others", "put at once", "letters removed", "letters closed", "letter too large"}},
		{"overlooks one", grave{found: func(p *bridge.Placed) bool { return p.Origin.Position.Seq != "49671000004" }},
			[]string{"letters tail", "letters of others", "put at once", "letter too large"}},
		{"is at peace with what is lost", grave{calm: func(err error) bool { return errors.Is(err, bridge.ErrGap) }}, []string{"letters lost"}},
	} {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			bridgetest.TestDeadLetters(t, bridgetest.DeadLettersHarness{
				Server: "broken", Known: gaps(b.fails...), Fences: true, TooLarge: 1 << 20,
				New: func(testing.TB) bridgetest.LettersPlace {
					l := memstream.NewLetters(1<<20-1, nil)
					return bridgetest.LettersPlace{
						Open: func(_ context.Context, wf string) (bridge.DeadLetters, error) {
							g := b.grave
							g.LetterWriter = l.Open(wf)
							return &g, nil
						},
						Read:   func(_ context.Context, wf string) iter.Seq2[bridge.DeadLetter, error] { return l.Read(wf) },
						Remove: func(context.Context) error { l.Remove(); return nil },
						Lose:   func(context.Context) error { l.Lose(); return nil },
					}
				},
			})
		})
	}
}
