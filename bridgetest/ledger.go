package bridgetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
)

// A LedgerHarness leads TestLedger to a ledger.
type LedgerHarness struct {
	Server string // whose gaps are in Known
	// New makes an empty place for the ledger of one task, for one test.
	New   func(t testing.TB) LedgerPlace
	Known []Gap
}

// A LedgerPlace is where the ledger of one task lies.
type LedgerPlace struct {
	// Open is a new worker of the task, which fences every older one.
	Open func(ctx context.Context) (bridge.Ledger, error)
	// Trim drops the entries up to and including a position; nil if the harness cannot.
	Trim func(ctx context.Context, upTo bridge.Position) error
}

// TestLedger runs every test of the contract of a bridge.Ledger.
func TestLedger(t *testing.T, h LedgerHarness) {
	runParts(t, h.Server, h.Known, h.New, []part[LedgerPlace]{
		{"read nothing", testReadNothing},
		{"append and read", testAppendRead},
		{"read behind a position", testReadBehind},
		{"large entries", testLargeEntries},
		{"append at once", testAppendAtOnce},
		{"ledger fence", testLedgerFence},
		{"read ends", testReadEnds},
		{"ledger gap", testLedgerGap},
	})
}

func (p LedgerPlace) open(t *env) bridge.Ledger {
	t.Helper()
	return retry(t, "open the ledger", func() (bridge.Ledger, error) { return p.Open(t.ctx) })
}

func (t *env) appendTo(l bridge.Ledger, e bridge.LedgerEntry) bridge.Position {
	t.Helper()
	return retry(t, "append", func() (bridge.Position, error) { return l.Append(t.ctx, e) })
}

func (t *env) readLedger(l bridge.Ledger, after bridge.Position) ([]bridge.LedgerEntry, error) {
	return try(t, func() ([]bridge.LedgerEntry, error) {
		var list []bridge.LedgerEntry
		for e, err := range l.Read(t.ctx, after) {
			if err != nil {
				return list, err
			}
			list = append(list, e)
		}
		return list, nil
	})
}

// entry makes up the n-th entry; some have no intents, some nothing settled.
func entry(n int) bridge.LedgerEntry {
	var e bridge.LedgerEntry
	for i := range n % 4 {
		e.Intents = append(e.Intents, bridge.Intent{
			Origin: bridge.Coordinate{Stream: "kafka:c/t@id", Partition: fmt.Sprint(i), Position: bridge.OffsetPosition(int64(n))},
			Key:    []string{"key", "", "schlüssel", "~b:n:0:1", strings.Repeat("k", 256)}[(n+i)%5],
			Time:   time.UnixMilli(1764000000000 + int64(n)),
			Digest: uint64(n) * 0x9e3779b97f4a7c15,
		})
	}
	for i := range (n + 2) % 3 {
		e.Settled = append(e.Settled, bridge.Settled{
			Entry: bridge.OffsetPosition(int64(n)), Index: i, Stored: i%2 == 0,
		})
		e.Settled[i].Doubt = i%2 == 1 && n%2 == 1
		if s := &e.Settled[i]; s.Stored {
			s.Partition = "shardId-000000000007"
			s.Position = bridge.Position{Seq: strings.Repeat("4", 56)}
		}
	}
	return e
}

// sameEntry compares all but At and Time.
func sameEntry(a, b bridge.LedgerEntry) bool {
	return slices.Equal(a.Settled, b.Settled) && slices.EqualFunc(a.Intents, b.Intents, func(x, y bridge.Intent) bool {
		same := x.Time.Equal(y.Time)
		x.Time = y.Time
		return same && x == y
	})
}

func (t *env) expectEntries(got []bridge.LedgerEntry, at []bridge.Position, first int) {
	t.Helper()
	if len(got) != len(at) {
		t.Fatalf("%d entries, want %d", len(got), len(at))
	}
	for i, e := range got {
		if e.At != at[i] {
			t.Errorf("entry %d is at %s, was appended at %s", i, e.At, at[i])
		}
		if want := entry(first + i); !sameEntry(e, want) {
			t.Errorf("entry %d: %+v, want %+v", i, e, want)
		}
	}
}

func (t *env) fill(l bridge.Ledger, first, n int) (at []bridge.Position) {
	t.Helper()
	for i := range n {
		e := entry(first + i)
		e.At = bridge.OffsetPosition(12345) // to be ignored
		p := t.appendTo(l, e)
		if p.IsZero() || len(at) > 0 && !p.After(at[len(at)-1]) {
			t.Fatalf("entry %d was appended at %s, behind %v", i, p, at)
		}
		at = append(at, p)
	}
	return at
}

func testReadNothing(t *env, p LedgerPlace) {
	for range 2 {
		list, err := t.readLedger(p.open(t), bridge.Position{})
		if err != nil || len(list) != 0 {
			t.Errorf("read from nothing: %v, %v", list, err)
		}
	}
}

