//go:build integration

package integration

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// A segment is the log of one partition of a broker that is stopped, in memory. It shares
// nothing with the module.
type segment struct {
	partition int
	dir       string
	batches   []*batch
}

// A batch is one record batch. A control batch stays as it is.
type batch struct {
	head    kmsg.RecordBatch
	control bool
	records []*logged
}

// A logged record is one record of a partition.
type logged struct {
	in      *segment
	offset  int64
	time    int64 // unix ms
	key     []byte
	value   []byte
	headers []kmsg.Header
}

const (
	logFile      = "00000000000000000000.log"
	controlBatch = 1 << 5
	compression  = 7
	// What stands before the records: offset, length, epoch and magic, then the checksum, and
	// what it is taken over.
	crcAt, crcFrom = 17, 21
)

// openSegment reads a partition of a topic from the data directory of a node.
func openSegment(data, topic string, partition int) (*segment, error) {
	s := &segment{partition: partition, dir: filepath.Join(data, fmt.Sprint(topic, "-", partition))}
	raw, err := os.ReadFile(filepath.Join(s.dir, logFile))
	if err != nil {
		return nil, err
	}
	for len(raw) > 0 {
		n := 12 + int(binary.BigEndian.Uint32(raw[8:]))
		if n > len(raw) {
			return nil, fmt.Errorf("%s: a batch of %d bytes, %d are there", s.dir, n, len(raw))
		}
		b, err := s.batch(raw[:n])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.dir, err)
		}
		s.batches = append(s.batches, b)
		raw = raw[n:]
	}
	return s, nil
}

func (s *segment) batch(raw []byte) (*batch, error) {
	b := &batch{}
	if err := b.head.ReadFrom(raw); err != nil {
		return nil, err
	}
	if got := crc(raw); uint32(b.head.CRC) != got {
		return nil, fmt.Errorf("checksum %x of the batch at %d, want %x", b.head.CRC, b.head.FirstOffset, got)
	}
	if b.control = b.head.Attributes&controlBatch != 0; b.control {
		return b, nil
	}
	if b.head.Attributes&compression != 0 {
		return nil, fmt.Errorf("the batch at %d is compressed", b.head.FirstOffset)
	}
	rest := b.head.Records
	for range b.head.NumRecords {
		length, n := binary.Varint(rest)
		var r kmsg.Record
		if err := r.ReadFrom(rest[:n+int(length)]); err != nil {
			return nil, err
		}
		rest = rest[n+int(length):]
		b.records = append(b.records, &logged{
			in: s, offset: b.head.FirstOffset + int64(r.OffsetDelta), time: b.head.FirstTimestamp + r.TimestampDelta64,
			key: r.Key, value: r.Value, headers: r.Headers,
		})
	}
	return b, nil
}

func crc(raw []byte) uint32 {
	return crc32.Checksum(raw[crcFrom:], crc32.MakeTable(crc32.Castagnoli))
}

// encode is the batch with what its records are now, under a right checksum.
func (b *batch) encode() []byte {
	head := b.head
	if !b.control {
		head.Records = nil
		head.NumRecords = int32(len(b.records))
		head.MaxTimestamp = head.FirstTimestamp
		for _, r := range b.records {
			head.MaxTimestamp = max(head.MaxTimestamp, r.time)
			head.LastOffsetDelta = max(head.LastOffsetDelta, int32(r.offset-head.FirstOffset))
			one := kmsg.Record{TimestampDelta64: r.time - head.FirstTimestamp, OffsetDelta: int32(r.offset - head.FirstOffset), Key: r.key, Value: r.value, Headers: r.headers}
			one.Length = int32(len(one.AppendTo(nil)) - 1) // a length of zero takes one byte
			head.Records = one.AppendTo(head.Records)
		}
	}
	raw := head.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[8:], uint32(len(raw)-12))
	binary.BigEndian.PutUint32(raw[crcAt:], crc(raw))
	return raw
}

// records are those of all batches, in order.
func (s *segment) records() (out []*logged) {
	for _, b := range s.batches {
		out = append(out, b.records...)
	}
	return out
}

// end is the next offset.
func (s *segment) end() int64 {
	if len(s.batches) == 0 {
		return 0
	}
	last := s.batches[len(s.batches)-1].head
	return last.FirstOffset + int64(last.LastOffsetDelta) + 1
}

// remove takes a record out. Its offset stays free, as compaction leaves it.
func (s *segment) remove(r *logged) {
	for _, b := range s.batches {
		b.records = slices.DeleteFunc(b.records, func(o *logged) bool { return o == r })
	}
	s.batches = slices.DeleteFunc(s.batches, func(b *batch) bool { return !b.control && len(b.records) == 0 })
}

// add appends records behind the last one, as a producer that is not idempotent does.
func (s *segment) add(recs ...logged) (out []*logged) {
	at := s.end()
	b := &batch{head: kmsg.RecordBatch{
		FirstOffset: at, Magic: 2, PartitionLeaderEpoch: s.batches[len(s.batches)-1].head.PartitionLeaderEpoch,
		FirstTimestamp: recs[0].time, LastOffsetDelta: int32(len(recs) - 1), ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1,
	}}
	for i := range recs {
		r := recs[i]
		r.in, r.offset = s, at+int64(i)
		r.headers = slices.Clone(r.headers)
		b.records = append(b.records, &r)
		out = append(out, &r)
	}
	s.batches = append(s.batches, b)
	return out
}

// write replaces the log. The broker makes its indexes again.
func (s *segment) write() error {
	var raw []byte
	for _, b := range s.batches {
		raw = append(raw, b.encode()...)
	}
	files, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		for _, made := range []string{".index", ".timeindex", ".txnindex", ".snapshot"} {
			if strings.HasSuffix(f.Name(), made) {
				if err := os.Remove(filepath.Join(s.dir, f.Name())); err != nil {
					return err
				}
			}
		}
	}
	return os.WriteFile(filepath.Join(s.dir, logFile), raw, 0o644)
}
