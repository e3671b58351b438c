package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/state"
	"github.com/kinesis-msk-bridge/bridge/stream/kafkastream"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesisstream"
)

// A survey is what plan and preflight found out about the two ends. It changes nothing.
type survey struct {
	settings
	brokers    kafkastream.Census
	stream     kinesisstream.Info // zero if it is missing
	topic      kafkastream.Topic  // zero if it is missing
	shards     int
	backlog    int64 // records of the topic that a start would read
	sample     sample
	sampled    error // why there is no sample
	unread     error // why the source may not or cannot be read
	rights     []kinesisstream.Right
	endpoint   string // the host that was called for Kinesis
	noKinesis  error  // why the stream could not be looked at
	noKafka    error  // why the cluster could not be looked at
	idExpiry   time.Duration
	noExpiry   error // why idExpiry could not be read
	transact   error
	serverless bool // the cluster is MSK Serverless
	compacted  int  // partitions of its compacted topics, if it is
	unshown    int  // topics of which that is not known
	kinesisRTT time.Duration
	kafkaRTT   time.Duration
	stores     []store
	letters    place         // of dead letters
	loop       string        // workflows that bring records back to the source
	skew       time.Duration // of this machine's clock against the service's
}

// look reaches both ends and takes a sample of up to each records a partition. What is
// only missing is no error. What cannot be reached or read on one side does not keep it
// from looking at the other: see unreached.
func (s *survey) look(ctx context.Context, each int) (err error) {
	p := &pair{settings: s.settings}
	var sides sync.WaitGroup
	sides.Go(func() { s.noKinesis = s.lookAtKinesis(ctx, p) })
	sides.Go(func() { s.noKafka = s.lookAtKafka(ctx, p) })
	sides.Wait()
	if p.kafka != nil {
		defer func() { err = errors.Join(err, p.kafka.Close()) }()
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if s.unreached() != nil {
		return nil
	}
	s.letters = p.lettersPlace(ctx)
	_, err = patiently(ctx, s.settings, "look for loops", func() (struct{}, error) {
		return struct{}{}, s.lookForLoop(ctx, p)
	})
	if err != nil {
		return err
	}
	_, s.unread = patiently(ctx, s.settings, "read a sample", func() (struct{}, error) {
		s.sample, s.backlog = sample{}, 0
		return struct{}{}, s.read(ctx, p, each)
	})
	if bridge.Retryable(s.unread) || errors.Is(s.unread, bridge.ErrDenied) {
		return context.Cause(ctx)
	}
	return s.unread
}

// unreached says why one or both sides could not be looked at.
func (s *survey) unreached() error {
	err := errors.Join(s.noKinesis, s.noKafka)
	if s.noKinesis != nil && s.noKafka != nil {
		return bridge.WithHint(err, bridge.Hint(s.noKinesis)+"; "+bridge.Hint(s.noKafka))
	}
	return err
}

func (s *survey) lookAtKinesis(ctx context.Context, p *pair) error {
	_, err := patiently(ctx, s.settings, "look at the stream", func() (_ struct{}, err error) {
		p.kinesis, err = kinesisstream.Dial(ctx, s.settings.stream())
		if errors.Is(err, bridge.ErrMissing) && s.creates() {
			p.kinesis, s.rights = nil, []kinesisstream.Right{{Action: "kinesis:PutRecords", Unknown: "the stream is still to be created"}}
			return struct{}{}, nil
		}
		if err == nil {
			err = s.kinesis(ctx, p.kinesis)
		}
		return struct{}{}, err
	})
	return err
}

func (s *survey) lookAtKafka(ctx context.Context, p *pair) error {
	_, err := patiently(ctx, s.settings, "look at the cluster", func() (_ struct{}, err error) {
		if p.kafka == nil {
			if p.kafka, err = s.dialKafka(ctx); err != nil {
				return struct{}{}, err
			}
		}
		return struct{}{}, s.kafka(ctx, p)
	})
	return err
}

func (s *survey) kafka(ctx context.Context, p *pair) (err error) {
	began := time.Now()
	p.topic, err = p.kafka.Topic(ctx, s.Config.Kafka.Topic)
	s.kafkaRTT = time.Since(began) / 2 // it asks twice
	if errors.Is(err, bridge.ErrMissing) && s.Config.Direction == kinesisToKafka && s.Config.Kafka.Partitions > 0 {
		err = nil
	}
	if err != nil {
		return err
	}
	s.topic = p.topic
	if s.brokers, err = p.kafka.Brokers(ctx); err != nil {
		return err
	}
	if s.stores, err = storesOf(ctx, p.kafka, s.Config.Workflow); err != nil {
		return err
	}
	if s.idExpiry, s.noExpiry = p.kafka.ExpiryOfIDs(ctx); bridge.Retryable(s.noExpiry) {
		return s.noExpiry
	}
	if s.transact = p.kafka.MayTransact(ctx, s.Config.Workflow); s.transact != nil && !errors.Is(s.transact, bridge.ErrDenied) {
		return s.transact
	}
	if s.serverless, err = p.kafka.Serverless(ctx); s.serverless {
		s.compacted, s.unshown, err = p.kafka.CompactedPartitions(ctx)
	}
	return err
}

func (s *survey) kinesis(ctx context.Context, c *kinesisstream.Client) (err error) {
	began := time.Now()
	if s.stream, s.skew, err = c.DescribeWithClock(ctx); err != nil {
		return err
	}
	s.kinesisRTT, s.endpoint = time.Since(began), c.Host()
	shards, err := c.Partitions(ctx)
	if err != nil {
		return err
	}
	s.shards = 0
	for _, shard := range shards {
		if !shard.Closed {
			s.shards++
		}
	}
	s.rights, err = c.Rights(ctx, s.Config.Direction == kafkaToKinesis)
	return err
}

// read takes the sample. Access that is refused shows here, too.
func (s *survey) read(ctx context.Context, p *pair, each int) error {
	var src bridge.Source
	if s.Config.Direction == kinesisToKafka {
		reading := p.reading(state.Workflow{Name: s.Config.Workflow})
		reading.ExplicitHashKey = func(string) { s.sample.ExplicitHash++ }
		reading.PageRecords = each
		src = p.kinesis.Source(reading)
	} else {
		topic, err := kafkastream.NewSource(ctx, kafkastream.SourceConfig{
			Client: p.kafka, Topic: p.topic.Name, Partitions: p.topic.Partitions, ID: p.topic.ID,
		})
		if err != nil {
			return err
		}
		if err := s.count(ctx, topic); err != nil {
			return err
		}
		src = topic
	}
	s.sampled = s.sample.take(ctx, src, s.Config.startTime(), each)
	if errors.Is(s.sampled, bridge.ErrDenied) || bridge.Retryable(s.sampled) || ctx.Err() != nil {
		return s.sampled
	}
	return nil
}

// count sums what the partitions hold; what expired is counted with it.
func (s *survey) count(ctx context.Context, src bridge.Ender) error {
	ends, err := src.Ends(ctx)
	if err != nil {
		return fmt.Errorf("ask where the topic ends: %w", err)
	}
	for _, end := range ends {
		if n, err := strconv.ParseInt(end.Seq, 10, 64); err == nil {
			s.backlog += n + 1
		}
	}
	return nil
}
