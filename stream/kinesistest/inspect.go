package kinesistest

import (
	"fmt"
	"time"
)

// A Record is one stored record, as a reader would get it.
type Record struct {
	// SequenceNumber is the decimal number of 56 digits.
	SequenceNumber string
	// Key is the partition key; "" with NoKey if the producer gave none, which only a
	// stream with the strategy AUTO allows.
	Key   string
	NoKey bool
	// Data is the value. A slice that was handed out by this package must not be changed.
	Data []byte
	// Arrival is the approximate arrival time, in whole milliseconds.
	Arrival time.Time
}

// A ShardInfo describes one shard, closed and expired ones included.
type ShardInfo struct {
	ID string
	// Parents are the shards that it came from: none, one after a split, two after a merge.
	Parents []string
	// FirstHash and LastHash bound its hash keys, inclusive, in decimal.
	FirstHash, LastHash string
	Closed, Expired     bool
	// Records is how many records are stored, Bytes how many bytes of keys and values.
	Records int
	Bytes   int64
}

// Shards lists all shards that ever were, parents before their children.
func (st *Stream) Shards() []ShardInfo {
	now := st.srv.nowMs()
	st.settle(now)
	st.mu.RLock()
	defer st.mu.RUnlock()
	var out []ShardInfo
	for _, sh := range st.shards {
		info := ShardInfo{
			ID: sh.id, FirstHash: sh.first.String(), LastHash: sh.last.String(),
			Closed: sh.closed, Expired: st.hasExpired(sh, now),
		}
		for _, p := range sh.parents {
			info.Parents = append(info.Parents, p.id)
		}
		sh.mu.Lock()
		sh.trim(st.horizon(now))
		info.Records, info.Bytes = sh.store.count, sh.store.bytes
		sh.mu.Unlock()
		out = append(out, info)
	}
	return out
}

// ShardFor is the open shard that a record with this partition key would go to now.
func (st *Stream) ShardFor(key string) string {
	st.settle(st.srv.nowMs())
	st.mu.RLock()
	defer st.mu.RUnlock()
	return st.shardFor(keyHash([]byte(key))).id
}

