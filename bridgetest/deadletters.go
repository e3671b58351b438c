package bridgetest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
)

// A DeadLettersHarness leads TestDeadLetters to a place of dead letters.
type DeadLettersHarness struct {
	Server string // whose gaps are in Known
	// New makes an empty place, for one test.
	New func(t testing.TB) LettersPlace
	// Fences says that a newer owner keeps the older ones from putting anything more.
	Fences bool
	// TooLarge is the size of a value that the place does not take, 0 if there is none.
	TooLarge int
	Known    []Gap
}

// A LettersPlace is one place of dead letters.
type LettersPlace struct {
	// Open is a new owner of the task, for a workflow. What it returns must also be a
	// bridge.Recoverable. The older owner is closed before if the place does not fence.
	Open func(ctx context.Context, workflow string) (bridge.DeadLetters, error)
	// Read yields the letters of a workflow as a person gets them, each coordinate once.
	Read func(ctx context.Context, workflow string) iter.Seq2[bridge.DeadLetter, error]
	// Remove drops all letters, as somebody does who has dealt with them; nil if the
	// harness cannot.
	Remove func(ctx context.Context) error
	// Lose drops them so that nothing shows that they were there; nil if it cannot.
	Lose func(ctx context.Context) error
	// Cut leaves half a letter behind, as a crash does that interrupts a put; nil if this
	// cannot be.
	Cut func(ctx context.Context) error
}

// TestDeadLetters runs every test of the contract of a bridge.DeadLetters.
func TestDeadLetters(t *testing.T, h DeadLettersHarness) {
	runParts(t, h.Server, h.Known, h.New, []part[LettersPlace]{
		{"nothing", testNoLetters},
		{"put and read", testLettersPutRead},
		{"put again", testLettersPutAgain},
		{"letters tail", testLettersTail},
		{"letters of others", testLettersOfOthers},
		{"put at once", testLettersAtOnce},
		{"letters removed", testLettersRemoved},
		{"letters lost", testLettersLost},
		{"letter cut", testLetterCut},
		{"letters closed", func(t *env, p LettersPlace) { testLettersFence(t, p, h.Fences) }},
		{"letter too large", func(t *env, p LettersPlace) { testLetterTooLarge(t, p, h.TooLarge) }},
	})
}

// letterSource is where the letters of the tests come from.
const letterSource = "kinesis:arn:aws:kinesis:us-east-1:123456789012:stream/origin@1769862615000"

// letterAt makes up the n-th letter of a source partition.
func letterAt(partition string, n int) bridge.DeadLetter {
	keys := [][]byte{[]byte("key"), nil, {}, {0xff, 0, 0xfe}, []byte("schlüssel\n")}
	values := [][]byte{[]byte("value"), {}, nil, {0, 0xff, '\n', '"'}}
	l := bridge.DeadLetter{
		Origin: bridge.Coordinate{Stream: letterSource, Partition: partition, Position: bridge.Position{Seq: fmt.Sprint("4967", 1000000+n), Sub: uint32(n % 3)}},
		Stream: "origin", Key: keys[n%len(keys)], Value: values[n%len(values)],
		Time:  time.UnixMilli(1764000000000 + int64(n)),
		Class: []string{bridge.ClassOversize, bridge.ClassUndecodable, bridge.ClassUnmappable}[n%3], Reason: fmt.Sprint("reason\t", n),
		At: time.UnixMilli(1764000009000 + int64(n)),
	}
	for i := range n % 4 {
		l.Headers = append(l.Headers, bridge.Header{Key: []string{"h", "h", "\xff\xfe"}[i], Value: values[(n+i)%len(values)]})
	}
	return l
}

func lettersOf(partition string, from, to int) (out []bridge.DeadLetter) {
	for n := from; n < to; n++ {
		out = append(out, letterAt(partition, n))
	}
	return out
}

func (p LettersPlace) open(t *env) bridge.DeadLetters {
	t.Helper()
	return p.openFor(t, Workflow)
}

func (p LettersPlace) openFor(t *env, workflow string) bridge.DeadLetters {
	t.Helper()
	return retry(t, "open the place", func() (bridge.DeadLetters, error) { return p.Open(t.ctx, workflow) })
}

func (t *env) putLetters(d bridge.DeadLetters, letters []bridge.DeadLetter) []bridge.Ack {
	t.Helper()
	acks := retry(t, "put", func() ([]bridge.Ack, error) { return d.Put(t.ctx, letters) })
	if len(acks) != len(letters) {
		t.Fatalf("%d letters were acknowledged %d times", len(letters), len(acks))
	}
	for i, a := range acks {
		if a.Err != nil || a.Partition == "" || a.Position.IsZero() {
			t.Fatalf("letter %d: %+v", i, a)
		}
	}
	return acks
}

func (t *env) readLetters(p LettersPlace, workflow string) map[bridge.Coordinate]bridge.DeadLetter {
	t.Helper()
	return retry(t, "read", func() (map[bridge.Coordinate]bridge.DeadLetter, error) {
		out := map[bridge.Coordinate]bridge.DeadLetter{}
		for l, err := range p.Read(t.ctx, workflow) {
			if err != nil {
				return nil, err
			}
			if _, twice := out[l.Origin]; twice {
				t.Errorf("%s is read twice", l.Origin)
			}
			out[l.Origin] = l
		}
		return out, nil
	})
}

