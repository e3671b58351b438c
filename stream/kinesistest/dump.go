package kinesistest

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"
)

// A dump is what a server stores, in JSON.
type dump struct {
	At      time.Time // by the server's clock
	Streams []streamDump
}

type streamDump struct {
	Name, Mode, KeyID, Strategy string
	Created                     int64 // unix ms
	Mark                        uint8
	Retention, RecordKiB        int
	Tags                        map[string]string `json:",omitempty"`
	Shards                      []shardDump
}

type shardDump struct {
	FirstHash, LastHash             string
	Parents                         []uint32 `json:",omitempty"`
	CreatedSec, CreatedMs, ClosedMs int64
	Closed, Expired                 bool
	Counter                         uint64
	Gaps                            []byte
	Counters                        []uint64
	Arrivals                        []int64
	Flags                           []uint8
	Keys, Data                      [][]byte
}

// Dump returns everything that the server stores: streams, shards, sequence numbers and
// arrival times. Restore puts it into another server. A change that is under way
// (Config.StatusDelay) or a stream with synthetic records cannot be dumped.
func (s *Server) Dump() ([]byte, error) {
	d := dump{At: s.Now().UTC()}
	for _, st := range s.Streams() {
		one, err := st.dump()
		if err != nil {
			return nil, fmt.Errorf("dump stream %s: %w", st.name, err)
		}
		d.Streams = append(d.Streams, one)
	}
	return json.Marshal(d)
}

func (st *Stream) dump() (streamDump, error) {
	st.mu.RLock()
	defer st.mu.RUnlock()
	d := streamDump{
		Name: st.name, Mode: st.mode, KeyID: st.keyID, Strategy: st.strategy, Created: st.created, Mark: st.mark,
		Retention: st.retention, RecordKiB: st.recordKiB, Tags: maps.Clone(st.tags),
	}
	if len(st.pending) > 0 || st.status != statusActive {
		return d, fmt.Errorf("it is %s", st.status)
	}
	for _, sh := range st.shards {
		one, err := sh.dump()
		if err != nil {
			return d, fmt.Errorf("shard %s: %w", sh.id, err)
		}
		d.Shards = append(d.Shards, one)
	}
	return d, nil
}

func (sh *shard) dump() (shardDump, error) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	d := shardDump{
		FirstHash: sh.first.String(), LastHash: sh.last.String(), CreatedSec: sh.createdSec, CreatedMs: sh.createdMs,
		ClosedMs: sh.closedMs, Closed: sh.closed, Expired: sh.expired, Counter: sh.counter,
	}
	for _, p := range sh.parents {
		d.Parents = append(d.Parents, p.index)
	}
	if sh.synthesis.record != nil {
		return d, fmt.Errorf("its records are synthetic")
	}
	if err := sh.store.home(); err != nil {
		return d, err
	}
	for _, b := range sh.store.blocks {
		for i := range b.entries {
			v := b.view(&b.entries[i])
			d.Counters, d.Arrivals, d.Flags = append(d.Counters, v.counter), append(d.Arrivals, v.arrival), append(d.Flags, v.flags)
			d.Keys, d.Data = append(d.Keys, v.key), append(d.Data, v.data)
		}
	}
	var err error
	d.Gaps, err = sh.gaps.MarshalBinary()
	return d, err
}

// Dumped is the time by the clock of the server that made a dump.
func Dumped(b []byte) (time.Time, error) {
	var d dump
	if err := json.Unmarshal(b, &d); err != nil {
		return time.Time{}, fmt.Errorf("read a dump: %w", err)
	}
	return d.At, nil
}

// Restore puts the streams of a dump into this server, as they were. Arrival times stay, so
// what has expired by this server's clock is gone.
func (s *Server) Restore(b []byte) error {
	var d dump
	if err := json.Unmarshal(b, &d); err != nil {
		return fmt.Errorf("read a dump: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, in := range d.Streams {
		if s.streams[in.Name] != nil {
			return fmt.Errorf("restore stream %s: there is one of that name", in.Name)
		}
		st, err := s.restore(in)
		if err != nil {
			return fmt.Errorf("restore stream %s: %w", in.Name, err)
		}
		s.streams[in.Name], s.last[in.Name] = st, in.Created
		s.marks = max(s.marks, in.Mark+1)
	}
	return nil
}

func (s *Server) restore(d streamDump) (*Stream, error) {
	st := &Stream{
		srv: s, name: d.Name, created: d.Created, mark: d.Mark, mode: d.Mode, status: statusActive, retention: d.Retention,
		recordKiB: d.RecordKiB, keyID: d.KeyID, strategy: d.Strategy, tags: d.Tags,
	}
	if st.tags == nil {
		st.tags = map[string]string{}
	}
	for i, in := range d.Shards {
		sh, err := in.restore(uint32(i), st)
		if err != nil {
			return nil, fmt.Errorf("shard %d: %w", i, err)
		}
		st.shards = append(st.shards, sh)
		if !sh.closed {
			st.open = append(st.open, sh)
		}
	}
	slices.SortFunc(st.open, func(a, b *shard) int { return a.first.cmp(b.first) })
	return st, nil
}

func (d *shardDump) restore(index uint32, st *Stream) (*shard, error) {
	sh := &shard{
		index: index, id: shardID(index), createdSec: d.CreatedSec, createdMs: d.CreatedMs, mark: st.mark,
		closedMs: d.ClosedMs, closed: d.Closed, expired: d.Expired, counter: d.Counter,
	}
	sh.store.spill = st.srv.spill
	for _, p := range d.Parents {
		if int(p) >= len(st.shards) {
			return nil, fmt.Errorf("its parent %d does not stand before it", p)
		}
		parent := st.shards[p]
		sh.parents, parent.children = append(sh.parents, parent), append(parent.children, sh)
	}
	var err error
	if sh.first, err = parseHashKey(d.FirstHash); err != nil {
		return nil, err
	}
	if sh.last, err = parseHashKey(d.LastHash); err != nil {
		return nil, err
	}
	if err := sh.gaps.UnmarshalBinary(d.Gaps); err != nil {
		return nil, err
	}
	n := len(d.Counters)
	if len(d.Arrivals) != n || len(d.Flags) != n || len(d.Keys) != n || len(d.Data) != n {
		return nil, fmt.Errorf("its records are not complete")
	}
	for i := range n {
		sh.store.append(view{counter: d.Counters[i], arrival: d.Arrivals[i], flags: d.Flags[i], key: d.Keys[i], data: d.Data[i]})
	}
	return sh, nil
}
