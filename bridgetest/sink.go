package bridgetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
)

// A SinkHarness leads TestSink and TestRecoverable to an adapter and the server behind it.
type SinkHarness struct {
	Server string // whose gaps are in Known
	// New makes an empty stream of at least two partitions for one test. It ends with t.
	New     func(t testing.TB) SinkServer
	Carries Carries
	// Origin is where the workflow reads from. The records that are written carry made up
	// coordinates of it: shards and sequence numbers, unless its name begins with "kafka:".
	Origin bridge.Identity
	// TooLarge is a number of bytes that no record can have; 0 leaves the test out.
	TooLarge int
	// Fences says that a newer sink keeps an older one from writing.
	Fences bool
	Known  []Gap
}

// A SinkServer is one stream.
type SinkServer struct {
	// Open is a new worker of the only task of the workflow Workflow. The sink is closed
	// by whoever opened it.
	Open func(ctx context.Context) (bridge.Sink, error)
	// Source reads the stream for a workflow.
	Source func(workflow string) bridge.Source
	// Put is a producer, as in SourceServer.
	Put func(ctx context.Context, r bridge.Record) (bridge.Ack, error)
	Damage
}

// TestSink runs every test of the contract of a bridge.Sink.
func TestSink(t *testing.T, h SinkHarness) {
	runParts(t, h.Server, h.Known, func(t testing.TB) *sinkTest { return &sinkTest{SinkServer: h.New(t), h: h} },
		[]part[*sinkTest]{
			{"write identity", testSinkIdentity},
			{"write", testWrite},
			{"write order", testWriteOrder},
			{"write many", testWriteMany},
			{"write lanes at once", testLanesAtOnce},
			{"write nothing", testWriteNothing},
			{"write keeps nothing", testKeepsNothing},
			{"write oversize", testOversize},
			{"write unmappable", testUnmappable},
			{"write bad partition", testBadPartition},
			{"fence", testFence},
			{"close", testClose},
			{"write cancel", testWriteCancel},
		})
}

type sinkTest struct {
	SinkServer
	h SinkHarness
}

func (s *sinkTest) open(t *env) bridge.Sink {
	t.Helper()
	k := retry(t, "open the sink", func() (bridge.Sink, error) { return s.Open(t.ctx) })
	t.Cleanup(func() { _ = k.Close() })
	return k
}

// coordinate makes up where the n-th record of a source partition stood.
func (s *sinkTest) coordinate(partition, n int) bridge.Coordinate {
	c := bridge.Coordinate{Stream: s.h.Origin.String()}
	if strings.HasPrefix(s.h.Origin.Name, "kafka:") {
		c.Partition, c.Position = fmt.Sprint(partition), bridge.OffsetPosition(int64(3*n+100))
		return c
	}
	c.Partition = fmt.Sprintf("shardId-%012d", partition)
	c.Position = bridge.Position{Seq: fmt.Sprintf("4959%06d%046d", partition, 7*n+1000), Sub: uint32(n % 3)}
	return c
}

// make makes up n records from one source partition to one target partition, from the
// number first on.
func (s *sinkTest) make(p bridge.Partition, from, first, n int) []bridge.Record {
	recs := s.h.Carries.make(p, n)
	for i := range recs {
		recs[i].Origin = s.coordinate(from, first+i)
		recs[i].Subs = 3
		if strings.HasPrefix(s.h.Origin.Name, "kafka:") {
			recs[i].Subs = 1
		}
	}
	return recs
}

// write writes until every record is acknowledged, as the engine does.
func (s *sinkTest) write(t *env, k bridge.Sink, recs []bridge.Record) []bridge.Ack {
	t.Helper()
	acks, err := s.tryWrite(t, k, recs)
	t.fatal(err, "write")
	return acks
}

func (s *sinkTest) tryWrite(t *env, k bridge.Sink, recs []bridge.Record) ([]bridge.Ack, error) {
	out := make([]bridge.Ack, len(recs))
	todo := make([]int, len(recs))
	for i := range todo {
		todo[i] = i
	}
	for {
		now := make([]bridge.Record, len(todo))
		for j, i := range todo {
			now[j] = recs[i]
		}
		acks, err := k.Write(t.ctx, now)
		if err != nil {
			return nil, err
		}
		if len(acks) != len(now) {
			return nil, fmt.Errorf("%d acks for %d records", len(acks), len(now))
		}
		for j, i := range todo {
			if d := (Carries{Time: true}).same(&now[j], &recs[i]); d != "" || now[j].Origin != recs[i].Origin || now[j].Partition != recs[i].Partition {
				return nil, fmt.Errorf("write changed record %d: %s", i, d)
			}
		}
		var left []int
		for j, a := range acks {
			switch i := todo[j]; {
			case a.Err == nil:
				out[i] = a
			case !bridge.Retryable(a.Err):
				return nil, fmt.Errorf("record %d: %w", i, a.Err)
			default:
				left = append(left, i)
			}
		}
		if todo = left; len(todo) == 0 {
			return out, nil
		}
		if err := t.pause(5 * time.Millisecond); err != nil {
			return nil, err
		}
	}
}

