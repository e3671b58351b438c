package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/state"
	"github.com/kinesis-msk-bridge/bridge/stream/kafkastream"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesisstream"
	"github.com/kinesis-msk-bridge/bridge/verify"
)

// A witness is both ends of a workflow, opened to be read only.
type witness struct {
	// verifier has its ends, and all that the workflow decides.
	verifier *verify.Verifier
	close    func() error
}

// witnessOf reaches both ends without the mirror's session: it takes nothing over.
func witnessOf(ctx context.Context, s settings, w state.Workflow) (*witness, error) {
	p := &pair{settings: s}
	var err error
	if p.kafka, err = s.dialKafka(ctx); err != nil {
		return nil, err
	}
	out := &witness{close: p.kafka.Close}
	out.verifier, err = p.verifier(ctx, w)
	if err != nil {
		return nil, errors.Join(err, p.kafka.Close())
	}
	return out, nil
}

// verifier puts the ends together as the mirror does, the other way of reading each.
func (p *pair) verifier(ctx context.Context, w state.Workflow) (*verify.Verifier, error) {
	var err error
	// What judges the mirror does not decode as it does.
	stock := p.stream()
	stock.Codec = kinesisstream.CodecSDK
	if p.kinesis, err = kinesisstream.Dial(ctx, stock); err != nil {
		return nil, err
	}
	if p.topic, err = p.kafka.Topic(ctx, p.Config.Kafka.Topic); err != nil {
		return nil, err
	}
	stream, err := p.kinesis.Identity(ctx)
	if err != nil {
		return nil, err
	}
	p.source, p.target = stream, p.topic.Identity()
	if p.Config.Direction == kafkaToKinesis {
		p.source, p.target = p.target, p.source
	}
	if err := sameEnds(w, p); err != nil {
		return nil, err
	}
	keys, err := p.Config.strategy(p.topic.Partitions)
	if err != nil {
		return nil, err
	}
	if w.Name != "" && keys.Name() != w.Pinned.Keymap {
		return nil, fmt.Errorf("the workflow places keys by %s, the configuration by %s: %w", w.Pinned.Keymap, keys.Name(), bridge.ErrState)
	}
	return p.compare(ctx, w, &verify.Verifier{
		Workflow: p.Config.Workflow, Direction: p.Config.Direction, Keys: keys, Key: w.Key, Logger: p.Log,
		DeadLetters: p.deadLetters(w), AcceptLoss: p.Config.AcceptLoss,
		Checkpoint: p.checkpoint(w), Start: w.Pinned.StartTime(), ReadShare: float64(p.Config.Verify.ReadShare) / 1000,
	})
}

// sameEnds holds that stream and topic are those that the workflow began with.
func sameEnds(w state.Workflow, p *pair) error {
	switch {
	case w.Name == "": // it was not begun: the copy is another program's
	case p.source != w.Pinned.Source:
		return bridge.WithHint(fmt.Errorf("the source is %s, the workflow began with %s: %w", p.source, w.Pinned.Source, bridge.ErrChanged),
			"what was mirrored came from another stream or topic: there is nothing to compare it with")
	case p.target != w.Pinned.Target:
		return bridge.WithHint(fmt.Errorf("the target is %s, the workflow began with %s: %w", p.target, w.Pinned.Target, bridge.ErrChanged),
			"what was mirrored is gone with the old stream or topic")
	}
	return nil
}

func (p *pair) checkpoint(w state.Workflow) func(context.Context) (bridge.Checkpoint, error) {
	return func(ctx context.Context) (bridge.Checkpoint, error) {
		cp, _, err := kafkastream.ReadCheckpoint(ctx, p.kafka, w.Name, 0, w.Key)
		if err != nil {
			return cp, fmt.Errorf("read the checkpoint: %w", err)
		}
		return cp, nil
	}
}

// leastLag is how long a mirror may take to start, and to acknowledge something.
const leastLag = 10 * time.Second

// lagOf is how long a run waits for a mirror that acknowledges nothing. The state says what
// the mirror did last, and not whether it is about to start; a paused one does not go on by
// itself.
func lagOf(w state.Workflow, settle, interval time.Duration) time.Duration {
	if w.Actual.Doing == doingPaused {
		return -1
	}
	return max(settle, leastLag) + interval
}

// stoppedOrderly reports whether the mirror's last run ended by itself or was drained: then
// its last checkpoint is of that moment.
func stoppedOrderly(w state.Workflow) bool {
	return w.Actual.Doing == doingStopped && (w.Actual.Reason == "" || strings.HasSuffix(w.Actual.Reason, checkpointSaved))
}