// expectLetters fails unless what is read is exactly this.
func (t *env) expectLetters(p LettersPlace, workflow string, want []bridge.DeadLetter) {
	t.Helper()
	have := t.readLetters(p, workflow)
	if len(have) != len(want) {
		t.Errorf("%d letters are read, want %d", len(have), len(want))
	}
	for _, w := range want {
		h := have[w.Origin]
		if !h.Time.Equal(w.Time) || !h.At.Equal(w.At) {
			t.Errorf("%s: times %s and %s, want %s and %s", w.Origin, h.Time, h.At, w.Time, w.At)
		}
		h.Time, h.At = w.Time, w.At
		if !reflect.DeepEqual(h, w) {
			t.Errorf("%s is\n%#v, want\n%#v", w.Origin, h, w)
		}
	}
}

// lettersTail returns the digests of the letters that the tail yields.
func (t *env) lettersTail(d bridge.DeadLetters, from bridge.Floor) (map[bridge.Coordinate]uint64, error) {
	t.Helper()
	r, ok := d.(bridge.Recoverable)
	if !ok {
		t.Fatal("the place cannot be searched")
	}
	return try(t, func() (map[bridge.Coordinate]uint64, error) {
		found := map[bridge.Coordinate]uint64{}
		for p, err := range r.Tail(t.ctx, from) {
			if err != nil {
				return nil, err
			}
			if p.Partition == "" || p.Position.IsZero() {
				t.Fatalf("the tail yields %+v", p)
			}
			found[p.Origin] = p.Digest
		}
		return found, nil
	})
}

func (t *env) expectTail(d bridge.DeadLetters, from bridge.Floor, want ...bridge.DeadLetter) {
	t.Helper()
	found, err := t.lettersTail(d, from)
	t.fatal(err, "tail")
	for _, w := range want {
		digest, ok := found[w.Origin]
		if !ok {
			t.Errorf("the tail does not yield %s", w.Origin)
		}
		r := bridge.Record{Key: w.Key, Value: w.Value}
		if want := d.(bridge.Recoverable).Digest(&r); ok && digest != want {
			t.Errorf("the tail yields %s with digest %x, the letter has %x", w.Origin, digest, want)
		}
		if r.Value = append([]byte("another "), r.Value...); d.(bridge.Recoverable).Digest(&r) == digest {
			t.Errorf("another value has the digest of %s", w.Origin)
		}
		delete(found, w.Origin)
	}
	if len(found) > 0 {
		t.Errorf("the tail yields %v besides", found)
	}
}

func testNoLetters(t *env, p LettersPlace) {
	d := p.open(t)
	t.expectTail(d, bridge.Floor{})
	t.expectLetters(p, Workflow, nil)
	t.fatal(d.Close(), "close")
	t.expectTail(p.open(t), bridge.Floor{})
}

func testLettersPutRead(t *env, p LettersPlace) {
	d := p.open(t)
	want := lettersOf("shardId-000000000007", 0, 60)
	t.putLetters(d, want[:40])
	t.putLetters(d, want[40:41])
	t.putLetters(d, want[41:])
	t.expectLetters(p, Workflow, want)
	t.fatal(d.Close(), "close")
	t.expectLetters(p, Workflow, want)
}

// testLettersPutAgain: a restart may put the same ones again.
func testLettersPutAgain(t *env, p LettersPlace) {
	want := lettersOf("3", 0, 10)
	for range 2 {
		d := p.open(t)
		t.putLetters(d, want)
		t.putLetters(d, want[5:])
		t.fatal(d.Close(), "close")
	}
	t.expectLetters(p, Workflow, want)
}

func testLettersTail(t *env, p LettersPlace) {
	d := p.open(t)
	a, b := lettersOf("0", 0, 20), lettersOf("1", 0, 20)
	floor := bridge.Floor{Partitions: map[string]bridge.Position{}}
	for _, letters := range [][]bridge.DeadLetter{a[:10], b[:10]} {
		for _, ack := range t.putLetters(d, letters) {
			if ack.Position.After(floor.Partitions[ack.Partition]) {
				floor.Partitions[ack.Partition] = ack.Position
			}
		}
	}
	t.putLetters(d, a[10:])
	t.putLetters(d, b[10:])
	t.fatal(d.Close(), "close")
	d = p.open(t)
	t.expectTail(d, bridge.Floor{}, append(a[:20:20], b...)...)
	t.expectTail(d, floor, append(a[10:20:20], b[10:]...)...)
	floor.Clean = true
	t.expectTail(d, floor)
	// Another place that was named before says nothing of this one.
	t.expectTail(d, bridge.Floor{Partitions: map[string]bridge.Position{"elsewhere/0": bridge.OffsetPosition(1 << 40)}}, append(a[:20:20], b...)...)
}

