package kafkastream

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/kinesis-msk-bridge/bridge"
)

// A snapshot that is larger than a message may be is stored in parts: first its bytes, in
// records of their own, then the snapshot record, which only names them. It counts with
// that record, so that it is there as a whole or not at all. Two slots of keys take turns:
// compaction keeps the parts of the last snapshot while the next one is being written.
const (
	partRecord = "part/" // then the slot, a slash, and the number of the part
	partsKind  = "parts" // of the record that names parts
	partKind   = "part"
	wholeBytes = 700 << 10 // the largest record that is stored in one piece
	partBytes  = 480 << 10 // of a part, before it is encoded
)

// A partsBody names the parts of a snapshot.
type partsBody struct {
	Set   string `json:"set"` // what its parts have in common
	Slot  int    `json:"slot"`
	Count int    `json:"count"`
}

type partBody struct {
	Set  string `json:"set"`
	Data []byte `json:"data"`
}

// putParts stores a sealed snapshot in parts.
func (s *Session) putParts(ctx context.Context, slot int, value []byte) error {
	s.sets++
	name := partsBody{Set: fmt.Sprintf("%d.%d.%d", s.id, s.epoch, s.sets), Slot: slot}
	for chunk := range slices.Chunk(value, partBytes) {
		if err := s.put(ctx, partRecord+strconv.Itoa(slot)+"/"+strconv.Itoa(name.Count), partKind, partBody{name.Set, chunk}); err != nil {
			return err
		}
		name.Count++
	}
	return s.put(ctx, snapshotRecord, partsKind, name)
}

// A partSet is what was read of the parts in one slot.
type partSet struct {
	set    string
	chunks map[int][]byte
}

// part keeps one part until the record that names it.
func (h *history) part(name string, value []byte, t *bridge.Tagger) error {
	var b partBody
	if err := unseal(t, partKind, value, &b); err != nil {
		return err
	}
	slot, number, ok := strings.Cut(strings.TrimPrefix(name, partRecord), "/")
	at, err := strconv.Atoi(slot)
	n, err2 := strconv.Atoi(number)
	if !ok || err != nil || err2 != nil || at < 0 || at >= len(h.parts) || n < 0 {
		return fmt.Errorf("%q is not a record of this format: %w", name, bridge.ErrState)
	}
	if h.parts[at].set != b.Set {
		h.parts[at] = partSet{b.Set, map[int][]byte{}}
	}
	h.parts[at].chunks[n] = b.Data
	return nil
}

// whole returns the snapshot that a record holds or names. It is nil if parts of it are not
// there any more, as is right if a later snapshot follows.
func (h *history) whole(value []byte, t *bridge.Tagger) ([]byte, error) {
	var e envelope
	if json.Unmarshal(value, &e) != nil || e.Kind != partsKind {
		h.missing = nil
		return value, nil
	}
	var b partsBody
	if err := unseal(t, partsKind, value, &b); err != nil {
		return nil, err
	}
	if b.Slot < 0 || b.Slot >= len(h.parts) {
		return nil, fmt.Errorf("a snapshot names slot %d: %w", b.Slot, bridge.ErrState)
	}
	h.slot, h.missing = b.Slot, nil
	parts := h.parts[b.Slot]
	var all []byte
	for n := range b.Count {
		if parts.set != b.Set || parts.chunks[n] == nil {
			h.missing = bridge.WithHint(fmt.Errorf("part %d of %d of a snapshot is missing: %w", n, b.Count, bridge.ErrState), othersWrite)
			return nil, nil
		}
		all = append(all, parts.chunks[n]...)
	}
	return all, nil
}
