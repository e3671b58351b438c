// Package statetest holds what every state.Store must pass.
package statetest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/state"
)

// A Backend is where stores of workflows are kept during one test.
type Backend interface {
	// Open returns a store of the workflow, as another process would: it shares nothing
	// with earlier ones but what was stored.
	Open(t *testing.T, workflow string) state.Store
	// Overwrite puts raw bytes in the place of the workflow's record.
	Overwrite(t *testing.T, workflow string, raw []byte)
}

// Workflow is a record with every field set, for tests.
func Workflow(name string) state.Workflow {
	at := time.Date(2026, 1, 31, 12, 30, 15, 250e6, time.UTC)
	return state.Workflow{
		Name:      name,
		Direction: state.KinesisToKafka,
		Key:       bridge.WorkflowKey{1, 2, 3, 31: 32},
		Epoch:     1,
		Phase:     state.Created,
		Pinned: state.Pinned{
			Source:     bridge.Identity{Name: "kinesis:arn:aws:kinesis:us-east-1:123456789012:stream/orders", Incarnation: "1769862615000"},
			Target:     bridge.Identity{Name: "kafka:abc/orders", Incarnation: "PjIzoOFVQ0WVFzGfvlBPgA"},
			Keymap:     "murmur2",
			Partitions: 12,
			Tasks:      1,
			Format:     "raw",
			Start:      "latest",
			StartAt:    at,
			ConfigHash: "sha256:00",
		},
		Wanted:    state.Wanted{Mode: state.Running, RecordsPerSecond: 100, Reason: "night", At: at},
		Actual:    state.Actual{Doing: "backfill", Reason: "<start> & \u2028", At: at},
		Decisions: []state.Decision{{At: at, Kind: "created", By: "bridge (test)", Detail: "first start"}},
	}
}

// Run runs the suite. Each subtest gets a Backend of its own.
func Run(t *testing.T, backend func(t *testing.T) Backend) {
	for _, c := range []struct {
		name string
		run  func(t *testing.T, b Backend)
	}{
		{"nothing stored", testEmpty},
		{"round trip", testRoundTrip},
		{"stale version", testConflict},
		{"one winner", testOneWinner},
		{"no lost update", testNoLostUpdate},
		{"decisions only grow", testDecisions},
		{"other workflow", testForeign},
		{"damage", testDamage},
		{"newer", testNewer},
		{"lock", testLock},
		{"names apart", testNames},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, backend(t)) })
	}
}

func testEmpty(t *testing.T, b Backend) {
	w, version, err := b.Open(t, "orders").Load(t.Context())
	if err != nil || version != 0 || w.Name != "" {
		t.Errorf("Load = %+v, %d, %v; want the zero workflow, 0, nil", w, version, err)
	}
}

func testRoundTrip(t *testing.T, b Backend) {
	want := Workflow("orders")
	for i := range uint64(3) {
		want.Decisions = append(want.Decisions, state.Decision{At: want.Wanted.At, Kind: fmt.Sprint("step ", i)})
		swap(t, b.Open(t, "orders"), i, want)
		got := load(t, b.Open(t, "orders"), i+1)
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("version %d differs (-want +got):\n%s", i+1, d)
		}
	}
}

func testConflict(t *testing.T, b Backend) {
	s := b.Open(t, "orders")
	w := Workflow("orders")
	swap(t, s, 0, w)
	swap(t, s, 1, w)
	for _, old := range []uint64{0, 1, 3} {
		changed := w
		changed.Wanted.Reason = "must not be stored"
		if _, err := s.Swap(t.Context(), old, changed); !errors.Is(err, bridge.ErrConflict) {
			t.Errorf("Swap of version %d = %v, want ErrConflict", old, err)
		}
	}
	if d := cmp.Diff(w, load(t, s, 2)); d != "" {
		t.Errorf("a refused Swap changed the record:\n%s", d)
	}
}

