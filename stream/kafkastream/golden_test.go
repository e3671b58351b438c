package kafkastream

import (
	"encoding/hex"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
)

// What is stored in people's topics: it may gain fields, and never changes. The pages show
// the same bytes.
var stored = map[string]string{
	"ledger":        "01054a77ee01023431020114736861726449642d30303030303030303030313202343201013706333336373736064e3134323238f6a5edd8fe4e0102030405060708694b38448d6b05aa",
	keyRecord:       `{"v":1,"kind":"workflow-key","body":{"key":"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"},"tag":"c9138de1d3a9fa79"}`,
	producersRecord: `{"v":1,"kind":"producers","body":{"ids":[1000,1001]},"tag":"5528fe6723732326"}`,
	"checkpoint":    `{"v":1,"kind":"checkpoint","body":{"source":{"name":"kafka:cluster/orders","incarnation":"AAAA"},"target":{"name":"kinesis:arn:aws:kinesis:us-east-1:123456789012:stream/orders","incarnation":"1700000000000"},"keymap":"partition-key(spread)","rows":[{"partition":"7","position":"336776","tip":"2013-01-01T10:00:00.123Z"}],"floor":{"log":"41"},"at":"2013-01-01T10:00:00.123Z","counts":{"read":3,"written":2,"already_present":1,"dead_lettered":0,"dropped_by_policy":0,"loop_skipped":0,"foreign_provenance":0,"rewind":0},"producer":1001,"epoch":4,"fenced":true,"sources":{"054a77ee":{"name":"kafka:cluster/orders","incarnation":"AAAA"}}},"tag":"7be46cf636f06284"}`,
	"index":         `{"v":1,"kind":"index","body":{"partition":"shardId-000000000012","position":"42","below":{"7":"336776"}},"tag":"be807e4ac2644171"}`,
}

func TestStoredGolden(t *testing.T) {
	var key bridge.WorkflowKey
	for i := range key {
		key[i] = byte(i)
	}
	at := time.UnixMilli(1357034400123).UTC()
	source := bridge.Identity{Name: "kafka:cluster/orders", Incarnation: "AAAA"}
	target := bridge.Identity{Name: "kinesis:arn:aws:kinesis:us-east-1:123456789012:stream/orders", Incarnation: "1700000000000"}
	ledger := ledgerCodec{tagger: bridge.NewTagger(key, "ledger"), source: bridge.SourceID(source), name: source.String()}
	entry := bridge.LedgerEntry{
		Settled: []bridge.Settled{{Entry: bridge.OffsetPosition(41), Index: 2, Stored: true, Partition: "shardId-000000000012", Position: bridge.Position{Seq: "42"}}},
		Intents: []bridge.Intent{{Origin: bridge.Coordinate{Stream: source.String(), Partition: "7", Position: bridge.OffsetPosition(336776)}, Key: "N14228", Time: at, Digest: 0x0102030405060708}},
	}
	encoded, err := ledger.encode(entry)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{"ledger": hex.EncodeToString(encoded)}
	tagger := bridge.NewTagger(key, "kafka stores")
	for kind, body := range map[string]any{
		keyRecord:       keyBody{Key: key.Reveal()},
		producersRecord: producersBody{IDs: []int64{1000, 1001}},
		"checkpoint": checkpointBody{
			Checkpoint: bridge.Checkpoint{
				Source: source, Target: target, Keymap: "partition-key(spread)", At: at,
				Rows:   []bridge.Row{{Partition: "7", Position: bridge.OffsetPosition(336776), Tip: at}},
				Floor:  bridge.Floor{Log: bridge.OffsetPosition(41)},
				Counts: bridge.Counts{Read: 3, Written: 2, Present: 1},
			},
			Producer: 1001, Epoch: 4, Fenced: true, Sources: map[string]bridge.Identity{"054a77ee": source},
		},
		"index": bridge.IndexEntry{Partition: "shardId-000000000012", Position: bridge.Position{Seq: "42"}, Below: map[string]bridge.Position{"7": bridge.OffsetPosition(336776)}},
	} {
		b, err := seal(tagger, kind, body)
		if err != nil {
			t.Fatal(err)
		}
		got[kind] = string(b)
	}
	pages := map[string]string{"ledger": "0002-ledger.md", "checkpoint": "0003-checkpoint.md", "index": "0004-index.md"}
	for kind, want := range stored {
		if got[kind] != want {
			t.Errorf("%s:\n got %s\nwant %s", kind, got[kind], want)
		}
		if name := pages[kind]; name != "" {
			page, err := os.ReadFile("../../docs/adr/" + name)
			if err != nil || !strings.Contains(strings.Join(strings.Fields(string(page)), ""), strings.Join(strings.Fields(want), "")) {
				t.Errorf("%s does not show %s: %v", name, want, err)
			}
		}
	}
}
