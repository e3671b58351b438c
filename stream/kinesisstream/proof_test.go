package kinesisstream_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesisstream"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
)

// An aging is a stream of one shard on a clock that a test moves, with one reader.
type aging struct {
	t      *testing.T
	clock  *kinesistest.Clock
	srv    *kinesistest.Server
	st     *kinesistest.Stream
	client *kinesisstream.Client
	page   int // records
	reader bridge.Reader
	put    int // how many records were put
	values []string
	last   bridge.Position
}

func newAging(t *testing.T, page int, conf kinesistest.Config) *aging {
	t.Helper()
	clock := kinesistest.NewClock(time.Now())
	conf.Clock, conf.After, conf.Limits = clock.Now, clock.After, kinesistest.Limits{Off: true}
	a := &aging{t: t, clock: clock, page: page, srv: start(t, conf)}
	a.st = stream(t, a.srv, 1)
	a.client = dial(t, a.srv, a.st.Name())
	a.open()
	return a
}

func (a *aging) shard() string { return a.st.Shards()[0].ID }

func (a *aging) open() {
	a.t.Helper()
	src := a.client.Source(kinesisstream.SourceConfig{PageRecords: a.page, NoRates: true})
	r, err := src.Open(a.t.Context(), a.shard(), bridge.Start{})
	if err != nil {
		a.t.Fatal(err)
	}
	a.reader = r
}

func (a *aging) puts(n int) {
	a.t.Helper()
	for range n {
		if err := a.st.Put(kinesistest.Entry{Key: "k", Data: fmt.Append(nil, a.put)}); err != nil {
			a.t.Fatal(err)
		}
		a.put++
	}
}

// read is one page, whatever the service refuses meanwhile.
func (a *aging) read() (bridge.Batch, error) {
	for {
		kinesisstream.Hurry(a.reader)
		b, err := a.reader.Read(a.t.Context())
		if err != nil && bridge.Retryable(err) && a.t.Context().Err() == nil {
			continue
		}
		for _, r := range b.Records {
			a.values = append(a.values, string(r.Value))
			a.last = r.Position
		}
		return b, err
	}
}

// toTip reads until nothing is left or an error stays.
func (a *aging) toTip() error {
	for {
		b, err := a.read()
		if err != nil || b.Ended || b.Behind == 0 {
			return err
		}
	}
}

func (a *aging) retention(hours int32) {
	a.t.Helper()
	name, api := aws.String(a.st.Name()), a.client.API()
	var err error
	if now := a.client.Info().Retention; time.Duration(hours)*time.Hour > now {
		_, err = api.IncreaseStreamRetentionPeriod(a.t.Context(), &kinesis.IncreaseStreamRetentionPeriodInput{StreamName: name, RetentionPeriodHours: &hours})
	} else {
		_, err = api.DecreaseStreamRetentionPeriod(a.t.Context(), &kinesis.DecreaseStreamRetentionPeriodInput{StreamName: name, RetentionPeriodHours: &hours})
	}
	if err == nil {
		_, err = a.client.Describe(a.t.Context())
	}
	if err != nil {
		a.t.Fatal(err)
	}
}

func (a *aging) split() {
	a.t.Helper()
	if _, _, err := a.st.Split(a.shard(), middle(a.t, a.st, a.shard())); err != nil {
		a.t.Fatal(err)
	}
}