// inShard runs do on a shard under its locks, after what has expired was trimmed and the
// rest was brought back into memory.
func (st *Stream) inShard(id string, do func(*shard) error) error {
	now := st.srv.nowMs()
	st.settle(now)
	st.mu.RLock()
	defer st.mu.RUnlock()
	sh := st.shard(id, now)
	if sh == nil {
		return fmt.Errorf("stream %s has no shard %q", st.name, id)
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.trim(st.horizon(now))
	if err := sh.store.home(); err != nil {
		return fmt.Errorf("shard %s of %s: %w", id, st.name, err)
	}
	return do(sh)
}

// Put stores records as PutRecords does, by the hash of their keys and at the time of the
// clock, but without its limits. It stops at the first record that the service would not
// take at all.
func (st *Stream) Put(entries ...Entry) error {
	now := st.srv.nowMs()
	st.settle(now)
	st.mu.RLock()
	defer st.mu.RUnlock()
	if err := st.writable(); err != nil {
		return fmt.Errorf("put into %s: %w", st.name, err)
	}
	for i := range entries {
		e := putEntry{key: []byte(entries[i].Key), hasKey: true, data: entries[i].Data, hasData: true}
		if entries[i].ExplicitHashKey != "" {
			e.hash, e.hasHash = []byte(entries[i].ExplicitHashKey), true
		}
		h, err := st.checkEntry(&e, i)
		if err != nil {
			return fmt.Errorf("put record %d into %s: %w", i, st.name, err)
		}
		st.append(now, st.place(h, st.strategy, i), &e, 0)
	}
	return nil
}

// Records returns what a shard holds, in order: everything that a reader could still get.
func (st *Stream) Records(id string) ([]Record, error) {
	var out []Record
	err := st.inShard(id, func(sh *shard) error {
		out = make([]Record, 0, sh.store.count)
		for _, b := range sh.store.blocks {
			for i := range b.entries {
				out = append(out, sh.record(b.view(&b.entries[i])))
			}
		}
		return nil
	})
	return out, err
}

// record is the public form of a view.
func (sh *shard) record(v view) Record {
	return Record{
		SequenceNumber: sh.sequence(v.counter, v.arrival).String(),
		Key:            string(v.key), NoKey: v.flags&flagNoKey != 0,
		Data: v.data, Arrival: time.UnixMilli(v.arrival).UTC(),
	}
}

// at runs do with the place of the i-th record of a shard.
func (st *Stream) at(id string, i int, do func(*shard, place) error) error {
	return st.inShard(id, func(sh *shard) error {
		p, ok := sh.store.at(i)
		if !ok {
			return fmt.Errorf("shard %s of %s has no record %d: it holds %d", id, st.name, i, sh.store.count)
		}
		return do(sh, p)
	})
}

// Drop removes the i-th record of a shard, as if it had never been stored.
func (st *Stream) Drop(id string, i int) error {
	return st.at(id, i, func(sh *shard, p place) error {
		sh.store.remove(p)
		return nil
	})
}

// Change gives the i-th record of a shard another key, value and arrival time. The number
// stays, but for the seconds of the arrival, which are part of it.
func (st *Stream) Change(id string, i int, change func(*Record)) error {
	return st.at(id, i, func(sh *shard, p place) error {
		b := sh.store.blocks[p.block]
		v := b.view(&b.entries[p.entry])
		r := sh.record(v)
		change(&r)
		if err := r.check(); err != nil {
			return err
		}
		sh.store.replace(p, r.view(v.counter, v.flags))
		return nil
	})
}

// check refuses what no store could hold.
func (r *Record) check() error {
	if len(r.Key) > 4*MaxKeyChars || len(r.Data) > maxBody {
		return fmt.Errorf("record of %d bytes with a key of %d: too large", len(r.Data), len(r.Key))
	}
	return nil
}

// view is the stored form of a record.
func (r *Record) view(counter uint64, flags uint8) view {
	flags &^= flagNoKey
	if r.NoKey {
		flags |= flagNoKey
	}
	return view{counter: counter, arrival: r.Arrival.UnixMilli(), key: []byte(r.Key), data: r.Data, flags: flags}
}

// Insert puts a record in front of the i-th record of a shard, or behind the last one if i
// is the number of records, under a sequence number in between. The record's own number is
// not used; a zero Arrival is that of its neighbour. It fails if the gap between the
// neighbours' numbers is used up. The shard may be closed, and the record's key need not
// belong there.
func (st *Stream) Insert(id string, i int, r Record) error {
	if err := r.check(); err != nil {
		return err
	}
	return st.inShard(id, func(sh *shard) error {
		s := &sh.store
		if i < 0 || i > s.count {
			return fmt.Errorf("shard %s of %s has no place %d: it holds %d records", id, st.name, i, s.count)
		}
		prev := view{}
		if p, ok := s.at(i - 1); ok {
			prev = s.blocks[p.block].view(&s.blocks[p.block].entries[p.entry])
		}
		p, ok := s.at(i)
		if !ok {
			if r.Arrival.IsZero() {
				r.Arrival = st.srv.Now()
			}
			s.append(r.view(sh.nextCounter(), 0))
			return nil
		}
		next := s.blocks[p.block].entries[p.entry]
		if next.counter-prev.counter < 2 {
			return fmt.Errorf("insert in front of record %d of shard %s of %s: no sequence number is free", i, id, st.name)
		}
		if r.Arrival.IsZero() {
			r.Arrival = time.UnixMilli(next.arrival)
		}
		s.insert(p, r.view(prev.counter+(next.counter-prev.counter)/2, next.flags))
		return nil
	})
}

// Swap exchanges key and value of two records of a shard; numbers and arrival times stay,
// so that a reader sees the two in the other order.
func (st *Stream) Swap(id string, i, j int) error {
	return st.inShard(id, func(sh *shard) error {
		s := &sh.store
		p, ok := s.at(i)
		q, ok2 := s.at(j)
		if !ok || !ok2 {
			return fmt.Errorf("shard %s of %s holds no records %d and %d", id, st.name, i, j)
		}
		a := s.blocks[p.block].view(&s.blocks[p.block].entries[p.entry])
		b := s.blocks[q.block].view(&s.blocks[q.block].entries[q.entry])
		a.counter, b.counter = b.counter, a.counter
		a.arrival, b.arrival = b.arrival, a.arrival
		s.replace(p, b)
		s.replace(q, a)
		return nil
	})
}

// Trim removes the n oldest records of a shard, as retention does.
func (st *Stream) Trim(id string, n int) error {
	return st.inShard(id, func(sh *shard) error {
		sh.store.trim(n, -1<<63)
		return nil
	})
}
