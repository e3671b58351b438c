package kafkastream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/kinesis-msk-bridge/bridge"
)

// The records of the checkpoint topic, by key. The value of each is an envelope. Deltas
// hold the rows that moved since the one before; their numbers go round, so that
// compaction leaves at most one round of them, all applied before or after the snapshot
// by their place in the log.
const (
	keyRecord       = "workflow-key"
	producersRecord = "producers"
	snapshotRecord  = "snapshot"
	deltaRecord     = "delta/"
	// deltasPerSnapshot bounds what a start reads.
	deltasPerSnapshot = 1000
)

// storeVersion is the format of all that this package stores. A program refuses what is
// newer than itself.
const storeVersion = 1

// othersWrite is the hint about what this workflow did not write.
const othersWrite = "another workflow of this name, or somebody else, writes to the workflow's topics"

// An envelope is how anything is stored as JSON: the tag is over kind and body.
type envelope struct {
	Version int             `json:"v"`
	Kind    string          `json:"kind"`
	Body    json.RawMessage `json:"body"`
	Tag     string          `json:"tag"`
}

type keyBody struct {
	Key string `json:"key"`
}

type producersBody struct {
	IDs []int64 `json:"ids"`
}

type checkpointBody struct {
	bridge.Checkpoint
	Producer int64 `json:"producer"`
	Epoch    int16 `json:"epoch"`
	Fenced   bool  `json:"fenced"` // by a transactional id
	// Sources spells out the short identities of the provenance headers.
	Sources map[string]bridge.Identity `json:"sources"`
	// Acked are the last acknowledged batches of the partitions that the task writes to: all
	// in a snapshot, those that changed in a delta.
	Acked ackedBatches `json:"acked,omitempty"`
}

func (s *Session) seal(kind string, body any) ([]byte, error) { return seal(s.tagger, kind, body) }

func seal(t *bridge.Tagger, kind string, body any) ([]byte, error) {
	b, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", kind, err)
	}
	return json.Marshal(envelope{Version: storeVersion, Kind: kind, Body: b, Tag: tagText(t, kind, b)})
}

func tagText(t *bridge.Tagger, kind string, body []byte) string {
	return strconv.FormatUint(t.Sum([]byte(kind), body), 16)
}

// unseal checks version and tag and decodes the body.
func unseal(t *bridge.Tagger, kind string, value []byte, body any) error {
	var e envelope
	if err := json.Unmarshal(value, &e); err != nil {
		return bridge.WithHint(fmt.Errorf("%s is not readable: %w", kind, bridge.ErrState), othersWrite)
	}
	switch {
	case e.Version > storeVersion:
		return bridge.WithHint(fmt.Errorf("%s has format %d, this program knows %d: %w", kind, e.Version, storeVersion, bridge.ErrState),
			"use the newer version of bridge that wrote it")
	case e.Version < 1 || e.Kind != kind || e.Tag != tagText(t, kind, e.Body):
		return bridge.WithHint(fmt.Errorf("%s was not written by this workflow: %w", kind, bridge.ErrState),
			othersWrite)
	}
	if err := json.Unmarshal(e.Body, body); err != nil {
		return bridge.WithHint(fmt.Errorf("%s is not readable: %w", kind, bridge.ErrState), othersWrite)
	}
	return nil
}

func foreign(workflow string) error {
	return bridge.WithHint(fmt.Errorf("the topics of workflow %s belong to another workflow of that name: its key differs: %w", workflow, bridge.ErrState),
		"use the state directory that belongs to these topics, or another workflow name")
}

// put appends one record to the task's partition of the checkpoint topic.
func (s *Session) put(ctx context.Context, key, kind string, body any) error {
	value, err := s.seal(kind, body)
	if err != nil {
		return err
	}
	return s.putSealed(ctx, key, kind, value)
}

func (s *Session) putSealed(ctx context.Context, key, kind string, value []byte) error {
	if _, err := s.appendTo(ctx, s.own.checkpoints, []byte(key), value); err != nil {
		return fmt.Errorf("store %s: %w", kind, err)
	}
	return nil
}

func kindOf(key string) string {
	if len(key) > len(deltaRecord) && key[:len(deltaRecord)] == deltaRecord {
		return "checkpoint"
	}
	switch {
	case key == snapshotRecord:
		return "checkpoint"
	case strings.HasPrefix(key, partRecord):
		return partKind
	}
	return key
}

// appendTo appends one record to the task's partition of one of the workflow's topics and
// returns its offset.
func (s *Session) appendTo(ctx context.Context, topic string, key, value []byte) (int64, error) {
	e := entry{Record: sarama.Record{Key: key, Value: value}, time: time.Now().Truncate(time.Millisecond)}
	pc := newPiece(partitionID{topic, int32(s.conf.Task)}, []entry{e})
	if err := s.producer.append(ctx, pc); err != nil {
		return 0, err
	}
	return pc.offsets[0], pc.err
}

