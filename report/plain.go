package report

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxPlain is how many characters of a text from outside are shown.
const maxPlain = 240

// maxMarks is how many marks may stand on one letter: more of them reach into other lines.
const maxMarks = 2

// Plain is s as one line that steers no terminal, for commands that print fields of a
// report: see plain.
func Plain(s string) string { return plain(s) }

// plain makes a text from outside one line that steers nothing: what is invisible,
// controls a terminal or turns the direction of writing is shown as an escape, what a
// spreadsheet would take for a formula gets an apostrophe before it, and what is very
// long is cut.
func plain(s string) string {
	var b strings.Builder
	n, marks := 0, 0
	if s != "" && strings.ContainsRune("=+-@", rune(s[0])) {
		b.WriteByte('\'')
	}
	for i, r := range s {
		if n++; n > maxPlain {
			fmt.Fprintf(&b, "… (%d bytes)", len(s))
			break
		}
		if r == utf8.RuneError {
			if _, size := utf8.DecodeRuneInString(s[i:]); size == 1 {
				fmt.Fprintf(&b, `\x%02x`, s[i])
				continue
			}
		}
		if marks++; !unicode.Is(unicode.M, r) {
			marks = 0
		}
		writePlain(&b, r, marks > maxMarks)
	}
	return b.String()
}

func writePlain(b *strings.Builder, r rune, escaped bool) {
	switch {
	case !escaped && (r == ' ' || unicode.IsGraphic(r) && !steers(r)):
		b.WriteRune(r)
	case r > 0xffff:
		fmt.Fprintf(b, `\U%08x`, r)
	default:
		fmt.Fprintf(b, `\u%04x`, r)
	}
}

// steers reports whether a rune does more than stand there: controls, direction marks,
// other blanks than a space, and letters that are written from right to left, which make
// the figures beside them trade places.
func steers(r rune) bool {
	return unicode.Is(unicode.Bidi_Control, r) || unicode.IsControl(r) || r != ' ' && unicode.IsSpace(r) ||
		unicode.In(r, unicode.Cf, unicode.Co, unicode.Zl, unicode.Zp) || rightToLeft(r)
}

// rightToLeft holds for the blocks whose characters Unicode writes from right to left
// unless it says otherwise.
func rightToLeft(r rune) bool {
	switch {
	case r >= 0x0590 && r <= 0x08ff, r >= 0xfb1d && r <= 0xfdff, r >= 0xfe70 && r <= 0xfeff,
		r >= 0x10800 && r <= 0x10fff, r >= 0x1e800 && r <= 0x1efff:
		return true
	}
	return false
}
