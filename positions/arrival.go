package positions

import (
	"fmt"

	"github.com/kinesis-msk-bridge/bridge"
)

// A Sight is what the side that a consumer goes to holds behind the new position in one
// partition.
type Sight struct {
	// Held: every record behind the position is still there.
	Held bool
	// First is the oldest record behind the position that is still there; zero if there is
	// none, or it is not known.
	First bridge.Position
}

// Arrive returns a Problem of kind Expired for each line whose records are gone from the
// side that the consumer goes to. A partition without a Sight is not listed any more: its
// records are gone, unless the consumer has consumed all of them.
func Arrive(lines []Line, sights map[string]Sight) []Problem {
	var out []Problem
	for _, l := range lines {
		s, listed := sights[l.Partition]
		if !l.Known || l.Bound.All || listed && s.Held {
			continue
		}
		p := Problem{Kind: Expired, Partition: l.Partition, After: l.Bound.At, Through: s.First}
		from := "its beginning"
		switch {
		case !l.Bound.At.IsZero() && l.Bound.Done:
			from = "behind " + l.Bound.At.String()
		case !l.Bound.At.IsZero():
			from = l.Bound.At.String()
		}
		to := "up to its end"
		if !s.First.IsZero() {
			to = "before " + s.First.String()
		}
		what := "the partition is listed no more"
		if listed {
			what = "they have expired"
		}
		p.Text = fmt.Sprintf("partition %s: the records from %s %s may be gone from the side that the consumer goes to: %s", l.Partition, from, to, what)
		p.Hint = "let the consumer go on where it is; longer retention of the side that it goes to prevents this the next time"
		out = append(out, p)
	}
	return out
}
