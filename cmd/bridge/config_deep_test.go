package main

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// A file that is deep in brackets, dashes or marks is refused in little memory.
func TestDeepConfigIsRefused(t *testing.T) {
	const n = 200_000
	for _, text := range []string{
		strings.Repeat("[", n), strings.Repeat("{", n), strings.Repeat("[]", n/2), strings.Repeat("{a: ", n/4), strings.Repeat("[{", n/2),
		strings.Repeat("- ", n/2), strings.Repeat("? ", n/2), strings.Repeat("a: ", n/3), strings.Repeat("-\n", n/2), "workflow: " + strings.Repeat("[", n) + strings.Repeat("]", n),
		strings.Repeat("[\n", n/2), strings.Repeat("- [a]\n", n/6),
	} {
		file := filepath.Join(t.TempDir(), "bridge.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := load(file, noEnv, nil)
		runtime.ReadMemStats(&after)
		if exitCode(err) != exitUsage {
			t.Errorf("%.12q…: %v", text, err)
		}
		if mib := (after.TotalAlloc - before.TotalAlloc) >> 20; mib > 64 {
			t.Errorf("%.12q… took %d MiB", text, mib)
		}
	}
}
