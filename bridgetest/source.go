package bridgetest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
)

// A SourceHarness leads TestSource to an adapter and the server behind it.
type SourceHarness struct {
	Server string // whose gaps are in Known
	// New makes an empty stream of at least two partitions for one test. It ends with t.
	New     func(t testing.TB) SourceServer
	Carries Carries
	Known   []Gap
}

// A SourceServer is one stream.
type SourceServer struct {
	// Source reads it for the workflow Workflow.
	Source bridge.Source
	// Put is a producer that puts one record and returns when it is stored, and where. On
	// Kafka it goes to its Partition, on Kinesis where its Key leads.
	Put func(ctx context.Context, r bridge.Record) (bridge.Ack, error)
	// Split closes a shard and opens two in its place; nil if partitions never end.
	Split func(ctx context.Context, shard string) error
	// Begin opens a transaction, of the transactional id, that holds the record, which was
	// put to its Partition; end commits or aborts it. Nil if there are no transactions.
	Begin func(ctx context.Context, id string, r bridge.Record) (ack bridge.Ack, end func(commit bool) error, err error)
	// Advance moves the service's clock, by which records arrive and expire after 24 hours;
	// nil if it cannot be moved.
	Advance func(d time.Duration)
	Damage
}

// TestSource runs every test of the contract of a bridge.Source.
func TestSource(t *testing.T, h SourceHarness) {
	runParts(t, h.Server, h.Known, func(t testing.TB) *sourceTest {
		return &sourceTest{h.New(t), h.Carries}
	}, []part[*sourceTest]{
		{"identity", testIdentity},
		{"order", testOrder},
		{"resume", testResume},
		{"at", testAt},
		{"tip", testTip},
		{"ends", testEnds},
		{"open transaction", testOpenTransaction},
		{"end", testEnd},
		{"batch", testBatch},
		{"readers", testReaders},
		{"foreign position", testForeign},
		{"missing partition", testMissingPartition},
		{"cancel", testCancel},
		{"gap", testGap},
		{"gap under way", testGapUnderWay},
		{"beginning", testBeginning},
		{"beginning that is gone", testBeginningGone},
		{"beginning that expired", testBeginningExpired},
		{"beginning about to expire", testBeginningAtTheEdge},
		{"idle", testIdle},
		{"arrival", testArrival},
		{"expired under way", testExpiredUnderWay},
		{"pause", testPause},
	})
}

type sourceTest struct {
	SourceServer
	carries Carries
}

// put puts n records into a partition, one after the other.
func (s *sourceTest) put(t *env, p bridge.Partition, n int) ([]bridge.Record, []bridge.Ack) {
	t.Helper()
	recs := s.carries.make(p, n)
	return recs, putAll(t, s.Put, p, recs)
}

func putAll(t *env, put func(context.Context, bridge.Record) (bridge.Ack, error), p bridge.Partition, recs []bridge.Record) []bridge.Ack {
	t.Helper()
	acks := make([]bridge.Ack, len(recs))
	for i := range recs {
		acks[i] = retry(t, "put", func() (bridge.Ack, error) { return put(t.ctx, recs[i]) })
		if acks[i].Partition != p.ID {
			t.Fatalf("record %d was put into partition %s, not %s", i, acks[i].Partition, p.ID)
		}
	}
	return acks
}

func testIdentity(t *env, s *sourceTest) {
	id := retry(t, "identify", func() (bridge.Identity, error) { return s.Source.Identity(t.ctx) })
	again := retry(t, "identify", func() (bridge.Identity, error) { return s.Source.Identity(t.ctx) })
	if id.Name == "" || id.Incarnation == "" || id != again {
		t.Errorf("identity %q, then %q: want the same, with name and incarnation", id, again)
	}
	seen := map[string]bool{}
	for _, p := range t.partitions(s.Source) {
		if p.ID == "" || seen[p.ID] {
			t.Errorf("partition %q is listed twice or has no name", p.ID)
		}
		seen[p.ID] = true
		if (p.FirstHash == "") != (p.LastHash == "") {
			t.Errorf("partition %s: hash keys %q to %q", p.ID, p.FirstHash, p.LastHash)
		}
	}
	if len(seen) < 2 {
		t.Errorf("%d partitions, the harness promises two", len(seen))
	}
}

