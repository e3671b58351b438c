package verify

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kinesis-msk-bridge/bridge"
)

// A spot is one record of the target: no record of two has the same one.
type spot struct{ Partition, Seq string }

func spotOf(partition string, at bridge.Position) spot { return spot{partition, at.String()} }

// An intentID names one intent of the ledger.
type intentID struct {
	Entry string
	Index int
}

// A joinState is what connects ledger and target: the ledger is read a piece at a time,
// and each shard as far as the piece says that records stand. Both run in step, so that
// only what is between them is held.
type joinState struct {
	Read    bridge.Position // of the ledger
	Intents map[intentID]bridge.Intent
	// Stored says which coordinate a spot has, until the spot was read.
	Stored map[spot]bridge.Coordinate
	// Early were read before the ledger said whose they are.
	Early map[spot]early
	Lost  bool // the ledger could not be read to its end
	// SeenAt: all that the ledger said before was read on the target.
	SeenAt time.Time
}

// An early record waits for its ledger entry.
type early struct {
	Target   int
	After    bridge.Position // what was read before it
	Position bridge.Position
	Time     time.Time
	Content  digest
	Size     int64
	Cell     int
	Key, Tag uint64
	Right    bool
}

const (
	// ledgerPiece is how many results of the ledger are taken at a time.
	ledgerPiece = 1 << 16
	// maxEarly bounds the records that wait; more are strays.
	maxEarly = 1 << 16
)

func newJoin() *joinState {
	return &joinState{Intents: map[intentID]bridge.Intent{}, Stored: map[spot]bridge.Coordinate{}, Early: map[spot]early{}}
}

// take books one ledger entry, and returns how many results it had and where the
// furthest record stands.
func (j *joinState) take(e bridge.LedgerEntry, far map[string]bridge.Position) (n int) {
	for _, s := range e.Settled {
		id := intentID{s.Entry.String(), s.Index}
		intent, ok := j.Intents[id]
		delete(j.Intents, id)
		if !ok || !s.Stored {
			continue
		}
		n++
		j.Stored[spotOf(s.Partition, s.Position)] = intent.Origin
		if s.Position.After(far[s.Partition]) {
			far[s.Partition] = s.Position
		}
	}
	for i, intent := range e.Intents {
		j.Intents[intentID{e.At.String(), i}] = intent
	}
	j.Read = e.At
	return n
}

// piece reads on in the ledger. end says that it was read to its end.
func (r *run) piece(ctx context.Context) (far map[string]bridge.Position, end bool, err error) {
	far = map[string]bridge.Position{}
	n := 0
	for e, err := range r.v.Ledger.Read(ctx, r.Join.Read) {
		if err != nil {
			return far, false, err
		}
		r.mu.Lock()
		n += r.Join.take(e, far)
		r.mu.Unlock()
		if n >= r.v.piece {
			return far, false, nil
		}
	}
	return far, true, nil
}

// readByLedger reads ledger and target in step, and what is left of the target when the
// ledger is at its end.
func (r *run) readByLedger(ctx context.Context) error {
	if r.Join == nil {
		r.Join = newJoin()
	}
	err := r.inStep(ctx)
	for _, t := range r.targets() {
		if t.reader != nil {
			err = errors.Join(err, t.reader.Close())
			t.reader = nil
		}
	}
	return err
}

func (r *run) inStep(ctx context.Context) error {
	for {
		due, asked := r.targetDue(), time.Now()
		far, end, err := r.piece(ctx)
		if err != nil && (ctx.Err() != nil || final(err)) {
			return fmt.Errorf("read the ledger: %w", err)
		}
		if err != nil && !bridge.Retryable(err) {
			r.ledgerLost(err)
			end, due = true, true
		}
		last := end && due
		if err := r.advanceTo(ctx, far, last); err != nil {
			return err
		}
		if last {
			return r.leftOver(ctx)
		}
		if end && err == nil {
			r.seenTo(asked)
		}
		if end || err != nil {
			if err := pause(ctx, 200*time.Millisecond); err != nil {
				return err
			}
		}
	}
}

// seenTo notes up to when the target was read, as far as the ledger speaks of it.
func (r *run) seenTo(at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Join.SeenAt = at
}

// targetDue reports whether the time has come up to which the target is read.
func (r *run) targetDue() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.until.IsZero() && !r.v.Continuous
}

func (r *run) ledgerLost(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Join.Lost = true
	r.uncovered(Uncovered{Side: "ledger", After: r.Join.Read, Class: classOf(err), Reason: err.Error()})
}

// advanceTo books what waited for the piece of the ledger that was read, and reads each
// shard up to a position, parents first; to its end if last.
func (r *run) advanceTo(ctx context.Context, far map[string]bridge.Position, last bool) error {
	if err := r.listTarget(ctx); err != nil {
		return err
	}
	for _, level := range r.levels() {
		group, work := errgroup.WithContext(ctx)
		group.SetLimit(r.v.Parallel)
		for _, t := range level {
			group.Go(func() error {
				if err := r.bookEarly(work, t); err != nil {
					return err
				}
				if at, ok := far[t.ID]; !t.Done && (last || ok && at.After(t.Through)) {
					return r.readShard(work, t, at, last)
				}
				return nil
			})
		}
		if err := group.Wait(); err != nil {
			return err
		}
	}
	r.prune()
	return nil
}

