package memstream

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
)

// A Flavour is the service that a Stream behaves as.
type Flavour int

const (
	// Kafka has a fixed number of partitions, offsets, and a fence.
	Kafka Flavour = iota
	// Kinesis has shards that split and merge, sequence numbers, and no fence.
	Kinesis
)

// A Config describes a Stream. The zero Config is a Kafka-like stream of one partition.
type Config struct {
	Flavour    Flavour
	Name       string // "mem" if empty
	Partitions int    // at the beginning; 1 if zero
	// Page bounds the records of one read; 100 if zero.
	Page int
	// Wait is how long a read waits if there is nothing; 1 s if zero.
	Wait time.Duration
	// MaxRecord bounds the bytes of one record, with key and headers; 1 MiB if zero.
	MaxRecord int
	// Retention is how long a record is kept. Zero is 24 h for Kinesis, and for ever for
	// Kafka.
	Retention time.Duration
	// Faults is asked before every operation; Rough(Seed) if nil and not Calm.
	Faults func(Op) Fault
	// Calm leaves out everything that goes wrong by itself: only Faults, if any, is left.
	Calm bool
	// Seed is what chance depends on.
	Seed uint64
	// Restores lets a Kinesis-like stream keep the records' own times, as formats do that carry
	// them. They say nothing of when a record arrived.
	Restores bool
	// Ahead is how far the service's clock is ahead of this machine's. Records arrive and
	// expire by that clock; see also Advance.
	Ahead time.Duration
}

// A Stream keeps records in memory. It is safe for concurrent use.
type Stream struct {
	cfg Config
	inj *injector

	mu          sync.Mutex
	ahead       time.Duration // of the service's clock
	incarnation int
	deleted     bool
	parts       []*part // parents before their children
	byID        map[string]*part
	epochs      map[string]int // of the workers, by task
	changed     chan struct{}  // closed, and replaced, whenever something changes
	all         []Stored       // everything that ever arrived
}

// New makes an empty stream.
func New(c Config) *Stream {
	if c.Name == "" {
		c.Name = "mem"
	}
	c.Partitions = max(c.Partitions, 1)
	if c.Page <= 0 {
		c.Page = 100
	}
	if c.Wait <= 0 {
		c.Wait = time.Second
	}
	if c.MaxRecord <= 0 {
		c.MaxRecord = 1 << 20
	}
	if c.Retention == 0 && c.Flavour == Kinesis {
		c.Retention = 24 * time.Hour
	}
	if c.Faults == nil && !c.Calm {
		c.Faults = Rough(c.Seed)
	}
	s := &Stream{cfg: c, ahead: c.Ahead, inj: newInjector(c.Faults), changed: make(chan struct{})}
	s.begin()
	return s
}

// begin makes the partitions of a new incarnation.
func (s *Stream) begin() {
	s.incarnation++
	s.deleted = false
	s.parts, s.byID = nil, map[string]*part{}
	if s.epochs == nil {
		s.epochs = map[string]int{}
	}
	for i := range s.cfg.Partitions {
		s.add(&part{bounds: slice(i, s.cfg.Partitions)})
	}
}

// add gives a partition its index and its name.
func (s *Stream) add(p *part) *part {
	p.index = len(s.parts)
	p.id = strconv.Itoa(p.index)
	if s.cfg.Flavour == Kinesis {
		p.id = fmt.Sprintf("shardId-%012d", p.index)
	}
	s.parts = append(s.parts, p)
	s.byID[p.id] = p
	return p
}

// Advance moves the service's clock, backwards if d is negative.
func (s *Stream) Advance(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ahead += d
	s.touch()
}

// now is the service's clock. The lock is held.
func (s *Stream) now() time.Time { return time.Now().Add(s.ahead) }

// SetFaults replaces the faults from now on; nil is none.
func (s *Stream) SetFaults(fn func(Op) Fault) { s.inj.set(fn) }

