package mirror

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/kinesis-msk-bridge/bridge"
)

// A flow is the way of one source partition. It owns its records until they are done.
type flow struct {
	r    *run
	part bridge.Partition
	keys map[bridge.Position][]byte // that routing changed, of the page; nil without dead letters
	hold holdUp
	some bool // a page was read
}

// flow reads one partition until it ends, the intake ends, or something fails for good.
func (r *run) flow(ctx, intake context.Context, part bridge.Partition) error {
	f := &flow{r: r, part: part}
	if r.m.DeadLetters != nil {
		f.keys = map[bridge.Position][]byte{}
	}
	r.tracker.flows(part.ID)
	if fn := r.m.Hooks.Started; fn != nil {
		fn(part.ID)
	}
	err := f.follow(ctx, intake)
	if !errors.Is(err, bridge.ErrGap) || f.some || !r.tracker.beganNow(part.ID) {
		return err
	}
	// The retention took the beginning while the workflow began: it is where it is now.
	r.log.Info("the beginning of a partition moved before it was read", "partition", part.ID, "error", err)
	if err := r.pinBeginning(intake, part.ID); err != nil {
		return f.readError(intake, err)
	}
	return f.follow(ctx, intake)
}

// follow opens the partition and carries what it reads.
func (f *flow) follow(ctx, intake context.Context) error {
	r := f.r
	row, _ := r.tracker.row(f.part.ID)
	start := bridge.Start{After: row.Position, Batch: row.Batch, First: row.First, Tip: row.Tip}
	if row.Position.IsZero() {
		start.At = r.m.Start
	}
	reader, err := retry(intake, r, "open", f.part.ID, func() (bridge.Reader, error) {
		return r.m.Source.Open(intake, f.part.ID, start)
	})
	if err != nil {
		return f.readError(intake, err)
	}
	defer reader.Close()

	pages, stop := f.readAhead(intake, reader)
	defer stop()
	for p := range pages {
		if p.err != nil {
			return f.readError(intake, p.err)
		}
		f.some = true
		err := f.carry(ctx, p.batch)
		r.memory.release(p)
		if err != nil {
			return err
		}
		if p.batch.Ended {
			r.saveSoon()
			return nil
		}
	}
	return nil
}

// readError turns the end of the intake into a quiet end of the flow.
func (f *flow) readError(intake context.Context, err error) error {
	if intake.Err() != nil {
		return nil
	}
	if errors.Is(err, bridge.ErrMissing) && f.expired(intake) {
		row, _ := f.r.tracker.row(f.part.ID)
		err = expiredUnread(f.r.source.Name, row)
	}
	return fmt.Errorf("read partition %s: %w", f.part.ID, err)
}

// expired reports whether the source is there and lists the partition no more.
func (f *flow) expired(ctx context.Context) bool {
	parts, err := f.r.m.Source.Partitions(ctx)
	return err == nil && !slices.ContainsFunc(parts, func(p bridge.Partition) bool { return p.ID == f.part.ID })
}

type page struct {
	batch bridge.Batch
	err   error
	held  int64 // bytes of the budget
}

// readAhead reads the next page while the flow works on this one. The channel is closed
// after an error, after the last page, or when the intake ends; stop waits until the
// reader is no more in use.
func (f *flow) readAhead(intake context.Context, reader bridge.Reader) (pages <-chan page, stop func()) {
	ctx, cancel := context.WithCancel(intake)
	out := make(chan page)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(out)
		for {
			p, err := retry(ctx, f.r, "read", f.part.ID, func() (page, error) { return f.read(ctx, reader) })
			p.err = err
			select {
			case out <- p:
			case <-ctx.Done():
				f.r.memory.release(p)
				return
			}
			if err != nil || p.batch.Ended {
				return
			}
		}
	}()
	return out, func() { cancel(); <-done }
}

// read reads one page as soon as it may.
func (f *flow) read(ctx context.Context, reader bridge.Reader) (page, error) {
	if err := f.held(ctx, f.r.m.Gate.pass); err != nil {
		return page{}, err
	}
	p, err := f.r.memory.read(ctx, reader)
	if err != nil {
		return p, err
	}
	f.r.m.Gate.took(p.batch.Records)
	if err := f.held(ctx, f.r.m.Gate.hold); err != nil {
		f.r.memory.release(p)
		return page{}, err
	}
	return p, nil
}