func testLettersOfOthers(t *env, p LettersPlace) {
	other := p.openFor(t, "other")
	theirs := lettersOf("0", 0, 5)
	t.putLetters(other, theirs)
	t.fatal(other.Close(), "close")
	d := p.open(t)
	t.expectTail(d, bridge.Floor{})
	ours := lettersOf("0", 3, 9)
	t.putLetters(d, ours)
	t.expectTail(d, bridge.Floor{}, ours...)
	t.expectLetters(p, Workflow, ours)
	t.expectLetters(p, "other", theirs)
}

func testLettersAtOnce(t *env, p LettersPlace) {
	d := p.open(t)
	var want []bridge.DeadLetter
	var wg sync.WaitGroup
	for s := range 6 {
		letters := lettersOf(fmt.Sprint(s), 0, 20)
		want = append(want, letters...)
		wg.Go(func() {
			for i := 0; i < len(letters); i += 5 {
				if _, err := try(t, func() ([]bridge.Ack, error) { return d.Put(t.ctx, letters[i:i+5]) }); err != nil {
					t.Errorf("put: %v", err)
				}
			}
		})
	}
	wg.Wait()
	t.expectTail(d, bridge.Floor{}, want...)
	t.expectLetters(p, Workflow, want)
}

// putSome puts letters and returns the floor behind them.
func (t *env) putSome(d bridge.DeadLetters) bridge.Floor {
	t.Helper()
	floor := bridge.Floor{Partitions: map[string]bridge.Position{}}
	for _, ack := range t.putLetters(d, lettersOf("0", 0, 8)) {
		floor.Partitions[ack.Partition] = ack.Position
	}
	return floor
}

// testLettersRemoved: who has dealt with letters may remove them.
func testLettersRemoved(t *env, p LettersPlace) {
	if p.Remove == nil {
		return
	}
	d := p.open(t)
	floor := t.putSome(d)
	t.fatal(p.Remove(t.ctx), "remove")
	t.fatal(d.Close(), "close")
	d = p.open(t)
	more := lettersOf("0", 8, 10)
	t.expectTail(d, floor)
	t.putLetters(d, more)
	t.expectTail(d, floor, more...)
	t.expectTail(d, bridge.Floor{}, more...)
}

func testLettersLost(t *env, p LettersPlace) {
	if p.Lose == nil {
		return
	}
	d := p.open(t)
	floor := t.putSome(d)
	t.fatal(d.Close(), "close")
	t.fatal(p.Lose(t.ctx), "lose")
	found, err := t.lettersTail(p.open(t), floor)
	if !errors.Is(err, bridge.ErrGap) {
		t.Errorf("the place lost what it had acknowledged: %v and %v, want a gap", found, err)
	}
}

// testLetterCut: half a letter was never acknowledged, and what is put later is whole.
func testLetterCut(t *env, p LettersPlace) {
	if p.Cut == nil {
		return
	}
	d := p.open(t)
	t.putLetters(d, lettersOf("0", 0, 3))
	t.fatal(d.Close(), "close")
	t.fatal(p.Cut(t.ctx), "cut")
	t.expectLetters(p, Workflow, lettersOf("0", 0, 3))
	d = p.open(t)
	t.expectTail(d, bridge.Floor{}, lettersOf("0", 0, 3)...)
	t.putLetters(d, lettersOf("0", 3, 6))
	t.expectTail(d, bridge.Floor{}, lettersOf("0", 0, 6)...)
	t.expectLetters(p, Workflow, lettersOf("0", 0, 6))
}

// testLettersFence: whoever lost the task, or closed the place, puts nothing more.
func testLettersFence(t *env, p LettersPlace, fences bool) {
	old := p.open(t)
	t.putLetters(old, lettersOf("0", 0, 2))
	if !fences {
		t.fatal(old.Close(), "close")
	}
	young := p.open(t)
	for range 3 {
		_, err := old.Put(t.ctx, lettersOf("0", 90, 92))
		if err == nil || fences && !errors.Is(err, bridge.ErrFenced) {
			t.Fatalf("put by who lost the task: %v, want an error, and ErrFenced if the place fences", err)
		}
	}
	t.putLetters(young, lettersOf("0", 2, 4))
	t.expectTail(young, bridge.Floor{}, lettersOf("0", 0, 4)...)
	t.expectLetters(p, Workflow, lettersOf("0", 0, 4))
}

func testLetterTooLarge(t *env, p LettersPlace, size int) {
	d := p.open(t)
	l := letterAt("0", 1)
	if size == 0 {
		l.Value = make([]byte, 12<<20)
		t.putLetters(d, []bridge.DeadLetter{l})
		t.expectLetters(p, Workflow, []bridge.DeadLetter{l})
		return
	}
	l.Value = make([]byte, size)
	_, err := try(t, func() ([]bridge.Ack, error) { return d.Put(t.ctx, []bridge.DeadLetter{l}) })
	if !errors.Is(err, bridge.ErrOversize) {
		t.Errorf("a letter of %d bytes: %v, want ErrOversize", size, err)
	}
	t.putLetters(d, lettersOf("0", 3, 5))
	t.expectTail(d, bridge.Floor{}, lettersOf("0", 3, 5)...)
}
