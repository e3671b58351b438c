package keymap

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/kinesis-msk-bridge/bridge"
)

// The code of partition keys. A Kafka key that Kinesis can hold is its own partition key,
// so that it lies where a native producer would put it. The others, and absent ones,
// begin with a prefix; a key that begins with it by itself is coded, too:
//
//	~b:k:BASE64URL            the key's bytes, without padding
//	~b:n:PARTITION:OFFSET     no key, "spread": unique, and names its own coordinate
//	~b:n:PARTITION            no key, "partition-order"
//
// Partition and offset are decimal numbers without leading zeros.
const (
	codePrefix = "~b:"
	codeKey    = codePrefix + "k:"
	codeNull   = codePrefix + "n:"
)

// maxChars is how many characters a partition key may have. Whether the service counts
// code points or UTF-16 units is not documented; the latter are never fewer.
const maxChars = 256

var keyCode = base64.RawURLEncoding.Strict()

const (
	// Spread gives every record without a key a partition key of its own.
	Spread = "spread"
	// PartitionOrder gives all records without a key of one partition the same one.
	PartitionOrder = "partition-order"
)

// PartitionKeys returns the strategy on the way to Kinesis. A key of 1 to 256 characters
// of UTF-8 is kept as it is. Others are coded if the code has no more than 256 characters,
// which keys of up to 188 bytes have, and else are bridge.ErrUnmappable.
//
// nulls says what becomes of records without a key: Spread or PartitionOrder; with any
// other value they are bridge.ErrUnmappable. Both need the record's Partition and Position
// as a Kafka source sets them.
func PartitionKeys(nulls string) Strategy { return &partitionKeys{nulls} }

type partitionKeys struct{ nulls string }

func (s *partitionKeys) Name() string { return "partition-key(" + s.nulls + ")" }

func (s *partitionKeys) Route(r *bridge.Record) (Route, error) {
	if r.Key == nil {
		key, err := s.null(r)
		return Route{Key: key}, err
	}
	if fits(r.Key) && !bytes.HasPrefix(r.Key, []byte(codePrefix)) {
		return Route{Key: r.Key}, nil
	}
	n := len(codeKey) + keyCode.EncodedLen(len(r.Key))
	if n > maxChars {
		return Route{}, fmt.Errorf("key of %d bytes, whose partition key would have %d characters of at most %d: %w",
			len(r.Key), n, maxChars, bridge.ErrUnmappable)
	}
	return Route{Key: keyCode.AppendEncode(append(make([]byte, 0, n), codeKey...), r.Key)}, nil
}

func (s *partitionKeys) null(r *bridge.Record) ([]byte, error) {
	if s.nulls != Spread && s.nulls != PartitionOrder {
		return nil, fmt.Errorf("a record without a key: %w", bridge.ErrUnmappable)
	}
	if !isNumber(r.Partition, math.MaxInt32) {
		return nil, fmt.Errorf("a record without a key in partition %q, which is not Kafka's: %w", r.Partition, bridge.ErrUnmappable)
	}
	key := append(make([]byte, 0, 32), codeNull...)
	key = append(key, r.Partition...)
	if s.nulls == PartitionOrder {
		return key, nil
	}
	if !isNumber(r.Position.Seq, math.MaxInt64) || r.Position.Sub != 0 {
		return nil, fmt.Errorf("a record without a key at position %s, which is not Kafka's: %w", r.Position, bridge.ErrUnmappable)
	}
	return append(append(key, ':'), r.Position.Seq...), nil
}

// fits reports whether Kinesis takes key as a partition key. It is UTF-8, since JSON
// would turn any other bytes into U+FFFD, and different keys into one.
func fits(key []byte) bool {
	if len(key) == 0 || !utf8.Valid(key) {
		return false
	}
	// No character has more UTF-16 units than it has bytes.
	return len(key) <= maxChars || utf16Len(key) <= maxChars
}

// utf16Len counts the UTF-16 units of valid UTF-8: one for each character, and one more
// for each that takes four bytes.
func utf16Len(key []byte) int {
	n := utf8.RuneCount(key)
	for _, b := range key {
		if b >= 0xf0 {
			n++
		}
	}
	return n
}

// isNumber reports whether s is a decimal number of at most limit as Kafka writes it.
func isNumber(s string, limit uint64) bool {
	n, err := strconv.ParseUint(s, 10, 64)
	return err == nil && n <= limit && (s[0] != '0' || s == "0")
}

// An Original is the Kafka key that a partition key stands for.
type Original struct {
	// Key is nil if the record had none. It belongs to the caller.
	Key []byte
	// Partition and Position say where a record without a key stood. Position is zero if
	// the strategy was PartitionOrder. Records with a key have neither.
	Partition string
	Position  bridge.Position
}

// DecodePartitionKey says what Kafka key the strategy of PartitionKeys made key of. It
// takes exactly what that makes, and wraps bridge.ErrUndecodable for all else, such as the
// key of a native producer that happens to begin with the prefix.
func DecodePartitionKey(key string) (Original, error) {
	bad := func() (Original, error) {
		return Original{}, fmt.Errorf("partition key of %d bytes: %w", len(key), bridge.ErrUndecodable)
	}
	if !fits([]byte(key)) {
		return bad()
	}
	if coded, ok := strings.CutPrefix(key, codeKey); ok {
		raw, err := keyCode.AppendDecode([]byte{}, []byte(coded))
		// A line break inside is skipped by the decoder and was not written by the encoder.
		if err != nil || strings.ContainsAny(coded, "\r\n") || fits(raw) && !bytes.HasPrefix(raw, []byte(codePrefix)) {
			return bad()
		}
		return Original{Key: raw}, nil
	}
	if coded, ok := strings.CutPrefix(key, codeNull); ok {
		partition, seq, spread := strings.Cut(coded, ":")
		if !isNumber(partition, math.MaxInt32) || spread && !isNumber(seq, math.MaxInt64) {
			return bad()
		}
		return Original{Partition: partition, Position: bridge.Position{Seq: seq}}, nil
	}
	if strings.HasPrefix(key, codePrefix) {
		return bad()
	}
	return Original{Key: []byte(key)}, nil
}
