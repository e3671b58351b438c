package kinesisstream_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/envelope"
	"github.com/kinesis-msk-bridge/bridge/kpl"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesisstream"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
)

// records makes n records over so many keys. Their values repeat, so that equal ones follow
// each other in a key.
func records(n, keys int, value func(i int) string) []bridge.Record {
	out := make([]bridge.Record, n)
	for i := range out {
		out[i] = bridge.Record{
			Key: fmt.Append(nil, "key-", i%keys), Value: []byte(value(i)), Time: time.UnixMilli(int64(i)),
			Origin: bridge.Coordinate{Stream: origin.String(), Partition: "0", Position: bridge.OffsetPosition(int64(i))},
		}
	}
	return out
}

var formats = []kinesisstream.Format{kinesisstream.Raw, kinesisstream.KPL, kinesisstream.KPLShard, kinesisstream.Envelope}

func distinct(i int) string { return strconv.Itoa(i) }

// A worker is one life of a process.
type worker struct {
	sink      *kinesisstream.Sink
	stamp     *bridge.Stamp
	rewinds   chan struct{} // one for each copy
	misplaced atomic.Int64  // records that were put again
}

// patience bounds a put. It is long where no put is to be given up, since one that is only
// slow may land behind its time.
const (
	patience = 300 * time.Millisecond
	enough   = 10 * time.Second
)

