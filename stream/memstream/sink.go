package memstream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/kinesis-msk-bridge/bridge"
)

// A SinkConfig says who writes. The zero SinkConfig is a worker of the only task of the
// workflow "".
type SinkConfig struct {
	Workflow string
	Task     string
	// Worker names the sink in Op, so that faults can tell an old one from a new one.
	Worker string
	// NoFence leaves the fence out, to see what a test says of that. An older sink of the
	// task is then not stopped by this one, nor this one by a newer one.
	NoFence bool
	// PutTimeout is how long a put of a Kinesis-like stream may be under way; 10 s if zero.
	PutTimeout time.Duration
	// Watch is asked before every write; nil is always alive.
	Watch *bridge.Watch
}

// putRecords is the number of records of a PutRecords call.
const putRecords = 500

// errHeld is the fate of records whose predecessor in their lane failed.
var errHeld = fmt.Errorf("not tried, since an earlier record of the lane failed: %w", bridge.ErrTransient)

// Sink opens a bridge.Sink for one task of a workflow; it is a bridge.Recoverable, and on
// Kafka a bridge.Ender, too.
//
// A new sink fences every older one of its task. On Kafka the older ones can append
// nothing from then on, and each partition has one marker more. On Kinesis they can begin
// no further put, but one that is under way still lands.
func (s *Stream) Sink(c SinkConfig) bridge.Sink {
	if c.PutTimeout <= 0 {
		c.PutTimeout = 10 * time.Second
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	k := &sink{s: s, cfg: c, opened: time.Now(), incarnation: s.incarnation}
	if !c.NoFence {
		s.epochs[k.task()]++
		k.epoch = s.epochs[k.task()]
	}
	if s.cfg.Flavour == Kinesis {
		return k
	}
	if !c.NoFence {
		k.before = map[string]bridge.Position{}
		for _, p := range s.parts {
			k.before[p.id] = p.end()
			p.marker(s.now())
		}
		s.touch()
	}
	return &kafkaSink{k}
}

var (
	_ bridge.Sink        = (*sink)(nil)
	_ bridge.Recoverable = (*sink)(nil)
	_ bridge.Ender       = (*kafkaSink)(nil)
)

type sink struct {
	s           *Stream
	cfg         SinkConfig
	epoch       int
	incarnation int
	before      map[string]bridge.Position // ends before the marker of the fence
	opened      time.Time

	mu   sync.Mutex
	dead error // why it is of no more use
}

// A kafkaSink can say where its partitions end.
type kafkaSink struct{ *sink }

// Ends returns the last taken offset of each partition.
func (k *kafkaSink) Ends(ctx context.Context) (map[string]bridge.Position, error) {
	return k.s.ends(ctx)
}

func (k *sink) task() string { return k.cfg.Workflow + "\x00" + k.cfg.Task }

// Identity is that of the stream.
func (k *sink) Identity(ctx context.Context) (bridge.Identity, error) { return k.s.Identity(ctx) }

// Partitions are those of the stream.
func (k *sink) Partitions(ctx context.Context) ([]bridge.Partition, error) {
	return k.s.Partitions(ctx)
}

// Close makes further writes fail.
func (k *sink) Close() error {
	k.die(errors.New("the sink is closed"))
	return nil
}

// die remembers the first reason for which the sink is of no more use, and returns err.
func (k *sink) die(err error) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.dead == nil {
		k.dead = err
	}
	return err
}

