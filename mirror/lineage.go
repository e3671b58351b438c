package mirror

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
)

// A lineage knows which partitions there are and which may be read: those all of whose
// parents are done. One run uses it from one goroutine.
type lineage struct {
	tracker *tracker
	stream  string // for people
	first   bool   // no checkpoint was there: nothing was ever read
	listed  map[string]bridge.Partition
	started map[string]bool
	// doubts are partitions that a listing contradicts, and how often and since when.
	doubts map[string]doubt
	// since is when the listing before was made; what it lacked held nothing then. It is by the
	// source's clock if known is set, else by this machine's.
	since  time.Time
	known  bool
	absent map[string]time.Time // rows that are not listed, and since when
	mu     sync.Mutex           // guards listed and absent, which the saver reads
}

// A doubt is what listings in a row say that a single one may be wrong about.
type doubt struct {
	since    time.Time
	listings int
}

const (
	// doubtFor and doubtListings are for how long and how often the service must leave a shard
	// out of its listings until it is taken to have expired.
	doubtFor      = 5 * time.Second
	doubtListings = 3
	// relistAfter is how soon the partitions are listed again while there is a doubt.
	relistAfter = 2 * time.Second
	// forgetAfter is how long an ended partition must not have been listed until its row is
	// given up: a row that is kept costs little, and one that is missed ends the mirror.
	forgetAfter = time.Hour
)

func newLineage(t *tracker, first bool, stream string) *lineage {
	return &lineage{tracker: t, first: first, stream: stream, started: map[string]bool{}, doubts: map[string]doubt{}, absent: map[string]time.Time{}}
}

// listingAge is more than the time between a checkpoint and the listing before it.
const listingAge = 10 * time.Minute

// resume takes the time of the last listing from a checkpoint.
func (l *lineage) resume(cp bridge.Checkpoint) {
	l.since, l.known = cp.Clock.Add(-listingAge), true
	if cp.Clock.IsZero() { // of an earlier version, or nothing was read
		l.since = cp.At.Add(-listingAge)
	}
}

// update takes what the source lists now, and finds what came and went unread. What is in
// doubt is left out until a few listings agree: then it is an error, or no doubt any more.
func (l *lineage) update(parts []bridge.Partition) error {
	listed := make(map[string]bridge.Partition, len(parts))
	for _, p := range parts {
		listed[p.ID] = p
	}
	before := l.doubts
	l.doubts = map[string]doubt{}
	if !l.known && !l.since.IsZero() {
		l.since, _ = l.tracker.sourceTime(l.since)
	}
	since := l.since
	if l.first {
		l.orphans(parts, listed, before)
		since = time.Time{} // it says nothing of what the first listing lacked
	} else {
		if err := l.explainAll(parts, listed, before); err != nil {
			return err
		}
	}
	if err := l.expired(listed, before); err != nil {
		return err
	}
	l.first = l.first && len(l.doubts) > 0
	l.tracker.know(slices.Collect(maps.Values(listed)), since)
	l.since, l.known = l.tracker.sourceTime(time.Now())
	l.mu.Lock()
	defer l.mu.Unlock()
	l.listed = listed
	l.missing()
	return nil
}