func open(ctx context.Context, t testing.TB, c *kinesisstream.Client, log *memstream.Log, format kinesisstream.Format, patience time.Duration) *worker {
	id, err := c.Identity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w := &worker{
		stamp:   bridge.NewStamp(bridge.StampConfig{Workflow: "w", Key: bridge.WorkflowKey{1}, Source: origin, Target: id}),
		rewinds: make(chan struct{}, 1000),
	}
	w.sink, err = c.Sink(ctx, kinesisstream.SinkConfig{
		Format: format, Stamp: w.stamp,
		Ledger: log.Open(), Tagger: bridge.NewTagger(bridge.WorkflowKey{1}, "ledger"), PutTimeout: patience, ReadDelay: time.Millisecond,
		Misplaced: func(n int) { w.misplaced.Add(int64(n)) },
		Rewind: func(n int64) {
			for range n {
				w.rewinds <- struct{}{}
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.sink.Close() })
	return w
}

// writeAll does what the engine does: page by page, it brings what was refused again, in
// order.
func writeAll(ctx context.Context, sink bridge.Sink, all []bridge.Record, page int) error {
	for recs := range slices.Chunk(all, page) {
		for len(recs) > 0 {
			acks, err := sink.Write(ctx, recs)
			if err != nil {
				return err
			}
			var left []bridge.Record
			for i, a := range acks {
				switch {
				case a.Err == nil:
				case bridge.Retryable(a.Err):
					left = append(left, recs[i])
				default:
					return a.Err
				}
			}
			recs = left
		}
	}
	return nil
}

// pageOf is how many records are written at a time: what the packing formats are given at
// once goes in one call.
func pageOf(format kinesisstream.Format) int {
	if format == kinesisstream.Raw {
		return 1000
	}
	return 20
}

// stored returns the values of each key in the order of a reader on the KCL, parents first.
func stored(t testing.TB, st *kinesistest.Stream) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	for _, shard := range st.Shards() {
		recs, err := st.Records(shard.ID)
		if err != nil {
			t.Fatal(err)
		}
		keys, err := kpl.ParseHashRange(shard.FirstHash, shard.LastHash)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range recs {
			for _, u := range users(t, keys, r) {
				out[string(u.Key)] = append(out[string(u.Key)], string(u.Data))
			}
		}
	}
	return out
}

// users takes a Kinesis record of a shard apart, whatever it is.
func users(t testing.TB, keys kpl.HashRange, r kinesistest.Record) (out []kpl.UserRecord) {
	t.Helper()
	if recs, err := envelope.Decode(r.Data); err == nil {
		for _, e := range recs {
			out = append(out, kpl.UserRecord{Key: []byte(r.Key), Data: e.Value})
		}
		return out
	}
	x, err := kpl.Expand(kpl.KCL, keys, []byte(r.Key), r.Data)
	if err != nil {
		t.Fatal(err)
	}
	return x.Records
}

// expect fails unless every key holds its values, once, in order.
func expect(t testing.TB, what string, st *kinesistest.Stream, recs []bridge.Record) {
	t.Helper()
	want := map[string][]string{}
	for _, r := range recs {
		want[string(r.Key)] = append(want[string(r.Key)], string(r.Value))
	}
	got := stored(t, st)
	for key, values := range want {
		if fmt.Sprint(got[key]) != fmt.Sprint(values) {
			t.Fatalf("%s: key %s holds %v, want %v", what, key, got[key], values)
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%s: %d keys are stored, want %d", what, len(got), len(want))
	}
}

// parted are the formats that put one Kinesis record a key, and how much of a check runs in
// each: ten percent of it in raw and Share in the others, each position if RUNS is 100. The
// stride shares no factor with 50, so that the positions within a call differ.
func parted(t *testing.T, check func(t *testing.T, format kinesisstream.Format, stride int)) {
	for _, format := range []kinesisstream.Format{kinesisstream.Raw, kinesisstream.KPL, kinesisstream.Envelope} {
		n := max(kinesisstream.Share(t, 500), 1)
		if format == kinesisstream.Raw {
			n = max(n, 50)
		}
		stride := 500 / n
		if stride > 1 {
			stride--
			for stride%2 == 0 || stride%5 == 0 {
				stride--
			}
		}
		t.Run(string(format), func(t *testing.T) { check(t, format, stride) })
	}
}

// One call of 500 records over 500 keys, refused at each of its positions.
func TestPutRefusedAtEachOf500Positions(t *testing.T) {
	srv := fast(t)
	parted(t, func(t *testing.T, format kinesisstream.Format, stride int) {
		n := 0
		for at := 0; at < 500; at += stride {
			st := stream(t, srv, 1)
			recs := records(500, 500, distinct)
			srv.SetFault(kinesistest.Next("PutRecords", 1, kinesistest.Fault{FailEntries: map[int]string{at: ""}}))
			before := srv.Counts("PutRecords").Failed
			if err := writeAll(t.Context(), open(t.Context(), t, dial(t, srv, st.Name()), memstream.NewLog(nil), format, enough).sink, recs, 1000); err != nil {
				t.Fatalf("position %d: %v", at, err)
			}
			if srv.Counts("PutRecords").Failed != before+1 {
				t.Fatalf("position %d was not exercised", at)
			}
			expect(t, fmt.Sprint("position ", at), st, recs)
			n++
		}
		t.Logf("%d of 500 positions were refused", n)
	})
}

// 500 records over 50 keys go out in calls of at most 50; each call is refused at each of
// its positions, one after the other. Formats that pack are given one record of each key at
// a time, which then makes a call.
func TestPutRefusedAtEachPositionOfEachCall(t *testing.T) {
	srv := fast(t)
	parted(t, func(t *testing.T, format kinesisstream.Format, stride int) {
		page := 1000
		if format != kinesisstream.Raw {
			page = 50
		}
		exercised, tries := 0, 0
		for i := 0; i < 500; i += stride {
			call, at := i/50, i%50
			st := stream(t, srv, 2)
			recs := records(500, 50, distinct)
			calls, largest := 0, 0
			srv.SetFault(func(c kinesistest.Call) kinesistest.Fault {
				if c.Op != "PutRecords" {
					return kinesistest.Fault{}
				}
				calls++
				largest = max(largest, len(c.Entries))
				if calls == call+1 && at < len(c.Entries) {
					exercised++
					return kinesistest.Fault{FailEntries: map[int]string{at: "InternalFailure"}}
				}
				return kinesistest.Fault{}
			})
			if err := writeAll(t.Context(), open(t.Context(), t, dial(t, srv, st.Name()), memstream.NewLog(nil), format, enough).sink, recs, page); err != nil {
				t.Fatalf("call %d position %d: %v", call, at, err)
			}
			if largest > 50 {
				t.Fatalf("a call held %d records of 50 keys: one key was twice in it", largest)
			}
			expect(t, fmt.Sprintf("call %d position %d", call, at), st, recs)
			tries++
		}
		t.Logf("%d of %d positions were refused", exercised, tries)
		if exercised*10 < tries*9 {
			t.Error("not exercised")
		}
	})
}

// A put is stored and its answer cut, or cut before it is carried out, or fails with 500
// after it was; equal values follow each other in every key, and a null key's code is one
// of the keys. What is there is found, and what is not is put again.
func TestPutOfUnknownFate(t *testing.T) {
	for _, format := range formats {
		t.Run(string(format), func(t *testing.T) { putsOfUnknownFate(t, format) })
	}
}

func putsOfUnknownFate(t *testing.T, format kinesisstream.Format) {
	for name, fault := range map[string]kinesistest.Fault{
		"stored, answer cut":   {LateCut: true},
		"stored, then 500":     {LateError: kinesistest.InternalFailure()},
		"stored, answer short": {Truncate: true},
		"cut before":           {Cut: true},
		"too slow, stored":     {LateDelay: 900 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			srv := fast(t)
			st := stream(t, srv, 2)
			recs := records(240, 6, func(i int) string { return strconv.Itoa(i / 96) })
			recs[7].Key = []byte("~null:0:7")
			var n, wrong atomic.Int64
			srv.SetFault(func(c kinesistest.Call) kinesistest.Fault {
				if c.Op != "PutRecords" {
					return kinesistest.Fault{}
				}
				if n.Add(1)%3 == 0 {
					wrong.Add(1)
					return fault
				}
				return kinesistest.Fault{}
			})
			log := memstream.NewLog(nil)
			w := open(t.Context(), t, dial(t, srv, st.Name()), log, format, patience)
			if err := writeAll(t.Context(), w.sink, recs, pageOf(format)); err != nil {
				t.Fatal(err)
			}
			expect(t, name, st, recs)
			c := srv.Counts("PutRecords")
			t.Logf("%d calls, %d gone wrong, %d records stored by calls that were told of no success", n.Load(), wrong.Load(), c.LateStored)
			if wrong.Load() < 2 {
				t.Error("not exercised")
			}
		})
	}
}

// A put is held back on its way until long after it was given up, not found, and put again:
// what lands then are copies behind the first ones, and every one is counted, whoever put it:
// this worker, or one that it took over from. Equal values in a row are no copies.
func TestPutThatLandsLate(t *testing.T) {
	for _, format := range formats {
		for _, takeover := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, take-over %t", format, takeover), func(t *testing.T) { putThatLandsLate(t, format, takeover) })
		}
	}
}

