package kafkastream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/kinesis-msk-bridge/bridge"
)

// A SessionConfig says which task of which workflow a Session is for.
type SessionConfig struct {
	Client   *Client
	Workflow string
	// Tasks is into how many tasks the workflow is divided, Task which one this is, from 0.
	// Both are 0 and 1 for a workflow that is not divided; Tasks is 1 if zero.
	Tasks, Task int
	Key         bridge.WorkflowKey
	// Target is the topic that the task writes to; empty if it writes to Kinesis.
	Target string
	// DeadLetters is the topic that dead letters go to; empty if they go elsewhere.
	DeadLetters string
	// ReplicationFactor of the workflow's own topics; the cluster's default if zero.
	ReplicationFactor int
	// Retention of ledger and index; 30 days if zero.
	Retention time.Duration
	// RefreshEvery is how often an empty transaction keeps the transactional id from being
	// forgotten; an hour if zero. It must be well below transactional.id.expiration.ms.
	RefreshEvery time.Duration
	// Watch is asked before each send; nil is always alive.
	Watch *bridge.Watch
	// Compression of what is written: "none", "lz4" or "zstd"; none if empty.
	Compression string
	Logger      *slog.Logger // nil logs nothing
}

// A Session is the ownership of one task. Opening one fences every older one: brokers
// refuse what those still send, to every partition that the task writes to. A Session is
// safe for concurrent use.
type Session struct {
	conf     SessionConfig
	client   *Client
	log      *slog.Logger
	txID     string
	id       int64
	epoch    int16
	fenced   bool // the fence is up: this principal may use the transactional id
	own      ownTopics
	target   Topic
	letters  Topic
	producer *producer
	tagger   *bridge.Tagger
	listed   []int64               // producer ids that the task ever had
	ids      map[string]string     // topic ids of all that the task writes to, by name
	ends     map[partitionID]int64 // high watermarks before the fence
	marks    map[partitionID]mark  // acknowledged before this session
	direct   bool                  // no session stood between the checkpoint and this one
	adopted  *adopted              // set if neither a checkpoint nor a list was there
	sets     int                   // of parts that were stored
	stop     context.CancelFunc
	done     chan error
	once     sync.Once
}

const defaultRefresh = time.Hour

