package bridge

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// ProvenanceHeader is the name of the one header that the mirror adds to a Kafka record.
// If a record has several of that name, the last one counts.
const ProvenanceHeader = "bridge"

// provenanceVersion is the first byte of the header. Layout of version 1, where uvarint
// and varint are those of Protocol Buffers and numbers of fixed size are big-endian:
//
//	1      version
//	4      workflow: first bytes of SHA-256("bridge workflow " + name)
//	uvar   direction epoch
//	4      source: first bytes of SHA-256("bridge stream " + identity)
//	1      kind of partition: 0 text, 1 decimal number, 2 "shardId-" and 12 digits
//	uvar   the number, or the length of the text that follows
//	1      digits of the sequence number or offset
//	n      its digits, two a byte, high half first; an odd one out is followed by f
//	uvar   index of the user record in its aggregate
//	uvar   user records in the aggregate, 1 for a plain record
//	var    record time, milliseconds since 1970
//	8      tag
const provenanceVersion = 1

const tagSize = 8

// A Provenance is what the header says.
type Provenance struct {
	Workflow  uint32 // see WorkflowID
	Epoch     uint32 // of the direction; it grows each time that the direction turns
	Source    uint32 // see SourceID
	Partition string
	Position  Position
	Subs      uint32
	Time      time.Time
	Tag       uint64
}

// WorkflowID is the short form of a workflow's name in the header.
func WorkflowID(name string) uint32 { return shortID("bridge workflow ", name) }

// SourceID is the short form of a stream's identity in the header; the checkpoints spell
// it out.
func SourceID(i Identity) uint32 { return shortID("bridge stream ", i.String()) }

func shortID(purpose, s string) uint32 {
	h := sha256.Sum256([]byte(purpose + s))
	return binary.BigEndian.Uint32(h[:])
}

const (
	partitionText = iota
	partitionNumber
	partitionShard
)

const shardPrefix = "shardId-"

// Append writes the header of p, without its tag, behind dst. Positions must hold decimal
// digits only, as every Position made by this module does.
func (p *Provenance) append(dst []byte) []byte {
	dst = append(dst, provenanceVersion)
	dst = binary.BigEndian.AppendUint32(dst, p.Workflow)
	dst = binary.AppendUvarint(dst, uint64(p.Epoch))
	dst = binary.BigEndian.AppendUint32(dst, p.Source)
	dst = appendPartition(dst, p.Partition)
	dst = appendDigits(dst, p.Position.Seq)
	dst = binary.AppendUvarint(dst, uint64(p.Position.Sub))
	dst = binary.AppendUvarint(dst, uint64(max(p.Subs, 1)))
	return binary.AppendVarint(dst, p.Time.UnixMilli())
}

func appendPartition(dst []byte, id string) []byte {
	kind, digits := byte(partitionNumber), id
	if rest, ok := strings.CutPrefix(id, shardPrefix); ok && len(rest) == 12 {
		kind, digits = partitionShard, trimZeros(rest)
		if digits == "" {
			digits = "0"
		}
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	if err != nil || strconv.FormatUint(n, 10) != digits {
		dst = append(dst, partitionText)
		dst = binary.AppendUvarint(dst, uint64(len(id)))
		return append(dst, id...)
	}
	return binary.AppendUvarint(append(dst, kind), n)
}

func appendDigits(dst []byte, seq string) []byte {
	dst = append(dst, byte(len(seq)))
	for i := 0; i+1 < len(seq); i += 2 {
		dst = append(dst, (seq[i]-'0')<<4|(seq[i+1]-'0'))
	}
	if len(seq)%2 == 1 {
		dst = append(dst, (seq[len(seq)-1]-'0')<<4|0xf)
	}
	return dst
}

// DecodeProvenance reads a header. It checks the form, not the tag. What it cannot decode
// is somebody else's header of that name, and it returns an error wrapping ErrUndecodable.
func DecodeProvenance(b []byte) (Provenance, error) {
	var p Provenance
	if len(b) < 1+4+1+4+1+1+1+1+1+1+tagSize || b[0] != provenanceVersion {
		return p, fmt.Errorf("header %q of %d bytes: %w", ProvenanceHeader, len(b), ErrUndecodable)
	}
	body, tag := b[:len(b)-tagSize], b[len(b)-tagSize:]
	p.Tag = binary.BigEndian.Uint64(tag)
	d := decoder{b: body[1:]}
	p.Workflow = d.uint32()
	p.Epoch = d.uvarint32()
	p.Source = d.uint32()
	p.Partition = d.partition()
	p.Position.Seq = d.digits()
	p.Position.Sub = d.uvarint32()
	p.Subs = d.uvarint32()
	p.Time = time.UnixMilli(d.varint())
	if d.bad || len(d.b) != 0 || p.Subs == 0 || p.Position.Seq == "" {
		return Provenance{}, fmt.Errorf("header %q of %d bytes: %w", ProvenanceHeader, len(b), ErrUndecodable)
	}
	return p, nil
}

// A decoder takes values off the front of b; bad says that one was not there.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) take(n uint64) []byte {
	if d.bad || n > uint64(len(d.b)) {
		d.bad = true
		return nil
	}
	p := d.b[:n]
	d.b = d.b[n:]
	return p
}

func (d *decoder) uint32() uint32 {
	p := d.take(4)
	if p == nil {
		return 0
	}
	return binary.BigEndian.Uint32(p)
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.bad = true
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) uvarint32() uint32 {
	v := d.uvarint()
	if v > 1<<32-1 {
		d.bad = true
	}
	return uint32(v)
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.bad = true
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) partition() string {
	kind := d.take(1)
	n := d.uvarint()
	switch {
	case d.bad:
	case kind[0] == partitionText:
		return string(d.take(n))
	case kind[0] == partitionNumber:
		return strconv.FormatUint(n, 10)
	case kind[0] == partitionShard && n < 1e12:
		return shardName(n)
	}
	d.bad = true
	return ""
}

// shardName is "shardId-" and 12 digits.
func shardName(n uint64) string {
	b := []byte(shardPrefix + "000000000000")
	for i := len(b) - 1; n > 0; i, n = i-1, n/10 {
		b[i] = '0' + byte(n%10)
	}
	return string(b)
}

func (d *decoder) digits() string {
	head := d.take(1)
	if head == nil {
		return ""
	}
	n := int(head[0])
	p := d.take(uint64(n+1) / 2)
	if p == nil || n > maxSeqDigits {
		d.bad = true
		return ""
	}
	var out [maxSeqDigits]byte
	for i, two := range p {
		high, low := two>>4, two&0xf
		if odd := 2*i+1 == n; high > 9 || low > 9 && !odd || odd && low != 0xf {
			d.bad = true
			return ""
		}
		out[2*i], out[2*i+1] = '0'+high, '0'+low
	}
	return string(out[:n])
}
