package verify

import (
	"fmt"
	"testing"
)

// A shard that was split and merged again, time after time, has each ancestor once: the
// ways to them double with every round.
func TestLineOfManyReshards(t *testing.T) {
	r := &run{targetByID: map[string]*targetPart{}}
	add := func(id string, parents ...string) *targetPart {
		p := &targetPart{ID: id, Parents: parents}
		r.trace(p)
		return p
	}
	last := add("merged 0")
	const rounds = 60
	for n := range rounds {
		of := fmt.Sprint("merged ", n)
		left, right := add(fmt.Sprint("left ", n), of), add(fmt.Sprint("right ", n), of)
		last = add(fmt.Sprint("merged ", n+1), left.ID, right.ID)
	}
	if want := 3*rounds + 1; len(last.line) != want {
		t.Errorf("%d shards in the line, want %d", len(last.line), want)
	}
}
