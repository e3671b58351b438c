package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kinesis-msk-bridge/bridge"
)

// A spot is one record of the target: no record of two has the same one.
type spot struct{ Partition, Seq string }

func spotOf(partition string, at bridge.Position) spot { return spot{partition, at.String()} }

// A joinState is what connects ledger and target: the ledger is read a piece at a time,
// and each shard as far as the piece says that records stand. Both run in step, so that
// only what is between them is held.
type joinState struct {
	Read    bridge.Position // of the ledger
	Intents openEntries
	// Stored says, by partition of the target, which coordinates records have, until the
	// partition was read beyond them.
	Stored map[string]*spoken
	// Early are, by partition and in its order, records that were read before the ledger
	// said whose they are; Waiting is how many.
	Early   map[string][]early
	Waiting int
	Lost    bool // the ledger could not be read to its end
	// Late are intents whose record was not found in its time, and can still land: a copy.
	Late doubts
	// Resolved are the records that were found to be of an intent in doubt.
	Resolved map[spot]resolved
	// Head is up to where the ledger has forgotten its entries, and Known, by partition of the
	// target, the first place that the kept ones speak of. What stands before that is unknown.
	Head  bridge.Position
	Known map[string]bridge.Position
	// SeenAt: all that the ledger said before was read on the target.
	SeenAt time.Time
}

// A resolved is whose record stands at a place of which the ledger does not speak.
type resolved struct {
	Origin bridge.Coordinate
	Digest uint64
	Late   bool
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
	Slot     uint16
}

const (
	// ledgerPiece is how many results of the ledger are taken at a time. Shards are read as far
	// apart as that.
	ledgerPiece = 1 << 13
	// maxEarly bounds the records that wait; more are strays.
	maxEarly = 1 << 18
)

func newJoin() *joinState {
	return &joinState{Intents: openEntries{}, Stored: map[string]*spoken{}, Early: map[string][]early{}, Late: doubts{}, Known: map[string]bridge.Position{}}
}

// take books one ledger entry, and returns how many results it had.
func (j *joinState) take(e bridge.LedgerEntry) (n int) {
	for i := range e.Settled {
		s := &e.Settled[i]
		intent, ok := j.Intents.settle(s)
		if ok && s.Doubt && !s.Stored {
			if j.Late == nil { // in a run of an earlier version
				j.Late = doubts{}
			}
			j.Late.add(&intent)
		}
		if !ok || !s.Stored {
			continue
		}
		n++
		if !j.Head.IsZero() {
			if known, ok := j.Known[s.Partition]; !ok || known.After(s.Position) {
				j.Known[s.Partition] = s.Position.Clone()
			}
		}
		j.speak(s.Partition, s.Position, intent.Origin)
	}
	j.Intents.add(&e, nil)
	j.Read = e.At
	return n
}

// speak notes the coordinate of a place.
func (j *joinState) speak(partition string, at bridge.Position, origin bridge.Coordinate) {
	s := j.Stored[partition]
	if s == nil {
		s = &spoken{}
		j.Stored[partition] = s
	}
	s.add(at, origin)
}