var codecs = map[string]sarama.CompressionCodec{"": sarama.CompressionNone, "none": sarama.CompressionNone, "lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD}

// OpenSession takes the task over. It returns when no older session can append anything
// more, and wraps ErrDenied, ErrUnreachable or ErrMissing if it could not begin, ErrRefused
// if the cluster forgets transactional ids between two refreshes, and ErrState if the workflow's topics are those of another workflow of this name.
//
// The fence: InitProducerId raises the epoch of the task's transactional id, and an empty
// transaction, aborted, writes a marker of that epoch into every partition that the task
// may write to. From the marker on a partition refuses older epochs; without it a broker
// learns of the new epoch only with the first batch. What is then written carries the
// producer id, but no transaction.
func OpenSession(ctx context.Context, c SessionConfig) (*Session, error) {
	s, err := openSession(ctx, c, -1, -1, nil)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Restart ends s and takes the same task again, as s and nobody else may: it wraps
// ErrFenced if another session was opened in between. It is for a producer whose state
// the broker lost. It can be called again after an error.
func (s *Session) Restart(ctx context.Context) (*Session, error) {
	_ = s.Close()
	id, epoch := s.id, s.epoch
	if !s.fenced {
		id, epoch = -1, -1
	}
	next, err := openSession(ctx, s.conf, id, epoch, s.known())
	if err != nil {
		if next.fenced {
			s.id, s.epoch = next.id, next.epoch // which nobody else has
		}
		return nil, err
	}
	return next, nil
}

// openSession returns what it has reached with its error, too. The batches that the session
// before it knows to be acknowledged must still be there.
func openSession(ctx context.Context, c SessionConfig, id int64, epoch int16, acked map[partitionID]mark) (*Session, error) {
	if _, ok := codecs[c.Compression]; !ok {
		return &Session{}, fmt.Errorf("compression %q is none of none, lz4, zstd: %w", c.Compression, bridge.ErrRefused)
	}
	c.Tasks = max(c.Tasks, 1)
	s := &Session{
		conf: c, client: c.Client, log: c.Logger, tagger: bridge.NewTagger(c.Key, "kafka stores"),
		txID: fmt.Sprintf("bridge.%s.%d.%d", c.Workflow, c.Tasks, c.Task),
		own:  topicsOf(c.Workflow),
		done: make(chan error, 1),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	var err error
	if s.ids, err = s.own.ensure(ctx, c); err != nil {
		return s, err
	}
	if c.Target != "" {
		if s.target, err = c.Client.Topic(ctx, c.Target); err != nil {
			return s, err
		}
		s.ids[c.Target] = s.target.ID
	}
	if c.DeadLetters != "" {
		if s.letters, err = c.Client.Topic(ctx, c.DeadLetters); err != nil {
			return s, err
		}
		s.ids[c.DeadLetters] = s.letters.ID
	}
	if err := s.patiently(ctx, "prove the logs", func() error { return s.proveLogs(ctx, acked) }); err != nil {
		return s, fmt.Errorf("take over task %s: %w", s.txID, err)
	}
	if err := s.takeOver(ctx, id, epoch); err != nil {
		return s, fmt.Errorf("take over task %s: %w", s.txID, err)
	}
	s.startProducer(ctx)
	if err := s.introduce(ctx); err != nil {
		return s, errors.Join(fmt.Errorf("take over task %s: %w", s.txID, err), s.Close())
	}
	return s, nil
}

func (s *Session) startProducer(ctx context.Context) {
	s.producer = newProducer(wire{s.client}, s.id, s.epoch)
	s.producer.codec = codecs[s.conf.Compression]
	s.producer.watch = s.conf.Watch
	for _, t := range []Topic{s.target, s.letters} {
		for n := range t.Partitions {
			to := partitionID{t.Name, int32(n)}
			s.producer.lineTo(to).recompressed = !t.keeps(s.conf.Compression)
			s.producer.setLimit(to, min(defaultBatchBytes, cmpInt(t.MaxMessageBytes, defaultBatchBytes)))
		}
	}
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	go func() { s.done <- s.producer.run(life) }()
}

// takeOver gets the producer id and puts the fence up.
func (s *Session) takeOver(ctx context.Context, id int64, epoch int16) error {
	var err error
	s.id, s.epoch, err = s.initProducer(ctx, id, epoch)
	if errors.Is(err, bridge.ErrDenied) {
		s.log.Warn("runs unfenced: this principal may not use the transactional id; an older worker is not stopped by this one", "transactional_id", s.txID)
		s.id, s.epoch, err = s.initPlain(ctx)
		return err
	}
	if err != nil {
		return err
	}
	s.fenced = true
	if err := s.checkExpiry(ctx); err != nil {
		return err
	}
	if err := s.emptyTransaction(ctx, s.writable()); err != nil {
		return err
	}
	return s.awaitMarkers(ctx)
}

// writable is every partition that the task may write to.
func (s *Session) writable() map[string][]int32 {
	task := []int32{int32(s.conf.Task)}
	all := map[string][]int32{s.own.checkpoints: task, s.own.ledger: task, s.own.index: task}
	for _, t := range []Topic{s.target, s.letters} {
		if t.Name != "" {
			all[t.Name] = t.numbers()
		}
	}
	return all
}

// awaitMarkers returns once the markers of the last transaction are written everywhere: a
// coordinator lets no new transaction begin before that. The one that proves it, over the
// checkpoint partition alone, is waited for by its last stable offset.
func (s *Session) awaitMarkers(ctx context.Context) error {
	at := map[string][]int32{s.own.checkpoints: {int32(s.conf.Task)}}
	if err := s.emptyTransaction(ctx, at); err != nil {
		return err
	}
	return s.patiently(ctx, "wait for the fence", func() error {
		_, end, stable, err := s.client.offsets(ctx, s.own.checkpoints, int32(s.conf.Task))
		if err == nil && stable < end {
			err = fmt.Errorf("a transaction is open on %s: %w", s.own.checkpoints, bridge.ErrTransient)
		}
		return err
	})
}

// patiently tries again what passes, until ctx ends.
func (s *Session) patiently(ctx context.Context, what string, try func() error) error {
	for n := 0; ; n++ {
		err := try()
		if err == nil || !bridge.Retryable(err) {
			return err
		}
		if n%20 == 19 {
			s.log.Info("still waiting", "for", what, "error", err)
		}
		if e := pause(ctx, min(10*time.Millisecond<<min(n, 8), time.Second)); e != nil {
			return errors.Join(e, err)
		}
	}
}

// coordinator runs one exchange with the broker that coordinates the transactional id.
func (s *Session) coordinator(ctx context.Context, what string, exchange func(*sarama.Broker) (sarama.KError, error)) error {
	return s.patiently(ctx, what, func() error {
		code, err := await(ctx, s.client, func() (sarama.KError, error) {
			b, err := s.client.cl.TransactionCoordinator(s.txID)
			if err != nil {
				return 0, err
			}
			return exchange(b)
		})
		if err == nil && code != sarama.ErrNoError {
			err = classify(code)
		}
		if err != nil {
			// Whoever coordinated may have moved; what it said may be old.
			_, _ = await(ctx, s.client, func() (struct{}, error) {
				return struct{}{}, s.client.cl.RefreshTransactionCoordinator(s.txID)
			})
			return fmt.Errorf("%s: %w", what, err)
		}
		return nil
	})
}

// initProducer asks for the producer id. With an id and epoch it is refused if somebody
// else has asked since; only a fresh assignment comes without (-1).
func (s *Session) initProducer(ctx context.Context, id int64, epoch int16) (int64, int16, error) {
	err := s.coordinator(ctx, "get a producer id", func(b *sarama.Broker) (sarama.KError, error) {
		r, err := b.InitProducerID(&sarama.InitProducerIDRequest{
			Version: 4, TransactionalID: &s.txID, TransactionTimeout: time.Minute, ProducerID: id, ProducerEpoch: epoch,
		})
		if err != nil {
			return 0, err
		}
		s.id, s.epoch = r.ProducerID, r.ProducerEpoch
		return r.Err, nil
	})
	return s.id, s.epoch, err
}

func (s *Session) initPlain(ctx context.Context) (id int64, epoch int16, err error) {
	err = s.patiently(ctx, "get a producer id", func() error {
		r, err := await(ctx, s.client, func() (*sarama.InitProducerIDResponse, error) { return s.client.cl.InitProducerID() })
		if err == nil && r.Err != sarama.ErrNoError {
			err = classify(r.Err)
		}
		if err == nil {
			id, epoch = r.ProducerID, r.ProducerEpoch
		}
		return err
	})
	return id, epoch, err
}

// emptyTransaction begins and aborts a transaction over the partitions: one marker in each.
func (s *Session) emptyTransaction(ctx context.Context, over map[string][]int32) error {
	if err := s.conf.Watch.Alive(); err != nil {
		return err
	}
	err := s.coordinator(ctx, "begin the empty transaction", func(b *sarama.Broker) (sarama.KError, error) {
		r, err := b.AddPartitionsToTxn(&sarama.AddPartitionsToTxnRequest{
			Version: 1, TransactionalID: s.txID, ProducerID: s.id, ProducerEpoch: s.epoch, TopicPartitions: over,
		})
		if err != nil {
			return 0, err
		}
		for _, errs := range r.Errors {
			for _, e := range errs {
				// What hides the reason is that another partition failed.
				if e.Err != sarama.ErrNoError && e.Err != sarama.ErrOperationNotAttempted {
					return e.Err, nil
				}
			}
		}
		return sarama.ErrNoError, nil
	})
	if err != nil {
		return s.lost(err)
	}
	err = s.coordinator(ctx, "abort the empty transaction", func(b *sarama.Broker) (sarama.KError, error) {
		r, err := b.EndTxn(&sarama.EndTxnRequest{
			Version: 3, TransactionalID: s.txID, ProducerID: s.id, ProducerEpoch: s.epoch, TransactionResult: false,
		})
		if err != nil {
			return 0, err
		}
		if r.Err == sarama.ErrInvalidTxnState {
			return sarama.ErrNoError, nil // an earlier try did it, and its answer was lost
		}
		return r.Err, nil
	})
	return s.lost(err)
}

// lost classifies what the coordinator says of an id that it does not know (any more): it
// has given the transactional id another producer id since.
func (s *Session) lost(err error) error {
	if errors.Is(err, sarama.ErrInvalidProducerIDMapping) {
		return fmt.Errorf("%w: %w", bridge.ErrFenced, err)
	}
	return err
}

// Run keeps the transactional id alive until ctx ends, and returns nil then. It returns
// the error that ended the producer, which wraps ErrFenced if the task was lost.
func (s *Session) Run(ctx context.Context) error {
	every := cmpOr(s.conf.RefreshEvery, defaultRefresh)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.producer.dead:
			return s.producer.fatal
		case <-tick.C:
		}
		if !s.fenced {
			continue
		}
		err := s.emptyTransaction(ctx, map[string][]int32{s.own.checkpoints: {int32(s.conf.Task)}})
		if err != nil && ctx.Err() == nil {
			err = fmt.Errorf("keep the transactional id %s: %w", s.txID, err)
			s.producer.fail(err)
			return err
		}
	}
}

// Fenced reports whether older sessions were fenced, and this one can be. If not, the
// principal may not use transactional ids; see TransactionalID.
func (s *Session) Fenced() bool { return s.fenced }

// TransactionalID is the name under which the task is fenced.
func (s *Session) TransactionalID() string { return s.txID }

// Close ends the session without a word to the cluster; the next one fences it anyway.
// What is under way then has no known fate.
func (s *Session) Close() error {
	s.once.Do(func() {
		s.stop()
		<-s.done
	})
	return nil
}

// introduce makes sure, before anything is written, that the checkpoints list this
// producer id: a scan takes records of listed ids alone for the task's own.
func (s *Session) introduce(ctx context.Context) error {
	h, err := s.readHistory(ctx)
	if err != nil {
		return err
	}
	if h.key == nil {
		if err := s.put(ctx, keyRecord, keyRecord, keyBody{Key: s.conf.Key.Reveal()}); err != nil {
			return err
		}
	} else if *h.key != s.conf.Key {
		return foreign(s.conf.Workflow)
	}
	s.listed, s.direct = h.producers, s.follows(&h)
	if h.checkpoint.At.IsZero() && len(h.producers) == 0 {
		s.adopted = &adopted{ids: map[int64]bool{}}
	}
	if slices.Contains(s.listed, s.id) {
		return nil
	}
	s.listed = append(s.listed, s.id)
	return s.put(ctx, producersRecord, producersRecord, producersBody{IDs: s.listed})
}

// ownTopics are the names of a workflow's own topics.
type ownTopics struct{ checkpoints, ledger, index string }

func topicsOf(workflow string) ownTopics {
	p := "bridge." + workflow + "."
	return ownTopics{p + "checkpoints", p + "ledger", p + "index"}
}

// Names lists the workflow's own topics, for people who must grant rights or delete them.
func (o ownTopics) names() []string { return []string{o.checkpoints, o.ledger, o.index} }

// OwnTopics are the names of the topics that a workflow keeps for itself.
func OwnTopics(workflow string) []string { return topicsOf(workflow).names() }

const defaultStoreRetention = 30 * 24 * time.Hour

// ensure creates what is missing, and sets what older versions did not set. Segments are
// small, because compaction never touches the one in use, and every start reads all of it. It
// returns the topic ids.
func (o ownTopics) ensure(ctx context.Context, c SessionConfig) (ids map[string]string, err error) {
	ids = map[string]string{}
	keep := strconv.FormatInt(cmpOr(c.Retention, defaultStoreRetention).Milliseconds(), 10)
	small := map[string]string{"segment.ms": "600000", "segment.bytes": strconv.Itoa(16 << 20)}
	byTime := map[string]string{cleanupPolicy: "delete", retentionMs: keep}
	for _, spec := range []TopicSpec{
		{Name: o.checkpoints, Settings: map[string]string{cleanupPolicy: "compact", "min.cleanable.dirty.ratio": "0.1", "segment.ms": small["segment.ms"], "segment.bytes": small["segment.bytes"]}},
		{Name: o.ledger, Settings: byTime},
		{Name: o.index, Settings: byTime},
	} {
		spec.Partitions, spec.ReplicationFactor, spec.Settings = c.Tasks, c.ReplicationFactor, maps.Clone(spec.Settings)
		safe := Durable(c.ReplicationFactor)
		maps.Copy(spec.Settings, safe)
		t, err := c.Client.lookup(ctx, spec.Name)
		if err == nil {
			err = c.Client.Secure(ctx, spec.Name, safe)
		}
		if errors.Is(err, bridge.ErrMissing) {
			t, err = c.Client.CreateTopic(ctx, spec)
			if errors.Is(err, bridge.ErrConflict) {
				t, err = c.Client.lookup(ctx, spec.Name)
			}
		}
		if err != nil {
			return nil, err
		}
		ids[t.Name] = t.ID
		if t.Partitions != c.Tasks {
			return nil, bridge.WithHint(fmt.Errorf("topic %s has %d partitions, the workflow %d tasks: %w", t.Name, t.Partitions, c.Tasks, bridge.ErrChanged),
				"the number of tasks is part of a workflow: set it back, or begin a new workflow")
		}
	}
	return ids, nil
}
