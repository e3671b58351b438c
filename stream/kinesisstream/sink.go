package kinesisstream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
)

// A SinkConfig says how a stream is written.
type SinkConfig struct {
	// Format says how records stand in Kinesis records; Raw if empty.
	Format Format
	// Ledger is written ahead of every put. Required.
	Ledger bridge.Ledger
	// Tagger makes the digests of the ledger's intents. Required for Raw.
	Tagger *bridge.Tagger
	// Stamp makes the provenance that records carry. Required for all formats but Raw.
	Stamp *bridge.Stamp
	// Watch is asked before each put; nil is always alive.
	Watch *bridge.Watch
	// PutTimeout bounds one put from before it is written ahead to its answer, 10 s if
	// zero. A put whose answer was lost can take effect until then, and is waited for.
	PutTimeout time.Duration
	// ReadDelay is how long a record that was stored may not be readable yet, 1 s if zero.
	ReadDelay time.Duration
	// AcceptHeaders and AcceptTombstones allow what raw cannot carry to be left out: headers
	// to be dropped, and null values to be written as empty ones.
	AcceptHeaders, AcceptTombstones bool
	// Misplaced is called when n records have come to a shard that they do not belong to, and
	// are put again, in the format KPLShard. Nil ignores them.
	Misplaced func(n int)
	// Rewind is called when n copies of records were found that landed after their first
	// ones. Nil ignores them.
	Rewind func(n int64)
	// Unwatched is called when the watch for such copies is given up, so that some may land
	// that are not counted. Nil ignores it.
	Unwatched func(why string)
}

// Limits of one PutRecords.
const (
	maxPutRecords = 500
	maxPutBytes   = 10 << 20
	maxKeyUnits   = 256 // UTF-16 code units, as the service counts
	defaultPut    = 10 * time.Second
	defaultDelay  = time.Second
)

// A Sink writes a stream. It implements bridge.Sink and bridge.Recoverable. One PutRecords
// is under way at a time, so that a worker that lost its task can land at most one batch,
// and so that a shard's records stand in the order of the calls that stored them.
type Sink struct {
	*Client
	conf   SinkConfig
	codec  codec
	opened time.Time
	queue  *queue
	start  func() // the putting goroutine, with the first Write
	stop   context.CancelFunc
	finish func() error

	mu    sync.Mutex
	fatal error         // why nothing is put any more
	dead  chan struct{} // closed with fatal, when the putting goroutine is gone

	// turn is held by whoever puts or looks for what was put: one round, or one Tail.
	turn    sync.Mutex
	settled []bridge.Settled           // what the ledger does not know yet
	ends    map[string]bridge.Position // the last known record of this workflow in each shard
	late    late
	homes   homes
	// beside runs a function until the sink is closed.
	beside func(func(context.Context))
}

var (
	_ bridge.Sink        = (*Sink)(nil)
	_ bridge.Recoverable = (*Sink)(nil)
)

// Sink returns the stream as a sink. It must be closed. The error is that of a format that
// there is not.
func (c *Client) Sink(ctx context.Context, conf SinkConfig) (*Sink, error) {
	conf.PutTimeout = cmpOr(conf.PutTimeout, defaultPut)
	conf.ReadDelay = cmpOr(conf.ReadDelay, defaultDelay)
	s := &Sink{
		Client: c, conf: conf, opened: time.Now(), queue: newQueue(),
		ends: map[string]bridge.Position{},
		dead: make(chan struct{}),
	}
	var err error
	if s.codec, err = newCodec(&s.conf); err != nil {
		return nil, err
	}
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	s.stop = stop
	s.beside = func(fn func(context.Context)) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if life.Err() == nil {
			running.Go(func() { fn(life) })
		}
	}
	s.start = sync.OnceFunc(func() { running.Go(func() { s.die(s.run(life)) }) })
	s.finish = sync.OnceValue(func() error {
		s.start() // a sink that never wrote ends as any other
		s.mu.Lock()
		stop()
		s.mu.Unlock()
		running.Wait()
		s.turn.Lock()
		defer s.turn.Unlock()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.conf.PutTimeout)
		defer cancel()
		return s.tell(ctx)
	})
	return s, nil
}

// Write puts the records of different keys in any order and those of one key in theirs.
// Keys that are no partition key are ErrUnmappable; in the format Raw so are headers and
// null values, see SinkConfig, and the time is not kept. A Write whose ctx ends makes an
// end of the sink.
func (s *Sink) Write(ctx context.Context, recs []bridge.Record) ([]bridge.Ack, error) {
	if err := s.over(); err != nil {
		return nil, err
	}
	acks := make([]bridge.Ack, len(recs))
	limit := s.Info().MaxRecordSize
	w := s.queue.add(recs, acks, func(r *bridge.Record) error { return s.check(r, limit) })
	s.start()
	select {
	case <-w.done:
		return acks, nil
	case <-s.dead:
		return nil, s.over()
	case <-ctx.Done():
		// What waits must not be put behind the caller's back.
		s.stop()
		<-s.dead
		return nil, ctx.Err()
	}
}

// check says why a record can never be put.
func (s *Sink) check(r *bridge.Record, limit int) error {
	if err := checkKey(r.Key); err != nil {
		return err
	}
	return s.codec.check(r, min(limit, maxPutBytes))
}

// over is why the sink is of no more use, nil while it is.
func (s *Sink) over() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fatal
}

// die ends the sink: what waits has no known fate.
func (s *Sink) die(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		err = fmt.Errorf("write to stream %s: the sink is closed: %w", s.name(), bridge.ErrRefused)
	}
	s.fatal = err
	close(s.dead)
}

// run puts what is ready until ctx ends or something fails for good.
func (s *Sink) run(ctx context.Context) error {
	for {
		idle, err := s.step(ctx)
		switch {
		case ctx.Err() != nil && (err == nil || errors.Is(err, ctx.Err())):
			return nil
		case err != nil:
			return err
		case idle > 0:
			s.queue.wait(ctx, idle)
		}
	}
}

// step takes one turn: a put, or if nothing waits, telling the ledger what came of the last
// one. It returns how long it has nothing to do.
func (s *Sink) step(ctx context.Context) (idle time.Duration, err error) {
	s.turn.Lock()
	defer s.turn.Unlock()
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	home, err := s.grouping(ctx)
	if err != nil {
		return 0, err
	}
	if batch := s.queue.take(s.codec, home); len(batch) > 0 {
		return 0, s.round(ctx, batch)
	}
	return longIdle, s.tell(ctx)
}

// longIdle is any time that is long.
const longIdle = time.Hour

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

// Close puts no more, and tells the ledger what is known. Writes under way end with an
// error.
func (s *Sink) Close() error {
	if err := s.finish(); err != nil && !errors.Is(err, bridge.ErrFenced) {
		return err
	}
	return nil
}
