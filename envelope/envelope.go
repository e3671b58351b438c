// Package envelope reads and writes the format in which several Kafka records of one key
// travel in one Kinesis record with all that Kinesis has no place for: headers, null
// values, timestamp and coordinate.
//
//	4      magic, C5 'B' 'R' 'G'
//	1      version, 1
//	uvar   number of records, at least 1
//	       of each record:
//	uvar     flags: 1 the value is null
//	uvar     length of the provenance header, which may be 0, and the header
//	uvar     number of headers, and of each
//	uvar       length of the name, and the name
//	uvar       0 if the value is null, else its length + 1, and the value
//	uvar     length of the value, and the value
//	4      CRC-32C (Castagnoli) of all before it, big-endian
//
// uvarint is that of Protocol Buffers. The partition key stands beside the data, where
// Kinesis has it. A reader in another language needs these lines and nothing else.
//
// What this package does not promise: who wrote an envelope. That is told by the tag of
// the provenance header; see bridge.Stamp.
package envelope

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/kinesis-msk-bridge/bridge"
)

const (
	magic   = "\xc5BRG"
	version = 1
	sumSize = 4
	// minRecord is the size of the smallest record, which bounds how many there can be.
	minRecord = 4

	flagNull = 1
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ErrPlain says that data is no envelope, which is a fact and not a fault.
var ErrPlain = errors.New("not an envelope")

// A Record is one record of an envelope.
type Record struct {
	Provenance []byte // see bridge.DecodeProvenance; may be empty
	Headers    []bridge.Header
	Value      []byte // nil is a tombstone
}

// Size is how many bytes the record takes in an envelope.
func (r *Record) Size() int {
	n := uvarSize(0) + field(len(r.Provenance)) + uvarSize(len(r.Headers)) + field(len(r.Value))
	for _, h := range r.Headers {
		n += field(len(h.Key)) + uvarSize(len(h.Value)+1) + len(h.Value)
	}
	return n
}

func field(n int) int { return uvarSize(n) + n }

func uvarSize(n int) int {
	size := 1
	for n >>= 7; n > 0; n >>= 7 {
		size++
	}
	return size
}

// Overhead is the most that an envelope of n records takes beside their sizes.
func Overhead(n int) int { return len(magic) + 1 + uvarSize(n) + sumSize }

// Append appends the envelope of recs, of which there must be one at least, to dst.
func Append(dst []byte, recs []Record) []byte {
	start := len(dst)
	dst = append(dst, magic...)
	dst = append(dst, version)
	dst = binary.AppendUvarint(dst, uint64(len(recs)))
	for i := range recs {
		dst = appendRecord(dst, &recs[i])
	}
	return binary.BigEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

func appendRecord(dst []byte, r *Record) []byte {
	flags := uint64(0)
	if r.Value == nil {
		flags |= flagNull
	}
	dst = binary.AppendUvarint(dst, flags)
	dst = appendBytes(dst, r.Provenance)
	dst = binary.AppendUvarint(dst, uint64(len(r.Headers)))
	for _, h := range r.Headers {
		dst = binary.AppendUvarint(dst, uint64(len(h.Key)))
		dst = append(dst, h.Key...)
		if h.Value == nil {
			dst = append(dst, 0)
			continue
		}
		dst = binary.AppendUvarint(dst, uint64(len(h.Value))+1)
		dst = append(dst, h.Value...)
	}
	return appendBytes(dst, r.Value)
}

func appendBytes(dst, b []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

// HasMagic reports whether data begins as an envelope does.
func HasMagic(data []byte) bool { return len(data) >= len(magic) && string(data[:len(magic)]) == magic }

// Decode takes an envelope apart. The error wraps ErrPlain if data does not begin as one,
// and else bridge.ErrUndecodable. The records are slices of data. Memory is bounded by a
// small multiple of len(data).
func Decode(data []byte) ([]Record, error) {
	if !HasMagic(data) {
		return nil, ErrPlain
	}
	if len(data) < len(magic)+1+1+sumSize {
		return nil, bad("is cut")
	}
	body, sum := data[:len(data)-sumSize], binary.BigEndian.Uint32(data[len(data)-sumSize:])
	if crc32.Checksum(body, castagnoli) != sum {
		return nil, bad("has a wrong checksum")
	}
	if v := body[len(magic)]; v != version {
		return nil, bad(fmt.Sprintf("is of version %d, and this program reads %d", v, version))
	}
	d := decoder{b: body[len(magic)+1:]}
	n := d.uvarint()
	if n == 0 || n > uint64(len(d.b)/minRecord) {
		return nil, bad("holds an impossible number of records")
	}
	recs := make([]Record, n)
	for i := range recs {
		d.record(&recs[i])
	}
	if d.bad || len(d.b) != 0 {
		return nil, bad("is not what its lengths say")
	}
	return recs, nil
}

func bad(what string) error { return fmt.Errorf("the envelope %s: %w", what, bridge.ErrUndecodable) }

// A decoder takes values off the front of b; bad says that one was not there.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.bad = true
		d.b = nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) take(n uint64) []byte {
	if n > uint64(len(d.b)) {
		d.bad = true
		d.b = nil
		return nil
	}
	p := d.b[:n:n]
	d.b = d.b[n:]
	return p
}

func (d *decoder) record(r *Record) {
	flags := d.uvarint()
	r.Provenance = d.take(d.uvarint())
	if n := d.uvarint(); n > uint64(len(d.b)/2) {
		d.bad = true
	} else if n > 0 {
		r.Headers = make([]bridge.Header, n)
		for i := range r.Headers {
			d.header(&r.Headers[i])
		}
	}
	r.Value = d.take(d.uvarint())
	switch {
	case flags > flagNull || flags == flagNull && len(r.Value) > 0:
		d.bad = true
	case flags == flagNull:
		r.Value = nil
	}
}

func (d *decoder) header(h *bridge.Header) {
	h.Key = string(d.take(d.uvarint()))
	if n := d.uvarint(); n > 0 {
		h.Value = d.take(n - 1)
	}
}
