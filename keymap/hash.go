package keymap

import (
	"crypto/md5"
	"encoding/binary"
	"hash/crc32"
	"math/bits"
)

// murmur2 is the 32-bit MurmurHash2 of the Java client (org.apache.kafka.common.utils.Utils),
// with its seed.
func murmur2(key []byte) uint32 {
	const (
		seed = 0x9747b28c
		m    = 0x5bd1e995
		r    = 24
	)
	h := uint32(seed) ^ uint32(len(key))
	for len(key) >= 4 {
		k := binary.LittleEndian.Uint32(key) * m
		k ^= k >> r
		h = h*m ^ k*m
		key = key[4:]
	}
	switch len(key) {
	case 3:
		h ^= uint32(key[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(key[1]) << 8
		fallthrough
	case 1:
		h = (h ^ uint32(key[0])) * m
	}
	h = (h ^ h>>13) * m
	return h ^ h>>15
}

// murmur2Partition takes the sign away by a mask, as Java's toPositive does.
func murmur2Partition(key []byte, n uint32) uint32 { return murmur2(key) & 0x7fffffff % n }

// crc32Partition treats the checksum as unsigned, as librdkafka does.
func crc32Partition(key []byte, n uint32) uint32 { return crc32.ChecksumIEEE(key) % n }

// fnv1aPartition divides the hash as a signed number and then takes the sign away, as
// sarama's NewHashPartitioner does. That is not the same as a mask.
func fnv1aPartition(key []byte, n uint32) uint32 {
	h := uint32(2166136261)
	for _, b := range key {
		h = (h ^ uint32(b)) * 16777619
	}
	p := int32(h) % int32(n)
	if p < 0 {
		p = -p
	}
	return uint32(p)
}

// rangePartition is of n equal ranges of 2^128 the one that holds MD5(key).
func rangePartition(key []byte, n uint32) uint32 {
	sum := md5.Sum(key)
	return rangeOf(binary.BigEndian.Uint64(sum[:8]), binary.BigEndian.Uint64(sum[8:]), n)
}

// rangeOf is floor(h · n / 2^128), where h is high · 2^64 + low.
func rangeOf(high, low uint64, n uint32) uint32 {
	carried, _ := bits.Mul64(low, uint64(n))
	top, mid := bits.Mul64(high, uint64(n))
	_, carry := bits.Add64(mid, carried, 0)
	return uint32(top + carry)
}
