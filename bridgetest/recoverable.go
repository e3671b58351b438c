package bridgetest

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/kinesis-msk-bridge/bridge"
)

// TestRecoverable runs every test of the contract of a bridge.Recoverable, over the sinks
// of the harness.
func TestRecoverable(t *testing.T, h SinkHarness) {
	runParts(t, h.Server, h.Known, func(t testing.TB) *sinkTest { return &sinkTest{SinkServer: h.New(t), h: h} },
		[]part[*sinkTest]{
			{"tail", testTail},
			{"tail behind a floor", testTailFloor},
			{"tail behind a whole floor", testTailWholeFloor},
			{"tail of an older sink", testTailOlder},
			{"tail of producers", testTailProducers},
			{"tail of copies", testTailCopies},
			{"tail ends", testTailEnds},
			{"tail stops", testTailStops},
			{"tail of a trimmed target", testTailTrimmed},
			{"tail of a shorter target", testTailShorter},
			{"origin", testOrigin},
		})
}

// tail collects what Tail yields.
func (s *sinkTest) tail(t *env, k bridge.Sink, from bridge.Floor) (list []bridge.Placed, err error) {
	t.Helper()
	r, ok := k.(bridge.Recoverable)
	if !ok {
		t.Fatalf("%T is not a bridge.Recoverable", k)
	}
	return try(t, func() ([]bridge.Placed, error) {
		var list []bridge.Placed
		for p, err := range r.Tail(t.ctx, from) {
			if err != nil {
				return list, err
			}
			list = append(list, p)
		}
		return list, nil
	})
}

// writeTwo writes n records to each of two partitions and returns all of them.
func (s *sinkTest) writeTwo(t *env, k bridge.Sink, first, n int) (recs []bridge.Record, acks []bridge.Ack) {
	t.Helper()
	for i, p := range t.partitions(k)[:2] {
		recs = append(recs, s.make(p, i, first, n)...)
	}
	return recs, s.write(t, k, recs)
}

// checkTail compares what Tail yielded with the records that it must: all of them, once,
// each partition in order.
func (s *sinkTest) checkTail(t *env, got []bridge.Placed, recs []bridge.Record, acks []bridge.Ack) {
	t.Helper()
	want := map[bridge.Coordinate]int{}
	for i := range recs {
		want[recs[i].Origin] = i
	}
	last := map[string]bridge.Position{}
	for _, p := range got {
		i, ok := want[p.Origin]
		if !ok {
			t.Fatalf("yielded %v, which was not written behind the floor, or twice", p)
		}
		delete(want, p.Origin)
		if p.Partition != acks[i].Partition || p.Position != acks[i].Position {
			t.Errorf("record %d: yielded at %s %s, acknowledged at %s %s", i, p.Partition, p.Position, acks[i].Partition, acks[i].Position)
		}
		if !p.Position.After(last[p.Partition]) {
			t.Errorf("record %d: yielded %s behind %s", i, p.Position, last[p.Partition])
		}
		last[p.Partition] = p.Position
		if byKey := recs[i].Partition == ""; byKey && string(p.Key) != string(recs[i].Key) || !byKey && p.Key != nil {
			t.Errorf("record %d: yielded with key %s, written with %s", i, show(p.Key), show(recs[i].Key))
		}
	}
	if len(want) > 0 {
		t.Errorf("%d of %d records were not yielded", len(want), len(recs))
	}
}

func testTail(t *env, s *sinkTest) {
	k := s.open(t)
	got, err := s.tail(t, k, bridge.Floor{})
	t.fatal(err, "tail of an empty stream")
	s.checkTail(t, got, nil, nil)
	recs, acks := s.writeTwo(t, k, 0, 40)
	got, err = s.tail(t, k, bridge.Floor{})
	t.fatal(err, "tail")
	s.checkTail(t, got, recs, acks)
	s.checkDigests(t, k.(bridge.Recoverable), got, recs)
}

// checkDigests: what Tail yields tells a record from another one that stands at its origin.
func (s *sinkTest) checkDigests(t *env, k bridge.Recoverable, got []bridge.Placed, recs []bridge.Record) {
	t.Helper()
	digests := map[bridge.Coordinate]uint64{}
	for _, p := range got {
		digests[p.Origin] = p.Digest
	}
	for i := range recs {
		want := digests[recs[i].Origin]
		if d := k.Digest(&recs[i]); want == 0 || d != want {
			t.Errorf("record %d: yielded with digest %x, it has %x", i, want, d)
		}
		other := recs[i]
		other.Value = append([]byte("another "), other.Value...)
		if k.Digest(&other) == want {
			t.Errorf("record %d: another value has its digest", i)
		}
		if other = recs[i]; other.Key != nil {
			other.Key = append([]byte("another "), other.Key...)
			if k.Digest(&other) == want {
				t.Errorf("record %d: another key has its digest", i)
			}
		}
	}
}