// stored reads everything from partitions that hold want records in all.
func (s *sinkTest) stored(t *env, want int) map[string][]bridge.Record {
	t.Helper()
	all := map[string][]bridge.Record{}
	src := s.Source(Workflow)
	n := 0
	for _, p := range t.partitions(src) {
		got, _ := t.idle(t.open(src, p.ID, bridge.Start{}), p.ID)
		all[p.ID] = got
		n += len(got)
	}
	if n != want {
		t.Fatalf("%d records are stored, want %d", n, want)
	}
	return all
}

// found checks that each record stands where its ack says, and nothing else does.
func (s *sinkTest) found(t *env, recs []bridge.Record, acks []bridge.Ack) {
	t.Helper()
	all := s.stored(t, len(recs))
	for i, a := range acks {
		list := all[a.Partition]
		j := slices.IndexFunc(list, func(r bridge.Record) bool { return r.Position == a.Position })
		if j < 0 {
			t.Fatalf("record %d: nothing stands at %s %s", i, a.Partition, a.Position)
		}
		if d := s.h.Carries.same(&list[j], &recs[i]); d != "" {
			t.Errorf("record %d: read %s", i, d)
		}
		if recs[i].Partition != "" && a.Partition != recs[i].Partition {
			t.Errorf("record %d went to partition %s, not %s", i, a.Partition, recs[i].Partition)
		}
	}
}

func testSinkIdentity(t *env, s *sinkTest) {
	k := s.open(t)
	id := retry(t, "identify", func() (bridge.Identity, error) { return k.Identity(t.ctx) })
	same := retry(t, "identify", func() (bridge.Identity, error) { return s.Source("").Identity(t.ctx) })
	if id != same || id.IsZero() {
		t.Errorf("the sink is %s, the source of the same stream %s", id, same)
	}
	if got, want := len(t.partitions(k)), len(t.partitions(s.Source(""))); got != want {
		t.Errorf("the sink lists %d partitions, the source %d", got, want)
	}
}

func testWrite(t *env, s *sinkTest) {
	k := s.open(t)
	var recs []bridge.Record
	for i, p := range t.partitions(k)[:2] {
		recs = append(recs, s.make(p, i, 0, 60)...)
	}
	before := clones(recs)
	acks := s.write(t, k, recs)
	for i := range recs {
		if d := (Carries{Time: true}).same(&recs[i], &before[i]); d != "" || recs[i].Origin != before[i].Origin {
			t.Fatalf("Write changed record %d: %s", i, d)
		}
	}
	s.found(t, recs, acks)
}

func clones(recs []bridge.Record) []bridge.Record {
	out := slices.Clone(recs)
	for i := range out {
		out[i].Key, out[i].Value = bytes.Clone(out[i].Key), bytes.Clone(out[i].Value)
		out[i].Headers = slices.Clone(out[i].Headers)
	}
	return out
}

// testWriteOrder: in every lane the records stand in the order in which they were given.
func testWriteOrder(t *env, s *sinkTest) {
	k := s.open(t)
	p := t.partitions(k)[0]
	recs := s.make(p, 0, 0, 200)
	var acks []bridge.Ack
	for chunk := range slices.Chunk(recs, 23) {
		acks = append(acks, s.write(t, k, chunk)...)
	}
	s.found(t, recs, acks)
	s.ordered(t, recs, acks)
}

// ordered checks the lanes: on Kafka one source partition and one target partition, on
// Kinesis one key, which stays in one shard here.
func (s *sinkTest) ordered(t *env, recs []bridge.Record, acks []bridge.Ack) {
	t.Helper()
	last := map[string]bridge.Position{}
	for i, a := range acks {
		l := lane(&recs[i])
		if !a.Position.After(last[l]) {
			t.Fatalf("record %d stands at %s, an earlier one of its lane at %s", i, a.Position, last[l])
		}
		last[l] = a.Position
	}
}

