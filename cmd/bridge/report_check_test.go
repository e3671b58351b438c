package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/kinesis-msk-bridge/bridge/report"
)

// A form beside a report that differs from what this program makes of it was changed if this
// program made it. Of another program's form nobody can tell; the report stays intact.
func TestRenderingsOfOtherVersions(t *testing.T) {
	const this, other = "bridge v1.2.0 go1.26 linux/amd64", "bridge v1.1.0 go1.26 linux/amd64"
	type outcome struct{ pass, failed, notChecked bool }
	ok, altered, skipped := outcome{pass: true}, outcome{failed: true}, outcome{notChecked: true}
	for _, c := range []struct {
		name      string
		tool      string // that made the report
		approvals []report.Approval
		changed   bool
		want      outcome
	}{
		{"this version, as made", this, nil, false, ok},
		{"this version, changed", this, nil, true, altered},
		{"another version, the same words", other, nil, false, ok},
		{"another version, other words", other, nil, true, skipped},
		{"another version, signed by this one, changed", other, []report.Approval{{Tool: this}}, true, altered},
		{"this version, signed by another one, other words", this, []report.Approval{{Tool: this}, {Tool: other}}, true, skipped},
		{"this version, signed by one that did not note its name", this, []report.Approval{{}}, true, skipped},
	} {
		for _, f := range []report.Form{report.Text, report.Markdown, report.HTML} {
			t.Run(c.name+", "+string(f), func(t *testing.T) {
				file, r := reportWithForms(t)
				r.Tool, r.Approvals = c.tool, c.approvals
				var made bytes.Buffer
				if err := report.Write(&made, r, f); err != nil {
					t.Fatal(err)
				}
				text := made.Bytes()
				if c.changed {
					text[len(text)/2] ^= 1
				}
				if err := os.WriteFile(beside(file, f), text, 0o600); err != nil {
					t.Fatal(err)
				}
				controls, err := checkRenderings(file, r, this)
				if err != nil || len(controls) != 1 {
					t.Fatalf("%+v, %v", controls, err)
				}
				got := controls[0]
				if (outcome{got.Pass, got.Failed(), got.NotChecked}) != c.want || got.Name != string(f) {
					t.Errorf("%+v, want %+v", got, c.want)
				}
			})
		}
	}
}

// reportWithForms is a report and the name of a file for it, in a directory of its own.
func reportWithForms(t *testing.T) (file string, r *report.Report) {
	t.Helper()
	b, err := os.ReadFile("../../report/testdata/consistent.json")
	if err != nil {
		t.Fatal(err)
	}
	if r, err = report.Decode(b); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(t.TempDir(), "r.json"), r
}

// Two builds of a working tree have one version; their files tell them apart.
func TestBuildsWithoutARevisionAreTwoTools(t *testing.T) {
	b := build{Version: "(devel)", Go: "go1.26", Platform: "linux/amd64"}
	if b.named("01") == b.named("02") || b.named("") != b.String() {
		t.Errorf("%q, %q, %q", b.named("01"), b.named("02"), b.named(""))
	}
	if d := fileDigest(); len(d) != 16 {
		t.Errorf("the digest of this program's file is %q", d)
	}
	if thisBuild().Revision == "" && thisTool() == thisBuild().String() {
		t.Errorf("a build without a revision is named %q only", thisTool())
	}
}
