package verify

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kinesis-msk-bridge/bridge"
)

// A Beyond says what a source held when a run began that the mirror had not acknowledged:
// the records behind the end of the scope.
type Beyond struct {
	// Known is false if the source was not asked: a run with its own range, or one of an
	// earlier version.
	Known bool `json:"known"`
	// Records is how many there are, as Count says.
	Records int64  `json:"records,string"`
	Count   string `json:"count"`
	// Partitions hold them. Unseen counts those of which the mirror has no checkpoint.
	Partitions int `json:"partitions"`
	Unseen     int `json:"partitions_not_seen"`
	// Behind is how old the oldest of them was, by the service's clock; zero if that is
	// not known.
	Behind time.Duration `json:"behind_ns"`
	// Explained: the mirror has acknowledged all of them since, never pausing for Lag.
	Explained bool          `json:"explained_by_lag"`
	Lag       time.Duration `json:"lag_ns"`
	// Parts are the partitions, in the order of the source.
	Parts []BeyondPart `json:"list,omitempty"`
}

// A BeyondPart is what lies beyond the scope in one partition.
type BeyondPart struct {
	Partition string          `json:"partition"`
	After     bridge.Position `json:"after"` // the mirror has acknowledged all up to here
	Last      bridge.Position `json:"last"`  // of the last record counted
	Seen      bool            `json:"seen"`  // the mirror has a checkpoint of it
	Records   int64           `json:"records,string"`
	Count     string          `json:"count"`
	Behind    time.Duration   `json:"behind_ns"`
	// Reason says why not all of it could be counted.
	Reason string `json:"reason,omitempty"`
}

// How the records beyond a scope were counted.
const (
	CountExact   = "exact"
	CountAbout   = "about"    // from offsets
	CountAtLeast = "at least" // counting ended before the end of the source
)

// Word goes before a number of records that were counted so: "", "about " or "at least ".
func Word(count string) string {
	switch count {
	case CountExact:
		return ""
	case CountAbout:
		return "about "
	}
	return "at least "
}

// A Survey asks a source what it holds behind what a mirror has acknowledged. It counts by
// reading, for as long as Budget.
type Survey struct {
	Source bridge.Source
	// Rows is how far the mirror is, by partition. A partition without a row was never
	// mirrored.
	Rows map[string]bridge.Row
	// Start is when the workflow began to read, zero for everything that there was.
	Start time.Time
	// Chosen reports whether a partition is looked at; nil chooses all.
	Chosen   func(partition string) bool
	Budget   time.Duration // 30 s if zero
	Parallel int           // partitions read at a time; 16 if zero
	// Patience is how long an open transaction is waited for.
	Patience time.Duration

	ends  map[string]bridge.Position // nil if the source cannot say
	began time.Time
}

// Look asks the source for its partitions and their ends, and counts.
func (s Survey) Look(ctx context.Context) (Beyond, error) {
	setDuration(&s.Budget, 30*time.Second)
	setInt(&s.Parallel, 16)
	s.began = time.Now()
	parts, err := askFor(ctx, s.Budget, "the list of the source", s.Source.Partitions)
	if err != nil {
		return Beyond{}, fmt.Errorf("list the source: %w", err)
	}
	if e, ok := s.Source.(bridge.Ender); ok {
		if s.ends, err = askFor(ctx, s.Budget, "the end of the source", e.Ends); err != nil {
			return Beyond{}, fmt.Errorf("ask for the end of the source: %w", err)
		}
	}
	found := make([]BeyondPart, len(parts))
	var group errgroup.Group
	group.SetLimit(s.Parallel)
	for i, p := range parts {
		if s.Chosen == nil || s.Chosen(p.ID) {
			group.Go(func() error { found[i] = s.part(ctx, p.ID); return nil })
		}
	}
	if err := errors.Join(group.Wait(), context.Cause(ctx)); err != nil {
		return Beyond{}, err
	}
	return beyondOf(found), nil
}