func lane(r *bridge.Record) string {
	if r.Partition == "" {
		return string(r.Key)
	}
	return r.Origin.Partition + " " + r.Partition
}

// testWriteMany: more than fits a call or a batch, with two keys only.
func testWriteMany(t *env, s *sinkTest) {
	k := s.open(t)
	p := t.partitions(k)[0]
	recs := s.make(p, 0, 0, 600)
	keys := keysFor(p, 100)
	for i := range recs {
		recs[i].Value = fmt.Appendf(nil, "%d", i)
		recs[i].Key = []byte(keys[0])
		if i%3 == 0 { // one key is hot, the others are rare
			recs[i].Key = []byte(keys[i%len(keys)])
		}
	}
	acks := s.write(t, k, recs)
	s.found(t, recs, acks)
	s.ordered(t, recs, acks)
}

// testLanesAtOnce: calls with different lanes may run at the same time.
func testLanesAtOnce(t *env, s *sinkTest) {
	k := s.open(t)
	parts := t.partitions(k)
	const workers, each = 6, 50
	recs, acks := make([][]bridge.Record, workers), make([][]bridge.Ack, workers)
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for w := range workers {
		p := parts[w%len(parts)]
		recs[w] = s.make(p, w, 0, each)
		keys := keysFor(p, workers)
		for i := range recs[w] {
			recs[w][i].Key = []byte(keys[w])
		}
		wg.Go(func() {
			for chunk := range slices.Chunk(recs[w], 7) {
				got, err := s.tryWrite(t, k, chunk)
				if err != nil {
					errs[w] = err
					return
				}
				acks[w] = append(acks[w], got...)
			}
		})
	}
	wg.Wait()
	t.fatal(errors.Join(errs...), "write")
	for w := range workers {
		s.ordered(t, recs[w], acks[w])
	}
	s.found(t, slices.Concat(recs...), slices.Concat(acks...))
}

func testWriteNothing(t *env, s *sinkTest) {
	acks, err := s.open(t).Write(t.ctx, nil)
	if err != nil || len(acks) != 0 {
		t.Errorf("wrote nothing: %d acks, %v", len(acks), err)
	}
	s.stored(t, 0)
}

// testKeepsNothing: what the caller does with the records after Write changes nothing.
func testKeepsNothing(t *env, s *sinkTest) {
	k := s.open(t)
	recs := s.make(t.partitions(k)[0], 0, 0, 50)
	given := clones(recs)
	acks := s.write(t, k, given)
	for i := range given {
		for _, b := range [][]byte{given[i].Key, given[i].Value} {
			for j := range b {
				b[j] = '!'
			}
		}
		given[i] = bridge.Record{}
	}
	s.found(t, recs, acks)
}

// testOversize: a record that fails holds up its own lane and no other.
func testOversize(t *env, s *sinkTest) {
	if s.h.TooLarge == 0 {
		return
	}
	k := s.open(t)
	parts := t.partitions(k)
	recs := slices.Concat(s.make(parts[0], 0, 0, 30), s.make(parts[1], 1, 0, 30))
	key := keysFor(parts[0], 1)[0]
	for i := range 30 {
		recs[i].Key = []byte(key)
	}
	const large = 12
	recs[large].Value = noise(rand.New(rand.NewPCG(1, 2)), s.h.TooLarge)
	done := map[int]bridge.Ack{}
	for judged := false; !judged; {
		judged = s.writeOnce(t, k, recs, done, large)
	}
	s.stored(t, len(done))
	// Without the large one the rest goes through, in order.
	var todo []bridge.Record
	var at []int
	for i := range recs {
		if _, ok := done[i]; !ok && i != large {
			todo, at = append(todo, recs[i]), append(at, i)
		}
	}
	for j, a := range s.write(t, k, todo) {
		done[at[j]] = a
	}
	var rest []bridge.Record
	var acks []bridge.Ack
	for i := range recs {
		if i != large {
			rest, acks = append(rest, recs[i]), append(acks, done[i])
		}
	}
	s.found(t, rest, acks)
	s.ordered(t, rest, acks)
}

