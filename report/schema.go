package report

import _ "embed" // the schema

//go:embed schema/report.schema.json
var schemaText string

// JSONSchema is the JSON Schema (2020-12) that every report of this version follows.
func JSONSchema() []byte { return []byte(schemaText) }
