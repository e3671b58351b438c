package kinesisstream_test

import (
	"fmt"
	"testing"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/kpl"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesisstream"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
)

// A page of many small user records is handed out in pieces: what one Read holds is bounded
// by its records, too. Nothing of the page is lost or changes its order, only the last piece
// says that nothing more is there, and a reader that is opened at any record between two
// pieces continues there.
func TestLargePagesComeInPieces(t *testing.T) {
	const aggregates, each, most = 16, 3_000, 16_384
	srv := fast(t)
	st := stream(t, srv, 1)
	for a := range aggregates {
		var b kpl.Builder
		for i := range each {
			if err := b.Add([]byte("k"), nil, fmt.Append(nil, a*each+i), nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := st.Put(kinesistest.Entry{Key: "k", Data: b.Finish(nil)}); err != nil {
			t.Fatal(err)
		}
	}
	src := dial(t, srv, st.Name()).Source(kinesisstream.SourceConfig{NoRates: true})
	shard := st.Shards()[0].ID
	var cuts []bridge.Position
	read := func(from bridge.Position, next int) {
		t.Helper()
		r, err := src.Open(t.Context(), shard, bridge.Start{After: from})
		if err != nil {
			t.Fatal(err)
		}
		for next < aggregates*each {
			b, err := r.Read(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if n := len(b.Records); n > most+each {
				t.Fatalf("one read returned %d records", n)
			}
			for i := range b.Records {
				if got := string(b.Records[i].Value); got != fmt.Sprint(next) {
					t.Fatalf("record %s, want %d", got, next)
				}
				next++
			}
			if n := len(b.Records); n > 0 && b.Through != b.Records[n-1].Position {
				t.Errorf("through %s, the last record stands at %s", b.Through, b.Records[n-1].Position)
			}
			if last := next == aggregates*each; (b.Behind == 0) != last {
				t.Errorf("%s behind after %d records", b.Behind, next)
			}
			if from.IsZero() {
				cuts = append(cuts, b.Through)
			}
		}
	}
	read(bridge.Position{}, 0)
	if len(cuts) < 3 {
		t.Fatalf("not exercised: %d pieces", len(cuts))
	}
	at := 0
	for _, cut := range cuts[:len(cuts)-1] {
		at += most/each*each + each
		read(cut, at)
	}
}
