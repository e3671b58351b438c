package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/kinesis-msk-bridge/bridge/report"
	"github.com/kinesis-msk-bridge/bridge/verify"
)

func sumOf(n int64, digit string) verify.Sum {
	return verify.Sum{Count: n, Bytes: 10 * n, Sum: strings.Repeat(digit, 32)}
}

// What was read again is compared part by part, however it was cut into windows.
func TestWindowChanged(t *testing.T) {
	said := verify.Window{Partition: "0", Source: sumOf(10, "3"), Firsts: sumOf(10, "3"), Dropped: 2}
	for _, c := range []struct {
		name, want string
		change     func(halves []verify.Window)
	}{
		{"the same", "", func([]verify.Window) {}},
		{"a repeat came since", "", func(w []verify.Window) { w[0].Repeats = sumOf(1, "9") }},
		{"a record of the source is gone", "the source: the report says 10 records, there are 9", func(w []verify.Window) { w[0].Source.Count-- }},
		{"another source", "the source: 10 records as the report says, and they are not the same", func(w []verify.Window) { w[1].Source.Sum = strings.Repeat("7", 32) }},
		{"a copy is gone", "first occurrences on the target: the report says 10 records, there are 9", func(w []verify.Window) { w[1].Firsts.Count-- }},
		{"another length", "first occurrences on the target: 10 records as the report says, and they are not the same", func(w []verify.Window) { w[1].Firsts.Bytes++ }},
		{"a dead letter", "dead letters: the report says 0 records, there are 1", func(w []verify.Window) { w[1].DeadLetters = sumOf(1, "1") }},
		{"a drop", "the report says 2 declared drops, there are 3", func(w []verify.Window) { w[1].Dropped = 2 }},
	} {
		now := []verify.Window{
			{Partition: "0", Source: sumOf(4, "1"), Firsts: sumOf(4, "1"), Dropped: 1},
			{Partition: "0", Source: sumOf(6, "2"), Firsts: sumOf(6, "2"), Dropped: 1},
			{Partition: "1", Source: sumOf(6, "5"), Firsts: sumOf(6, "5")},
		}
		c.change(now)
		got, err := windowChanged(said, &verify.Result{Windows: now})
		if err != nil || got != c.want {
			t.Errorf("%s: %q, %v; want %q", c.name, got, err, c.want)
		}
	}
	if _, err := windowChanged(verify.Window{Source: verify.Sum{Sum: "x"}}, &verify.Result{}); err == nil {
		t.Error("a sum that is none: no error")
	}
}

// A seed chooses the same windows each time, as many as were asked for, at most one of a
// partition in a pass.
func TestRecheckChooses(t *testing.T) {
	r := &report.Report{}
	for i := range 200 {
		r.Windows = append(r.Windows, verify.Window{Partition: string(rune('a' + i%7)), Dropped: int64(i)})
	}
	all := func(seed uint64) (ids []int64) {
		k := recheck{report: r, percent: 12.2, seed: seed}
		passes, n := k.chosen()
		for _, pass := range passes {
			for id, w := range pass {
				if w.Partition != id {
					t.Fatalf("%s holds a window of %s", id, w.Partition)
				}
				ids = append(ids, w.Dropped)
			}
		}
		if n != 25 || len(ids) != n {
			t.Fatalf("%d windows of %d", len(ids), n)
		}
		slices.Sort(ids)
		return ids
	}
	if !slices.Equal(all(7), all(7)) || slices.Equal(all(7), all(8)) {
		t.Error("the seed does not choose")
	}
}
