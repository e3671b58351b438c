package kafkastream

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"time"

	"github.com/IBM/sarama"

	"github.com/kinesis-msk-bridge/bridge"
)

// An Extent is where the log of one partition begins and ends now. First is the offset of
// the oldest record that is kept; Stable and End are those of the next record behind the
// last stable offset and the high watermark.
type Extent struct {
	Partition          int32
	First, Stable, End int64
}

// Extents asks for all partitions of a topic. For each, Stable is asked before End.
func (c *Client) Extents(ctx context.Context, t Topic) ([]Extent, error) {
	ask := func(when int64, isolation sarama.IsolationLevel) (map[int32]int64, error) {
		return c.listOffsets(ctx, t.Name, t.numbers(), when, isolation)
	}
	stable, err := ask(sarama.OffsetNewest, sarama.ReadCommitted)
	if err != nil {
		return nil, err
	}
	end, err := ask(sarama.OffsetNewest, sarama.ReadUncommitted)
	if err != nil {
		return nil, err
	}
	first, err := ask(sarama.OffsetOldest, sarama.ReadUncommitted)
	if err != nil {
		return nil, err
	}
	out := make([]Extent, t.Partitions)
	for i := range out {
		p := int32(i)
		out[i] = Extent{Partition: p, First: first[p], Stable: stable[p], End: end[p]}
	}
	return out, nil
}

// A Written is one record of a workflow that was found on its topic.
type Written struct {
	bridge.Placed
	// Time is that of the source record, as its header says.
	Time time.Time
	// Subs is how many user records the Kinesis record held that this one came from.
	Subs uint32
	// Copied says that another producer wrote it: somebody copied the mirror's record.
	Copied bool
}

// A WrittenConfig says which records to look for.
type WrittenConfig struct {
	Topic     Topic
	Partition int32
	// From and To bound the offsets: From ≤ offset < To. What retention removed of that
	// is left out.
	From, To int64
	Stamp    *bridge.Stamp
	// Producers are the producer ids of the workflow; see ReadProducers.
	Producers []int64
}

// Written yields the records that carry a valid coordinate of the workflow, in order.
// Those of aborted transactions are left out.
func (c *Client) Written(ctx context.Context, w WrittenConfig) iter.Seq2[Written, error] {
	return func(yield func(Written, error) bool) {
		first, _, _, err := c.offsets(ctx, w.Topic.Name, w.Partition)
		if err != nil {
			yield(Written{}, err)
			return
		}
		from := max(w.From, first)
		if from >= w.To {
			return
		}
		for rec, err := range c.scan(ctx, w.Topic.Name, w.Partition, from, w.To, scanCommitted) {
			if err != nil {
				yield(Written{}, err)
				return
			}
			origin, says, ok := judge(w.Stamp, rec)
			if !ok {
				continue
			}
			found := Written{Time: says.Time, Subs: says.Subs, Copied: !slices.Contains(w.Producers, rec.ProducerID)}
			found.Partition, found.Position, found.Origin = strconv.Itoa(int(w.Partition)), bridge.OffsetPosition(rec.Offset), origin
			if !yield(found, nil) {
				return
			}
		}
	}
}

// judge reads the header of a record, if it is one of the stamp's workflow.
func judge(stamp *bridge.Stamp, rec fetchedRecord) (bridge.Coordinate, bridge.Provenance, bool) {
	for i := len(rec.Headers) - 1; i >= 0; i-- {
		if string(rec.Headers[i].Key) == bridge.ProvenanceHeader {
			origin, p, mark := stamp.Judge(rec.Headers[i].Value, rec.Key, rec.Value)
			return origin, p, mark == bridge.Ours
		}
	}
	return bridge.Coordinate{}, bridge.Provenance{}, false
}

// ReadProducers returns the producer ids that a task of a workflow ever wrote with, none
// if it never ran.
func ReadProducers(ctx context.Context, c *Client, workflow string, task int, key bridge.WorkflowKey) ([]int64, error) {
	h, err := readHistory(ctx, c, workflow, task, &key)
	if errors.Is(err, bridge.ErrMissing) {
		return nil, nil
	}
	return h.producers, err
}

// ReadIndex returns all that a task's position index holds. It wraps ErrState if an entry
// was not written by this workflow.
func ReadIndex(ctx context.Context, c *Client, workflow string, task int, key bridge.WorkflowKey) ([]bridge.IndexEntry, error) {
	topic := topicsOf(workflow).index
	tagger := bridge.NewTagger(key, "kafka stores")
	var out []bridge.IndexEntry
	for rec, err := range readOwn(ctx, c, topic, task) {
		if err != nil {
			return nil, fmt.Errorf("read the position index: %w", err)
		}
		var e bridge.IndexEntry
		if err := unseal(tagger, "index", rec.Value, &e); err != nil {
			return nil, fmt.Errorf("read the position index: offset %d of %s: %w", rec.Offset, topic, err)
		}
		out = append(out, e)
	}
	return out, nil
}

// ReadLedger yields all that is kept of a task's ledger, without taking the task over.
// Records of the given source are spelled out.
func ReadLedger(ctx context.Context, c *Client, workflow string, task int, key bridge.WorkflowKey, source bridge.Identity) iter.Seq2[bridge.LedgerEntry, error] {
	topic := topicsOf(workflow).ledger
	codec := ledgerCodec{tagger: bridge.NewTagger(key, "ledger"), source: bridge.SourceID(source), name: source.String()}
	return func(yield func(bridge.LedgerEntry, error) bool) {
		for rec, err := range readOwn(ctx, c, topic, task) {
			var e bridge.LedgerEntry
			if err == nil {
				e, err = codec.decode(rec.Value)
			}
			if err != nil {
				yield(bridge.LedgerEntry{}, fmt.Errorf("read the ledger: %w", err))
				return
			}
			e.At, e.Time = bridge.OffsetPosition(rec.Offset), rec.Time
			if !yield(e, nil) {
				return
			}
		}
	}
}

// readOwn yields the records of one partition of a workflow's own topic up to its end,
// none if there is no such topic.
func readOwn(ctx context.Context, c *Client, topic string, task int) iter.Seq2[fetchedRecord, error] {
	return func(yield func(fetchedRecord, error) bool) {
		_, end, _, err := c.offsets(ctx, topic, int32(task))
		if errors.Is(err, bridge.ErrMissing) {
			return
		}
		if err != nil {
			yield(fetchedRecord{}, err)
			return
		}
		c.scan(ctx, topic, int32(task), -1, end, scanAll)(yield)
	}
}
