package kinesisstream

import (
	"bytes"
	"encoding/binary"
	"math"
	"unicode/utf16"
	"unicode/utf8"
)

// A span is a place in a slice: b[from:to].
type span struct{ from, to int }

func (p span) of(b []byte) []byte { return b[p.from:p.to] }

func (p span) in(s string) string { return s[p.from:p.to] }

// A jsonScanner takes values off a JSON text. It understands all that the SDK's decoder
// accepts in the usual form; bad says that it met something else, which the SDK's decoder
// must then judge. Once it is bad it moves no further.
type jsonScanner struct {
	b    []byte
	i    int
	text []byte // the strings that were kept
	bad  bool
}

// peek is the next byte that is not white space, 0 at the end.
func (s *jsonScanner) peek() byte {
	for s.i < len(s.b) {
		switch c := s.b[s.i]; c {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return c
		}
	}
	return 0
}

// expect takes one delimiter.
func (s *jsonScanner) expect(c byte) {
	if s.peek() != c {
		s.bad = true
		return
	}
	s.i++
}

// more reports whether an n-th item follows in an object or array that ends with end,
// and takes the comma before it or the end.
func (s *jsonScanner) more(n int, end byte) bool {
	switch c := s.peek(); {
	case s.bad:
	case c == end:
		s.i++
	case n == 0:
		return true
	case c == ',':
		s.i++
		return true
	default:
		s.bad = true
	}
	return false
}

// name takes the name of a member and its colon. Names with escapes are not usual.
func (s *jsonScanner) name() []byte {
	name := s.raw()
	s.expect(':')
	return name
}

// null takes a null, if one follows.
func (s *jsonScanner) null() bool {
	if s.peek() != 'n' {
		return false
	}
	s.literal("null")
	return !s.bad
}

func (s *jsonScanner) literal(word string) {
	if !bytes.HasPrefix(s.b[s.i:], []byte(word)) {
		s.bad = true
		return
	}
	s.i += len(word)
}

// raw takes a string without escapes and returns what stands between its quotes.
func (s *jsonScanner) raw() []byte {
	at := s.quoted()
	raw := at.of(s.b)
	if !isPlain(raw) {
		s.bad = true
	}
	return raw
}

// quoted takes a string up to the next quote, which is its end if it has no escapes.
func (s *jsonScanner) quoted() span {
	s.expect('"')
	if s.bad {
		return span{}
	}
	n := bytes.IndexByte(s.b[s.i:], '"')
	if n < 0 {
		s.bad = true
		return span{}
	}
	at := span{s.i, s.i + n}
	s.i += n + 1
	return at
}

// isPlain reports whether a string of JSON stands for itself: it has neither escapes nor
// control characters. It looks at eight bytes at a time.
func isPlain(b []byte) bool {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	for len(b) >= 8 {
		w := binary.LittleEndian.Uint64(b)
		slash := w ^ ones*'\\'
		if ((w-ones*0x20)&^w|(slash-ones)&^slash)&highs != 0 {
			return false
		}
		b = b[8:]
	}
	for _, c := range b {
		if c < 0x20 || c == '\\' {
			return false
		}
	}
	return true
}

// keep takes a string and appends what it stands for to the text.
func (s *jsonScanner) keep() span {
	begin := s.i
	at := s.quoted()
	from := len(s.text)
	if raw := at.of(s.b); isPlain(raw) {
		s.text = append(s.text, raw...)
	} else {
		s.i = begin
		s.unescape()
	}
	return span{from, len(s.text)}
}

// unescape takes a string with escapes. Bytes that are no UTF-8 and half surrogates, for
// which there is a replacement, are not usual.
func (s *jsonScanner) unescape() {
	s.expect('"')
	for from := len(s.text); s.i < len(s.b) && !s.bad; {
		switch c := s.b[s.i]; {
		case c == '"':
			s.i++
			s.bad = s.bad || !utf8.Valid(s.text[from:])
			return
		case c < 0x20:
			s.bad = true
			return
		case c == '\\':
			s.i++
			s.escape()
		default:
			s.text = append(s.text, c)
			s.i++
		}
	}
	s.bad = true
}

// escape takes what follows a backslash.
func (s *jsonScanner) escape() {
	if s.i == len(s.b) {
		s.bad = true
		return
	}
	c := s.b[s.i]
	s.i++
	switch c {
	case '"', '\\', '/':
	case 'b':
		c = '\b'
	case 'f':
		c = '\f'
	case 'n':
		c = '\n'
	case 'r':
		c = '\r'
	case 't':
		c = '\t'
	case 'u':
		s.text = utf8.AppendRune(s.text, s.escapedRune())
		return
	default:
		s.bad = true
	}
	s.text = append(s.text, c)
}

