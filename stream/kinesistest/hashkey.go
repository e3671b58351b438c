package kinesistest

import (
	"crypto/md5"
	"encoding/binary"
	"errors"
	"math/bits"
)

// hashKey is a point of the 128-bit space that shards divide among themselves.
type hashKey struct{ hi, lo uint64 }

// maxHashKey is 2^128-1, the last point of the space.
func maxHashKey() hashKey { return hashKey{^uint64(0), ^uint64(0)} }

// keyHash places a partition key: MD5 of its UTF-8 bytes, read as a big-endian number.
func keyHash(key []byte) hashKey {
	sum := md5.Sum(key)
	return hashKey{binary.BigEndian.Uint64(sum[:8]), binary.BigEndian.Uint64(sum[8:])}
}

// cmp orders two points: -1, 0 or 1.
func (h hashKey) cmp(o hashKey) int {
	switch {
	case h == o:
		return 0
	case h.hi < o.hi || h.hi == o.hi && h.lo < o.lo:
		return -1
	}
	return 1
}

// next is h+1; it wraps to zero behind the last point.
func (h hashKey) next() hashKey {
	lo, carry := bits.Add64(h.lo, 1, 0)
	return hashKey{h.hi + carry, lo}
}

// prev is h-1; it wraps to the last point in front of zero.
func (h hashKey) prev() hashKey {
	lo, borrow := bits.Sub64(h.lo, 1, 0)
	return hashKey{h.hi - borrow, lo}
}

// half is the middle of [h, o], rounded up, so that a range of two points or more is cut
// in two parts that are not empty.
func (h hashKey) half(o hashKey) hashKey {
	lo, borrow := bits.Sub64(o.lo, h.lo, 0)
	hi, _ := bits.Sub64(o.hi, h.hi, borrow)
	lo, hi = lo>>1|hi<<63, hi>>1
	lo, carry := bits.Add64(h.lo, lo, 0)
	return hashKey{h.hi + hi + carry, lo}.next()
}

// uniformStart is the first point of part i of n equal parts, i < n: i times the floor of
// 2^128/n, as CreateStream divides the space. The last part takes the remainder.
func uniformStart(i, n int) hashKey {
	if n == 1 {
		return hashKey{}
	}
	// 2^128 / n, by long division of 1:0:0.
	hi, rem := bits.Div64(1, 0, uint64(n))
	lo, _ := bits.Div64(rem, 0, uint64(n))
	carry, low := bits.Mul64(lo, uint64(i))
	return hashKey{hi*uint64(i) + carry, low}
}

// chunk is the largest power of ten below 2^64; numbers are converted 19 digits at a time.
const chunk = 1e19

// errNumber says that a text is no decimal number of the wanted width.
var errNumber = errors.New("not a decimal number in range")

// parseHashKey reads the service's form: "0" or decimal digits without a leading zero,
// below 2^128.
func parseHashKey(s string) (hashKey, error) {
	if s == "" || len(s) > 39 || len(s) > 1 && s[0] == '0' {
		return hashKey{}, errNumber
	}
	var h hashKey
	for i := range len(s) {
		d := uint64(s[i] - '0')
		if d > 9 {
			return hashKey{}, errNumber
		}
		over, hi := bits.Mul64(h.hi, 10)
		carry, lo := bits.Mul64(h.lo, 10)
		lo, c := bits.Add64(lo, d, 0)
		hi, c1 := bits.Add64(hi, carry, c)
		if over != 0 || c1 != 0 {
			return hashKey{}, errNumber
		}
		h = hashKey{hi, lo}
	}
	return h, nil
}

// String is the decimal form that the service uses.
func (h hashKey) String() string {
	// Two divisions by 10^19 leave at most one digit more.
	q1, r := h.hi/chunk, h.hi%chunk
	q0, low := bits.Div64(r, h.lo, chunk)
	top, mid := bits.Div64(q1, q0, chunk)
	var buf [39]byte
	putDigits(buf[20:], low)
	putDigits(buf[1:20], mid)
	buf[0] = byte('0' + top)
	i := 0
	for i < len(buf)-1 && buf[i] == '0' {
		i++
	}
	return string(buf[i:])
}

// putDigits fills dst with the last len(dst) decimal digits of v.
func putDigits(dst []byte, v uint64) {
	for i := len(dst) - 1; i >= 0; i-- {
		dst[i] = byte('0' + v%10)
		v /= 10
	}
}
