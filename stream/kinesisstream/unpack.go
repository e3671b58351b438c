package kinesisstream

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/envelope"
	"github.com/kinesis-msk-bridge/bridge/kpl"
)

// An unpacker makes records of what GetRecords returned from one shard.
type unpacker struct {
	shard   string
	keys    kpl.HashRange
	conf    *SourceConfig
	decoder kpl.Decoder
	room    []byte // for the keys of the page at hand
}

// page makes room for the keys of a page: they share one piece of memory, as the records of a
// page mostly come and go together.
func (u *unpacker) page(recs []types.Record) {
	n := 0
	for i := range recs {
		n += len(aws.ToString(recs[i].PartitionKey))
	}
	u.room = make([]byte, 0, n)
}

// key is a partition key, as a part of the page's memory.
func (u *unpacker) key(s string) []byte {
	from := len(u.room)
	u.room = append(u.room, s...)
	return u.room[from:len(u.room):len(u.room)]
}

// append appends the records of one Kinesis record to out, in the order of their Sub. What
// cannot be decoded and what readers of the stream are not given is among them, with
// Refused set.
func (u *unpacker) append(out []bridge.Record, rec *types.Record) []bridge.Record {
	base := bridge.Record{
		Partition: u.shard,
		Position:  bridge.Position{Seq: aws.ToString(rec.SequenceNumber)},
		Subs:      1,
		Time:      aws.ToTime(rec.ApproximateArrivalTimestamp).UTC().Truncate(time.Millisecond),
	}
	if rec.ApproximateArrivalTimestamp != nil {
		base.Arrived = base.Time
	}
	if rec.PartitionKey != nil {
		base.Key = u.key(*rec.PartitionKey)
	}
	if base.Value = rec.Data; base.Value == nil {
		base.Value = []byte{}
	}
	switch {
	case kpl.HasMagic(base.Value):
		return u.aggregate(out, base)
	case envelope.HasMagic(base.Value) && u.conf.Stamp != nil:
		return u.envelope(out, base)
	}
	return append(out, base)
}

// aggregate takes apart what the KPL, or the mirror in its format, put together.
func (u *unpacker) aggregate(out []bridge.Record, base bridge.Record) []bridge.Record {
	x, err := u.decoder.Expand(u.conf.Aggregation, u.keys, base.Key, base.Value)
	drops := x.Drops
	if err != nil && len(drops) == 0 { // the error is that of the first damaged one of them
		base.Refused = err
		return append(out, base)
	}
	drop := func() {
		r := user(base, &drops[0].UserRecord)
		class := bridge.ErrDropped
		if drops[0].Reason.Undecodable() {
			class = bridge.ErrUndecodable
		}
		r.Refused = fmt.Errorf("user record %d of %d: %s: %w", r.Position.Sub, r.Subs, drops[0].Reason, class)
		if drops = drops[1:]; class == bridge.ErrUndecodable || !u.conf.ManyKeys {
			out = append(out, r)
		}
	}
	for i := range x.Records {
		for len(drops) > 0 && drops[0].Sub < x.Records[i].Sub {
			drop()
		}
		r := user(base, &x.Records[i])
		if u.conf.Stamp != nil {
			c := carriedByTags(x.Records[i].Tags)
			c.moved = x.Records[i].ExplicitHashKey != nil || !u.conf.ManyKeys && !bytes.Equal(base.Key, r.Key)
			u.judge(&r, c)
		}
		out = append(out, r)
	}
	for len(drops) > 0 {
		drop()
	}
	return out
}

// user is the record that a user record is, standing in the Kinesis record of base. The
// slices of the expansion are good until the next one, but what they point to is not theirs.
func user(base bridge.Record, u *kpl.UserRecord) bridge.Record {
	base.Position.Sub, base.Subs, base.Key = u.Sub, u.Subs, u.Key
	if base.Value = u.Data; base.Value == nil {
		base.Value = []byte{}
	}
	return base
}

// envelope takes an envelope apart. One that is not whole is damaged if the stream was
// written by a mirror, and some producer's data if not; so is one that no mirror signed.
func (u *unpacker) envelope(out []bridge.Record, base bridge.Record) []bridge.Record {
	recs, err := envelope.Decode(base.Value)
	if err != nil {
		if u.conf.Restore {
			base.Refused = err
		}
		return append(out, base)
	}
	start := len(out)
	for i := range recs {
		r := base
		r.Position.Sub, r.Subs, r.Value = uint32(i), uint32(len(recs)), recs[i].Value
		if r.Value == nil {
			r.Value = []byte{}
		}
		u.judge(&r, carried{provenance: recs[i].Provenance, headers: recs[i].Headers, null: recs[i].Value == nil})
		if r.Origin.IsZero() && r.CameFrom == "" && !u.conf.Restore {
			return append(out[:start], base)
		}
		out = append(out, r)
	}
	return out
}

// judge finds out whether the record is the workflow's own, or came by another one from a
// stream that is known, and brings back what stood
// beside its value.
func (u *unpacker) judge(r *bridge.Record, c carried) {
	if len(c.provenance) == 0 {
		return
	}
	value := r.Value
	if c.null {
		value = nil
	}
	origin, p, mark := u.conf.Stamp.Judge(c.provenance, r.Key, value)
	if mark == bridge.Ours && c.moved && u.conf.KeepCopied {
		mark = bridge.Copied
	}
	switch mark {
	case bridge.NotProvenance:
		return
	case bridge.Ours:
		r.Origin = origin
	case bridge.OtherWorkflow:
		r.CameFrom = u.conf.Stamp.Known(p)
	case bridge.Copied:
		r.Foreign = true
		if u.conf.KeepCopied {
			c.headers = append(slices.Clip(c.headers), bridge.Header{Key: bridge.ProvenanceHeader, Value: c.provenance})
		}
	}
	if u.conf.Restore || mark == bridge.Ours {
		r.Value, r.Headers, r.Time = value, c.headers, p.Time
	}
}
