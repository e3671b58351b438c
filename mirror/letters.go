package mirror

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/keymap"
)

// An Action is what happens to a record that cannot be carried.
type Action int

const (
	// Stop ends the mirror with an error that names the record.
	Stop Action = iota
	// DeadLetter keeps the record as a dead letter and goes on.
	DeadLetter
)

// A Policy has an action for each class of records that cannot be carried. The zero
// Policy stops at the first one. Errors of no class always stop.
type Policy struct {
	Oversize    Action // larger than the target takes
	Undecodable Action // not what the source's format says
	Unmappable  Action // cannot be expressed on the target
}

func (p Policy) of(class string) Action {
	switch class {
	case bridge.ClassOversize:
		return p.Oversize
	case bridge.ClassUndecodable:
		return p.Undecodable
	case bridge.ClassUnmappable:
		return p.Unmappable
	}
	return Stop
}

func (p Policy) check(place bridge.DeadLetters) error {
	if p == (Policy{}) || place != nil {
		return nil
	}
	return fmt.Errorf("the policy keeps dead letters and there is no place for them: %w", bridge.ErrRefused)
}

// route says where a record goes, unless its source already said why it goes nowhere.
func (f *flow) route(rec *bridge.Record) (keymap.Route, error) {
	if rec.Refused != nil {
		return keymap.Route{}, rec.Refused
	}
	return f.r.m.Keys.Route(rec)
}

// remember keeps the key of a record that is about to get another one.
func (f *flow) remember(rec *bridge.Record, routed []byte) {
	if f.keys != nil && (!bytes.Equal(rec.Key, routed) || (rec.Key == nil) != (routed == nil)) {
		f.keys[rec.Position] = rec.Key
	}
}

// sourceKey is the key that a routed record had at its source.
func (f *flow) sourceKey(rec *bridge.Record) []byte {
	if key, changed := f.keys[rec.Position]; changed {
		return key
	}
	return rec.Key
}

// dropped tells of a record that its source keeps from readers.
func (f *flow) dropped(rec *bridge.Record) {
	at, why := rec.Position, rec.Refused
	f.r.told.add("dropped", time.Now(), func(n int64) {
		f.r.log.Info("dropped", "records", n, "partition", f.part.ID, "position", at.String(), "reason", why)
	})
	if fn := f.r.m.Hooks.Dropped; fn != nil {
		fn(f.coordinate(rec.Position), rec.Refused)
	}
}

// letter makes a dead letter of a record that was refused, or returns the error to stop
// with if the policy says so.
func (f *flow) letter(rec *bridge.Record, key []byte, reason error) (bridge.DeadLetter, error) {
	class := bridge.DeadLetterClass(reason)
	if f.r.m.Policy.of(class) != DeadLetter {
		return bridge.DeadLetter{}, f.refused(rec.Position, reason)
	}
	name := f.r.source.Name
	return bridge.DeadLetter{
		Origin: f.coordinate(rec.Position),
		Stream: name[strings.LastIndexByte(name, '/')+1:],
		Key:    key, Value: rec.Value, Headers: rec.Headers, Time: rec.Time,
		Class: class, Reason: reason.Error(), At: time.Now(),
	}, nil
}

// bury returns when the letters of a page are durable. One that its place does not take
// ends the mirror: else the record would be nowhere.
func (f *flow) bury(ctx context.Context, letters []bridge.DeadLetter, w *window) error {
	if len(letters) == 0 {
		return nil
	}
	acks, err := retry(ctx, f.r, "dead letter", f.part.ID, func() ([]bridge.Ack, error) {
		return f.r.m.DeadLetters.Put(ctx, letters)
	})
	if err == nil && len(acks) != len(letters) {
		err = fmt.Errorf("%d of them were acknowledged", len(acks))
	}
	if err != nil {
		err = fmt.Errorf("keep %d dead letters of partition %s from %s on: %w", len(letters), f.part.ID, letters[0].Origin.Position, err)
		if errors.Is(err, bridge.ErrOversize) && bridge.Hint(err) == "" {
			err = bridge.WithHint(err, "name a place in dead_letters that takes records of this size, such as file: or s3:")
		}
		return err
	}
	for i, l := range letters {
		w.buried(acks[i])
		f.r.told.add("dead letter "+l.Class, time.Now(), func(n int64) {
			f.r.log.Warn("kept as a dead letter", "records", n, "partition", l.Origin.Partition, "position", l.Origin.Position.String(), "class", l.Class, "reason", l.Reason)
		})
		if fn := f.r.m.Hooks.DeadLettered; fn != nil {
			fn(l)
		}
	}
	return nil
}

// scanLetters asks the place of dead letters which ones an earlier run left there behind
// the checkpoint: they are neither written nor kept again.
func (r *run) scanLetters(ctx context.Context, cp bridge.Checkpoint, rows map[string]bridge.Row) (presence, error) {
	place, ok := r.m.DeadLetters.(bridge.Recoverable)
	if !ok {
		return newPresence(nil), nil
	}
	found := newPresence(place.Digest)
	from := bridge.Floor{Partitions: cp.Floor.DeadLetters, Clean: cp.Clean}
	for placed, err := range place.Tail(ctx, from) {
		if err != nil {
			return found, fmt.Errorf("look for dead letters that are there already: %w", err)
		}
		done := rows[placed.Origin.Partition].Position
		if placed.Origin.Stream != r.source.String() || !placed.Origin.Position.After(done) {
			continue
		}
		placed.Partition = ""
		found.add(placed, done)
	}
	if n := len(found.lanes); n > 0 {
		r.log.Info("found dead letters of this workflow", "partitions", n)
	}
	return found, nil
}

// buried reports whether a record is a dead letter already. It has its source's key.
func (f *flow) buried(rec *bridge.Record) (bool, error) {
	_, ok, other := f.r.letters.find(f.part.ID, rec)
	if other {
		return false, f.cut(rec.Position, f.r.letters.last[f.part.ID])
	}
	return ok, nil
}
