package mirror

import (
	"time"

	"github.com/kinesis-msk-bridge/bridge"
)

const (
	// heldFor is how long a transaction must have been open before a run without a goal
	// reports it: producers keep transactions open for seconds as a matter of course.
	heldFor = time.Minute
	// heldAgain is how often it is reported again while it stays open.
	heldAgain = time.Minute
)

// A holdUp remembers what was said of the open transaction that a flow waits for.
type holdUp struct {
	first bridge.Position // of the transaction; zero if none is open
	since time.Time       // when the flow first met it
	told  time.Time       // when it was last reported; zero if never
}

// waits reports a transaction that keeps records of the source from being read: when it
// holds up a goal at once, else after a minute, and then once a minute.
func (f *flow) waits(open *bridge.OpenTransaction) {
	now, h := time.Now(), &f.hold
	if open == nil || open.First != h.first {
		if !h.told.IsZero() {
			f.r.log.Info("the open transaction has ended: the partition is read on", "partition", f.part.ID, "first", h.first)
		}
		*h = holdUp{}
		if open != nil {
			*h = holdUp{first: open.First, since: now}
		}
		return
	}
	goal := f.r.goal.waitsFor(f.part.ID)
	if !h.told.IsZero() && now.Sub(h.told) < heldAgain || !goal && now.Sub(h.since) < heldFor {
		return
	}
	h.told = now
	id := open.ID
	if id == "" {
		id = "unknown"
	}
	f.r.log.Warn("an open transaction keeps records of the source from being read: end its producer, or abort it with kafka-transactions.sh",
		"partition", f.part.ID, "first", open.First, "transactional_id", id, "producer_id", open.Producer,
		"age", now.Sub(open.Since).Round(time.Second), "caught_up_waits_for_it", goal)
}
