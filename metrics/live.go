package metrics

import (
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/mirror"
)

// A Live is what /progress answers: a running mirror at one moment.
type Live struct {
	Workflow string        `json:"workflow"`
	At       time.Time     `json:"at"`
	Counts   bridge.Counts `json:"counts"`
	UnderWay int64         `json:"under_way"`
	// Bytes were written by this process.
	Bytes            int64      `json:"bytes"`
	Paused           bool       `json:"paused,omitempty"`
	RetentionSeconds float64    `json:"retention_seconds,omitempty"` // of the source; 0 if not known
	Partitions       []LivePart `json:"partitions"`
}

// A LivePart is one source partition of a Live.
type LivePart struct {
	Partition string `json:"partition"`
	// BehindSeconds bounds how old a record can be that is not on the target; null if
	// the source did not say.
	BehindSeconds *float64 `json:"behind_seconds"`
	// BehindRecords bounds how many such records there were when the last page was read;
	// null if the source did not say.
	BehindRecords *int64   `json:"behind_records"`
	Ended         bool     `json:"ended,omitempty"`
	Waiting       []string `json:"waiting_for,omitempty"` // parents
	Stalled       bool     `json:"stalled,omitempty"`
	// CarryingSeconds is for how long a page has been on its way to the target.
	CarryingSeconds float64  `json:"carrying_seconds,omitempty"`
	Trouble         *Trouble `json:"trouble,omitempty"`
}

// Live says where the mirror stands now.
func (e *Exporter) Live(workflow string) Live {
	p, now := e.progress(), time.Now()
	l := Live{
		Workflow: workflow, At: now, Counts: p.Counts, UnderWay: p.UnderWay,
		Paused: e.limits().Paused, Partitions: make([]LivePart, 0, len(p.Partitions)),
	}
	e.mu.Lock()
	l.Bytes, l.RetentionSeconds = e.bytes, e.retention.Seconds()
	e.mu.Unlock()
	troubles := e.Troubles()
	for _, part := range p.Partitions {
		l.Partitions = append(l.Partitions, e.livePart(part, now, troubles))
	}
	return l
}

func (e *Exporter) livePart(part mirror.PartitionProgress, now time.Time, troubles map[string]Trouble) LivePart {
	out := LivePart{Partition: part.Partition, Ended: part.Ended, Waiting: part.Waiting, Stalled: stalled(part, troubles[part.Partition], now)}
	if d, known := Behind(part, now); known && !part.Ended {
		s := d.Round(time.Millisecond).Seconds()
		out.BehindSeconds = &s
	}
	if part.Left >= 0 && !part.Ended {
		out.BehindRecords = &part.Left
	}
	if !part.Carrying.IsZero() {
		out.CarryingSeconds = max(now.Sub(part.Carrying), 0).Round(time.Millisecond).Seconds()
	}
	if t, ok := troubles[part.Partition]; ok {
		out.Trouble = &t
	}
	return out
}
