package mirror_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
)

// While nothing can be written, or nothing can be read, the lag grows, and the number of records
// behind does if the source can say its ends; else it is not known, and never 0.
func TestLagAndBacklogGrowThroughAnOutage(t *testing.T) {
	for _, from := range []memstream.Flavour{memstream.Kinesis, memstream.Kafka} {
		for _, reads := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				w := calm(t, from, memstream.Kafka, 1)
				m := w.open()
				done := make(chan error, 1)
				go func() { done <- m.Run(ctx) }()
				w.produce(ctx, 20, 3)
				wait(ctx, time.Minute)
				if p := m.Progress().Partitions[0]; p.Left != 0 || time.Since(p.Asked) > 10*time.Second {
					t.Errorf("at the tip %d records are said to be behind, as of %s ago", p.Left, time.Since(p.Asked))
				}
				if blocked := w.dst; reads {
					blockReads(w.src)
				} else {
					blocked.SetFaults(func(op memstream.Op) memstream.Fault {
						if op.Kind == memstream.OpAppend {
							return memstream.Fault{Err: bridge.ErrUnreachable}
						}
						return memstream.Fault{}
					})
				}
				for minutes := 1; minutes <= 3; minutes++ {
					w.produce(ctx, 30, 3)
					wait(ctx, time.Minute)
					p := m.Progress().Partitions[0]
					behind := p.Lag + time.Since(p.Asked)
					if p.Lag < 0 || behind < time.Duration(minutes)*time.Minute {
						t.Errorf("after %d minutes the mirror is %s behind", minutes, behind)
					}
					if from == memstream.Kinesis && p.Left >= 0 {
						t.Errorf("after %d minutes %d records are said to be behind, which nobody can know", minutes, p.Left)
					}
					if n := int64(w.rows) - m.Progress().Counts.Written; from == memstream.Kafka && p.Left < n {
						t.Errorf("after %d minutes %d records are said to be behind, there are %d", minutes, p.Left, n)
					}
				}
				w.src.SetFaults(nil)
				w.dst.SetFaults(nil)
				wait(ctx, time.Minute)
				m.Drain()
				if err := <-done; err != nil {
					t.Fatal(err)
				}
				w.expectClean(w.judge())
			})
		}
	}
}