// writeOnce writes what is not done, notes what is, and reports whether the large record
// was refused for good. In a call in which it failed, nothing behind it may be stored.
func (s *sinkTest) writeOnce(t *env, k bridge.Sink, recs []bridge.Record, done map[int]bridge.Ack, large int) bool {
	t.Helper()
	var now []bridge.Record
	var at []int
	for i := range recs {
		if _, ok := done[i]; !ok {
			now, at = append(now, recs[i]), append(at, i)
		}
	}
	acks, err := k.Write(t.ctx, now)
	t.fatal(err, "write")
	judged := false
	for j, a := range acks {
		i := at[j]
		switch {
		case a.Err == nil:
			done[i] = a
			if i == large || i > large && lane(&recs[i]) == lane(&recs[large]) {
				t.Fatalf("record %d was acknowledged, though record %d of its lane cannot be stored", i, large)
			}
		case i == large && !bridge.Retryable(a.Err):
			judged = true
			if !errors.Is(a.Err, bridge.ErrOversize) {
				t.Errorf("a record of %d bytes: %v, want ErrOversize", s.h.TooLarge, a.Err)
			}
		case !bridge.Retryable(a.Err):
			t.Errorf("record %d: %v, want it stored, or an error that passes", i, a.Err)
		}
	}
	if !judged {
		t.fatal(t.pause(5*time.Millisecond), "write until the large record is refused")
	}
	return judged
}

// testUnmappable: what the stream cannot express is refused, not left out.
func testUnmappable(t *env, s *sinkTest) {
	k := s.open(t)
	p := t.partitions(k)[0]
	c := s.h.Carries
	for what, bad := range map[string]struct {
		carried bool
		change  func(*bridge.Record)
	}{
		"no key":   {c.NullKeys, func(r *bridge.Record) { r.Key = nil }},
		"no value": {c.NullValues, func(r *bridge.Record) { r.Value = nil }},
		"headers":  {c.Headers, func(r *bridge.Record) { r.Headers = []bridge.Header{{Key: "h", Value: []byte("v")}} }},
	} {
		if bad.carried {
			continue
		}
		rec := s.make(p, 0, 0, 1)
		rec[0].Value = []byte("value")
		bad.change(&rec[0])
		if _, err := s.tryWrite(t, k, rec); !errors.Is(err, bridge.ErrUnmappable) {
			t.Errorf("a record with %s: %v, want ErrUnmappable", what, err)
		}
	}
	s.stored(t, 0)
}

// testBadPartition: a partition that does not exist is refused for good. Kinesis is never
// asked for one.
func testBadPartition(t *env, s *sinkTest) {
	k := s.open(t)
	p := t.partitions(k)[0]
	if wanted(p) == "" {
		return
	}
	recs := s.make(p, 0, 0, 1)
	recs[0].Partition = "4711"
	if _, err := s.tryWrite(t, k, recs); err == nil || t.ctx.Err() != nil {
		t.Errorf("a record for partition 4711: %v", err)
	}
	s.stored(t, 0)
}

// testFence: once a newer sink is open, the older one stores nothing, and says why.
func testFence(t *env, s *sinkTest) {
	if !s.h.Fences {
		return
	}
	old := s.open(t)
	parts := t.partitions(old)
	recs := s.make(parts[0], 0, 0, 10)
	acks := s.write(t, old, recs)
	young := s.open(t)
	// The second partition was never written to by either of them.
	for i, p := range parts[:2] {
		late := s.make(p, i, 10, 5)
		if _, err := s.tryWrite(t, old, late); !errors.Is(err, bridge.ErrFenced) {
			t.Errorf("the older sink wrote to partition %s: %v, want ErrFenced", p.ID, err)
		}
	}
	more := s.make(parts[0], 0, 10, 10)
	acks = append(acks, s.write(t, young, more)...)
	s.found(t, append(recs, more...), acks)
}

func testClose(t *env, s *sinkTest) {
	k := s.open(t)
	p := t.partitions(k)[0]
	t.fatal(k.Close(), "close")
	if acks, err := k.Write(t.ctx, s.make(p, 0, 0, 1)); err == nil {
		t.Errorf("a write to a closed sink: %v", acks)
	}
	s.stored(t, 0)
}

// testWriteCancel: a write that is given up ends. What it acknowledged is stored.
func testWriteCancel(t *env, s *sinkTest) {
	k := s.open(t)
	p := t.partitions(k)[0]
	recs := s.make(p, 0, 0, 20)
	ctx, cancel := context.WithCancel(t.ctx)
	cancel()
	acks, err := k.Write(ctx, recs)
	if err != nil {
		return
	}
	src := s.Source(Workflow)
	got, _ := t.idle(t.open(src, p.ID, bridge.Start{}), p.ID)
	for i, a := range acks {
		there := slices.ContainsFunc(got, func(r bridge.Record) bool { return r.Position == a.Position })
		if a.Err == nil && !there {
			t.Errorf("record %d was acknowledged at %s, where nothing stands", i, a.Position)
		}
	}
}
