package kinesisstream

import (
	"bytes"
	"crypto/md5"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/internal/memtest"
	"github.com/kinesis-msk-bridge/bridge/kpl"
)

// FuzzUnpack holds, for any Kinesis record, in each mode, with and without a mirror that
// wrote the stream, that nothing panics, that memory is bounded, and that every user record
// is there once, in order, as data or as refused. What the mirror wrote is among the seeds.
func FuzzUnpack(f *testing.F) {
	topic := bridge.Identity{Name: "kafka:c/t", Incarnation: "1"}
	stamp := bridge.NewStamp(bridge.StampConfig{Workflow: "w", Source: topic, Target: bridge.Identity{Name: "kinesis:s"}})
	now := time.UnixMilli(1357034400123).UTC()
	for i, format := range []Format{KPL, Envelope} {
		c, err := newCodec(&SinkConfig{Format: format, Stamp: stamp})
		if err != nil {
			f.Fatal(err)
		}
		var recs []*bridge.Record
		for n := range 3 {
			recs = append(recs, &bridge.Record{
				Key: []byte("k"), Value: [][]byte{nil, {}, []byte("v")}[n], Time: now, Subs: 1,
				Origin:  bridge.Coordinate{Stream: topic.String(), Partition: "0", Position: bridge.OffsetPosition(int64(n))},
				Headers: []bridge.Header{{Key: "h"}, {Key: "\xff", Value: []byte("x")}},
			})
		}
		data, _ := c.pack(recs, maxPack)
		f.Add("k", data, uint8(0), uint8(3))
		f.Add("other", data, uint8(1), uint8(3))
		if i == 0 {
			f.Add("k", data[4:len(data)-md5.Size], uint8(2), uint8(4|1))
		} else {
			f.Add("k", data[:len(data)-4], uint8(3), uint8(8|1))
		}
	}
	f.Fuzz(func(t *testing.T, key string, data []byte, mode, flags uint8) {
		switch { // a digest that holds, without which little is reached
		case flags&4 != 0:
			sum := md5.Sum(data)
			data = slices.Concat([]byte("\xf3\x89\x9a\xc2"), data, sum[:])
		case flags&8 != 0:
			data = binary.BigEndian.AppendUint32(slices.Clip(data), crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli)))
		}
		conf := SourceConfig{Aggregation: kpl.Mode(mode % 4), Restore: flags&2 != 0, KeepCopied: flags&16 != 0}
		if flags&1 != 0 {
			conf.Stamp = stamp
		}
		rec := &types.Record{SequenceNumber: aws.String("41"), PartitionKey: &key, Data: data, ApproximateArrivalTimestamp: &now}
		var got []bridge.Record
		memtest.Bounded(t, len(data), 600, func() {
			u := unpacker{shard: "s", keys: kpl.HashRange{End: kpl.HashKey{Hi: 1 << 63}}, conf: &conf}
			got = u.append(nil, rec)
		})
		if err := wholeRecord(got, data); err != nil {
			t.Fatal(err)
		}
	})
}

// wholeRecord says what is missing of the records that one Kinesis record became.
func wholeRecord(got []bridge.Record, data []byte) error {
	if len(got) == 0 {
		if x, err := kpl.Expand(kpl.KeepAll, kpl.FullRange(), nil, data); err != nil || !x.Aggregated || len(x.Records)+len(x.Drops) > 0 {
			return fmt.Errorf("a record of %d bytes became nothing", len(data))
		}
		return nil
	}
	if len(got) == 1 && (got[0].Refused != nil || bytes.Equal(got[0].Value, data)) {
		return nil // as it is, in the mode opaque with the number of what it holds
	}
	for i, r := range got {
		if r.Position.Sub != uint32(i) || int(r.Subs) != len(got) || r.Position.Seq != "41" || r.Refused == nil && r.Value == nil && r.Origin.IsZero() && !r.Foreign && r.Time.IsZero() {
			return fmt.Errorf("record %d of %d is %+v", i, len(got), r)
		}
	}
	return nil
}
