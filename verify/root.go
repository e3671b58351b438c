package verify

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
)

// RootOf is the digest over all windows: SHA-256 over the SHA-256 of each window's JSON,
// in the order given. It is an error only if a window cannot be written as JSON.
func RootOf(windows []Window) (string, error) {
	root := sha256.New()
	for i := range windows {
		b, err := json.Marshal(&windows[i])
		if err != nil {
			return "", err
		}
		leaf := sha256.Sum256(b)
		root.Write(leaf[:])
	}
	return "sha256:" + hex.EncodeToString(root.Sum(nil)), nil
}
