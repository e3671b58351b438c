package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/deadletter"
	"github.com/kinesis-msk-bridge/bridge/deadletter/s3letters"
	"github.com/kinesis-msk-bridge/bridge/mirror"
	"github.com/kinesis-msk-bridge/bridge/state"
	"github.com/kinesis-msk-bridge/bridge/stream/kafkastream"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesisstream"
	"github.com/kinesis-msk-bridge/bridge/verify"
)

const deadLetter = "dead-letter"

// policy is the policy of the configuration, as the engine takes it.
func (l *loaded) policy() mirror.Policy {
	action := func(s string) mirror.Action {
		if s == deadLetter {
			return mirror.DeadLetter
		}
		return mirror.Stop
	}
	return mirror.Policy{
		Oversize: action(l.Policy.Oversize), Undecodable: action(l.Policy.Undecodable), Unmappable: action(l.Policy.Unmappable),
	}
}

// keepsLetters reports whether there can be dead letters at all.
func (l *loaded) keepsLetters() bool { return l.policy() != mirror.Policy{} }

// largest is how many bytes a record of the source can have.
func (p *pair) largest() int {
	if p.Config.Direction == kafkaToKinesis {
		return p.topic.MaxMessageBytes
	}
	return p.kinesis.Info().MaxRecordSize
}

// letterRoom is what a dead letter in a topic has beside its record: headers and framing.
const letterRoom = 64 << 10

// messageRoom is what a topic that is created has room for beside the largest record of the
// stream: headers and framing.
const messageRoom = 64 << 10

// prepareLetters makes the topic of dead letters if it is missing, and refuses a place
// that cannot hold what the policy sends there.
func (p *pair) prepareLetters(ctx context.Context) (err error) {
	kind, name, _ := cutPlace(p.Config.DeadLetters)
	if !p.Config.keepsLetters() || kind != "topic" {
		return nil
	}
	p.letters, err = p.kafka.Topic(ctx, name)
	if errors.Is(err, bridge.ErrMissing) {
		p.letters, err = p.createLetters(ctx, name, p.largest()+letterRoom)
	}
	if err != nil {
		return err
	}
	return p.fitsTopic(p.letters)
}

// fitsTopic refuses a topic whose messages are too small for what the policy sends there.
func (p *pair) fitsTopic(t kafkastream.Topic) error {
	need := p.largest() + letterRoom
	// A record that is no larger than the target takes fits into any topic like the target.
	if p.Config.Policy.Oversize == deadLetter && t.MaxMessageBytes < need {
		return bridge.WithHint(
			fmt.Errorf("topic %s takes %d bytes a message and an oversize record of the source can need %d: it cannot hold the dead letters: %w", t.Name, t.MaxMessageBytes, need, bridge.ErrRefused),
			"raise its max.message.bytes, or set dead_letters to file:PATH or s3:BUCKET/PREFIX")
	}
	return nil
}

// createLetters makes a topic that keeps what it holds until somebody removes it.
func (p *pair) createLetters(ctx context.Context, name string, need int) (kafkastream.Topic, error) {
	k := p.Config.Kafka
	settings := kafkastream.Durable(k.ReplicationFactor)
	if k.MinInsyncReplicas > 0 {
		settings["min.insync.replicas"] = fmt.Sprint(k.MinInsyncReplicas)
	}
	settings["max.message.bytes"] = fmt.Sprint(max(need, 1_048_588))
	settings["message.timestamp.type"] = "CreateTime"
	settings["cleanup.policy"] = "delete"
	settings["retention.ms"] = "-1"
	t, err := p.kafka.CreateTopic(ctx, kafkastream.TopicSpec{Name: name, Partitions: 1, ReplicationFactor: k.ReplicationFactor, Settings: settings})
	switch {
	case errors.Is(err, bridge.ErrConflict):
		return p.kafka.Topic(ctx, name)
	case err == nil:
		p.Log.Info("created the topic of dead letters", "topic", name)
	}
	return t, err
}

// openLetters opens the place of dead letters, nil if the policy keeps none. Whatever is
// put there is put while the session is alive.
func (m *mover) openLetters(ctx context.Context, watch *bridge.Watch) (bridge.DeadLetters, error) {
	if !m.Config.keepsLetters() {
		return nil, nil
	}
	codec := bridge.NewLetterCodec(m.workflow.Name, m.workflow.Key)
	switch kind, name, _ := cutPlace(m.Config.DeadLetters); kind {
	case "file":
		return deadletter.OpenFile(name, codec)
	case "s3":
		c, err := m.bucket(ctx, name, m.workflow)
		if err != nil {
			return nil, err
		}
		return s3letters.Open(ctx, c)
	case "stream":
		return m.openLetterStream(ctx, name, codec, watch)
	}
	return m.session.DeadLetters(letterStamp(m.workflow, m.source, m.letters)), nil
}

