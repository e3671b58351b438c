package kinesisstream

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
)

// A put whose answer was lost, and that was not there when its time was over, can still
// take effect: a process that was stopped in the middle of it goes on. Its records were
// put again by then, so what lands is a copy behind the first one. Nothing can prevent
// that on Kinesis; it is watched for, and counted.

// lateFor is how long a put can come late: the service refuses signatures that are older
// than five minutes, by clocks that may differ by as much.
const lateFor = 10 * time.Minute

// A late watches for such copies. It belongs to whoever holds the sink's turn.
type late struct {
	keys  map[string]*lateKey
	from  map[string]bridge.Position // what was seen of each shard
	since time.Time                  // where shards begin that were not seen
	wait  time.Duration              // between two looks
	next  time.Time
	until time.Time
}

// A lateKey is what may come late of one partition key.
type lateKey struct {
	marks map[mark]bool
	own   map[spot]bool // what this sink stored since
}

// watch begins to watch for the doubts that were not found up to the tips. The first look is
// after wait, later ones less and less often.
func (l *late) watch(doubts map[string]*doubt, tips map[string]bridge.Position) {
	now := time.Now()
	for key, d := range doubts {
		if d.shard != "" {
			continue
		}
		if len(l.keys) == 0 {
			*l = late{keys: map[string]*lateKey{}, from: map[string]bridge.Position{}, since: now.Add(-clockSkew), wait: l.wait}
		}
		k := l.keys[key]
		if k == nil {
			k = &lateKey{marks: map[mark]bool{}, own: map[spot]bool{}}
			l.keys[key] = k
		}
		k.marks[d.mark] = true
		l.next, l.until = now.Add(l.wait), now.Add(lateFor)
	}
	for shard, tip := range tips {
		if _, seen := l.from[shard]; !seen && l.from != nil {
			l.from[shard] = tip
		}
	}
}

// own notes what this sink stored itself.
func (l *late) own(key, shard string, at bridge.Position) {
	if k := l.keys[key]; k != nil {
		k.own[spot{shard, at.Seq}] = true
	}
}

// due reports whether it is time to look, and if not when it will be; never if the zero time.
func (l *late) due() (bool, time.Time) {
	if len(l.keys) == 0 {
		return false, time.Time{}
	}
	return !time.Now().Before(l.next), l.next
}

// lookForLate counts the copies that came late since the last look. What cannot be read
// now is read the next time.
func (s *Sink) lookForLate(ctx context.Context) {
	l := &s.late
	ctx, cancel := context.WithTimeout(ctx, s.conf.PutTimeout)
	defer cancel()
	shards, err := s.shardsOf(ctx, slices.Collect(maps.Keys(l.keys)))
	for _, shard := range shards {
		start := bridge.Start{After: l.from[shard]}
		if start.After.IsZero() {
			start.At = l.since
		}
		copies := int64(0)
		var tip bridge.Position
		tip, err = s.scanShard(ctx, shard, start, true, func(r *bridge.Record) {
			k := l.keys[string(r.Key)]
			if k != nil && k.marks[s.codec.mark(r)] && !k.own[spot{r.Partition, r.Position.Seq}] {
				copies++
			}
		})
		if err != nil {
			break
		}
		l.from[shard] = tip
		if copies > 0 && s.conf.Rewind != nil {
			s.conf.Rewind(copies)
		}
	}
	now := time.Now()
	l.next = now.Add(l.wait)
	if l.wait = min(2*l.wait, time.Minute); now.After(l.until) && err == nil {
		*l = late{wait: s.conf.PutTimeout}
	}
}
