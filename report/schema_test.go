package report_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
	validator "github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/report"
	"github.com/kinesis-msk-bridge/bridge/verify"
)

const (
	schemaFile = "schema/report.schema.json"
	schemaURL  = "https://github.com/kinesis-msk-bridge/bridge/report/" + schemaFile
)

// reportSchema makes the JSON Schema from the types that are encoded.
func reportSchema() ([]byte, error) {
	s, err := jsonschema.For[report.Report](&jsonschema.ForOptions{TypeSchemas: map[reflect.Type]*jsonschema.Schema{
		reflect.TypeFor[bridge.Position](): {Type: "string", Pattern: `^(-|[0-9]{1,128}(/[0-9]{1,10})?)$`},
		reflect.TypeFor[time.Time]():       {Type: "string", Format: "date-time"},
		reflect.TypeFor[verify.Verdict]():  {Type: "string", Enum: []any{"consistent", "inconsistent", "inconclusive"}},
		reflect.TypeFor[verify.Class](): {Type: "string", Enum: []any{"missing", "extra", "corrupt", "duplicate", "reordered",
			"misrouted", "rewind", "unread", "unverifiable"}},
	}})
	if err != nil {
		return nil, fmt.Errorf("make the schema: %w", err)
	}
	s.Schema, s.ID, s.Title = "https://json-schema.org/draft/2020-12/schema", schemaURL, "bridge consistency report"
	mend(s, reflect.TypeFor[report.Report]())
	for _, p := range s.Properties {
		if len(p.Types) == 2 && p.Items != nil {
			p.Type, p.Types = "array", nil // lists of the report itself are never null
		}
	}
	s.Properties["schema"].Const = jsonschema.Ptr[any](report.Schema)
	s.Properties["exit_code"].Enum = []any{0, 5, 6}
	for _, name := range []string{"root", "config", "plan"} {
		s.Properties[name].Pattern = `^(sha256:[0-9a-f]{64})?$`
	}
	b, err := json.MarshalIndent(s, "", "  ")
	return append(b, '\n'), err
}

// mend makes strings of the numbers that encoding/json writes as strings.
func mend(s *jsonschema.Schema, t reflect.Type) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() == reflect.Slice && s.Items != nil {
		mend(s.Items, t.Elem())
		return
	}
	if t.Kind() != reflect.Struct || s.Properties == nil {
		return
	}
	for f := range t.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		p := s.Properties[name]
		switch {
		case f.Anonymous && name == "":
			mend(s, f.Type)
		case p == nil:
		case options == "string":
			*p = jsonschema.Schema{Type: "string", Pattern: `^-?[0-9]{1,19}$`}
		default:
			mend(p, f.Type)
		}
	}
}

// The schema that ships is the one of the types.
func TestSchemaIsCurrent(t *testing.T) {
	want, err := reportSchema()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(schemaFile, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(report.JSONSchema(), want) {
		t.Errorf("%s is not current; run go test ./report -update", schemaFile)
	}
}

func compileSchema(t testing.TB) *validator.Schema {
	t.Helper()
	doc, err := validator.UnmarshalJSON(bytes.NewReader(report.JSONSchema()))
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

// validate holds that a report follows the schema.
func validate(t testing.TB, s *validator.Schema, text []byte) {
	t.Helper()
	doc, err := validator.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Validate(doc); err != nil {
		t.Errorf("the schema refuses the report: %v", err)
	}
}

func TestReportsFollowTheSchema(t *testing.T) {
	s := compileSchema(t)
	for _, w := range worlds() {
		r := reportOf(t, w)
		validate(t, s, render(t, r, report.JSON))
		sign(t, r, "Ada Byron")
		validate(t, s, render(t, r, report.JSON))
	}
}

func TestSchemaRefuses(t *testing.T) {
	s := compileSchema(t)
	good := render(t, reportOf(t, small(fine)), report.JSON)
	for _, change := range [][2]string{
		{`"bridge.report/v1"`, `"bridge.report/v2"`},
		{`"exit_code": 0`, `"exit_code": 1`},
		{`"verdict": "consistent"`, `"verdict": "match"`},
		{`"source_records":"`, `"source_records":"x`},
		{`"reasons": []`, `"reasons": null`},
		{`"id":`, `"ident":`},
		{`"root": "sha256:`, `"root": "md5:`},
		{`"created_at": "2026-`, `"created_at": "26-`},
	} {
		if !bytes.Contains(good, []byte(change[0])) {
			t.Fatalf("the report has no %s", change[0])
		}
		doc, err := validator.UnmarshalJSON(bytes.NewReader(bytes.Replace(good, []byte(change[0]), []byte(change[1]), 1)))
		if err != nil {
			t.Fatal(err)
		}
		if s.Validate(doc) == nil {
			t.Errorf("the schema takes %s", change[1])
		}
	}
}
