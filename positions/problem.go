package positions

import (
	"fmt"

	"github.com/kinesis-msk-bridge/bridge"
)

// A Kind says what sort of problem stands in the way of a translation.
type Kind string

// The kinds of problems.
const (
	// NoPosition: the consumer stores no position, as with LATEST and AT_TIMESTAMP.
	NoPosition Kind = "no-position"
	// NoLease: nothing says how far a shard was consumed.
	NoLease Kind = "no-lease"
	// Removed: records are gone from the target that the consumer may not have consumed.
	Removed Kind = "removed"
	// Compacted: the target drops superseded records.
	Compacted Kind = "compacted"
	// DeadLettered: records that the consumer has not consumed are dead letters.
	DeadLettered Kind = "dead-lettered"
	// MirrorBehind: the consumer is ahead of the mirror, so that what it consumed will
	// still be appended behind its new position.
	MirrorBehind Kind = "mirror-behind"
	// NoOffset: the group has committed nothing for a partition.
	NoOffset Kind = "no-offset"
	// Rewind: the consumer's position on the other side would go back.
	Rewind Kind = "rewind"
	// Uncovered: the shards to be seeded do not cover the hash range.
	Uncovered Kind = "uncovered"
	// Foreign: the position contradicts the partition as it is now.
	Foreign Kind = "foreign-position"
	// Undecided: the position is behind a transaction that is still open.
	Undecided Kind = "undecided"
	// OutOfRange: records that the consumer has not consumed are gone from the side that it
	// leaves.
	OutOfRange Kind = "offset-out-of-range"
	// Expired: records that the consumer has not consumed are gone from the side that it
	// goes to.
	Expired Kind = "expired"
	// BeforeStart: records that the consumer has not consumed are older than the workflow's
	// start, and the mirror does not carry them.
	BeforeStart Kind = "before-start"
)

// Gone reports whether the problem is that records are gone.
func (k Kind) Gone() bool { return k == Removed || k == OutOfRange || k == Expired }

// A Problem is one reason why a plan cannot be applied as it stands.
type Problem struct {
	Kind      Kind   `json:"kind"`
	Partition string `json:"partition,omitempty"`
	// Text is one sentence, without a full stop; Hint is a way out.
	Text string `json:"text"`
	Hint string `json:"hint"`
	// After and Through bound what is gone, for a Kind that is Gone. A zero Through is not
	// known.
	After   bridge.Position `json:"after,omitzero"`
	Through bridge.Position `json:"through,omitzero"`
}

func (p Problem) String() string { return p.Text }

func removed(partition string, after, through bridge.Position, what string) Problem {
	return Problem{
		Kind: Removed, Partition: partition, After: after, Through: through,
		Text: fmt.Sprintf("partition %s: the records behind %s up to %s are gone from the target, and %s", partition, after, through, what),
		Hint: "start the consumer at a time instead, after judging what it would miss; longer retention of the topic and of the workflow's index prevents this",
	}
}

func compacted(partition string) Problem {
	return Problem{
		Kind: Compacted, Partition: partition,
		Text: fmt.Sprintf("partition %s is compacted: records that the consumer has not consumed may have been removed", partition),
		Hint: "if the consumer needs the latest value of each key only, say --latest-value-only",
	}
}
