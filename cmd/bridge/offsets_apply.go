package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/positions"
	"github.com/kinesis-msk-bridge/bridge/positions/leasetable"
	"github.com/kinesis-msk-bridge/bridge/stream/kafkastream"
)

// keepPlan puts a new plan in the place of an older one, unless that one is half applied.
func (r *relocation) keepPlan(ctx context.Context, m *move) error {
	release, err := r.shelf.lock(ctx)
	if err != nil {
		return err
	}
	defer release()
	before, old, err := r.kept(ctx)
	if err != nil && !errors.Is(err, bridge.ErrState) {
		return err
	}
	if old.begun() {
		if over, err := r.overtaken(ctx, &old.Move); err != nil || !over {
			return errors.Join(err, partly(fmt.Errorf("plan %s of consumer %s is half applied", old.Hash, m.Consumer), old.Hash))
		}
		old = nil // the consumer has gone on: nothing can be taken back
	}
	h, err := m.hash()
	if err != nil {
		return err
	}
	return r.keep(ctx, &before, &kept{Move: *m, Hash: h, Status: movePlanned, Applied: old.lastApplied()})
}

// overtaken reports whether a move that was begun can neither be finished nor taken back,
// since the consumer has gone on from what was written of it: only a new one leads on.
func (r *relocation) overtaken(ctx context.Context, m *move) (bool, error) {
	var err error
	if m.Leases != nil {
		err = r.table.Check(ctx, *m.Leases)
	} else {
		var g kafkastream.Group
		if g, err = r.readGroup(ctx, m.Offsets.Group); err == nil {
			err = m.Offsets.holds(offsetsText(g.Committed))
		}
	}
	if errors.Is(err, bridge.ErrConflict) {
		return true, nil
	}
	return false, err
}

func partly(err error, hash string) error {
	return bridge.WithHint(classed{err, errPartly}, "bridge offsets apply --plan "+hash+" finishes it, bridge offsets undo takes it back")
}

// kept returns the kept move, nil if there is none, and its bytes.
func (r *relocation) kept(ctx context.Context) ([]byte, *kept, error) {
	b, err := r.shelf.load(ctx)
	if err != nil || b == nil {
		return b, nil, err
	}
	k, err := decodeKept(b)
	return b, k, err
}

func (r *relocation) keep(ctx context.Context, before *[]byte, k *kept) error {
	next, err := json.MarshalIndent(k, "", " ")
	if err != nil {
		return fmt.Errorf("encode the plan: %w", err)
	}
	if err := r.shelf.keep(ctx, *before, next); err != nil {
		return err
	}
	*before = next
	return nil
}

// apply writes what the plan says, or finishes it. Until the first write every refusal
// leaves all as it was.
func (r *relocation) apply(ctx context.Context) (*move, error) {
	release, err := r.shelf.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	raw, k, err := r.kept(ctx)
	if err != nil {
		return nil, err
	}
	if err := r.chosen(k); err != nil {
		return nil, err
	}
	m := &k.Move
	if err := m.refusal(); err != nil {
		return nil, err
	}
	if k.Status == moveApplied {
		return m, gateRefused(r.readBack(ctx, m))
	}
	if err := r.unmoved(ctx, m, k.Status == movePlanned); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	ctx = context.WithoutCancel(ctx) // a signal that comes now leaves nothing half done
	k.Status = moveApplying
	if err := r.keep(ctx, &raw, k); err != nil {
		return nil, err
	}
	if err := r.write(ctx, m); err != nil {
		return nil, r.unwritten(ctx, raw, k, err)
	}
	if err := r.readBack(ctx, m); err != nil {
		return nil, partly(fmt.Errorf("consumer %s: %w", m.Consumer, plain{err}), k.Hash)
	}
	k.Status, k.Applied = moveApplied, nil
	return m, r.keep(ctx, &raw, k)
}

// unwritten judges a write that failed. One that was refused because the consumer started
// in that very moment, before anything was written, leaves the plan as it was.
func (r *relocation) unwritten(ctx context.Context, raw []byte, k *kept, failed error) error {
	clean := errors.Is(failed, bridge.ErrConflict)
	if clean && k.Move.Leases != nil {
		var err error
		clean, err = r.table.Untouched(ctx, *k.Move.Leases)
		clean = clean && err == nil
	}
	if !clean {
		return partly(fmt.Errorf("consumer %s: %w", k.Move.Consumer, plain{failed}), k.Hash)
	}
	k.Status = movePlanned
	return errors.Join(gateRefused(failed), r.keep(ctx, &raw, k))
}

// minPlanHash is how much of a plan's hash must be given.
const minPlanHash = 8

