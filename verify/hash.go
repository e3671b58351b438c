package verify

import (
	"bytes"
	"crypto/md5"
	"math/big"
)

// A hashRange is the part of Kinesis' hash space that a shard owns, both ends inclusive.
type hashRange struct {
	first, last [16]byte
	known       bool
}

func parseRange(first, last string) (h hashRange) {
	a, ok1 := new(big.Int).SetString(first, 10)
	b, ok2 := new(big.Int).SetString(last, 10)
	if !ok1 || !ok2 || a.Sign() < 0 || b.BitLen() > 128 {
		return h
	}
	a.FillBytes(h.first[:])
	b.FillBytes(h.last[:])
	h.known = true
	return h
}

// holds reports whether Kinesis places a key of this hash there. A range that is not known
// holds all.
func (h *hashRange) holds(sum *[md5.Size]byte) bool {
	if !h.known {
		return true
	}
	return bytes.Compare(h.first[:], sum[:]) <= 0 && bytes.Compare(sum[:], h.last[:]) <= 0
}

// holdsKey reports whether Kinesis places a key there.
func (h *hashRange) holdsKey(key []byte) bool {
	if !h.known {
		return true
	}
	sum := md5.Sum(key)
	return h.holds(&sum)
}
