package main

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/kinesis-msk-bridge/bridge/stream/kafkastream"
)

// A field is one setting of a config: a leaf of the struct.
type field struct {
	path  string // kinesis.create.mode
	tag   reflect.StructTag
	value reflect.Value // settable
}

// fieldsOf lists the settings of c in the order of the struct.
func fieldsOf(c *config) []field { return appendFields(nil, "", reflect.ValueOf(c).Elem()) }

func appendFields(out []field, prefix string, v reflect.Value) []field {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		path := prefix + jsonName(f)
		if f.Type.Kind() == reflect.Struct {
			out = appendFields(out, path+".", v.Field(i))
			continue
		}
		out = append(out, field{path: path, tag: f.Tag, value: v.Field(i)})
	}
	return out
}

func jsonName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

// env is the variable that sets the field.
func (f field) env() string {
	return "BRIDGE_" + strings.ToUpper(strings.NewReplacer(".", "_").Replace(f.path))
}

func (f field) list(tag string) []string {
	if s := f.tag.Get(tag); s != "" {
		return strings.Split(s, ",")
	}
	return nil
}

func (f field) isList() bool   { return f.value.Kind() == reflect.Slice }
func (f field) isSecret() bool { return f.value.Type() == reflect.TypeFor[kafkastream.Secret]() }

// set gives the field a value, from its text; lists take one text an item.
func (f field) set(texts ...string) error {
	if f.isConsumers() {
		return errOnlyInFile
	}
	if f.isList() {
		f.value.Set(reflect.ValueOf(slices.Clone(texts)))
		for _, text := range texts {
			if err := f.allowed(text); err != nil {
				return err
			}
		}
		return nil
	}
	text := texts[0]
	if err := f.allowed(text); err != nil {
		return err
	}
	if s, ok := f.value.Addr().Interface().(interface{ set(string) error }); ok {
		if err := s.set(text); err != nil {
			return err
		}
		return f.inRange()
	}
	switch f.value.Kind() {
	case reflect.String:
		f.value.SetString(text)
	case reflect.Bool:
		if text != "true" && text != "false" {
			return fmt.Errorf("%q is not true or false", text)
		}
		f.value.SetBool(text == "true")
	default:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return fmt.Errorf("%q is not a whole number", text)
		}
		f.value.SetInt(n)
		return f.inRange()
	}
	return nil
}

// allowed judges a value against what the field takes now and what it takes later.
func (f field) allowed(text string) error {
	for _, later := range f.list("later") {
		// "dynamodb:" stands for every place of that kind.
		if text == later || strings.HasSuffix(later, ":") && strings.HasPrefix(text, later) {
			return errUnavailable{quoted(text)}
		}
	}
	enum := f.list("enum")
	word := text
	if f.tag.Get("parameters") != "" {
		word, _, _ = strings.Cut(text, "(")
	}
	if len(enum) > 0 && !slices.Contains(enum, word) {
		return fmt.Errorf("%q is not %s%s", word, orList(enum), suggest(word, enum))
	}
	return nil
}

// inRange judges a number, duration or size against the bounds of the tag.
func (f field) inRange() error {
	v := f.value.Int()
	low, err := f.bound("min", -1<<63)
	if err != nil {
		return err
	}
	high, err := f.bound("max", 1<<63-1)
	if err != nil {
		return err
	}
	if v > high && slices.Contains(f.list("later"), ">"+f.tag.Get("max")) {
		return errUnavailable{"more than " + f.tag.Get("max")}
	}
	if v < low || v > high {
		return fmt.Errorf("%v is not in the range %s to %s", f.value.Interface(), f.tag.Get("min"), f.tag.Get("max"))
	}
	return nil
}

func (f field) bound(tag string, none int64) (int64, error) {
	s := f.tag.Get(tag)
	if s == "" {
		return none, nil
	}
	probe := field{value: reflect.New(f.value.Type()).Elem()}
	if err := probe.set(s); err != nil {
		return 0, fmt.Errorf("tag %s: %w", tag, err)
	}
	return probe.value.Int(), nil
}

// text is the value as it would be written in the file, "" for one that is not set.
func (f field) text() string {
	if f.value.IsZero() && f.value.Kind() != reflect.Bool {
		return ""
	}
	if f.isConsumers() {
		return f.value.Interface().(consumers).text()
	}
	if f.isList() {
		return "[" + strings.Join(f.value.Interface().([]string), ", ") + "]"
	}
	return fmt.Sprint(f.value.Interface())
}

// errUnavailable is the fault of asking for what is documented but not built yet.
type errUnavailable struct{ what string }

func (e errUnavailable) Error() string { return e.what + " is not available in this version" }

func quoted(s string) string { return strconv.Quote(s) }

// orList is "a, b or c".
func orList(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}

// suggest is a clause that names the word that was probably meant, or nothing.
func suggest(word string, known []string) string {
	best, bestDistance := "", 3
	for _, k := range known {
		if d := distance(word, k); d < bestDistance && d < len(k) {
			best, bestDistance = k, d
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + best + "?"
}

// distance is the number of letters to insert, delete or replace to turn a into b.
func distance(a, b string) int {
	if len(a) > 64 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		last := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := last
			if a[i] != b[j] {
				cost++
			}
			last = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
