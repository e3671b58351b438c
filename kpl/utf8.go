package kpl

import "unicode/utf8"

// javaString is what Java's new String(b, UTF_8) holds, as UTF-8: b itself if it is valid,
// else a copy with U+FFFD in place of what is not. Java replaces each longest piece that
// could have begun a character; it takes the three bytes of a surrogate for one piece,
// where Unicode counts three and Go's decoder replaces byte by byte.
func javaString(b []byte) []byte {
	if utf8.Valid(b) {
		return b
	}
	out := make([]byte, 0, len(b)+len(b)/2+3)
	for len(b) > 0 {
		if c, n := utf8.DecodeRune(b); c != utf8.RuneError || n > 1 {
			out = append(out, b[:n]...)
			b = b[n:]
			continue
		}
		out = utf8.AppendRune(out, utf8.RuneError)
		b = b[malformed(b):]
	}
	return out
}

// malformed is the length of the piece that Java replaces at the start of b, which does
// not begin with a character.
func malformed(b []byte) int {
	low, high, want := byte(0x80), byte(0xbf), 0
	switch c := b[0]; {
	case 0xc2 <= c && c <= 0xdf:
		want = 2
	case c == 0xe0:
		want, low = 3, 0xa0
	case 0xe1 <= c && c <= 0xef: // with ED, the surrogates
		want = 3
	case c == 0xf0:
		want, low = 4, 0x90
	case 0xf1 <= c && c <= 0xf3:
		want = 4
	case c == 0xf4:
		want, high = 4, 0x8f
	default:
		return 1
	}
	n := 1
	for n < want && n < len(b) && low <= b[n] && b[n] <= high {
		low, high = 0x80, 0xbf
		n++
	}
	return n
}