// piece reads on in the ledger, and returns up to where it speaks of each partition now. end
// says that it was read to its end.
func (r *run) piece(ctx context.Context) (far map[string]bridge.Position, end bool, err error) {
	end, err = r.readPiece(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	far = map[string]bridge.Position{}
	for id, says := range r.Join.Stored {
		if !says.far.IsZero() {
			far[id], says.far = says.far, bridge.Position{}
		}
	}
	return far, end, err
}

// readPiece takes up entries until they have brought as many results as a piece has. The end
// of the ledger is what it was when this piece began, or later.
func (r *run) readPiece(ctx context.Context) (end bool, err error) {
	anew := false
	for n := 0; n < r.v.piece; {
		if r.entries == nil {
			after := r.Join.Read
			read := func(ctx context.Context) iter.Seq2[bridge.LedgerEntry, error] { return r.v.Ledger.Read(ctx, after) }
			next, stop := iter.Pull2(patient(ctx, r.v, "the ledger", read))
			r.entries, anew = &entries{next, stop}, true
		}
		e, err, ok := r.entries.next()
		if head, gone := bridge.LedgerHead(err, r.Join.Read); gone {
			r.closeLedger()
			r.ledgerBegins(head)
			continue
		}
		if err != nil || !ok {
			r.closeLedger()
			if err != nil || anew {
				return err == nil, err
			}
			continue
		}
		r.mu.Lock()
		n += r.Join.take(e)
		r.mu.Unlock()
	}
	return false, nil
}

// entries are those of the ledger that are being read. One reading lasts over many pieces: each
// begins with a connection, and with more entries at once than a piece takes.
type entries struct {
	next func() (bridge.LedgerEntry, error, bool)
	stop func()
}

func (r *run) closeLedger() {
	if r.entries != nil {
		r.entries.stop()
		r.entries = nil
	}
}

// readByLedger reads ledger and target in step, and what is left of the target when the
// ledger is at its end.
func (r *run) readByLedger(ctx context.Context) error {
	r.mu.Lock()
	if r.Join == nil {
		r.Join = newJoin()
	}
	r.mu.Unlock()
	err := r.inStep(ctx)
	r.closeLedger()
	for _, t := range r.targets() {
		if t.walk != nil {
			err = errors.Join(err, t.walk.close())
			t.walk = nil
		}
	}
	return err
}

func (r *run) inStep(ctx context.Context) error {
	moved, read := time.Now(), r.Join.Read
	for {
		due, asked := r.targetDue(), time.Now()
		far, end, err := r.piece(ctx)
		if err != nil && (ctx.Err() != nil || final(err)) {
			return fmt.Errorf("read the ledger: %w", err)
		}
		if err == nil || r.Join.Read != read {
			moved, read = time.Now(), r.Join.Read
		}
		err = r.v.stalled("the ledger", moved, err)
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

// ledgerBegins notes that the ledger has forgotten its entries up to a position. What it spoke
// of before is kept; a place of which it does not speak may have been in those entries.
func (r *run) ledgerBegins(head bridge.Position) {
	r.v.Logger.Warn("the ledger has forgotten its oldest entries", "through", head.String())
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Join.Read, r.Join.Head, r.Join.Known = head, head, map[string]bridge.Position{}
}

// ledgerUnknown says why the ledger may have spoken of a place of the target of which it does
// not speak; empty if it would speak of it.
func (r *run) ledgerUnknown(partition string, at bridge.Position) (Class, string) {
	if r.v.Ledger == nil || r.Join == nil {
		return "", ""
	}
	if r.Join.Lost {
		return Unread, "the ledger cannot be read"
	}
	if known, ok := r.Join.Known[partition]; !r.Join.Head.IsZero() && (!ok || known.After(at)) {
		return Unverifiable, "the ledger has forgotten the entries that may have spoken of it"
	}
	return "", ""
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
	if last || r.strange(far) {
		if err := r.listTarget(ctx); err != nil {
			return err
		}
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

// strange reports whether a partition is not listed.
func (r *run) strange(far map[string]bridge.Position) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id := range far {
		if r.targetByID[id] == nil {
			return true
		}
	}
	return false
}

// early keeps a record that the ledger may still speak of, and reports whether it did.
// The lock is held.
func (r *run) early(t *targetPart, after bridge.Position, p *placed) bool {
	if r.v.Ledger == nil || p.foreign || r.Join.Waiting >= maxEarly {
		return false
	}
	r.Join.Early[t.ID] = append(r.Join.Early[t.ID], early{
		Target: t.Index, After: after, Position: p.position.Clone(), Time: p.time, Content: p.content, Size: p.size,
		Cell: p.cell, Key: p.key, Tag: p.tag, Right: p.right, Slot: p.slot,
	})
	r.Join.Waiting++
	return true
}

func (e *early) placed() placed {
	p := placed{position: e.Position, right: e.Right, slot: e.Slot, tag: e.Tag}
	p.time, p.content, p.size, p.cell, p.key = e.Time, e.Content, e.Size, e.Cell, e.Key
	return p
}

// bookEarly books the records of a shard that the ledger has spoken of by now, in order.
func (r *run) bookEarly(ctx context.Context, t *targetPart) error {
	r.mu.Lock()
	waiting, says := r.Join.Early[t.ID], r.Join.Stored[t.ID]
	list := t.page[:0]
	for i := 0; says != nil && i < len(waiting); i++ {
		if origin, ok := says.find(waiting[i].Position); ok {
			p := waiting[i].placed()
			p.origin = origin
			p.bind(r.canon)
			list = append(list, p)
		}
	}
	r.mu.Unlock()
	if len(list) == 0 {
		return nil
	}
	t.page = list[:0]
	if err := r.await(ctx, list); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	a := passage{r: r, t: t}
	rest := waiting[:0]
	for i := range waiting {
		if len(list) > 0 && list[0].position == waiting[i].Position {
			r.bookPlaced(&a, waiting[i].After, &list[0])
			list = list[1:]
			continue
		}
		rest = append(rest, waiting[i])
	}
	a.stretch()
	r.Join.Waiting -= len(waiting) - len(rest)
	clear(waiting[len(rest):])
	r.Join.Early[t.ID] = rest
	return nil
}

// prune forgets what the ledger says of places up to which partitions were read: it was
// booked, or they did not hold it. The room for what it says of a partition next stays.
func (r *run) prune() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, says := range r.Join.Stored {
		if t := r.targetByID[id]; t == nil || says.forget(t.Through) == 0 && t.Done {
			delete(r.Join.Stored, id)
		}
	}
}

// resolve gives records that wait the coordinates of intents of whose fate the ledger does
// not speak, since a mirror that was killed could not say it, and then those of intents that
// were put again before their first call landed: those are copies. At most one record a key is
// in such doubt, and key and value tell which. The lock is held.
func (r *run) resolve() {
	open, late := doubts{}, r.Join.Late.clone()
	r.Join.Resolved = map[spot]resolved{}
	for intent := range r.Join.Intents.all {
		open.add(intent)
	}
	for _, e := range r.waiting() {
		origin, ok := open.take(e.Tag)
		copied := false
		if !ok {
			origin, ok = late.take(e.Tag)
			copied = ok
		}
		if id := r.Targets[e.Target].ID; ok {
			r.Join.speak(id, e.Position, origin)
			r.Join.Resolved[spotOf(id, e.Position)] = resolved{origin, e.Tag, copied}
		}
	}
}

// waiting are all records that wait, in the order of their positions. The lock is held.
func (r *run) waiting() []early {
	var all []early
	for _, list := range r.Join.Early {
		all = append(all, list...)
	}
	slices.SortFunc(all, func(a, b early) int { return cmp.Or(a.Position.Compare(b.Position), cmp.Compare(a.Target, b.Target)) })
	return all
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
	for _, e := range r.waiting() {
		p := e.placed()
		r.stray(r.Targets[e.Target], e.After, &p)
	}
	r.Join.Early, r.Join.Waiting = map[string][]early{}, 0
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
	if t.walk == nil {
		t.walk = r.walkTarget(t)
	}
	began := time.Now()
	d := r.canon.digester()
	for {
		b, err := r.nextOfTarget(ctx, t, t.walk)
		if err != nil {
			return err
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
	says := r.Join.Stored[t.ID]
	for i := 0; says != nil && i < len(recs); i++ {
		if origin, ok := says.find(recs[i].Position); ok {
			recs[i].Origin = origin
		}
	}
}
