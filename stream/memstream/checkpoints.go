package memstream

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"

	"github.com/kinesis-msk-bridge/bridge"
)

// Checkpoints is the durable place of one task's checkpoint. Open gives it a writer. It is
// safe for concurrent use.
type Checkpoints struct {
	inj *injector

	mu      sync.Mutex
	epoch   int
	damaged bool
	// saved are the checkpoints as they were saved, in JSON, so that nothing that is kept
	// shares memory with its writer.
	saved [][]byte
	index []bridge.IndexEntry
}

// NewCheckpoints makes an empty one. The faults are asked before every load and save; nil
// is none.
func NewCheckpoints(faults func(Op) Fault) *Checkpoints {
	return &Checkpoints{inj: newInjector(faults)}
}

// SetFaults replaces the faults from now on.
func (c *Checkpoints) SetFaults(fn func(Op) Fault) { c.inj.set(fn) }

// Open makes a new writer, and the saves of every older one fail with bridge.ErrFenced.
func (c *Checkpoints) Open() *CheckpointWriter {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch++
	return &CheckpointWriter{c, c.epoch}
}

// Damage makes what is stored unreadable.
func (c *Checkpoints) Damage() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.damaged = true
}

// History returns every checkpoint as it was saved: with the rows that moved, not all.
func (c *Checkpoints) History() []bridge.Checkpoint {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := make([]bridge.Checkpoint, len(c.saved))
	for i, b := range c.saved {
		// What Save encoded decodes.
		_ = json.Unmarshal(b, &list[i])
	}
	return list
}

// Index returns all entries of the position index that were saved, in order.
func (c *Checkpoints) Index() []bridge.IndexEntry {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.index)
}

// A CheckpointWriter is a bridge.CheckpointStore.
type CheckpointWriter struct {
	c     *Checkpoints
	epoch int
}

var _ bridge.CheckpointStore = (*CheckpointWriter)(nil)

// Load merges the rows of all that was saved.
func (w *CheckpointWriter) Load(ctx context.Context) (bridge.Checkpoint, error) {
	f, err := w.c.inj.begin(ctx, Op{Kind: OpLoad})
	if err == nil {
		err = f.Err
	}
	if err != nil {
		return bridge.Checkpoint{}, err
	}
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	if w.c.damaged {
		return bridge.Checkpoint{}, fmt.Errorf("load the checkpoint: it is damaged: %w", bridge.ErrState)
	}
	var all bridge.Checkpoint
	for _, b := range w.c.saved {
		var cp bridge.Checkpoint
		if err := json.Unmarshal(b, &cp); err != nil {
			return cp, fmt.Errorf("load the checkpoint: %w: %w", err, bridge.ErrState)
		}
		cp.Rows = merge(all.Rows, cp.Rows, cp.Forget)
		cp.Forget = nil
		all = cp
	}
	return all, nil
}

// merge puts the rows that moved in the place of the old ones and leaves out forgotten
// partitions.
func merge(old, moved []bridge.Row, forget []string) []bridge.Row {
	for _, m := range moved {
		same := func(r bridge.Row) bool { return r.Partition == m.Partition }
		if i := slices.IndexFunc(old, same); i >= 0 {
			old[i] = m
		} else {
			old = append(old, m)
		}
	}
	return slices.DeleteFunc(old, func(r bridge.Row) bool { return slices.Contains(forget, r.Partition) })
}

// Save keeps a checkpoint unless a newer writer was opened.
func (w *CheckpointWriter) Save(ctx context.Context, cp bridge.Checkpoint) error {
	f, err := w.c.inj.begin(ctx, Op{Kind: OpSave, Records: len(cp.Rows)})
	if err != nil {
		return err
	}
	if f.Err != nil && !f.Took {
		return f.Err
	}
	b, err := json.Marshal(cp)
	if err != nil {
		return fmt.Errorf("save the checkpoint: %w", err)
	}
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	if w.epoch != w.c.epoch {
		return fmt.Errorf("save the checkpoint with epoch %d of %d: %w", w.epoch, w.c.epoch, bridge.ErrFenced)
	}
	w.c.saved = append(w.c.saved, bytes.Clone(b))
	w.c.index = append(w.c.index, cp.Index...)
	return f.Err
}
