package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesisstream"
)

// A check is one condition of a migration: what was looked at, what was found, and what to
// do if it does not hold.
type check struct {
	ID       string `json:"id"`
	Level    string `json:"level"` // ok, warn or fail
	Evidence string `json:"evidence"`
	Fix      string `json:"fix,omitempty"`
}

const (
	levelOK   = "ok"
	levelWarn = "warn"
	levelFail = "fail"
)

// A list of checks grows by one for each that is made.
type checks []check

// add notes a check that holds unless bad, and then is of the given level.
func (c *checks) add(id string, bad bool, level, evidence, fix string) {
	if !bad {
		level, fix = levelOK, ""
	}
	*c = append(*c, check{id, level, evidence, fix})
}

const (
	// leastRetention is what a mirror needs that may stand still over a long weekend.
	leastRetention = 72 * time.Hour
	goodRetention  = 168
	// leastExpiry is three refreshes of a transactional id.
	leastExpiry = 3 * time.Hour
	// frame is what a Kafka record takes beside key and value: header, batch, lengths.
	frame   = 1024
	mostLag = 30 * time.Second
)

// checks judges what was found.
func (s *survey) checks() checks {
	var c checks
	toKafka := s.Config.Direction == kinesisToKafka
	s.checkAccess(&c)
	if s.stream.ARN != "" {
		s.checkStream(&c, toKafka)
	}
	if s.noKafka == nil && s.topic.Name != "" {
		s.checkTopic(&c, toKafka)
		checkElection(&c, "topic", s.topic, toKafka)
	}
	if s.noKafka == nil {
		s.checkReplicas(&c)
		s.checkServerless(&c)
	}
	if s.noKinesis == nil {
		s.checkStart(&c)
	}
	checkStores(&c, s.stores, toKafka, s.storesNeed())
	if s.unreached() != nil {
		return c
	}
	s.letters.check(&c)
	s.checkServerlessLetters(&c)
	s.checkLoop(&c)
	if s.unread != nil {
		fix := orWord(bridge.Hint(s.unread), "see that the source can be read; nothing is known of its records")
		c.add("source-sample", true, levelFail, s.unread.Error(), fix)
		return c
	}
	if s.sampled != nil {
		c.add("source-sample", true, levelWarn, s.sampled.Error(), "see that the source can be read; nothing is known of its records")
		return c
	}
	s.checkRecords(&c, toKafka)
	return c
}

func (s *survey) checkStream(c *checks, source bool) {
	how := "records are distributed by their keys"
	if s.stream.Auto {
		how = "records are distributed by the service (AUTO)"
	}
	c.add("stream-distribution", s.stream.Auto, levelFail, how,
		"in AUTO distribution records of one key lie in any shard and have no order to keep; switch the stream to distribution by partition key, or migrate it knowing that")
	if !source {
		return
	}
	c.add("stream-retention", s.stream.Retention < leastRetention, levelFail, fmt.Sprintf("the stream keeps records for %s", s.stream.Retention),
		fmt.Sprintf("raise it for the time of the migration: aws kinesis increase-stream-retention-period --stream-name %s --retention-period-hours %d", s.Config.Kinesis.Stream, goodRetention))
}

func (s *survey) checkTopic(c *checks, target bool) {
	t := &s.topic
	minISR := t.Settings["min.insync.replicas"] // a cluster that does not show it sets it itself
	c.add("topic-min-isr", minISR != "" && t.MinISR < 2 && s.Config.Kafka.ReplicationFactor > 1, levelFail,
		fmt.Sprintf("min.insync.replicas is %s, with %d replicas", orWord(minISR, "not shown"), t.ReplicationFactor),
		"set min.insync.replicas=2; with 1 acknowledged records are lost with one broker")
	compacted := strings.Contains(t.CleanupPolicy, "compact")
	if !target {
		c.add("topic-compaction", compacted, levelWarn, "cleanup.policy is "+t.CleanupPolicy,
			"superseded records may be gone before they are mirrored; that is what compaction means, and verify cannot tell it from loss")
		return
	}
	c.add("topic-compaction", compacted, levelFail, "cleanup.policy is "+t.CleanupPolicy,
		"a stream holds every record of a key, a compacted topic only the last: use a topic with cleanup.policy=delete")
	c.add("topic-timestamps", t.TimestampType == "LogAppendTime", levelFail, "message.timestamp.type is "+t.TimestampType,
		"set message.timestamp.type=CreateTime, or the times of arrival stand in the header only and retention counts from the copy")
	if s.noKinesis == nil {
		s.checkRoom(c)
	}
	if p := s.Config.Kafka.Partitions; p != 0 {
		c.add("topic-partitions", p != t.Partitions, levelFail, fmt.Sprintf("the topic has %d partitions, kafka.partitions says %d", t.Partitions, p),
			"set kafka.partitions to what the topic had when its producers began")
	}
}

