package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kafka"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/internal/awsapi"
	"github.com/kinesis-msk-bridge/bridge/state"
	"github.com/kinesis-msk-bridge/bridge/stream/kafkastream"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesisstream"
)

// realAdapters connect to the services that the configuration names.
func realAdapters() adapters {
	return adapters{connect: connectPair, look: lookAt, rest: restOf, witness: witnessOf, letters: readLetters, keeps: keepsOf}.patient()
}

// A pair is a stream and a topic that answered.
type pair struct {
	settings
	kafka   *kafkastream.Client
	kinesis *kinesisstream.Client // nil if the target stream is still to be created
	topic   kafkastream.Topic
	letters kafkastream.Topic // of dead letters; zero if they go elsewhere
	source  bridge.Identity
	target  bridge.Identity
	// keyStored: the workflow's checkpoints hold its key.
	keyStored bool
}

func connectPair(ctx context.Context, s settings) (session, error) {
	p := &pair{settings: s}
	var err error
	if p.kafka, err = s.dialKafka(ctx); err != nil {
		return nil, err
	}
	p.kinesis, err = kinesisstream.Dial(ctx, s.stream())
	if errors.Is(err, bridge.ErrMissing) && s.creates() {
		p.kinesis, err = nil, nil
	}
	if err == nil && s.Config.Direction == kinesisToKafka {
		_, err = p.kinesis.Source(kinesisstream.SourceConfig{}).Partitions(ctx)
	}
	if err == nil {
		err = p.topicFits(ctx)
	}
	if err == nil && p.kinesis != nil && p.kinesis.Info().Auto {
		s.Log.Warn("the stream is in AUTO record distribution: its records have no order by key, so there is none to keep")
	}
	if err != nil {
		return nil, errors.Join(err, p.kafka.Close())
	}
	return p, nil
}

// creates reports whether a stream that is missing is made.
func (s settings) creates() bool {
	return s.Config.Direction == kafkaToKinesis && s.Config.Kinesis.Stream != ""
}

func (s settings) stream() kinesisstream.Config {
	k := s.Config.Kinesis
	return kinesisstream.Config{
		Stream: k.Stream, StreamARN: k.StreamARN, Region: k.Region, Profile: k.Profile,
		EndpointURL: k.EndpointURL, RoleARN: k.RoleARN, Codec: kinesisstream.Codec(k.Codec), HTTP: s.HTTP,
	}
}

func (s settings) dialKafka(ctx context.Context) (*kafkastream.Client, error) {
	c, err := s.Config.kafkaClient()
	if err != nil {
		return nil, err
	}
	if s.Config.Kafka.MSKClusterARN != "" || c.SASL.Mechanism == kafkastream.MSKIAM {
		account, err := s.account(ctx)
		if err != nil {
			return nil, err
		}
		if c.SASL.Mechanism == kafkastream.MSKIAM {
			c.SASL.Credentials = account.Credentials
		}
		if arn := s.Config.Kafka.MSKClusterARN; arn != "" {
			if c.Brokers, err = kafkastream.MSKBrokers(ctx, kafka.NewFromConfig(account), arn, c, kafkastream.Private); err != nil {
				return nil, err
			}
		}
	}
	return kafkastream.Dial(ctx, c)
}

// account is the AWS account that the cluster is in.
func (s settings) account(ctx context.Context) (aws.Config, error) {
	k := s.Config.Kinesis
	return awsapi.Load(ctx, awsapi.Config{Region: s.Config.brokerRegion(), Profile: k.Profile, RoleARN: k.RoleARN})
}

// Prepare makes topic or stream if it is missing and never was there.
func (p *pair) Prepare(ctx context.Context, pinned state.Pinned) (prepared, error) {
	var out prepared
	if err := p.prepareTopic(ctx, pinned); err != nil {
		return out, err
	}
	if err := p.prepareLetters(ctx); err != nil {
		return out, err
	}
	if err := p.prepareStream(ctx, pinned); err != nil {
		return out, err
	}
	stream, err := p.kinesis.Identity(ctx)
	if err != nil {
		return out, err
	}
	if p.Config.Direction == kinesisToKafka {
		if _, out.Ahead, err = p.kinesis.DescribeWithClock(ctx); err != nil {
			return out, err
		}
	}
	p.source, p.target = stream, p.topic.Identity()
	if p.Config.Direction == kafkaToKinesis {
		p.source, p.target = p.target, p.source
	}
	out.Retention = p.kinesis.Info().Retention
	if p.Config.Direction == kafkaToKinesis {
		out.Retention = time.Duration(max(p.topic.RetentionMs, 0)) * time.Millisecond
	}
	out.Pinned = state.Pinned{Source: p.source, Target: p.target, Partitions: p.topic.Partitions}
	key, found, err := kafkastream.StoredKey(ctx, p.kafka, p.Config.Workflow)
	if found {
		out.Key, p.keyStored = key, true
	}
	return out, err
}