// testTailFloor: exactly what is behind the floor, and all of a partition that the floor
// does not name.
func testTailFloor(t *env, s *sinkTest) {
	k := s.open(t)
	recs, acks := s.writeTwo(t, k, 0, 30)
	for _, cut := range []int{0, 1, 17, 29} {
		// Of the first partition, by position and not by number: on Kinesis the two differ.
		at := acks[cut]
		floor := bridge.Floor{Partitions: map[string]bridge.Position{at.Partition: at.Position}}
		got, err := s.tail(t, k, floor)
		t.fatal(err, "tail")
		var behind []bridge.Record
		var places []bridge.Ack
		for i, a := range acks {
			if a.Partition != at.Partition || a.Position.After(at.Position) {
				behind, places = append(behind, recs[i]), append(places, a)
			}
		}
		s.checkTail(t, got, behind, places)
	}
}

// testTailWholeFloor: behind a floor that was taken when everything was acknowledged there
// is only what came later.
func testTailWholeFloor(t *env, s *sinkTest) {
	k := s.open(t)
	floor := bridge.Floor{Partitions: map[string]bridge.Position{}}
	_, acks := s.writeTwo(t, k, 0, 15)
	for _, a := range acks {
		if a.Position.After(floor.Partitions[a.Partition]) {
			floor.Partitions[a.Partition] = a.Position
		}
		if a.Log.After(floor.Log) {
			floor.Log = a.Log
		}
	}
	got, err := s.tail(t, k, floor)
	t.fatal(err, "tail behind everything")
	s.checkTail(t, got, nil, nil)
	recs, acks := s.writeTwo(t, k, 15, 9)
	young := s.open(t)
	got, err = s.tail(t, young, floor)
	t.fatal(err, "tail")
	s.checkTail(t, got, recs, acks)
}

func testTailOlder(t *env, s *sinkTest) {
	old := s.open(t)
	recs, acks := s.writeTwo(t, old, 0, 20)
	young := s.open(t)
	got, err := s.tail(t, young, bridge.Floor{})
	t.fatal(err, "tail")
	s.checkTail(t, got, recs, acks)
	more, moreAcks := s.writeTwo(t, young, 20, 10)
	youngest := s.open(t)
	got, err = s.tail(t, youngest, bridge.Floor{})
	t.fatal(err, "tail")
	s.checkTail(t, got, append(recs, more...), append(acks, moreAcks...))
}

// testTailProducers: what others put is none of the workflow's.
func testTailProducers(t *env, s *sinkTest) {
	k := s.open(t)
	p := t.partitions(k)[0]
	putAll(t, s.Put, p, s.h.Carries.make(p, 10))
	recs, acks := s.writeTwo(t, k, 0, 10)
	putAll(t, s.Put, p, s.h.Carries.make(p, 10))
	got, err := s.tail(t, k, bridge.Floor{})
	t.fatal(err, "tail")
	s.checkTail(t, got, recs, acks)
}

// testTailCopies: a record that a producer read and put again is not the mirror's, and
// moves nothing; if it was changed on the way it is not even marked as such.
func testTailCopies(t *env, s *sinkTest) {
	if s.Copy == nil {
		return
	}
	k := s.open(t)
	recs, acks := s.writeTwo(t, k, 0, 10)
	a := acks[3]
	t.fatal(s.Copy(t.ctx, a.Partition, a.Position, nil), "copy")
	t.fatal(s.Copy(t.ctx, a.Partition, a.Position, []byte("another value")), "copy")
	got, err := s.tail(t, k, bridge.Floor{})
	t.fatal(err, "tail")
	s.checkTail(t, got, recs, acks)

	src := s.Source(Workflow)
	list, _ := t.idle(t.open(src, a.Partition, bridge.Start{}), a.Partition)
	same, foreign := 0, 0
	for _, r := range list {
		if r.Origin == recs[3].Origin {
			same++
		}
		if r.Foreign {
			foreign++
			if !r.Origin.IsZero() || string(r.Value) != "another value" {
				t.Errorf("record %s is foreign and has origin %s", r.Position, r.Origin)
			}
		}
	}
	if same != 2 || foreign != 1 {
		t.Errorf("the origin was seen %d times, want it on the record and its identical copy; %d foreign records, want 1", same, foreign)
	}
}

// testTailEnds: Tail ends at what was there when it was called, whatever is written
// meanwhile.
func testTailEnds(t *env, s *sinkTest) {
	k := s.open(t)
	recs, acks := s.writeTwo(t, k, 0, 20)
	stop, stopped := make(chan struct{}), make(chan struct{})
	p := t.partitions(k)[0]
	go func() {
		defer close(stopped)
		for i := 0; i < 500; i++ {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := k.Write(t.ctx, s.make(p, 0, 100+i, 1)); err != nil {
				return
			}
		}
	}()
	got, err := s.tail(t, k, bridge.Floor{})
	close(stop)
	<-stopped
	t.fatal(err, "tail")
	got = slices.DeleteFunc(got, func(p bridge.Placed) bool {
		return !slices.ContainsFunc(recs, func(r bridge.Record) bool { return r.Origin == p.Origin })
	})
	s.checkTail(t, got, recs, acks)
}

