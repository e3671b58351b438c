package report_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kinesis-msk-bridge/bridge/report"
)

var update = flag.Bool("update", false, "write golden files and the schema")

func render(t testing.TB, r *report.Report, f report.Form) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := report.Write(&b, r, f); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// golden compares with a file, or writes it.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, got) {
		t.Errorf("%s has changed; if that is meant, run go test ./report -update:\n%s", file, cmp.Diff(string(want), string(got)))
	}
}

func TestGolden(t *testing.T) {
	for name, w := range map[string]world{"consistent": small(fine), "inconsistent": small(world{damage: 5}), "inconclusive": small(world{holes: 6, trimmed: 2})} {
		r := reportOf(t, w)
		if string(r.Verdict) != name {
			t.Fatalf("the fixture %s is %s", name, r.Verdict)
		}
		for _, f := range report.Forms() {
			golden(t, name+f.Extension(), render(t, r, f))
		}
	}
}
