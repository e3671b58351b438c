package walk

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/envelope"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
)

// A row is one record that a producer put.
type row struct {
	n       int
	key     string
	part    string    // of the source, that it was put into
	at      time.Time // when it was put
	pending bool      // in a transaction that is open
	aborted bool
	cut     bool // the log was cut below it
	early   bool // it was gone before a mirror first ran, or within minutes
}

// A model knows what was put, whatever any engine says.
type model struct {
	rows   []*row
	begun  bool // a mirror has run
	clean  bool // the last one stopped, and everything that it did is checkpointed
	gone   bool // something was removed from the source, or could not be proved to be there
	hurt   bool // something was taken from the target
	cuts   int  // of the source's log
	hidden bool // a listing was short
}

// value is what row n holds.
func value(n int) []byte { return fmt.Appendf(nil, "row %d", n) }

// rowOf is the number that a value holds, -1 if it is no row's.
func rowOf(b []byte) int {
	text, ok := strings.CutPrefix(string(b), "row ")
	n, err := strconv.Atoi(text)
	if !ok || err != nil {
		return -1
	}
	return n
}

// newRow is the next row.
func (w *walk) newRow() *row {
	r := &row{n: len(w.rows), key: fmt.Sprint("key-", w.rng.IntN(keyCount)), at: time.Now()}
	w.rows = append(w.rows, r)
	return r
}

// put has producers put n records, one after the other.
func (w *walk) put(n int) {
	for range n {
		r := w.newRow()
		if w.toKafka {
			r.part = w.stream.ShardFor(r.key)
			if err := w.stream.Put(kinesistest.Entry{Key: r.key, Data: w.data(r)}); err != nil {
				w.t.Fatal(err)
			}
		} else {
			w.produce(r, w.fromKafka.Put)
		}
		if w.rng.IntN(5) == 0 {
			<-time.After(time.Duration(w.rng.IntN(3000)) * time.Millisecond)
		}
		r.at = time.Now()
	}
}

// data is the Kinesis record of a row. In an envelope it has a time of its own, which may
// lie ahead.
func (w *walk) data(r *row) []byte {
	if !w.restores {
		return value(r.n)
	}
	ahead := time.Duration(0)
	if w.hazards["times ahead"] && w.rng.IntN(4) == 0 {
		ahead = time.Duration(w.rng.IntN(180)-60) * time.Minute
	}
	rec := bridge.Record{Key: []byte(r.key), Value: value(r.n), Time: time.Now().Add(ahead).Truncate(time.Millisecond),
		Origin: bridge.Coordinate{Stream: "kafka:first/topic#1", Partition: "0", Position: bridge.OffsetPosition(int64(r.n))}}
	return envelope.Append(nil, []envelope.Record{{Provenance: w.stamp.Append(nil, &rec), Value: rec.Value}})
}

// produce puts one record into the Kafka source until it is acknowledged.
func (w *walk) produce(r *row, put putter) {
	rec := bridge.Record{Key: []byte(r.key), Value: value(r.n)}
	route, _ := byHash(len(w.fromKafka.Snapshot())).Route(&rec)
	rec.Partition, r.part = route.Partition, route.Partition
	if w.hazards["times ahead"] && w.rng.IntN(4) == 0 {
		rec.Time = time.Now().Add(time.Duration(w.rng.IntN(180)-60) * time.Minute).Truncate(time.Millisecond)
	}
	for {
		acks, err := put(w.t.Context(), rec)
		if err == nil && acks[0].Err == nil {
			return
		}
		if err != nil && !bridge.Retryable(err) {
			w.t.Fatal(err)
		}
		<-time.After(50 * time.Millisecond)
	}
}

// inSource are the rows that the source holds now, as its own inside shows.
func (w *walk) inSource() map[int]bool {
	there := map[int]bool{}
	if !w.toKafka {
		for _, list := range w.fromKafka.Snapshot() {
			for _, s := range list {
				there[rowOf(s.Record.Value)] = true
			}
		}
		return there
	}
	for _, sh := range w.stream.Shards() {
		if sh.Expired {
			continue
		}
		recs, err := w.stream.Records(sh.ID)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, r := range recs {
			data := r.Data
			if w.restores {
				list, err := envelope.Decode(data)
				if err != nil {
					w.t.Fatal(err)
				}
				data = list[0].Value
			}
			there[rowOf(data)] = true
		}
	}
	return there
}

// onTarget are the rows of a target, in the order of arrival of each key, with repeats.
func onTarget(dst *memstream.Stream) (there map[int]int) {
	there = map[int]int{}
	for _, list := range dst.Snapshot() {
		for _, s := range list {
			there[rowOf(s.Record.Value)]++
		}
	}
	return there
}

// edge is more than for how long a shard must keep a record for the workflow to begin with it.
const edge = 15 * time.Minute

// begins notes which rows are gone before the workflow begins, or will be in some minutes: it
// begins with its first checkpoint, which is saved before anything is carried.
func (w *walk) begins() {
	w.begun = true
	known, _ := w.acknowledged(w.t.Context())
	there := w.inSource()
	for _, r := range w.rows {
		c := known[r.part]
		if c.Position.IsZero() && c.First.IsZero() && c.Tip.IsZero() {
			r.early = !there[r.n] || w.toKafka && time.Since(r.at) > retention-edge
		}
	}
}

// carried notes which of the rows that were about to expire are on the target all the same.
func (w *walk) carried() {
	dst := onTarget(w.dst)
	for _, r := range w.rows {
		r.early = r.early && dst[r.n] == 0
	}
}

// wanted reports whether a row must reach the target.
func (r *row) wanted() bool { return !r.pending && !r.aborted && !r.cut && !r.early }

// unreadLoss counts the rows that are neither in the source nor on the target.
func (w *walk) unreadLoss() (n int, first *row) {
	src, dst := w.inSource(), onTarget(w.dst)
	for _, r := range w.rows {
		if r.wanted() && !src[r.n] && dst[r.n] == 0 {
			if n++; first == nil {
				first = r
			}
		}
	}
	return n, first
}

// judgeTarget holds a run that says that everything put before a time is on the target.
func (w *walk) judgeTarget(before time.Time, what string) {
	dst := onTarget(w.dst)
	lost := 0
	var first *row
	for _, r := range w.rows {
		if (r.wanted() || r.pending && !w.toKafka) && r.at.Before(before) && dst[r.n] == 0 && !r.pending {
			if lost++; first == nil {
				first = r
			}
		}
	}
	if lost > 0 {
		w.finds(silentLoss, "%s, and %d of %d rows are not on the target, row %d of %s first", what, lost, len(w.rows), first.n, first.key)
	}
	if w.hurt || w.cuts > 0 {
		return
	}
	if n := disorder(w.dst, w.rows); n > 0 {
		w.finds(brokenPromises, "%d rows of the target stand behind a later one of their key", n)
	}
}

// disorder counts rows whose first copy arrived behind that of a later row of their key.
func disorder(dst *memstream.Stream, rows []*row) (n int) {
	seen, last := map[int]bool{}, map[string]int{}
	for _, s := range dst.Everything() {
		i := rowOf(s.Record.Value)
		if i < 0 || seen[i] {
			continue
		}
		seen[i] = true
		key := rows[i].key
		if before, ok := last[key]; ok && i < before {
			n++
		}
		last[key] = max(last[key], i)
	}
	return n
}
