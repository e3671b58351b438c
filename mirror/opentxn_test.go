package mirror_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/mirror"
	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
)

// Behind an open transaction nothing is caught up, and the log says why: at once if a goal
// waits for it, else after a minute, then once a minute, and when it has ended.
func TestOpenTransactionHoldsUp(t *testing.T) {
	for _, tt := range []struct {
		name     string
		goal     bool
		warnings int // in three and a half minutes
	}{
		{"until caught up", true, 4},
		{"without a goal", false, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { holdsUp(t, tt.goal, tt.warnings) })
		})
	}
}

func holdsUp(t *testing.T, goal bool, warnings int) {
	src := memstream.New(memstream.Config{Partitions: 1, Calm: true})
	dst := memstream.New(memstream.Config{Partitions: 1, Calm: true})
	put := func(n int) {
		for range n {
			if _, err := src.Put(t.Context(), bridge.Record{Key: []byte("k"), Value: []byte("v"), Partition: "0"}); err != nil {
				t.Fatal(err)
			}
		}
	}
	put(10)
	txn := src.Begin("billing-7")
	if _, err := txn.Put(t.Context(), bridge.Record{Key: []byte("t"), Value: []byte("v"), Partition: "0"}); err != nil {
		t.Fatal(err)
	}
	put(100)
	var out bytes.Buffer
	m := &mirror.Mirror{
		Source: src.Source("wf"), Sink: dst.Sink(memstream.SinkConfig{Workflow: "wf"}), Checkpoints: memstream.NewCheckpoints(nil).Open(),
		Keys: byHash(1), UntilCaughtUp: goal, Logger: slog.New(slog.NewTextHandler(&out, nil)),
	}
	ended := make(chan error, 1)
	go func() { ended <- m.Run(t.Context()) }()
	wait(t.Context(), 3*time.Minute + 30*time.Second)
	synctest.Wait()
	select {
	case err := <-ended:
		t.Fatalf("the mirror ended with %v while 101 records could not be read", err)
	default:
	}
	if n := dst.Len(); n != 10 {
		t.Errorf("%d records on the target, want the 10 that stand before the transaction", n)
	}
	if p := m.Progress().Partitions[0]; p.Left < 101 || p.Lag < 3*time.Minute {
		t.Errorf("%d records left, %s behind; want 101 and at least three minutes", p.Left, p.Lag)
	}
	if got := strings.Count(out.String(), "level=WARN"); got != warnings {
		t.Errorf("%d warnings in three and a half minutes, want %d:\n%s", got, warnings, out.String())
	}
	for _, want := range []string{"transactional_id=billing-7", "age=3m"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in the log:\n%s", want, out.String())
		}
	}
	if err := txn.End(true); err != nil {
		t.Fatal(err)
	}
	wait(t.Context(), time.Minute)
	m.Drain()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if n := dst.Len(); n != 111 {
		t.Errorf("%d records on the target after the commit, want 111", n)
	}
	if !strings.Contains(out.String(), "the open transaction has ended") {
		t.Errorf("the log does not say that the transaction ended:\n%s", out.String())
	}
}