func putThatLandsLate(t *testing.T, format kinesisstream.Format, takeover bool) {
	srv := fast(t)
	st := stream(t, srv, 2)
	recs := records(60, 6, func(i int) string { return strconv.Itoa(i / 24) })
	release, under := make(chan struct{}), make(chan struct{})
	var n, held atomic.Int64
	srv.SetFault(func(c kinesistest.Call) kinesistest.Fault {
		if c.Op != "PutRecords" || n.Add(1) != 3 {
			return kinesistest.Fault{}
		}
		for _, e := range c.Entries {
			held.Add(int64(len(users(t, kpl.FullRange(), kinesistest.Record{Key: e.Key, Data: e.Data}))))
		}
		close(under)
		return kinesistest.Fault{Wait: release}
	})
	client, log := dial(t, srv, st.Name()), memstream.NewLog(nil)
	w := open(t.Context(), t, client, log, format, patience)
	if takeover {
		ctx, die := context.WithCancel(t.Context())
		go func() {
			<-under
			die()
		}()
		if err := writeAll(ctx, w.sink, recs, pageOf(format)); err == nil {
			t.Fatal("the first worker did not die")
		}
		w = open(t.Context(), t, client, log, format, patience)
		recs = w.left(t, recs)
	}
	if err := writeAll(t.Context(), w.sink, recs, pageOf(format)); err != nil {
		t.Fatal(err)
	}
	before := total(t, st)
	if before != 60 {
		t.Fatalf("%d records are stored before the late put, want 60", before)
	}
	close(release)
	for range held.Load() {
		select {
		case <-w.rewinds:
		case <-time.After(30 * time.Second):
			t.Fatalf("of %d copies that came late not all were counted", held.Load())
		}
	}
	if got := total(t, st) - before; got != int(held.Load()) || got < 6 {
		t.Errorf("%d copies landed, %d were held back", got, held.Load())
	}
	// Looks that follow count nothing twice.
	if err := writeAll(t.Context(), w.sink, records(30, 6, func(int) string { return "2" }), pageOf(format)); err != nil {
		t.Fatal(err)
	}
	w.looked(t, srv)
	if len(w.rewinds) > 0 {
		t.Errorf("%d records were counted that are no copies", len(w.rewinds))
	}
}

// left are the records that Tail does not find.
func (w *worker) left(t *testing.T, recs []bridge.Record) (left []bridge.Record) {
	t.Helper()
	found := map[string]bool{}
	for p, err := range w.sink.Tail(t.Context(), bridge.Floor{}) {
		if err != nil {
			t.Fatal(err)
		}
		found[p.Origin.Position.String()] = true
	}
	for _, r := range recs {
		if !found[r.Origin.Position.String()] {
			left = append(left, r)
		}
	}
	return left
}

