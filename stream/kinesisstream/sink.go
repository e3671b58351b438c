package kinesisstream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/kinesis-msk-bridge/bridge"
)

// A SinkConfig says how a stream is written in the format raw: each value as one record.
type SinkConfig struct {
	// Ledger is written ahead of every put. Required.
	Ledger bridge.Ledger
	// Tagger makes the digests of the ledger's intents. Required.
	Tagger *bridge.Tagger
	// Watch is asked before each put; nil is always alive.
	Watch *bridge.Watch
	// PutTimeout bounds one PutRecords, 10 s if zero. A put whose answer was lost can take
	// effect until then, and is waited for.
	PutTimeout time.Duration
	// AcceptHeaders and AcceptTombstones allow what raw cannot carry to be left out: headers
	// to be dropped, and null values to be written as empty ones.
	AcceptHeaders, AcceptTombstones bool
	// Rewind is called when n copies of records were found that landed after their first
	// ones. Nil ignores them.
	Rewind func(n int64)
}

// Limits of one PutRecords.
const (
	maxPutRecords = 500
	maxPutBytes   = 10 << 20
	maxKeyRunes   = 256
	defaultPut    = 10 * time.Second
)

// A Sink writes a stream. It implements bridge.Sink and bridge.Recoverable. One PutRecords
// is under way at a time, so that a worker that lost its task can land at most one batch.
type Sink struct {
	*Client
	conf   SinkConfig
	opened time.Time

	mu     sync.Mutex
	lanes  map[string]*lane // by partition key
	ready  []*lane          // whose first record may be put
	fatal  error
	dead   chan struct{}
	wake   chan struct{}
	closed bool

	// What follows belongs to the putting goroutine, and to Tail before it begins.
	settled []bridge.Settled           // not in the ledger yet
	ends    map[string]bridge.Position // last known record of each shard
	start   func()                     // the putting goroutine, with the first Write
	finish  func() error
}

var (
	_ bridge.Sink        = (*Sink)(nil)
	_ bridge.Recoverable = (*Sink)(nil)
)

// A lane is what waits for one partition key. Only its first record may be under way.
type lane struct {
	key   string
	queue []*item
	busy  bool // the first record is ready or under way
}

// An item is one record of one Write.
type item struct {
	rec *bridge.Record
	ack *bridge.Ack
	of  *write
}

// A write is one call of Write.
type write struct {
	left int // items without a fate
	done chan struct{}
}

// Sink returns the stream as a sink. It must be closed.
func (c *Client) Sink(ctx context.Context, conf SinkConfig) *Sink {
	conf.PutTimeout = cmpOr(conf.PutTimeout, defaultPut)
	s := &Sink{
		Client: c, conf: conf, opened: time.Now(),
		lanes: map[string]*lane{},
		ends:  map[string]bridge.Position{},
		dead:  make(chan struct{}),
		wake:  make(chan struct{}, 1),
	}
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	s.start = sync.OnceFunc(func() { running.Go(func() { s.fail(s.run(life)) }) })
	s.finish = sync.OnceValue(func() error {
		stop()
		running.Wait()
		s.fail(nil)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.conf.PutTimeout)
		defer cancel()
		return s.tell(ctx)
	})
	return s
}