// Whatever lies between two pages, records that expired there are a gap, and a reader that
// missed nothing goes on.
func TestEachStepIsProved(t *testing.T) {
	const day = 24 * time.Hour
	for _, c := range []struct {
		name string
		gap  string // part of the reason; empty if all records must come
		do   func(a *aging) error
	}{
		{"a pause of minutes, and the iterator expires", "", func(a *aging) error {
			a.puts(20)
			_, err := a.read()
			a.clock.Advance(10 * time.Minute)
			a.puts(5)
			return errors.Join(err, a.toTip())
		}},
		{"a pause with records behind the page", "never seen", func(a *aging) error {
			a.puts(20)
			_, err := a.read()
			a.clock.Advance(day + time.Hour)
			a.puts(5)
			return errors.Join(err, a.toTip())
		}},
		{"a pause at the tip, and records came and went", "last seen", func(a *aging) error {
			a.puts(5)
			err := a.toTip()
			a.puts(5)
			a.clock.Advance(day + time.Hour)
			a.puts(5)
			return errors.Join(err, a.toTip())
		}},
		{"nothing was read yet, and records came and went", "was opened", func(a *aging) error {
			a.puts(5)
			a.clock.Advance(day + time.Hour)
			a.puts(5)
			return a.toTip()
		}},
		{"the same of a shard that was seen empty", "last seen", func(a *aging) error {
			err := a.toTip()
			a.puts(5)
			a.clock.Advance(day + time.Hour)
			a.puts(5)
			return errors.Join(err, a.toTip())
		}},
		{"a pause of less than a day at the tip", "", func(a *aging) error {
			a.puts(5)
			a.clock.Advance(20 * time.Hour)
			err := a.toTip()
			a.puts(5)
			a.clock.Advance(20 * time.Hour)
			return errors.Join(err, a.toTip())
		}},
		{"an idle shard, whose last record expires while it is read", "", func(a *aging) error {
			a.puts(5)
			err := a.toTip()
			for range 9 {
				a.clock.Advance(10 * time.Hour)
				err = errors.Join(err, a.toTip())
			}
			a.puts(5)
			return errors.Join(err, a.toTip())
		}},
		{"the lag reaches the retention", "never seen", func(a *aging) error {
			a.puts(20)
			a.clock.Advance(day - 2*time.Minute)
			a.puts(5)
			a.open()
			_, err := a.read()
			a.clock.Advance(3 * time.Minute)
			return errors.Join(err, a.toTip())
		}},
		{"the lag nearly reaches the retention", "", func(a *aging) error {
			a.puts(20)
			a.clock.Advance(day - 2*time.Minute)
			a.puts(5)
			a.open()
			return a.toTip()
		}},
		{"a lag of days and a retention of a week", "", func(a *aging) error {
			a.retention(168)
			a.puts(20)
			a.clock.Advance(3 * day)
			a.puts(5)
			return a.toTip()
		}},
		{"a pause of days and a retention of a week", "", func(a *aging) error {
			a.retention(168)
			a.puts(20)
			_, err := a.read()
			a.clock.Advance(3 * day)
			a.puts(5)
			return errors.Join(err, a.toTip())
		}},
		{"a retention that is lowered between two pages", "never seen", func(a *aging) error {
			a.retention(168)
			a.puts(20)
			a.clock.Advance(3 * day)
			a.puts(20)
			_, err := a.read()
			a.retention(24)
			return errors.Join(err, a.toTip())
		}},
		{"a retention that is lowered and raised during a pause", "never seen", func(a *aging) error {
			a.retention(168)
			a.puts(20)
			_, err := a.read()
			a.clock.Advance(3 * day)
			a.puts(20)
			a.retention(24)
			a.retention(168)
			return errors.Join(err, a.toTip())
		}},
		{"the page that ends a shard", "", func(a *aging) error {
			a.puts(15)
			_, err := a.read()
			a.split()
			a.clock.Advance(10 * time.Hour)
			return errors.Join(err, a.toTip())
		}},
		{"the page that ends a shard, when its records expired", "never seen", func(a *aging) error {
			a.puts(15)
			_, err := a.read()
			a.clock.Advance(14 * time.Hour)
			a.split()
			a.clock.Advance(14 * time.Hour)
			return errors.Join(err, a.toTip())
		}},
		{"a shard that expired before it was read to its end", "expired before it was read to its end", func(a *aging) error {
			a.puts(15)
			_, err := a.read()
			a.split()
			a.clock.Advance(2 * day)
			return errors.Join(err, a.toTip())
		}},
	} {
		for _, page := range []int{1, 10} {
			t.Run(fmt.Sprint(c.name, ", pages of ", page), func(t *testing.T) {
				t.Parallel()
				a := newAging(t, page, kinesistest.Config{})
				err := c.do(a)
				a.contiguous()
				var gap *bridge.GapError
				switch {
				case c.gap == "":
					if err != nil || len(a.values) != a.put {
						t.Errorf("%d of %d records, then %v", len(a.values), a.put, err)
					}
				case !errors.As(err, &gap):
					t.Errorf("%d of %d records, then %v: want a gap", len(a.values), a.put, err)
				case gap.After != a.last || gap.Partition != a.shard() || !strings.Contains(gap.Reason, c.gap) || bridge.Hint(err) == "":
					t.Errorf("gap %v behind %s, hint %q: want one behind %s that says %q", gap, gap.After, bridge.Hint(err), a.last, c.gap)
				}
			})
		}
	}
}

// contiguous: what was read is what was put, from the first on and without a hole.
func (a *aging) contiguous() {
	a.t.Helper()
	for i, v := range a.values {
		if v != fmt.Sprint(i) {
			a.t.Fatalf("record %d of the stream was read as number %d: skipped in silence", i, i)
		}
	}
}

// A reader reads on through pauses, faults, a retention that changes and the end of the shard.
// It hands out every record or ends with a gap; and it ends with a gap only if records behind
// the last one that it handed out could have expired.
func TestStepsAtRandom(t *testing.T) {
	const walks = 60
	var gaps, whole int
	for seed := range uint64(walks) {
		gap := walk(t, seed)
		if gap {
			gaps++
		} else {
			whole++
		}
	}
	t.Logf("%d walks: %d ended with a gap, %d read everything", walks, gaps, whole)
	if gaps < walks/10 || whole < walks/10 {
		t.Error("the walks do not try both ends")
	}
}

