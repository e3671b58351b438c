package kinesisstream_test

import (
	"context"
	"fmt"
	"iter"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesisstream"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
)

// An agedLedger holds entries that were written a while before they say.
type agedLedger struct {
	bridge.Ledger
	by time.Duration
}

func (l agedLedger) Read(ctx context.Context, after bridge.Position) iter.Seq2[bridge.LedgerEntry, error] {
	return func(yield func(bridge.LedgerEntry, error) bool) {
		for e, err := range l.Ledger.Read(ctx, after) {
			e.Time = e.Time.Add(-l.by)
			if !yield(e, err) {
				return
			}
		}
	}
}

// A process dies with a put in doubt that took effect, and the next one begins ten minutes
// later. It finds the records, however far this machine's clock is from the service's: the
// ledger has times by the one, and shards are read from a time by the other.
func TestDoubtsAreLookedForByTheServicesClock(t *testing.T) {
	for _, format := range formats {
		for _, ahead := range []time.Duration{-40 * time.Minute, -20 * time.Minute, 0, 40 * time.Minute} {
			t.Run(fmt.Sprintf("%s, service %s ahead", format, ahead), func(t *testing.T) { doubtOfAnotherClock(t, format, ahead) })
		}
	}
}

func doubtOfAnotherClock(t *testing.T, format kinesisstream.Format, ahead time.Duration) {
	const passes = 10 * time.Minute
	var clock atomic.Int64
	clock.Store(int64(ahead - passes))
	srv := start(t, kinesistest.Config{Limits: kinesistest.Limits{Off: true}, Clock: func() time.Time {
		return time.Now().Add(time.Duration(clock.Load()))
	}})
	st, log := stream(t, srv, 2), memstream.NewLog(nil)
	recs := records(40, 8, distinct)
	ctx, die := context.WithCancel(t.Context())
	first := open(ctx, t, dial(t, srv, st.Name()), log, format, patience)
	acks, err := first.sink.Write(ctx, recs[:20])
	if err != nil {
		t.Fatal(err)
	}
	// Of no shard is a place known, as of one that came since.
	floor := bridge.Floor{At: time.Now().Add(-passes), Log: acks[len(acks)-1].Log}
	var calls atomic.Int64
	srv.SetFault(func(c kinesistest.Call) kinesistest.Fault {
		if c.Op != "PutRecords" {
			return kinesistest.Fault{}
		}
		die()
		return kinesistest.Fault{Cut: calls.Add(1) > 1, LateCut: true}
	})
	if _, err := first.sink.Write(ctx, recs[20:]); err == nil {
		t.Fatal("the first process did not die")
	}
	first.sink.Close()
	for srv.Counts("PutRecords").LateStored == 0 { // it is stored though its process is gone
		if t.Context().Err() != nil {
			t.Fatal(t.Context().Err())
		}
		runtime.Gosched()
	}
	srv.SetFault(nil)
	clock.Store(int64(ahead))

	client := dial(t, srv, st.Name())
	sink, err := client.Sink(t.Context(), kinesisstream.SinkConfig{
		Format: format, Stamp: first.stamp, Ledger: agedLedger{log.Open(), passes},
		Tagger: bridge.NewTagger(bridge.WorkflowKey{1}, "ledger"), PutTimeout: patience, ReadDelay: time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sink.Close() })
	found := map[string]bool{}
	for p, err := range sink.Tail(t.Context(), floor) {
		if err != nil {
			t.Fatal(err)
		}
		found[p.Origin.Position.String()] = true
	}
	n := 0
	for _, r := range recs[20:] {
		if found[r.Origin.Position.String()] {
			n++
		}
	}
	if want := total(t, st) - 20; n != want || want == 0 {
		t.Errorf("%d records of the put in doubt are found, want %d", n, want)
	}
}
