package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"unicode/utf8"

	"github.com/kinesis-msk-bridge/bridge"
)

// ErrAltered: the file is not what bridge wrote.
var ErrAltered = errors.New("not the report that was made")

// Encode writes the one JSON form of a report: a field a line, and of a long list an item
// a line. Characters that steer a terminal stand in it as escapes.
func (r *Report) Encode() ([]byte, error) {
	var b bytes.Buffer
	b.WriteString("{\n")
	parts := fieldsOf(r)
	for i, f := range parts {
		text, err := f.encode()
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "%q: %s", f.name, text)
		if i < len(parts)-1 {
			b.WriteByte(',')
		}
		b.WriteByte('\n')
	}
	b.WriteString("}\n")
	return b.Bytes(), nil
}

// A part is one field of a report and its value.
type part struct {
	name  string
	value reflect.Value
}

// fieldsOf lists the fields of a report in their order.
func fieldsOf(r *Report) []part {
	v := reflect.ValueOf(r).Elem()
	out := make([]part, v.NumField())
	for i := range out {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		out[i] = part{name, v.Field(i)}
	}
	return out
}

// fillList makes a nil list an empty one.
func fillList(v reflect.Value) {
	if v.Kind() == reflect.Slice && v.IsNil() {
		v.Set(reflect.MakeSlice(v.Type(), 0, 0))
	}
}

func (p part) encode() ([]byte, error) {
	if p.value.Kind() != reflect.Slice || p.value.Len() == 0 {
		return p.marshal(p.value)
	}
	var b bytes.Buffer
	b.WriteString("[\n")
	for i := range p.value.Len() {
		text, err := p.marshal(p.value.Index(i))
		if err != nil {
			return nil, err
		}
		if i > 0 {
			b.WriteString(",\n")
		}
		b.Write(text)
	}
	b.WriteString("\n]")
	return b.Bytes(), nil
}

func (p part) marshal(v reflect.Value) ([]byte, error) {
	text, err := json.Marshal(v.Interface())
	if err != nil {
		return nil, fmt.Errorf("encode %s of the report: %w", p.name, err)
	}
	return escape(text), nil
}

// escape returns marshalled JSON without characters that steer a terminal. Bytes that
// are no UTF-8 arrive here as the escape \ufffd; they are written as that character, which
// is how they are encoded again after they were decoded.
func escape(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		switch {
		case bytes.HasPrefix(text, []byte(`\ufffd`)):
			out, size = utf8.AppendRune(out, utf8.RuneError), len(`\ufffd`)
		case r == '\\':
			size = 2
			out = append(out, text[:size]...)
		case r < utf8.RuneSelf && r != 0x7f || !steers(r):
			out = append(out, text[:size]...)
		case r > 0xffff:
			r -= 0x10000
			out = fmt.Appendf(out, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
		text = text[size:]
	}
	return out
}

// Decode reads what Encode wrote, byte for byte. It wraps ErrAltered if b is anything
// else, and bridge.ErrState if it is of a newer version. It does not check digests; see
// Check.
func Decode(b []byte) (*Report, error) {
	var head struct {
		Schema string `json:"schema"`
	}
	if err := json.Unmarshal(b, &head); err != nil {
		return nil, fmt.Errorf("read the report: %w (%w)", ErrAltered, err)
	}
	if newer(head.Schema) {
		return nil, bridge.WithHint(fmt.Errorf("the report has the form %q: %w", head.Schema, bridge.ErrState),
			"this program reads "+Schema+"; use the one that the report names")
	}
	r := &Report{}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(r); err != nil {
		return nil, fmt.Errorf("read the report: %w (%w)", ErrAltered, err)
	}
	if r.Schema != Schema {
		return nil, fmt.Errorf("a report has the form %s and not %q: %w", Schema, r.Schema, ErrAltered)
	}
	again, err := r.Encode()
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(again, b) {
		return nil, fmt.Errorf("byte %d is not as it was written: %w", differsAt(again, b), ErrAltered)
	}
	return r, nil
}

// newer holds for a report of a version that this program does not know.
func newer(schema string) bool {
	version, ok := strings.CutPrefix(schema, "bridge.report/v")
	return ok && version != "" && strings.Trim(version, "0123456789") == "" && schema != Schema
}

func differsAt(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}
