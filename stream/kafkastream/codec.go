package kafkastream

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
)

// A ledgerCodec writes ledger entries. Version 1, with uvarint and varint as in Protocol
// Buffers and numbers of fixed size big-endian; a text is a uvarint length and its bytes:
//
//	1     version
//	4     source, as in the provenance header
//	uvar  number of settled intents; for each
//	        text  position of the entry that held the intent
//	        uvar  index of the intent in it
//	        1     0 if not stored, 2 if it was not found and can still land, 1 if stored; then
//	        text  partition    text  position
//	uvar  number of intents; for each
//	        text  partition    text  position
//	        text  partition key
//	        var   record time, milliseconds since 1970
//	        8     digest
//	8     tag over all before it
type ledgerCodec struct {
	tagger *bridge.Tagger
	source uint32
	name   string // of the source, spelled out
}

// What became of an intent. Programs that do not know settledDoubt read it as settledNot.
const (
	settledNot = iota
	settledStored
	settledDoubt
)

const (
	ledgerVersion = 1
	ledgerTag     = 8
)

func (c ledgerCodec) encode(e bridge.LedgerEntry) ([]byte, error) {
	// Enough for numbers of 56 digits, so that it grows only for long keys.
	b := make([]byte, 0, 64+128*(len(e.Settled)+len(e.Intents)))
	b = binary.BigEndian.AppendUint32(append(b, ledgerVersion), c.source)
	b = binary.AppendUvarint(b, uint64(len(e.Settled)))
	for _, s := range e.Settled {
		b = appendText(b, s.Entry.String())
		b = binary.AppendUvarint(b, uint64(s.Index))
		if !s.Stored {
			b = append(b, settledNot)
			if s.Doubt {
				b[len(b)-1] = settledDoubt
			}
			continue
		}
		b = appendText(append(b, settledStored), s.Partition)
		b = appendText(b, s.Position.String())
	}
	b = binary.AppendUvarint(b, uint64(len(e.Intents)))
	for _, i := range e.Intents {
		if i.Origin.Stream != c.name {
			return nil, fmt.Errorf("intent for a record of %s in the ledger of %s: %w", i.Origin.Stream, c.name, bridge.ErrRefused)
		}
		b = appendText(b, i.Origin.Partition)
		b = appendText(b, i.Origin.Position.String())
		b = appendText(b, i.Key)
		b = binary.AppendVarint(b, i.Time.UnixMilli())
		b = binary.BigEndian.AppendUint64(b, i.Digest)
	}
	return binary.BigEndian.AppendUint64(b, c.tagger.Sum(b)), nil
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// decode reads an entry, or says with ErrState what is wrong with it.
func (c ledgerCodec) decode(b []byte) (bridge.LedgerEntry, error) {
	var e bridge.LedgerEntry
	switch {
	case len(b) < 1+4+1+1+ledgerTag || b[0] == 0:
		return e, bridge.WithHint(fmt.Errorf("not a ledger entry: %w", bridge.ErrState), othersWrite)
	case b[0] > ledgerVersion:
		return e, bridge.WithHint(fmt.Errorf("a ledger entry has format %d, this program knows %d: %w", b[0], ledgerVersion, bridge.ErrState),
			"use the newer version of bridge that wrote it")
	case c.tagger.Sum(b[:len(b)-ledgerTag]) != binary.BigEndian.Uint64(b[len(b)-ledgerTag:]):
		return e, bridge.WithHint(fmt.Errorf("a ledger entry was not written by this workflow: %w", bridge.ErrState),
			othersWrite)
	}
	b = b[1 : len(b)-ledgerTag]
	r := ledgerReader{b: b, all: string(b)}
	stream := c.name
	if id := binary.BigEndian.Uint32(r.take(4)); id != c.source {
		stream = fmt.Sprintf("#%08x", id)
	}
	settled := r.count(1 + 1 + 1)
	e.Settled = slices.Grow(e.Settled, settled)
	for range settled {
		s := bridge.Settled{Entry: r.position(), Index: int(r.uvarint())}
		fate := r.take(1)[0]
		if s.Stored, s.Doubt = fate == settledStored, fate == settledDoubt; s.Stored {
			s.Partition, s.Position = r.text(), r.position()
		}
		e.Settled = append(e.Settled, s)
	}
	intents := r.count(1 + 1 + 1 + 1 + 8)
	e.Intents = slices.Grow(e.Intents, intents)
	for range intents {
		i := bridge.Intent{Origin: bridge.Coordinate{Stream: stream, Partition: r.text(), Position: r.position()}, Key: r.text()}
		i.Time, i.Digest = time.UnixMilli(r.varint()), r.uint64()
		e.Intents = append(e.Intents, i)
	}
	if r.bad || len(r.b) != 0 {
		return bridge.LedgerEntry{}, bridge.WithHint(fmt.Errorf("a ledger entry is cut: %w", bridge.ErrState), othersWrite)
	}
	return e, nil
}

// A ledgerReader takes values off the front of b; bad says that one was not there. Texts are
// parts of all, which is what b was, so that those of an entry are one piece of memory.
type ledgerReader struct {
	b   []byte
	all string
	bad bool
}

func (r *ledgerReader) take(n uint64) []byte {
	if r.bad || n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return make([]byte, min(n, 8))
	}
	p := r.b[:n]
	r.b = r.b[n:]
	return p
}

func (r *ledgerReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *ledgerReader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

// count is how many items follow, each of at least so many bytes.
func (r *ledgerReader) count(least int) int {
	n := r.uvarint()
	if n > uint64(len(r.b)/least) {
		r.bad = true
		return 0
	}
	return int(n)
}

func (r *ledgerReader) uint64() uint64 { return binary.BigEndian.Uint64(r.take(8)) }

func (r *ledgerReader) text() string {
	n := r.uvarint()
	if r.bad || n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return ""
	}
	from := len(r.all) - len(r.b)
	r.b = r.b[n:]
	return r.all[from : from+int(n)]
}

func (r *ledgerReader) position() bridge.Position {
	p, err := bridge.ParsePosition(r.text())
	if err != nil {
		r.bad = true
	}
	return p
}