// bucket is the place of a workflow's letters in S3.
func (s settings) bucket(ctx context.Context, place string, w state.Workflow) (s3letters.Config, error) {
	account, err := s.account(ctx)
	bucket, prefix, _ := strings.Cut(place, "/")
	return s3letters.Config{
		API: s3letters.NewClient(account), Bucket: bucket, Prefix: prefix, Workflow: w.Name,
		Source: w.Pinned.Source, Codec: bridge.NewLetterCodec(w.Name, w.Key),
	}, err
}

// letterStream is the stream of dead letters, reached as the workflow's own is.
func (s settings) letterStream(ctx context.Context, name string) (*kinesisstream.Client, error) {
	c := s.stream()
	c.Stream, c.StreamARN = name, ""
	client, err := kinesisstream.Dial(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("reach the dead letters: %w", err)
	}
	return client, nil
}

// fitsStream refuses a stream whose records are too small for what the policy sends there.
func (p *pair) fitsStream(name string, most int) error {
	// A letter is base64 in JSON.
	if need := p.largest()/3*4 + letterRoom; p.Config.Policy.Oversize == deadLetter && most < need {
		return bridge.WithHint(
			fmt.Errorf("stream %s takes %d bytes a record and an oversize record of the source can need %d: it cannot hold the dead letters: %w", name, most, need, bridge.ErrRefused),
			"set dead_letters to file:PATH or s3:BUCKET/PREFIX")
	}
	return nil
}

// openLetterStream refuses a stream that cannot hold what the policy sends there.
func (m *mover) openLetterStream(ctx context.Context, name string, codec *bridge.LetterCodec, watch *bridge.Watch) (bridge.DeadLetters, error) {
	client, err := m.letterStream(ctx, name)
	if err != nil {
		return nil, err
	}
	if err := m.fitsStream(name, client.Info().MaxRecordSize); err != nil {
		return nil, err
	}
	return client.DeadLetters(kinesisstream.LetterConfig{Codec: codec, Watch: watch, PutTimeout: time.Duration(m.Config.PutTimeout)}), nil
}

// letterStamp is for what a workflow writes into its topic of dead letters.
func letterStamp(w state.Workflow, source bridge.Identity, topic kafkastream.Topic) *bridge.Stamp {
	return bridge.NewStamp(bridge.StampConfig{Workflow: w.Name, Key: w.Key, Epoch: w.Epoch, Source: source, Target: topic.Identity()})
}

// A letterReader reads the dead letters of a workflow from where the configuration says.
type letterReader struct {
	settings
	workflow state.Workflow
}

// deadLetters lets verify read what the mirror put aside; nil without a workflow.
func (p *pair) deadLetters(w state.Workflow) verify.DeadLetterReader {
	if w.Name == "" {
		return nil
	}
	return letterReader{p.settings, w}
}

// Read yields each letter once.
func (r letterReader) Read(ctx context.Context) iter.Seq2[bridge.DeadLetter, error] {
	return readLetters(ctx, r.settings, r.workflow)
}

func readLetters(ctx context.Context, s settings, w state.Workflow) iter.Seq2[bridge.DeadLetter, error] {
	codec := bridge.NewLetterCodec(w.Name, w.Key)
	kind, name, _ := cutPlace(s.Config.DeadLetters)
	if kind == "file" {
		return deadletter.ReadFile(ctx, name, codec)
	}
	return func(yield func(bridge.DeadLetter, error) bool) {
		var letters iter.Seq2[bridge.DeadLetter, error]
		var err error
		switch kind {
		case "s3":
			var c s3letters.Config
			c, err = s.bucket(ctx, name, w)
			letters = s3letters.Read(ctx, c)
		case "stream":
			var client *kinesisstream.Client
			if client, err = s.letterStream(ctx, name); err == nil {
				letters = kinesisstream.ReadDeadLetters(ctx, client, codec)
			}
		default:
			err = s.readTopic(ctx, name, w, yield)
		}
		if err != nil {
			yield(bridge.DeadLetter{}, err)
			return
		}
		if letters == nil {
			return
		}
		for l, err := range letters {
			if !yield(l, err) || err != nil {
				return
			}
		}
	}
}

// readTopic yields the letters in a topic; it returns what kept it from reaching one.
func (s settings) readTopic(ctx context.Context, name string, w state.Workflow, yield func(bridge.DeadLetter, error) bool) (err error) {
	client, err := s.dialKafka(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	topic, err := client.Topic(ctx, name)
	if errors.Is(err, bridge.ErrMissing) {
		return nil
	}
	if err != nil {
		return err
	}
	for l, err := range kafkastream.ReadDeadLetters(ctx, client, name, letterStamp(w, w.Pinned.Source, topic)) {
		if !yield(l, err) {
			return nil
		}
	}
	return nil
}
