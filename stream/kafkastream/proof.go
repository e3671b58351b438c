package kafkastream

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"golang.org/x/sync/errgroup"

	"github.com/IBM/sarama"

	"github.com/kinesis-msk-bridge/bridge"
)

// proofReaders is how many partitions are proved at a time.
const proofReaders = 8

// Acknowledged batches as a checkpoint stores them: by topic id, then by partition.
type ackedBatches map[string]map[string]mark

// proveLogs is a *bridge.GapError if a partition that the task writes to no longer holds
// what it acknowledged: the last batch of each that the checkpoint, or the session before
// this one, knows of. It is asked before the fence, whose markers would take the offsets of
// what was lost, and notes where the logs end until then.
func (s *Session) proveLogs(ctx context.Context, inherited map[partitionID]mark) error {
	h, err := s.readHistory(ctx)
	if err != nil {
		return err
	}
	s.marks = h.acked.of(s.ids)
	maps.Copy(s.marks, inherited)
	s.ends = map[partitionID]int64{}
	writable := s.writable()
	for topic, parts := range writable {
		ends, err := s.client.listOffsets(ctx, topic, parts, sarama.OffsetNewest, sarama.ReadUncommitted)
		if err != nil {
			return err
		}
		for n, end := range ends {
			s.ends[partitionID{topic, n}] = end
		}
	}
	if err := s.reach(h.checkpoint); err != nil {
		return err
	}
	if err := s.client.refresh(ctx, slices.Collect(maps.Keys(writable))...); err != nil {
		return err
	}
	group, work := errgroup.WithContext(ctx)
	group.SetLimit(proofReaders)
	for to, m := range s.marks {
		if _, mine := s.ends[to]; mine {
			group.Go(func() error { return s.proveMark(work, to, m) })
		}
	}
	return group.Wait()
}

// proveMark asks nothing of a log whose leader has not changed since.
func (s *Session) proveMark(ctx context.Context, to partitionID, m mark) error {
	_, epoch, err := s.client.leaderEpoch(ctx, to.topic, to.n)
	if err != nil || epoch == m.Leader && m.Base < s.ends[to] {
		return err
	}
	return s.client.holds(ctx, to, m)
}

// reach is a *bridge.GapError if the target ends before the floor of the checkpoint.
func (s *Session) reach(cp bridge.Checkpoint) error {
	if s.target.Name == "" || cp.Target != s.target.Identity() {
		return nil
	}
	for _, n := range s.target.numbers() {
		floor := cp.Floor.Partitions[strconv.Itoa(int(n))]
		at, err := floor.Offset()
		if err != nil {
			return fmt.Errorf("floor of %s partition %d: %w", s.target.Name, n, err)
		}
		if end := s.ends[partitionID{s.target.Name, n}]; at >= end {
			return endsBefore("topic "+s.target.Name, n, end, floor)
		}
	}
	return nil
}

// endsBefore is the gap of a target that ends at offset end, before a floor.
func endsBefore(topic string, n int32, end int64, floor bridge.Position) error {
	gap := &bridge.GapError{Stream: topic, Partition: strconv.Itoa(int(n)), After: bridge.OffsetPosition(end - 1), Before: floor,
		Reason: "the topic ends before the checkpoint: it lost records that it had acknowledged"}
	return bridge.WithHint(gap, lostOnTarget)
}

const lostOnTarget = "look for an unclean leader election or a restored backup; what was lost must be written again by a new workflow"

// marker reports whether the marker of this session's fence stands at an offset. A floor
// that names it is that of a record that was lost.
func (s *Session) marker(ctx context.Context, to partitionID, at int64) (bool, error) {
	if end, ok := s.ends[to]; !ok || !s.fenced || at != end {
		return false, nil
	}
	k := s.client.cursor(to.topic, to.n, at, sarama.ReadUncommitted)
	defer k.close()
	var b *batch
	err := k.connect(ctx)
	if err == nil {
		b, err = k.batchAt(ctx, at)
	}
	if err != nil {
		return false, k.failed(ctx, err)
	}
	return b != nil && b.Control && b.FirstOffset == at && b.ProducerID == s.id && b.ProducerEpoch == s.epoch, nil
}

// known returns the last acknowledged batch of each partition that this session knows of.
func (s *Session) known() map[partitionID]mark {
	all := maps.Clone(s.marks)
	if all == nil {
		all = map[partitionID]mark{}
	}
	if s.producer != nil {
		maps.Copy(all, s.producer.marks())
	}
	return all
}

// since returns, as they are stored, the marks that differ from those in old.
func (s *Session) since(marks, old map[partitionID]mark) ackedBatches {
	out := ackedBatches{}
	for to, m := range marks {
		if was, ok := old[to]; ok && was == m {
			continue
		}
		id := s.ids[to.topic]
		if out[id] == nil {
			out[id] = map[string]mark{}
		}
		out[id][strconv.Itoa(int(to.n))] = m
	}
	return out
}

// of returns the marks of topics by their names; ids maps those to topic ids.
func (a ackedBatches) of(ids map[string]string) map[partitionID]mark {
	out := map[partitionID]mark{}
	for name, id := range ids {
		for p, m := range a[id] {
			if n, err := strconv.ParseInt(p, 10, 32); err == nil {
				out[partitionID{name, int32(n)}] = m
			}
		}
	}
	return out
}

// merge overlays marks that were stored later.
func (a ackedBatches) merge(later ackedBatches) ackedBatches {
	if a == nil {
		a = ackedBatches{}
	}
	for id, parts := range later {
		if a[id] == nil {
			a[id] = map[string]mark{}
		}
		maps.Copy(a[id], parts)
	}
	return a
}

// follows reports whether no session stood between the one that saved the checkpoint and
// this one. If one did, its own checkpoints are lost, or it never saved any: that the
// checkpoint was clean then says nothing.
func (s *Session) follows(h *history) bool {
	return !s.fenced || h.checkpoint.At.IsZero() || h.producer == s.id && h.epoch+1 == s.epoch
}
