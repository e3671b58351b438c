package memstream

import (
	"context"
	"fmt"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
)

// Source returns the stream as a bridge.Source that reads for one workflow: a record that
// this workflow's sink wrote has its Origin. If the stream is Kafka-like the source is a
// bridge.Ender, too.
func (s *Stream) Source(workflow string) bridge.Source {
	src := &source{s, workflow}
	if s.cfg.Flavour == Kafka {
		return &kafkaSource{src}
	}
	return src
}

var (
	_ bridge.Source = (*source)(nil)
	_ bridge.Ender  = (*kafkaSource)(nil)
)

type source struct {
	*Stream
	workflow string
}

// A kafkaSource can say where its partitions end.
type kafkaSource struct{ *source }

// Ends returns the last taken offset of each partition, as the end of a log is known
// without reading it, whether it can be read or not.
func (k *kafkaSource) Ends(ctx context.Context) (map[string]bridge.Position, error) {
	return k.Stream.ends(ctx)
}

func (s *Stream) ends(ctx context.Context) (map[string]bridge.Position, error) {
	if err := s.ask(ctx, Op{Kind: OpEnds}); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.deleted {
		return nil, s.missing()
	}
	s.expire()
	ends := map[string]bridge.Position{}
	for _, p := range s.parts {
		ends[p.id] = p.end()
	}
	return ends, nil
}

// Open judges a start as an adapter must that cannot see what is gone: on Kinesis the
// presence of the record at from.After is the proof that nothing behind it was trimmed.
func (s *source) Open(ctx context.Context, partition string, from bridge.Start) (bridge.Reader, error) {
	if err := s.ask(ctx, Op{Kind: OpOpen, Partition: partition}); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire()
	p, ok := s.byID[partition]
	if !ok || s.deleted {
		return nil, fmt.Errorf("open partition %s of %s: %w", partition, s.cfg.Name, bridge.ErrMissing)
	}
	if from.After.IsZero() && !from.First.IsZero() {
		if err := s.kept(p, from.First); err != nil {
			return nil, err
		}
	}
	r := &reader{s: s, p: p, incarnation: s.incarnation, paged: s.now(), tip: from.Tip}
	switch {
	case !from.After.IsZero():
		if err := s.resume(p, from); err != nil {
			return nil, err
		}
		r.through, r.last = from.After, from.Batch
		if p.trimmed.After(r.through) {
			r.through = p.trimmed
		}
	case !from.First.IsZero() && s.cfg.Flavour == Kafka:
		r.through = p.ahead(from.First)
	case from.First.IsZero() && !from.Tip.IsZero() && s.lostSince(p, from.Tip):
		return nil, &bridge.GapError{
			Stream: s.cfg.Name, Partition: p.id, Before: p.oldest(),
			Reason: "the partition was empty when it was last seen, and what came since may be gone",
		}
	case p.expired:
		return nil, fmt.Errorf("open shard %s of %s, which expired: %w", partition, s.cfg.Name, bridge.ErrMissing)
	case !from.At.IsZero():
		r.through = p.before(from.At, s.cfg.Flavour)
	default:
		r.through = p.trimmed
	}
	return r, nil
}

// resume reports why reading cannot go on behind from.After.
func (s *source) resume(p *part, from bridge.Start) error {
	at := from.After
	if !p.owns(at, s.cfg.Flavour) {
		return fmt.Errorf("open partition %s of %s behind %s: %w", p.id, s.cfg.Name, at, bridge.ErrForeignPosition)
	}
	gap := &bridge.GapError{Stream: s.cfg.Name, Partition: p.id, After: at, Before: p.oldest()}
	switch {
	case at.After(p.end()) && from.Batch.Known:
		return nil // where the log was cut back the first page finds out by the batch
	case at.After(p.end()) && (s.cfg.Flavour == Kafka || !p.trimmed.IsZero() || p.expired || len(p.log) > 0):
		gap.Reason = "the partition ends before the position"
		return gap
	case p.lost(at):
		gap.Reason = "retention passed the position"
		return gap
	case s.cfg.Flavour == Kafka || p.has(at.Seq):
		return nil
	case !from.Tip.IsZero() && s.now().Sub(from.Tip) < s.cfg.Retention:
		return nil
	}
	gap.Reason = "possible gap: the record at the position is no longer kept, and the shard was not seen at its tip since"
	return gap
}

// kept is a gap unless the place that Begin gave is still there.
func (s *source) kept(p *part, first bridge.Position) error {
	gap := &bridge.GapError{Stream: s.cfg.Name, Partition: p.id, Before: p.oldest(), Reason: "retention passed the place where the workflow begins"}
	if s.cfg.Flavour == Kinesis {
		if p.has(first.Seq) {
			return nil
		}
		return gap
	}
	after, err := first.Offset()
	if err != nil {
		return err
	}
	gap.After = bridge.OffsetPosition(after - 1)
	switch {
	case p.trimmed.After(gap.After):
		return gap
	case gap.After.After(p.end()):
		gap.After, gap.Before, gap.Reason = p.end(), first, "the partition ends before the place where the workflow begins"
		return gap
	}
	return nil
}