// held waits for the gate, and lets that be known: it is no stall.
func (f *flow) held(ctx context.Context, wait func(context.Context) error) error {
	if f.r.m.Gate == nil {
		return nil
	}
	f.r.tracker.holds(f.part.ID, true)
	defer f.r.tracker.holds(f.part.ID, false)
	return wait(ctx)
}

// carry brings one page to the target and lets it count as done.
func (f *flow) carry(ctx context.Context, b bridge.Batch) error {
	f.r.tracker.carries(f.part.ID)
	w := f.r.tracker.begin()
	clear(f.keys)
	var newest time.Time
	if n := len(b.Records); n > 0 {
		newest = b.Records[n-1].Arrived
	}
	recs, counts, letters, err := f.pick(b.Records)
	if err != nil {
		return err
	}
	if err := f.bury(ctx, letters, w); err != nil {
		return err
	}
	if fn := f.r.m.Hooks.Handed; fn != nil && len(recs) > 0 {
		fn(len(recs))
	}
	f.r.underWay.Add(int64(len(recs)))
	n, page := int64(len(recs)), f.carried(recs)
	w.marks = make([]mark, 0, n)
	dead, err := f.write(ctx, recs, w)
	if err != nil {
		return err
	}
	f.r.underWay.Add(-n)
	counts.Written += n - dead
	counts.DeadLettered += dead
	f.r.tracker.done(f.part.ID, w, b, counts)
	f.r.goal.saw(f.part.ID, b, newest)
	f.waits(b.Open)
	if fn := f.r.m.Hooks.Carried; fn != nil {
		fn(page)
	}
	return nil
}

// carried describes records before they are written, which overwrites them.
func (f *flow) carried(recs []bridge.Record) Carried {
	c := Carried{Partition: f.part.ID, Records: int64(len(recs))}
	if len(recs) == 0 || f.r.m.Hooks.Carried == nil {
		return c
	}
	c.Bytes = size(recs) - c.Records*recordOverhead
	c.Oldest, c.Newest = arrival(&recs[0]), arrival(&recs[len(recs)-1])
	return c
}

// arrival is when a record arrived at the source, or the time that its producer gave it if the
// source does not say.
func arrival(r *bridge.Record) time.Time {
	if r.Arrived.IsZero() {
		return r.Time
	}
	return r.Arrived
}

// pick routes the records of a page and leaves out those that need not be written:
// the workflow's own on their way back, those that are on the target already, and those
// that cannot be carried.
func (f *flow) pick(in []bridge.Record) ([]bridge.Record, bridge.Counts, []bridge.DeadLetter, error) {
	var counts bridge.Counts
	var letters []bridge.DeadLetter
	counts.Read = int64(len(in))
	out := in[:0]
	for i := range in {
		rec := &in[i]
		if rec.Foreign {
			counts.Foreign++
		}
		// A record that came from where this workflow writes to is back home, whichever
		// workflow brought it. One that came from anywhere else is data.
		if rec.IsBack(f.r.to) {
			counts.LoopSkipped++
			continue
		}
		buried, err := f.buried(rec)
		if err != nil {
			return nil, counts, nil, err
		}
		if buried {
			counts.DeadLettered++
			continue
		}
		if errors.Is(rec.Refused, bridge.ErrDropped) {
			f.dropped(rec)
			counts.Dropped++
			continue
		}
		route, err := f.route(rec)
		if err != nil {
			letter, err := f.letter(rec, rec.Key, err)
			if err != nil {
				return nil, counts, nil, err
			}
			letters = append(letters, letter)
			counts.DeadLettered++
			continue
		}
		lane := lane{source: f.part.ID, target: route.Partition}
		if route.Partition == "" {
			lane.target = string(route.Key)
		}
		f.remember(rec, route.Key)
		rec.Origin = f.coordinate(rec.Position)
		rec.Key, rec.Partition = route.Key, route.Partition
		there, err := f.has(lane, rec)
		if err != nil {
			return nil, counts, nil, err
		}
		if there {
			counts.Present++
			continue
		}
		out = append(out, *rec)
	}
	return out, counts, letters, nil
}

