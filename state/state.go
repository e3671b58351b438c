// Package state keeps what a workflow must remember between runs besides positions: its
// name and secret, what it began with and may not change, the phase it is in, what the
// operator wants, and every decision that was taken. Positions stand in checkpoints, see
// bridge.CheckpointStore.
//
// A [Store] holds one workflow. Each change makes a new version by compare-and-set, so
// that a mirror and the commands beside it can write without losing each other's words:
//
//	w, version, err := store.Load(ctx)
//	…
//	w.Wanted = state.Wanted{Mode: state.Paused, Reason: "maintenance", At: now}
//	_, err = store.Swap(ctx, version, w) // bridge.ErrConflict: load again
//
// Package filestate keeps it in a directory. What is not promised: the state says nothing
// of the data, and going back to an older copy of it by hand is not noticed.
package state

import (
	"context"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
)

// A Direction says from which service to which one records move.
type Direction string

// The two directions.
const (
	KinesisToKafka Direction = "kinesis-to-kafka"
	KafkaToKinesis Direction = "kafka-to-kinesis"
)

// A Phase is how far the workflow is.
type Phase string

// The phases that this version knows. A stored phase that is not among them was written
// by a newer program, and Decode refuses it.
const (
	Created   Phase = "created"   // both ends are pinned, nothing was moved
	Mirroring Phase = "mirroring" // the mirror ran at least once
)

// A Mode is what the operator wants the mirror to do.
type Mode string

// The modes.
const (
	Running Mode = "running"
	Paused  Mode = "paused"
)

// Wanted is what the operator asked for; the mirror obeys within one checkpoint interval.
type Wanted struct {
	Mode Mode `json:"mode"`
	// RecordsPerSecond and BytesPerSecond bound what is read; 0 is no bound.
	RecordsPerSecond int64     `json:"records_per_second,omitempty"`
	BytesPerSecond   int64     `json:"bytes_per_second,omitempty"`
	Reason           string    `json:"reason,omitempty"`
	At               time.Time `json:"at,omitzero"`
}

// Actual is what the mirror does by its own account. A killed mirror leaves its last
// word behind, so it is only as fresh as the checkpoint beside it.
type Actual struct {
	// Doing is one word: "backfill", "tailing", "paused", "draining", "stopped".
	Doing  string    `json:"doing,omitempty"`
	Reason string    `json:"reason,omitempty"`
	At     time.Time `json:"at,omitzero"`
	// Outage says what does not work for a while; empty if all does.
	Outage string `json:"outage,omitempty"`
}

// Pinned is what a workflow began with and may not change.
type Pinned struct {
	Source bridge.Identity `json:"source,omitzero"`
	Target bridge.Identity `json:"target,omitzero"`
	// Keymap is the name of the strategy with its parameters.
	Keymap string `json:"keymap,omitempty"`
	// Partitions is the number of partitions of the Kafka topic.
	Partitions int `json:"partitions,omitempty"`
	Tasks      int `json:"tasks,omitempty"`
	// Format is what the mirror writes into Kinesis, empty for a Kafka target.
	Format string `json:"format,omitempty"`
	// Start is where reading began, as the configuration said it.
	Start string `json:"start,omitempty"`
	// StartAt is the time that Start "latest" stood for at the first start.
	StartAt time.Time `json:"start_at,omitzero"`
	// ConfigHash is that of the configuration of the first start; it may change later and
	// is kept for reports.
	ConfigHash string `json:"config_hash,omitempty"`
}

// StartTime is when the workflow began to read: what arrived before is out of its scope. It
// is zero if the workflow read all that there was.
func (p Pinned) StartTime() time.Time {
	if !p.StartAt.IsZero() {
		return p.StartAt
	}
	t, err := time.Parse(time.RFC3339, p.Start)
	if err != nil {
		return time.Time{} // a word: trim-horizon or earliest
	}
	return t
}

// IsZero reports whether nothing was pinned yet.
func (p Pinned) IsZero() bool { return p == Pinned{} }

// A Decision is one entry of the log: something that was decided, by whom and why.
type Decision struct {
	At time.Time `json:"at"`
	// Kind is one word for programs, such as "created" or "started".
	Kind string `json:"kind"`
	// By names the program and its version, or a person.
	By     string `json:"by,omitempty"`
	Detail string `json:"detail,omitempty"`
}

// A Workflow is the whole record. The zero Workflow stands for one that was never begun.
type Workflow struct {
	Name      string
	Direction Direction
	// Key never prints itself; Encode writes it in full.
	Key bridge.WorkflowKey
	// Epoch is that of the direction; it grows each time that the direction turns.
	Epoch  uint32
	Phase  Phase
	Pinned Pinned
	Wanted Wanted
	Actual Actual
	// Decisions only grows: Swap refuses a record that lacks or changes an earlier one.
	Decisions []Decision
}

// A Store keeps one workflow. It is safe for concurrent use, also by several processes.
type Store interface {
	// Load returns the newest record and its version, and the zero Workflow and version
	// 0 if there is none; it changes nothing. It wraps bridge.ErrState if what it finds
	// is corrupt, newer than this program, or of another workflow.
	Load(ctx context.Context) (Workflow, uint64, error)
	// Swap makes next the newest record, durably, if the newest version is still old,
	// and returns the new version, which is old + 1. It wraps bridge.ErrConflict if it is
	// not, and bridge.ErrState if next would take back a decision or belongs to another
	// workflow. After any other error the record may or may not have been written; Load
	// tells.
	Swap(ctx context.Context, old uint64, next Workflow) (uint64, error)
	// Lock makes the caller the one mirror of the workflow until release is called or
	// its process ends. It does not wait: it wraps bridge.ErrLocked if another one holds
	// the lock. Load and Swap need no lock.
	Lock(ctx context.Context) (release func() error, err error)
}
