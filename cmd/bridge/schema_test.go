package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/jsonschema-go/jsonschema"
	validator "github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/kinesis-msk-bridge/bridge/stream/kafkastream"
)

const schemaFile = "schema/config.schema.json"

// schemaURL names the schema; editors find it by a comment at the head of a file:
//
//	# yaml-language-server: $schema=…/config.schema.json
const schemaURL = "https://github.com/kinesis-msk-bridge/bridge/cmd/bridge/schema/config.schema.json"

// reference is how a value names an environment variable or a file.
const reference = `^\$\{(env|file):[^}]+\}$`

// configSchema makes the JSON Schema of the configuration from the same tags that the
// decoder reads. It describes what this version takes and nothing that comes later.
func configSchema() ([]byte, error) {
	s, err := jsonschema.For[config](&jsonschema.ForOptions{TypeSchemas: map[reflect.Type]*jsonschema.Schema{
		reflect.TypeFor[duration]():           {Type: "string", Pattern: `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$|` + reference},
		reflect.TypeFor[size]():               {Types: []string{"string", "integer"}, Pattern: `^[0-9]+ ?(B|KiB|MiB|GiB)?$|` + reference},
		reflect.TypeFor[share]():              {Types: []string{"string", "number"}, Pattern: `^[0-9]*\.?[0-9]+$|` + reference},
		reflect.TypeFor[kafkastream.Secret](): {Type: "string", Pattern: reference},
	}})
	if err != nil {
		return nil, fmt.Errorf("make the schema: %w", err)
	}
	s.Schema, s.ID, s.Title = "https://json-schema.org/draft/2020-12/schema", schemaURL, "bridge configuration"
	for _, f := range fieldsOf(new(config)) {
		if err := f.describe(propertyAt(s, f.path)); err != nil {
			return nil, err
		}
	}
	for _, f := range appendFields(nil, "", reflect.ValueOf(new(consumerConfig)).Elem()) {
		if err := f.describe(propertyAt(propertyAt(s, "consumers").Items, f.path)); err != nil {
			return nil, err
		}
	}
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("make the schema: %w", err)
	}
	return append(b, '\n'), nil
}

// propertyAt finds the schema of the setting at path.
func propertyAt(s *jsonschema.Schema, path string) *jsonschema.Schema {
	for name := range strings.SplitSeq(path, ".") {
		s = s.Properties[name]
	}
	return s
}

// describe adds what only the tags know: which words are taken, bounds and the default.
func (f field) describe(s *jsonschema.Schema) error {
	if text := f.tag.Get("default"); text != "" {
		if err := f.set(text); err != nil {
			return fmt.Errorf("default of %s: %w", f.path, err)
		}
		value := f.value.Interface()
		if _, ok := value.(fmt.Stringer); ok {
			value = text
		}
		b, err := json.Marshal(value)
		if err != nil {
			return fmt.Errorf("default of %s: %w", f.path, err)
		}
		s.Default = b
	}
	words := s
	if f.isList() {
		s.Type, s.Types = "array", nil // it may be left out, but not be null
		words = s.Items
	}
	if enum := f.list("enum"); len(enum) > 0 {
		// A word can also come from the environment.
		words.AnyOf = []*jsonschema.Schema{{Enum: anys(enum)}, {Type: "string", Pattern: reference}}
	}
	for _, form := range f.list("parameters") {
		f.describeForm(words, form)
	}
	if words.Type == "string" && words.Pattern == "" && len(f.list("enum")) == 0 {
		words.MinLength = jsonschema.Ptr(1)
	}
	if s.Type == "integer" {
		low, errLow := f.bound("min", 0)
		high, errHigh := f.bound("max", 1<<31-1)
		if err := errors.Join(errLow, errHigh); err != nil {
			return err
		}
		s.Minimum, s.Maximum = jsonschema.Ptr(float64(low)), jsonschema.Ptr(float64(high))
	}
	return nil
}

