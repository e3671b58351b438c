package checker

import (
	"crypto/md5"
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// The first bytes of a KPL aggregate and of an envelope.
const (
	aggregateMagic = "\xf3\x89\x9a\xc2"
	envelopeMagic  = "\xc5BRG"
)

// Unpack replaces each Kinesis record that is a KPL aggregate or an envelope by the records
// that it holds. It follows the public definition of the first and the documented layout of
// the second.
func Unpack(copies []Copy) (out []Copy, err error) {
	for i := range copies {
		c := &copies[i]
		switch b := c.Value; {
		case len(b) > len(aggregateMagic)+md5.Size && string(b[:4]) == aggregateMagic:
			body := b[4 : len(b)-md5.Size]
			if md5.Sum(body) != [md5.Size]byte(b[len(b)-md5.Size:]) {
				return nil, fmt.Errorf("%s: the digest of the aggregate is wrong", c.Where)
			}
			out, err = aggregate(out, c, body)
		case len(b) > len(envelopeMagic)+1+4 && string(b[:4]) == envelopeMagic:
			if crc32.Checksum(b[:len(b)-4], crc32.MakeTable(crc32.Castagnoli)) != binary.BigEndian.Uint32(b[len(b)-4:]) {
				return nil, fmt.Errorf("%s: the checksum of the envelope is wrong", c.Where)
			}
			out, err = unwrap(out, c, b[5:len(b)-4])
		default:
			out = append(out, *c)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.Where, err)
		}
	}
	return out, nil
}

// A scan takes values off the front of a message.
type scan struct {
	b   []byte
	bad bool
}

func (s *scan) number() uint64 {
	v, n := binary.Uvarint(s.b)
	if n <= 0 {
		s.b, s.bad = nil, true
		return 0
	}
	s.b = s.b[n:]
	return v
}

func (s *scan) bytes(n uint64) []byte {
	if n > uint64(len(s.b)) {
		s.b, s.bad = nil, true
		return nil
	}
	b := s.b[:n:n]
	s.b = s.b[n:]
	return b
}

// field is the next field of a message of Protocol Buffers that has numbers and bytes only.
func (s *scan) field() (number, value uint64, b []byte) {
	tag := s.number()
	switch tag & 7 {
	case 0:
		value = s.number()
	case 2:
		b = s.bytes(s.number())
	default:
		s.b, s.bad = nil, true
	}
	return tag >> 3, value, b
}

// aggregate appends the user records of an aggregate: keys are field 1 of the message, records
// field 3, of which field 1 is the index of the key and field 3 the data.
func aggregate(out []Copy, c *Copy, body []byte) ([]Copy, error) {
	var keys []string
	var records [][]byte
	s := scan{b: body}
	for len(s.b) > 0 {
		switch number, _, b := s.field(); number {
		case 1:
			keys = append(keys, string(b))
		case 3:
			records = append(records, b)
		}
	}
	for i, r := range records {
		key, data := uint64(len(keys)), []byte{}
		in := scan{b: r}
		for len(in.b) > 0 {
			switch number, value, b := in.field(); number {
			case 1:
				key = value
			case 3:
				data = b
			}
		}
		if in.bad || key >= uint64(len(keys)) {
			return nil, fmt.Errorf("user record %d of the aggregate is malformed", i)
		}
		u := *c
		u.Where, u.Value, u.PartitionKey = fmt.Sprint(c.Where, " sub ", i), data, keys[key]
		u.Key, u.Null = decode(keys[key])
		out = append(out, u)
	}
	if s.bad {
		return nil, fmt.Errorf("the aggregate is malformed")
	}
	return out, nil
}

// unwrap appends the records of an envelope: behind their number each has flags, provenance,
// headers and a value.
func unwrap(out []Copy, c *Copy, body []byte) ([]Copy, error) {
	s := scan{b: body}
	for i, n := uint64(0), s.number(); i < n && !s.bad; i++ {
		u := *c
		u.Where = fmt.Sprint(c.Where, " sub ", i)
		s.number()
		s.bytes(s.number())
		for h := s.number(); h > 0 && !s.bad; h-- {
			u.Headers = append(u.Headers, string(s.bytes(s.number())))
			if size := s.number(); size > 0 {
				s.bytes(size - 1)
			}
		}
		u.Value = s.bytes(s.number())
		out = append(out, u)
	}
	if s.bad || len(s.b) > 0 {
		return nil, fmt.Errorf("the envelope is malformed")
	}
	return out, nil
}
