package kinesisstream_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesisstream"
	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
)

// A start waits for the puts of older workers, and if there was none for nobody.
func TestFirstStartWaitsForNobody(t *testing.T) {
	for _, format := range formats {
		t.Run(string(format), func(t *testing.T) {
			srv := fast(t)
			client, log := dial(t, srv, stream(t, srv, 2).Name()), memstream.NewLog(nil)
			const forEver = time.Hour
			first := open(t.Context(), t, client, log, format, forEver)
			if n, err := tailOf(t, first, 30*time.Second); n != 0 || err != nil {
				t.Fatalf("the first start found %d records, %v", n, err)
			}
			if err := writeAll(t.Context(), first.sink, []bridge.Record{sized(0, 10)}, 1); err != nil {
				t.Fatal(err)
			}
			if format == kinesisstream.Raw {
				return // whose ledger says what became of each put
			}
			second := open(t.Context(), t, client, log, format, forEver)
			if n, err := tailOf(t, second, 300*time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("a second start did not wait: it found %d records, %v", n, err)
			}
		})
	}
}

func tailOf(t *testing.T, w *worker, patience time.Duration) (n int, err error) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, err := range w.sink.Tail(ctx, bridge.Floor{}) {
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}
