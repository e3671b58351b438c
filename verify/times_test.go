package verify_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
	"github.com/kinesis-msk-bridge/bridge/verify"
)

// A clocked source tells when records arrived by a clock of its own. The records' own times
// are those of their producers: every tenth is off by more than a run lasts.
type clocked struct {
	bridge.Source
	skew, off time.Duration
}

// A clockedEnder is one that can say where its partitions end.
type clockedEnder struct {
	clocked
	bridge.Ender
}

func clock(s bridge.Source, skew, off time.Duration) bridge.Source {
	c := clocked{s, skew, off}
	if e, ok := s.(bridge.Ender); ok {
		return clockedEnder{c, e}
	}
	return c
}

func (c clocked) Open(ctx context.Context, partition string, from bridge.Start) (bridge.Reader, error) {
	r, err := c.Source.Open(ctx, partition, from)
	return clockedReader{r, c}, err
}

type clockedReader struct {
	bridge.Reader
	c clocked
}

func (r clockedReader) Read(ctx context.Context) (bridge.Batch, error) {
	b, err := r.Reader.Read(ctx)
	if err != nil {
		return b, err
	}
	b.Clock = time.Now().Add(r.c.skew)
	for i := range b.Records {
		rec := &b.Records[i]
		rec.Arrived = rec.Time.Add(r.c.skew)
		if n := len(rec.Value); n > 0 && rec.Value[0] == '1' {
			rec.Time = rec.Time.Add(r.c.off)
		}
	}
	return b, nil
}

// Where a run ends depends on neither a producer's time nor on this machine's clock: a clean
// copy is consistent and a loss is named, whatever times records have and however far the
// clocks are apart.
func TestNoTimeButTheServices(t *testing.T) {
	for _, d := range directions {
		for _, kind := range []string{"once", "final"} {
			for _, skew := range []time.Duration{0, 2 * time.Minute, -2 * time.Minute, 3 * time.Hour, -3 * time.Hour} {
				for _, off := range []time.Duration{0, 30 * time.Minute, -30 * time.Minute} {
					name := fmt.Sprintf("%s, %s, clock %s ahead, times off by %s", d.name, kind, skew, off)
					t.Run(name, func(t *testing.T) {
						for _, lost := range []int{0, 30} {
							synctest.Test(t, func(t *testing.T) { timesOff(t, d.from, d.to, kind == "final", skew, off, lost) })
						}
					})
				}
			}
		}
	}
}

func timesOff(t *testing.T, from, to memstream.Flavour, final bool, skew, off time.Duration, lost int) {
	w := newWorld(t, 4, from, to)
	w.produce(100, 12)
	w.catchUp()
	c := newCopier(w)
	for _, l := range c.lines[len(c.lines)-lost:] {
		l.dropped = true
	}
	for _, l := range c.lines {
		if from == memstream.Kinesis && len(l.rec.Value) > 0 && l.rec.Value[0] == '1' {
			l.rec.Time = l.rec.Time.Add(off)
		}
	}
	dst, _ := c.write()
	v := w.verifier(dst)
	v.Source, v.Final, v.Watch = clock(v.Source, skew, off), final, time.Second
	if to == memstream.Kinesis {
		v.Target = clock(v.Target, skew, off)
	}
	if !final {
		v.Acknowledged = nil
	}
	res := w.run(v)
	want := map[bool]verify.Verdict{true: verify.Consistent, false: verify.Inconsistent}[lost == 0]
	if res.Verdict != want || res.Findings.Missing != int64(lost) || res.Totals.SourceRecords != int64(w.puts) {
		t.Errorf("%s %v: %d missing, want %d; %d records of %d", res.Verdict, res.Reasons, res.Findings.Missing, lost, res.Totals.SourceRecords, w.puts)
	}
}

// Records that come behind the fence are left out by their arrival, and where a range ends at
// a time that is the service's time.
func TestFenceByArrival(t *testing.T) {
	for _, skew := range []time.Duration{0, time.Hour, -time.Hour} {
		t.Run(fmt.Sprintf("clock %s ahead", skew), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 6, memstream.Kinesis, memstream.Kafka)
				w.produce(60, 10)
				before, at := w.puts, time.Now()
				<-time.After(time.Minute)
				w.produce(40, 10)
				w.catchUp()
				v := w.verifier(w.dst)
				v.Source = clock(v.Source, skew, 0)
				v.Select.To = at.Add(skew)
				if res := w.run(v); res.Verdict != verify.Consistent || res.Totals.SourceRecords != int64(before) {
					t.Errorf("up to a time: %s %v, %d records, want %d", res.Verdict, res.Reasons, res.Totals.SourceRecords, before)
				}
				// A stream that is never at its end: without arrival times the run would go on.
				w.src.SetFaults(func(op memstream.Op) memstream.Fault {
					if op.Kind == memstream.OpRead {
						return memstream.Fault{Most: 1, Delay: 100 * time.Millisecond}
					}
					return memstream.Fault{}
				})
				mine, parts := w.puts, len(w.partitions(w.src))
				ctx, stop := context.WithCancel(t.Context())
				var producing sync.WaitGroup
				producing.Go(func() {
					for n := range 6000 {
						acks, err := w.src.Put(ctx, bridge.Record{Key: []byte(fmt.Sprint(n % 50)), Value: []byte("more")})
						if err == nil && acks[0].Err == nil && ctx.Err() == nil {
							wait(ctx, time.Duration(100/parts)*time.Millisecond)
						}
					}
				})
				v = w.verifier(w.dst)
				v.Source, v.Acknowledged = clock(v.Source, skew, 0), nil
				began := time.Now()
				res := w.run(v)
				stop()
				producing.Wait()
				if res.Totals.SourceRecords < int64(mine) || time.Since(began) > 5*time.Minute {
					t.Errorf("%d records after %s", res.Totals.SourceRecords, time.Since(began))
				}
			})
		})
	}
}
