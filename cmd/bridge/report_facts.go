package main

import (
	"context"
	"fmt"
	"time"

	"github.com/kinesis-msk-bridge/bridge/report"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesisstream"
)

// acceptedLosses are the refusals that the configuration lifts by name.
func (c *config) acceptedLosses() (out []report.Waiver) {
	for _, what := range c.AcceptLoss {
		out = append(out, report.Waiver{Gate: "loss of " + what, By: "accept_loss of the configuration", Reason: "the target does not keep it, and it was not compared"})
	}
	return out
}

// translations are the newest plans of the consumers, as they are kept beside the state.
func (a *app) translations(ctx context.Context, l *loaded) (out []report.Translation) {
	for _, c := range l.Consumers {
		b, err := shelfOf(l, c.Name).load(ctx)
		if err == nil && b == nil {
			continue
		}
		t := report.Translation{Consumer: c.Name, Status: "not known"}
		k := &kept{}
		if err == nil {
			k, err = decodeKept(b)
		}
		if err != nil {
			t.Reason = "its plan could not be read: " + err.Error()
			out = append(out, t)
			continue
		}
		out = append(out, k.translation())
	}
	return out
}

// translation is what a report says of a move.
func (k *kept) translation() report.Translation {
	m := &k.Move
	t := report.Translation{
		Consumer: m.Consumer, From: m.From, To: m.To, Status: k.Status, Plan: k.Hash, At: m.Made.UTC(),
		Exact: len(m.Plan.Problems) == 0, Unconsumed: int64(len(m.Plan.Unconsumed)),
	}
	for _, line := range m.Plan.Lines {
		t.Replayed += line.Replays
		switch {
		case !line.Known:
			t.Exact, t.Reason = false, "the position in partition "+line.Partition+" is not certain"
		case !line.Counted:
			t.Exact, t.Reason = false, "what comes again was not counted to the end"
		}
	}
	if n := len(m.Plan.Problems); n > 0 {
		t.Reason = m.Plan.Problems[0].Text
		if n > 1 {
			t.Reason += fmt.Sprintf(" (and %d more)", n-1)
		}
	}
	return t
}

// wayBack says what there is of a way back: this program moves consumers, and leaves
// producers where they are.
func wayBack(moved []report.Translation) report.Rollback {
	r := report.Rollback{Ready: true, Reason: "the source is only read: stopping the mirror leaves it as it was, for producers that still write to it"}
	for _, t := range moved {
		switch t.Status {
		case moveApplied:
			r.Reason += "; consumer " + t.Consumer + " was moved, bridge offsets undo, or plan --back, moves it back"
		case moveUndone:
			r.Reason += "; consumer " + t.Consumer + " was moved and moved back"
		case moveApplying, moveUndoing:
			r.Ready = false
			r.Reason += "; consumer " + t.Consumer + " is between both sides"
		}
	}
	return r
}

// keepsOf is how long the source keeps a record; 0 is without an end.
func keepsOf(ctx context.Context, s settings) (keeps time.Duration, err error) {
	if s.Config.Direction == kinesisToKafka {
		k, err := kinesisstream.Dial(ctx, s.stream())
		if err != nil {
			return 0, err
		}
		return k.Info().Retention, nil
	}
	client, err := s.dialKafka(ctx)
	if err != nil {
		return 0, err
	}
	topic, err := client.Topic(ctx, s.Config.Kafka.Topic)
	if closing := client.Close(); err == nil {
		err = closing
	}
	return time.Duration(max(topic.RetentionMs, 0)) * time.Millisecond, err
}
