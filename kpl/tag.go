package kpl

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/kinesis-msk-bridge/bridge"
)

// A Tag is a named value beside a user record. The format has had tags from the start, but
// the KPL writes none and the KCL shows none to its consumers.
type Tag struct {
	Key []byte // UTF-8
	// Value is UTF-8. Nil is no value, which an empty one is not. For bytes that are not
	// text see AppendTagBytes.
	Value []byte
}

var errLineBreak = errors.New("line break in base64")

// Strict, so that every value has one encoding only.
var tagCode = base64.RawStdEncoding.Strict()

// AppendTagBytes appends value to dst as text that a Tag can hold: base64 (RFC 4648 §4)
// without padding. The result is never nil.
func AppendTagBytes(dst, value []byte) []byte {
	if dst == nil {
		dst = make([]byte, 0, tagCode.EncodedLen(len(value)))
	}
	return tagCode.AppendEncode(dst, value)
}

// AppendBytes appends to dst the bytes of a value that AppendTagBytes made. The error, with
// which dst is as it was, wraps bridge.ErrUndecodable.
func (t Tag) AppendBytes(dst []byte) ([]byte, error) {
	out, err := tagCode.AppendDecode(dst, t.Value)
	if err == nil && bytes.ContainsAny(t.Value, "\r\n") {
		err = errLineBreak // which the decoder skips
	}
	if err != nil {
		return dst, fmt.Errorf("tag %.60q: %w: %w", t.Key, err, bridge.ErrUndecodable)
	}
	return out, nil
}