// looked returns when two more looks for copies were begun.
func (w *worker) looked(t *testing.T, srv *kinesistest.Server) {
	t.Helper()
	for range 2 {
		for before := srv.Counts("GetShardIterator").Calls; srv.Counts("GetShardIterator").Calls == before; {
			if t.Context().Err() != nil {
				t.Fatal(t.Context().Err())
			}
			runtime.Gosched()
		}
	}
}

func total(t *testing.T, st *kinesistest.Stream) (n int) {
	t.Helper()
	for _, values := range stored(t, st) {
		n += len(values)
	}
	return n
}

// The process dies at a random moment of the same, again and again, and each new life finds
// what the one before left: in the ledger, and on the shards where the ledger is in doubt.
func TestLivesAndDeaths(t *testing.T) {
	for _, format := range formats {
		t.Run(string(format), func(t *testing.T) { livesAndDeaths(t, format) })
	}
}

func livesAndDeaths(t *testing.T, format kinesisstream.Format) {
	const seed = 3
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	const rounds = 2
	found, doubts, reshards := 0, 0, 0
	for round := range rounds {
		srv := fast(t)
		st := stream(t, srv, 2)
		recs := records(300, 7, func(i int) string { return strconv.Itoa(i / 60) })
		log := memstream.NewLog(nil)
		client := dial(t, srv, st.Name())
		done := map[string]bool{}
		for life := 0; len(done) < len(recs) && life < 40; life++ {
			w := open(t.Context(), t, client, log, format, patience)
			for p, err := range w.sink.Tail(t.Context(), bridge.Floor{}) {
				if err != nil {
					t.Fatalf("round %d life %d: %v", round, life, err)
				}
				if at := p.Origin.Position.String(); !done[at] {
					found++
					done[at] = true
				}
			}
			var left []bridge.Record
			for _, r := range recs {
				if !done[r.Origin.Position.String()] {
					left = append(left, r)
				}
			}
			if life == 2 {
				if _, _, err := st.Split(st.ShardFor("key-1"), ""); err == nil {
					reshards++
				}
			}
			ctx, die := context.WithCancel(t.Context())
			deadly, n := 1+rng.IntN(6), 0
			late := rng.IntN(2) == 0
			srv.SetFault(func(c kinesistest.Call) kinesistest.Fault {
				if c.Op != "PutRecords" {
					return kinesistest.Fault{}
				}
				if n++; n == deadly && life < 30 {
					doubts++
					die()
					return kinesistest.Fault{Cut: !late, LateCut: late}
				}
				return kinesistest.Fault{}
			})
			err := writeAll(ctx, w.sink, left, pageOf(format))
			die()
			if err == nil {
				for _, r := range left {
					done[r.Origin.Position.String()] = true
				}
			}
			w.sink.Close()
		}
		expect(t, fmt.Sprint("round ", round), st, recs)
	}
	t.Logf("%d rounds: %d deaths with a call in doubt, %d records found by the next life, %d reshards of the target", rounds, doubts, found, reshards)
	if found == 0 || doubts < 3*rounds {
		t.Error("not exercised")
	}
}

// An idle shard's record expires: no gap if the shard was seen to end there recently.
func TestIdleShardBeyondRetention(t *testing.T) {
	clock := kinesistest.NewClock(time.Now())
	srv := start(t, kinesistest.Config{Limits: kinesistest.Limits{Off: true}, Clock: clock.Now, After: clock.After})
	st := stream(t, srv, 1)
	if err := st.Put(kinesistest.Entry{Key: "k", Data: []byte("v")}); err != nil {
		t.Fatal(err)
	}
	shard := st.Shards()[0].ID
	recs, err := st.Records(shard)
	if err != nil {
		t.Fatal(err)
	}
	at := bridge.Position{Seq: recs[0].SequenceNumber}
	if err := st.Trim(shard, 1); err != nil {
		t.Fatal(err)
	}
	for name, tip := range map[string]time.Time{"seen": time.Now().Add(-23 * time.Hour), "not seen": time.Now().Add(-25 * time.Hour), "never seen": {}} {
		r, err := dial(t, srv, st.Name()).Source(kinesisstream.SourceConfig{}).Open(t.Context(), shard, bridge.Start{After: at, Tip: tip})
		if err != nil {
			t.Fatal(err)
		}
		_, err = r.Read(t.Context())
		var gap *bridge.GapError
		if isGap := asGap(err, &gap); isGap != (name != "seen") {
			t.Errorf("%s: %v", name, err)
		} else if isGap && (gap.After != at || bridge.Hint(err) == "") {
			t.Errorf("%s: gap behind %s with hint %q", name, gap.After, bridge.Hint(err))
		}
	}
}
