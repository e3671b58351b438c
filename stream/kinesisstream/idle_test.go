package kinesisstream_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesisstream"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
)

// A shard of the target was idle for longer than the retention, so that the record at the
// floor has expired, and the mirror was killed. The ledger says whether anything was put since;
// what was is found, and what was not is no gap: in every format, whatever became of the shard,
// and also where the oldest entries of the ledger are gone.
func TestIdleTargetShardIsNoGap(t *testing.T) {
	shapes := map[string]func(t *testing.T, st *kinesistest.Stream){
		"open": func(*testing.T, *kinesistest.Stream) {},
		"split": func(t *testing.T, st *kinesistest.Stream) {
			if _, _, err := st.Split(st.ShardFor("key-1"), ""); err != nil {
				t.Fatal(err)
			}
		},
		"merged": func(t *testing.T, st *kinesistest.Stream) {
			s := st.Shards()
			if _, err := st.Merge(s[0].ID, s[1].ID); err != nil {
				t.Fatal(err)
			}
		},
	}
	for _, format := range formats {
		for shape, reshard := range shapes {
			for _, early := range []bool{true, false} { // the reshard comes before the idle time
				for _, since := range []int{0, 12} { // records put since, with no floor behind them
					for _, ledger := range []string{"whole", "of an earlier version", "trimmed"} {
						t.Run(fmt.Sprintf("%s, %s %t, %d put since, ledger %s", format, shape, early, since, ledger), func(t *testing.T) {
							idle := idleTarget{format: format, ledger: ledger, since: since}
							idle.reshard = func(st *kinesistest.Stream) { reshard(t, st) }
							idle.early = early
							idle.run(t)
						})
					}
				}
			}
		}
	}
}

type idleTarget struct {
	format  kinesisstream.Format
	ledger  string
	since   int
	early   bool
	reshard func(*kinesistest.Stream)
}

func (i idleTarget) run(t *testing.T) {
	clock := kinesistest.NewClock(time.Now())
	srv := start(t, kinesistest.Config{Limits: kinesistest.Limits{Off: true}, Clock: clock.Now, After: clock.After})
	st := stream(t, srv, 2)
	client, log := dial(t, srv, st.Name()), memstream.NewLog(nil)
	first := open(t.Context(), t, client, log, i.format, enough)
	recs := records(40+i.since, 8, distinct)
	floor := bridge.Floor{Partitions: map[string]bridge.Position{}}
	for n := range 2 {
		acks, err := first.sink.Write(t.Context(), recs[20*n:20*n+20])
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range acks {
			if a.Position.After(floor.Partitions[a.Partition]) {
				floor.Partitions[a.Partition] = a.Position
			}
			if n == 0 || i.ledger != "trimmed" {
				floor.Log = a.Log
			}
		}
	}
	floor.At = time.Now()
	if i.ledger == "of an earlier version" {
		floor.At = time.Time{}
	}
	first.sink.Close() // which tells the ledger what became of the last put
	entries := log.Entries()
	if i.early {
		i.reshard(st)
	}
	clock.Advance(25 * time.Hour)
	if !i.early {
		i.reshard(st)
	}
	second := open(t.Context(), t, client, log, i.format, enough)
	if err := writeAll(t.Context(), second.sink, recs[40:], 20); err != nil {
		t.Fatal(err)
	}
	if i.ledger == "trimmed" {
		log.Trim(entries[len(entries)-1].At)
	}
	third := open(t.Context(), t, client, log, i.format, time.Millisecond)
	found := map[string]bool{}
	for p, err := range third.sink.Tail(t.Context(), floor) {
		if err != nil {
			t.Fatal(err)
		}
		found[p.Origin.Position.String()] = true
	}
	for _, r := range recs[40:] {
		if !found[r.Origin.Position.String()] {
			t.Errorf("record %s was put since and is not found", r.Origin.Position)
		}
	}
	if len(found) != i.since {
		t.Errorf("found %d records, want the %d that were put since", len(found), i.since)
	}
}
