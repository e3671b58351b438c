package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/positions"
	"github.com/kinesis-msk-bridge/bridge/positions/leasetable"
	"github.com/kinesis-msk-bridge/bridge/stream/kafkastream"
)

// The ways that a consumer can move.
const (
	kclToGroup = "kcl-to-group"
	groupToKCL = "group-to-kcl"
)

// What became of a plan.
const (
	movePlanned  = "planned"
	moveApplying = "applying" // something may have been written
	moveApplied  = "applied"
	moveUndoing  = "undoing"
	moveUndone   = "undone"
)

// moveSchema names the stored form of a move.
const moveSchema = "bridge.offsets/v1"

// A move is one plan, with all that is needed to apply it and to take it back.
type move struct {
	Schema   string    `json:"schema"`
	Workflow string    `json:"workflow"`
	Consumer string    `json:"consumer"`
	Way      string    `json:"way"`
	Made     time.Time `json:"made"`
	From     string    `json:"from"` // for people
	To       string    `json:"to"`
	// Old is where the consumer stood, in the partitions of the side that it leaves.
	Old  []positions.Line `json:"old"`
	Plan positions.Plan   `json:"plan"`
	// BeforeStart is how many unconsumed records are older than the workflow's start.
	BeforeStart int64 `json:"before_start,omitempty"`
	// Cut is what the cut-over filter drops by: see package filter. Only for kcl-to-group.
	Cut map[string]string `json:"cut,omitempty"`
	// Left is the side that the consumer leaves, which must still be like this.
	Left side `json:"left"`
	// Offsets is what is to be committed, and what was before.
	Offsets *offsetChange `json:"offsets,omitempty"`
	// Leases is what is to be written into the lease table.
	Leases *leasetable.Changes `json:"leases,omitempty"`
}

// A side is where a consumer stands on one side: leases or committed offsets.
type side struct {
	Leases []positions.Lease `json:"leases,omitempty"`
	Group  map[string]int64  `json:"group,omitempty"`
}

type offsetChange struct {
	Group   string           `json:"group"`
	Topic   string           `json:"topic"`
	TopicID string           `json:"topic_id"`
	Before  map[string]int64 `json:"before"` // partitions without an offset are left out
	After   map[string]int64 `json:"after"`
	// Beside is what was committed beside the offsets in Before, where it was anything.
	Beside map[string]extras `json:"beside,omitempty"`
}

// An extras is what a group commits beside an offset.
type extras struct {
	Epoch    int32  `json:"leader_epoch"`
	Metadata string `json:"metadata"`
}

// besideOf is what stands beside offsets. A plan without it is one of an earlier version,
// or of a group that commits offsets alone.
func besideOf(commits map[int32]kafkastream.Commit) map[string]extras {
	out := map[string]extras{}
	for p, c := range commits {
		if c.Epoch >= 0 || c.Metadata != "" {
			out[strconv.Itoa(int(p))] = extras{c.Epoch, c.Metadata}
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// commits are offsets with what stands beside them.
func (c *offsetChange) commits(offsets map[string]int64, known map[string]extras) (map[int32]kafkastream.Commit, error) {
	out := make(map[int32]kafkastream.Commit, len(offsets))
	for p, n := range offsets {
		i, err := strconv.ParseInt(p, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("partition %q: %w", p, bridge.ErrForeignPosition)
		}
		commit := kafkastream.CommitOf(n)
		if b, ok := known[p]; ok {
			commit.Epoch, commit.Metadata = b.Epoch, b.Metadata
		}
		out[int32(i)] = commit
	}
	return out, nil
}

// holds wraps ErrConflict if a partition is neither where it was nor where it is to be.
func (c *offsetChange) holds(now map[string]int64) error {
	for _, p := range slices.Sorted(maps.Keys(c.After)) {
		at, there := now[p]
		old, was := c.Before[p]
		untouched := there == was && at == old
		if !untouched && (!there || at != c.After[p]) {
			return classed{fmt.Errorf("group %s is at %d in partition %s, not at %d where apply put it", c.Group, at, p, c.After[p]), bridge.ErrConflict}
		}
	}
	return nil
}

// kept is how a move is stored.
type kept struct {
	Move   move   `json:"move"`
	Hash   string `json:"hash"`
	Status string `json:"status"`
	// Applied is the move that was applied before this one was planned: until this one is
	// applied, undo takes that one back.
	Applied *kept `json:"applied,omitempty"`
}

// begun reports whether something of the move may be written, and something not.
func (k *kept) begun() bool {
	return k != nil && (k.Status == moveApplying || k.Status == moveUndoing)
}

// lastApplied is what undo takes back while a plan that comes behind k is not applied.
func (k *kept) lastApplied() *kept {
	switch {
	case k == nil:
		return nil
	case k.Status == moveApplied:
		return &kept{Move: k.Move, Hash: k.Hash, Status: k.Status}
	case k.Status == movePlanned:
		return k.Applied
	}
	return nil
}

// hash names the plan: equal plans have equal hashes.
func (m *move) hash() (string, error) {
	b, err := json.Marshal(m)
	if err != nil {
		return "", fmt.Errorf("encode the plan: %w", err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8]), nil
}

// decodeKept reads a stored move, whose hash must hold.
func decodeKept(b []byte) (*kept, error) {
	var k kept
	if err := json.Unmarshal(b, &k); err != nil {
		return nil, fmt.Errorf("the kept plan is damaged: %w: %w", err, bridge.ErrState)
	}
	if k.Move.Schema != moveSchema {
		return nil, bridge.WithHint(fmt.Errorf("the kept plan has the form %q, this program knows %q: %w", k.Move.Schema, moveSchema, bridge.ErrState),
			"use the version of bridge that made it")
	}
	if h, err := k.Move.hash(); err != nil || h != k.Hash || !k.Applied.sound() {
		return nil, bridge.WithHint(fmt.Errorf("the kept plan is not the one that was made: its hash differs: %w", bridge.ErrState), "plan again")
	}
	return &k, nil
}

// sound reports whether the hash of a move holds.
func (k *kept) sound() bool {
	if k == nil {
		return true
	}
	h, err := k.Move.hash()
	return err == nil && h == k.Hash
}

// refusal is the error of a plan that cannot be applied: its gravest problem, and how many
// more there are. Nothing follows from a position that is foreign; then, data that is gone
// says more than anything else.
func (m *move) refusal() error {
	if len(m.Plan.Problems) == 0 {
		return nil
	}
	first, class := m.Plan.Problems[0], errGate
	is := func(what func(positions.Kind) bool) bool {
		i := slices.IndexFunc(m.Plan.Problems, func(p positions.Problem) bool { return what(p.Kind) })
		if i >= 0 {
			first = m.Plan.Problems[i]
		}
		return i >= 0
	}
	if !is(func(k positions.Kind) bool { return k == positions.Foreign }) && is(positions.Kind.Gone) {
		class = bridge.ErrGap
	}
	text := first.Text
	if n := len(m.Plan.Problems) - 1; n > 0 {
		text += fmt.Sprintf(", and %d more problems", n)
	}
	return bridge.WithHint(classed{fmt.Errorf("consumer %s cannot be moved: %s", m.Consumer, text), class}, first.Hint)
}

// offsetsText has numbers of partitions as JSON has keys.
func offsetsText(m map[int32]int64) map[string]int64 {
	out := make(map[string]int64, len(m))
	for p, n := range m {
		out[strconv.Itoa(int(p))] = n
	}
	return out
}
