package deploy_test

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/prometheus/model/rulefmt"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/keymap"
	"github.com/kinesis-msk-bridge/bridge/metrics"
	"github.com/kinesis-msk-bridge/bridge/mirror"
	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
	"github.com/kinesis-msk-bridge/bridge/verify"
)

// healthy is a mirror at the tip and a continuous verify run beside it, for 150 minutes.
var healthy = []string{
	`bridge_partitions 4x150`, `bridge_waiting_partitions 0x150`, `bridge_blocking_parents 0x150`, `bridge_stalled_lanes 0x150`, `bridge_paused 0x150`,
	`bridge_checkpoint_age_seconds 5x150`, `bridge_throttle_seconds_total 0x150`, `bridge_records_total{outcome="read"} 0+6000x150`,
	`bridge_dead_letter_total{reason="oversize"} 0x150`,
	`bridge_lag_seconds{partition="0"} 1x150`, `bridge_lag_records{partition="0"} 0x150`, `bridge_retention_headroom_seconds{partition="0"} 86399x150`,
	`bridge_lag_seconds{partition="1"} 1x150`, `bridge_lag_records{partition="1"} 0x150`, `bridge_retention_headroom_seconds{partition="1"} 86399x150`,
	`bridge_verify_lag_seconds{partition="0"} 1860x150`, `bridge_verify_stalled_partitions 0x150`, `bridge_verify_sweeps_total 3x150`,
	`bridge_verify_findings{class="missing"} 0x150`, `bridge_verify_findings{class="unread"} 0x150`, `bridge_verify_findings{class="duplicate"} 0x150`,
}

// Every alarm fires on what it is for, then and not before, and no other one does.
func TestAlarmsFire(t *testing.T) {
	const minute, hour = time.Minute, time.Hour
	cases := []struct {
		alarm   string
		after   time.Duration
		history []string
		also    []string // that rightly fire, too
	}{
		{"BridgeMirrorGone", 36 * minute, []string{`bridge_partitions 4x30 stale`}, []string{"BridgeNoMirror"}},
		{"BridgeNoMirror", 30 * minute, []string{`bridge_partitions _x150`}, nil},
		{"BridgeNothingToCarry", 30 * minute, []string{`bridge_partitions 0x60 4x90`, `bridge_checkpoint_age_seconds _x60 5x90`}, nil},
		{"BridgeLanesStalled", 15 * minute, []string{`bridge_stalled_lanes 0x9 1x30 0x110`}, nil},
		// Twenty of 24 hours are used up, and as much is carried as arrives.
		{"BridgeRetentionLow", 5 * minute, []string{`bridge_lag_seconds{partition="1"} 72000x150`, `bridge_retention_headroom_seconds{partition="1"} 14400x150`}, nil},
		// A topic that keeps 3 hours, of which nothing is carried: only after 135 minutes less than a quarter is left.
		{"BridgeRetentionEnds", 16 * minute, []string{`bridge_lag_seconds{partition="1"} 0+60x150`, `bridge_retention_headroom_seconds{partition="1"} 10800-60x150`},
			[]string{"BridgeLagGrows", "BridgeRetentionLow"}},
		{"BridgeCheckpointOld", 18 * minute, []string{`bridge_checkpoint_age_seconds 0+60x150`}, nil},
		{"BridgeCheckpointMissing", 15 * minute, []string{`bridge_checkpoint_age_seconds _x150`}, nil},
		{"BridgeDeadLetters", 100 * minute, []string{`bridge_dead_letter_total{reason="oversize"} 0x99 1x50`}, nil},
		// The first scrape of a process that put some at once.
		{"BridgeDeadLetters", 9 * minute, []string{`bridge_dead_letter_total{reason="oversize"} _x9 3x141`}, nil},
		{"BridgeLagGrows", 65 * minute, []string{`bridge_lag_seconds{partition="1"} 1+6x150`}, nil},
		{"BridgeBacklogGrows", 46 * minute, []string{`bridge_lag_records{partition="1"} 0+1000x150`}, nil},
		// A crash does not hide it: counts go back to the last checkpoint.
		{"BridgeBacklogGrows", 46 * minute, []string{`bridge_records_total{outcome="read"} 1000000+6000x40 1239000+6000x109`, `bridge_lag_records{partition="1"} 0+1000x150`}, nil},
		{"BridgeFarFromTheEnd", 2*hour + minute, []string{`bridge_lag_seconds{partition="1"} _x150`, `bridge_retention_headroom_seconds{partition="1"} _x150`,
			`bridge_lag_records{partition="1"} 9000000-1000x150`}, nil},
		{"BridgePaused", 70 * minute, []string{`bridge_paused 0x9 1x140`, `bridge_lag_seconds{partition="1"} 0x9 0+60x140`, `bridge_lag_records{partition="1"} 0+1000x150`}, nil},
		{"BridgeThrottled", 28 * minute, []string{`bridge_throttle_seconds_total 0+150x150`}, nil},
		{"BridgeVerifyDifference", 20 * minute, []string{`bridge_verify_findings{class="missing"} 0x19 1x130`}, nil},
		{"BridgeVerifyUnjudged", 20 * minute, []string{`bridge_verify_findings{class="unread"} 0x19 1x130`}, nil},
		{"BridgeVerifyBehind", 45 * minute, []string{`bridge_verify_lag_seconds{partition="0"} 1860+60x150`}, nil},
		{"BridgeVerifyStalled", 15 * minute, []string{`bridge_verify_stalled_partitions 0x9 2x140`}, nil},
		{"BridgeVerifyGone", 46 * minute, []string{`bridge_verify_sweeps_total 3x30 stale`}, nil},
		{"", 0, nil, nil}, // the healthy history by itself
		// Repeats are counted and shown, and are no alarm.
		{"", 0, []string{`bridge_verify_findings{class="duplicate"} 5x150`}, nil},
		// A first start at the end of the retention, an hour gained every three minutes.
		{"", 0, []string{`bridge_lag_seconds{partition="1"} 85000-1200x70 1x79`, `bridge_retention_headroom_seconds{partition="1"} 1400+1200x70 86399x79`}, nil},
	}
	all, rules, begin := exported(t), alarms(t), time.UnixMilli(0).Add(24*time.Hour)
	tried := map[string]bool{}
	for _, c := range cases {
		t.Run(cmp.Or(c.alarm, "none"), func(t *testing.T) {
			h := history{}
			h.write(t, all, begin, healthy...)
			h.write(t, all, begin, c.history...)
			fired := evaluate(t, h, rules, begin, begin.Add(150*minute))
			want := c.also
			if c.alarm != "" {
				want = append(slices.Clone(c.also), c.alarm)
				tried[c.alarm] = true
			}
			slices.Sort(want)
			if got := slices.Sorted(maps.Keys(fired)); !slices.Equal(got, want) {
				t.Errorf("%v fire, want %v", got, want)
			}
			if fired[c.alarm].after != c.after {
				t.Errorf("%s fires after %v, want %v", c.alarm, fired[c.alarm].after, c.after)
			}
			for _, r := range rules {
				if f, ok := fired[r.Alert]; ok {
					told(t, r, f)
				}
			}
		})
	}
	for _, r := range rules {
		if !tried[r.Alert] {
			t.Errorf("nothing shows that %s fires", r.Alert)
		}
	}
}

