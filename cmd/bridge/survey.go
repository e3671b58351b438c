package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/state"
	"github.com/kinesis-msk-bridge/bridge/stream/kafkastream"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesisstream"
)

// A survey is what plan and preflight found out about the two ends. It changes nothing.
type survey struct {
	settings
	stream     kinesisstream.Info // zero if it is missing
	topic      kafkastream.Topic  // zero if it is missing
	shards     int
	backlog    int64 // records of the topic that a start would read
	sample     sample
	sampled    error // why there is no sample
	idExpiry   time.Duration
	transact   error
	kinesisRTT time.Duration
	kafkaRTT   time.Duration
	stores     []store
	letters    place         // of dead letters
	loop       string        // workflows that bring records back to the source
	skew       time.Duration // of this machine's clock against the service's
}

// look reaches both ends and takes a sample of up to each records a partition. What is
// only missing is no error; what cannot be reached or read is.
func (s *survey) look(ctx context.Context, each int) error {
	p := &pair{settings: s.settings}
	var err error
	if p.kafka, err = s.dialKafka(ctx); err != nil {
		return err
	}
	err = s.both(ctx, p, each)
	return errors.Join(err, p.kafka.Close())
}

func (s *survey) both(ctx context.Context, p *pair, each int) error {
	var err error
	if p.kinesis, err = kinesisstream.Dial(ctx, s.settings.stream()); errors.Is(err, bridge.ErrMissing) && s.creates() {
		p.kinesis, err = nil, nil
	}
	if err != nil {
		return err
	}
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
	if p.kinesis != nil {
		if err := s.kinesis(ctx, p.kinesis); err != nil {
			return err
		}
	}
	if s.stores, err = storesOf(ctx, p.kafka, s.Config.Workflow); err != nil {
		return err
	}
	s.letters = p.lettersPlace(ctx)
	if err := s.lookForLoop(ctx, p); err != nil {
		return err
	}
	if s.idExpiry, err = p.kafka.ExpiryOfIDs(ctx); err != nil && !errors.Is(err, bridge.ErrDenied) {
		return err
	}
	if s.transact = p.kafka.MayTransact(ctx, s.Config.Workflow); s.transact != nil && !errors.Is(s.transact, bridge.ErrDenied) {
		return s.transact
	}
	return s.read(ctx, p, each)
}

func (s *survey) kinesis(ctx context.Context, c *kinesisstream.Client) (err error) {
	began := time.Now()
	if s.stream, s.skew, err = c.DescribeWithClock(ctx); err != nil {
		return err
	}
	s.kinesisRTT = time.Since(began)
	shards, err := c.Partitions(ctx)
	if err != nil {
		return err
	}
	for _, shard := range shards {
		if !shard.Closed {
			s.shards++
		}
	}
	return nil
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
	if errors.Is(s.sampled, bridge.ErrDenied) || ctx.Err() != nil {
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
