package kinesisstream_test

import (
	"fmt"
	"testing"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesisstream"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
)

// Keys and values are as they were when later pages have been read, and when somebody has
// appended to their neighbours: those of a page share its memory.
func TestPagesKeepTheirRecords(t *testing.T) {
	const n = 50
	for _, codec := range []kinesisstream.Codec{kinesisstream.CodecJSON, kinesisstream.CodecCBOR, kinesisstream.CodecSDK} {
		t.Run(string(codec), func(t *testing.T) {
			srv := fast(t)
			st := stream(t, srv, 1)
			for i := range n {
				if err := st.Put(kinesistest.Entry{Key: fmt.Sprint("key-", i), Data: fmt.Append(nil, "value-", i)}); err != nil {
					t.Fatal(err)
				}
			}
			conf := config(srv, st.Name())
			conf.Codec = codec
			client, err := kinesisstream.Dial(t.Context(), conf)
			if err != nil {
				t.Fatal(err)
			}
			r, err := client.Source(kinesisstream.SourceConfig{PageRecords: 10, NoRates: true}).Open(t.Context(), st.Shards()[0].ID, bridge.Start{})
			if err != nil {
				t.Fatal(err)
			}
			var all []bridge.Record
			for pages := 0; len(all) < n; pages++ {
				b, err := r.Read(t.Context())
				if err != nil || pages > n {
					t.Fatalf("%d records after %d pages: %v", len(all), pages, err)
				}
				for _, rec := range b.Records {
					_ = append(rec.Key, "behind the key"...)
					_ = append(rec.Value, "behind the value"...)
				}
				all = append(all, b.Records...)
			}
			for i, rec := range all {
				if string(rec.Key) != fmt.Sprint("key-", i) || string(rec.Value) != fmt.Sprint("value-", i) {
					t.Errorf("record %d is %q %q by now", i, rec.Key, rec.Value)
				}
			}
		})
	}
}
