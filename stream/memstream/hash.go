package memstream

import (
	"bytes"
	"crypto/md5"
	"math/big"
)

// A hash is a 128-bit number, big-endian.
type hash [16]byte

// bounds are the first and the last hash of a shard, inclusive.
type bounds struct{ first, last hash }

// hashOf is where Kinesis places a key.
func hashOf(key []byte) hash { return md5.Sum(key) }

func (b bounds) holds(h hash) bool {
	return bytes.Compare(b.first[:], h[:]) <= 0 && bytes.Compare(h[:], b.last[:]) <= 0
}

func (h hash) int() *big.Int { return new(big.Int).SetBytes(h[:]) }

func hashInt(n *big.Int) (h hash) {
	n.FillBytes(h[:])
	return h
}

var one = big.NewInt(1)

// slice is the i-th of n equal ranges.
func slice(i, n int) bounds {
	at := func(i int) *big.Int {
		x := new(big.Int).Lsh(one, 128)
		return x.Mul(x, big.NewInt(int64(i))).Div(x, big.NewInt(int64(n)))
	}
	last := at(i + 1)
	return bounds{hashInt(at(i)), hashInt(last.Sub(last, one))}
}

func (b bounds) halves() (left, right bounds, ok bool) {
	first, last := b.first.int(), b.last.int()
	if first.Cmp(last) == 0 {
		return b, b, false
	}
	mid := new(big.Int).Add(first, last)
	mid.Rsh(mid, 1)
	left = bounds{b.first, hashInt(mid)}
	right = bounds{hashInt(mid.Add(mid, one)), b.last}
	return left, right, true
}

func (b bounds) join(c bounds) (bounds, bool) {
	if bytes.Compare(b.first[:], c.first[:]) > 0 {
		b, c = c, b
	}
	next := b.last.int()
	if next.Add(next, one).Cmp(c.first.int()) != 0 {
		return bounds{}, false
	}
	return bounds{b.first, c.last}, true
}

func (b bounds) decimal() (first, last string) {
	return b.first.int().String(), b.last.int().String()
}