// describeForm adds a word that takes parameters, "field=pointer then" of which the first
// is required: name(A,B), or an object.
func (f field) describeForm(s *jsonschema.Schema, form string) {
	name, rest, _ := strings.Cut(form, "=")
	parameters := strings.Fields(rest)
	s.Type = "" // it is text or an object
	s.AnyOf[0].Enum = slices.DeleteFunc(s.AnyOf[0].Enum, func(word any) bool { return word == name })
	properties := map[string]*jsonschema.Schema{"name": {Enum: []any{name}}}
	for _, p := range parameters {
		properties[p] = &jsonschema.Schema{Type: "string", MinLength: jsonschema.Ptr(1)}
	}
	s.AnyOf = append(s.AnyOf, &jsonschema.Schema{Type: "string", Pattern: "^" + name + `\(.+,.+\)$`}, &jsonschema.Schema{
		Type: "object", Properties: properties, Required: []string{"name", parameters[0]},
		AdditionalProperties: &jsonschema.Schema{Not: &jsonschema.Schema{}},
	})
}

func anys(words []string) []any {
	out := make([]any, len(words))
	for i, w := range words {
		out[i] = w
	}
	return out
}

// The schema that ships is the one that the tags make.
func TestSchemaIsCurrent(t *testing.T) {
	want, err := configSchema()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(schemaFile, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not current; run go test ./cmd/bridge -update", schemaFile)
	}
}

func compileSchema(t *testing.T) *validator.Schema {
	t.Helper()
	f, err := os.Open(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	doc, err := validator.UnmarshalJSON(f)
	if err != nil {
		t.Fatal(err)
	}
	c := validator.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource(schemaURL, doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile(schemaURL)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// asJSON is a YAML file as an editor's validator sees it.
func asJSON(t *testing.T, text []byte) any {
	t.Helper()
	var v any
	if err := yaml.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := validator.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// What is good for the program is good for the schema.
func TestExamples(t *testing.T) {
	s := compileSchema(t)
	files, err := filepath.Glob("testdata/config/*.yaml")
	if err != nil || len(files) < 4 {
		t.Fatalf("examples: %v, %v", files, err)
	}
	env := func(name string) (string, bool) {
		return map[string]string{"KAFKA_USER": "bridge", "KAFKA_PASSWORD": "p${x}#: '"}[name], name == "KAFKA_USER" || name == "KAFKA_PASSWORD"
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Validate(asJSON(t, text)); err != nil {
				t.Errorf("the schema refuses it: %v", err)
			}
			if _, err := load(file, env, nil); err != nil {
				t.Errorf("the program refuses it: %v", err)
			}
		})
	}
}

// What is wrong with one setting alone, the schema sees, too.
func TestSchemaRefuses(t *testing.T) {
	s := compileSchema(t)
	good := "workflow: w\ndirection: kinesis-to-kafka\nkinesis: {stream: s}\nkafka: {topic: t}\n"
	if err := s.Validate(asJSON(t, []byte(good))); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"unknown: 1", "tasks: 2", "tasks: many", "keymap: field", "keymap: {name: murmur2}", "keymap: {name: field, file: x}", "keymap: {name: field}", "keymap: 1", "put_timeout: 10", "put_timeout: soon",
		"delivery: exactly-once", "accept_loss: [colour]", "accept_loss: timestamp", "policy: {oversize: skip}",
		"policy: {size: stop}", "dead_letters: 5", "dynamodb: {table: x}", "consumers: [{group: x}]", "consumers: [{name: a, group: x, dialect: y}]", "verify: {settle: soon}", "start: ''",
	} {
		if err := s.Validate(asJSON(t, []byte(good+line+"\n"))); err == nil {
			t.Errorf("the schema takes %q", line)
		}
	}
}

// What comes later must not be offered.
func TestSchemaHasNothingOfLater(t *testing.T) {
	b, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range fieldsOf(new(config)) {
		for _, later := range f.list("later") {
			if bytes.Contains(b, []byte(`"`+later+`"`)) {
				t.Errorf("the schema names %s, which %s refuses", later, f.path)
			}
		}
	}
}
