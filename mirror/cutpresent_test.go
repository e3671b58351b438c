package mirror_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/mirror"
	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
)

// A cutRun is a mirror that was killed with records on the target that no checkpoint covers.
type cutRun struct {
	t        *testing.T
	src, dst *memstream.Stream
	letters  *memstream.Letters
	cps      *memstream.Checkpoints
	bury     bool // no record is written: each becomes a dead letter
	compact  bool // the target keeps the last record of each key only
	worker   int
}

func newCutRun(t *testing.T, to memstream.Flavour, bury, compact bool) *cutRun {
	return &cutRun{t: t,
		src:     memstream.New(memstream.Config{Name: "source", Partitions: 1, Calm: true}),
		dst:     memstream.New(memstream.Config{Flavour: to, Name: "target", Partitions: 2, Calm: true, MaxRecord: 100}),
		letters: memstream.NewLetters(0, func(memstream.Op) memstream.Fault { return memstream.Fault{} }),
		cps:     memstream.NewCheckpoints(nil), bury: bury, compact: compact,
	}
}

// put puts n records over three keys, whose values begin with a word.
func (c *cutRun) put(word string, n int) (last bridge.Position) {
	for i := range n {
		value := []byte(fmt.Sprint(word, " ", i))
		if c.bury {
			value = append(value, make([]byte, 100)...)
		}
		acks, err := c.src.Put(c.t.Context(), bridge.Record{Key: fmt.Append(nil, "key-", i%3), Value: value, Partition: "0"})
		if err != nil || acks[0].Err != nil {
			c.t.Fatal(err, acks)
		}
		last = acks[0].Position
	}
	return last
}

// run runs a mirror until it ends or, if until is set, that is so; then it is killed.
func (c *cutRun) run(until func() bool) error {
	keys := byHash(0)
	if _, ok := c.dst.Source("").(bridge.Ender); ok {
		keys = 2
	}
	c.worker++
	m := &mirror.Mirror{
		Source: c.src.Source("wf"), Checkpoints: c.cps.Open(), Keys: keys, Compacted: c.compact, Interval: time.Hour, UntilCaughtUp: until == nil,
		Sink:   c.dst.Sink(memstream.SinkConfig{Workflow: "wf", Worker: fmt.Sprint(c.worker)}),
		Policy: mirror.Policy{Oversize: mirror.DeadLetter}, DeadLetters: c.letters.Open("wf"),
	}
	ctx, kill := context.WithCancel(c.t.Context())
	defer kill()
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	if until != nil {
		for !until() {
			wait(ctx, time.Millisecond)
		}
		kill()
	}
	return <-ended
}

func (c *cutRun) carried() int { return c.dst.Len() + len(c.letters.All()) }

// What is on the target, or a dead letter, counts as present only if it is the record that the
// source holds: a source log that was cut back and written again, however far, is a gap.
func TestPresentIsTheSameRecord(t *testing.T) {
	for _, to := range []memstream.Flavour{memstream.Kafka, memstream.Kinesis} {
		for _, bury := range []bool{false, true} {
			for _, compact := range []bool{false, true} {
				for _, again := range []int{0, 1, 5, 10, 40} {
					t.Run(fmt.Sprintf("to %v buried %t compacted %t, %d new", to, bury, compact, again), func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) { cutPresent(t, newCutRun(t, to, bury, compact), again) })
					})
				}
			}
		}
	}
}

func cutPresent(t *testing.T, c *cutRun, again int) {
	kept := c.put("kept", 10)
	last := c.put("lost", 10)
	if err := c.run(func() bool { return c.carried() == 20 }); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if c.compact {
		for _, p := range []string{"0", "1"} {
			_ = c.dst.Compact(p) // a Kinesis stream has other shards, and drops nothing
		}
	}
	if err := c.src.LoseTail("0", kept); err != nil {
		t.Fatal(err)
	}
	c.put("new", again)
	before := c.carried()
	err := c.run(nil)
	n, _ := last.Offset()
	var gap *bridge.GapError
	if !errors.As(err, &gap) || gap.Partition != "0" || gap.Before != bridge.OffsetPosition(n+1) || gap.After.After(kept) || bridge.Hint(err) == "" {
		t.Errorf("the restart ended with %v, want a gap of the source behind %s at most, up to %d, and a hint", err, kept, n+1)
	}
	if n := c.carried(); n != before {
		t.Errorf("%d records were carried by the restart, want none", n-before)
	}
}

// A log that was cut back and to which its producers write the very same records again has
// lost nothing, and a kill alone is none of that.
func TestPresentAfterTheSameRecords(t *testing.T) {
	for _, to := range []memstream.Flavour{memstream.Kafka, memstream.Kinesis} {
		for _, bury := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				c := newCutRun(t, to, bury, false)
				kept := c.put("kept", 10)
				c.put("lost", 10)
				if err := c.run(func() bool { return c.carried() == 20 }); !errors.Is(err, context.Canceled) {
					t.Fatal(err)
				}
				if err := c.src.LoseTail("0", kept); err != nil {
					t.Fatal(err)
				}
				c.put("lost", 10)
				c.put("new", 5)
				if err := c.run(nil); err != nil {
					t.Fatalf("to %v, buried %t: the restart ended with %v", to, bury, err)
				}
				if n := c.carried(); n != 25 {
					t.Errorf("to %v, buried %t: %d records were carried, want 25", to, bury, n)
				}
			})
		}
	}
}