// escapedRune takes the digits of \uXXXX, and a second one where the first is half of a
// pair.
func (s *jsonScanner) escapedRune() rune {
	r := s.fourDigits()
	if !utf16.IsSurrogate(r) {
		return r
	}
	s.literal(`\u`)
	if r = utf16.DecodeRune(r, s.fourDigits()); r == utf8.RuneError {
		s.bad = true
	}
	return r
}

func (s *jsonScanner) fourDigits() rune {
	if s.bad || len(s.b)-s.i < 4 {
		s.bad = true
		return 0
	}
	r := rune(0)
	for _, c := range s.b[s.i : s.i+4] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			s.bad = true
		}
		r = r<<4 | rune(c)
	}
	s.i += 4
	return r
}

// digits takes digits onto n and counts them; more than 15 in all are not usual, and
// would not be exact in a float64.
func (s *jsonScanner) digits(n uint64, before int) (value uint64, count int) {
	begin := s.i
	for s.i < len(s.b) && s.b[s.i]-'0' < 10 {
		n = n*10 + uint64(s.b[s.i]-'0')
		s.i++
	}
	count = s.i - begin
	if count == 0 || before+count > 15 {
		s.bad = true
	}
	return n, count
}

// natural takes a whole number without sign.
func (s *jsonScanner) natural() int64 {
	s.peek()
	zero := s.i
	n, count := s.digits(0, 0)
	s.notNumber()
	if count > 1 && !s.bad && s.b[zero] == '0' {
		s.bad = true
	}
	return int64(n)
}

// notNumber makes sure that a number has ended.
func (s *jsonScanner) notNumber() {
	if s.i < len(s.b) {
		switch c := s.b[s.i]; {
		case c-'0' < 10, c == '.', c == 'e', c == 'E':
			s.bad = true
		}
	}
}

// millis takes seconds since 1970 with a fraction and perhaps an exponent, as
// 1441215410.867 or 1.441215410867E9, and makes whole milliseconds of it as the SDK does:
// through the nearest float64, the rest cut off.
func (s *jsonScanner) millis() int64 {
	s.peek()
	zero := s.i
	n, whole := s.digits(0, 0)
	if whole > 1 && !s.bad && s.b[zero] == '0' {
		s.bad = true
	}
	scale := 0
	if s.i < len(s.b) && s.b[s.i] == '.' {
		s.i++
		n, scale = s.digits(n, whole)
		scale = -scale
	}
	if s.i < len(s.b) && s.b[s.i]|0x20 == 'e' {
		s.i++
		minus := s.i < len(s.b) && s.b[s.i] == '-'
		if minus || s.i < len(s.b) && s.b[s.i] == '+' {
			s.i++
		}
		e, _ := s.digits(0, 13) // two digits at most
		if minus {
			e = -e
		}
		scale += int(e)
	}
	s.notNumber()
	if s.bad || scale < -22 || scale > 22 || seconds(n, scale) > latest {
		s.bad = true
		return 0
	}
	return int64(seconds(n, scale) * 1000)
}

// latest is a time in seconds beyond which nanoseconds do not fit 63 bits.
const latest = 9e9

// seconds is n times ten to the scale, exact to the last bit: both factors are.
func seconds(n uint64, scale int) float64 {
	if scale < 0 {
		return float64(n) / math.Pow10(-scale)
	}
	return float64(n) * math.Pow10(scale)
}

// deepest bounds how deep values may be nested that nobody wants.
const deepest = 64

// skip takes one value of any kind.
func (s *jsonScanner) skip(depth int) {
	if depth > deepest {
		s.bad = true
		return
	}
	switch c := s.peek(); c {
	case '{':
		s.i++
		for n := 0; s.more(n, '}'); n++ {
			s.skipString()
			s.expect(':')
			s.skip(depth + 1)
		}
	case '[':
		s.i++
		for n := 0; s.more(n, ']'); n++ {
			s.skip(depth + 1)
		}
	case '"':
		s.skipString()
	case 't':
		s.literal("true")
	case 'f':
		s.literal("false")
	case 'n':
		s.literal("null")
	default:
		s.natural() // any other number is not usual
	}
}

func (s *jsonScanner) skipString() {
	at := s.keep()
	s.text = s.text[:at.from]
}