// Identity names this incarnation of the stream.
func (s *Stream) Identity(ctx context.Context) (bridge.Identity, error) {
	if err := s.ask(ctx, Op{Kind: OpIdentity}); err != nil {
		return bridge.Identity{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.deleted {
		return bridge.Identity{}, s.missing()
	}
	name := "kafka:mem/" + s.cfg.Name
	if s.cfg.Flavour == Kinesis {
		name = "kinesis:arn:aws:kinesis:mem:000000000000:stream/" + s.cfg.Name
	}
	return bridge.Identity{Name: name, Incarnation: strconv.Itoa(s.incarnation)}, nil
}

func (s *Stream) missing() error { return fmt.Errorf("stream %s: %w", s.cfg.Name, bridge.ErrMissing) }

// ask is for operations that either fail or do not.
func (s *Stream) ask(ctx context.Context, op Op) error {
	f, err := s.inj.begin(ctx, op)
	if err != nil {
		return err
	}
	return f.Err
}

// Partitions lists what can be read, parents before their children. Shards that expired
// are left out.
func (s *Stream) Partitions(ctx context.Context) ([]bridge.Partition, error) {
	if err := s.ask(ctx, Op{Kind: OpPartitions}); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.deleted {
		return nil, s.missing()
	}
	s.expire()
	var list []bridge.Partition
	for _, p := range s.parts {
		if p.expired {
			continue
		}
		b := bridge.Partition{ID: p.id, Parents: slices.Clone(p.parents), Closed: p.closed}
		if s.cfg.Flavour == Kinesis {
			b.FirstHash, b.LastHash = p.bounds.decimal()
		}
		list = append(list, b)
	}
	return list, nil
}

// Split closes a shard and opens two that halve its range. It is an error if the shard is
// closed, unknown, or too narrow, and on Kafka.
func (s *Stream) Split(shard string) (left, right string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := s.open(shard)
	if err != nil {
		return "", "", fmt.Errorf("split: %w", err)
	}
	a, b, ok := p.bounds.halves()
	if !ok {
		return "", "", fmt.Errorf("split shard %s: its range holds one value: %w", shard, bridge.ErrRefused)
	}
	s.close(p)
	left = s.add(&part{parents: []string{shard}, bounds: a}).id
	right = s.add(&part{parents: []string{shard}, bounds: b}).id
	s.touch()
	return left, right, nil
}

// Merge closes two shards whose ranges touch and opens one in their place.
func (s *Stream) Merge(shard, adjacent string) (child string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, err := s.open(shard)
	if err != nil {
		return "", fmt.Errorf("merge: %w", err)
	}
	b, err := s.open(adjacent)
	if err != nil {
		return "", fmt.Errorf("merge: %w", err)
	}
	both, ok := a.bounds.join(b.bounds)
	if !ok {
		return "", fmt.Errorf("merge shards %s and %s: their ranges do not touch: %w", shard, adjacent, bridge.ErrRefused)
	}
	s.close(a)
	s.close(b)
	child = s.add(&part{parents: []string{shard, adjacent}, bounds: both}).id
	s.touch()
	return child, nil
}

// open finds a shard that still takes records.
func (s *Stream) open(shard string) (*part, error) {
	p, ok := s.byID[shard]
	switch {
	case s.cfg.Flavour != Kinesis:
		return nil, fmt.Errorf("stream %s has no shards: %w", s.cfg.Name, bridge.ErrRefused)
	case !ok || s.deleted:
		return nil, fmt.Errorf("shard %s: %w", shard, bridge.ErrMissing)
	case p.closed:
		return nil, fmt.Errorf("shard %s is closed: %w", shard, bridge.ErrRefused)
	}
	return p, nil
}

func (s *Stream) close(p *part) { p.closed, p.closedAt = true, s.now() }

// ExpireShard drops a closed shard with all it holds, as the service does when retention
// has passed its end.
func (s *Stream) ExpireShard(shard string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.byID[shard]
	if !ok || !p.closed {
		return fmt.Errorf("expire shard %s, which is not a closed one: %w", shard, bridge.ErrRefused)
	}
	p.drop(len(p.log))
	p.expired = true
	s.touch()
	return nil
}

// Grow adds partitions to a Kafka-like stream, as somebody might do behind the mirror's
// back.
func (s *Stream) Grow(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for range n {
		s.add(&part{})
	}
	s.touch()
}

// Delete removes the stream: every operation now wraps bridge.ErrMissing.
func (s *Stream) Delete() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deleted = true
	s.touch()
}

// Recreate deletes the stream and creates it anew, empty, under the same name.
func (s *Stream) Recreate() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begin()
	s.touch()
}

