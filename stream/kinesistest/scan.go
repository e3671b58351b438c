package kinesistest

import (
	"bytes"
	"encoding/json"
	"strconv"
	"unicode/utf8"
)

// maxDepth bounds nesting in what is skipped.
const maxDepth = 64

// scanner reads JSON in one pass, for requests that are too large for encoding/json. It
// accepts a little more than JSON inside values that it skips, and nothing else.
type scanner struct {
	b     []byte
	i     int
	depth int
}

// peek is the next byte that is no white space; 0 at the end.
func (s *scanner) peek() byte {
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

func (s *scanner) expect(c byte) error {
	if s.peek() != c {
		return errBody
	}
	s.i++
	return nil
}

// end makes sure that nothing follows.
func (s *scanner) end() error {
	if s.peek() != 0 || s.i != len(s.b) {
		return errBody
	}
	return nil
}

// begin steps into an object or an array.
func (s *scanner) begin(open byte) error {
	if s.depth++; s.depth > maxDepth {
		return errBody
	}
	return s.expect(open)
}

// more steps to the next member of what was begun, of which n have been read, or out of it.
func (s *scanner) more(n int, end byte) (bool, error) {
	switch c := s.peek(); {
	case c == end:
		s.i++
		s.depth--
		return false, nil
	case n == 0:
		return true, nil
	case c == ',':
		s.i++
		return true, nil
	}
	return false, errBody
}

// field steps to the next field of an object, of which n have been read, and returns its
// name, with the scanner in front of the value; ok is false at the end.
func (s *scanner) field(n int) (name []byte, ok bool, err error) {
	if ok, err = s.more(n, '}'); !ok {
		return nil, false, err
	}
	name, ok, err = s.string()
	if err != nil || !ok {
		return nil, false, errBody
	}
	return name, true, s.expect(':')
}

// null steps over a null.
func (s *scanner) null() bool {
	if s.peek() != 'n' || !bytes.HasPrefix(s.b[s.i:], []byte("null")) {
		return false
	}
	s.i += 4
	return true
}

// string reads a string; ok is false for null. The result is a slice of the input unless
// it has escapes.
func (s *scanner) string() (text []byte, ok bool, err error) {
	if s.null() {
		return nil, false, nil
	}
	if err := s.expect('"'); err != nil {
		return nil, false, err
	}
	start := s.i
	end := bytes.IndexByte(s.b[start:], '"')
	if end < 0 {
		return nil, false, errBody
	}
	text = s.b[start : start+end : start+end]
	s.i = start + end + 1
	if bytes.IndexByte(text, '\\') >= 0 {
		return s.escaped(start)
	}
	for _, c := range text {
		if c < ' ' {
			return nil, false, errBody
		}
	}
	return text, true, nil
}

// escaped reads a string that begins at start, behind its quote, and has escapes.
func (s *scanner) escaped(start int) ([]byte, bool, error) {
	for i := start; i < len(s.b); i++ {
		switch s.b[i] {
		case '\\':
			i++
		case '"':
			if !utf8.Valid(s.b[start:i]) {
				return nil, false, errBody
			}
			var text string
			if err := json.Unmarshal(s.b[start-1:i+1], &text); err != nil {
				return nil, false, errBody
			}
			s.i = i + 1
			return []byte(text), true, nil
		}
	}
	return nil, false, errBody
}

// text reads a string into dst; null leaves it as it is.
func (s *scanner) text(dst *string) error {
	text, ok, err := s.string()
	if ok {
		*dst = string(text)
	}
	return err
}

func (s *scanner) bool(dst *bool) error {
	word, err := s.word()
	if err != nil {
		return err
	}
	switch word {
	case "true", "false":
		*dst = word == "true"
	case "null":
	default:
		return errBody
	}
	return nil
}

// word reads a number or a literal.
func (s *scanner) word() (string, error) {
	s.peek()
	start := s.i
	for s.i < len(s.b) {
		c := s.b[s.i]
		if c != '-' && c != '+' && c != '.' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			break
		}
		s.i++
	}
	word := string(s.b[start:s.i])
	switch word {
	case "true", "false", "null":
		return word, nil
	}
	if _, err := strconv.ParseFloat(word, 64); err != nil || !json.Valid([]byte(word)) {
		return "", errBody
	}
	return word, nil
}

// skip steps over any value.
func (s *scanner) skip() error {
	switch s.peek() {
	case '{':
		return s.skipObject()
	case '[':
		return s.skipArray()
	case '"':
		_, _, err := s.string()
		return err
	}
	_, err := s.word()
	return err
}

func (s *scanner) skipObject() error {
	if err := s.begin('{'); err != nil {
		return err
	}
	for n := 0; ; n++ {
		if _, ok, err := s.field(n); err != nil || !ok {
			return err
		}
		if err := s.skip(); err != nil {
			return err
		}
	}
}

func (s *scanner) skipArray() error {
	if err := s.begin('['); err != nil {
		return err
	}
	for n := 0; ; n++ {
		if ok, err := s.more(n, ']'); err != nil || !ok {
			return err
		}
		if err := s.skip(); err != nil {
			return err
		}
	}
}

// appendJSONString appends text, which is valid UTF-8, as a JSON string.
func appendJSONString[T string | []byte](b []byte, text T) []byte {
	b = append(b, '"')
	for i := range len(text) {
		switch c := text[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ':
			const hex = "0123456789abcdef"
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}

// The major types of CBOR.
const (
	cborUint   = 0 << 5
	cborBytes  = 2 << 5
	cborString = 3 << 5
	cborArray  = 4 << 5
	cborMap    = 5 << 5
	cborTag    = 6 << 5
	cborNull   = 0xf6
)

// appendCBORHead appends the head of an item: its major type and its length or value.
func appendCBORHead(b []byte, major byte, n uint64) []byte {
	switch {
	case n < 24:
		return append(b, major|byte(n))
	case n < 1<<8:
		return append(b, major|24, byte(n))
	case n < 1<<16:
		return append(b, major|25, byte(n>>8), byte(n))
	case n < 1<<32:
		return append(b, major|26, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	return append(b, major|27, byte(n>>56), byte(n>>48), byte(n>>40), byte(n>>32), byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
}

func appendCBORText(b []byte, text string) []byte {
	return append(appendCBORHead(b, cborString, uint64(len(text))), text...)
}
