package verify

import "github.com/kinesis-msk-bridge/bridge"

// KeyHasher returns what makes the Key of a Finding from a key as it stands on the target,
// so that somebody who knows a key can find it in a Result.
func KeyHasher(workflow bridge.WorkflowKey) func(key []byte) string {
	c := newCanon(workflow, Keeps{}, false)
	return func(key []byte) string { return keyText(c.keyHash(key)) }
}
