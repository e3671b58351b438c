package mirror

import (
	"context"
	"fmt"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
)

// keepSaving writes a checkpoint every interval in which something moved, at once when a
// partition ends, since its children wait for that, and as a heartbeat.
func (r *run) keepSaving(ctx context.Context, done <-chan struct{}) error {
	tick := time.NewTicker(orElse(r.m.Interval, 5*time.Second))
	defer tick.Stop()
	for {
		soon := false
		select {
		case <-done:
			return nil
		case <-ctx.Done():
			return nil
		case <-r.saveNow:
			soon = true
		case <-tick.C:
		}
		idle := time.Since(r.lastSave) < orElse(r.m.Heartbeat, 10*time.Minute)
		if !soon && idle && !r.tracker.isDirty() {
			continue
		}
		if err := r.save(ctx, false); err != nil {
			return err
		}
	}
}

// saveSoon asks for a checkpoint without waiting for it.
func (r *run) saveSoon() {
	select {
	case r.saveNow <- struct{}{}:
	default:
	}
}

// save writes one checkpoint. A heartbeat and a clean stop hold every row, because the
// times up to which idle partitions were seen empty change without a record.
func (r *run) save(ctx context.Context, clean bool) error {
	all := clean || time.Since(r.lastSave) >= orElse(r.m.Heartbeat, 10*time.Minute)
	if all || !r.fresh {
		r.fresh = r.freshen(ctx)
	}
	forget := r.lineage.forgettable()
	cp, restore := r.tracker.cut(all)
	cp.Source, cp.Target, cp.Keymap = r.source, r.target, r.m.Keys.Name()
	cp.At, cp.Clean, cp.Forget = time.Now(), clean && cp.Clean, forget
	if clock, known := r.tracker.sourceTime(cp.At); known {
		cp.Clock = clock
	}
	_, err := retry(ctx, r, "checkpoint", "", func() (struct{}, error) {
		return struct{}{}, r.m.Checkpoints.Save(ctx, cp)
	})
	if err != nil {
		restore()
		return fmt.Errorf("save the checkpoint: %w", err)
	}
	r.lastSave = cp.At
	ended := r.tracker.saved(cp)
	if fn := r.m.Hooks.Checkpoint; fn != nil {
		fn(cp)
	}
	if len(ended) > 0 {
		r.tellEnded(ended)
	}
	return nil
}

// freshen lets the floor pass what others wrote to the target, if the sink can say where
// that ends: an idle mirror would else look for its own behind ever older positions, until
// retention passes them. If the sink does not answer, the next checkpoint asks again.
func (r *run) freshen(ctx context.Context) bool {
	sink, ok := r.m.Sink.(bridge.Ender)
	if !ok {
		return true
	}
	ends, err := sink.Ends(ctx)
	if err != nil {
		r.log.Debug("cannot tell where the target ends", "error", err)
		return false
	}
	r.tracker.reached(ends)
	return true
}

// tellEnded lets the scheduler look for children.
func (r *run) tellEnded(ended []string) {
	if fn := r.m.Hooks.Ended; fn != nil {
		for _, p := range ended {
			fn(p)
		}
	}
	select {
	case r.relist <- struct{}{}:
	default:
	}
}
