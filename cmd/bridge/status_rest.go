package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/state"
	"github.com/kinesis-msk-bridge/bridge/verify"
)

const (
	// surveyTimeout bounds how long status asks the source, which it can do without.
	surveyTimeout = 10 * time.Second
	// surveyBudget is how long it counts by reading.
	surveyBudget = 3 * time.Second
)

// restOf asks the source what it holds behind the mirror's checkpoint.
func restOf(ctx context.Context, s settings, w state.Workflow, cp bridge.Checkpoint) (rest verify.Beyond, err error) {
	ends, err := witnessOf(ctx, s, w)
	if err != nil {
		return rest, err
	}
	defer func() { err = errors.Join(err, ends.close()) }()
	rows := make(map[string]bridge.Row, len(cp.Rows))
	for _, r := range cp.Rows {
		rows[r.Partition] = r
	}
	return verify.Survey{Source: ends.verifier.Source, Rows: rows, Start: w.Pinned.StartTime(), Budget: surveyBudget}.Look(ctx)
}

// addRest adds what the source holds that is not mirrored, where no mirror says so itself.
func (v *viewer) addRest(ctx context.Context, res *statusResult, w state.Workflow) {
	if v.rest == nil || res.Live {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, surveyTimeout)
	defer cancel()
	rest, err := v.rest(ctx, v.settings, w, v.seen.Checkpoint)
	if err != nil {
		res.UnmirroredReason = err.Error()
		return
	}
	res.Unmirrored = &rest
}

// unmirroredText is for one line; empty if nothing is behind the checkpoint.
func (s *statusResult) unmirroredText() string {
	b := s.Unmirrored
	switch {
	case s.UnmirroredReason != "":
		return "cannot tell: " + s.UnmirroredReason
	case b == nil || len(b.Parts) == 0:
		return ""
	}
	text := verify.Word(b.Count) + grouped(b.Records) + plural(b.Records, " record") + " in " + grouped(int64(b.Partitions)) + plural(int64(b.Partitions), " partition")
	if b.Unseen > 0 {
		text += fmt.Sprintf(", %s of them never read", grouped(int64(b.Unseen)))
	}
	if b.Behind > 0 {
		text += ", the oldest for " + age(b.Behind.Seconds())
	}
	for _, p := range b.Parts {
		if p.Reason != "" {
			return text + "; " + p.Partition + ": " + p.Reason
		}
	}
	return text
}

func plural(n int64, noun string) string {
	if n == 1 {
		return noun
	}
	return noun + "s"
}
