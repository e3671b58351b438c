package kinesisstream_test

import (
	"context"
	"iter"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesisstream"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
)

// A countedLedger counts how often it is read.
type countedLedger struct {
	bridge.Ledger
	reads atomic.Int64
}

func (l *countedLedger) Read(ctx context.Context, after bridge.Position) iter.Seq2[bridge.LedgerEntry, error] {
	l.reads.Add(1)
	return l.Ledger.Read(ctx, after)
}

// After a put without an answer the shards are read for copies. A look that gets no answer
// holds up no put.
func TestLooksDoNotHoldUpPuts(t *testing.T) {
	srv := fast(t)
	st := stream(t, srv, 1)
	w := open(t.Context(), t, dial(t, srv, st.Name()), memstream.NewLog(nil), kinesisstream.Raw, patience)
	srv.SetFault(kinesistest.Next("PutRecords", 1, kinesistest.Fault{Cut: true}))
	if err := writeAll(t.Context(), w.sink, records(1, 1, distinct), 1); err != nil {
		t.Fatal(err)
	}
	looking, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	var looks atomic.Int64
	srv.SetFault(func(c kinesistest.Call) kinesistest.Fault {
		if c.Op != "GetRecords" {
			return kinesistest.Fault{}
		}
		if looks.Add(1) == 1 {
			close(looking)
		}
		return kinesistest.Fault{Wait: release}
	})
	<-looking
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	if err := writeAll(ctx, w.sink, records(200, 2, distinct), 10); err != nil {
		t.Errorf("200 records beside a look: %v", err)
	}
}

// The target was resharded, and the first put into a child got no answer. What was put there
// is found without the ledger: this sink put nothing into the child before.
func TestLookDoesNotReadTheLedger(t *testing.T) {
	srv := fast(t)
	st := stream(t, srv, 1)
	client := dial(t, srv, st.Name())
	ledger := &countedLedger{Ledger: memstream.NewLog(nil).Open()}
	sink, err := client.Sink(t.Context(), kinesisstream.SinkConfig{
		Ledger: ledger, Tagger: bridge.NewTagger(bridge.WorkflowKey{1}, "ledger"), PutTimeout: patience, ReadDelay: time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sink.Close() })
	recs := records(60, 3, func(int) string { return "equal" })
	for _, err := range sink.Tail(t.Context(), bridge.Floor{}) {
		t.Fatal(err)
	}
	if err := writeAll(t.Context(), sink, recs[:30], 30); err != nil {
		t.Fatal(err)
	}
	if _, _, err := st.Split(st.Shards()[0].ID, ""); err != nil {
		t.Fatal(err)
	}
	before := ledger.reads.Load()
	srv.SetFault(kinesistest.Next("PutRecords", 1, kinesistest.Fault{LateCut: true}))
	if err := writeAll(t.Context(), sink, recs[30:], 30); err != nil {
		t.Fatal(err)
	}
	expect(t, "behind a reshard", st, recs)
	if n := ledger.reads.Load() - before; n > 0 {
		t.Errorf("the ledger was read %d times", n)
	}
}