// testTailStops: it can be broken off, and it ends with its context.
func testTailStops(t *env, s *sinkTest) {
	k := s.open(t)
	s.writeTwo(t, k, 0, 20)
	r, ok := k.(bridge.Recoverable)
	if !ok {
		t.Fatalf("%T is not a bridge.Recoverable", k)
	}
	n := 0
	for _, err := range r.Tail(t.ctx, bridge.Floor{}) {
		if err != nil && !bridge.Retryable(err) {
			t.Fatalf("tail: %v", err)
		}
		if n++; n == 3 {
			break
		}
	}
	ctx, cancel := context.WithCancel(t.ctx)
	cancel()
	var last error
	for _, err := range r.Tail(ctx, bridge.Floor{}) {
		last = err
	}
	if errors.Is(last, bridge.ErrGap) {
		t.Errorf("a tail that was cancelled says %v", last)
	}
	if last == nil {
		t.Errorf("a tail that was cancelled ended as if it had seen all")
	}
}

// testTailTrimmed: the range that must be looked at is gone.
func testTailTrimmed(t *env, s *sinkTest) {
	if s.Trim == nil {
		return
	}
	k := s.open(t)
	recs, acks := s.writeTwo(t, k, 0, 20)
	places := slices.Clone(acks)
	places = slices.DeleteFunc(places, func(a bridge.Ack) bool { return a.Partition != acks[0].Partition })
	slices.SortFunc(places, func(a, b bridge.Ack) int { return a.Position.Compare(b.Position) })
	cut := places[10]
	t.fatal(s.Trim(t.ctx, cut.Partition, cut.Position), "trim")

	low := bridge.Floor{Partitions: map[string]bridge.Position{cut.Partition: places[5].Position}}
	_, err := s.tail(t, k, low)
	var gap *bridge.GapError
	if !errors.As(err, &gap) || gap.Partition != cut.Partition {
		t.Errorf("tail behind a position that was trimmed: %v, want a gap", err)
	}
	high := bridge.Floor{Partitions: map[string]bridge.Position{cut.Partition: places[11].Position}}
	got, err := s.tail(t, k, high)
	t.fatal(err, "tail behind a position that is still there")
	var behind []bridge.Record
	var where []bridge.Ack
	for i, a := range acks {
		if a.Partition != cut.Partition || a.Position.After(places[11].Position) {
			behind, where = append(behind, recs[i]), append(where, a)
		}
	}
	s.checkTail(t, got, behind, where)
}

// testTailShorter: the target lost what it had acknowledged. A sink that can say where its
// partitions end compares that with a clean floor, too.
func testTailShorter(t *env, s *sinkTest) {
	if s.LoseTail == nil {
		return
	}
	k := s.open(t)
	_, acks := s.writeTwo(t, k, 0, 20)
	places := slices.DeleteFunc(slices.Clone(acks), func(a bridge.Ack) bool { return a.Partition != acks[0].Partition })
	slices.SortFunc(places, func(a, b bridge.Ack) int { return a.Position.Compare(b.Position) })
	t.fatal(s.LoseTail(t.ctx, places[0].Partition, places[10].Position), "lose the tail")
	_, ends := k.(bridge.Ender)
	for _, clean := range []bool{false, true} {
		if clean && !ends {
			continue
		}
		floor := bridge.Floor{Partitions: map[string]bridge.Position{places[0].Partition: places[15].Position}, Clean: clean}
		_, err := s.tail(t, k, floor)
		var gap *bridge.GapError
		if !errors.As(err, &gap) || gap.Partition != places[0].Partition {
			t.Errorf("tail of a target that ends before the floor, clean %t: %v, want a gap", clean, err)
		}
	}
}

// testOrigin: the workflow's own records are known as such when they are read, and to no
// other workflow.
func testOrigin(t *env, s *sinkTest) {
	if !s.h.Carries.Origin {
		return
	}
	k := s.open(t)
	p := t.partitions(k)[0]
	recs := s.make(p, 0, 0, 15)
	acks := s.write(t, k, recs)
	putAll(t, s.Put, p, s.h.Carries.make(p, 2))
	want := map[bridge.Position]bridge.Coordinate{}
	for i, a := range acks {
		want[a.Position] = recs[i].Origin
	}
	for _, workflow := range []string{Workflow, "somebody-else"} {
		r := t.open(s.Source(workflow), p.ID, bridge.Start{})
		for _, rec := range t.read(r, p.ID, 17) {
			w := want[rec.Position]
			if workflow != Workflow {
				w = bridge.Coordinate{}
			}
			if rec.Origin != w || rec.Foreign {
				t.Errorf("read for %s: record %s has origin %s, foreign %v; want %s", workflow, rec.Position, rec.Origin, rec.Foreign, w)
			}
		}
	}
}