func testOrder(t *env, s *sourceTest) {
	for _, p := range t.partitions(s.Source)[:2] {
		recs, acks := s.put(t, p, 120)
		got := t.read(t.open(s.Source, p.ID, bridge.Start{}), p.ID, len(recs))
		t.expect(s.carries, got, recs, acks)
		for i := range got {
			if !got[i].Origin.IsZero() || got[i].Foreign {
				t.Errorf("record %d of a producer has origin %v, foreign %v", i, got[i].Origin, got[i].Foreign)
			}
		}
	}
}

func testResume(t *env, s *sourceTest) {
	p := t.partitions(s.Source)[0]
	recs, acks := s.put(t, p, 30)
	for _, k := range []int{0, 1, 13, 28} {
		r := t.open(s.Source, p.ID, bridge.Start{After: acks[k].Position, At: time.Now()})
		t.expect(s.carries, t.read(r, p.ID, len(recs)-k-1), recs[k+1:], acks[k+1:])
	}
	// Where a batch ended is as good a place as where a record stands.
	r := t.open(s.Source, p.ID, bridge.Start{})
	n := 0
	for n < len(recs) {
		b := t.next(r, p.ID)
		if n += len(b.Records); b.Through.IsZero() {
			continue
		}
		rest := t.read(t.open(s.Source, p.ID, bridge.Start{After: b.Through}), p.ID, len(recs)-n)
		t.expect(s.carries, rest, recs[n:], acks[n:])
	}
	// Behind the last record there is nothing, until there is.
	last := acks[len(acks)-1].Position
	r = t.open(s.Source, p.ID, bridge.Start{After: last})
	if got, through := t.idle(r, p.ID); len(got) != 0 || last.After(through) {
		t.Errorf("behind the last record, %s: %d records through %s", last, len(got), through)
	}
	more, moreAcks := s.put(t, p, 1)
	t.expect(s.carries, t.read(r, p.ID, 1), more, moreAcks)
}

// testAt: reading begins at the first record of that time or later, wherever it stands.
func testAt(t *env, s *sourceTest) {
	p := t.partitions(s.Source)[0]
	var recs []bridge.Record
	var acks []bridge.Ack
	// Where the stream sets the time itself, some of it must pass between the records.
	for pause := 2 * time.Millisecond; ; pause *= 2 {
		more, moreAcks := s.put(t, p, 8)
		recs, acks = append(recs, more...), append(acks, moreAcks...)
		if len(recs) == 40 {
			break
		}
		t.fatal(t.pause(pause), "wait for time to pass")
	}
	all := t.read(t.open(s.Source, p.ID, bridge.Start{}), p.ID, len(recs))
	for _, k := range []int{0, 7, 12, 20, len(all) - 1} {
		at := all[k].Time
		first := slices.IndexFunc(all, func(r bridge.Record) bool { return !r.Time.Before(at) })
		if k == len(all)-1 && first == 0 {
			t.Fatalf("all records have the time %v, though time passed between them", at)
		}
		got := t.read(t.open(s.Source, p.ID, bridge.Start{At: at}), p.ID, len(recs)-first)
		t.expect(s.carries, got, recs[first:], acks[first:])
	}
	early := t.read(t.open(s.Source, p.ID, bridge.Start{At: all[0].Time.Add(-time.Minute)}), p.ID, len(recs))
	t.expect(s.carries, early, recs, acks)
}

// testTip: a reader that has all says so, keeps returning, and sees what comes later.
func testTip(t *env, s *sourceTest) {
	p := t.partitions(s.Source)[0]
	r := t.open(s.Source, p.ID, bridge.Start{})
	for round := range 4 {
		if got, _ := t.idle(r, p.ID); len(got) != 0 {
			t.Fatalf("round %d: %d records that nobody put", round, len(got))
		}
		recs, acks := s.put(t, p, 3)
		got := t.read(r, p.ID, 3)
		t.expect(s.carries, got, recs, acks)
		if _, through := t.idle(r, p.ID); acks[2].Position.After(through) {
			t.Errorf("round %d: seen through %s, the last record is at %s", round, through, acks[2].Position)
		}
	}
	began := time.Now()
	t.next(r, p.ID)
	if d := time.Since(began); d > 15*time.Second {
		t.Errorf("a read of an idle partition took %s", d)
	}
}

