package kinesisstream

import (
	"context"
	"fmt"
	"slices"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/kpl"
)

// In the format KPLShard an aggregate holds records of many keys that belong to one shard.
// Which shard that is was asked some time ago: a reshard in between puts the aggregate
// where its first key belongs now, and others of its keys may belong elsewhere. The KCL
// gives none of it to its consumers then, so it counts as not put. The answer of PutRecords
// names the shard, by which that is noticed; the shards are asked for again, and the
// records are put again before any later ones of their keys.

// homes is which shard owns which hash keys. It belongs to whoever holds the sink's turn.
type homes struct {
	open   []home                   // shards that are not closed, by their ranges
	ranges map[string]kpl.HashRange // of all shards that are listed
	stale  bool                     // to be asked for before the next put
}

type home struct {
	shard string
	keys  kpl.HashRange
}

// grouping is by what lanes are put together; nil if they are not.
func (s *Sink) grouping(ctx context.Context) (func(*lane) string, error) {
	if s.conf.Format != KPLShard {
		return nil, nil
	}
	if s.homes.ranges == nil || s.homes.stale {
		if err := s.askHomes(ctx, ""); err != nil {
			return nil, err
		}
	}
	return s.homes.of, nil
}

// askHomes lists the shards, until the given one is among them if it is not empty.
func (s *Sink) askHomes(ctx context.Context, shard string) error {
	return s.readBack(ctx, "list the shards", func() error {
		shards, err := s.Partitions(ctx)
		if err != nil {
			return err
		}
		h := homes{ranges: map[string]kpl.HashRange{}}
		for _, p := range shards {
			keys, err := kpl.ParseHashRange(p.FirstHash, p.LastHash)
			if err != nil {
				return fmt.Errorf("shard %s: %w: %w", p.ID, err, bridge.ErrRefused)
			}
			h.ranges[p.ID] = keys
			if !p.Closed {
				h.open = append(h.open, home{p.ID, keys})
			}
		}
		slices.SortFunc(h.open, func(a, b home) int { return a.keys.Start.Compare(b.keys.Start) })
		s.homes = h
		if _, listed := h.ranges[shard]; shard != "" && !listed {
			return fmt.Errorf("shard %s, which a put went to, is not listed yet: %w", shard, bridge.ErrTransient)
		}
		return nil
	})
}

// place is where Kinesis puts the lane's key.
func (l *lane) place() kpl.HashKey {
	if !l.hashed {
		l.hash, l.hashed = kpl.KeyHash([]byte(l.key)), true
	}
	return l.hash
}

// of is the shard that the lane's key belongs to, as far as is known.
func (h *homes) of(l *lane) string {
	place := l.place()
	i, found := slices.BinarySearchFunc(h.open, place, func(o home, k kpl.HashKey) int { return o.keys.Start.Compare(k) })
	if !found {
		i--
	}
	if i < 0 || !h.open[i].keys.Contains(place) {
		return ""
	}
	return h.open[i].shard
}

// atHome takes the parcels out of an answered put that came to a shard which not all of
// their records belong to; those are put again. The error says that not even a parcel's own
// key belongs there: then the stream does not go by keys.
func (s *Sink) atHome(ctx context.Context, batch []parcel, acks []bridge.Ack) (home []parcel, homeAcks []bridge.Ack, err error) {
	if s.conf.Format != KPLShard {
		return batch, acks, nil
	}
	for i, p := range batch {
		belongs := true
		if ack := acks[i]; ack.Err == nil {
			if belongs, err = s.belongs(ctx, p, ack.Partition); err != nil {
				return nil, nil, err
			}
		}
		if belongs {
			home, homeAcks = append(home, p), append(homeAcks, acks[i])
		} else {
			s.misplaced(p, acks[i])
		}
	}
	return home, homeAcks, nil
}

// belongs reports whether all records of a parcel belong to a shard.
func (s *Sink) belongs(ctx context.Context, p parcel, shard string) (bool, error) {
	keys, known := s.homes.ranges[shard]
	if !known {
		if err := s.askHomes(ctx, shard); err != nil {
			return false, err
		}
		keys = s.homes.ranges[shard]
	}
	if !keys.Contains(p.place()) {
		return false, bridge.WithHint(fmt.Errorf("stream %s put a record into %s, which its key does not belong to: %w", s.name(), shard, bridge.ErrRefused),
			"streams that distribute records themselves (AUTO) take kinesis.aggregate: key")
	}
	for _, other := range p.more {
		if !keys.Contains(other.place()) {
			return false, nil
		}
	}
	return true, nil
}

// misplaced lets a parcel be put again that stands where its readers will not be given it.
func (s *Sink) misplaced(p parcel, ack bridge.Ack) {
	s.advance(ack.Partition, ack.Position)
	s.remember(p, &ack)
	if fn := s.conf.Misplaced; fn != nil {
		n := p.n
		for _, other := range p.more {
			n += other.n
		}
		fn(n)
	}
	s.homes.stale = true
	s.queue.putAgain(p)
}

// putAgain lets the records of a parcel be put once more, before any later one of their
// keys.
func (q *queue) putAgain(p parcel) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.free(p.lane)
	for _, other := range p.more {
		q.free(other.lane)
	}
}

// takeHomes fills parcels with what waits for each shard. The lock is held.
func (q *queue) takeHomes(c codec, of func(*lane) string) (batch []parcel) {
	waiting := map[string][]*lane{}
	var shards []string
	for _, l := range q.ready {
		shard := of(l)
		if shard == "" {
			shard = "key " + l.key // by itself
		}
		if waiting[shard] == nil {
			shards = append(shards, shard)
		}
		waiting[shard] = append(waiting[shard], l)
	}
	size, full := 0, false
	var left []*lane
	for _, shard := range shards {
		lanes := waiting[shard]
		for len(lanes) > 0 && len(batch) < maxPutRecords && !full {
			p := q.fill(c, lanes)
			if size += len(p.key) + len(p.data); size > maxPutBytes {
				full = true
				break
			}
			batch, lanes = append(batch, p), lanes[1+len(p.more):]
		}
		left = append(left, lanes...)
	}
	q.ready = left
	return batch
}

// fill makes a parcel of the first records of lanes, as many as go into one. The lock is
// held.
func (q *queue) fill(c codec, lanes []*lane) parcel {
	var parts []part
	q.run = q.run[:0]
	for _, l := range lanes {
		before := len(q.run)
		for it := l.first; it != nil && len(q.run) < maxParcel; it = it.next {
			q.run = append(q.run, it.rec)
		}
		if len(q.run) == before {
			break
		}
		parts = append(parts, part{l, len(q.run) - before})
	}
	data, n := c.pack(q.run, maxPack)
	for i := range parts {
		if n <= parts[i].n {
			parts[i].n, parts = n, parts[:i+1]
			break
		}
		n -= parts[i].n
	}
	return parcel{part: parts[0], more: parts[1:], data: data}
}