func walk(t *testing.T, seed uint64) (gap bool) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	a := newAging(t, 1+rng.IntN(12), kinesistest.Config{EndWithRecords: rng.IntN(2) == 0})
	a.srv.SetFault(func(c kinesistest.Call) kinesistest.Fault {
		return kinesistest.Fault{Empty: c.Op == "GetRecords" && c.N%3 == 0}
	})
	seen := a.clock.Now() // when nothing can have expired unread
	for range 12 {
		a.puts(rng.IntN(8))
		switch rng.IntN(8) {
		case 0:
			a.clock.Advance(time.Duration(rng.IntN(28)) * time.Hour)
		case 1:
			a.clock.Advance(time.Duration(rng.IntN(20)) * time.Minute)
		case 2:
			a.retention([]int32{24, 48}[rng.IntN(2)])
		}
		for range rng.IntN(3) {
			oldest := seen
			b, err := a.read()
			a.contiguous()
			if err != nil {
				var g *bridge.GapError
				if !errors.As(err, &g) {
					t.Fatalf("seed %d: %v", seed, err)
				}
				if age := a.clock.Now().Sub(oldest); age < 24*time.Hour-6*time.Minute {
					t.Fatalf("seed %d: %v, though everything unread came in the last %s", seed, err, age)
				}
				return true
			}
			if b.Behind == 0 {
				seen = a.clock.Now()
			} else if n := len(b.Records); n > 0 {
				seen = b.Records[n-1].Arrived
			}
		}
	}
	if rng.IntN(2) == 0 {
		a.split()
	}
	if err := a.toTip(); err != nil {
		if !errors.Is(err, bridge.ErrGap) {
			t.Fatalf("seed %d: %v", seed, err)
		}
		gap = true
	}
	a.contiguous()
	if !gap && len(a.values) != a.put {
		t.Fatalf("seed %d: %d of %d records, and no gap", seed, len(a.values), a.put)
	}
	return gap
}

// A stream that was deleted and created again under its name is not read on.
func TestReaderNoticesARecreatedStream(t *testing.T) {
	a := newAging(t, 10, kinesistest.Config{})
	a.puts(5)
	if err := a.toTip(); err != nil {
		t.Fatal(err)
	}
	recreate(t, a.client, a.srv, a.clock, a.st.Name())
	if _, err := a.read(); !errors.Is(err, bridge.ErrChanged) {
		t.Errorf("a reader of a stream that was recreated: %v", err)
	}
}

func recreate(t *testing.T, c *kinesisstream.Client, srv *kinesistest.Server, clock *kinesistest.Clock, name string) {
	t.Helper()
	if _, err := c.API().DeleteStream(t.Context(), &kinesis.DeleteStreamInput{StreamName: &name}); err != nil {
		t.Fatal(err)
	}
	clock.Advance(2 * time.Second)
	if _, err := srv.CreateStream(name, 1); err != nil {
		t.Fatal(err)
	}
}

// A service that takes a call and never answers is an error that is tried again, whichever
// call it is.
func TestEveryReadingCallHasADeadline(t *testing.T) {
	for _, op := range []string{"DescribeStreamSummary", "ListShards", "GetShardIterator", "GetRecords"} {
		t.Run(op, func(t *testing.T) {
			t.Parallel()
			srv := fast(t)
			st := stream(t, srv, 1)
			conf := config(srv, st.Name())
			conf.Timeout = 100 * time.Millisecond
			client, err := kinesisstream.Dial(t.Context(), conf)
			if err != nil {
				t.Fatal(err)
			}
			src := client.Source(kinesisstream.SourceConfig{NoRates: true})
			calls := map[string]func(context.Context) error{
				"DescribeStreamSummary": func(ctx context.Context) error { _, err := src.Identity(ctx); return err },
				"ListShards":            func(ctx context.Context) error { _, err := src.Partitions(ctx); return err },
				"GetShardIterator": func(ctx context.Context) error {
					_, err := src.Open(ctx, st.Shards()[0].ID, bridge.Start{})
					return err
				},
			}
			reader, err := src.Open(t.Context(), st.Shards()[0].ID, bridge.Start{})
			if err != nil {
				t.Fatal(err)
			}
			calls["GetRecords"] = func(ctx context.Context) error { _, err := reader.Read(ctx); return err }
			never := make(chan struct{})
			defer close(never)
			srv.SetFault(kinesistest.Next(op, 1, kinesistest.Fault{Wait: never}))
			err = calls[op](t.Context())
			if !bridge.Retryable(err) || !strings.Contains(err.Error(), "no answer within") {
				t.Fatalf("%s without an answer: %v", op, err)
			}
			if err := calls[op](t.Context()); err != nil {
				t.Errorf("%s, the second time: %v", op, err)
			}
		})
	}
}
