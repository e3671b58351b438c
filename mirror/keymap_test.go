package mirror_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/keymap"
	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
)

// The keymap shard ends with the first reshard, however many partitions the topic has, whether
// a mirror runs meanwhile or starts behind it. No record of a new shard is written.
func TestKeymapShardEndsWithTheFirstReshard(t *testing.T) {
	for _, partitions := range []int{1, 2, 8} {
		for _, running := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				w := calm(t, memstream.Kinesis, memstream.Kafka, 1)
				w.dst = memstream.New(memstream.Config{Flavour: memstream.Kafka, Name: "target", Partitions: partitions, Calm: true})
				keys, err := keymap.Shard(partitions)
				if err != nil {
					t.Fatal(err)
				}
				w.keys = keys
				w.produce(ctx, 20, 3)
				m := w.open()
				done := make(chan error, 1)
				if running {
					go func() { done <- m.Run(ctx) }()
				} else {
					w.catchUp(ctx)
				}
				wait(ctx, time.Minute)
				if _, _, err := w.src.Split(w.partitions(w.src)[0].ID); err != nil {
					t.Fatal(err)
				}
				w.produce(ctx, 20, 3)
				if !running {
					go func() { done <- w.open().Run(ctx) }()
				}
				select {
				case err := <-done:
					if !errors.Is(err, bridge.ErrChanged) || bridge.Hint(err) == "" {
						t.Errorf("%d partitions, running %v: the mirror ended with %v after a reshard, want ErrChanged and a hint", partitions, running, err)
					}
				case <-time.After(time.Hour):
					t.Fatalf("%d partitions, running %v: the mirror goes on behind a reshard", partitions, running)
				}
				for _, s := range w.dst.Everything() {
					if s.Record.Partition != "0" || s.Record.Origin.Partition != "shardId-000000000000" {
						t.Errorf("a record of %s was written to partition %s", s.Record.Origin.Partition, s.Record.Partition)
					}
				}
			})
		}
	}
}