// chosen judges --plan.
func (r *relocation) chosen(k *kept) error {
	asked := r.options.Plan
	switch {
	case k == nil || k.Status == moveUndone:
		return usageHint(fmt.Errorf("there is no plan for consumer %s", r.consumer.Name), "bridge offsets plan --consumer "+r.consumer.Name)
	case len(asked) < minPlanHash || !strings.HasPrefix(k.Hash, asked):
		return usageHint(fmt.Errorf("the plan of consumer %s is %s, not %s", r.consumer.Name, k.Hash, asked), "look at it again with bridge offsets plan, and give its hash")
	case k.Status == moveUndoing:
		return bridge.WithHint(classed{fmt.Errorf("plan %s is half taken back", k.Hash), errPartly}, "bridge offsets undo finishes that")
	case k.Move.Offsets != nil && k.Move.Offsets.TopicID != r.topic.ID:
		return gateRefused(bridge.WithHint(fmt.Errorf("topic %s is not the one that the plan was made for", r.topic.Name), "plan again"))
	}
	return nil
}

// unmoved proves that the consumer runs on neither side and stands where it stood when the
// plan was made. With fresh, so must the side that it goes to. The group is asked again once
// the lease table was watched: a consumer can have started meanwhile.
func (r *relocation) unmoved(ctx context.Context, m *move, fresh bool) error {
	if _, err := r.stopped(ctx); err != nil {
		return err
	}
	s, err := r.still(ctx)
	if err != nil {
		return err
	}
	g, err := r.stopped(ctx)
	if err != nil {
		return err
	}
	switch {
	case m.Way == kclToGroup && !sameLeases(s.Leases(), m.Left.Leases):
		return changedSince(m, "the lease table")
	case m.Way == groupToKCL && !maps.Equal(offsetsText(g.Committed), m.Left.Group):
		return changedSince(m, "what group "+g.Name+" has committed")
	case m.Offsets != nil && fresh && !maps.Equal(offsetsText(g.Committed), m.Offsets.Before):
		return changedSince(m, "what group "+g.Name+" has committed")
	case m.Offsets != nil && !fresh:
		return r.sameOffsets(m, g)
	case m.Leases != nil:
		return r.sameTable(ctx, m, s, fresh)
	}
	return nil
}

// sameTable holds that the lease table is as it was when the plan was made, or if that was
// begun to be applied, that no lease is neither as it was nor as it is to be.
func (r *relocation) sameTable(ctx context.Context, m *move, s *leasetable.Snapshot, fresh bool) error {
	if !fresh {
		return gateRefused(r.table.Check(ctx, *m.Leases))
	}
	again, err := r.table.Changes(s, m.Leases.Want)
	if err == nil && !sameChanges(again, *m.Leases) {
		err = changedSince(m, "the lease table")
	}
	return err
}

func changedSince(m *move, what string) error {
	return gateRefused(bridge.WithHint(fmt.Errorf("%s changed since the plan was made", what), "plan again: bridge offsets plan --consumer "+m.Consumer))
}

// readGroup asks for a group. One whose offsets are not to be had is refused.
func (r *relocation) readGroup(ctx context.Context, name string) (kafkastream.Group, error) {
	g, err := r.kafka.Group(ctx, name, r.topic)
	switch {
	case err != nil:
	case g.Kind != "":
		err = gateRefused(bridge.WithHint(fmt.Errorf("group %s is a %s group (%s): it has no offset for each partition that could be read or set", name, g.Kind, g.State),
			"name a consumer group in consumers of the configuration"))
	case g.Pending:
		err = gateRefused(bridge.WithHint(fmt.Errorf("an open transaction is about to commit offsets of group %s: where the group stands is undecided", name),
			"stop the consumer and wait until its transaction ends, or end it with kafka-transactions.sh abort; then plan again"))
	}
	return g, err
}

// stopped proves that nobody consumes as the group.
func (r *relocation) stopped(ctx context.Context) (kafkastream.Group, error) {
	g, err := r.readGroup(ctx, r.consumer.Group)
	if err == nil && g.Running() {
		who := ""
		if len(g.Members) > 0 {
			who = ": " + g.Members[0]
		}
		err = gateRefused(bridge.WithHint(fmt.Errorf("group %s is in use (%s, %d members%s)", g.Name, g.State, len(g.Members), who),
			"stop its consumers and wait for their session timeout"))
	}
	return g, err
}

// still proves that the application does not run.
func (r *relocation) still(ctx context.Context) (*leasetable.Snapshot, error) {
	if r.options.StillFor < time.Second {
		return nil, usage(errors.New("--still-for takes at least 1s, and should be three times the application's failover time"))
	}
	s, err := r.table.Still(ctx, func(ctx context.Context) error {
		r.Log.Info("watches whether the lease table moves", "table", r.consumer.table(), "for", r.options.StillFor.String())
		return rest(ctx, r.options.StillFor)
	})
	if errors.Is(err, bridge.ErrLocked) {
		err = gateRefused(err)
	}
	return s, err
}

