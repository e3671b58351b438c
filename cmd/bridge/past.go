package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/state"
	"github.com/kinesis-msk-bridge/bridge/stream/kafkastream"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesisstream"
)

// What a person can do about a workflow whose key is lost.
const (
	restoreState = "restore the state of the workflow (state:) from a copy; if it is lost for good, run bridge mirror run --new-key, which takes what stands on the target for foreign data and writes every record of the source again"
	deleteTopics = "restore the state of the workflow (state:) from a copy; if it is lost for good, delete %s, and then run bridge mirror run --new-key"
	moveState    = "restore the workflow's topics, or the state (state:) that belongs to them; if they are lost for good, move the state away and run bridge mirror run --new-key, which takes what stands on the target for foreign data and writes every record of the source again"
)

// newKey refuses --new-key where a key is known: another one would disown what was written.
func (r *mirrorRun) newKey(w state.Workflow, stored bridge.WorkflowKey) error {
	if !r.Run.NewKey || w.Name == "" && stored == (bridge.WorkflowKey{}) {
		return nil
	}
	where := r.Config.State
	if w.Name == "" {
		where = kafkastream.OwnTopics(r.Config.Workflow)[0]
	}
	return usageHint(fmt.Errorf("--new-key: the key of workflow %q is not lost, it is in %s", r.Config.Workflow, where),
		"run without --new-key")
}

// ownPast looks at the target of a workflow that has no checkpoint. It refuses to begin as new
// what wrote there before under a key that is lost.
func (p *pair) ownPast(ctx context.Context, w state.Workflow) error {
	if p.fresh() {
		left, err := kafkastream.Leftovers(ctx, p.kafka, w.Name)
		if err != nil {
			return err
		}
		if len(left) > 0 {
			return bridge.WithHint(
				fmt.Errorf("the topics of workflow %q hold records (%s), and neither its state nor its checkpoints: its key is lost: %w", w.Name, strings.Join(left, ", "), bridge.ErrState),
				fmt.Sprintf(deleteTopics, strings.Join(left, " and ")))
		}
		if p.Run.NewKey {
			return nil
		}
	}
	found, err := p.traces(ctx, w)
	if err != nil {
		return fmt.Errorf("look for records of the workflow on the target: %w", err)
	}
	switch {
	case !p.fresh() && p.raw():
		return p.rawPast(w, found)
	case found.Ours || !found.Copied:
		return nil
	}
	hint := restoreState
	if p.Begun {
		hint = moveState
	}
	return bridge.WithHint(
		fmt.Errorf("the target holds records of workflow %q, the first in partition %s at %s, and there is no checkpoint and not the key that they were written under: %w",
			w.Name, found.At.Partition, found.At.Position, bridge.ErrState), hint)
}

// fresh reports whether the key of the workflow was made a moment ago: neither its state nor
// its checkpoints hold one.
func (p *pair) fresh() bool { return !p.Begun && !p.keyStored }

// raw reports whether the target is written without provenance.
func (p *pair) raw() bool {
	return p.Config.Direction == kafkaToKinesis && p.Config.Kinesis.writes() == kinesisstream.Raw
}

// rawPast refuses a workflow that moved records in raw, as its state says, and has neither
// checkpoint nor ledger any more: nothing tells what of the stream it wrote.
func (p *pair) rawPast(w state.Workflow, found bridge.Traces) error {
	moved := w.Actual.Doing == doingTailing || w.Actual.Doing == doingStopped && w.Actual.Reason == ""
	if !moved || !found.Records || found.Ours {
		return nil
	}
	return bridge.WithHint(
		fmt.Errorf("workflow %q moved records into stream %s, and its checkpoints and its ledger are gone: %w", w.Name, p.Config.Kinesis.Stream, bridge.ErrState), moveState)
}

// traces reads the target for what the workflow wrote. In raw the ledger tells it.
func (p *pair) traces(ctx context.Context, w state.Workflow) (bridge.Traces, error) {
	if p.Config.Direction == kinesisToKafka {
		stamp := bridge.NewStamp(bridge.StampConfig{Workflow: w.Name, Key: w.Key, Epoch: w.Epoch, Target: p.topic.Identity()})
		return p.kafka.Traces(ctx, p.topic, stamp, p.fresh(), func(offsets int64) {
			p.Log.Info("there is no checkpoint: the whole target is read for records of this workflow", "topic", p.topic.Name, "offsets", offsets)
		})
	}
	format := p.Config.Kinesis.writes()
	if format == kinesisstream.Raw {
		if p.fresh() {
			return bridge.Traces{}, nil
		}
		for _, err := range kafkastream.ReadLedger(ctx, p.kafka, w.Name, 0, w.Key, p.source) {
			return bridge.Traces{Ours: err == nil}, err
		}
		return p.kinesis.Traces(ctx, format, nil, true)
	}
	p.Log.Info("there is no checkpoint: the whole target is read for records of this workflow", "stream", p.kinesis.Info().ARN, "per_shard", "at most 2 MiB/s")
	stamp := bridge.NewStamp(bridge.StampConfig{Workflow: w.Name, Key: w.Key, Epoch: w.Epoch, Source: p.source, Target: p.target})
	return p.kinesis.Traces(ctx, format, stamp, p.fresh())
}

// withoutCheckpoint reports whether the workflow's checkpoint topic holds none.
func (p *pair) withoutCheckpoint(ctx context.Context, w state.Workflow) (bool, error) {
	cp, _, err := kafkastream.ReadCheckpoint(ctx, p.kafka, w.Name, 0, w.Key)
	if err != nil {
		return false, fmt.Errorf("the checkpoint: %w", err)
	}
	return cp.At.IsZero(), nil
}