func testEnds(t *env, s *sourceTest) {
	ender, ok := s.Source.(bridge.Ender)
	if !ok {
		return
	}
	parts := t.partitions(s.Source)
	_, acks := s.put(t, parts[0], 10)
	last := acks[len(acks)-1].Position
	ends := retry(t, "ends", func() (map[string]bridge.Position, error) { return ender.Ends(t.ctx) })
	if len(ends) != len(parts) {
		t.Errorf("ends of %d partitions, there are %d", len(ends), len(parts))
	}
	if last.After(ends[parts[0].ID]) {
		t.Errorf("partition %s ends at %s, its last record is at %s", parts[0].ID, ends[parts[0].ID], last)
	}
	for _, p := range parts {
		if _, through := t.idle(t.open(s.Source, p.ID, bridge.Start{}), p.ID); ends[p.ID].After(through) {
			t.Errorf("partition %s ends at %s, but reading it gets no further than %s", p.ID, ends[p.ID], through)
		}
	}
}

// testOpenTransaction: what stands behind the first record of an open transaction is there,
// but cannot be read, and the reader says both.
func testOpenTransaction(t *env, s *sourceTest) {
	if s.Begin == nil {
		return
	}
	p := t.partitions(s.Source)[0]
	for i, commit := range []bool{true, false} {
		before, _ := s.put(t, p, 3)
		r := t.open(s.Source, p.ID, bridge.Start{After: s.endOf(t, p)})
		inside := s.carries.make(p, 1)[0]
		id := []string{"first", "second"}[i]
		var end func(bool) error
		ack := retry(t, "begin", func() (ack bridge.Ack, err error) {
			ack, end, err = s.Begin(t.ctx, id, inside)
			return ack, err
		})
		plain, acks := s.put(t, p, len(before))
		last := acks[len(acks)-1].Position
		if end := s.endOf(t, p); last.After(end) {
			t.Errorf("partition %s ends at %s, its last record, which cannot be read yet, is at %s", p.ID, end, last)
		}
		b := t.next(r, p.ID)
		for n := 0; b.Open == nil && n < 1000; n++ {
			b = t.next(r, p.ID)
			if b.Behind == 0 {
				t.Fatalf("a reader behind an open transaction says that nothing more is there")
			}
		}
		switch o := b.Open; {
		case o == nil:
			t.Fatalf("the reader does not say that a transaction is open")
		case o.Partition != p.ID || o.First != ack.Position || o.ID != id || o.Since.IsZero():
			t.Errorf("open transaction %+v, want %s of partition %s from %s on", *o, id, p.ID, ack.Position)
		}
		if len(b.Records) > 0 || b.Behind == 0 || !ack.Position.After(b.Through) || last.After(b.End) {
			t.Errorf("behind an open transaction: %d records through %s of %s, %s behind", len(b.Records), b.Through, b.End, b.Behind)
		}
		t.fatal(end(commit), "end the transaction")
		if commit {
			plain, acks = append([]bridge.Record{inside}, plain...), append([]bridge.Ack{ack}, acks...)
		}
		t.expect(s.carries, t.read(r, p.ID, len(plain)), plain, acks)
		if _, through := t.idle(r, p.ID); s.endOf(t, p).After(through) {
			t.Errorf("partition %s ends at %s, but reading it gets no further than %s", p.ID, s.endOf(t, p), through)
		}
	}
}

// endOf asks where a partition ends.
func (s *sourceTest) endOf(t *env, p bridge.Partition) bridge.Position {
	t.Helper()
	return retry(t, "ends", func() (map[string]bridge.Position, error) { return s.Source.(bridge.Ender).Ends(t.ctx) })[p.ID]
}

// testEnd: a shard that was split ends, once, behind its last record.
func testEnd(t *env, s *sourceTest) {
	if s.Split == nil {
		return
	}
	p := t.partitions(s.Source)[0]
	recs, acks := s.put(t, p, 25)
	before := t.open(s.Source, p.ID, bridge.Start{})
	t.next(before, p.ID)
	_ = retry(t, "split", func() (struct{}, error) { return struct{}{}, s.Split(t.ctx, p.ID) })
	for i, skip := range []int{0, 12, 25} {
		from := bridge.Start{}
		if skip > 0 {
			from.After = acks[skip-1].Position
		}
		got := t.toEnd(t.open(s.Source, p.ID, from), p.ID)
		t.expect(s.carries, got, recs[skip:], acks[skip:])
		if i == 0 {
			t.toEnd(before, p.ID)
		}
	}
	s.checkChildren(t, p)
}

// toEnd reads until the partition ends.
func (t *env) toEnd(r bridge.Reader, partition string) (all []bridge.Record) {
	t.Helper()
	for {
		b := t.next(r, partition)
		all = append(all, b.Records...)
		if b.Ended {
			return all
		}
	}
}

