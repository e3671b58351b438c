package mirror

import (
	"fmt"
	"slices"
	"sync"

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
	mu      sync.Mutex // guards listed, which Snapshot reads
}

func newLineage(t *tracker, first bool, stream string) *lineage {
	return &lineage{tracker: t, first: first, stream: stream, started: map[string]bool{}}
}

// update takes what the source lists now, and finds what came and went unread.
func (l *lineage) update(parts []bridge.Partition) error {
	listed := make(map[string]bridge.Partition, len(parts))
	for _, p := range parts {
		listed[p.ID] = p
	}
	if !l.first {
		for _, p := range parts {
			if err := l.explain(p, listed); err != nil {
				return err
			}
		}
	}
	if err := l.expired(listed); err != nil {
		return err
	}
	l.first = false
	l.tracker.know(parts)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.listed = listed
	return nil
}

const expiredHint = "raise the stream's retention for the next time; what is gone must come from the producers"

// explain accounts for a partition that has no row yet: it must have come from ones that
// are known. On the very first start an unlisted parent holds nothing that could be read.
func (l *lineage) explain(p bridge.Partition, listed map[string]bridge.Partition) error {
	if _, known := l.tracker.row(p.ID); known {
		return nil
	}
	if len(p.Parents) == 0 {
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

// expired finds partitions that were not read to their end before they expired. One that
// a flow reads is for that flow to judge: it may have the last page in its hands.
func (l *lineage) expired(listed map[string]bridge.Partition) error {
	for _, row := range l.tracker.allRows() {
		if _, there := listed[row.Partition]; !there && !row.Ended && !l.started[row.Partition] {
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

// forgettable are rows needed no more: ended, expired, and all children have rows.
func (l *lineage) forgettable() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for _, row := range l.tracker.allRows() {
		if _, there := l.listed[row.Partition]; there || !row.Ended || !l.tracker.over(row.Partition) {
			continue
		}
		out = append(out, row.Partition)
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
