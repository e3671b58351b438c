package kafkastream

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"testing"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/internal/memtest"
)

// FuzzLedger holds that any bytes with a tag that holds are an entry that reads again as
// it was, or are refused, in bounded memory; and that without one they are refused.
func FuzzLedger(f *testing.F) {
	golden, err := hex.DecodeString(stored["ledger"])
	if err != nil {
		f.Fatal(err)
	}
	f.Add(golden[:len(golden)-ledgerTag])
	f.Add([]byte{1, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x7f, 0})
	f.Add([]byte{1, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0})
	tagger := bridge.NewTagger(bridge.WorkflowKey{1}, "ledger")
	f.Fuzz(func(t *testing.T, body []byte) {
		c := ledgerCodec{tagger: tagger, source: 0x054a77ee, name: "kafka:cluster/orders@AAAA"}
		whole := binary.BigEndian.AppendUint64(append([]byte{}, body...), tagger.Sum(body))
		var e bridge.LedgerEntry
		var err error
		memtest.Bounded(t, len(whole), 400, func() { e, err = c.decode(whole) })
		if err != nil {
			if !errors.Is(err, bridge.ErrState) {
				t.Fatal(err)
			}
			return
		}
		whole[len(whole)-1] ^= 1
		if _, err := c.decode(whole); !errors.Is(err, bridge.ErrState) {
			t.Fatalf("an entry whose tag does not hold: %v", err)
		}
		for _, i := range e.Intents {
			if i.Origin.Stream != c.name {
				return // of a source that this program does not write for
			}
		}
		again, err := c.encode(e)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := c.decode(again); err != nil || !reflect.DeepEqual(back, e) {
			t.Fatalf("%+v comes back as %+v, %v", e, back, err)
		}
	})
}

// FuzzStored does the same for the records of the checkpoint topic, whose bodies are JSON.
func FuzzStored(f *testing.F) {
	tagger := bridge.NewTagger(bridge.WorkflowKey{1}, "kafka stores")
	for kind, text := range stored {
		var e envelope
		if kind != "ledger" && json.Unmarshal([]byte(text), &e) == nil {
			f.Add(kind, []byte(e.Body))
		}
	}
	f.Fuzz(func(t *testing.T, kind string, body []byte) {
		name, err := json.Marshal(kind)
		if err != nil {
			t.Fatal(err)
		}
		value := fmt.Appendf(nil, `{"v":1,"kind":%s,"body":%s,"tag":"%s"}`, name, body, tagText(tagger, kind, body))
		for _, into := range []any{new(checkpointBody), new(keyBody), new(producersBody), new(bridge.IndexEntry)} {
			memtest.Bounded(t, len(value), 400, func() { err = unseal(tagger, kind, value, into) })
			if err != nil && !errors.Is(err, bridge.ErrState) {
				t.Fatal(err)
			}
		}
	})
}