// write is the one place that changes something outside of this program's own state.
func (r *relocation) write(ctx context.Context, m *move) error {
	if m.Leases != nil {
		return r.table.Apply(ctx, *m.Leases)
	}
	next, err := m.Offsets.commits(m.Offsets.After, nil)
	if err != nil {
		return err
	}
	return r.kafka.CommitGroup(ctx, m.Offsets.Group, m.Offsets.Topic, next)
}

// readBack holds that what the plan says is there.
func (r *relocation) readBack(ctx context.Context, m *move) error {
	if m.Leases != nil {
		return r.table.Verify(ctx, *m.Leases)
	}
	g, err := r.readGroup(ctx, m.Offsets.Group)
	if err == nil && !maps.Equal(offsetsText(g.Committed), m.Offsets.After) {
		err = bridge.WithHint(fmt.Errorf("group %s has not the offsets that were set", g.Name), "a consumer may have started meanwhile: stop it, and look with bridge offsets plan")
	}
	return err
}

// undo brings back what was there before apply.
func (r *relocation) undo(ctx context.Context) (*move, error) {
	release, err := r.shelf.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	raw, k, err := r.kept(ctx)
	if err != nil {
		return nil, err
	}
	if k != nil && k.Status == movePlanned && k.Applied != nil {
		k = k.Applied // a plan that was only made stands in the way of nothing
	}
	switch {
	case k == nil || k.Status == movePlanned:
		return nil, usageHint(fmt.Errorf("nothing was applied for consumer %s", r.consumer.Name), "bridge offsets plan shows where it stands")
	case k.Status == moveUndone:
		return &k.Move, nil
	}
	m := &k.Move
	if err := r.restorable(ctx, m); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	ctx = context.WithoutCancel(ctx)
	k.Status = moveUndoing
	if err := r.keep(ctx, &raw, k); err != nil {
		return nil, err
	}
	if err := r.restore(ctx, m); err != nil {
		return nil, bridge.WithHint(classed{fmt.Errorf("consumer %s: %w", m.Consumer, plain{err}), errPartly}, "bridge offsets undo, again, finishes it")
	}
	k.Status = moveUndone
	return m, r.keep(ctx, &raw, k)
}

// restorable proves that undo would take nothing away that somebody else did.
func (r *relocation) restorable(ctx context.Context, m *move) error {
	if m.Leases == nil {
		g, err := r.stopped(ctx)
		if err != nil || r.options.AllowRewind {
			return err
		}
		return r.sameOffsets(m, g)
	}
	if _, err := r.still(ctx); err != nil {
		return err
	}
	if err := r.table.Check(ctx, *m.Leases); err != nil {
		return bridge.WithHint(gateRefused(err), r.goneOn(m))
	}
	return nil
}

// goneOn is what to do about a consumer that went on from a move.
func (r *relocation) goneOn(m *move) string {
	hint := "the consumer has gone on: move it with bridge offsets plan"
	if (r.Config.Direction == kinesisToKafka) == (m.Way == kclToGroup) {
		hint += " --back"
	}
	return hint
}

// sameOffsets holds that each partition of the group is where apply puts it, or where it
// was before.
func (r *relocation) sameOffsets(m *move, g kafkastream.Group) error {
	if err := m.Offsets.holds(offsetsText(g.Committed)); err != nil {
		return gateRefused(bridge.WithHint(err, r.goneOn(m)))
	}
	return nil
}

func (r *relocation) restore(ctx context.Context, m *move) error {
	if m.Leases != nil {
		return r.table.Undo(ctx, *m.Leases)
	}
	before, err := m.Offsets.commits(m.Offsets.Before, m.Offsets.Beside)
	if err != nil {
		return err
	}
	after, err := m.Offsets.commits(m.Offsets.After, nil)
	if err != nil {
		return err
	}
	var forget []int32
	for _, p := range slices.Sorted(maps.Keys(after)) {
		if _, ok := before[p]; !ok {
			forget = append(forget, p)
		}
	}
	if err := r.kafka.CommitGroup(ctx, m.Offsets.Group, m.Offsets.Topic, before); err != nil {
		return err
	}
	if err := r.kafka.ForgetGroup(ctx, m.Offsets.Group, m.Offsets.Topic, forget); err != nil {
		return err
	}
	g, err := r.readGroup(ctx, m.Offsets.Group)
	if err == nil && !maps.Equal(offsetsText(g.Committed), m.Offsets.Before) {
		err = fmt.Errorf("group %s has not the offsets that were restored", g.Name)
	}
	return err
}

func sameLeases(a, b []positions.Lease) bool { return jsonOf(a) == jsonOf(b) }

func sameChanges(a, b leasetable.Changes) bool { return jsonOf(a) == jsonOf(b) }

func jsonOf(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}