// checkRoom judges whether the topic takes and keeps what the stream holds.
func (s *survey) checkRoom(c *checks) {
	t := &s.topic
	if t.TimestampType != "LogAppendTime" {
		s.checkTimes(c)
	}
	need := s.stream.MaxRecordSize + frame
	c.add("topic-max-message-bytes", t.MaxMessageBytes < need, levelFail,
		fmt.Sprintf("max.message.bytes is %d, the stream's records can have %d", t.MaxMessageBytes, need),
		s.largerMessages())
	kept := time.Duration(t.RetentionMs) * time.Millisecond
	c.add("topic-retention", t.RetentionMs >= 0 && kept < s.stream.Retention, levelFail,
		fmt.Sprintf("retention.ms keeps records for %s, the back-fill is up to %s old", kept, s.stream.Retention),
		fmt.Sprintf("set retention.ms=%d or more; records keep their times and would be deleted as they arrive", (s.stream.Retention+7*24*time.Hour).Milliseconds()))
}

func (s *survey) checkRecords(c *checks, toKafka bool) {
	m := &s.sample
	of := func(n int64) string { return fmt.Sprintf("%d of %d sampled records", n, m.Records) }
	if toKafka {
		c.add("explicit-hash-keys", m.ExplicitHash > 0, levelFail, of(m.ExplicitHash)+" lie in a shard that their key does not hash into",
			"their producers choose the shard; records of one key can be in several, without an order to keep. Find these producers first, or accept it in writing")
		c.add("undecodable", m.Undecodable > 0, levelFail, of(m.Undecodable)+" are damaged aggregates",
			"choose kinesis.aggregation: opaque, or policy.undecodable: dead-letter where this version has it")
		c.add("dropped-aggregates", m.Dropped > 0, levelWarn, of(m.Dropped)+" are in aggregates that KCL consumers never see",
			"that is what consumers saw so far; keep-in-range or keep-all deliver them")
		if s.topic.Name != "" {
			c.add("oversize", m.Largest+frame > s.topic.MaxMessageBytes, levelFail,
				fmt.Sprintf("the largest sampled record has %d bytes, max.message.bytes is %d", m.Largest, s.topic.MaxMessageBytes),
				s.largerMessages())
		}
		return
	}
	limit := s.stream.MaxRecordSize
	if limit == 0 {
		limit = int(s.Config.Kinesis.Create.MaxRecordSize)
	}
	c.add("oversize", m.Largest > limit, levelFail, fmt.Sprintf("the largest sampled record has %d bytes, the stream takes %d", m.Largest, limit),
		"raise the stream's maximum record size (up to 10 MiB), see kinesis.create.max_record_size")
	s.checkFormat(c, of)
}

// checkFormat judges what the chosen format cannot carry, and was not accepted.
func (s *survey) checkFormat(c *checks, of func(int64) string) {
	m := &s.sample
	c.add("binary-keys", m.BinaryKeys > 0, levelWarn, of(m.BinaryKeys)+" have keys that are not UTF-8",
		"they travel escaped, as ~b:k: and base64; consumers of the stream must know that (kinesis.written_by: bridge does)")
	if s.Config.Kinesis.writes() == kinesisstream.KPLShard {
		c.add("aggregate-shard", true, levelWarn, "kinesis.aggregate is shard: one aggregate holds many keys, and after a reshard records can lie in the stream twice, once where the KCL drops them",
			"every reader must be built on the KCL; with Lambda, Firehose or another de-aggregator set kinesis.aggregate: key")
	}
	if s.Config.Kinesis.Format != string(kinesisstream.Raw) {
		return
	}
	accepted := func(loss string) bool {
		for _, l := range s.Config.AcceptLoss {
			if l == loss {
				return true
			}
		}
		return false
	}
	c.add("headers", m.WithHeaders > 0 && !accepted("headers"), levelFail, of(m.WithHeaders)+" have headers",
		"raw cannot carry them: use kinesis.format kpl or envelope, or accept_loss: [headers]")
	c.add("tombstones", m.Tombstones > 0 && !accepted("tombstones"), levelFail, of(m.Tombstones)+" have no value",
		"raw cannot carry that: use kinesis.format kpl or envelope, or accept_loss: [tombstones]")
	hot := m.hottestShare() * m.rate()
	c.add("hot-key", hot > s.rawCapacity()/2, levelFail,
		fmt.Sprintf("the hottest key has %.0f records/s, raw can carry %.0f of one key at the measured latency", hot, s.rawCapacity()),
		"use kinesis.format kpl or envelope, which pack what waits of a key into one record")
}

// rawCapacity is how many records a second of one key raw can carry: each costs one put and
// two acknowledgements of the ledger, one after the other.
func (s *survey) rawCapacity() float64 {
	rtt := s.kinesisRTT
	if rtt == 0 {
		rtt = assumedPut
	}
	return float64(time.Second) / float64(max(rtt+2*s.kafkaRTT, time.Microsecond))
}

// assumedPut is the latency of a put to a stream that is still to be created.
const assumedPut = 15 * time.Millisecond

func (c checks) failed() (n int) {
	for _, k := range c {
		if k.Level == levelFail {
			n++
		}
	}
	return n
}
