package positions

import (
	"cmp"
	"fmt"
	"math/big"
	"slices"

	"github.com/kinesis-msk-bridge/bridge"
)

// Seeds are the leases that make a KCL application begin at the given bounds on a stream
// with these shards. Each shard that is listed gets one, so that the application finds
// nothing to guess. It returns a Problem, and no leases, if the shards that are not
// consumed to their end do not cover all hash keys, together with those that will come of
// them: an application that starts on such a table would leave the rest unread.
func Seeds(shards []bridge.Partition, bounds Frontier) ([]Lease, *Problem, error) {
	leases := make([]Lease, 0, len(shards))
	var open []bridge.Partition
	for _, s := range shards {
		l := Lease{Shard: s.ID, Parents: s.Parents, FirstHash: s.FirstHash, LastHash: s.LastHash}
		b := bounds[s.ID]
		if err := l.SetBound(b); err != nil {
			return nil, nil, err
		}
		if b.All && !s.Closed {
			return nil, nil, fmt.Errorf("shard %s is open and cannot be consumed to its end: %w", s.ID, bridge.ErrForeignPosition)
		}
		leases = append(leases, l)
		if !b.All {
			open = append(open, s)
		}
	}
	if gap := uncovered(open); gap != "" {
		return nil, &Problem{
			Kind: Uncovered,
			Text: "the shards to be seeded leave hash keys uncovered, from " + gap,
			Hint: "a reshard may be under way: plan again when the stream is ACTIVE and the mirror has listed its new shards",
		}, nil
	}
	return leases, nil, nil
}

// uncovered is the first hash key that is in none of the shards, empty if there is none.
// Parents and children overlap.
func uncovered(shards []bridge.Partition) string {
	type span struct{ first, last *big.Int }
	spans := make([]span, 0, len(shards))
	for _, s := range shards {
		first, ok1 := new(big.Int).SetString(s.FirstHash, 10)
		last, ok2 := new(big.Int).SetString(s.LastHash, 10)
		if ok1 && ok2 {
			spans = append(spans, span{first, last})
		}
	}
	slices.SortFunc(spans, func(a, b span) int { return cmp.Or(a.first.Cmp(b.first), a.last.Cmp(b.last)) })
	next, one := new(big.Int), big.NewInt(1)
	for _, s := range spans {
		if s.first.Cmp(next) > 0 {
			return next.String()
		}
		if s.last.Cmp(next) >= 0 {
			next.Add(s.last, one)
		}
	}
	if next.BitLen() <= 128 {
		return next.String()
	}
	return ""
}
