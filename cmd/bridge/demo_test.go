package main

import (
	"fmt"
	"slices"
	"testing"

	"github.com/kinesis-msk-bridge/bridge/internal/flights"
)

// What compares the demo's streams sees each kind of damage, and only that.
func TestJudge(t *testing.T) {
	var rows []flights.Row
	for i := range 12 {
		rows = append(rows, flights.Row{Tail: fmt.Sprint("N", i%3), Value: fmt.Appendf(nil, `{"row":%d,"x":1}`, i+1)})
	}
	for _, c := range []struct {
		name   string
		damage func(copy []flights.Row) []flights.Row
		want   comparison
	}{
		{"none", func(c []flights.Row) []flights.Row { return c }, comparison{Records: 12}},
		{"other keys overtake", func(c []flights.Row) []flights.Row { c[3], c[4] = c[4], c[3]; return c }, comparison{Records: 12}},
		{"lost", func(c []flights.Row) []flights.Row { return slices.Delete(c, 5, 7) }, comparison{Records: 10, Lost: 2}},
		{"changed", func(c []flights.Row) []flights.Row { c[5].Value = []byte(`{"row":6,"x":2}`); return c }, comparison{Records: 12, Changed: 1}},
		{"another key", func(c []flights.Row) []flights.Row { c[5].Tail = "N9"; return c }, comparison{Records: 12, Changed: 1}},
		{"no row", func(c []flights.Row) []flights.Row { c[5].Value = nil; return c }, comparison{Records: 12, Lost: 1, Changed: 1}},
		{"twice", func(c []flights.Row) []flights.Row { return append(c, c[2]) }, comparison{Records: 13, Duplicated: 1}},
		{"out of order", func(c []flights.Row) []flights.Row { c[2], c[5] = c[5], c[2]; return c }, comparison{Records: 12, Reordered: 1}},
	} {
		j := newJudge(rows)
		for _, r := range c.damage(slices.Clone(rows)) {
			j.take(r.Tail, r.Value)
		}
		if got := j.verdict(); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}