// beyondOf adds up partitions, those left out that hold nothing beyond the scope.
func beyondOf(parts []BeyondPart) Beyond {
	b := Beyond{Known: true, Count: CountExact}
	for _, p := range parts {
		if p.Records == 0 && p.Reason == "" {
			continue
		}
		b.Parts = append(b.Parts, p)
		b.Records += p.Records
		b.Partitions++
		if !p.Seen {
			b.Unseen++
		}
		b.Behind = max(b.Behind, p.Behind)
		if p.Count == CountAtLeast || p.Count == CountAbout && b.Count == CountExact {
			b.Count = p.Count
		}
	}
	return b
}

// part counts what one partition holds. A fault is a reason and ends no survey.
func (s *Survey) part(ctx context.Context, id string) BeyondPart {
	row, seen := s.Rows[id]
	p := BeyondPart{Partition: id, After: row.Position, Seen: seen, Count: CountExact}
	end, offsets := s.ends[id]
	if row.Ended || offsets && !end.After(row.Position) {
		return p
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.Budget, fmt.Errorf("no answer within %s: %w", s.Budget, bridge.ErrTransient))
	defer cancel()
	if err := s.count(ctx, &p, row, end); err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			err = context.Cause(ctx)
		}
		p.Count = CountAtLeast
		at := p.Last
		if at.IsZero() {
			at = p.After
		}
		last, err1 := end.Offset()
		through, err2 := at.Offset()
		switch {
		case offsets && err1 == nil && err2 == nil:
			p.Count, p.Records = CountAbout, p.Records+max(last-through, 0)
			p.Last = end
		case ctx.Err() == nil || p.Records == 0:
			p.Reason = "what it holds behind the mirror's checkpoint could not be counted: " + err.Error()
		}
		var open *openedError
		if errors.As(err, &open) {
			p.Reason = open.Error()
		}
		if errors.Is(err, bridge.ErrGap) || errors.Is(err, bridge.ErrMissing) {
			p.Reason = err.Error()
		}
	}
	return p
}

// count reads behind the mirror's checkpoint up to what the partition held when the survey
// began.
func (s *Survey) count(ctx context.Context, p *BeyondPart, row bridge.Row, end bridge.Position) error {
	start := bridge.Start{After: row.Position, First: row.First, Tip: row.Tip, Batch: row.Batch}
	if row.Position.IsZero() {
		start.At = s.Start
	}
	what := "source " + p.Partition
	reader, err := askFor(ctx, s.Budget, what, func(ctx context.Context) (bridge.Reader, error) { return s.Source.Open(ctx, p.Partition, start) })
	if err != nil {
		return err
	}
	var open error
	for {
		b, err := askFor(ctx, s.Budget, what, reader.Read)
		if err != nil {
			return errors.Join(open, err, reader.Close())
		}
		if open = nil; b.Open != nil {
			open = openError(b.Open)
		}
		over := s.add(p, &b, end)
		switch {
		case over:
			return reader.Close()
		case b.Open != nil && len(b.Records) == 0 && time.Since(s.began) >= s.Patience:
			return errors.Join(open, reader.Close())
		}
	}
}

// add counts the records of a page, and reports whether it reaches what the partition held when the
// survey began.
func (s *Survey) add(p *BeyondPart, b *bridge.Batch, end bridge.Position) (over bool) {
	for i := range b.Records {
		rec := &b.Records[i]
		if !end.IsZero() && rec.Position.After(end) || arrivedBehind(rec, b, s.began) {
			return true
		}
		if p.Records == 0 && !rec.Arrived.IsZero() && !b.Clock.IsZero() {
			p.Behind = max(b.Clock.Sub(rec.Arrived), 0)
		}
		p.Records++
		p.Last = rec.Position.Clone()
	}
	return b.Ended || end.IsZero() && b.Behind == 0 || !end.IsZero() && !end.After(b.Through)
}

// clockStep is how coarse a service may tell its clock: HTTP dates are whole seconds.
const clockStep = time.Second

// arrivedBehind reports whether a record of a page is known to have arrived after a moment
// of this machine's clock. Arrival and page are compared by the service's clock; of this
// machine's only the time between the moment and the question counts. It is false if the
// service told no time.
func arrivedBehind(rec *bridge.Record, b *bridge.Batch, moment time.Time) bool {
	if rec.Arrived.IsZero() || b.Clock.IsZero() || b.Asked.IsZero() || moment.IsZero() {
		return false
	}
	return rec.Arrived.After(b.Clock.Add(clockStep - b.Asked.Sub(moment)))
}

