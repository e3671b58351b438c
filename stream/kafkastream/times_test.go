package kafkastream

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/IBM/sarama"

	"github.com/kinesis-msk-bridge/bridge"
)

// What sarama makes of a delta, beyond what a time.Duration holds, still tells the delta.
func TestDeltaOfAnySize(t *testing.T) {
	const seed = 16
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 100_000 {
		ms := rng.Int64N(1<<57) >> rng.IntN(57)
		if rng.IntN(2) == 0 {
			ms = -ms
		}
		if got := deltaMillis(time.Duration(ms) * time.Millisecond); got != ms {
			t.Fatalf("seed %d: delta of %d ms is read as %d", seed, ms, got)
		}
	}
}

// Each record has its own time, whatever the first of its batch has.
func TestTimesInABatch(t *testing.T) {
	for _, base := range []int64{noTime, 0, 1_700_000_000_000, -5_000, 1_700_000_000_000_000} {
		b := batch{RecordBatch: &sarama.RecordBatch{Version: 2}}
		if base >= 0 {
			b.FirstTimestamp = time.UnixMilli(base)
		}
		want := []int64{base, 1_700_000_000_001, -1000, 1_700_000_000_000_000, 9_300_000_000_000, noTime, 0}
		most := int64(0)
		for _, ms := range want {
			b.Records = append(b.Records, &sarama.Record{TimestampDelta: time.Duration(ms-base) * time.Millisecond})
			most = max(most, ms)
		}
		b.MaxTimestamp = time.UnixMilli(most)
		for i, ms := range want {
			got := b.time(b.Records[i])
			if ms == noTime && !got.IsZero() || ms != noTime && (got.IsZero() || got.UnixMilli() != ms) {
				t.Errorf("base %d: a record of %d ms is read as %s", base, ms, got)
			}
		}
	}
}

// refusing cannot encode requests that hold a certain value, as an encoder does.
type refusing struct{ *model }

func (r refusing) send(ctx context.Context, broker int32, sent []addressed) (*sarama.ProduceResponse, error) {
	for _, a := range sent {
		for _, rec := range a.batch.Records {
			if string(rec.Value) == "not to be encoded" {
				return nil, classify(sarama.PacketEncodingError{Info: "not to be encoded"})
			}
		}
	}
	return r.model.send(ctx, broker, sent)
}

// A record that cannot be encoded was certainly not sent. It is refused by itself, and
// holds up neither its partition nor others.
func TestUnencodableRecordIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &model{
			rng: rand.New(rand.NewPCG(1, 0)), brokers: 1, met: map[string]int{}, max: 1000, poison: "poison",
			leader: map[partitionID]int32{}, logs: map[partitionID]*modelLog{},
		}
		p := newProducer(refusing{m}, 1, 0)
		ended := make(chan error, 1)
		ctx, stop := context.WithCancel(t.Context())
		go func() { ended <- p.run(ctx) }()
		piece := func(n int32, values ...string) *piece {
			p.mu.Lock()
			p.lineTo(partitionID{"t", n}).sequence = 1<<31 - 3
			p.mu.Unlock()
			var entries []entry
			for _, v := range values {
				entries = append(entries, entry{Record: sarama.Record{Value: []byte(v)}, time: time.UnixMilli(1)})
			}
			return newPiece(partitionID{"t", n}, entries)
		}
		bad, good := piece(0, "a", "b", "not to be encoded", "c"), piece(1, "d")
		patient, cut := context.WithTimeout(ctx, time.Hour)
		defer cut()
		if err := p.append(patient, bad, good); err != nil {
			t.Fatal(err)
		}
		if bad.offsets[0] != 0 || bad.offsets[1] != 1 || bad.refused != 2 || !errors.Is(bad.err, bridge.ErrUnmappable) || bad.offsets[3] >= 0 || good.offsets[0] != 0 {
			t.Errorf("offsets %v and %v, record %d refused with %v; want a, b and d stored", bad.offsets, good.offsets, bad.refused, bad.err)
		}
		stop()
		<-ended
	})
}
