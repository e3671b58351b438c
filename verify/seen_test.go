package verify

import (
	"math/rand/v2"
	"testing"

	"github.com/kinesis-msk-bridge/bridge"
)

// A bitmap agrees with a set, except where it says that it cannot tell.
func TestBitmapAgreesWithASet(t *testing.T) {
	for seed := range uint64(2) {
		rng := rand.New(rand.NewPCG(seed, 1))
		b, set, top, unsures := newBitmap(), map[int64]bool{}, int64(0), 0
		for i := range 200_000 {
			offset := top + rng.Int64N(200) - 100
			switch {
			case i%1000 == 0:
				offset = top - bitmapSize + rng.Int64N(200) - 100
			case i%50_000 == 25_000:
				offset = top + bitmapSize + rng.Int64N(10)
			}
			if offset = max(offset, 0); offset > top {
				top = offset
			}
			got := b.visit(offset)
			switch {
			case got == unsure:
				unsures++
				if offset > b.Max-bitmapSize {
					t.Fatalf("seed %d: %d is within the window of %d", seed, offset, b.Max)
				}
			case (got == again) != set[offset]:
				t.Fatalf("seed %d: offset %d below %d: %v, want again %t", seed, offset, b.Max, got, set[offset])
			}
			set[offset] = true
		}
		if unsures == 0 {
			t.Errorf("seed %d: nothing fell below the window", seed)
		}
	}
}

// A table of fixed size never misses a record that was overtaken by one of its key: it
// either names how far ahead, or says how far back it has forgotten.
func TestOrderTableMissesNothing(t *testing.T) {
	for _, keys := range []int{100, 10_000, 200_000} {
		few := keys <= 10_000
		rng := rand.New(rand.NewPCG(uint64(keys), 1))
		table, last := newOrderTable(1<<10), map[uint64]int64{}
		overtaken, alarms := 0, 0
		for offset := range int64(400_000) {
			key := rng.Uint64N(uint64(keys)) * 0x9e3779b97f4a7c15
			at := offset
			if offset%100 == 99 {
				at = offset - 90 // late
			}
			ahead := table.visit(key, uint16(key>>40), at)
			was, seen := last[key]
			late := seen && was >= at
			switch {
			case late && ahead < was:
				t.Fatalf("%d keys: offset %d of a key that was at %d: %d", keys, at, was, ahead)
			case late:
				overtaken++
			case ahead >= 0:
				alarms++
			}
			last[key] = max(was, at)
		}
		if overtaken == 0 && few {
			t.Errorf("%d keys: nothing was overtaken", keys)
		}
		if few && alarms > 0 {
			t.Errorf("%d keys: %d false suspicions, though all keys fit", keys, alarms)
		}
		t.Logf("%d keys: %d overtaken, %d suspected beside", keys, overtaken, alarms)
	}
}

// Folding halves the cells and keeps what differs.
func TestFold(t *testing.T) {
	w := newWindow(bridge.Position{})
	d := sum128([]byte("x"))
	w.Cells[w.index(700)].add(d, 5)
	for len(w.Cells) > 1 {
		w.fold()
		if !w.bad(700) {
			t.Fatalf("with %d cells nothing differs", len(w.Cells))
		}
	}
	w.Cells[w.index(700)].sub(d, 5)
	if w.bad(700) {
		t.Error("the one cell differs, and nothing does")
	}
}
