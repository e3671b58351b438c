package kinesisstream

import (
	"bytes"
	"unicode/utf8"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/kpl"
)

// The tags of a user record that the mirror writes. Bytes are in base64, see
// kpl.AppendTagBytes.
//
//	bridge          the provenance header
//	bridge.null     the value was null; no value
//	bridge.h.NAME   a header and its value; no value if that was null
//	bridge.b.CODE   a header whose name is not UTF-8; CODE is the name in base64
const (
	tagProvenance = bridge.ProvenanceHeader
	tagNull       = "bridge.null"
	tagHeader     = "bridge.h."
	tagByteHeader = "bridge.b."
)

// A kplCodec puts runs of records of one key as aggregates.
type kplCodec struct{ stamp *bridge.Stamp }

func (c *kplCodec) check(r *bridge.Record, limit int) error {
	var b kpl.Builder
	if size := len(r.Key) + b.SizeWith(r.Key, nil, r.Value, c.tags(r)); size > limit {
		return oversize(size, limit)
	}
	return nil
}

func (c *kplCodec) pack(recs []*bridge.Record, max int) ([]byte, int) {
	var b kpl.Builder
	for i, r := range recs {
		tags := c.tags(r)
		if i > 0 && b.SizeWith(r.Key, nil, r.Value, tags) > max {
			break
		}
		if err := b.Add(r.Key, nil, r.Value, tags); err != nil {
			break // of the key only, which was checked
		}
	}
	return b.Finish(nil), b.Len()
}

func (c *kplCodec) tags(r *bridge.Record) []kpl.Tag {
	tags := make([]kpl.Tag, 0, 2+len(r.Headers))
	tags = append(tags, kpl.Tag{Key: []byte(tagProvenance), Value: kpl.AppendTagBytes(nil, c.stamp.Append(nil, r))})
	if r.Value == nil {
		tags = append(tags, kpl.Tag{Key: []byte(tagNull)})
	}
	for _, h := range r.Headers {
		t := kpl.Tag{Key: []byte(tagHeader + h.Key)}
		if !utf8.ValidString(h.Key) {
			t.Key = kpl.AppendTagBytes([]byte(tagByteHeader), []byte(h.Key))
		}
		if h.Value != nil {
			t.Value = kpl.AppendTagBytes(nil, h.Value)
		}
		tags = append(tags, t)
	}
	return tags
}

func (c *kplCodec) mark(r *bridge.Record) mark { return mark{origin: r.Origin} }
func (c *kplCodec) ledgered() bool             { return false }

// A carried is what the mirror wrote beside a value.
type carried struct {
	provenance []byte // empty if the record is none of any mirror's
	headers    []bridge.Header
	null       bool
	// moved: it does not stand under the key of its Kinesis record alone, as all do that a
	// mirror wrote.
	moved bool
}

// carriedByTags reads the tags of a user record. Tags that no mirror writes make it a record
// of somebody else.
func carriedByTags(tags []kpl.Tag) carried {
	var c carried
	for _, t := range tags {
		name, isText := bytes.CutPrefix(t.Key, []byte(tagHeader))
		coded, isBytes := bytes.CutPrefix(t.Key, []byte(tagByteHeader))
		var err error
		switch {
		case string(t.Key) == tagProvenance:
			c.provenance, err = t.AppendBytes(nil)
		case string(t.Key) == tagNull:
			c.null = true
		case isText || isBytes:
			if isBytes {
				name, err = (kpl.Tag{Value: coded}).AppendBytes(nil)
			}
			h := bridge.Header{Key: string(name)}
			if t.Value != nil && err == nil {
				h.Value, err = t.AppendBytes([]byte{})
			}
			c.headers = append(c.headers, h)
		}
		if err != nil {
			return carried{}
		}
	}
	return c
}
