package flights_test

import (
	"encoding/json"
	"testing"

	"github.com/kinesis-msk-bridge/bridge/internal/flights"
)

func TestJanuary(t *testing.T) {
	rows, noTail, keys := 0, 0, map[string]bool{}
	for r, err := range flights.January() {
		if err != nil {
			t.Fatal(err)
		}
		if rows++; r.N != rows {
			t.Fatalf("row %d has number %d", rows, r.N)
		}
		if r.Tail == flights.NoTail {
			noTail++
		}
		keys[r.Tail] = true
		var v struct {
			Row     int     `json:"row"`
			Month   int     `json:"month"`
			Tailnum *string `json:"tailnum"`
		}
		if err := json.Unmarshal(r.Value, &v); err != nil || v.Row != r.N || v.Month != 1 || (v.Tailnum == nil) != (r.Tail == flights.NoTail) {
			t.Fatalf("row %d is %s (%v)", r.N, r.Value, err)
		}
	}
	if rows != 27_004 || noTail != 155 || len(keys) != 3149 {
		t.Errorf("%d rows, %d without tail number, %d keys", rows, noTail, len(keys))
	}
}

func TestAllSaysWhatItReads(t *testing.T) {
	rows, from := flights.All()
	n := 0
	for _, err := range rows {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	t.Logf("%d rows from %s", n, from)
	if n != 27_004 && n != 336_776 {
		t.Errorf("%d rows", n)
	}
}