// A history is what the checkpoint topic holds of one task.
type history struct {
	key        *bridge.WorkflowKey
	producers  []int64
	checkpoint bridge.Checkpoint
	fenced     bool
	producer   int64 // that saved it
	epoch      int16
	acked      ackedBatches
	deltas     int // number of the next delta
	parts      [2]partSet
	slot       int   // of the last snapshot that was stored in parts
	missing    error // parts of the last snapshot are
}

func (s *Session) readHistory(ctx context.Context) (history, error) {
	return readHistory(ctx, s.client, s.conf.Workflow, s.conf.Task, &s.conf.Key)
}

// readHistory reads the task's partition from its beginning: it is compacted, and its
// segments are small. Without a key only the workflow key is looked for.
func readHistory(ctx context.Context, c *Client, workflow string, task int, key *bridge.WorkflowKey) (history, error) {
	var h history
	topic := topicsOf(workflow).checkpoints
	_, end, _, err := c.offsets(ctx, topic, int32(task))
	if err != nil {
		return h, err
	}
	rows := map[string]bridge.Row{}
	for r, err := range c.scan(ctx, topic, int32(task), -1, end, scanAll) {
		if err != nil {
			return h, err
		}
		if err := h.apply(r, workflow, key, rows); err != nil {
			return h, fmt.Errorf("read %s partition %d offset %d: %w", topic, task, r.Offset, err)
		}
	}
	if h.missing != nil {
		return h, fmt.Errorf("read %s partition %d: %w", topic, task, h.missing)
	}
	for _, name := range slices.Sorted(maps.Keys(rows)) {
		h.checkpoint.Rows = append(h.checkpoint.Rows, rows[name])
	}
	return h, nil
}

func (h *history) apply(r fetchedRecord, workflow string, key *bridge.WorkflowKey, rows map[string]bridge.Row) error {
	name := string(r.Key)
	if name == keyRecord {
		return h.applyKey(r.Value, workflow, key)
	}
	if key == nil {
		return nil
	}
	t := bridge.NewTagger(*key, "kafka stores")
	switch kindOf(name) {
	case producersRecord:
		var b producersBody
		if err := unseal(t, producersRecord, r.Value, &b); err != nil {
			return err
		}
		h.producers = b.IDs
		return nil
	case partKind:
		return h.part(name, r.Value, t)
	case "checkpoint":
		value := r.Value
		if name == snapshotRecord {
			var err error
			if value, err = h.whole(value, t); value == nil {
				return err
			}
		}
		var b checkpointBody
		if err := unseal(t, "checkpoint", value, &b); err != nil {
			return err
		}
		if name == snapshotRecord {
			clear(rows)
			h.acked = nil
		}
		h.acked = h.acked.merge(b.Acked)
		h.producer, h.epoch = b.Producer, b.Epoch
		var err error
		if h.deltas, err = deltaBehind(name); err != nil {
			return err
		}
		for _, row := range b.Rows {
			rows[row.Partition] = row
		}
		for _, p := range b.Forget {
			delete(rows, p)
		}
		h.checkpoint, h.fenced = b.Checkpoint, b.Fenced
		h.checkpoint.Rows, h.checkpoint.Forget = nil, nil
		return nil
	}
	return fmt.Errorf("%q is not a record of this format: %w", name, bridge.ErrState)
}

// deltaBehind is the number of the delta behind a snapshot or another delta. It is not
// counted: compaction may have taken some of those before.
func deltaBehind(name string) (int, error) {
	if name == snapshotRecord {
		return 1, nil
	}
	n, err := strconv.Atoi(name[len(deltaRecord):])
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%q is not a record of this format: %w", name, bridge.ErrState)
	}
	return n + 1, nil
}

// applyKey reads the key record, whose tag is made with the key itself.
func (h *history) applyKey(value []byte, workflow string, want *bridge.WorkflowKey) error {
	var e envelope
	var b keyBody
	if json.Unmarshal(value, &e) != nil || json.Unmarshal(e.Body, &b) != nil {
		return fmt.Errorf("the workflow key is not readable: %w", bridge.ErrState)
	}
	k, err := bridge.ParseWorkflowKey(b.Key)
	if err != nil {
		return err
	}
	if want != nil && k != *want {
		return foreign(workflow)
	}
	if err := unseal(bridge.NewTagger(k, "kafka stores"), keyRecord, value, &b); err != nil {
		return err
	}
	h.key = &k
	return nil
}

