package deadletter

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/kinesis-msk-bridge/bridge"
)

// Writable finds out whether OpenFile could write the file, and leaves nothing behind. It
// wraps ErrDenied or ErrRefused if not.
func Writable(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err == nil {
		return f.Close()
	}
	if errors.Is(err, fs.ErrNotExist) {
		var probe *os.File
		if probe, err = os.CreateTemp(filepath.Dir(path), ".bridge-"); err == nil {
			return errors.Join(probe.Close(), os.Remove(probe.Name()))
		}
	}
	return bridge.WithHint(fmt.Errorf("open the dead letters: %w", access(err)), "make the directory, and let this user write there")
}