// checkChildren: the split shard is listed as closed, before its children, which name it.
func (s *sourceTest) checkChildren(t *env, parent bridge.Partition) {
	list := retry(t, "list the partitions", func() ([]bridge.Partition, error) { return s.Source.Partitions(t.ctx) })
	at := slices.IndexFunc(list, func(p bridge.Partition) bool { return p.ID == parent.ID })
	if at < 0 || !list[at].Closed {
		t.Fatalf("the split shard is not listed as closed: %+v", list)
	}
	children := 0
	for i, p := range list {
		if !slices.Contains(p.Parents, parent.ID) {
			continue
		}
		children++
		if i < at || p.Closed {
			t.Errorf("child %s is listed before its parent, or closed", p.ID)
		}
		recs, acks := s.put(t, p, 5)
		t.expect(s.carries, t.read(t.open(s.Source, p.ID, bridge.Start{}), p.ID, 5), recs, acks)
	}
	if children != 2 {
		t.Errorf("%d children of %s, want 2", children, parent.ID)
	}
}

// testBatch: what a caller does with a batch is its own affair.
func testBatch(t *env, s *sourceTest) {
	p := t.partitions(s.Source)[0]
	recs, acks := s.put(t, p, 40)
	r := t.open(s.Source, p.ID, bridge.Start{})
	for n := 0; n < len(recs); {
		b := t.next(r, p.ID)
		n += len(b.Records)
		for i := range b.Records {
			b.Records[i] = bridge.Record{Partition: "overwritten"}
		}
		_ = append(b.Records[:0], make([]bridge.Record, len(b.Records))...)
	}
	t.expect(s.carries, t.read(t.open(s.Source, p.ID, bridge.Start{}), p.ID, len(recs)), recs, acks)
}

// testReaders: readers of one partition and of several know nothing of each other.
func testReaders(t *env, s *sourceTest) {
	parts := t.partitions(s.Source)[:2]
	var wg sync.WaitGroup
	for _, p := range parts {
		recs, acks := s.put(t, p, 30)
		for range 2 {
			r := t.open(s.Source, p.ID, bridge.Start{})
			wg.Go(func() {
				var got []bridge.Record
				for len(got) < len(recs) {
					b, err := try(t, func() (bridge.Batch, error) { return r.Read(t.ctx) })
					if err != nil {
						t.Errorf("read partition %s: %v", p.ID, err)
						return
					}
					got = append(got, b.Records...)
				}
				for i := range got {
					if got[i].Position != acks[i].Position {
						t.Errorf("partition %s, record %d: at %s, want %s", p.ID, i, got[i].Position, acks[i].Position)
						return
					}
				}
			})
		}
	}
	wg.Wait()
}

// testForeign: a position that cannot be one of this partition is refused.
func testForeign(t *env, s *sourceTest) {
	parts := t.partitions(s.Source)
	_, acks := s.put(t, parts[0], 3)
	_, other := s.put(t, parts[1], 3)
	positions := []bridge.Position{
		{Seq: "49590338271490256608559692538361571095921575989136588898"},
		{Seq: "99999999999999999999999999999999999999999999999999999999"},
	}
	if parts[0].FirstHash != "" { // two partitions of Kafka have the same offsets
		positions = []bridge.Position{{Seq: "7"}, other[0].Position}
	}
	for _, at := range positions {
		r, err := try(t, func() (bridge.Reader, error) { return s.Source.Open(t.ctx, parts[0].ID, bridge.Start{After: at}) })
		if err == nil {
			_, err = try(t, func() (bridge.Batch, error) { return r.Read(t.ctx) })
			_ = r.Close()
		}
		if !errors.Is(err, bridge.ErrForeignPosition) && !errors.Is(err, bridge.ErrGap) {
			t.Errorf("open partition %s, whose first record is at %s, behind %s: got %v, want ErrForeignPosition or a gap",
				parts[0].ID, acks[0].Position, at, err)
		}
	}
}

func testMissingPartition(t *env, s *sourceTest) {
	name := "4711"
	if t.partitions(s.Source)[0].FirstHash != "" {
		name = "shardId-000000004711"
	}
	r, err := try(t, func() (bridge.Reader, error) { return s.Source.Open(t.ctx, name, bridge.Start{}) })
	if err == nil {
		_, err = try(t, func() (bridge.Batch, error) { return r.Read(t.ctx) })
		_ = r.Close()
	}
	if err == nil || bridge.Retryable(err) || t.ctx.Err() != nil {
		t.Errorf("open partition %s, which does not exist: got %v", name, err)
	}
}