// early keeps a record that the ledger may still speak of, and reports whether it did.
// The lock is held.
func (r *run) early(t *targetPart, after bridge.Position, p *placed) bool {
	if r.v.Ledger == nil || p.foreign || len(r.Join.Early) >= maxEarly {
		return false
	}
	at := clonePosition(p.position)
	r.Join.Early[spotOf(t.ID, at)] = early{
		Target: t.Index, After: after, Position: at, Time: p.time, Content: p.content, Size: p.size,
		Cell: p.cell, Key: p.key, Tag: p.tag, Right: p.right,
	}
	return true
}

func (e *early) placed() placed {
	p := placed{position: e.Position, right: e.Right, tag: e.Tag}
	p.time, p.content, p.size, p.cell, p.key = e.Time, e.Content, e.Size, e.Cell, e.Key
	return p
}

// bookEarly books the records of a shard that the ledger has spoken of by now, in order.
func (r *run) bookEarly(ctx context.Context, t *targetPart) error {
	var known []early
	var list []placed
	r.mu.Lock()
	for at, e := range r.Join.Early {
		if origin, ok := r.Join.Stored[at]; ok && e.Target == t.Index {
			p := e.placed()
			p.origin = origin
			p.bind(r.canon)
			known, list = append(known, e), append(list, p)
		}
	}
	r.mu.Unlock()
	if len(list) == 0 {
		return nil
	}
	slices.SortFunc(known, func(a, b early) int { return a.Position.Compare(b.Position) })
	slices.SortFunc(list, func(a, b placed) int { return a.position.Compare(b.position) })
	if err := r.await(ctx, list); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range list {
		at := spotOf(t.ID, list[i].position)
		delete(r.Join.Early, at)
		delete(r.Join.Stored, at)
		r.bookPlaced(t, known[i].After, &list[i])
	}
	return nil
}

// prune forgets what the ledger says of places that were read and did not hold it.
func (r *run) prune() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for at := range r.Join.Stored {
		t := r.targetByID[at.Partition]
		p, err := bridge.ParsePosition(at.Seq)
		if t == nil || err != nil || !p.After(t.Through) {
			delete(r.Join.Stored, at)
		}
	}
}

// resolve gives records that wait the coordinates of intents of whose fate the ledger does
// not speak: a mirror that was killed could not say it. At most one record a key is in such
// doubt, and key and value tell which. The lock is held.
func (r *run) resolve() {
	doubts := map[uint64]bridge.Coordinate{}
	for _, intent := range r.Join.Intents {
		doubts[intent.Digest] = intent.Origin
	}
	for _, at := range slices.SortedFunc(maps.Keys(r.Join.Early), func(a, b spot) int {
		return r.Join.Early[a].Position.Compare(r.Join.Early[b].Position)
	}) {
		tag := r.Join.Early[at].Tag
		if origin, ok := doubts[tag]; ok {
			r.Join.Stored[at] = origin
			delete(doubts, tag)
		}
	}
}

// leftOver books the records whose fate is in doubt. All others that still wait are
// strays: no entry of the ledger speaks of them.
func (r *run) leftOver(ctx context.Context) error {
	r.mu.Lock()
	r.resolve()
	r.mu.Unlock()
	for _, t := range r.targets() {
		if err := r.bookEarly(ctx, t); err != nil {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.Join.Early {
		p := e.placed()
		r.stray(r.Targets[e.Target], e.After, &p)
	}
	r.Join.Early = map[spot]early{}
	return nil
}

// levels puts shards behind all their parents.
func (r *run) levels() [][]*targetPart {
	depth := map[string]int{}
	var out [][]*targetPart
	for _, t := range r.targets() {
		d := 0
		for _, p := range t.Parents {
			if at, ok := depth[p]; ok {
				d = max(d, at+1)
			}
		}
		depth[t.ID] = d
		if d == len(out) {
			out = append(out, nil)
		}
		out[d] = append(out[d], t)
	}
	return out
}

// readShard reads one shard up to a position, or to its end.
func (r *run) readShard(ctx context.Context, t *targetPart, to bridge.Position, last bool) error {
	err := r.readShardTo(ctx, t, to, last)
	if err == nil || ctx.Err() != nil || final(err) {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	t.Lost = err.Error()
	t.finish()
	r.uncovered(Uncovered{Side: "target", Partition: t.ID, After: t.Through, Class: classOf(err), Reason: err.Error()})
	return nil
}

func (r *run) readShardTo(ctx context.Context, t *targetPart, to bridge.Position, last bool) error {
	if t.reader == nil {
		reader, err := retry(ctx, func() (bridge.Reader, error) {
			return r.v.Target.Open(ctx, t.ID, bridge.Start{After: t.Through, Tip: t.SeenAt})
		})
		if err != nil {
			return fmt.Errorf("open %s: %w", t.ID, err)
		}
		t.reader = reader
	}
	began := time.Now()
	d := r.canon.digester()
	for {
		b, err := r.readOn(ctx, t.reader, &t.pace)
		if err != nil {
			return fmt.Errorf("read %s: %w", t.ID, err)
		}
		r.attach(t, b.Records)
		if err := r.takeTarget(ctx, d, t, b); err != nil {
			return err
		}
		switch {
		case t.Done || !last && !to.After(t.Through):
			return nil
		case !last && b.Behind == 0 && b.Asked.Sub(began) > margin:
			return nil // what the ledger speaks of is not there
		}
	}
}

// attach gives records the coordinates that the ledger knows.
func (r *run) attach(t *targetPart, recs []bridge.Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range recs {
		if origin, ok := r.Join.Stored[spotOf(t.ID, recs[i].Position)]; ok {
			recs[i].Origin = origin
		}
	}
}
