package kinesisstream

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kinesis-msk-bridge/bridge"
)

// A put whose answer was lost, and that was not there when its time was over, can still take
// effect: a process that was stopped in the middle of it continues. Its records were put again
// by then, so what lands is a copy behind the first one. Nothing can prevent that on Kinesis;
// it is watched for, and counted. The looks go on beside the puts.

const (
	// lateFor is how long a put can come late: the service refuses signatures that are older
	// than five minutes, by clocks that may differ by as much.
	lateFor = 10 * time.Minute
	// longestPause is the longest time between two looks.
	longestPause = time.Minute
	// lateShare is the part of a shard's read budget that looks take.
	lateShare = 0.5
	// lateReaders is how many shards a look reads side by side.
	lateReaders = 8
	// mostOwn bounds how many records are remembered that looks have not come past.
	mostOwn = 1 << 15
)

// LateMemory is what a sink holds at most to tell copies that land late from its own records,
// beside the records that it was given.
const LateMemory = 2 * mostOwn * 160

// A late is the watch for such copies. It is safe for concurrent use.
type late struct {
	mu sync.Mutex
	on bool
	// all takes every record of the workflow that this sink did not store for a copy: nobody
	// knows what an older worker had under way. Else copies are known by their marks.
	all   bool
	marks map[string]map[mark]bool // by partition key
	// own is what this sink stored and no look has read, copies what looks read and is not
	// known to be this sink's own: a call under way may still turn out to have stored it.
	own    map[spot]struct{}
	copies map[spot]suspect
	from   map[string]bridge.Position // how far each shard was read
	past   map[string]bool            // shards in which nothing can land
	until  time.Time                  // when the last of them has landed
	end    time.Time                  // when the watch is given up
	wake   chan struct{}

	begun, over int // calls
}

// A suspect is a Kinesis record that a look read.
type suspect struct {
	records int64 // user records that are copies
	calls   int   // that had begun when it was read
}

// begin starts the watch, or extends one that is under way, and reports whether looks are to be
// started. tips are where the shards that can take a copy were read to, others are listed and
// take none.
func (l *late) begin(tips map[string]bridge.Position, others []string) (start bool) {
	now := time.Now()
	if start = !l.on; start {
		l.on, l.all, l.marks = true, false, map[string]map[mark]bool{}
		l.own, l.copies = map[spot]struct{}{}, map[spot]suspect{}
		l.from, l.past = map[string]bridge.Position{}, map[string]bool{}
		l.wake = make(chan struct{}, 1)
		for _, shard := range others {
			l.past[shard] = true
		}
	}
	for shard, tip := range tips {
		if _, seen := l.from[shard]; !seen {
			l.from[shard] = tip
			delete(l.past, shard)
		}
	}
	l.until = now.Add(lateFor)
	l.end = l.until.Add(lateFor)
	return start
}

// watch begins to watch for the doubts that were not found up to the tips.
func (s *Sink) watch(doubts map[string]*doubt, tips map[string]bridge.Position, others []string) {
	l := &s.late
	l.mu.Lock()
	defer l.mu.Unlock()
	start, some := false, false
	for key, d := range doubts {
		if d.shard != "" {
			continue
		}
		if !some {
			start, some = l.begin(tips, others), true
		}
		if l.marks[key] == nil {
			l.marks[key] = map[mark]bool{}
		}
		l.marks[key][d.mark] = true
	}
	if start {
		s.beside(s.keepLooking)
	}
}

// watchAll begins to watch for whatever an older worker had under way.
func (s *Sink) watchAll(tips map[string]bridge.Position) {
	l := &s.late
	l.mu.Lock()
	defer l.mu.Unlock()
	start := l.begin(tips, nil)
	l.all = true
	if start {
		s.beside(s.keepLooking)
	}
}

// calls notes that a call begins.
func (l *late) calls() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begun++
}

