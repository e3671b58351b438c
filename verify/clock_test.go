package verify_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
	"github.com/kinesis-msk-bridge/bridge/verify"
)

// skews are how far a service's clock is ahead of this machine's: by more than the retention.
var skews = []time.Duration{30 * time.Hour, -30 * time.Hour}

// dayWorld is a world whose stream keeps records for a day, by a clock of its own, and which
// holds records of ten hours.
func dayWorld(t *testing.T, from, to memstream.Flavour, skew time.Duration) *world {
	w := newWorld(t, 7, from, to)
	day := memstream.Config{Flavour: memstream.Kinesis, Partitions: 2, Calm: true, Wait: 5 * time.Second, Retention: 24 * time.Hour, Ahead: skew}
	if from == memstream.Kinesis {
		day.Name = "source"
		w.src = memstream.New(day)
	} else {
		day.Name = "target"
		w.dst = memstream.New(day)
	}
	w.source, _ = w.src.Identity(t.Context())
	w.produce(60, 10)
	w.catchUp()
	return w
}

// A partition that was seen at its end is not said to have lost anything when its last records
// expire, and a run that was away for longer than the retention does not go on as if nothing had
// come and gone meanwhile. Both are told by the service's clock, on either side.
func TestSeenAtTheEndByTheServicesClock(t *testing.T) {
	for _, d := range directions {
		for _, skew := range skews {
			for _, away := range []time.Duration{20 * time.Hour, 25 * time.Hour} {
				t.Run(fmt.Sprintf("%s, clock %s ahead, away for %s", d.name, skew, away), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						w := dayWorld(t, d.from, d.to, skew)
						wait(t.Context(), 10*time.Hour)
						var store keeper
						follow := func() *verify.Result {
							v := w.verifier(w.dst)
							v.Store, v.SaveEvery, v.SweepEvery = &store, time.Hour, 1000*time.Hour
							v.Continuous, v.Settle, v.Window = true, followSettle, followWindow
							ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
							defer cancel()
							res, err := v.Run(ctx)
							if !errors.Is(err, context.DeadlineExceeded) {
								t.Fatal(err)
							}
							return res
						}
						if res := follow(); res.Verdict != verify.Consistent {
							t.Fatalf("%s: %v", res.Verdict, res.Reasons)
						}
						wait(t.Context(), away)
						res, want := follow(), verify.Consistent
						if away > 24*time.Hour && d.from == memstream.Kinesis {
							want = verify.Inconclusive // what the target has lost since was judged before
						}
						if res.Verdict != want {
							t.Errorf("%s, want %s: %v\n%s", res.Verdict, want, res.Reasons, unjudged(res))
						}
					})
				})
			}
		}
	}
}

// Looking for stragglers behind a fence whose last record expires meanwhile is no gap.
func TestStragglersByTheServicesClock(t *testing.T) {
	for _, skew := range skews {
		synctest.Test(t, func(t *testing.T) {
			w := dayWorld(t, memstream.Kinesis, memstream.Kafka, skew)
			v := w.verifier(w.dst)
			v.Final, v.Watch, v.Settle, v.Drain = true, time.Minute, time.Second, 48*time.Hour
			began := time.Now()
			wait(t.Context(), 23*time.Hour)
			v.Acknowledged = func(ctx context.Context) (map[string]bridge.Row, error) {
				if wait(ctx, 50*time.Second); time.Since(began) < 24*time.Hour {
					return nil, nil
				}
				return w.acknowledged(ctx)
			}
			if res := w.run(v); res.Verdict != verify.Consistent || res.Fence.Watched != time.Minute {
				t.Errorf("clock %s ahead: %s: %v", skew, res.Verdict, res.Reasons)
			}
		})
	}
}
