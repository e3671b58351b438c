package kinesistest_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
)

// A restored server holds the same shards, records, sequence numbers and arrival times, and
// goes on from there: the next numbers are those that the first server would have given.
func TestDumpAndRestore(t *testing.T) {
	clock := kinesistest.NewClock(time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC))
	first := startAt(t, clock)
	st, err := first.CreateStream("orders", 2)
	if err != nil {
		t.Fatal(err)
	}
	put := func(st *kinesistest.Stream, from, to int) {
		t.Helper()
		for i := from; i < to; i++ {
			if err := st.Put(kinesistest.Entry{Key: fmt.Sprint("k", i%7), Data: fmt.Append(nil, i)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	put(st, 0, 50)
	low, high, err := st.Split("shardId-000000000001", "")
	if err != nil {
		t.Fatal(err)
	}
	clock.Advance(time.Minute)
	put(st, 50, 100)
	if _, err := st.Merge("shardId-000000000000", low); err != nil {
		t.Fatal(err)
	}
	if err := st.Trim(high, 3); err != nil {
		t.Fatal(err)
	}
	b, err := first.Dump()
	if err != nil {
		t.Fatal(err)
	}
	at, err := kinesistest.Dumped(b)
	if err != nil || !at.Equal(clock.Now()) {
		t.Errorf("dumped at %s, %v, want %s", at, err, clock.Now())
	}

	second := startAt(t, clock)
	if err := second.Restore(b); err != nil {
		t.Fatal(err)
	}
	if err := second.Restore(b); err == nil {
		t.Error("a stream was restored over one of the same name")
	}
	same := func(when string) {
		t.Helper()
		if diff := cmp.Diff(everything(t, st), everything(t, second.Stream("orders"))); diff != "" {
			t.Errorf("%s (-first +second):\n%s", when, diff)
		}
	}
	same("restored")
	if !second.Stream("orders").Created().Equal(st.Created()) {
		t.Errorf("created %s, want %s", second.Stream("orders").Created(), st.Created())
	}
	put(st, 100, 150)
	put(second.Stream("orders"), 100, 150)
	same("50 records later")
	clock.Advance(24*time.Hour + time.Second)
	if n := len(everything(t, second.Stream("orders")).Records); n != 0 {
		t.Errorf("%d records after the retention", n)
	}
}

func startAt(t *testing.T, clock *kinesistest.Clock) *kinesistest.Server {
	t.Helper()
	srv, err := kinesistest.Start(kinesistest.Config{Clock: clock.Now, After: clock.After})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	return srv
}

type inside struct {
	Shards  []kinesistest.ShardInfo
	Records []kinesistest.Record
}

func everything(t *testing.T, st *kinesistest.Stream) inside {
	t.Helper()
	in := inside{Shards: st.Shards()}
	for _, sh := range in.Shards {
		if sh.Expired {
			continue
		}
		r, err := st.Records(sh.ID)
		if err != nil {
			t.Fatal(err)
		}
		in.Records = append(in.Records, r...)
	}
	return in
}
