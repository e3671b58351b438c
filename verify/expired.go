package verify

import (
	"time"

	"github.com/kinesis-msk-bridge/bridge"
)

// A stream that cannot say where its shards begin forgets in silence. Records that carry
// their coordinates show how far: what stood before the oldest ones may have expired.

// headRecords is how many of the oldest records of a source partition in a shard bound what
// may have stood before them: more than overtake one that was refused.
const headRecords = 1 << 12

// clockSkew is how far ahead of arrival the time of a record may be.
const clockSkew = time.Hour

// A head is the beginning of a source partition in one shard.
type head struct {
	N   int
	Top bridge.Position // the greatest of the first headRecords
}

// noteHead notes a record in the order of its shard. The lock is held.
func (r *run) noteHead(t *targetPart, s *sourcePart, at bridge.Position) {
	if !r.keyed || r.v.Expiry.Least == 0 {
		return
	}
	p := pair{t.Index, s.Index}
	h := r.Heads[p]
	if h.N >= headRecords {
		return
	}
	if h.N++; at.After(h.Top) {
		h.Top = at.Clone()
	}
	r.Heads[p] = h
}

// mayHaveExpired reports whether a record that is nowhere may have stood before the oldest
// that its shard still has: it is old enough, nothing older of its key is there, and it
// belongs to the beginning of its source partition in the first shard that shows any of it.
func (d *drill) mayHaveExpired(src *item) (shard string, may bool) {
	r := d.r
	e, now := r.v.Expiry, time.Now()
	if !r.keyed || e.Least == 0 || e.Began.After(now.Add(-e.Least)) || src.time.After(now.Add(clockSkew-e.Least)) || d.olderOfKey(src) {
		return "", false
	}
	for _, t := range r.Targets {
		if !t.hash.holdsKey(src.raw) {
			continue
		}
		if shard = t.ID; r.Heads[pair{t.Index, src.s.Index}].N > 0 {
			return shard, !src.at.After(r.Heads[pair{t.Index, src.s.Index}].Top)
		}
	}
	return shard, true
}

// A keyOfSource is a key in one source partition.
type keyOfSource struct {
	source int
	key    uint64
}

// olderOfKey reports whether an older record of the same key was found on the target: since
// a key keeps its order, a younger one cannot have expired before it.
func (d *drill) olderOfKey(src *item) bool {
	if d.oldest == nil {
		d.oldest = map[keyOfSource]bridge.Position{}
		for _, list := range d.target {
			for _, c := range list {
				k := keyOfSource{c.s.Index, c.key}
				if low, ok := d.oldest[k]; !c.foreign && (!ok || low.After(c.at)) {
					d.oldest[k] = c.at
				}
			}
		}
	}
	low, ok := d.oldest[keyOfSource{src.s.Index, src.key}]
	return ok && src.at.After(low)
}
