package verify

import (
	"encoding/hex"
	"fmt"
)

// Plus is the sum of two multisets. It fails if a Sum is not 32 hexadecimal digits.
func (s Sum) Plus(o Sum) (Sum, error) {
	a, err := s.tally()
	if err != nil {
		return Sum{}, err
	}
	b, err := o.tally()
	if err != nil {
		return Sum{}, err
	}
	a.merge(b)
	return a.sum(), nil
}

// tally is the form that is computed with. The zero Sum is that of nothing.
func (s Sum) tally() (tally, error) {
	t := tally{N: s.Count, Bytes: s.Bytes}
	if s.Sum == "" {
		return t, nil
	}
	b, err := hex.DecodeString(s.Sum)
	if err != nil || len(b) != 16 {
		return t, fmt.Errorf("%q is not the sum of a window", s.Sum)
	}
	for _, c := range b[:8] {
		t.Hi = t.Hi<<8 | uint64(c)
	}
	for _, c := range b[8:] {
		t.Lo = t.Lo<<8 | uint64(c)
	}
	return t, nil
}