// alive reports why nothing may be written any more.
func (k *sink) alive() error {
	if err := k.cfg.Watch.Alive(); err != nil {
		return k.die(err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.dead
}

// fenced reports whether a newer sink owns the task, or the topic is another one by now. A
// Kinesis stream is written to by its name, whichever it is. The lock is held.
func (k *sink) fenced() error {
	if k.s.cfg.Flavour == Kafka && k.incarnation != k.s.incarnation {
		return fmt.Errorf("write to %s, which was created anew: %w", k.s.cfg.Name, bridge.ErrMissing)
	}
	if k.cfg.NoFence || k.epoch == k.s.epochs[k.task()] {
		return nil
	}
	return fmt.Errorf("write to %s with epoch %d of %d: %w", k.s.cfg.Name, k.epoch, k.s.epochs[k.task()], bridge.ErrFenced)
}

// Write sends Kafka one batch for each partition, and Kinesis calls in which no key
// stands twice, because a call can store a record and refuse the one before it.
func (k *sink) Write(ctx context.Context, recs []bridge.Record) ([]bridge.Ack, error) {
	if err := k.alive(); err != nil {
		return nil, fmt.Errorf("write to %s: %w", k.s.cfg.Name, err)
	}
	acks := make([]bridge.Ack, len(recs))
	send, lane, most := k.append, byPartition, len(recs)
	if k.s.cfg.Flavour == Kinesis {
		send, lane, most = k.put, byKey, putRecords
	}
	held := map[string]bool{}
	todo := make([]int, len(recs))
	for i := range recs {
		todo[i] = i
	}
	for len(todo) > 0 {
		var now []int
		now, todo = k.round(recs, todo, acks, held, most)
		if len(now) == 0 {
			continue
		}
		if err := send(ctx, recs, now, acks); err != nil {
			return nil, k.die(fmt.Errorf("write to %s: %w", k.s.cfg.Name, err))
		}
		for _, i := range now {
			if acks[i].Err != nil {
				held[lane(&recs[i])] = true
			}
		}
	}
	return acks, nil
}

func byPartition(r *bridge.Record) string { return r.Partition }

func byKey(r *bridge.Record) string { return string(r.Key) }

// round takes from todo what can be sent together, and settles what cannot be sent at
// all. On Kafka that is a run of one partition, on Kinesis one record of every key.
func (k *sink) round(recs []bridge.Record, todo []int, acks []bridge.Ack, held map[string]bool, most int) (now, rest []int) {
	kinesis := k.s.cfg.Flavour == Kinesis
	seen := map[string]bool{}
	for _, i := range todo {
		lane := recs[i].Partition
		if kinesis {
			lane = string(recs[i].Key)
		}
		later := len(now) == most || len(seen) > 0 && seen[lane] == kinesis
		switch {
		case held[lane]:
			acks[i].Err = errHeld
		case later:
			rest = append(rest, i)
		default:
			if acks[i].Err = k.s.check(&recs[i]); acks[i].Err != nil {
				held[lane] = true
				continue
			}
			seen[lane] = true
			now = append(now, i)
		}
	}
	return now, rest
}

// check says why the service would refuse a record for good.
func (s *Stream) check(r *bridge.Record) error {
	if n := r.Size(); n > s.cfg.MaxRecord {
		return fmt.Errorf("record of %d bytes, %s takes %d: %w", n, s.cfg.Name, s.cfg.MaxRecord, bridge.ErrOversize)
	}
	if s.cfg.Flavour == Kinesis {
		return checkKey(r.Key)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.byID[r.Partition]; !ok {
		return fmt.Errorf("partition %q of %s: %w", r.Partition, s.cfg.Name, bridge.ErrRefused)
	}
	return nil
}

// maxKey is the number of characters of a partition key.
const maxKey = 256

func checkKey(key []byte) error {
	if !utf8.Valid(key) {
		return fmt.Errorf("a partition key that is not UTF-8: %w", bridge.ErrUnmappable)
	}
	n := 0
	for _, c := range string(key) {
		n += utf16.RuneLen(c)
	}
	if n < 1 || n > maxKey {
		return fmt.Errorf("a partition key of %d characters: %w", n, bridge.ErrUnmappable)
	}
	return nil
}

// append sends one batch to one partition. All of it is stored, or nothing.
func (k *sink) append(ctx context.Context, recs []bridge.Record, now []int, acks []bridge.Ack) error {
	list := k.copies(recs, now)
	store := func(acks []bridge.Ack) error {
		k.s.mu.Lock()
		defer k.s.mu.Unlock()
		if err := k.fenced(); err != nil {
			return err
		}
		return k.s.land(list, acks, now)
	}
	op := Op{Kind: OpAppend, Partition: recs[now[0]].Partition, Records: len(now), Worker: k.cfg.Worker}
	f, err := k.begin(ctx, op, acks, store)
	if err != nil {
		return err
	}
	return k.settle(f, acks, now, store, func() error { return nil })
}

// put is one PutRecords call with its result.
func (k *sink) put(ctx context.Context, recs []bridge.Record, now []int, acks []bridge.Ack) error {
	// No later worker may own the task when the call begins. What happens to it after
	// that nobody can stop.
	k.s.mu.Lock()
	err := k.fenced()
	k.s.mu.Unlock()
	if err != nil {
		return err
	}
	began := time.Now()
	list := k.copies(recs, now)
	store := func(acks []bridge.Ack) error { return k.s.putEach(list, acks, now) }
	f, err := k.begin(ctx, Op{Kind: OpPut, Records: len(now), Worker: k.cfg.Worker}, acks, store)
	if err != nil {
		return err
	}
	resolve := func() error { return sleep(ctx, time.Until(began.Add(k.cfg.PutTimeout))) }
	return k.settle(f, acks, now, store, resolve)
}

// begin waits until a write takes effect. If the writer gives up before, the write is out
// already, and whether it takes effect is up to chance.
func (k *sink) begin(ctx context.Context, op Op, acks []bridge.Ack, store func([]bridge.Ack) error) (Fault, error) {
	began := time.Now()
	f, err := k.s.inj.begin(ctx, op)
	if err != nil && !k.s.cfg.Calm && draw(k.s.cfg.Seed, Op{Kind: "given up", N: began.Nanosecond()})%2 == 0 {
		late := slices.Clone(acks)
		time.AfterFunc(time.Until(began.Add(f.Delay)), func() { _ = store(late) }) // nobody waits
	}
	return f, err
}

// settle makes a fault of a write come true. resolve is how the sink finds out what
// became of a write whose answer was lost.
func (k *sink) settle(f Fault, acks []bridge.Ack, now []int, store func([]bridge.Ack) error, resolve func() error) error {
	switch {
	case f.Err == nil:
		return store(acks)
	case f.Cut && f.Took && f.Late > 0:
		late := slices.Clone(acks)
		time.AfterFunc(f.Late, func() { _ = store(late) }) // nobody waits for the answer
		return f.Err
	case f.Cut && f.Took:
		return errors.Join(f.Err, store(acks))
	case f.Cut:
		return f.Err
	case f.Took:
		if err := store(acks); err != nil {
			return err
		}
		return resolve()
	}
	for _, i := range now {
		acks[i].Err = f.Err
	}
	return nil
}

// copies clones the records that are sent, since a sink keeps nothing of what it is given
// and a late put would.
func (k *sink) copies(recs []bridge.Record, now []int) []Stored {
	list := make([]Stored, len(now))
	for j, i := range now {
		list[j] = stored(&recs[i])
		list[j].Workflow = k.cfg.Workflow
		list[j].Record.Foreign = false
	}
	return list
}
