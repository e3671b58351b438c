package main

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/kinesis-msk-bridge/bridge"
)

func (s *survey) checkAccess(c *checks) {
	c.reached("kinesis-reachable", s.noKinesis, fmt.Sprintf("%s, at %s, answered in %s", s.where(), s.host(), s.kinesisRTT.Round(time.Millisecond/10)))
	c.reached("kafka-reachable", s.noKafka, fmt.Sprintf("the cluster answered in %s", s.kafkaRTT.Round(time.Millisecond/10)))
	if s.noKinesis == nil {
		s.checkClock(c)
		s.checkRights(c)
	}
	if s.noKafka == nil {
		s.checkFence(c)
	}
}

// reached notes whether one side could be looked at.
func (c *checks) reached(id string, why error, evidence string) {
	if why == nil {
		c.add(id, false, "", evidence, "")
		return
	}
	c.add(id, true, levelFail, why.Error(), orWord(bridge.Hint(why), "see that it can be reached from this machine; nothing is known of this side"))
}

// checkRights judges what the principal may do on the stream. What could not be tried is
// not known, which is no failure.
func (s *survey) checkRights(c *checks) {
	for _, r := range s.rights {
		_, op, _ := strings.Cut(r.Action, ":")
		id := kebab(op)
		switch {
		case r.Unknown != "":
			c.add(id, true, levelWarn, fmt.Sprintf("cannot tell whether %s is allowed: %s", r.Action, r.Unknown), "make sure that the policy of this principal allows "+r.Action)
		case r.Err != nil:
			c.add(id, true, levelFail, r.Err.Error(), bridge.Hint(r.Err))
		default:
			c.add(id, false, "", fmt.Sprintf("%s is allowed, says %s", r.Action, r.Host), "")
		}
	}
}

// kebab is the name of an operation in lower case, with a dash between its words.
func kebab(name string) string {
	var b strings.Builder
	for i, r := range name {
		if unicode.IsUpper(r) && i > 0 {
			b.WriteByte('-')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

func (s *survey) checkClock(c *checks) {
	skew := s.skew.Abs().Round(time.Second)
	c.add("clock", skew > mostLag, levelFail, fmt.Sprintf("this machine's clock is %s off the service's", skew),
		"set the clock by NTP; the service refuses signatures that are five minutes off")
}

// checkFence judges what the fence rests on.
func (s *survey) checkFence(c *checks) {
	evidence := "the transactional ids of the workflow can be used"
	if s.transact != nil {
		evidence = s.transact.Error()
	}
	c.add("transactional-id", s.transact != nil, levelFail, evidence,
		"allow Write and Describe on TransactionalId bridge."+s.Config.Workflow+".* (kafka-cluster:AlterTransactionalId and DescribeTransactionalId on MSK); without it nothing fences an older worker")
	const id = "transactional-id-expiry"
	fix := fmt.Sprintf("set transactional.id.expiration.ms of the brokers to %d or more (the default is 7 days)", leastExpiry.Milliseconds())
	if s.idExpiry <= 0 {
		why := "the cluster does not tell it"
		if s.noExpiry != nil {
			why = s.noExpiry.Error()
		}
		c.add(id, true, levelWarn, "cannot tell after how long the cluster forgets transactional ids: "+why,
			"allow DescribeConfigs on the cluster (IAM: kafka-cluster:DescribeClusterDynamicConfiguration), or make sure yourself: "+fix)
		return
	}
	c.add(id, s.idExpiry < leastExpiry, levelFail, fmt.Sprintf("the cluster forgets transactional ids after %s", s.idExpiry), fix)
}

// host is the one that was called for Kinesis.
func (s *survey) host() string {
	if s.endpoint == "" {
		return "no host"
	}
	return s.endpoint
}

func (s *survey) where() string {
	if s.stream.ARN != "" {
		return s.stream.ARN
	}
	return "the service"
}
