package mirror_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/mirror"
	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
)

// Until caught up means that everything is carried that was in the stream before the mirror
// began, whatever times its producers gave the records and however far this machine's clock
// and the service's are apart.
func TestCaughtUpByArrivalAndTheServicesClock(t *testing.T) {
	const records = 900
	for _, ahead := range []time.Duration{0, time.Second, 2 * time.Minute, time.Hour, -2 * time.Minute, -time.Hour} {
		for _, produced := range []time.Duration{0, time.Minute, time.Hour, -time.Hour} {
			synctest.Test(t, func(t *testing.T) {
				w := calm(t, memstream.Kinesis, memstream.Kafka, 1)
				w.src = memstream.New(memstream.Config{
					Flavour: memstream.Kinesis, Name: "source", Partitions: 1, Calm: true, Restores: true, Ahead: ahead,
				})
				for i := range records {
					rec := bridge.Record{Key: []byte("k"), Value: fmt.Append(nil, i), Time: time.Now().Add(produced)}
					if _, err := w.src.Put(t.Context(), rec); err != nil {
						t.Fatal(err)
					}
				}
				m := w.open()
				m.UntilCaughtUp = true
				if err := w.end(t.Context(), m); err != nil {
					t.Fatal(err)
				}
				if n := m.Progress().Counts.Written; n != records {
					t.Errorf("service %s ahead, records made %s ahead: caught up, it says, with %d of %d records", ahead, produced, n, records)
				}
			})
		}
	}
}

// A shard that is never empty is caught up with once records are done that arrived a while
// after the mirror began.
func TestCaughtUpWithABusyShard(t *testing.T) {
	for _, ahead := range []time.Duration{0, time.Hour, -time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			ctx, stop := context.WithCancel(t.Context())
			w := calm(t, memstream.Kinesis, memstream.Kafka, 1)
			w.src = memstream.New(memstream.Config{Flavour: memstream.Kinesis, Name: "source", Partitions: 1, Page: 10, Calm: true, Ahead: ahead})
			produce := func() {
				for range 30 {
					if _, err := w.src.Put(ctx, bridge.Record{Key: []byte("k"), Value: []byte("v")}); err != nil && ctx.Err() == nil {
						t.Error(err)
					}
				}
			}
			produce()
			over := make(chan struct{})
			go func() {
				defer close(over)
				for ctx.Err() == nil {
					produce()
					wait(ctx, time.Second)
				}
			}()
			m := w.open()
			m.Gate = &mirror.Gate{}
			m.Gate.Set(mirror.Limits{RecordsPerSecond: 20}) // less than comes
			m.UntilCaughtUp = true
			began := time.Now()
			if err := w.end(ctx, m); err != nil {
				t.Error(err)
			}
			if d := time.Since(began); d < time.Minute || d > time.Hour {
				t.Errorf("service %s ahead: caught up with a busy shard after %s", ahead, d)
			}
			stop()
			<-over
		})
	}
}