// testCancel: a read ends with its context, and what it would have read is still there.
func testCancel(t *env, s *sourceTest) {
	p := t.partitions(s.Source)[0]
	r := t.open(s.Source, p.ID, bridge.Start{})
	t.idle(r, p.ID)
	ctx, cancel := context.WithCancel(t.ctx)
	done := make(chan error, 1)
	go func() {
		for {
			if _, err := r.Read(ctx); err != nil && !bridge.Retryable(err) || ctx.Err() != nil {
				done <- err
				return
			}
		}
	}()
	cancel()
	if err := <-done; errors.Is(err, bridge.ErrGap) {
		t.Errorf("a read that was cancelled says %v", err)
	}
	recs, acks := s.put(t, p, 2)
	t.expect(s.carries, t.read(t.open(s.Source, p.ID, bridge.Start{}), p.ID, 2), recs, acks)
}

// testGap: what is gone is reported, wherever reading begins, and nothing else is.
func testGap(t *env, s *sourceTest) {
	if s.Trim == nil {
		return
	}
	p := t.partitions(s.Source)[0]
	recs, acks := s.put(t, p, 20)
	t.fatal(s.Trim(t.ctx, p.ID, acks[9].Position), "trim")
	for _, tip := range []time.Time{{}, time.Now().AddDate(-10, 0, 0)} {
		for _, k := range []int{0, 4, 8} {
			from := bridge.Start{After: acks[k].Position, Tip: tip}
			gap, got := t.gapOf(s.Source, p.ID, from)
			if gap == nil {
				t.Errorf("behind record %d of 20, after 10 were trimmed: %d records and no gap", k, len(got))
				continue
			}
			if len(got) > 0 || gap.Partition != p.ID || gap.After != from.After || gap.Reason == "" {
				t.Errorf("gap %+v after %d records", *gap, len(got))
			}
			if !gap.Before.IsZero() && gap.Before.After(acks[10].Position) {
				t.Errorf("the gap ends at %s, but %s is still there", gap.Before, acks[10].Position)
			}
		}
	}
	// From the beginning, or from the last record that is gone if it is known that nothing
	// else was there, nothing is missing.
	t.expect(s.carries, t.read(t.open(s.Source, p.ID, bridge.Start{}), p.ID, 10), recs[10:], acks[10:])
	from := bridge.Start{After: acks[9].Position, Tip: time.Now()}
	t.expect(s.carries, t.read(t.open(s.Source, p.ID, from), p.ID, 10), recs[10:], acks[10:])
}

// begin asks where a partition begins.
func (s *sourceTest) begin(t *env, p bridge.Partition, at time.Time) bridge.Start {
	t.Helper()
	return retry(t, "begin", func() (bridge.Start, error) {
		first, tip, err := s.Source.Begin(t.ctx, p.ID, at)
		if err == nil && first.IsZero() == tip.IsZero() {
			t.Fatalf("a partition begins at %s, and held nothing at %s: want one of the two", first, tip)
		}
		return bridge.Start{At: at, First: first, Tip: tip}, err
	})
}

// testBeginning: reading begins where Begin said, also once there is more.
func testBeginning(t *env, s *sourceTest) {
	p := t.partitions(s.Source)[0]
	empty := s.begin(t, p, time.Time{})
	recs, acks := s.put(t, p, 10)
	t.expect(s.carries, t.read(t.open(s.Source, p.ID, empty), p.ID, 10), recs, acks)
	all := s.begin(t, p, time.Time{})
	more, later := s.put(t, p, 5)
	recs, acks = append(recs, more...), append(acks, later...)
	t.expect(s.carries, t.read(t.open(s.Source, p.ID, all), p.ID, 15), recs, acks)
	// Behind a position the beginning counts no more.
	all.After = acks[7].Position
	t.expect(s.carries, t.read(t.open(s.Source, p.ID, all), p.ID, 7), recs[8:], acks[8:])
}