// Write puts the records of different keys in any order and those of one key in theirs.
// Headers, null values, keys that are no partition key, and values that a KPL reader would
// take for an aggregate are ErrUnmappable; see SinkConfig. Time is not kept.
func (s *Sink) Write(ctx context.Context, recs []bridge.Record) ([]bridge.Ack, error) {
	acks := make([]bridge.Ack, len(recs))
	w := &write{done: make(chan struct{})}
	if err := s.enqueue(recs, acks, w); err != nil {
		return nil, err
	}
	s.start()
	select {
	case <-w.done:
		return acks, nil
	case <-s.dead:
		return nil, s.fatal
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// enqueue puts each record behind what waits for its key. One that can never be put keeps
// the later ones of its key in this call back.
func (s *Sink) enqueue(recs []bridge.Record, acks []bridge.Ack, w *write) error {
	limit := s.Info().MaxRecordSize
	blocked := map[string]bool{}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.fatal != nil:
		return s.fatal
	case s.closed:
		return fmt.Errorf("write to stream %s: the sink is closed: %w", s.name(), bridge.ErrRefused)
	}
	for i := range recs {
		key := string(recs[i].Key)
		if blocked[key] {
			acks[i].Err = errHeldBack
			continue
		}
		if err := s.check(&recs[i], limit); err != nil {
			acks[i].Err = err
			blocked[key] = true
			continue
		}
		w.left++
		l := s.lanes[key]
		if l == nil {
			l = &lane{key: key}
			s.lanes[key] = l
		}
		l.queue = append(l.queue, &item{&recs[i], &acks[i], w})
		s.offer(l)
	}
	if w.left == 0 {
		close(w.done)
	}
	s.poke()
	return nil
}

// errHeldBack is the fate of a record whose key has a refused one before it.
var errHeldBack = fmt.Errorf("held back behind a record of its key that was refused: %w", bridge.ErrTransient)

// check says why a record cannot be put in this format.
func (s *Sink) check(r *bridge.Record, limit int) error {
	switch n := utf8.RuneCount(r.Key); {
	case r.Key == nil || n == 0 || n > maxKeyRunes || !utf8.Valid(r.Key):
		return fmt.Errorf("a key of %d bytes is no partition key: %w", len(r.Key), bridge.ErrUnmappable)
	case hasMagic(r.Value):
		err := fmt.Errorf("the value begins like a KPL aggregate, and readers would take it for one: %w", bridge.ErrUnmappable)
		return bridge.WithHint(err, "such values are not available in this version")
	case len(r.Headers) > 0 && !s.conf.AcceptHeaders:
		return bridge.WithHint(fmt.Errorf("the record has headers, which raw cannot carry: %w", bridge.ErrUnmappable), "accept their loss with accept_loss: [headers]")
	case r.Value == nil && !s.conf.AcceptTombstones:
		return bridge.WithHint(fmt.Errorf("the record is a tombstone, which raw cannot carry: %w", bridge.ErrUnmappable), "accept that it becomes an empty value with accept_loss: [tombstones]")
	case len(r.Key)+len(r.Value) > min(limit, maxPutBytes):
		return fmt.Errorf("the record has %d bytes, the stream takes %d: %w", len(r.Key)+len(r.Value), min(limit, maxPutBytes), bridge.ErrOversize)
	}
	return nil
}

// offer lets the first record of a lane be put, unless one of it is under way.
func (s *Sink) offer(l *lane) {
	if !l.busy && len(l.queue) > 0 {
		l.busy = true
		s.ready = append(s.ready, l)
	}
}

func (s *Sink) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// fail ends the sink: what waits has no known fate.
func (s *Sink) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fatal != nil {
		return
	}
	if err == nil {
		err = fmt.Errorf("write to stream %s: the sink is closed: %w", s.name(), bridge.ErrRefused)
	}
	s.fatal = err
	close(s.dead)
}

// run puts what is ready until ctx ends or something fails for good.
func (s *Sink) run(ctx context.Context) error {
	for {
		batch := s.take()
		if len(batch) > 0 {
			if err := s.round(ctx, batch); err != nil {
				return err
			}
			continue
		}
		// Nothing waits: what came of the last put is told now, not with the next one.
		if err := s.tell(ctx); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
		}
	}
}

// take removes as many lanes from ready as one PutRecords can carry records of.
func (s *Sink) take() []*lane {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, size := 0, 0
	for n < len(s.ready) && n < maxPutRecords {
		r := s.ready[n].queue[0].rec
		if size += len(r.Key) + len(r.Value); size > maxPutBytes {
			break
		}
		n++
	}
	batch := s.ready[:n:n]
	s.ready = s.ready[n:]
	return batch
}

// tell appends to the ledger what it does not know yet.
func (s *Sink) tell(ctx context.Context) error {
	if len(s.settled) == 0 {
		return nil
	}
	if _, err := s.conf.Ledger.Append(ctx, bridge.LedgerEntry{Settled: s.settled}); err != nil {
		return fmt.Errorf("settle in the ledger: %w", err)
	}
	s.settled = nil
	return nil
}

// resolve gives the first record of a lane its fate. After a failure the later ones of the
// same Write are held back, since the engine will bring this one again before them.
func (s *Sink) resolve(l *lane, ack bridge.Ack) {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := l.queue[0]
	*first.ack = ack
	first.of.finish()
	l.queue = l.queue[1:]
	if ack.Err != nil {
		rest := l.queue[:0]
		for _, it := range l.queue {
			if it.of != first.of {
				rest = append(rest, it)
				continue
			}
			it.ack.Err = errHeldBack
			it.of.finish()
		}
		l.queue = rest
	}
	l.busy = false
	if len(l.queue) == 0 {
		delete(s.lanes, l.key)
	}
	s.offer(l)
}

func (w *write) finish() {
	if w.left--; w.left == 0 {
		close(w.done)
	}
}

// Close puts no more, and tells the ledger what is known. Writes under way end with an
// error.
func (s *Sink) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	if err := s.finish(); err != nil && !errors.Is(err, bridge.ErrFenced) {
		return err
	}
	return nil
}