// arrival is when a record arrived; if the service does not say, its own time.
func arrival(rec *bridge.Record) time.Time {
	if !rec.Arrived.IsZero() {
		return rec.Arrived
	}
	return rec.Time
}

// An openedError says that an open transaction keeps records from being read.
type openedError struct{ *bridge.OpenTransaction }

func openError(o *bridge.OpenTransaction) error { return &openedError{o} }

func (e *openedError) Unwrap() error { return bridge.ErrRefused }

func (e *openedError) Error() string {
	o := e.OpenTransaction
	who := fmt.Sprintf("producer id %d", o.Producer)
	if o.ID != "" {
		who = fmt.Sprintf("transactional id %q", o.ID)
	}
	if !o.Since.IsZero() {
		who += fmt.Sprintf(", open for %s", max(time.Since(o.Since), 0).Round(time.Second))
	}
	return fmt.Sprintf("an open transaction keeps the records behind it from being read (%s, first record at %s)", who, o.First)
}

// surveyed notes, once a run, what lies beyond its scope.
func (r *run) survey(ctx context.Context) error {
	v := r.v
	rows := r.toSurvey()
	if rows == nil {
		return nil
	}
	found, err := Survey{
		Source: v.Source, Rows: rows, Start: v.from(), Budget: min(v.SurveyFor, v.Stall), Parallel: v.Parallel, Patience: v.Settle,
		Chosen: func(id string) bool { return r.chosen(&sourcePart{ID: id}) },
	}.Look(ctx)
	if err != nil && (ctx.Err() != nil || final(err)) {
		return err
	}
	if err != nil {
		found = beyondOf([]BeyondPart{{Partition: "*", Seen: true, Count: CountAtLeast, Reason: "the source could not be asked for its end: " + err.Error()}})
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Beyond, r.SurveyedAt = found, time.Now().UTC()
	return nil
}

// toSurvey are the rows behind which the source is to be asked what there is; nil if it is not.
func (r *run) toSurvey() map[string]bridge.Row {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.surveys() || r.Beyond.Known {
		if !r.Beyond.Known && r.whole() {
			r.Beyond = beyondOf(nil)
		}
		return nil
	}
	rows := make(map[string]bridge.Row, len(r.acked))
	for id, row := range r.acked {
		if after := r.v.Select.After[id]; after.After(row.Position) {
			row.Position = after
		}
		rows[id] = row
	}
	return rows
}

// surveys reports whether the scope of the run ends where the mirror is: not if a range was
// asked for, and not where all that the source holds is in scope.
func (r *run) surveys() bool {
	v := r.v
	return r.acked != nil && !v.Final && !v.Continuous && r.main == nil && v.Select.To.IsZero() && len(v.Select.Through) == 0
}

// whole reports whether the scope ends where the source did when the run began.
func (r *run) whole() bool {
	v := r.v
	return !v.Continuous && r.main == nil && (v.Final || r.acked == nil) && v.Select.To.IsZero() && len(v.Select.Through) == 0
}

// explain waits until the mirror has acknowledged what lay beyond the scope when the run
// began: for as long as it goes on acknowledging something at least every Lag, and at most
// for Drain. A mirror that is paused explains nothing.
func (r *run) explain(ctx context.Context) error {
	if !r.surveys() || len(r.Beyond.Parts) == 0 || r.Beyond.Explained {
		return nil
	}
	lag := r.v.Lag
	last, moved, end := r.acked, r.FenceAt, time.Now().Add(r.v.Drain)
	for {
		rows, err := r.rows(ctx)
		if err != nil {
			return err
		}
		now := time.Now()
		if advanced(last, rows) {
			last, moved = rows, now
		}
		explained := r.Beyond.acknowledgedBy(rows)
		r.mu.Lock()
		r.Beyond.Explained, r.Beyond.Lag = explained, max(lag, 0)
		r.mu.Unlock()
		if explained || lag <= 0 || now.Sub(moved) >= lag || !now.Before(end) {
			return nil
		}
		if err := pause(ctx, min(time.Second, lag)); err != nil {
			return err
		}
	}
}

// advanced reports whether a mirror has acknowledged anything from one look to the next.
func advanced(before, now map[string]bridge.Row) bool {
	for id, row := range now {
		old, ok := before[id]
		if !ok || row.Ended && !old.Ended || row.Position.After(old.Position) {
			return true
		}
	}
	return false
}

// acknowledgedBy reports whether a mirror has come up to the end of all partitions since.
func (b *Beyond) acknowledgedBy(rows map[string]bridge.Row) bool {
	for _, p := range b.Parts {
		row, ok := rows[p.Partition]
		switch {
		case p.Reason != "" || p.Count == CountAtLeast:
			return false
		case !ok && p.Seen: // it ended, and its row was dropped
		case !ok || !row.Ended && p.Last.After(row.Position):
			return false
		}
	}
	return true
}

// text is what lies beyond, as a clause; empty if nothing does.
func (b *Beyond) text() string {
	if len(b.Parts) == 0 {
		return ""
	}
	s := Word(b.Count) + commas(b.Records) + plural(b.Records, " record")
	if b.Unseen > 0 {
		s += fmt.Sprintf(" and %s%s that the mirror has never read", commas(int64(b.Unseen)), plural(int64(b.Unseen), " partition"))
	}
	return s
}

func plural(n int64, noun string) string {
	if n == 1 {
		return noun
	}
	return noun + "s"
}

// commas writes 1234567 as 1,234,567.
func commas(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Sentence says how much of the source is in scope: "5,000 of 25,000 records; 20,000 and 2
// partitions not yet mirrored". The scope holds so many records; a negative number stands for
// a run that reads none.
func (b *Beyond) Sentence(scope int64) string {
	mine := commas(scope) + plural(scope, " record")
	if scope < 0 {
		mine = "ranges only"
	}
	switch {
	case !b.Known:
		return mine
	case len(b.Parts) == 0:
		return mine + "; nothing beyond"
	}
	how, rest := Word(b.Count), commas(b.Records)
	if scope >= 0 {
		mine = fmt.Sprintf("%s of %s%s records", commas(scope), how, commas(scope+b.Records))
	} else {
		rest += plural(b.Records, " record")
	}
	s := mine + "; " + how + rest
	if b.Unseen > 0 {
		s += fmt.Sprintf(" and %s%s", commas(int64(b.Unseen)), plural(int64(b.Unseen), " partition"))
	}
	s += " not yet mirrored"
	if b.Behind > 0 {
		s += ", the oldest for " + b.Behind.Round(time.Second).String()
	}
	if b.Explained {
		s += " when the run began, and mirrored since"
	}
	return s
}

// sayBeyond gives the reasons that lie in what the scope leaves out. The lock is held.
func (r *run) sayBeyond(say func(string, ...any)) {
	b := &r.Beyond
	if len(b.Parts) == 0 {
		return
	}
	if !b.Explained && b.Records > 0 {
		say("the source held %s behind the scope, more than the mirror's lag explains", b.text())
	}
	for i := range b.Parts {
		if p := &b.Parts[i]; p.Reason != "" {
			say("source %s: %s", p.Partition, p.Reason)
		}
	}
}

// records is how many records an uncovered range stands for that no window counts: by
// offsets if it has any, else one. A range that windows hold counts there, and one whose
// records are unverifiable counts among those.
func (u *Uncovered) records(inWindow func(u *Uncovered) bool) int64 {
	if u.Counted || u.Records > 0 || inWindow(u) {
		return 0
	}
	after, err1 := u.After.Offset()
	through, err2 := u.Through.Offset()
	if u.Side != "source" || err1 != nil || err2 != nil || through <= after {
		return 1
	}
	return through - after
}

// windowed reports whether a window that is counted as not judged covers an uncovered range.
// The lock is held.
func (r *run) windowed(u *Uncovered) bool {
	s := r.sourceByID[u.Partition]
	if u.Side != "source" || s == nil {
		return false
	}
	for _, w := range s.Windows {
		if w.Verdict == Inconclusive && w.After == u.After && !u.Through.After(w.Through) {
			return true
		}
	}
	return false
}