// Trim drops everything up to and including a position, as retention or DeleteRecords do.
func (s *Stream) Trim(partition string, upTo bridge.Position) error {
	return s.damage(partition, func(p *part) { p.trim(upTo) })
}

// LoseTail drops everything behind a position, as a Kafka cluster does after an unclean
// election. The offsets are given out again.
func (s *Stream) LoseTail(partition string, behind bridge.Position) error {
	return s.damage(partition, func(p *part) { p.loseTail(behind, s.cfg.Flavour) })
}

// Compact keeps of every key the last record alone. Records without a key stay, and so
// does the last record of the partition, whose segment is in use.
func (s *Stream) Compact(partition string) error {
	return s.damage(partition, func(p *part) { p.compact() })
}

// Remove drops the record at one position and nothing else.
func (s *Stream) Remove(partition string, at bridge.Position) error {
	return s.damage(partition, func(p *part) { p.remove(at) })
}

// Marker appends a transaction marker, which takes an offset and is no record.
func (s *Stream) Marker(partition string) error {
	return s.damage(partition, func(p *part) { p.marker(s.now()) })
}

func (s *Stream) damage(partition string, fn func(*part)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.byID[partition]
	if !ok {
		return fmt.Errorf("partition %s of %s: %w", partition, s.cfg.Name, bridge.ErrMissing)
	}
	fn(p)
	s.touch()
	return nil
}

// touch wakes the readers that wait. The lock is held.
func (s *Stream) touch() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// expire lets retention do its work. The lock is held.
func (s *Stream) expire() {
	if s.cfg.Retention <= 0 {
		return
	}
	old := s.now().Add(-s.cfg.Retention)
	for _, p := range s.parts {
		p.age(old)
		if p.closed && p.closedAt.Before(old) {
			p.expired = true
		}
	}
}

// Stored is one record as it lies in a stream.
type Stored struct {
	// Record has Partition, Position and Time as stored; Origin and Foreign are what it
	// carries, whoever reads it.
	Record bridge.Record
	// Workflow that the carried Origin belongs to, or empty.
	Workflow string
	// Native says that it was put by a producer, not by a sink.
	Native bool
}

// Snapshot returns what the partitions hold, in order. Markers are left out. The slices
// belong to the caller, the records' bytes do not.
func (s *Stream) Snapshot() map[string][]Stored {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire()
	snap := map[string][]Stored{}
	for _, p := range s.parts {
		if p.expired {
			continue
		}
		list := []Stored{}
		for i := range p.log {
			if e := &p.log[i]; !e.marker && !e.gone {
				list = append(list, e.Stored)
			}
		}
		snap[p.id] = list
	}
	return snap
}

// Everything returns every record that ever arrived, in the order of arrival, with those
// that were trimmed, compacted or lost since, and those of earlier incarnations.
func (s *Stream) Everything() []Stored {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.all)
}

// Len is the number of records that the stream holds.
func (s *Stream) Len() int {
	n := 0
	for list := range maps.Values(s.Snapshot()) {
		n += len(list)
	}
	return n
}