// stored notes what this sink stored itself, in a call that is not over.
func (l *late) stored(key string, m func() mark, shard string, at bridge.Position) (full bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.on || !l.all && !l.marks[key][m()] {
		return false
	}
	id := spot{shard, at.Seq}
	if _, read := l.copies[id]; read {
		delete(l.copies, id)
		return false
	}
	l.own[id] = struct{}{}
	if len(l.own) == mostOwn/2 {
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
	if len(l.own) > mostOwn || len(l.copies) > mostOwn {
		l.stop()
		return true
	}
	return false
}

// settled notes that a call is over: everything that it stored is known. It returns how many
// copies that makes certain.
func (l *late) settled() (copies int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over++
	return l.certain()
}

// certain takes out the copies that no call under way can have stored. The lock is held.
func (l *late) certain() (copies int64) {
	for id, c := range l.copies {
		if c.calls <= l.over {
			copies += c.records
			delete(l.copies, id)
		}
	}
	return copies
}

// stop ends the watch. The lock is held.
func (l *late) stop() {
	l.on, l.marks, l.own, l.copies, l.from, l.past = false, nil, nil, nil, nil, nil
}

// read takes a page of a shard: what in it is a copy, unless a call under way stored it.
func (l *late) read(c codec, shard string, b *bridge.Batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.on {
		return
	}
	for i := range b.Records {
		r := &b.Records[i]
		n := int64(1)
		switch {
		case l.all && !r.Origin.IsZero():
		case l.all && !c.ledgered():
			continue
		case !l.marks[string(r.Key)][c.mark(r)]:
			continue
		default: // the first of those that were put together
			n = int64(max(r.Subs, 1))
			if c.ledgered() {
				n = 1
			}
		}
		id := spot{shard, r.Position.Seq}
		if _, own := l.own[id]; own {
			continue
		}
		s := l.copies[id]
		l.copies[id] = suspect{s.records + n, l.begun}
	}
	for i := range b.Records {
		delete(l.own, spot{shard, b.Records[i].Position.Seq})
	}
	if b.Through.After(l.from[shard]) || b.Ended {
		l.from[shard] = b.Through.Clone()
	}
	if b.Ended {
		l.past[shard] = true
	}
}

// keepLooking looks for copies until none can land any more, or ctx ends. A look that does not
// come to its end is given up, and said to be.
func (s *Sink) keepLooking(ctx context.Context) {
	l := &s.late
	for wait := s.conf.PutTimeout; ; wait = min(2*wait, longestPause) {
		l.mu.Lock()
		wake, on := l.wake, l.on
		l.mu.Unlock()
		if !on || pauseUnless(ctx, wait, wake) != nil {
			return
		}
		began := time.Now()
		err := s.lookForLate(ctx)
		if ctx.Err() != nil {
			return
		}
		l.mu.Lock()
		copies := l.certain()
		done := err == nil && began.After(l.until)
		lost := !done && began.After(l.end)
		if done || lost {
			for _, c := range l.copies { // of the call under way, whose answer may never come
				copies += c.records
			}
			l.stop()
		}
		l.mu.Unlock()
		s.rewound(copies)
		if lost {
			s.unwatched(fmt.Sprintf("the shards could not be read in time: %v", err))
		}
		if done || lost {
			return
		}
	}
}

// rewound counts copies.
func (s *Sink) rewound(copies int64) {
	if copies > 0 && s.conf.Rewind != nil {
		s.conf.Rewind(copies)
	}
}

// unwatched says that copies may land that are not counted.
func (s *Sink) unwatched(why string) {
	if s.conf.Unwatched != nil {
		s.conf.Unwatched(why)
	}
}

// lookForLate reads each shard from where the last look ended, side by side. A shard whose
// records arrived when no copy can land any more is read to its end.
func (s *Sink) lookForLate(ctx context.Context) error {
	l := &s.late
	l.mu.Lock()
	end, until := l.end, l.until
	l.mu.Unlock()
	ctx, cancel := context.WithDeadline(ctx, end.Add(time.Second))
	defer cancel()
	shards, err := s.Partitions(ctx)
	if err != nil {
		return err
	}
	group, work := errgroup.WithContext(ctx)
	group.SetLimit(lateReaders)
	for _, shard := range shards {
		l.mu.Lock()
		from, past := l.from[shard.ID], l.past[shard.ID]
		l.mu.Unlock()
		if past {
			continue
		}
		group.Go(func() error { return s.lookInto(work, shard.ID, from, until) })
	}
	return group.Wait()
}

func (s *Sink) lookInto(ctx context.Context, shard string, from bridge.Position, until time.Time) error {
	conf := SourceConfig{Share: lateShare, Aggregation: s.conf.Format.ReadBy(), Stamp: s.conf.Stamp}
	r := newReader(s.Client, conf, shard, bridge.Start{After: from})
	r.proved = true
	if err := r.open(ctx); err != nil {
		return err
	}
	began := time.Now()
	for {
		b, err := r.Read(ctx)
		if err != nil {
			return err
		}
		s.late.read(s.codec, shard, &b)
		n := len(b.Records)
		if b.Ended || b.Behind == 0 && b.Asked.After(began) || n > 0 && b.Records[n-1].Arrived.After(s.theirs(until).Add(clockSkew)) {
			return nil
		}
	}
}

// pauseUnless waits for d, or until somebody wakes it. The error is that of ctx.
func pauseUnless(ctx context.Context, d time.Duration, wake <-chan struct{}) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-wake:
	case <-t.C:
	}
	return nil
}
