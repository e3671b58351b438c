package kafkastream_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/stream/kafkastream"
)

// batchSize is how many bytes a batch of one record has, by the protocol guide: version 2,
// uncompressed, the record's time that of the batch.
func batchSize(r *kgo.Record) int {
	text := func(b []byte) int {
		if b == nil {
			return 1
		}
		return varint(len(b)) + len(b)
	}
	body := 3 + text(r.Key) + text(r.Value) + varint(len(r.Headers))
	for _, h := range r.Headers {
		body += text([]byte(h.Key)) + text(h.Value)
	}
	return 61 + varint(body) + body
}

func varint(n int) int { return len(binary.AppendVarint(nil, int64(n))) }

// messageLimits: a batch of exactly max.message.bytes is taken from the sink, and comes back
// whole; one byte more is refused by name. The broker alone draws the same line.
func (b *bench) messageLimits(t *testing.T) {
	for _, limit := range []int{1 << 20, 10 << 20} {
		t.Run(fmt.Sprint(limit>>20, " MiB"), func(t *testing.T) { b.messageLimit(t, limit) })
	}
}

func (b *bench) messageLimit(t *testing.T, limit int) {
	name := topic(t, b.client, 1, map[string]string{"max.message.bytes": fmt.Sprint(limit)})
	s, err := b.session(t.Context(), t, "limit", name)
	if err != nil {
		t.Fatal(err)
	}
	sink := s.Sink(kafkastream.SinkConfig{Stamp: bridge.NewStamp(bridge.StampConfig{Workflow: "limit", Key: testKey()})})
	write := func(n, value int) error {
		acks, err := sink.Write(t.Context(), []bridge.Record{{
			Key: []byte("k"), Value: bytes.Repeat([]byte{byte('a' + n)}, value), Partition: "0", Time: time.UnixMilli(1), Subs: 1,
			Headers: []bridge.Header{{Key: "h", Value: []byte("v")}},
		}})
		if err != nil {
			return err
		}
		return acks[0].Err
	}
	value := limit - 1000
	if err := write(0, value); err != nil {
		t.Fatal(err)
	}
	value += limit - batchSize(everything(t, b, name, 0)[0])
	for n, d := range []int{-1, 0, 1} {
		if err := write(1+n, value+d); d > 0 && !errors.Is(err, bridge.ErrOversize) || d <= 0 && err != nil {
			t.Errorf("a batch of %d bytes, limit %d: %v", limit+d, limit, err)
		}
	}
	got := everything(t, b, name, 0)
	got = got[len(got)-2:]
	for n, d := range []int{-1, 0} {
		if r := got[n]; batchSize(r) != limit+d || !bytes.Equal(r.Value, bytes.Repeat([]byte{byte('b' + n)}, value+d)) {
			t.Errorf("the batch of %d bytes came back as one of %d, or with others", limit+d, batchSize(r))
		}
	}
	plain, err := kgo.NewClient(append(b.writer.Opts(), kgo.ProducerBatchMaxBytes(16<<20))...)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	for _, d := range []int{0, 1} {
		r := &kgo.Record{Topic: name, Value: make([]byte, limit-100)}
		r.Value = make([]byte, len(r.Value)+limit-batchSize(r)+d)
		if err := plain.ProduceSync(t.Context(), r).FirstErr(); errors.Is(err, kerr.MessageTooLarge) != (d > 0) {
			t.Errorf("another client's batch of %d bytes, limit %d: %v", batchSize(r), limit, err)
		}
	}
}

func TestMessageLimits(t *testing.T) { newBench(t, "kfake", brokers(t)).messageLimits(t) }