// edgeMargin is how much longer a shard must keep a record for its loss to be a gap.
const edgeMargin = 10 * time.Minute

// Begin tells of a Kafka-like partition the offset, and of a shard the record if there is one.
func (s *source) Begin(ctx context.Context, partition string, at time.Time) (bridge.Position, time.Time, error) {
	if err := s.ask(ctx, Op{Kind: OpBegin, Partition: partition}); err != nil {
		return bridge.Position{}, time.Time{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire()
	p, ok := s.byID[partition]
	if !ok || s.deleted || p.expired {
		return bridge.Position{}, time.Time{}, fmt.Errorf("partition %s of %s: %w", partition, s.cfg.Name, bridge.ErrMissing)
	}
	if edge := s.now().Add(edgeMargin - s.cfg.Retention); s.cfg.Flavour == Kinesis && at.Before(edge) {
		at = edge
	}
	through := p.trimmed
	if !at.IsZero() {
		through = p.before(at, s.cfg.Flavour)
	}
	if s.cfg.Flavour == Kafka {
		n, err := through.Offset()
		return bridge.OffsetPosition(n + 1), time.Time{}, err
	}
	for i := p.behind(through); i < len(p.log); i++ {
		if e := &p.log[i]; !e.marker && !e.gone {
			return bridge.Position{Seq: e.at().Seq}, time.Time{}, nil
		}
	}
	return bridge.Position{}, s.now(), nil
}

// lostSince reports whether a partition that held nothing at a time may have lost records
// since. Kafka's log begins at 0; Kinesis knows only how long it keeps a record.
func (s *source) lostSince(p *part, tip time.Time) bool {
	if s.cfg.Flavour == Kafka {
		return !p.trimmed.IsZero()
	}
	return s.now().Sub(tip) >= s.cfg.Retention
}

// oldest is the first position that is kept, zero if there is none.
func (p *part) oldest() bridge.Position {
	if len(p.log) == 0 {
		return bridge.Position{}
	}
	return p.log[0].at()
}

// lost reports whether something behind a position was dropped.
func (p *part) lost(at bridge.Position) bool {
	if !p.trimmed.After(at) {
		return false
	}
	// What was dropped of the very same Kinesis record was dropped with it.
	return p.trimmed.Seq != at.Seq
}

// before is the position behind which the first record stands that arrived at t or later.
func (p *part) before(t time.Time, f Flavour) bridge.Position {
	at := p.trimmed
	for i := range p.log {
		e := &p.log[i]
		if !e.marker && !e.gone && !e.time(f).Before(t) {
			break
		}
		at = e.at()
	}
	return at
}

// time is what a start at a time goes by: the arrival, or on Kafka the record's own time.
func (e *entry) time(f Flavour) time.Time {
	if f == Kinesis {
		return e.arrived.Truncate(time.Millisecond)
	}
	return e.Record.Time
}

// A reader reads one partition.
type reader struct {
	s           *source
	p           *part
	incarnation int
	through     bridge.Position
	last        bridge.BatchID // that was read last, of a Kafka-like stream
	ended       bool

	// By the service's clock: when the last page was read (paged) and how far it was behind, and when
	// the partition was last seen to hold nothing behind through.
	paged, tip time.Time
	behind     time.Duration
}

// Close does nothing; the reader holds nothing.
func (r *reader) Close() error { return nil }

// Read waits up to Config.Wait if there is nothing.
func (r *reader) Read(ctx context.Context) (bridge.Batch, error) {
	if r.ended {
		return bridge.Batch{}, fmt.Errorf("read partition %s behind its end: %w", r.p.id, bridge.ErrRefused)
	}
	f, err := r.s.inj.begin(ctx, Op{Kind: OpRead, Partition: r.p.id})
	if err == nil {
		err = f.Err
	}
	if err != nil {
		return bridge.Batch{}, err
	}
	limit := r.s.cfg.Page
	if f.Most > 0 {
		limit = min(limit, f.Most)
	}
	if f.Most < 0 {
		limit = 0
	}
	b, changed, err := r.page(limit)
	if err != nil || changed == nil {
		return b, err
	}
	if err := waitFor(ctx, changed, r.s.cfg.Wait); err != nil {
		return bridge.Batch{}, fmt.Errorf("read partition %s: %w", r.p.id, err)
	}
	b, _, err = r.page(limit)
	return b, err
}

// waitFor returns when the channel is closed or d passed; it fails if ctx ends before.
func waitFor(ctx context.Context, changed <-chan struct{}, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-changed:
	case <-t.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

// page takes what is there. If that is nothing, and it is not the end, it also returns a
// channel that is closed when something changed.
func (r *reader) page(limit int) (bridge.Batch, <-chan struct{}, error) {
	s := r.s
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire()
	b := bridge.Batch{Asked: time.Now()}
	if s.cfg.Flavour == Kinesis {
		b.Clock = s.now().Truncate(time.Second) // as HTTP says it
	}
	if s.deleted || r.incarnation != s.incarnation {
		return b, nil, fmt.Errorf("read partition %s of %s: %w", r.p.id, s.cfg.Name, bridge.ErrMissing)
	}
	if r.p.lost(r.through) {
		return b, nil, &bridge.GapError{
			Stream: s.cfg.Name, Partition: r.p.id, After: r.through, Before: r.p.oldest(),
			Reason: "retention passed the reader",
		}
	}
	if !r.p.holds(r.last) || s.cfg.Flavour == Kafka && r.through.After(r.p.end()) {
		end, _ := r.through.Offset()
		return b, nil, &bridge.GapError{
			Stream: s.cfg.Name, Partition: r.p.id, After: r.p.common(r.last.Epoch), Before: bridge.OffsetPosition(end + 1),
			Reason: "the log was cut back and written again",
		}
	}
	if err := r.proved(); err != nil {
		return b, nil, err
	}
	defer func() { r.accept(&b) }()
	i := r.p.behind(r.through)
	stable, open := r.p.held(i)
	for ; i < stable && len(b.Records) < limit; i++ {
		e := &r.p.log[i]
		r.through = e.at()
		if !e.marker && !e.gone {
			b.Records = append(b.Records, e.seenBy(s.workflow, s.cfg.Flavour))
		}
	}
	b.Through = r.through
	if s.cfg.Flavour == Kafka {
		b.End = r.p.end()
		if known := r.p.batch(r.through); known.Known {
			r.last = known
		}
		b.Last = r.last
	}
	if i < len(r.p.log) {
		b.Behind = r.lag(i)
		if i < stable || open == nil {
			return b, nil, nil
		}
		b.Open, b.Behind = open, max(b.Behind, time.Since(open.Since))
		if len(b.Records) > 0 {
			return b, nil, nil
		}
		return b, s.changed, nil
	}
	// A closed shard may say that it ended with its last records or in a further answer.
	b.Ended = r.p.closed && (len(b.Records) == 0 || draw(s.cfg.Seed, Op{Partition: r.p.id})%2 == 0)
	r.ended = b.Ended
	if len(b.Records) > 0 || b.Ended {
		return b, nil, nil
	}
	return b, s.changed, nil
}

// proved reports what an adapter of Kinesis could not know, which does not see what is gone:
// that a page follows the last one. It is sure while what stood behind that cannot have
// expired, while its last record is there, or if it saw the tip less than the retention ago.
func (r *reader) proved() error {
	s, now := r.s, r.s.now()
	switch {
	case s.cfg.Flavour == Kafka || now.Sub(r.paged)+r.behind < s.cfg.Retention:
		return nil
	case !r.through.IsZero() && r.p.has(r.through.Seq):
		return nil
	case !r.tip.IsZero() && now.Sub(r.tip) < s.cfg.Retention:
		return nil
	}
	return &bridge.GapError{
		Stream: s.cfg.Name, Partition: r.p.id, After: r.through, Before: r.p.oldest(),
		Reason: "possible gap: the last record that was read has expired, and the shard was not seen at its tip since",
	}
}

// accept notes a page. The lock is held.
func (r *reader) accept(b *bridge.Batch) {
	r.paged, r.behind = r.s.now(), b.Behind
	if b.Behind == 0 {
		r.tip = r.paged
	}
}

// lag is how much older the entry before i is than the newest one; never 0, which would
// say that nothing more is there.
func (r *reader) lag(i int) time.Duration {
	now := r.p.log[len(r.p.log)-1].arrived
	if r.s.cfg.Flavour == Kinesis {
		now = r.s.now() // it tells the age of the last record of a page
	}
	return max(now.Sub(r.p.log[max(i-1, 0)].arrived), time.Millisecond)
}

// seenBy is the record as a reader of this workflow gets it.
func (e *entry) seenBy(workflow string, f Flavour) bridge.Record {
	r := e.Record
	if f == Kinesis {
		r.Arrived = e.arrived.Truncate(time.Millisecond)
	}
	ours := e.Workflow != "" && e.Workflow == workflow
	if !ours || e.Record.Foreign {
		r.Origin = bridge.Coordinate{}
	}
	r.Foreign = ours && e.Record.Foreign
	return r
}
