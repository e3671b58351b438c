package verify

import (
	"context"
	"fmt"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
)

// A continuous run reads each record once, and what is lost behind its watermark would
// never be seen. So it reads all that it has judged again and again: a sweep is a run of
// its own, up to where this one has judged when the sweep begins. Its book is kept in this
// run's. It gives way to what is new, and says nothing of what has expired since.

// A sweepState is what a run keeps of its sweeps.
type sweepState struct {
	Sweep
	Book []byte // of the one at work; nil if there is none
}

// sweepStore keeps the book of a sweep within that of its run.
type sweepStore struct{ main *run }

func (s sweepStore) Load(context.Context) ([]byte, error) {
	s.main.mu.Lock()
	defer s.main.mu.Unlock()
	return s.main.Swept.Book, nil
}

func (s sweepStore) Save(_ context.Context, b []byte) error {
	s.main.mu.Lock()
	defer s.main.mu.Unlock()
	s.main.Swept.Book = b
	return nil
}

// sweeping sweeps from time to time, until ctx ends.
func (r *run) sweeping(ctx context.Context) error {
	for {
		if err := pause(ctx, r.untilSweep()); err != nil {
			return err
		}
		if err := r.giveWay(ctx); err != nil {
			return err
		}
		rows := r.judgedRows()
		if len(rows) == 0 {
			if err := pause(ctx, r.v.Settle); err != nil {
				return err
			}
			continue
		}
		if err := r.sweep(ctx, rows); err != nil {
			return err
		}
		r.tellJudged()
	}
}

// untilSweep is how long to wait for the next one.
func (r *run) untilSweep() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &r.Swept
	if !s.BeganAt.IsZero() { // it goes on where an earlier process left it
		return 0
	}
	last := r.StartedAt
	if s.EndedAt.After(last) {
		last = s.EndedAt
	}
	return time.Until(last.Add(r.v.SweepEvery))
}

// judgedRows is up to where each source partition is judged, those left out of which
// nothing is.
func (r *run) judgedRows() map[string]bridge.Row {
	r.mu.Lock()
	defer r.mu.Unlock()
	rows := map[string]bridge.Row{}
	for _, s := range r.Sources {
		for _, w := range s.Windows {
			if !w.Done {
				break
			}
			rows[s.ID] = bridge.Row{Partition: s.ID, Position: w.Through}
		}
	}
	return rows
}

// sweep reads what was judged once more, and tells what is found now and was not before.
func (r *run) sweep(ctx context.Context, rows map[string]bridge.Row) error {
	v := *r.v
	v.Continuous, v.Hooks, v.MaxSamples, v.Store = false, Hooks{}, maxFindings, sweepStore{r}
	v.Acknowledged = func(context.Context) (map[string]bridge.Row, error) { return rows, nil }
	if from := r.v.Expiry.horizon(time.Now()); from.After(v.Select.From) {
		v.Select.From = from // of what is older nothing can be told
	}
	again, err := v.begin(ctx)
	if err != nil {
		return fmt.Errorf("begin to read again: %w", err)
	}
	again.main = r
	r.mu.Lock()
	if r.Swept.BeganAt.IsZero() {
		r.Swept.BeganAt = again.StartedAt
	}
	r.again = again
	r.mu.Unlock()
	if err := again.once(ctx); err != nil {
		return fmt.Errorf("read again: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	records := int64(0)
	for _, s := range again.Sources {
		records += s.Records
	}
	for i := range again.Confirmed {
		r.foundAgain(again.Confirmed[i])
	}
	r.SourceGot += again.SourceGot
	r.TargetGot += again.TargetGot
	r.again = nil
	s := &r.Swept
	*s = sweepState{Sweep: Sweep{Rounds: s.Rounds + 1, Since: s.BeganAt, EndedAt: time.Now().UTC(), Records: records, Found: s.Found}}
	return nil
}

// foundAgain notes a difference that a sweep found, if it is none that was told before.
// Repeats are told by the run itself: what is appended comes past it. The lock is held.
func (r *run) foundAgain(f Finding) {
	if !differs(f.Class) || r.Told[toldOf(&f)] || len(r.Told) >= maxFindings {
		return
	}
	f.Reason = "it was right when it was first judged; found when it was read again"
	var w *window
	if s := r.sourceByID[f.Source.Partition]; s != nil {
		if i := s.find(f.Source.Position); i >= 0 && s.Windows[i].Done {
			w = s.Windows[i]
			w.Firsts.merge(f.change)
			w.Verdict, w.Reason = Inconsistent, ""
		}
	}
	r.Swept.Found++
	r.find(f, w)
}

// differs reports whether a class makes a run inconsistent.
func differs(c Class) bool {
	var one Findings
	one.add(c, 1)
	return one.bad() > 0
}

// tell reports whether a difference was not told before, and notes that it is by now. The
// lock is held.
func (r *run) tell(f *Finding) bool {
	if !differs(f.Class) || len(r.Told) >= maxFindings {
		return true
	}
	is := toldOf(f)
	if r.Told[is] {
		return false
	}
	r.Told[is] = true
	return true
}

// A told names a difference by what stays the same from look to look.
type told struct {
	class  Class
	source Place
	target spot
}

// toldOf is the hash of a told, so that many can be remembered.
func toldOf(f *Finding) uint64 {
	t := told{f.Class, Place{Partition: f.Source.Partition, Position: f.Source.Position}, spotOf(f.Target.Partition, f.Target.Position)}
	switch f.Class {
	case Extra:
		t.source = Place{} // whatever coordinate it claims
	case Missing:
		t.target = spot{}
	case Corrupt, Duplicate, Reordered, Misrouted, Rewind, Unread, Unverifiable:
	}
	return sum128(fmt.Appendf(nil, "%q", []string{
		string(t.class), t.source.Partition, t.source.Position.String(), t.target.Partition, t.target.Seq,
	})).Lo
}

// giveWay returns once the run reads what is new as it comes; a sweep waits so long.
func (r *run) giveWay(ctx context.Context) error {
	for !r.keepsUp() {
		if err := pause(ctx, max(r.v.Settle/20, 50*time.Millisecond)); err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

// keepsUp reports whether each partition was read not long ago, to its end or at most the
// settle time before it.
func (r *run) keepsUp() bool {
	most := max(r.v.Settle, leastBehind)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.Sources {
		if r.chosen(s) && !s.Done && s.pace.late(most) {
			return false
		}
	}
	for _, t := range r.Targets {
		// Shards are read no further than the ledger says.
		if r.v.Ledger == nil && !t.Done && t.pace.late(most) {
			return false
		}
	}
	return true
}
