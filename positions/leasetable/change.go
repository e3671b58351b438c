package leasetable

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/feature/dynamodb/attributevalue"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/positions"
)

// A Change is one item to be written: what is there, and what is to be there. A nil Before
// is an item to be added.
type Change struct {
	Key    string `json:"key"`
	Before Raw    `json:"before"`
	After  Raw    `json:"after"`
}

// A Changes is all that is to be written to one table, and can be taken back.
type Changes struct {
	Table   string  `json:"table"`
	Dialect Dialect `json:"dialect"`
	// Create: there is no table.
	Create bool     `json:"create,omitempty"`
	Items  []Change `json:"items"`
	// Want are all leases that the table is to hold, also those that it holds already.
	Want []positions.Lease `json:"want"`
}

// Changes says what must be written so that the table as it was in s holds the given
// leases. Leases of other shards stay as they are. Those that a worker would take come
// first: one that starts in the middle of Apply is met before anything was written. It
// wraps ErrForeignPosition if the dialect cannot express a position.
func (t *Table) Changes(s *Snapshot, want []positions.Lease) (Changes, error) {
	c := Changes{Table: t.name, Dialect: t.dialect, Create: !s.Exists, Want: want}
	have := map[string]Item{}
	for _, it := range s.Items {
		have[it.Shard] = it
	}
	for _, l := range want {
		it, ok := have[l.Shard]
		if ok && it.Checkpoint == l.Checkpoint && it.Sub == l.Sub {
			continue
		}
		change, err := t.change(s, it, ok, l)
		if err != nil {
			return c, err
		}
		c.Items = append(c.Items, change)
	}
	taken := func(ch Change) int {
		if it := have[ch.Key[strings.LastIndexByte(ch.Key, ':')+1:]]; ch.Before != nil && it.Checkpoint != positions.ShardEnd {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(c.Items, func(a, b Change) int { return taken(a) - taken(b) })
	return c, nil
}

func (t *Table) change(s *Snapshot, it Item, exists bool, l positions.Lease) (Change, error) {
	if t.dialect == VMwareGoKCL {
		return changeVMware(it, exists, l)
	}
	if exists {
		return changeKCL(it, l)
	}
	row := newRow{
		LeaseKey: l.Shard, Checkpoint: l.Checkpoint, Sub: l.Sub,
		Parents: l.Parents, FirstHash: l.FirstHash, LastHash: l.LastHash,
	}
	if s.SingleTable {
		row.EntityType = entityLease
	}
	if s.Multi {
		row.Stream, row.ShardID = t.stream.prefix(), l.Shard
		row.LeaseKey = row.Stream + ":" + l.Shard
	}
	raw, err := attributevalue.MarshalMap(row)
	return Change{Key: row.LeaseKey, After: raw}, err
}

// changeKCL gives a lease another checkpoint, as nobody's: its counter moves on by two, so
// that a worker that wakes up with the old one finds that it lost it. What was pending
// belongs to the old position.
func changeKCL(it Item, l positions.Lease) (Change, error) {
	counter, err := strconv.ParseInt(it.beat, 10, 64)
	if err != nil {
		return Change{}, fmt.Errorf("lease %s: counter %q: %w", it.Key, it.beat, bridge.ErrState)
	}
	after := maps.Clone(it.raw)
	for _, name := range []string{"leaseOwner", "checkpointOwner", "pendingCheckpoint", "pendingCheckpointSubSequenceNumber", "pendingCheckpointState"} {
		delete(after, name)
	}
	if l.Checkpoint != positions.ShardEnd {
		delete(after, "childShardIds")
	}
	after["leaseCounter"] = number(counter + 2)
	after["checkpoint"] = text(l.Checkpoint)
	after["checkpointSubSequenceNumber"] = number(l.Sub)
	return Change{Key: it.Key, Before: it.raw, After: after}, nil
}

// changeVMware writes what that library understands: the last record that was consumed as
// a whole. It has no word for the beginning of a shard: without a checkpoint it begins where
// the application's configuration says.
func changeVMware(it Item, exists bool, l positions.Lease) (Change, error) {
	isNumber := l.Checkpoint != positions.TrimHorizon && l.Checkpoint != positions.ShardEnd
	if isNumber && l.Sub < 0 {
		return Change{}, bridge.WithHint(
			fmt.Errorf("shard %s: vmware-go-kcl cannot be told to begin at record %s, only behind one: %w", l.Shard, l.Checkpoint, bridge.ErrForeignPosition),
			"let the consumer on the other side come to the end of what there is, so that each shard stands behind its last record, then plan again")
	}
	after := Raw{}
	if exists {
		after = maps.Clone(it.raw)
	}
	for _, name := range []string{"AssignedTo", "LeaseTimeout", "ClaimRequest", "Checkpoint"} {
		delete(after, name)
	}
	after["ShardID"] = text(l.Shard)
	if l.Checkpoint != positions.TrimHorizon {
		after["Checkpoint"] = text(l.Checkpoint)
	}
	if len(l.Parents) > 0 {
		after["ParentShardId"] = text(slices.Min(l.Parents))
	}
	return Change{Key: l.Shard, Before: it.raw, After: after}, nil
}

func text(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }

func number(n int64) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: strconv.FormatInt(n, 10)}
}