func (f *flow) coordinate(at bridge.Position) bridge.Coordinate {
	return bridge.Coordinate{Stream: f.r.from, Partition: f.part.ID, Position: at}
}

// refused is the error for a record that the policy stops at.
func (f *flow) refused(at bridge.Position, err error) error {
	c := bridge.Coordinate{Stream: f.r.source.Name, Partition: f.part.ID, Position: at}
	return fmt.Errorf("record %s: %w", c, err)
}

// write gives recs to the sink until each is acknowledged or durable as a dead letter, and
// returns how many are the latter. What was refused for now is written again in its old
// order, which is the order of each lane, because the sink lets no later record of a lane
// pass a failed one. A dead letter is durable before a later record of its lane is tried.
func (f *flow) write(ctx context.Context, recs []bridge.Record, w *window) (dead int64, err error) {
	wait := NewBackOff()
	for len(recs) > 0 {
		acks, err := f.r.m.Sink.Write(ctx, recs)
		if err != nil {
			return dead, fmt.Errorf("write %d records of partition %s: %w", len(recs), f.part.ID, err)
		}
		if len(acks) != len(recs) {
			return dead, fmt.Errorf("write %d records of partition %s: the sink acknowledged %d", len(recs), f.part.ID, len(acks))
		}
		n := len(recs)
		left, letters, last, err := f.sort(recs, acks, w)
		if err == nil {
			err = f.bury(ctx, letters, w)
		}
		if err != nil {
			return dead, err
		}
		dead += int64(len(letters))
		recs = left
		if len(recs) < n {
			wait.Reset()
		}
		if len(recs) == 0 || len(letters) > 0 {
			continue // who was held back behind a dead letter need not wait
		}
		if err := f.r.pause(ctx, wait.NextBackOff(), "write", f.part.ID, last); err != nil {
			return dead, err
		}
	}
	return dead, nil
}

// sort tells by their acks the records that are to be tried again, in their order, from
// those that become dead letters; last is why one is tried again. It reuses recs.
func (f *flow) sort(recs []bridge.Record, acks []bridge.Ack, w *window) (left []bridge.Record, letters []bridge.DeadLetter, last, err error) {
	left = recs[:0]
	for i, a := range acks {
		switch {
		case a.Err == nil:
			w.acked(a, f.part.ID, recs[i].Position)
		case bridge.Retryable(a.Err):
			last = a.Err
			left = append(left, recs[i])
		default:
			letter, err := f.letter(&recs[i], f.sourceKey(&recs[i]), a.Err)
			if err != nil {
				return nil, nil, nil, err
			}
			letters = append(letters, letter)
		}
	}
	return left, letters, last, nil
}

// retry calls try until it succeeds, fails for good, or ctx ends.
func retry[T any](ctx context.Context, r *run, op, partition string, try func() (T, error)) (T, error) {
	wait := NewBackOff()
	for {
		v, err := try()
		if err == nil || !bridge.Retryable(err) || ctx.Err() != nil {
			return v, err
		}
		if err := r.pause(ctx, wait.NextBackOff(), op, partition, err); err != nil {
			return v, err
		}
	}
}

// pause waits before another try.
func (r *run) pause(ctx context.Context, d time.Duration, op, partition string, err error) error {
	if fn := r.m.Hooks.Retry; fn != nil {
		fn(op, partition, err, d)
	}
	r.log.Debug("retry", "op", op, "partition", partition, "wait", d, "error", err)
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return errors.Join(err, context.Cause(ctx))
	}
}

// NewBackOff is how long to wait for what may pass: 20 ms at first, twice as long each time and
// at most 5 s, with jitter, for ever.
func NewBackOff() *backoff.ExponentialBackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval = 20 * time.Millisecond
	b.MaxInterval = 5 * time.Second
	b.Multiplier = 2
	return b
}
