package kinesistest

import "math/bits"

// sequence is the content of a sequence number in the layout that the service uses today
// ("version 2"), most significant field first:
//
//	2 | shard created, seconds (36 bits) | shard index, low nibble | counter (64 bits) |
//	mark (8 bits) | written, seconds (36 bits) | shard index (32 bits) | 2
//
// That is a number of 186 bits and 56 decimal digits. Because the creation time of the
// shard leads, every number of a child is greater than every number of its parents; because
// the counter comes next, numbers grow within a shard whatever the clock does. What the
// service puts where the mark is has not been published; it is 0 in its examples. Here it
// tells streams apart that were created in the same second.
type sequence struct {
	created int64 // unix seconds
	shard   uint32
	counter uint64
	mark    uint8
	written int64 // unix seconds
}

const (
	sequenceDigits  = 56
	sequenceVersion = 2
	// lastCounter ends a closed shard: its ending number lies behind all its records.
	lastCounter = 1<<63 - 1
	secondsMask = 1<<36 - 1
)

// words is the number as three 64-bit words, most significant first.
func (s sequence) words() (w2, w1, w0 uint64) {
	written := uint64(s.written) & secondsMask
	w0 = sequenceVersion | uint64(s.shard)<<4 | written<<36
	w1 = written>>28 | uint64(s.mark)<<8 | s.counter<<16
	w2 = s.counter>>48 | uint64(s.shard&0xf)<<16 | (uint64(s.created)&secondsMask)<<20 | 2<<56
	return w2, w1, w0
}

// appendTo appends the 56 digits.
func (s sequence) appendTo(dst []byte) []byte {
	w2, w1, w0 := s.words()
	q1, r := bits.Div64(w2, w1, chunk)
	q0, low := bits.Div64(r, w0, chunk)
	top, mid := bits.Div64(q1, q0, chunk)
	var buf [sequenceDigits]byte
	putDigits(buf[37:], low)
	putDigits(buf[18:37], mid)
	putDigits(buf[:18], top)
	return append(dst, buf[:]...)
}

// String is the decimal form.
func (s sequence) String() string { return string(s.appendTo(nil)) }

// parseSequence takes a sequence number apart. It refuses what is not of the layout above,
// other versions included.
func parseSequence(text string) (sequence, error) {
	if len(text) != sequenceDigits {
		return sequence{}, errNumber
	}
	var w2, w1, w0 uint64
	for i := range len(text) {
		d := uint64(text[i] - '0')
		if d > 9 {
			return sequence{}, errNumber
		}
		c0, l0 := bits.Mul64(w0, 10)
		c1, l1 := bits.Mul64(w1, 10)
		var c uint64
		w0, c = bits.Add64(l0, d, 0)
		w1, c = bits.Add64(l1, c0, c)
		w2, _ = bits.Add64(w2*10, c1, c)
	}
	s := sequence{
		created: int64(w2 >> 20 & secondsMask),
		shard:   uint32(w0 >> 4),
		counter: w2<<48 | w1>>16,
		mark:    uint8(w1 >> 8),
		written: int64(w0>>36 | w1&0xff<<28),
	}
	if w2>>56 != 2 || w0&0xf != sequenceVersion || w2>>16&0xf != uint64(s.shard&0xf) || s.counter > lastCounter {
		return sequence{}, errNumber
	}
	return s, nil
}