// topicFits refuses a topic that cannot do, whatever the workflow is, before anything is
// made for it.
func (p *pair) topicFits(ctx context.Context) error {
	k := p.Config.Kafka
	topic, err := p.kafka.Topic(ctx, k.Topic)
	switch {
	case errors.Is(err, bridge.ErrMissing) && p.Config.Direction == kafkaToKinesis:
		return bridge.WithHint(err, "check kafka.topic and that the brokers are those of the right cluster")
	case errors.Is(err, bridge.ErrMissing) && k.Partitions == 0:
		return bridge.WithHint(err, "create it, or set kafka.partitions and bridge will")
	case errors.Is(err, bridge.ErrMissing):
		return nil
	case err != nil:
		return err
	case k.Partitions != 0 && topic.Partitions != k.Partitions:
		hint := "with another number keys go to other partitions: set kafka.partitions to what the topic had when its producers began, or use a new topic"
		if p.Begun {
			hint = "with another number keys go to other partitions: if the file was changed, change it back; if the topic was, begin a new workflow on a new topic"
		}
		return bridge.WithHint(
			fmt.Errorf("topic %s has %d partitions, kafka.partitions says %d: %w", k.Topic, topic.Partitions, k.Partitions, bridge.ErrChanged), hint)
	}
	return nil
}

// gone is the error for something that a workflow began with and that is missing now.
func gone(what string) error {
	return bridge.WithHint(fmt.Errorf("%s was deleted since the workflow began: %w", what, bridge.ErrChanged),
		"what it held is gone: begin a new workflow under another name")
}

func (p *pair) prepareTopic(ctx context.Context, pinned state.Pinned) error {
	k := p.Config.Kafka
	var err error
	p.topic, err = p.kafka.Topic(ctx, k.Topic)
	switch {
	case errors.Is(err, bridge.ErrMissing) && !pinned.IsZero():
		return gone("topic " + k.Topic)
	case errors.Is(err, bridge.ErrMissing) && p.Config.Direction == kinesisToKafka:
		return p.createTopic(ctx)
	}
	return err
}

// createTopic makes the target with room for the largest record of the stream, and keeps
// it as long as the cluster does by default, but never by a limit of bytes.
func (p *pair) createTopic(ctx context.Context) error {
	k := p.Config.Kafka
	minISR := k.MinInsyncReplicas
	if minISR == 0 {
		minISR = min(2, k.ReplicationFactor)
	}
	largest := p.kinesis.Info().MaxRecordSize + messageRoom
	settings := kafkastream.Durable(k.ReplicationFactor)
	settings["min.insync.replicas"] = fmt.Sprint(minISR)
	settings["max.message.bytes"] = fmt.Sprint(max(largest, 1_048_588))
	settings["message.timestamp.type"] = "CreateTime"
	settings["retention.ms"] = fmt.Sprint(max(p.kinesis.Info().Retention+7*24*time.Hour, 7*24*time.Hour).Milliseconds())
	_, err := p.kafka.CreateTopic(ctx, kafkastream.TopicSpec{
		Name: k.Topic, Partitions: k.Partitions, ReplicationFactor: k.ReplicationFactor, Settings: settings,
	})
	if err != nil && !errors.Is(err, bridge.ErrConflict) {
		return err
	}
	p.Log.Info("created the topic", "topic", k.Topic, "partitions", k.Partitions)
	p.topic, err = p.kafka.Topic(ctx, k.Topic)
	return err
}

func (p *pair) prepareStream(ctx context.Context, pinned state.Pinned) error {
	if p.kinesis != nil {
		return nil
	}
	name := p.Config.Kinesis.Stream
	if !pinned.IsZero() {
		return gone("stream " + name)
	}
	c := p.Config.Kinesis.Create
	client, created, err := kinesisstream.DialOrCreate(ctx, p.stream(), kinesisstream.Create{
		OnDemand: c.Mode != "provisioned", Shards: c.Shards, Retention: time.Duration(c.Retention),
		MaxRecordSize: int(c.MaxRecordSize), KMSKey: c.KMSKey,
	})
	if err != nil {
		return err
	}
	if p.kinesis = client; created {
		p.Log.Info("created the stream", "stream", name, "mode", c.Mode)
	}
	return nil
}

// Open makes what moves the records of a workflow. The checkpoint is read once before the
// task is taken, which writes markers into topics, and once behind it.
func (p *pair) Open(ctx context.Context, w state.Workflow) (runner, error) {
	if err := p.noLoop(ctx); err != nil {
		return nil, err
	}
	first, err := p.withoutCheckpoint(ctx, w)
	if err == nil && first {
		err = p.ownPast(ctx, w)
	}
	if err != nil {
		return nil, err
	}
	return &mover{pair: p, workflow: w, drained: make(chan struct{})}, nil
}

func (p *pair) Close() error { return p.kafka.Close() }

// lookAt reads what status shows.
func lookAt(ctx context.Context, s settings, w state.Workflow) (seen sighting, err error) {
	client, err := s.dialKafka(ctx)
	if err != nil {
		return seen, err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	seen.Checkpoint, seen.Fenced, err = kafkastream.ReadCheckpoint(ctx, client, w.Name, 0, w.Key)
	if !seen.Fenced {
		seen.Unfenced = "the principal may not use the transactional id of the workflow"
		if seen.Checkpoint.At.IsZero() {
			seen.Unfenced = "no checkpoint was saved yet"
		}
	}
	return seen, err
}