// doubtOf compares the state, which is not kept in the cluster, with the checkpoint, which
// is. A cluster that was put back to an older copy has an older checkpoint than the mirror
// saved when it stopped.
func doubtOf(w state.Workflow, cp bridge.Checkpoint, interval time.Duration) string {
	slack := time.Minute
	if !cp.Clean {
		slack = max(interval, 2*time.Second)
	}
	if !stoppedOrderly(w) || !cp.At.Before(w.Actual.At.Add(-slack)) {
		return ""
	}
	was := "the cluster holds no checkpoint"
	if !cp.At.IsZero() {
		was = "the newest one in the cluster is of " + stamp(cp.At)
	}
	return fmt.Sprintf("the mirror stopped at %s and saved a checkpoint then, %s: the cluster was put back to an older copy", stamp(w.Actual.At), was)
}

// What of all shards together is read ahead of the ledger, in records, and the least that is
// asked of one shard.
const (
	readAhead = 1 << 17
	leastPage = 500
)

// witnessPage is about how many records of a partition of Kafka are read at once: with what is
// noted of each they are to fit the processor's cache, and many partitions are read at a time.
const witnessPage = 2000

// page is how many records of a shard are read at once where a ledger says what they are:
// those that it has not spoken of yet are held. Zero asks for as many as there can be.
func (p *pair) page(ctx context.Context, asked int) (int, error) {
	shards, err := p.kinesis.Source(kinesisstream.SourceConfig{}).Partitions(ctx)
	if err != nil {
		return 0, err
	}
	most := max(readAhead/max(len(shards), 1), leastPage)
	if asked == 0 {
		return min(most, 10_000), nil
	}
	return min(most, asked), nil
}

// compare adds the two ends and what the target keeps.
func (p *pair) compare(ctx context.Context, w state.Workflow, v *verify.Verifier) (*verify.Verifier, error) {
	stamp := bridge.StampConfig{Workflow: w.Name, Key: w.Key, Epoch: w.Epoch, Target: p.topic.Identity()}
	if p.Config.Direction == kinesisToKafka {
		stamp.Source = p.source
	} else {
		stamp.Known = []bridge.Identity{p.target}
	}
	topic, err := kafkastream.NewSource(ctx, kafkastream.SourceConfig{
		Client: p.kafka, Topic: p.topic.Name, Partitions: p.topic.Partitions, ID: p.topic.ID,
		Stamp: bridge.NewStamp(stamp), KeepCopied: p.Config.Direction == kinesisToKafka, Records: witnessPage,
	})
	if err != nil {
		return nil, err
	}
	reading := p.reading(w)
	reading.Share, reading.KeepCopied = v.ReadShare, p.Config.Direction == kafkaToKinesis
	if p.Config.Direction == kafkaToKinesis && p.Config.Kinesis.Format == string(kinesisstream.Raw) {
		if reading.PageRecords, err = p.page(ctx, reading.PageRecords); err != nil {
			return nil, err
		}
	}
	reading.ManyKeys = p.Config.Direction == kafkaToKinesis && p.Config.Kinesis.writes() == kinesisstream.KPLShard
	stream := p.kinesis.Source(reading)
	if p.Config.Direction == kinesisToKafka {
		v.Source, v.Target, v.Format = stream, topic, "header"
		v.Keeps = verify.Keeps{Time: p.topic.TimestampType != "LogAppendTime", Headers: true, Nulls: true}
		return v, nil
	}
	v.Source, v.Target, v.Format = topic, stream, string(p.Config.Kinesis.writes())
	v.Expiry = verify.Expiry{Least: kinesisstream.LeastRetention, Kept: p.kinesis.Info().Retention}
	if len(w.Decisions) > 0 {
		v.Expiry.Began = w.Decisions[0].At
	}
	if f := kinesisstream.Format(v.Format); f != kinesisstream.Raw {
		// They carry their coordinates and all the rest.
		v.Keeps = verify.Keeps{Time: true, Headers: true, Nulls: true}
		v.Compacted = strings.Contains(p.topic.CleanupPolicy, "compact")
		return v, nil
	}
	v.Compacted = strings.Contains(p.topic.CleanupPolicy, "compact")
	v.Ledger = kafkastream.NewLedgerReader(p.kafka, w.Name, 0, w.Key, p.source)
	return v, nil
}
