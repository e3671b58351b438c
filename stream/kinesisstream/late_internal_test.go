package kinesisstream

import (
	"context"
	"fmt"
	"testing"
	"time"

	awscreds "github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
)

// watched is a sink that watches for a copy of one record, and what it says of the watch. Looks
// are begun by hand.
func watched(t *testing.T) (*Sink, *kinesistest.Stream, *[]string, func() error) {
	t.Helper()
	srv, err := kinesistest.Start(kinesistest.Config{Limits: kinesistest.Limits{Off: true}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	st, err := srv.CreateStream("s", 1)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Dial(t.Context(), Config{Stream: "s", Region: srv.Region(), EndpointURL: srv.URL(), Credentials: awscreds.NewStaticCredentialsProvider("a", "b", "")})
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	s, err := c.Sink(t.Context(), SinkConfig{
		Ledger: memstream.NewLog(nil).Open(), Tagger: bridge.NewTagger(bridge.WorkflowKey{1}, "x"), PutTimeout: time.Millisecond,
		Unwatched: func(why string) { said = append(said, why) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	s.beside = func(func(context.Context)) {}
	s.watch(map[string]*doubt{"k": {mark: mark{digest: 1}}}, map[string]bridge.Position{st.Shards()[0].ID: {}}, nil)
	return s, st, &said, srv.Close
}

// What is remembered of the sink's own puts has a bound. At the bound the watch ends, and says
// so.
func TestWatchRemembersNoMoreThanItMay(t *testing.T) {
	s, st, said, _ := watched(t)
	shard := st.Shards()[0].ID
	for n := range 3 * mostOwn {
		p := parcel{part: part{lane: &lane{key: "k", first: &item{rec: &bridge.Record{Key: []byte("k")}}}, n: 1}}
		s.late.marks["k"][s.codec.mark(p.first.rec)] = true
		s.remember(p, &bridge.Ack{Partition: shard, Position: bridge.Position{Seq: fmt.Sprintf("4966%052d", n)}})
		if len(s.late.own) > mostOwn {
			t.Fatalf("%d of its own records are remembered", len(s.late.own))
		}
		if !s.late.on {
			break
		}
	}
	if s.late.on || len(*said) != 1 {
		t.Errorf("the watch is on: %t; it said %q", s.late.on, *said)
	}
	// Records of keys and values that nobody doubts are not remembered at all.
	s, _, said, _ = watched(t)
	for n := range 1000 {
		for _, key := range []string{"k", "another"} {
			p := parcel{part: part{lane: &lane{key: key, first: &item{rec: &bridge.Record{Key: []byte(key), Value: []byte("v")}}}, n: 1}}
			s.remember(p, &bridge.Ack{Partition: shard, Position: bridge.Position{Seq: fmt.Sprintf("4966%052d", n)}})
		}
	}
	if len(s.late.own) > 0 || len(*said) > 0 {
		t.Errorf("%d records are remembered that cannot be taken for copies; said %q", len(s.late.own), *said)
	}
}

// The watch ends when no copy can land any more, and at the latest when its time is over,
// whatever becomes of the looks.
func TestWatchEnds(t *testing.T) {
	for name, c := range map[string]struct {
		until, end time.Duration // from now
		fails      bool
		said       int
	}{
		"nothing can land any more":       {-time.Second, time.Hour, false, 0},
		"looks fail until it is over":     {-time.Hour, 50 * time.Millisecond, true, 1},
		"looks come to no end until then": {50 * time.Millisecond, -time.Second, true, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s, _, said, end := watched(t)
			s.late.until, s.late.end = time.Now().Add(c.until), time.Now().Add(c.end)
			if c.fails {
				if err := end(); err != nil {
					t.Fatal(err)
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			s.keepLooking(ctx)
			if ctx.Err() != nil || s.late.on || len(*said) != c.said {
				t.Errorf("the watch is on: %t; it said %q, want %d words; %v", s.late.on, *said, c.said, ctx.Err())
			}
		})
	}
}
