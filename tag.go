package bridge

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"log/slog"
	"math/bits"
	"time"
)

// A WorkflowKey is the secret of one workflow, 32 random bytes. Whoever has it can write
// records that the mirror takes for its own. It never prints itself.
type WorkflowKey [32]byte

// NewWorkflowKey makes a key from the system's random source.
func NewWorkflowKey() (WorkflowKey, error) {
	var k WorkflowKey
	if _, err := rand.Read(k[:]); err != nil {
		return k, fmt.Errorf("make a workflow key: %w", err)
	}
	return k, nil
}

// ParseWorkflowKey reads the 64 hexadecimal digits that Reveal wrote.
func ParseWorkflowKey(s string) (WorkflowKey, error) {
	var k WorkflowKey
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(k) {
		return k, fmt.Errorf("workflow key is not 64 hexadecimal digits: %w", ErrState)
	}
	copy(k[:], b)
	return k, nil
}

// Reveal is the key as 64 hexadecimal digits, to be stored.
func (k WorkflowKey) Reveal() string { return hex.EncodeToString(k[:]) }

// String hides the key from fmt.
func (k WorkflowKey) String() string { return "***" }

// GoString hides the key from %#v.
func (k WorkflowKey) GoString() string { return "bridge.WorkflowKey{***}" }

// LogValue hides the key from slog.
func (k WorkflowKey) LogValue() slog.Value { return slog.StringValue("***") }

// MarshalText hides the key from JSON and YAML; see Reveal.
func (k WorkflowKey) MarshalText() ([]byte, error) { return []byte("***"), nil }

// A Tagger computes keyed 64-bit tags. It is immutable and safe for concurrent use.
//
// The tag is SipHash-2-4 (Aumasson and Bernstein, 2012). Long inputs are first condensed
// by a keyed folded multiplication, whose result never leaves the Tagger, because SipHash
// of a whole 1 KB value would cost more than the rest of the mirror's work on it.
type Tagger struct {
	k0, k1 uint64
	secret [5]uint64
}

// NewTagger derives a Tagger from the workflow's key; purpose keeps tags of different
// uses apart.
func NewTagger(key WorkflowKey, purpose string) *Tagger {
	a := sha256.Sum256(append(append([]byte("bridge tag\x00"), purpose...), key[:]...))
	b := sha256.Sum256(append(append([]byte("bridge fold\x00"), purpose...), key[:]...))
	t := &Tagger{
		k0: binary.LittleEndian.Uint64(a[0:]),
		k1: binary.LittleEndian.Uint64(a[8:]),
	}
	t.secret[0] = binary.LittleEndian.Uint64(a[16:]) | 1
	for i := range 4 {
		t.secret[i+1] = binary.LittleEndian.Uint64(b[8*i:]) | 1
	}
	return t
}

// Sum is the tag of the parts, which are kept apart: ("ab", "c") and ("a", "bc") differ.
func (t *Tagger) Sum(parts ...[]byte) uint64 {
	var buf [128]byte
	b := buf[:0]
	for _, p := range parts {
		b = t.condense(b, p)
	}
	return sipHash(t.k0, t.k1, b)
}

// Digest is the tag of a record's key and value. Nil and empty differ.
func (t *Tagger) Digest(key, value []byte) uint64 { return t.Sum(key, value) }

// ContentDigest is an unkeyed digest of a record's key, value and time, and never zero. Nil
// and empty differ. The zero time is that of a record of which the time is not kept.
func ContentDigest(key, value []byte, at time.Time) uint64 {
	h := sha256.New()
	var head [17]byte
	for _, p := range [][]byte{key, value} {
		b := append(head[:0], 0)
		if p != nil {
			b[0] = 1
		}
		h.Write(binary.BigEndian.AppendUint64(b, uint64(len(p))))
		h.Write(p)
	}
	if !at.IsZero() {
		h.Write(binary.BigEndian.AppendUint64(head[:0], uint64(at.UnixMilli())))
	}
	return max(binary.BigEndian.Uint64(h.Sum(nil)), 1)
}

// condense appends 17 bytes that stand for p: whether it is nil, its length, its fold.
func (t *Tagger) condense(dst, p []byte) []byte {
	if p == nil {
		return append(dst, 0)
	}
	dst = append(dst, 1)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(len(p)))
	return binary.LittleEndian.AppendUint64(dst, t.fold(p))
}

func mum(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

// fold condenses p by multiplications of 64 by 64 bits, four chains at a time so that
// the processor can overlap them.
func (t *Tagger) fold(p []byte) uint64 {
	s := &t.secret
	h := s[0] ^ uint64(len(p))
	if len(p) >= 64 {
		a, b, c, d := h, h^s[1], h^s[2], h^s[3]
		for len(p) >= 64 {
			a = mum(binary.LittleEndian.Uint64(p)^s[1], binary.LittleEndian.Uint64(p[8:])^a)
			b = mum(binary.LittleEndian.Uint64(p[16:])^s[2], binary.LittleEndian.Uint64(p[24:])^b)
			c = mum(binary.LittleEndian.Uint64(p[32:])^s[3], binary.LittleEndian.Uint64(p[40:])^c)
			d = mum(binary.LittleEndian.Uint64(p[48:])^s[4], binary.LittleEndian.Uint64(p[56:])^d)
			p = p[64:]
		}
		h = mum(a^s[1], b^s[2]) ^ mum(c^s[3], d^s[4])
	}
	for len(p) >= 16 {
		h = mum(binary.LittleEndian.Uint64(p)^s[1], binary.LittleEndian.Uint64(p[8:])^h)
		p = p[16:]
	}
	var last [16]byte
	copy(last[:], p)
	return mum(binary.LittleEndian.Uint64(last[:])^s[2], binary.LittleEndian.Uint64(last[8:])^h)
}

// sipHash is SipHash-2-4 with a 64-bit result.
func sipHash(k0, k1 uint64, p []byte) uint64 {
	v0, v1 := k0^0x736f6d6570736575, k1^0x646f72616e646f6d
	v2, v3 := k0^0x6c7967656e657261, k1^0x7465646279746573
	n := len(p)
	for len(p) >= 8 {
		m := binary.LittleEndian.Uint64(p)
		v3 ^= m
		v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
		v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
		v0 ^= m
		p = p[8:]
	}
	var last [8]byte
	copy(last[:], p)
	last[7] = byte(n)
	m := binary.LittleEndian.Uint64(last[:])
	v3 ^= m
	v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	v0 ^= m
	v2 ^= 0xff
	for range 4 {
		v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	}
	return v0 ^ v1 ^ v2 ^ v3
}

func sipRound(v0, v1, v2, v3 uint64) (uint64, uint64, uint64, uint64) {
	v0 += v1
	v2 += v3
	v1 = bits.RotateLeft64(v1, 13) ^ v0
	v3 = bits.RotateLeft64(v3, 16) ^ v2
	v0 = bits.RotateLeft64(v0, 32)
	v2 += v1
	v0 += v3
	v1 = bits.RotateLeft64(v1, 17) ^ v2
	v3 = bits.RotateLeft64(v3, 21) ^ v0
	v2 = bits.RotateLeft64(v2, 32)
	return v0, v1, v2, v3
}
