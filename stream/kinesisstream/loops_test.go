package kinesisstream_test

import (
	"fmt"
	"testing"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesisstream"
	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
)

// What another workflow brought into the stream says from where, if the reader knows that
// place, in every format that carries provenance. It is nobody's own.
func TestRecordsOfOtherWorkflowsSayWhereTheyCameFrom(t *testing.T) {
	for _, format := range []kinesisstream.Format{kinesisstream.KPL, kinesisstream.KPLShard, kinesisstream.Envelope} {
		for _, known := range []bool{true, false} {
			for _, restore := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s, known %t, restored %t", format, known, restore), func(t *testing.T) {
					srv := fast(t)
					client := dial(t, srv, stream(t, srv, 1).Name())
					w := open(t.Context(), t, client, memstream.NewLog(nil), format, enough)
					if err := writeAll(t.Context(), w.sink, records(20, 3, distinct), 20); err != nil {
						t.Fatal(err)
					}
					id, err := client.Identity(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					conf := bridge.StampConfig{Workflow: "another", Key: bridge.WorkflowKey{2}, Target: id}
					want := ""
					if known {
						conf.Known, want = []bridge.Identity{origin}, origin.String()
					}
					n := 0
					for _, r := range readShard(t, client, kinesisstream.SourceConfig{Stamp: bridge.NewStamp(conf), Restore: restore}) {
						if n++; r.CameFrom != want || !r.Origin.IsZero() || r.Foreign {
							t.Errorf("record %s came from %q, origin %q, foreign %t; want %q and nobody's own", r.Position, r.CameFrom, r.Origin, r.Foreign, want)
						}
						if r.IsBack(origin.String()) != known || r.IsBack("") {
							t.Errorf("record %s is back: %t, want %t", r.Position, r.IsBack(origin.String()), known)
						}
					}
					if n == 0 || known && n != 20 {
						t.Errorf("%d records were read, want 20", n)
					}
				})
			}
		}
	}
}

// readShard reads the only shard of a stream to its tip.
func readShard(t *testing.T, c *kinesisstream.Client, conf kinesisstream.SourceConfig) (out []bridge.Record) {
	t.Helper()
	shards, err := c.Partitions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.Source(conf).Open(t.Context(), shards[0].ID, bridge.Start{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for {
		b, err := r.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if out = append(out, b.Records...); b.Behind == 0 {
			return out
		}
	}
}
