package memstream_test

import (
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
)

// read reads one partition until it is at the tip or ended.
func read(t *testing.T, src bridge.Source, partition string, from bridge.Start) []bridge.Record {
	t.Helper()
	ctx := t.Context()
	r, err := src.Open(ctx, partition, from)
	if err != nil {
		t.Fatalf("open %s: %v", partition, err)
	}
	defer r.Close()
	var all []bridge.Record
	for range 10_000 {
		b, err := r.Read(ctx)
		if bridge.Retryable(err) {
			continue
		}
		if err != nil {
			t.Fatalf("read %s: %v", partition, err)
		}
		all = append(all, b.Records...)
		if b.Ended || b.Behind == 0 && len(b.Records) == 0 {
			return all
		}
	}
	t.Fatalf("read %s: no end in 10,000 reads", partition)
	return nil
}

// put puts until everything is in, in the order of each key.
func put(t *testing.T, s *memstream.Stream, recs ...bridge.Record) []bridge.Ack {
	t.Helper()
	out := make([]bridge.Ack, len(recs))
	for i, r := range recs {
		for tries := 0; ; tries++ {
			acks, err := s.Put(t.Context(), r)
			if err != nil || tries > 100 {
				t.Fatalf("put: %v", err)
			}
			if out[i] = acks[0]; acks[0].Err == nil {
				break
			}
		}
	}
	return out
}

// write writes until everything is acknowledged.
func write(t *testing.T, k bridge.Sink, recs ...bridge.Record) {
	t.Helper()
	for range 1000 {
		acks, err := k.Write(t.Context(), recs)
		if err != nil {
			t.Fatalf("write: %v", err)
		}
		var left []bridge.Record
		for i, a := range acks {
			if a.Err != nil {
				left = append(left, recs[i])
			}
		}
		if recs = left; len(recs) == 0 {
			return
		}
	}
	t.Fatal("write: not done in 1000 tries")
}

func TestOrderThroughSplitsAndRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memstream.New(memstream.Config{Flavour: memstream.Kinesis, Partitions: 2, Seed: 7})
		k := s.Sink(memstream.SinkConfig{Workflow: "w"})
		var recs []bridge.Record
		n := map[string]int{}
		for i := range 600 {
			key := fmt.Sprint("k", i*i%13)
			n[key]++
			recs = append(recs, bridge.Record{Key: []byte(key), Value: fmt.Appendf(nil, "%d", n[key])})
		}
		write(t, k, recs[:300]...)
		if _, _, err := s.Split("shardId-000000000001"); err != nil {
			t.Fatal(err)
		}
		write(t, k, recs[300:]...)
		got := map[string]int{}
		parts, err := s.Partitions(t.Context())
		if err != nil || len(parts) != 4 {
			t.Fatalf("partitions: %v, %v", parts, err)
		}
		for _, p := range parts {
			for _, r := range read(t, s.Source("w"), p.ID, bridge.Start{}) {
				key := string(r.Key)
				got[key]++
				if want := fmt.Sprint(got[key]); string(r.Value) != want {
					t.Fatalf("key %s: got value %s in %s, want %s", key, r.Value, p.ID, want)
				}
			}
		}
		if len(got) != len(n) || s.Len() != 600 {
			t.Fatalf("%d keys, %d records", len(got), s.Len())
		}
	})
}