// testOneWinner lets many writers swap the same version: exactly one may succeed.
func testOneWinner(t *testing.T, b Backend) {
	swap(t, b.Open(t, "orders"), 0, Workflow("orders"))
	const writers = 8
	errs := make([]error, writers)
	var wg sync.WaitGroup
	for i := range writers {
		s := b.Open(t, "orders")
		wg.Go(func() {
			w := Workflow("orders")
			w.Wanted.Reason = fmt.Sprint("writer ", i)
			_, errs[i] = s.Swap(t.Context(), 1, w)
		})
	}
	wg.Wait()
	winner := ""
	for i, err := range errs {
		switch {
		case err == nil && winner != "":
			t.Errorf("%s and writer %d both replaced version 1", winner, i)
		case err == nil:
			winner = fmt.Sprint("writer ", i)
		case !errors.Is(err, bridge.ErrConflict):
			t.Errorf("writer %d: %v, want ErrConflict", i, err)
		}
	}
	if got := load(t, b.Open(t, "orders"), 2).Wanted.Reason; got != winner {
		t.Errorf("stored is %q, the winner was %q", got, winner)
	}
}

// testNoLostUpdate lets writers add decisions, each loading again after a conflict.
func testNoLostUpdate(t *testing.T, b Backend) {
	swap(t, b.Open(t, "orders"), 0, Workflow("orders"))
	const writers, each = 4, 5
	var wg sync.WaitGroup
	for i := range writers {
		s := b.Open(t, "orders")
		wg.Go(func() {
			for n := range each {
				if err := add(t, s, fmt.Sprintf("%d/%d", i, n), writers*each); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	seen := map[string]int{}
	for _, d := range load(t, b.Open(t, "orders"), 1+writers*each).Decisions {
		seen[d.Kind]++
	}
	for i := range writers {
		for n := range each {
			if k := fmt.Sprintf("%d/%d", i, n); seen[k] != 1 {
				t.Errorf("decision %s is stored %d times, want once", k, seen[k])
			}
		}
	}
}

// add appends a decision; every conflict means that somebody else got one in, so that
// the number of tries is bounded by how many there are.
func add(t *testing.T, s state.Store, kind string, tries int) error {
	for range tries {
		w, version, err := s.Load(t.Context())
		if err != nil {
			return err
		}
		w.Decisions = append(w.Decisions, state.Decision{At: w.Wanted.At, Kind: kind})
		_, err = s.Swap(t.Context(), version, w)
		if !errors.Is(err, bridge.ErrConflict) {
			return err
		}
	}
	return fmt.Errorf("decision %s: still a conflict after %d tries", kind, tries)
}

func testDecisions(t *testing.T, b Backend) {
	s := b.Open(t, "orders")
	w := Workflow("orders")
	w.Decisions = append(w.Decisions, state.Decision{At: w.Wanted.At, Kind: "started"})
	swap(t, s, 0, w)
	for name, change := range map[string]func(*state.Workflow){
		"taken back": func(w *state.Workflow) { w.Decisions = w.Decisions[:1] },
		"changed":    func(w *state.Workflow) { w.Decisions = []state.Decision{w.Decisions[0], {Kind: "other"}} },
		"other key":  func(w *state.Workflow) { w.Key[0]++ },
		"epoch back": func(w *state.Workflow) { w.Epoch-- },
	} {
		next := w
		change(&next)
		if _, err := s.Swap(t.Context(), 1, next); !errors.Is(err, bridge.ErrState) {
			t.Errorf("%s: Swap = %v, want ErrState", name, err)
		}
	}
	if d := cmp.Diff(w, load(t, s, 1)); d != "" {
		t.Errorf("a refused Swap changed the record:\n%s", d)
	}
}

func testForeign(t *testing.T, b Backend) {
	s := b.Open(t, "orders")
	if _, err := s.Swap(t.Context(), 0, Workflow("payments")); !errors.Is(err, bridge.ErrState) {
		t.Errorf("Swap of another workflow's record = %v, want ErrState", err)
	}
	b.Overwrite(t, "orders", encode(t, Workflow("payments"), 1))
	refused(t, s, "payments")
}

// testDamage cuts a record short at every length and flips one bit of every byte.
func testDamage(t *testing.T, b Backend) {
	s := b.Open(t, "orders")
	whole := encode(t, Workflow("orders"), 7)
	b.Overwrite(t, "orders", whole)
	load(t, s, 7)
	step := max(1, len(whole)/64) // a store behind a network need not be asked for each byte
	for n := 0; n < len(whole); n += step {
		b.Overwrite(t, "orders", whole[:n])
		refused(t, s, "damaged")
	}
	b.Overwrite(t, "orders", whole[:len(whole)-1])
	refused(t, s, "damaged")
	for n := 0; n < len(whole); n += step {
		bad := append([]byte(nil), whole...)
		bad[n] ^= 0x04
		b.Overwrite(t, "orders", bad)
		refused(t, s, "")
	}
	// What cannot be read must not be written over either.
	b.Overwrite(t, "orders", whole[:len(whole)/2])
	for _, old := range []uint64{0, 7} {
		if _, err := s.Swap(t.Context(), old, Workflow("orders")); !errors.Is(err, bridge.ErrState) {
			t.Errorf("Swap over a damaged record = %v, want ErrState", err)
		}
	}
}

func testNewer(t *testing.T, b Backend) {
	s := b.Open(t, "orders")
	b.Overwrite(t, "orders", []byte(`{"bridge_state":2,"anything":"else"}`+"\n"))
	refused(t, s, "newer")
}

func testLock(t *testing.T, b Backend) {
	first, second := b.Open(t, "orders"), b.Open(t, "orders")
	release, err := first.Lock(t.Context())
	if err != nil {
		t.Fatalf("Lock: %v", err)
	}
	for _, s := range []state.Store{first, second} {
		if _, err := s.Lock(t.Context()); !errors.Is(err, bridge.ErrLocked) {
			t.Errorf("second Lock = %v, want ErrLocked", err)
		}
	}
	other, err := b.Open(t, "payments").Lock(t.Context())
	if err != nil {
		t.Errorf("Lock of another workflow: %v", err)
	} else if err := other(); err != nil {
		t.Errorf("release: %v", err)
	}
	swap(t, second, 0, Workflow("orders")) // needs no lock
	if err := release(); err != nil {
		t.Fatalf("release: %v", err)
	}
	again, err := second.Lock(t.Context())
	if err != nil {
		t.Fatalf("Lock after release: %v", err)
	}
	if err := again(); err != nil {
		t.Errorf("release: %v", err)
	}
}

func testNames(t *testing.T, b Backend) {
	names := []string{"a", "a.b", "a%2eb", "../a", "a/b", "a\x00b", ".", "..", "-", "é", "CON", string(make([]byte, 300))}
	for _, name := range names {
		swap(t, b.Open(t, name), 0, Workflow(name))
	}
	for _, name := range names {
		if got := load(t, b.Open(t, name), 1).Name; got != name {
			t.Errorf("store of %q holds %q", name, got)
		}
	}
}

func swap(t *testing.T, s state.Store, old uint64, w state.Workflow) {
	t.Helper()
	version, err := s.Swap(t.Context(), old, w)
	if err != nil || version != old+1 {
		t.Fatalf("Swap of version %d = %d, %v; want %d, nil", old, version, err, old+1)
	}
}

func load(t *testing.T, s state.Store, version uint64) state.Workflow {
	t.Helper()
	w, v, err := s.Load(t.Context())
	if err != nil || v != version {
		t.Fatalf("Load = version %d, %v; want %d, nil", v, err, version)
	}
	return w
}

func refused(t *testing.T, s state.Store, word string) {
	t.Helper()
	_, _, err := s.Load(t.Context())
	if !errors.Is(err, bridge.ErrState) || bridge.Hint(err) == "" {
		t.Fatalf("Load = %v with hint %q, want ErrState with a hint", err, bridge.Hint(err))
	}
	if !strings.Contains(err.Error(), word) {
		t.Fatalf("Load = %q, want it to say %q", err, word)
	}
}

func encode(t *testing.T, w state.Workflow, version uint64) []byte {
	t.Helper()
	b, err := state.Encode(w, version)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Reseal gives b, a changed form of what state.Encode wrote, a checksum that holds: what
// a program of another version, and no damage, could have written.
func Reseal(t *testing.T, b []byte) []byte {
	t.Helper()
	var f struct {
		Format   int             `json:"bridge_state"`
		Workflow string          `json:"workflow"`
		Version  uint64          `json:"version"`
		Record   json.RawMessage `json:"record"`
		Sum      string          `json:"sha256"`
	}
	if err := json.Unmarshal(b, &f); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "bridge state %d\n%q\n%d\n%s", f.Format, f.Workflow, f.Version, f.Record))
	f.Sum = hex.EncodeToString(sum[:])
	out, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	return append(out, '\n')
}
