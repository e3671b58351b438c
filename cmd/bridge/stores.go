package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/positions"
	"github.com/kinesis-msk-bridge/bridge/stream/kafkastream"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesisstream"
)

// soak is how long the way back is kept open behind what both sides still hold.
const soak = 7 * 24 * time.Hour

// storesNeed is how long ledger and index must be kept, so that the position of whatever a
// consumer may not have consumed yet can be translated. What is kept for ever on a side
// does not count: no retention would be enough.
func storesNeed(stream time.Duration, topicMs int64) time.Duration {
	return max(stream, time.Duration(topicMs)*time.Millisecond, 0) + soak
}

// storesNeed is that of both sides as they were found; 0 if only one of them is known.
func (s *survey) storesNeed() time.Duration {
	if s.unreached() != nil {
		return 0
	}
	return storesNeed(s.stream.Retention, s.topic.RetentionMs)
}

// storesKeep is the retention with which they are made.
func storesKeep(stream time.Duration, topicMs int64) time.Duration {
	return max(30*24*time.Hour, 2*stream, storesNeed(stream, topicMs))
}

// A store is one of the workflow's own topics.
type store struct {
	what  string            // checkpoints, ledger or index
	topic kafkastream.Topic // without a name if there is none yet
	err   error             // why it may not be looked at
}

// storesOf looks at a workflow's own topics.
func storesOf(ctx context.Context, kafka *kafkastream.Client, workflow string) ([]store, error) {
	var out []store
	for _, name := range kafkastream.OwnTopics(workflow) {
		s := store{what: name[strings.LastIndexByte(name, '.')+1:]}
		s.topic, s.err = kafka.Topic(ctx, name)
		switch {
		case errors.Is(s.err, bridge.ErrMissing):
			s.topic, s.err = kafkastream.Topic{}, nil
		case s.err != nil && !errors.Is(s.err, bridge.ErrDenied):
			return nil, s.err
		}
		out = append(out, s)
	}
	return out, nil
}

// checkStores judges the workflow's own topics, if they are there. A mirror to Kafka has no
// use for its ledger.
func checkStores(c *checks, stores []store, toKafka bool, need time.Duration) {
	for _, s := range stores {
		if s.err != nil {
			c.add(s.what+"-access", true, levelFail, s.err.Error(), bridge.Hint(s.err))
			continue
		}
		if s.topic.Name == "" || s.what == "ledger" && toKafka {
			continue
		}
		checkElection(c, s.what, s.topic, true)
		if s.what == "checkpoints" {
			c.add("checkpoints-compaction", s.topic.CleanupPolicy != "compact", levelFail, s.says("cleanup.policy"),
				"set cleanup.policy=compact: the last checkpoint of a task must stay, however old it is")
			continue
		}
		s.check(c, need)
	}
}

// check judges a topic of which every record counts until it is old enough; if need is 0
// that is not known.
func (s store) check(c *checks, need time.Duration) {
	c.add(s.what+"-compaction", strings.Contains(s.topic.CleanupPolicy, "compact"), levelFail, s.says("cleanup.policy"),
		"set cleanup.policy=delete: compaction takes entries by which positions are translated")
	bytes, err := strconv.ParseInt(s.topic.Settings["retention.bytes"], 10, 64)
	c.add(s.what+"-size", err == nil && bytes >= 0, levelFail, s.says("retention.bytes"),
		"set retention.bytes=-1: by size, entries go before the records that they speak of")
	if need == 0 {
		return
	}
	kept := time.Duration(s.topic.RetentionMs) * time.Millisecond
	c.add(s.what+"-retention", s.topic.RetentionMs >= 0 && kept < need, levelFail,
		fmt.Sprintf("%s keeps entries for %s, the longer retention of both sides with a week for the way back is %s", s.topic.Name, kept, need),
		fmt.Sprintf("set retention.ms=%d or more; a consumer whose position is older cannot be moved back exactly", need.Milliseconds()))
}

func (s store) says(setting string) string {
	value := s.topic.Settings[setting]
	if value == "" {
		value = "not set"
	}
	return setting + " of " + s.topic.Name + " is " + value
}

// judgeStores notes what a plan should be read with: topics of the workflow that lose what
// it rests on. One that may have lost it already is a problem.
func (r *relocation) judgeStores(ctx context.Context, m *move) error {
	stores, err := storesOf(ctx, r.kafka, r.workflow.Name)
	if err != nil {
		return err
	}
	var made checks
	checkStores(&made, stores, r.Config.Direction == kinesisToKafka, storesNeed(r.kinesis.Info().Retention, r.topic.RetentionMs))
	for _, k := range made {
		switch {
		case k.Level == levelOK:
		case k.ID == "ledger-compaction" && r.Config.Kinesis.Format == string(kinesisstream.Raw):
			m.Plan.Problems = append(m.Plan.Problems, positions.Problem{
				Kind: positions.Compacted, Text: k.Evidence + ": entries may be gone by which positions are translated",
				Hint: "start the consumer at a time instead; " + k.Fix,
			})
		default:
			r.warned = append(r.warned, k)
		}
	}
	return nil
}
