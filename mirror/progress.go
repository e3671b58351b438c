package mirror

import (
	"slices"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
)

// A Progress is what a running mirror can say of itself.
type Progress struct {
	Source, Target bridge.Identity
	Counts         bridge.Counts
	// UnderWay is how many records were given to the sink and are in no count yet.
	UnderWay   int64
	Partitions []PartitionProgress
}

// A PartitionProgress is one source partition. Its Row is what is done, which can be more
// than what is checkpointed.
type PartitionProgress struct {
	bridge.Row
	Lag     time.Duration // behind the newest record when last asked; negative if not known
	Left    int64         // records behind what is done, at most; negative if not known
	Asked   time.Time     // when the source was asked for the last page that is done; zero if never
	Waiting []string      // parents whose end is not checkpointed yet

	// Since is when its last page was done, or if none was when its flow began; zero
	// before that.
	Since time.Time
	// Held is for how much of the time since Since a Gate held its reads back.
	Held time.Duration
	// Carrying is since when a page is on its way to the target; zero if none is.
	Carrying time.Time
}

// Progress says where Run stands; it is zero before Run has read its checkpoint. It may
// be called at any time from any goroutine.
func (m *Mirror) Progress() Progress {
	m.mu.Lock()
	r := m.run
	m.mu.Unlock()
	if r == nil {
		return Progress{}
	}
	p := Progress{Source: r.source, Target: r.target, UnderWay: r.underWay.Load()}
	p.Counts, p.Partitions = r.tracker.progress()
	for i := range p.Partitions {
		s := &p.Partitions[i]
		if s.Position.IsZero() {
			s.Waiting = r.lineage.blockers(bridge.Partition{ID: s.Partition, Parents: s.Parents})
		}
	}
	slices.SortFunc(p.Partitions, func(a, b PartitionProgress) int { return compareIDs(a.Partition, b.Partition) })
	return p
}

func (t *tracker) progress() (bridge.Counts, []PartitionProgress) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []PartitionProgress
	now := time.Now()
	for _, s := range t.rows {
		out = append(out, PartitionProgress{
			Row: s.Row, Lag: s.lag, Left: s.leftAt(now), Asked: s.asked, Since: s.pace.since, Held: s.pace.heldFor(now), Carrying: s.pace.carrying,
		})
	}
	return t.counts, out
}