func testAppendRead(t *env, p LedgerPlace) {
	l := p.open(t)
	at := t.fill(l, 0, 40)
	for _, l := range []bridge.Ledger{l, p.open(t)} {
		list, err := t.readLedger(l, bridge.Position{})
		t.fatal(err, "read")
		t.expectEntries(list, at, 0)
	}
}

func testReadBehind(t *env, p LedgerPlace) {
	at := t.fill(p.open(t), 0, 20)
	l := p.open(t) // whose fence may take a position
	at = append(at, t.fill(l, 20, 5)...)
	for k := range at {
		list, err := t.readLedger(l, at[k])
		t.fatal(err, "read")
		t.expectEntries(list, at[k+1:], k+1)
	}
}

// testLargeEntries: as many intents as a PutRecords call has records, with the longest
// keys.
func testLargeEntries(t *env, p LedgerPlace) {
	l := p.open(t)
	var e bridge.LedgerEntry
	for i := range 500 {
		e.Intents = append(e.Intents, bridge.Intent{
			Origin: bridge.Coordinate{Stream: "kafka:c/t@id", Partition: "3", Position: bridge.OffsetPosition(int64(i))},
			Key:    strings.Repeat("😀", 128), Time: time.UnixMilli(int64(i)), Digest: uint64(i),
		})
	}
	at := t.appendTo(l, e)
	list, err := t.readLedger(p.open(t), bridge.Position{})
	t.fatal(err, "read")
	if len(list) != 1 || list[0].At != at || !sameEntry(list[0], e) {
		t.Errorf("an entry of 500 intents came back as %d entries, or changed", len(list))
	}
}

// testAppendAtOnce: appends from several goroutines are all there, each where it was said
// to be.
func testAppendAtOnce(t *env, p LedgerPlace) {
	l := p.open(t)
	var mu sync.Mutex
	where := map[bridge.Position]int{}
	var wg sync.WaitGroup
	for w := range 6 {
		wg.Go(func() {
			for i := range 20 {
				at, err := try(t, func() (bridge.Position, error) { return l.Append(t.ctx, entry(w*20+i)) })
				if err != nil {
					t.Errorf("append: %v", err)
					return
				}
				mu.Lock()
				where[at] = w*20 + i
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	list, err := t.readLedger(l, bridge.Position{})
	t.fatal(err, "read")
	if len(list) != 120 || len(where) != 120 {
		t.Fatalf("%d entries at %d positions, want 120", len(list), len(where))
	}
	for _, e := range list {
		if !sameEntry(e, entry(where[e.At])) {
			t.Errorf("at %s stands another entry than the one appended there", e.At)
		}
	}
}

func testLedgerFence(t *env, p LedgerPlace) {
	old := p.open(t)
	at := t.fill(old, 0, 5)
	young := p.open(t)
	for range 3 {
		if _, err := old.Append(t.ctx, entry(99)); !errors.Is(err, bridge.ErrFenced) {
			t.Fatalf("append by a worker that lost the task: %v, want ErrFenced", err)
		}
	}
	at = append(at, t.fill(young, 5, 5)...)
	list, err := t.readLedger(young, bridge.Position{})
	t.fatal(err, "read")
	t.expectEntries(list, at, 0)
}

// testReadEnds: Read ends at what was there when it was called.
func testReadEnds(t *env, p LedgerPlace) {
	l := p.open(t)
	t.fill(l, 0, 10)
	n := 0
	for _, err := range l.Read(t.ctx, bridge.Position{}) {
		t.fatal(err, "read")
		if n++; n > 10 {
			t.Fatal("read yields what was appended while it ran")
		}
		t.appendTo(l, entry(n))
	}
	for _, err := range l.Read(t.ctx, bridge.Position{}) {
		t.fatal(err, "read")
		break
	}
}

func testLedgerGap(t *env, p LedgerPlace) {
	if p.Trim == nil {
		return
	}
	l := p.open(t)
	at := t.fill(l, 0, 20)
	t.fatal(p.Trim(t.ctx, at[9]), "trim")
	for _, k := range []int{2, 8} {
		if list, err := t.readLedger(l, at[k]); !errors.Is(err, bridge.ErrGap) {
			t.Errorf("read behind entry %d, when 10 are gone: %d entries and %v, want a gap", k, len(list), err)
		}
	}
	for _, after := range []bridge.Position{{}, at[2]} {
		_, err := t.readLedger(l, after)
		head, ok := bridge.LedgerHead(err, after)
		if !ok {
			t.Fatalf("read behind %s, when 10 entries are gone: %v does not say where the ledger begins", after, err)
		}
		list, err := t.readLedger(l, head)
		t.fatal(err, "read from where the ledger begins")
		t.expectEntries(list, at[10:], 10)
	}
	list, err := t.readLedger(l, at[9])
	t.fatal(err, "read behind the last that is gone")
	t.expectEntries(list, at[10:], 10)
}
