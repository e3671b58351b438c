package kafkastream

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"

	"github.com/kinesis-msk-bridge/bridge"
)

// ParseProperties reads text in the format of java.util.Properties, as the client.properties
// of Kafka's own tools is: comments, the three separators, escapes and continued lines. As
// in Java the bytes are ISO 8859-1, and the last of two values of one name counts. It
// wraps ErrRefused if an escape is malformed; the error never shows a value.
func ParseProperties(text []byte) (map[string]string, error) {
	out := map[string]string{}
	for number, line := range logicalLines(text) {
		rawKey, rawValue := cutProperty(line)
		key, err := unescape(rawKey)
		if err == nil {
			out[key], err = unescape(rawValue)
		}
		if err != nil {
			return nil, fmt.Errorf("properties, entry %d: %w", number+1, &classified{err, bridge.ErrRefused})
		}
	}
	return out, nil
}

const blank = " \t\f"

// logicalLines joins continued lines and leaves out blank ones and comments. A comment
// cannot be continued, and a continuation may look like one.
func logicalLines(text []byte) []string {
	natural := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(string(text))
	var out []string
	continued := false
	for line := range strings.SplitSeq(natural, "\n") {
		trimmed := strings.TrimLeft(line, blank)
		if !continued && (trimmed == "" || trimmed[0] == '#' || trimmed[0] == '!') {
			continue
		}
		slashes := len(trimmed) - len(strings.TrimRight(trimmed, `\`))
		more := slashes%2 == 1
		if more {
			trimmed = trimmed[:len(trimmed)-1]
		}
		if continued {
			out[len(out)-1] += trimmed
		} else {
			out = append(out, trimmed)
		}
		continued = more
	}
	return out
}

// cutProperty splits a line at its separator: blanks, or one of = and : with blanks around
// it, unless escaped.
func cutProperty(line string) (key, value string) {
	end := len(line)
	for i := 0; i < len(line); i++ {
		if line[i] == '\\' {
			i++
			continue
		}
		if strings.IndexByte("=:"+blank, line[i]) >= 0 {
			end = i
			break
		}
	}
	key, value = line[:end], strings.TrimLeft(line[end:], blank)
	if value != "" && (value[0] == '=' || value[0] == ':') {
		value = strings.TrimLeft(value[1:], blank)
	}
	return key, value
}

// unescape resolves \t, \n, \r, \f and \uXXXX; a backslash before any other character is
// dropped. The result is UTF-8.
func unescape(s string) (string, error) {
	units := make([]uint16, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c != '\\' {
			units = append(units, uint16(c))
			continue
		}
		if i++; i == len(s) {
			break
		}
		switch c = s[i]; c {
		case 't':
			units = append(units, '\t')
		case 'n':
			units = append(units, '\n')
		case 'r':
			units = append(units, '\r')
		case 'f':
			units = append(units, '\f')
		case 'u':
			if i+5 > len(s) {
				return "", errors.New(`\u is not followed by four hexadecimal digits`)
			}
			u, err := strconv.ParseUint(s[i+1:i+5], 16, 16)
			if err != nil {
				return "", errors.New(`\u is not followed by four hexadecimal digits`)
			}
			units = append(units, uint16(u))
			i += 4
		default:
			units = append(units, uint16(c))
		}
	}
	return string(utf16.Decode(units)), nil
}

// A loginModule is the one entry of a sasl.jaas.config.
type loginModule struct {
	class   string // without its package
	options map[string]string
}

// parseJAAS reads "package.Class flag name=value name=\"value\";". The errors show no value.
func parseJAAS(s string) (loginModule, error) {
	tokens, err := jaasTokens(s)
	if err != nil {
		return loginModule{}, err
	}
	if len(tokens) < 3 || tokens[len(tokens)-1] != (jaasToken{text: ";"}) {
		return loginModule{}, errors.New("it is not a login module, a flag, options and a semicolon")
	}
	m := loginModule{class: tokens[0].text[strings.LastIndexByte(tokens[0].text, '.')+1:], options: map[string]string{}}
	rest := tokens[2 : len(tokens)-1]
	for len(rest) > 0 {
		if len(rest) < 3 || rest[1] != (jaasToken{text: "="}) {
			return loginModule{}, errors.New("an option is not of the form name=value, or there is more than one login module")
		}
		m.options[rest[0].text] = rest[2].text
		rest = rest[3:]
	}
	return m, nil
}

type jaasToken struct {
	text   string
	quoted bool
}

func jaasTokens(s string) ([]jaasToken, error) {
	var out []jaasToken
	for {
		s = strings.TrimLeft(s, blank+"\r\n")
		if s == "" {
			return out, nil
		}
		switch c := s[0]; c {
		case ';', '=':
			out, s = append(out, jaasToken{text: s[:1]}), s[1:]
		case '"', '\'':
			text, rest, ok := cutQuoted(s[1:], c)
			if !ok {
				return nil, errors.New("a quotation mark is not closed")
			}
			out, s = append(out, jaasToken{text, true}), rest
		default:
			end := strings.IndexAny(s, blank+"\r\n;=\"'")
			if end < 0 {
				end = len(s)
			}
			out, s = append(out, jaasToken{text: s[:end]}), s[end:]
		}
	}
}

// cutQuoted reads up to the closing mark. Escapes are those of java.io.StreamTokenizer,
// without its octal ones.
func cutQuoted(s string, mark byte) (text, rest string, ok bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == mark:
			return b.String(), s[i+1:], true
		case s[i] == '\\' && i+1 < len(s):
			i++
			if n := strings.IndexByte("abfnrtv", s[i]); n >= 0 {
				b.WriteByte("\a\b\f\n\r\t\v"[n])
			} else {
				b.WriteByte(s[i])
			}
		default:
			b.WriteByte(s[i])
		}
	}
	return "", "", false
}
