package kinesisstream

import (
	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/envelope"
)

// An envelopeCodec puts runs of records of one key as envelopes.
type envelopeCodec struct{ stamp *bridge.Stamp }

func (c *envelopeCodec) record(r *bridge.Record) envelope.Record {
	return envelope.Record{Provenance: c.stamp.Append(nil, r), Headers: r.Headers, Value: r.Value}
}

func (c *envelopeCodec) check(r *bridge.Record, limit int) error {
	rec := c.record(r)
	if size := len(r.Key) + rec.Size() + envelope.Overhead(1); size > limit {
		return oversize(size, limit)
	}
	return nil
}

func (c *envelopeCodec) pack(recs []*bridge.Record, max int) ([]byte, int) {
	var out []envelope.Record
	size := envelope.Overhead(len(recs))
	for i, r := range recs {
		rec := c.record(r)
		if size += rec.Size(); i > 0 && size > max {
			break
		}
		out = append(out, rec)
	}
	return envelope.Append(nil, out), len(out)
}

func (c *envelopeCodec) mark(r *bridge.Record) mark { return mark{origin: r.Origin} }
func (c *envelopeCodec) ledgered() bool             { return false }
