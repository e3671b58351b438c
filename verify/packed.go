package verify

import (
	"encoding/binary"
	"fmt"

	"github.com/kinesis-msk-bridge/bridge"
)

// The two tables of fixed size are saved as they lie in memory, since a save stops both
// sides for as long as it takes.

// GobEncode writes the greatest offset and the bits.
func (b *bitmap) GobEncode() ([]byte, error) {
	out := binary.LittleEndian.AppendUint64(make([]byte, 0, 8+8*len(b.Bits)), uint64(b.Max))
	return binary.Append(out, binary.LittleEndian, b.Bits)
}

// GobDecode reads what GobEncode wrote.
func (b *bitmap) GobDecode(p []byte) error {
	*b = *newBitmap()
	if len(p) != 8+8*len(b.Bits) {
		return fmt.Errorf("a bitmap of %d bytes: %w", len(p), bridge.ErrState)
	}
	b.Max = int64(binary.LittleEndian.Uint64(p))
	_, err := binary.Decode(p[8:], binary.LittleEndian, b.Bits)
	return err
}

// GobEncode writes keys, offsets and what was put out.
func (t *orderTable) GobEncode() ([]byte, error) {
	out := make([]byte, 0, 8*(len(t.Keys)+len(t.Offsets)+len(t.Evicted)))
	for _, part := range []any{t.Keys, t.Offsets, t.Evicted} {
		var err error
		if out, err = binary.Append(out, binary.LittleEndian, part); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// GobDecode reads what GobEncode wrote.
func (t *orderTable) GobDecode(p []byte) error {
	sets := len(p) / (8 * (2*orderWays + 1))
	if sets < leastSets || sets > mostSets || len(p) != 8*sets*(2*orderWays+1) {
		return fmt.Errorf("an order table of %d bytes: %w", len(p), bridge.ErrState)
	}
	*t = *orderTableOf(sets)
	for _, part := range []any{t.Keys, t.Offsets, t.Evicted} {
		n, err := binary.Decode(p, binary.LittleEndian, part)
		if err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}