// told holds that what an alarm says can be said of what fired.
func told(t *testing.T, r rulefmt.Rule, f firing) {
	t.Helper()
	text, err := expand(t.Context(), r, f)
	if err != nil {
		t.Errorf("%s: %v", r.Alert, err)
	}
	t.Log(text)
}

// No alarm fires on real mirrors that are well, idle ones and busy ones, of either flavour,
// through a clean restart, with a verify run beside them.
func TestHealthyMirrorsRaiseNoAlarm(t *testing.T) {
	rules := alarms(t)
	for _, flavour := range []memstream.Flavour{memstream.Kinesis, memstream.Kafka} {
		for _, records := range []int{0, 20} {
			t.Run(fmt.Sprintf("%v, %d records a minute", flavour, records), func(t *testing.T) {
				h := history{}
				var begin, end time.Time
				synctest.Test(t, func(t *testing.T) { begin, end = live(t, h, flavour, records) })
				for alarm, f := range evaluate(t, h, rules, begin, end) {
					t.Errorf("%s fires after %v: %s %g", alarm, f.after, f.labels, f.value)
				}
				for _, name := range []string{"bridge_lag_seconds", "bridge_retention_headroom_seconds", "bridge_checkpoint_age_seconds", "bridge_verify_lag_seconds"} {
					if n := h.count(name); n < 170 {
						t.Errorf("%d samples of %s, so nothing is shown", n, name)
					}
				}
			})
		}
	}
}

// live scrapes a mirror for two and a half hours, starts it again, and goes on for half an hour.
func live(t *testing.T, h history, flavour memstream.Flavour, records int) (begin, end time.Time) {
	src := memstream.New(memstream.Config{Flavour: flavour, Name: "source", Partitions: 2, Calm: true})
	dst := memstream.New(memstream.Config{Flavour: memstream.Kafka, Name: "target", Partitions: 2, Calm: true})
	saved := memstream.NewCheckpoints(nil)
	w := metrics.NewWitness(ends)
	begin = time.Now()
	at := 0 // minutes
	for _, minutes := range []int{150, 30} {
		gate, e := &mirror.Gate{}, metrics.New(ends)
		m := &mirror.Mirror{
			Source: src.Source("wf"), Sink: dst.Sink(memstream.SinkConfig{Workflow: "wf", Worker: "w"}), Gate: gate,
			Checkpoints: saved.Open(), Keys: firstPartition{}, Hooks: e.Hooks(),
		}
		e.Follow(m.Progress)
		e.KeepsFor(24 * time.Hour)
		h.scrape(t, "bridge", e, time.Now())
		done := make(chan error, 1)
		go func() { done <- m.Run(t.Context()) }()
		for range minutes {
			at++
			for i := range records {
				rec := bridge.Record{Key: fmt.Append(nil, at, i), Value: []byte("v")}
				if flavour == memstream.Kafka {
					rec.Partition = "1"
				}
				if _, err := src.Put(t.Context(), rec); err != nil {
					t.Fatal(err)
				}
			}
			<-time.After(step)
			w.Note(watched(at, records))
			h.scrape(t, "bridge", e, time.Now())
			h.scrape(t, "bridge-verify", w, time.Now())
		}
		m.Drain()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	return begin, time.Now()
}

// watched is what a continuous verify run says of itself: a window is a quarter of an hour
// and is judged a minute after its end, or there is nothing to judge.
func watched(minute, records int) verify.Progress {
	p := verify.Progress{Sweep: &verify.Sweep{Rounds: minute / 60, EndedAt: time.Now()}, Through: []verify.Through{{Partition: "0"}}}
	if records > 0 {
		p.Through[0].Oldest = time.Now().Add(-time.Duration(16+minute%15) * time.Minute)
	}
	return p
}

type firstPartition struct{}

func (firstPartition) Name() string { return "test" }
func (firstPartition) Route(r *bridge.Record) (keymap.Route, error) {
	return keymap.Route{Key: r.Key, Partition: "0"}, nil
}
