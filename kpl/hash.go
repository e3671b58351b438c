package kpl

import (
	"crypto/md5"
	"encoding/binary"
	"fmt"
	"math"
	"math/big"
	"math/bits"
	"unicode"
	"unicode/utf8"
)

// A HashKey is a place in the hash space of a stream, 0 to 2^128 − 1.
type HashKey struct{ Hi, Lo uint64 }

// KeyHash is the hash key that Kinesis gives to a partition key that comes without an
// explicit one: MD5 of its UTF-8 bytes, big-endian.
func KeyHash(partitionKey []byte) HashKey {
	sum := md5.Sum(partitionKey)
	return HashKey{binary.BigEndian.Uint64(sum[:8]), binary.BigEndian.Uint64(sum[8:])}
}

// ParseHashKey reads the decimal form that the Kinesis API uses: ASCII digits only, at
// most 2^128 − 1.
func ParseHashKey(s string) (HashKey, error) {
	h, size, ok := parseInteger([]byte(s))
	for i := 0; ok && i < len(s); i++ {
		ok = '0' <= s[i] && s[i] <= '9'
	}
	if !ok || size != 0 {
		return HashKey{}, fmt.Errorf("hash key %.60q is not a decimal number below 2^128", s)
	}
	return h, nil
}

// Compare is negative if h is less than o, positive if it is greater, and else 0.
func (h HashKey) Compare(o HashKey) int {
	switch {
	case h == o:
		return 0
	case h.Hi < o.Hi || h.Hi == o.Hi && h.Lo < o.Lo:
		return -1
	}
	return 1
}

// String is the decimal form, which ParseHashKey reads.
func (h HashKey) String() string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], h.Hi)
	binary.BigEndian.PutUint64(b[8:], h.Lo)
	return new(big.Int).SetBytes(b[:]).String()
}

// A HashRange is the part of the hash space that a shard owns. Both ends belong to it. The
// zero value holds only the hash key 0: for a shard whose range is not known use FullRange.
type HashRange struct{ Start, End HashKey }

// FullRange is the whole hash space, by which nothing is left out but explicit hash keys
// that are not in it. The KCL uses it when it does not know the shard.
func FullRange() HashRange {
	return HashRange{End: HashKey{math.MaxUint64, math.MaxUint64}}
}

// ParseHashRange reads the StartingHashKey and EndingHashKey of a shard.
func ParseHashRange(start, end string) (HashRange, error) {
	s, err := ParseHashKey(start)
	if err != nil {
		return HashRange{}, err
	}
	e, err := ParseHashKey(end)
	if err != nil {
		return HashRange{}, err
	}
	if s.Compare(e) > 0 {
		return HashRange{}, fmt.Errorf("hash range begins at %s, behind its end %s", start, end)
	}
	return HashRange{s, e}, nil
}

// Contains reports whether h is in the range.
func (r HashRange) Contains(h HashKey) bool {
	return r.Start.Compare(h) <= 0 && h.Compare(r.End) <= 0
}

// String is "START-END" in decimal.
func (r HashRange) String() string { return r.Start.String() + "-" + r.End.String() }

// parseInteger reads s as Java's new BigInteger(String) does, because that is how the KCL
// reads explicit hash keys: one optional sign, then decimal digits of any script of the
// Basic Multilingual Plane. Numbers outside the hash space are numbers, too: size is
// negative below 0 and positive at 2^128 and above, where h means nothing.
func parseInteger(s []byte) (h HashKey, size int, ok bool) {
	negative := false
	if len(s) > 0 && (s[0] == '-' || s[0] == '+') {
		negative = s[0] == '-'
		s = s[1:]
	}
	if len(s) == 0 {
		return HashKey{}, 0, false
	}
	for len(s) > 0 {
		d, n := digit(s)
		if n == 0 {
			return HashKey{}, 0, false
		}
		s = s[n:]
		if size == 0 {
			h, size = h.shift(d)
		}
	}
	if negative && (size > 0 || h != HashKey{}) {
		size = -1
	}
	return h, size, true
}

// shift is 10·h + d; size is 1 if that is 2^128 or more.
func (h HashKey) shift(d uint64) (r HashKey, size int) {
	over, hi := bits.Mul64(h.Hi, 10)
	mid, lo := bits.Mul64(h.Lo, 10)
	lo, carry := bits.Add64(lo, d, 0)
	hi, carry = bits.Add64(hi, mid, carry)
	if over != 0 || carry != 0 {
		return HashKey{}, 1
	}
	return HashKey{hi, lo}, 0
}

// digit is the value of the first character of s and its length in bytes, which is 0 if it
// is not a decimal digit. Java looks at one UTF-16 unit at a time and so knows no digits
// beyond the Basic Multilingual Plane.
func digit(s []byte) (d uint64, n int) {
	if '0' <= s[0] && s[0] <= '9' {
		return uint64(s[0] - '0'), 1
	}
	c, n := utf8.DecodeRune(s)
	for _, r := range unicode.Nd.R16 {
		if uint32(r.Lo) <= uint32(c) && uint32(c) <= uint32(r.Hi) {
			// Ranges are runs of ten, each from its zero.
			return uint64(c-rune(r.Lo)) % 10, n
		}
	}
	return 0, 0
}