// StoredKey returns the key that a workflow's checkpoint topic holds, and whether there is
// one: it was lost with the machine, or this machine is a new one.
func StoredKey(ctx context.Context, c *Client, workflow string) (bridge.WorkflowKey, bool, error) {
	h, err := readHistory(ctx, c, workflow, 0, nil)
	switch {
	case errors.Is(err, bridge.ErrMissing):
		return bridge.WorkflowKey{}, false, nil
	case err != nil || h.key == nil:
		return bridge.WorkflowKey{}, false, err
	}
	return *h.key, true, nil
}

// ReadCheckpoint returns the checkpoint of a task without taking it over, and the zero
// Checkpoint if there is none. It also tells whether the session that saved it was fenced:
// whether the next one can keep it from writing.
func ReadCheckpoint(ctx context.Context, c *Client, workflow string, task int, key bridge.WorkflowKey) (cp bridge.Checkpoint, fenced bool, err error) {
	h, err := readHistory(ctx, c, workflow, task, &key)
	if errors.Is(err, bridge.ErrMissing) {
		return bridge.Checkpoint{}, false, nil
	}
	return h.checkpoint, h.fenced, err
}

// Checkpoints keeps the task's checkpoint in the workflow's compacted topic. It implements
// bridge.CheckpointStore.
type Checkpoints struct {
	session *Session

	mu     sync.Mutex
	rows   map[string]bridge.Row // all, for snapshots; nil before Load
	acked  map[partitionID]mark  // as they were last saved
	deltas int
	slot   int // of the last snapshot that was stored in parts
}

var _ bridge.CheckpointStore = (*Checkpoints)(nil)

// Checkpoints returns the task's store.
func (s *Session) Checkpoints() *Checkpoints { return &Checkpoints{session: s} }

// Load reads the topic to its end.
func (c *Checkpoints) Load(ctx context.Context) (bridge.Checkpoint, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.load(ctx)
}

func (c *Checkpoints) load(ctx context.Context) (bridge.Checkpoint, error) {
	h, err := c.session.readHistory(ctx)
	if err != nil {
		return bridge.Checkpoint{}, fmt.Errorf("read the checkpoint: %w", err)
	}
	c.rows, c.deltas, c.slot = map[string]bridge.Row{}, h.deltas, h.slot
	for _, row := range h.checkpoint.Rows {
		c.rows[row.Partition] = row
	}
	return h.checkpoint, nil
}

// Save appends one record. Index entries are stored first: one too many harms nobody.
func (c *Checkpoints) Save(ctx context.Context, cp bridge.Checkpoint) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rows == nil {
		if _, err := c.load(ctx); err != nil {
			return err
		}
	}
	if err := c.session.putIndex(ctx, cp.Index); err != nil {
		return err
	}
	for _, row := range cp.Rows {
		c.rows[row.Partition] = row
	}
	for _, p := range cp.Forget {
		delete(c.rows, p)
	}
	marks := c.session.known()
	key, err := c.store(ctx, cp, marks)
	if err != nil {
		return err
	}
	c.acked = marks
	c.deltas, err = deltaBehind(key)
	return err
}

// store appends the checkpoint as a delta if that can be, else as a snapshot, and returns
// the key of its record.
func (c *Checkpoints) store(ctx context.Context, cp bridge.Checkpoint, marks map[partitionID]mark) (string, error) {
	s := c.session
	seal := func(marks ackedBatches) ([]byte, error) {
		return s.seal("checkpoint", checkpointBody{Checkpoint: cp, Producer: s.id, Epoch: s.epoch, Fenced: s.fenced, Acked: marks,
			Sources: map[string]bridge.Identity{fmt.Sprintf("%08x", bridge.SourceID(cp.Source)): cp.Source}})
	}
	if c.deltas < deltasPerSnapshot && (c.deltas > 0 || len(cp.Rows) < len(c.rows)) {
		value, err := seal(s.since(marks, c.acked))
		if key := deltaRecord + strconv.Itoa(c.deltas); err != nil || len(value) <= wholeBytes {
			if err == nil {
				err = s.putSealed(ctx, key, "checkpoint", value)
			}
			return key, err
		}
	}
	cp.Rows = cp.Rows[:0:0]
	for _, name := range slices.Sorted(maps.Keys(c.rows)) {
		cp.Rows = append(cp.Rows, c.rows[name])
	}
	value, err := seal(s.since(marks, nil))
	switch {
	case err != nil:
		return "", err
	case len(value) <= wholeBytes:
		return snapshotRecord, s.putSealed(ctx, snapshotRecord, "checkpoint", value)
	}
	if err := s.putParts(ctx, 1-c.slot, value); err != nil {
		return "", err
	}
	c.slot = 1 - c.slot
	return snapshotRecord, nil
}
