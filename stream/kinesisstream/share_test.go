package kinesisstream_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesisstream"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
)

// Two readers of one shard stay within the share of one, and each of them gets on.
func TestReadersShareTheBudgetOfAShard(t *testing.T) {
	srv, err := kinesistest.Start(kinesistest.Config{Limits: kinesistest.Limits{Off: true}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	s, err := srv.CreateStream("orders", 1)
	if err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		if err := s.Put(kinesistest.Entry{Key: "k", Data: make([]byte, 10)}); err != nil {
			t.Fatal(err)
		}
	}
	client, err := kinesisstream.Dial(t.Context(), kinesisstream.Config{
		Stream: "orders", Region: srv.Region(), EndpointURL: srv.URL(),
		Credentials: credentials.NewStaticCredentialsProvider("id", "secret", ""),
	})
	if err != nil {
		t.Fatal(err)
	}
	source := client.Source(kinesisstream.SourceConfig{Share: 1, PageRecords: 10})
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	var reading sync.WaitGroup
	var pages [2]atomic.Int64
	for i := range pages {
		reading.Go(func() {
			r, err := source.Open(ctx, "shardId-000000000000", bridge.Start{})
			if err != nil {
				t.Error(err)
				return
			}
			for ctx.Err() == nil {
				if _, err := r.Read(ctx); err == nil {
					pages[i].Add(1)
				}
			}
		})
	}
	reading.Wait()
	most := int64(time.Since(began).Seconds()*5) + 2
	a, b := pages[0].Load(), pages[1].Load()
	if a+b > most || a < 1 || b < 1 {
		t.Errorf("two readers had %d and %d pages, want at most %d together", a, b, most)
	}
}
