package main

import (
	"fmt"
	"slices"

	"github.com/kinesis-msk-bridge/bridge/stream/kafkastream"
)

const provisioned = "use a provisioned cluster (Standard or Express)"

// checkServerless judges what MSK Serverless limits: the partitions of compacted topics, of
// which the mirror creates some, and the size of a message.
func (s *survey) checkServerless(c *checks) {
	if !s.serverless {
		return
	}
	if s.Config.Direction == kinesisToKafka && s.stream.ARN != "" {
		s.checkServerlessMessages(c)
	}
	more := s.Config.Tasks
	if slices.ContainsFunc(s.stores, func(t store) bool { return t.what == "checkpoints" && (t.topic.Name != "" || t.err != nil) }) {
		more = 0
	}
	const id = "serverless-compacted"
	most := kafkastream.ServerlessCompacted
	evidence := fmt.Sprintf("compacted topics have %d partitions, %d more will be created, MSK Serverless allows %d", s.compacted, more, most)
	full := more > 0 && s.compacted+more > most
	if s.unshown > 0 && !full && more > 0 {
		c.add(id, true, levelWarn, fmt.Sprintf("cannot tell whether there is room: %s, and %d topics do not show their settings", evidence, s.unshown),
			"allow this principal DescribeConfigs on all topics (IAM: kafka-cluster:DescribeTopicDynamicConfiguration)")
	} else {
		c.add(id, full, levelFail, evidence, "delete compacted topics that nobody uses, ask AWS for a higher quota, or "+provisioned)
	}
}

// checkServerlessMessages judges whether the target can take the stream's largest records.
func (s *survey) checkServerlessMessages(c *checks) {
	need := s.stream.MaxRecordSize + frame
	if s.topic.Name == "" {
		need = s.stream.MaxRecordSize + messageRoom
	}
	c.add("serverless-message-bytes", need > kafkastream.ServerlessMessage, levelFail,
		fmt.Sprintf("messages need up to %d bytes, MSK Serverless allows %d", need, kafkastream.ServerlessMessage),
		fmt.Sprintf("set the stream's maximum record size to %d KiB or less (aws kinesis update-max-record-size), or %s", (kafkastream.ServerlessMessage-messageRoom)>>10, provisioned))
}

// checkServerlessLetters judges whether the topic of dead letters can be created.
func (s *survey) checkServerlessLetters(c *checks) {
	if !s.serverless || !s.letters.made {
		return
	}
	need := s.stream.MaxRecordSize + letterRoom
	if s.Config.Direction == kafkaToKinesis {
		need = s.topic.MaxMessageBytes + letterRoom
	}
	c.add("serverless-dead-letters", need > kafkastream.ServerlessMessage, levelFail,
		fmt.Sprintf("dead letters need up to %d bytes, MSK Serverless allows %d", need, kafkastream.ServerlessMessage),
		"set dead_letters to s3:BUCKET/PREFIX or file:PATH, or "+provisioned)
}

// largerMessages is the command for a topic that is to hold the stream's largest records.
func (s *survey) largerMessages() string {
	need := s.stream.MaxRecordSize + messageRoom
	if s.serverless {
		need = min(need, kafkastream.ServerlessMessage)
	}
	return fmt.Sprintf("set max.message.bytes=%d", need)
}
