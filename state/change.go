package state

import (
	"fmt"

	"github.com/kinesis-msk-bridge/bridge"
)

// CheckSuccessor says whether next may follow old in the store of one workflow; a store
// calls it in Swap. It wraps bridge.ErrState if next has another name, key or direction
// epoch below the old one, or takes back or changes a decision. The zero old may be
// followed by anything.
func CheckSuccessor(old, next Workflow) error {
	if old.Name == "" {
		return nil
	}
	switch {
	case next.Name != old.Name:
		return fmt.Errorf("workflow %q cannot become %q: %w", old.Name, next.Name, bridge.ErrState)
	case next.Key != old.Key:
		return fmt.Errorf("the key of workflow %q cannot change: %w", old.Name, bridge.ErrState)
	case next.Epoch < old.Epoch:
		return fmt.Errorf("the epoch of workflow %q cannot go back from %d to %d: %w", old.Name, old.Epoch, next.Epoch, bridge.ErrState)
	case len(next.Decisions) < len(old.Decisions):
		return fmt.Errorf("workflow %q has %d decisions, %d were given: %w", old.Name, len(old.Decisions), len(next.Decisions), bridge.ErrState)
	}
	for i, d := range old.Decisions {
		n := next.Decisions[i]
		if !n.At.Equal(d.At) || n.Kind != d.Kind || n.By != d.By || n.Detail != d.Detail {
			return fmt.Errorf("decision %d of workflow %q cannot change: %w", i, old.Name, bridge.ErrState)
		}
	}
	return nil
}

// Check compares what the workflow began with with what is there now. It wraps
// bridge.ErrChanged if the stream or topic is another one or has another number of
// partitions, and bridge.ErrState if the configuration now asks for something that
// cannot change; both carry a hint. Where p or now has a zero value nothing is compared.
func (p Pinned) Check(now Pinned) error {
	if err := sameStream("source", p.Source, now.Source); err != nil {
		return err
	}
	if err := sameStream("target", p.Target, now.Target); err != nil {
		return err
	}
	if p.Partitions != 0 && now.Partitions != 0 && p.Partitions != now.Partitions {
		return bridge.WithHint(
			fmt.Errorf("the topic has %d partitions, the workflow began with %d: %w", now.Partitions, p.Partitions, bridge.ErrChanged),
			"keys now go to other partitions; begin a new workflow on a new topic")
	}
	for _, c := range []struct{ what, old, now string }{
		{"keymap", p.Keymap, now.Keymap},
		{"kinesis.format", p.Format, now.Format},
		{"start", p.Start, now.Start},
		{"tasks", count(p.Tasks), count(now.Tasks)},
	} {
		if c.old != "" && c.now != "" && c.old != c.now {
			return bridge.WithHint(
				fmt.Errorf("the workflow began with %s %s and cannot go on with %s: %w", c.what, c.old, c.now, bridge.ErrState),
				"set "+c.what+" back to "+c.old+", or give this configuration a workflow name of its own")
		}
	}
	return nil
}

func count(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

func sameStream(role string, old, now bridge.Identity) error {
	switch {
	case old.IsZero() || now.IsZero() || old == now:
		return nil
	case old.Name != now.Name:
		return bridge.WithHint(
			fmt.Errorf("the %s is %s, the workflow began with %s: %w", role, now.Name, old.Name, bridge.ErrState),
			"name the "+role+" that the workflow began with, or give this configuration a workflow name of its own")
	}
	return bridge.WithHint(
		fmt.Errorf("the %s %s was deleted and created anew (it was %s and is %s): %w", role, now.Name, old.Incarnation, now.Incarnation, bridge.ErrChanged),
		"what it held is gone; begin a new workflow")
}
