package bridgetest

import (
	"errors"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
)

// What can be tested only on a service whose clock can be moved. It keeps records for a day.

// testArrival: a record says when the service took it, by the service's clock, and so does a
// batch when it was answered.
func testArrival(t *env, s *sourceTest) {
	if s.Advance == nil {
		return
	}
	p := t.partitions(s.Source)[0]
	r := t.open(s.Source, p.ID, bridge.Start{})
	began := t.next(r, p.ID).Clock
	for hours := range 3 {
		s.put(t, p, 4)
		for n := 0; n < 4; {
			b := t.next(r, p.ID)
			n += len(b.Records)
			passed := time.Duration(hours) * time.Hour
			if d := b.Clock.Sub(began) - passed; d < 0 || d > Patience {
				t.Errorf("after %s the service's clock had moved by %s", passed, b.Clock.Sub(began))
			}
			for i := range b.Records {
				if d := b.Clock.Sub(b.Records[i].Arrived); d < -time.Second || d > Patience {
					t.Errorf("a record arrived at %s, and its batch was answered at %s", b.Records[i].Arrived, b.Clock)
				}
			}
		}
		s.Advance(time.Hour)
	}
}

// testExpiredUnderWay: what expired between two reads, however long ago the first one was, is
// reported and never skipped.
func testExpiredUnderWay(t *env, s *sourceTest) {
	if s.Advance == nil {
		return
	}
	for _, away := range []time.Duration{25 * time.Hour, 70 * time.Hour} {
		for _, atTip := range []bool{true, false} {
			p := t.partitions(s.Source)[0]
			start := bridge.Start{}
			r := t.open(s.Source, p.ID, start)
			old, _ := t.idle(r, p.ID)
			_, acks := s.put(t, p, 30)
			got := t.next(r, p.ID).Records
			if rest := []bridge.Record(nil); atTip {
				rest, _ = t.idle(r, p.ID)
				got = append(got, rest...)
			}
			_, unread := s.put(t, p, 12)
			acks = append(acks, unread...)
			s.Advance(away)
			s.put(t, p, 3)
			rest, err := t.readOn(r)
			got = append(got, rest...)
			var gap *bridge.GapError
			if !errors.As(err, &gap) {
				t.Errorf("away for %s, behind %d old records: %d records and then %v, want a gap", away, len(old), len(got), err)
			} else if n := len(got); n > 0 && gap.After != got[n-1].Position {
				t.Errorf("the gap is said to begin behind %s, the last record that was read stands at %s", gap.After, got[n-1].Position)
			}
			for i := range got {
				if got[i].Position != acks[i].Position {
					t.Fatalf("record %d stands at %s, want %s: skipped in silence", i, got[i].Position, acks[i].Position)
				}
			}
		}
	}
}

// testPause: a reader that was away for less than a day missed nothing, whatever its records
// have become meanwhile, and neither did one that was opened anew since.
func testPause(t *env, s *sourceTest) {
	if s.Advance == nil {
		return
	}
	p := t.partitions(s.Source)[0]
	r := t.open(s.Source, p.ID, bridge.Start{})
	for round := range 4 {
		for range 4 * (round % 2) { // days without a record
			s.Advance(20 * time.Hour)
			t.idle(r, p.ID)
		}
		recs, acks := s.put(t, p, 5)
		s.Advance(10 * time.Hour)
		got, _ := t.idle(r, p.ID)
		t.expect(s.carries, got, recs, acks)
	}
}