// testBeginningGone: that the first record is no longer kept is a gap, and one that went
// before Begin is not.
func testBeginningGone(t *env, s *sourceTest) {
	if s.Trim == nil {
		return
	}
	p := t.partitions(s.Source)[0]
	recs, acks := s.put(t, p, 20)
	all := s.begin(t, p, time.Time{})
	t.fatal(s.Trim(t.ctx, p.ID, acks[4].Position), "trim")
	gap, got := t.gapOf(s.Source, p.ID, all)
	if gap == nil || len(got) > 0 || gap.Partition != p.ID || gap.Reason == "" {
		t.Errorf("the first 5 of 20 records are gone: %d records and the gap %v", len(got), gap)
	}
	rest := s.begin(t, p, time.Time{})
	t.expect(s.carries, t.read(t.open(s.Source, p.ID, rest), p.ID, 15), recs[5:], acks[5:])
	t.fatal(s.Trim(t.ctx, p.ID, acks[19].Position), "trim")
	if gap, got := t.gapOf(s.Source, p.ID, rest); gap == nil || len(got) > 0 {
		t.Errorf("all of 15 records are gone: %d records and the gap %v", len(got), gap)
	}
}

// testBeginningExpired: what came to a partition that held nothing may expire, too.
func testBeginningExpired(t *env, s *sourceTest) {
	if s.Advance == nil {
		return
	}
	p := t.partitions(s.Source)[0]
	empty := s.begin(t, p, time.Time{})
	recs, acks := s.put(t, p, 5)
	s.Advance(20 * time.Hour)
	t.expect(s.carries, t.read(t.open(s.Source, p.ID, empty), p.ID, 5), recs, acks)
	s.Advance(5 * time.Hour)
	s.put(t, p, 5)
	if gap, got := t.gapOf(s.Source, p.ID, empty); gap == nil || len(got) > 0 {
		t.Errorf("5 of 10 records expired since the partition held nothing: %d records and the gap %v", len(got), gap)
	}
}

// testBeginningAtTheEdge: what expires within minutes is read while it is there, and no gap
// once it is not.
func testBeginningAtTheEdge(t *env, s *sourceTest) {
	if s.Advance == nil {
		return
	}
	p := t.partitions(s.Source)[0]
	recs, acks := s.put(t, p, 5)
	s.Advance(24*time.Hour - 5*time.Minute)
	old := s.begin(t, p, time.Time{})
	more, later := s.put(t, p, 5)
	recs, acks = append(recs, more...), append(acks, later...)
	all := s.begin(t, p, time.Time{})
	t.expect(s.carries, t.read(t.open(s.Source, p.ID, old), p.ID, 10), recs, acks)
	t.expect(s.carries, t.read(t.open(s.Source, p.ID, all), p.ID, 10), recs, acks)
	s.Advance(6 * time.Minute)
	t.expect(s.carries, t.read(t.open(s.Source, p.ID, old), p.ID, 5), recs[5:], acks[5:])
	t.expect(s.carries, t.read(t.open(s.Source, p.ID, all), p.ID, 5), recs[5:], acks[5:])
}

// testGapUnderWay: a reader that retention overtakes says so, or had read it all before.
func testGapUnderWay(t *env, s *sourceTest) {
	if s.Trim == nil {
		return
	}
	p := t.partitions(s.Source)[0]
	_, acks := s.put(t, p, 30)
	r := t.open(s.Source, p.ID, bridge.Start{})
	var got []bridge.Record
	for len(got) == 0 {
		got = append(got, t.next(r, p.ID).Records...)
	}
	t.fatal(s.Trim(t.ctx, p.ID, acks[25].Position), "trim")
	rest, err := t.readOn(r)
	got = append(got, rest...)
	for i := range got {
		if got[i].Position != acks[i].Position {
			t.Fatalf("record %d stands at %s, want %s: skipped in silence", i, got[i].Position, acks[i].Position)
		}
	}
	if len(got) < len(acks) && !errors.Is(err, bridge.ErrGap) {
		t.Errorf("%d of %d records and then %v, want a gap", len(got), len(acks), err)
	}
}

// testIdle: a partition that was seen empty a moment ago lost nothing when its last
// record expired.
func testIdle(t *env, s *sourceTest) {
	if s.Trim == nil {
		return
	}
	p := t.partitions(s.Source)[0]
	_, acks := s.put(t, p, 6)
	last := acks[5].Position
	_, through := t.idle(t.open(s.Source, p.ID, bridge.Start{}), p.ID)
	t.fatal(s.Trim(t.ctx, p.ID, last), "trim")
	r := t.open(s.Source, p.ID, bridge.Start{After: through, Tip: time.Now()})
	if got, _ := t.idle(r, p.ID); len(got) != 0 {
		t.Errorf("%d records from an empty partition", len(got))
	}
	recs, more := s.put(t, p, 4)
	t.expect(s.carries, t.read(r, p.ID, 4), recs, more)
}
