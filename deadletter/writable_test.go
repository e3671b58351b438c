package deadletter_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/deadletter"
)

func TestWritable(t *testing.T) {
	dir := t.TempDir()
	there := filepath.Join(dir, "there")
	if err := os.WriteFile(there, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]error{
		there: nil, filepath.Join(dir, "new"): nil, dir: bridge.ErrRefused, filepath.Join(dir, "none", "new"): bridge.ErrRefused,
	} {
		if err := deadletter.Writable(path); !errors.Is(err, want) || want == nil && err != nil || want != nil && bridge.Hint(err) == "" {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("left %v, %v", left, err)
	}
}
