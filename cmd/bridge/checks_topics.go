package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/kinesis-msk-bridge/bridge/stream/kafkastream"
)

const uncleanElection = "unclean.leader.election.enable"

// checkElection judges whether a topic can elect a leader that lacks acknowledged records,
// as it can by default on MSK Standard. Where it is written that loses what was mirrored.
func checkElection(c *checks, what string, t kafkastream.Topic, written bool) {
	level, loss := levelFail, "records that the mirror wrote can be lost"
	if !written {
		level, loss = levelWarn, "records can be lost or replaced before they are mirrored"
	}
	value := t.Settings[uncleanElection]
	c.add(what+"-election", value == "true", level,
		fmt.Sprintf("%s of %s is %s", uncleanElection, t.Name, orWord(value, "not shown")),
		loss+" with a broker: "+kafkastream.AlterCommand(t.Name, map[string]string{uncleanElection: "false"}))
}

// checkReplicas judges whether topics can be made and written with the replicas that there
// can be.
func (s *survey) checkReplicas(c *checks) {
	k := s.Config.Kafka
	all := s.brokers.Known
	evidence := fmt.Sprintf("%d of %d brokers answer", s.brokers.Up, all)
	if s.brokers.Up < all {
		evidence += ", but not " + strings.Join(s.brokers.Away, ", ")
	}
	c.add("brokers", s.brokers.Up < all, levelWarn, evidence,
		"start the others, or open the network to them: a topic of which too few replicas are in sync takes no writes, and a cluster without KRaft creates no topic with a replica on each")
	c.add("replication-factor", k.ReplicationFactor > all, levelFail,
		fmt.Sprintf("kafka.replication_factor is %d, the cluster has %d brokers", k.ReplicationFactor, all),
		fmt.Sprintf("no topic can be created: set kafka.replication_factor to %d or less, or add brokers", all))
	if s.topic.Name == "" {
		c.add("min-isr-of-new-topics", k.MinInsyncReplicas > k.ReplicationFactor, levelFail,
			fmt.Sprintf("kafka.min_insync_replicas is %d, kafka.replication_factor %d", k.MinInsyncReplicas, k.ReplicationFactor),
			"nothing could be written: set min_insync_replicas below replication_factor")
		return
	}
	c.add("topic-replicas", s.topic.MinISR > s.topic.ReplicationFactor, levelFail,
		fmt.Sprintf("topic %s has %d replicas and min.insync.replicas=%d", s.topic.Name, s.topic.ReplicationFactor, s.topic.MinISR),
		"nothing can be written: "+kafkastream.AlterCommand(s.topic.Name, map[string]string{"min.insync.replicas": fmt.Sprint(max(1, min(2, s.topic.ReplicationFactor)))}))
}

// checkStart judges a start that is a time.
func (s *survey) checkStart(c *checks) {
	at := s.Config.startTime()
	if at.IsZero() || s.Config.Start == "latest" {
		return
	}
	theirs := time.Now().Add(-s.skew)
	c.add("start", at.After(theirs), levelFail, fmt.Sprintf("start is %s, the service's clock says %s", at.UTC().Format(time.RFC3339), theirs.UTC().Format(time.RFC3339)),
		"what arrives before that time would be left out: set a time that has passed, or latest")
}

// leastAhead is how far ahead of the broker's clock a record's time can be: the clocks of
// two services differ.
const leastAhead = time.Minute

// checkTimes judges whether the topic takes records with the times that those of the stream
// have.
func (s *survey) checkTimes(c *checks) {
	t := &s.topic
	limit := func(names ...string) (string, time.Duration) {
		for _, name := range names {
			if ms, err := strconv.ParseInt(t.Settings[name], 10, 64); err == nil && ms >= 0 && ms < math.MaxInt64/int64(time.Millisecond) {
				return name, time.Duration(ms) * time.Millisecond
			}
		}
		return "", math.MaxInt64
	}
	name, before := limit("message.timestamp.before.max.ms", "message.timestamp.difference.max.ms")
	c.add("topic-times-before", before < s.stream.Retention+time.Hour, levelFail, fmt.Sprintf("%s takes records that are up to %s old (%s)", t.Name, before, orWord(name, "no limit")),
		fmt.Sprintf("the back-fill is up to %s old and would be refused: %s", s.stream.Retention, kafkastream.AlterCommand(t.Name, map[string]string{orWord(name, "message.timestamp.before.max.ms"): fmt.Sprint(math.MaxInt64)})))
	name, after := limit("message.timestamp.after.max.ms", "message.timestamp.difference.max.ms")
	c.add("topic-times-after", after < leastAhead, levelFail, fmt.Sprintf("%s takes records that are up to %s ahead (%s)", t.Name, after, orWord(name, "no limit")),
		fmt.Sprintf("clocks differ, and a record that is ahead would be refused: %s", kafkastream.AlterCommand(t.Name, map[string]string{orWord(name, "message.timestamp.after.max.ms"): "3600000"})))
}
