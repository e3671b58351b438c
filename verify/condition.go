package verify

import (
	"errors"
	"fmt"
	"slices"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/keymap"
)

// checkKeymap asks a keymap whose condition can break whether it holds, and notes source partitions
// whose keys the keymap places in another partition than it does for one that they descend from: a
// key that moved with a reshard is in two partitions of the target then, and has no order there.
// The lock is held.
func (r *run) checkKeymap() {
	if r.keyed || r.v.Content {
		return
	}
	split := false
	var there []bridge.Partition
	for id := range r.acked {
		there = append(there, bridge.Partition{ID: id})
	}
	for _, s := range r.Sources {
		if !r.chosen(s) || s.Records == 0 {
			continue
		}
		there = append(there, bridge.Partition{ID: s.ID, Parents: s.Parents})
		if why := r.splitsAny(s); why != "" {
			r.uncovered(Uncovered{Side: "source", Partition: s.ID, After: s.Start, Through: s.LastRecord, Class: Unverifiable, Reason: why})
			split = true
		}
	}
	if keys, ok := r.v.Keys.(keymap.Conditional); ok && !split {
		r.holds(keys, there)
	}
}

// holds asks a keymap whether its condition holds with these partitions. The lock is held.
func (r *run) holds(keys keymap.Conditional, there []bridge.Partition) {
	if err := keys.Holds(there); err != nil {
		r.uncovered(Uncovered{Side: "run", Partition: "keymap", Class: Unverifiable, Reason: err.Error()})
	}
}

// splitsAny says why a key of a source partition and of one that it descends from goes to two of
// the target; empty if none is known to.
func (r *run) splitsAny(s *sourcePart) string {
	parents := slices.Clone(s.Parents)
	for a := range s.ancestors {
		parents = append(parents, r.Sources[a].ID)
	}
	slices.Sort(parents)
	for _, parent := range slices.Compact(parents) {
		if why := r.splits(parent, s.ID); why != "" {
			return why
		}
	}
	return ""
}

// splits says why one key of two source partitions goes to two of the target; empty if it goes
// to one, or the keymap does not look at the partition.
func (r *run) splits(parent, child string) string {
	probe := bridge.Record{Key: []byte("key"), Value: []byte("{}"), Partition: parent}
	before, errBefore := r.v.Keys.Route(&probe)
	probe.Partition = child
	after, errAfter := r.v.Keys.Route(&probe)
	moved := errBefore == nil && errAfter == nil && before.Partition != after.Partition
	if !moved && !errors.Is(errAfter, bridge.ErrChanged) {
		return ""
	}
	return fmt.Sprintf("keymap %s places keys elsewhere than for %s, from which it descends: they have no order over the reshard", r.v.Keys.Name(), parent)
}
