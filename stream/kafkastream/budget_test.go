package kafkastream_test

import (
	"errors"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/stream/kafkastream"
)

// A batch that would become larger than a budget is a clear error, whichever codec it is
// packed with, and not memory.
func TestUnpackingIsBounded(t *testing.T) {
	addrs := brokers(t)
	client := dial(t, kafkastream.Config{Brokers: addrs})
	was := sarama.MaxDecompressedBatchSize
	if was <= 0 {
		t.Fatal("batches are unpacked to any size")
	}
	t.Cleanup(func() { sarama.MaxDecompressedBatchSize = was })
	for name, codec := range map[string]kgo.CompressionCodec{
		"gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	} {
		topic := topic(t, client, 1, nil)
		produce(t, producer(t, addrs, kgo.ProducerBatchCompression(codec), kgo.ProducerBatchMaxBytes(8<<20)), &kgo.Record{Topic: topic, Value: make([]byte, 4<<20)})
		for _, limit := range []int32{1 << 20, 5 << 20} {
			sarama.MaxDecompressedBatchSize = limit
			b, err := open(t, newSource(t, kafkastream.SourceConfig{Client: client, Topic: topic}), "0", bridge.Start{}).Read(t.Context())
			switch {
			case limit > 4<<20 && (err != nil || len(b.Records) != 1):
				t.Errorf("%s, 4 MiB of 5: %d records, %v", name, len(b.Records), err)
			case limit < 4<<20 && (!errors.Is(err, bridge.ErrUndecodable) || bridge.Retryable(err) || bridge.Hint(err) == ""):
				t.Errorf("%s, 4 MiB of 1: %d records, %v; want a final error with a hint", name, len(b.Records), err)
			}
		}
	}
}

// At its start, and behind an answer that left nothing, a reader waits for the next record
// before its Read, which returns it at once; behind any other answer it does not wait.
func TestIdleReaderWaitsBeforeItReads(t *testing.T) {
	addrs := brokers(t)
	client := dial(t, kafkastream.Config{Brokers: addrs})
	name := topic(t, client, 1, nil)
	p := producer(t, addrs)
	r := open(t, newSource(t, kafkastream.SourceConfig{Client: client, Topic: name}), "0", bridge.Start{})
	w := r.(bridge.Waiter)
	read := func(what string, want int, waits bool) {
		t.Helper()
		began := time.Now()
		if err := w.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(began); waits && d < 100*time.Millisecond {
			t.Errorf("%s: it waited for %s", what, d)
		}
		b, err := r.Read(t.Context())
		if err != nil || len(b.Records) != want {
			t.Fatalf("%s: %d records, %v; want %d", what, len(b.Records), err, want)
		}
	}
	read("nothing, at the start", 0, true)
	read("nothing, again", 0, true)
	produce(t, p, &kgo.Record{Topic: name, Value: []byte("1")})
	produce(t, p, &kgo.Record{Topic: name, Value: []byte("2")})
	read("the first of two", 1, false)
	if began := time.Now(); w.Wait(t.Context()) != nil || time.Since(began) > 100*time.Millisecond {
		t.Errorf("with a record to read it waited for %s", time.Since(began))
	}
	read("the second", 1, false)
	read("nothing behind it", 0, true)
}
