package mirror_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/mirror"
	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
)

// A paused mirror reads nothing, keeps its heartbeat, and goes on where it was.
func TestPausedMirrorKeepsItsHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		w := calm(t, memstream.Kinesis, memstream.Kafka, 3)
		w.produce(ctx, 40, 5)
		m, gate := w.open(), &mirror.Gate{}
		m.Gate, m.Heartbeat = gate, time.Minute
		done := make(chan error, 1)
		go func() { done <- m.Run(ctx) }()
		wait(ctx, time.Minute)
		if n := m.Progress().Counts.Read; n != 40 {
			t.Fatalf("read %d before the pause, want 40", n)
		}

		gate.Set(mirror.Limits{Paused: true})
		wait(ctx, time.Minute)
		w.produce(ctx, 30, 5)
		before := len(w.cps.History())
		wait(ctx, time.Hour)
		if n := m.Progress().Counts.Read; n != 40 {
			t.Errorf("a paused mirror has read %d, want the 40 from before", n)
		}
		if n := len(w.cps.History()) - before; n < 55 || n > 61 {
			t.Errorf("%d heartbeats in an hour of pause, want one a minute", n)
		}

		gate.Set(mirror.Limits{})
		wait(ctx, time.Minute)
		m.Drain()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		w.expectClean(w.judge())
		if c := w.final(); c.Counts.Read != 70 || !c.Clean {
			t.Errorf("after the pause %+v, clean %v; want 70 read", c.Counts, c.Clean)
		}
	})
}

// A drain ends a paused mirror at once.
func TestPausedMirrorDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		w := calm(t, memstream.Kafka, memstream.Kinesis, 2)
		w.produce(ctx, 10, 5)
		m := w.open()
		m.Gate = &mirror.Gate{}
		m.Gate.Set(mirror.Limits{Paused: true})
		done := make(chan error, 1)
		go func() { done <- m.Run(ctx) }()
		wait(ctx, time.Hour)
		began := time.Now()
		m.Drain()
		if err := <-done; err != nil || time.Since(began) > time.Second {
			t.Errorf("drained with %v after %s", err, time.Since(began))
		}
		if c := w.final(); c.Counts.Read != 0 || !c.Clean {
			t.Errorf("a mirror that began paused has %+v, clean %v", c.Counts, c.Clean)
		}
	})
}

// Over all partitions together no more is read than the bound says, and not much less.
func TestThrottle(t *testing.T) {
	for name, limits := range map[string]mirror.Limits{
		"records": {RecordsPerSecond: 20},
		"bytes":   {BytesPerSecond: 200},
		"both":    {RecordsPerSecond: 1000, BytesPerSecond: 200},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				w := calm(t, memstream.Kinesis, memstream.Kafka, 4)
				const total = 4000
				w.produce(ctx, total, 50)
				var bytes, pages atomic.Int64
				m := w.open()
				m.Source = counted{m.Source, &bytes, &pages}
				m.Gate, m.UntilCaughtUp = &mirror.Gate{}, true
				m.Gate.Set(limits)
				began := time.Now()
				if err := m.Run(ctx); err != nil {
					t.Fatal(err)
				}
				want := float64(total) / 20
				if name != "records" {
					want = float64(bytes.Load()) / 200
				}
				took := time.Since(began).Seconds()
				t.Logf("%d records, %d bytes, %d pages took %.0f s, the bound gives %.0f s", total, bytes.Load(), pages.Load(), took, want)
				// The last page of each partition is not waited for.
				if took > want*1.05+60 || took < want*0.5 {
					t.Errorf("took %.0f s, the bound gives %.0f s", took, want)
				}
				w.expectClean(w.judge())
			})
		})
	}
}

// A bound that is lifted does not leave its waiting behind.
func TestThrottleIsLifted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		w := calm(t, memstream.Kinesis, memstream.Kafka, 2)
		w.produce(ctx, 500, 20)
		m := w.open()
		m.Gate, m.UntilCaughtUp = &mirror.Gate{}, true
		m.Gate.Set(mirror.Limits{RecordsPerSecond: 1})
		done := make(chan error, 1)
		go func() { done <- m.Run(ctx) }()
		wait(ctx, 10*time.Second)
		if n := m.Progress().Counts.Read; n == 500 {
			t.Fatal("everything was read at one record a second in ten")
		}
		began := time.Now()
		m.Gate.Set(mirror.Limits{})
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > time.Minute {
			t.Errorf("the rest took %s once the bound was lifted", took)
		}
		w.expectClean(w.judge())
	})
}

// counted adds up what is read.
type counted struct {
	bridge.Source
	bytes, pages *atomic.Int64
}

func (c counted) Open(ctx context.Context, partition string, from bridge.Start) (bridge.Reader, error) {
	r, err := c.Source.Open(ctx, partition, from)
	return countedReader{r, c}, err
}

type countedReader struct {
	bridge.Reader
	in counted
}

func (c countedReader) Read(ctx context.Context) (bridge.Batch, error) {
	b, err := c.Reader.Read(ctx)
	for i := range b.Records {
		c.in.bytes.Add(int64(b.Records[i].Size()))
	}
	if len(b.Records) > 0 {
		c.in.pages.Add(1)
	}
	return b, err
}
