package bridge

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// A LetterCodec writes and reads the dead letters of one workflow as JSON, one line each,
// for places that keep bytes: files, objects, streams. It is immutable and safe for
// concurrent use.
type LetterCodec struct {
	workflow string
	tagger   *Tagger
}

// NewLetterCodec makes the codec of a workflow.
func NewLetterCodec(workflow string, key WorkflowKey) *LetterCodec {
	return &LetterCodec{workflow, NewTagger(key, "dead letters")}
}

// letterVersion is the format of a line. A program refuses what is newer than itself.
const letterVersion = 1

// A letterLine is one line. Bytes are base64, and null where they are nil. The record's
// time is in milliseconds since 1970, because producers write times that are no date.
type letterLine struct {
	Version   int            `json:"v"`
	Workflow  string         `json:"workflow"`
	Stream    string         `json:"stream"`
	Source    string         `json:"source"` // identity and incarnation
	Partition string         `json:"partition"`
	Position  Position       `json:"position"`
	Class     string         `json:"class"`
	Reason    string         `json:"reason"`
	At        time.Time      `json:"at"`
	Time      int64          `json:"timestamp"`
	Key       []byte         `json:"key"`
	Value     []byte         `json:"value"`
	Headers   []letterHeader `json:"headers,omitempty"`
	Tag       string         `json:"tag,omitempty"`
}

type letterHeader struct {
	Key   string `json:"key,omitempty"`
	Bytes []byte `json:"key_bytes,omitempty"` // in place of Key, if that is not UTF-8
	Value []byte `json:"value"`
}

// Encode returns the letter as one line of JSON, without the end of the line.
func (c *LetterCodec) Encode(l DeadLetter) ([]byte, error) {
	line := letterLine{
		Version: letterVersion, Workflow: c.workflow, Stream: l.Stream, Source: l.Origin.Stream,
		Partition: l.Origin.Partition, Position: l.Origin.Position, Class: l.Class,
		Reason: strings.ToValidUTF8(l.Reason, "?"), At: l.At.UTC(), Time: l.Time.UnixMilli(), Key: l.Key, Value: l.Value,
	}
	for _, h := range l.Headers {
		if utf8.ValidString(h.Key) {
			line.Headers = append(line.Headers, letterHeader{Key: h.Key, Value: h.Value})
		} else {
			line.Headers = append(line.Headers, letterHeader{Bytes: []byte(h.Key), Value: h.Value})
		}
	}
	tag, err := c.tag(line)
	if err != nil {
		return nil, err
	}
	line.Tag = tag
	return json.Marshal(line)
}

// tag is over the line without its tag.
func (c *LetterCodec) tag(line letterLine) (string, error) {
	line.Tag = ""
	b, err := json.Marshal(line)
	if err != nil {
		return "", fmt.Errorf("encode a dead letter: %w", err)
	}
	return hex.EncodeToString(binary.BigEndian.AppendUint64(nil, c.tagger.Sum(b))), nil
}

// Decode reads a line. Without an error and with ours false it is a letter of another
// workflow, or one whose tag does not hold. It wraps ErrState if it is no letter at all,
// or one that a newer version wrote.
func (c *LetterCodec) Decode(b []byte) (l DeadLetter, ours bool, err error) {
	var line letterLine
	if err := json.Unmarshal(bytes.TrimSpace(b), &line); err != nil || line.Version < 1 {
		return l, false, fmt.Errorf("not a dead letter: %w", ErrState)
	}
	if line.Version > letterVersion {
		return l, false, WithHint(fmt.Errorf("a dead letter has format %d, this program knows %d: %w", line.Version, letterVersion, ErrState),
			"use the newer version of bridge that wrote it")
	}
	tag, err := c.tag(line)
	if err != nil || tag != line.Tag || line.Workflow != c.workflow {
		return l, false, err
	}
	l = DeadLetter{
		Origin: Coordinate{line.Source, line.Partition, line.Position}, Stream: line.Stream,
		Key: line.Key, Value: line.Value, Time: time.UnixMilli(line.Time), Class: line.Class, Reason: line.Reason, At: line.At,
	}
	for _, h := range line.Headers {
		l.Headers = append(l.Headers, Header{Key: h.Key + string(h.Bytes), Value: h.Value})
	}
	return l, true, nil
}

// Name is a short name for the letter of a coordinate that nobody can make up without the
// workflow's key, for places that keep letters by name.
func (c *LetterCodec) Name(at Coordinate) string {
	sum := c.tagger.Sum([]byte(c.workflow), []byte(at.Stream), []byte(at.Partition), []byte(at.Position.String()))
	return hex.EncodeToString(binary.BigEndian.AppendUint64(nil, sum))
}