// explainAll explains every partition, and leaves those that are in doubt out of listed.
func (l *lineage) explainAll(parts []bridge.Partition, listed map[string]bridge.Partition, before map[string]doubt) error {
	children := sync.OnceValue(l.children)
	for _, p := range parts {
		err := l.explain(p, listed, children)
		if errors.Is(err, bridge.ErrGap) && !l.doubt(p.ID, before) {
			delete(listed, p.ID)
			err = nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// all are the partitions that are listed or have a row.
func (l *lineage) all() []bridge.Partition {
	out := slices.Collect(maps.Values(l.listed))
	for _, row := range l.tracker.allRows() {
		if _, there := l.listed[row.Partition]; !there {
			out = append(out, bridge.Partition{ID: row.Partition, Parents: row.Parents})
		}
	}
	return out
}

// doubt notes that a listing contradicts what is known of a partition, and reports whether
// enough of them did for it to be certain.
func (l *lineage) doubt(partition string, before map[string]doubt) bool {
	d, known := before[partition]
	if !known {
		d.since = time.Now()
	}
	d.listings++
	l.doubts[partition] = d
	return d.listings >= doubtListings && time.Since(d.since) >= doubtFor
}

// missing notes since when rows are not listed. The lock is held.
func (l *lineage) missing() {
	absent := map[string]time.Time{}
	for _, row := range l.tracker.allRows() {
		if _, there := l.listed[row.Partition]; there {
			continue
		}
		since, known := l.absent[row.Partition]
		if !known {
			since = time.Now()
		}
		absent[row.Partition] = since
	}
	l.absent = absent
}

const expiredHint = "raise the stream's retention for the next time; what is gone must come from the producers"

// orphans doubts the first listing where it lacks a parent. On the very first start an unlisted
// parent has expired, and holds nothing that could be read, once enough listings lack it.
func (l *lineage) orphans(parts []bridge.Partition, listed map[string]bridge.Partition, before map[string]doubt) {
	for _, p := range parts {
		for _, parent := range p.Parents {
			if _, there := listed[parent]; there {
				continue
			}
			if _, known := l.tracker.row(parent); !known && l.doubt(parent, before) {
				delete(l.doubts, parent)
			}
		}
	}
}

// explain accounts for a partition that has no row yet: it must have come from ones that
// are known, and nothing that came from it may have been read.
func (l *lineage) explain(p bridge.Partition, listed map[string]bridge.Partition, children func() map[string]childOf) error {
	if _, known := l.tracker.row(p.ID); known {
		return nil
	}
	child := children()[p.ID]
	if child.read {
		err := fmt.Errorf("shard %s of %s was left out of the listings of the first start, and its child %s was read without it: %w", p.ID, l.stream, child.name, bridge.ErrChanged)
		return bridge.WithHint(err, "its records would come behind later ones of their keys; begin a new workflow on an empty target")
	}
	if len(p.Parents) == 0 && child.name == "" {
		err := fmt.Errorf("partition %s appeared in %s, and came from no other: %w", p.ID, l.stream, bridge.ErrChanged)
		return bridge.WithHint(err, "with another number of partitions keys go elsewhere and lose their order; begin a new workflow")
	}
	for _, parent := range p.Parents {
		_, known := l.tracker.row(parent)
		if _, there := listed[parent]; !known && !there {
			return bridge.WithHint(&bridge.GapError{Stream: l.stream, Partition: parent,
				Reason: "it was created and has expired while nobody read it; its child is " + p.ID}, expiredHint)
		}
	}
	return nil
}

// A childOf is a known child of a partition: one that was read if any was.
type childOf struct {
	name string
	read bool
}

// children are the partitions that known ones came from.
func (l *lineage) children() map[string]childOf {
	out := map[string]childOf{}
	for _, row := range l.tracker.allRows() {
		read := row.Ended || !row.Position.IsZero() || l.started[row.Partition]
		for _, parent := range row.Parents {
			if read || out[parent].name == "" {
				out[parent] = childOf{row.Partition, read}
			}
		}
	}
	return out
}

// expired finds partitions that were not read to their end before they expired. One that
// a flow reads is for that flow to judge: it may have the last page in its hands.
func (l *lineage) expired(listed map[string]bridge.Partition, before map[string]doubt) error {
	for _, row := range l.tracker.allRows() {
		_, there := listed[row.Partition]
		if !there && !row.Ended && !l.started[row.Partition] && l.doubt(row.Partition, before) {
			return expiredUnread(l.stream, row)
		}
	}
	return nil
}

func expiredUnread(stream string, row bridge.Row) error {
	return bridge.WithHint(&bridge.GapError{Stream: stream, Partition: row.Partition, After: row.Position,
		Reason: "the partition expired before it was read to its end"}, expiredHint)
}

// startable returns the partitions whose flows may begin now, each once.
func (l *lineage) startable() []bridge.Partition {
	var out []bridge.Partition
	for _, p := range l.listed {
		if l.started[p.ID] || !l.ready(p) {
			continue
		}
		l.started[p.ID] = true
		if row, _ := l.tracker.row(p.ID); !row.Ended {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b bridge.Partition) int { return compareIDs(a.ID, b.ID) })
	return out
}

// ready: every parent's end is checkpointed, or nothing of it can be read any more, which
// update has made sure is no loss.
func (l *lineage) ready(p bridge.Partition) bool {
	return len(l.blockers(p)) == 0
}

// blockers are the parents that p still waits for.
func (l *lineage) blockers(p bridge.Partition) []string {
	var out []string
	for _, parent := range p.Parents {
		_, known := l.tracker.row(parent)
		if known && !l.tracker.over(parent) {
			out = append(out, parent)
		}
	}
	return out
}

// forgettable are rows needed no more: ended, not listed for long, and with a child that has a
// row. All children of a shard are born at once, so that none is left out of the listings of
// an hour.
func (l *lineage) forgettable() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	rows := l.tracker.allRows()
	parents := map[string]bool{}
	for _, row := range rows {
		for _, p := range row.Parents {
			parents[p] = true
		}
	}
	var out []string
	for _, row := range rows {
		since, absent := l.absent[row.Partition]
		if absent && time.Since(since) >= forgetAfter && row.Ended && parents[row.Partition] && l.tracker.over(row.Partition) {
			out = append(out, row.Partition)
		}
	}
	return out
}

func compareIDs(a, b string) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
