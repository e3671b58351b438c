package keymap

import (
	"bytes"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/kinesis-msk-bridge/bridge"
)

// Field is a strategy whose key is a member of the value: that which pointer, a JSON
// pointer (RFC 6901), names in a value that is JSON. It is written as the record's key and
// placed by then. A text is its own key; numbers and booleans are keys as they are written.
// Order is kept among records of one source key that have one target key, and no others,
// because others were never in one order.
//
// A value that is not JSON, or that has nothing there, or null, a list or an object, is
// bridge.ErrUnmappable.
func Field(pointer string, then Strategy) (Strategy, error) {
	if pointer == "" || pointer[0] != '/' {
		return nil, fmt.Errorf("keymap field: %q is not a JSON pointer such as /customer/id", pointer)
	}
	var path []string
	for part := range strings.SplitSeq(pointer[1:], "/") {
		path = append(path, strings.NewReplacer("~1", "/", "~0", "~").Replace(part))
	}
	return &field{pointer, path, then}, nil
}

type field struct {
	pointer string
	path    []string
	then    Strategy
}

func (f *field) Name() string { return "field(" + f.pointer + "," + f.then.Name() + ")" }

func (f *field) Route(r *bridge.Record) (Route, error) {
	key, err := f.key(r.Value)
	if err != nil {
		return Route{}, fmt.Errorf("keymap field %s: %w: %w", f.pointer, err, bridge.ErrUnmappable)
	}
	was := *r
	was.Key = key
	return f.then.Route(&was)
}

// Holds asks the strategy that places the keys.
func (f *field) Holds(parts []bridge.Partition) error { return holds(f.then, parts) }

var errNoField = errors.New("the value has no text, number or boolean there")

func (f *field) key(value []byte) ([]byte, error) {
	raw := json.RawMessage(value)
	if !json.Valid(raw) {
		return nil, errors.New("the value is not JSON")
	}
	for _, name := range f.path {
		raw = member(raw, name)
		if raw == nil {
			return nil, errNoField
		}
	}
	raw = bytes.TrimSpace(raw)
	switch raw[0] {
	case '{', '[', 'n':
		return nil, errNoField
	case '"':
		var text string
		err := json.Unmarshal(raw, &text)
		return []byte(text), err
	}
	return raw, nil
}

// member is what an object has under a name, or a list at a number; nil if nothing.
func member(raw json.RawMessage, name string) json.RawMessage {
	var object map[string]json.RawMessage
	if json.Unmarshal(raw, &object) == nil {
		return object[name]
	}
	var list []json.RawMessage
	if i, err := strconv.ParseUint(name, 10, 31); err == nil && json.Unmarshal(raw, &list) == nil && i < uint64(len(list)) {
		return list[i]
	}
	return nil
}

// Table is a strategy that places each key where a table says. The table is CSV, one line a
// key: the key and the number of its partition. Keys that are not in it are placed by
// other; if that is nil they are bridge.ErrUnmappable. The name holds a digest of the
// table, so that a workflow does not go on under another one.
func Table(table io.Reader, partitions int, other Strategy) (Strategy, error) {
	sum := sha256.New()
	lines := csv.NewReader(io.TeeReader(table, sum))
	lines.FieldsPerRecord = 2
	t := &listed{partition: map[string]string{}, other: other}
	for {
		line, err := lines.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("keymap table: %w", err)
		}
		n, _ := lines.FieldPos(0)
		p, err := strconv.ParseUint(line[1], 10, 31)
		if _, twice := t.partition[line[0]]; err != nil || p >= uint64(partitions) || twice {
			return nil, fmt.Errorf("keymap table, line %d: want a key that is on no other line, and a partition of 0 to %d", n, partitions-1)
		}
		t.partition[line[0]] = strconv.FormatUint(p, 10)
	}
	if len(t.partition) == 0 {
		return nil, errors.New("keymap table: it has no lines")
	}
	then := "none"
	if other != nil {
		then = other.Name()
	}
	t.name = fmt.Sprintf("table(%s,%s)", hex.EncodeToString(sum.Sum(nil)[:8]), then)
	return t, nil
}

type listed struct {
	name      string
	partition map[string]string
	other     Strategy
}

func (t *listed) Name() string { return t.name }

func (t *listed) Route(r *bridge.Record) (Route, error) {
	if p, ok := t.partition[string(r.Key)]; ok && r.Key != nil {
		return Route{Key: r.Key, Partition: p}, nil
	}
	if t.other == nil {
		return Route{}, fmt.Errorf("keymap table: a key of %d bytes is not in it: %w", len(r.Key), bridge.ErrUnmappable)
	}
	return t.other.Route(r)
}

// Holds asks the strategy for keys that are not in the table: those that are stay where they are.
func (t *listed) Holds(parts []bridge.Partition) error { return holds(t.other, parts) }

// Shard is a strategy that puts each shard into a partition of its own, that of its number,
// for consumers that had one worker a shard. With the first reshard keys move to other shards,
// and so to other partitions: that is bridge.ErrChanged, see Conditional.
func Shard(partitions int) (Strategy, error) {
	if partitions < 1 || partitions > maxPartitions {
		return nil, fmt.Errorf("keymap shard over %d partitions: there must be 1 to %d", partitions, maxPartitions)
	}
	return &sharded{partitions}, nil
}

type sharded struct{ partitions int }

func (s *sharded) Name() string { return fmt.Sprintf("shard(%d)", s.partitions) }

// Holds reports a reshard: a shard whose parent is there, too, has keys that the parent had.
func (s *sharded) Holds(parts []bridge.Partition) error {
	there := map[string]bool{}
	for _, p := range parts {
		there[p.ID] = true
	}
	for _, p := range parts {
		for _, parent := range p.Parents {
			if there[parent] {
				return resharded(fmt.Sprintf("%s came from %s", p.ID, parent))
			}
		}
	}
	return nil
}

func resharded(how string) error {
	err := fmt.Errorf("keymap shard: %s, so the stream was resharded: %w", how, bridge.ErrChanged)
	return bridge.WithHint(err, "keys are in other shards now, and would be in two partitions; begin a new workflow with keymap murmur2 on an empty topic")
}

func (s *sharded) Route(r *bridge.Record) (Route, error) {
	digits, ok := strings.CutPrefix(r.Partition, "shardId-")
	n, err := strconv.ParseUint(digits, 10, 63)
	if !ok || err != nil || n >= uint64(s.partitions) {
		return Route{}, resharded(fmt.Sprintf("%s has no partition among %d", r.Partition, s.partitions))
	}
	return Route{Key: r.Key, Partition: strconv.FormatUint(n, 10)}, nil
}
