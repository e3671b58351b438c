package verify_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/keymap"
	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
	"github.com/kinesis-msk-bridge/bridge/verify"
)

// wideWorld is a world whose topic has so many partitions that each shard can have its own.
func wideWorld(t *testing.T, keys keymap.Strategy) *world {
	w := newWorld(t, 3, memstream.Kinesis, memstream.Kafka)
	w.dst = memstream.New(memstream.Config{Name: "target", Partitions: 32, Seed: 1})
	w.keys = keys
	return w
}

// With keymap shard, a stream that was resharded is not consistent: its keys stand in two
// partitions of the topic. One that was not is.
func TestKeymapShardAfterAReshard(t *testing.T) {
	for _, reshard := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := wideWorld(t, byHash(32))
			w.produce(80, 10)
			w.catchUp()
			if reshard {
				for _, p := range w.partitions(w.src) {
					_, _, err := w.src.Split(p.ID)
					check(t, err)
				}
				w.produce(80, 10)
				w.catchUp()
			}
			shard, err := keymap.Shard(32)
			check(t, err)
			c := newCopier(w)
			for _, l := range c.lines {
				route, err := shard.Route(&bridge.Record{Key: l.rec.Key, Partition: l.was.Partition})
				check(t, err)
				l.rec.Partition = route.Partition
			}
			dst, _ := c.write()
			w.keys = shard
			res := w.run(w.verifier(dst))
			if want := map[bool]verify.Verdict{false: verify.Consistent, true: verify.Inconclusive}[reshard]; res.Verdict != want {
				t.Errorf("reshard %t: %s: %v %+v", reshard, res.Verdict, res.Reasons, res.Findings)
			}
			if said := unjudged(res); reshard && (res.Findings.Unverifiable == 0 || !strings.Contains(said, "keymap shard(32) places keys elsewhere")) {
				t.Errorf("%s", said)
			}
		})
	}
}

// A keymap that says itself that it no longer holds is asked, whatever it does with a key: one
// with keymap shard inside splits keys, too. Where there was no reshard it holds.
func TestKeymapIsAskedWhetherItHolds(t *testing.T) {
	shard, err := keymap.Shard(32)
	check(t, err)
	field, err := keymap.Field("/id", shard)
	check(t, err)
	table, err := keymap.Table(strings.NewReader("key,31\n"), 32, shard)
	check(t, err)
	for _, keys := range []keymap.Strategy{field, table} {
		for _, reshard := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				w := wideWorld(t, byHash(32))
				put := func() {
					for i := range 40 {
						w.put(bridge.Record{Key: fmt.Append(nil, "key-", i%7), Value: fmt.Appendf(nil, `{"id": "key-%d", "n": %d}`, i%7, i)})
						wait(t.Context(), time.Second)
					}
					w.catchUp()
				}
				put()
				if reshard {
					for _, p := range w.partitions(w.src) {
						_, _, err := w.src.Split(p.ID)
						check(t, err)
					}
					put()
				}
				c := newCopier(w)
				for _, l := range c.lines {
					route, err := keys.Route(&bridge.Record{Key: l.rec.Key, Value: l.rec.Value, Partition: l.was.Partition})
					check(t, err)
					l.rec.Partition = route.Partition
				}
				dst, _ := c.write()
				w.keys = keys
				res := w.run(w.verifier(dst))
				if want := map[bool]verify.Verdict{false: verify.Consistent, true: verify.Inconclusive}[reshard]; res.Verdict != want {
					t.Errorf("%s, reshard %t: %s: %v %+v", keys.Name(), reshard, res.Verdict, res.Reasons, res.Findings)
				}
				if said := unjudged(res); reshard && !strings.Contains(said, "resharded") {
					t.Errorf("%s: %s", keys.Name(), said)
				}
			})
		}
	}
}

// A record in a wrong partition is found where the keymap looks at more than its key.
func TestMisroutedByValueOrShard(t *testing.T) {
	then, err := keymap.New("murmur2", 32)
	check(t, err)
	field, err := keymap.Field("/id", then)
	check(t, err)
	shard, err := keymap.Shard(32)
	check(t, err)
	for _, keys := range []keymap.Strategy{field, shard} {
		synctest.Test(t, func(t *testing.T) {
			w := wideWorld(t, keys)
			for i := range 60 {
				w.put(bridge.Record{Key: fmt.Append(nil, "key-", i%7), Value: fmt.Appendf(nil, `{"id": "c%d", "n": %d}`, i%9, i)})
				wait(t.Context(), time.Second)
			}
			w.catchUp()
			c := newCopier(w)
			c.lines[30].rec.Partition = "31"
			dst, _ := c.write()
			res := w.run(w.verifier(dst))
			if res.Verdict != verify.Inconsistent || res.Findings != (verify.Findings{Misrouted: 1}) {
				t.Errorf("%s: %s: %+v", keys.Name(), res.Verdict, res.Findings)
			}
		})
	}
}
