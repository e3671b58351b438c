package main

import (
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kinesis-msk-bridge/bridge/metrics"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesisstream"
)

// A checker judges settings against each other.
type checker struct {
	*loaded
	broken map[string]bool // settings that could not be read at all
	faults []fault
}

// check returns everything that is wrong with the values.
func (l *loaded) check(broken map[string]bool) []fault {
	c := &checker{loaded: l, broken: broken}
	c.names()
	c.kinesis()
	c.create()
	c.brokers()
	c.security()
	c.places()
	c.consumerList()
	c.deadLetters()
	c.direction()
	if c.Metrics.Listen != "" {
		if err := metrics.CheckAddress(c.Metrics.Listen); err != nil {
			c.fault("metrics.listen", "an address such as 127.0.0.1:9464; a proxy or an agent on this machine can pass it on", "%s", err)
		}
	}
	return c.faults
}

// fault notes what is wrong with the setting at path.
func (c *checker) fault(path, hint, format string, args ...any) {
	if !c.broken[path] {
		c.faults = append(c.faults, c.at(path, fmt.Sprintf(format, args...), hint))
	}
}

// at is a fault of the setting at path, where the file says it, or where the group that
// lacks it stands, or what else it was given by.
func (l *loaded) at(path, text, hint string) fault {
	f := fault{File: l.file, Path: path, Text: text, Hint: hint}
	m, found := l.marks[path]
	for parent := path; !found && strings.Contains(parent, "."); {
		parent = parent[:strings.LastIndex(parent, ".")]
		m, found = l.marks[parent]
	}
	f.Line, f.Column = m.line, m.column
	if from := string(l.origins[path]); strings.HasPrefix(from, "BRIDGE_") || strings.HasPrefix(from, "--") {
		f.File, f.Line, f.Column = from, 0, 0
	}
	return f
}

var (
	workflowName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$`)
	streamName   = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,128}$`)
	topicName    = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,249}$`)
	streamARN    = regexp.MustCompile(`^arn:aws[a-z-]*:kinesis:([a-z0-9-]+):[0-9]{12}:stream/[A-Za-z0-9_.-]{1,128}$`)
	clusterARN   = regexp.MustCompile(`^arn:aws[a-z-]*:kafka:([a-z0-9-]+):[0-9]{12}:cluster/[^/]+/[0-9A-Za-z-]+$`)
	roleARN      = regexp.MustCompile(`^arn:aws[a-z-]*:iam::[0-9]{12}:role/.+$`)
	bucketName   = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
	regionName   = regexp.MustCompile(`^[a-z]{2,}(-[a-z]+)+-[0-9]+$`)
)

func (c *checker) names() {
	switch {
	case c.Workflow == "":
		c.fault("workflow", "", "is required")
	case !workflowName.MatchString(c.Workflow):
		c.fault("workflow", "", "%q is not a name of up to 100 letters, digits, - and _", c.Workflow)
	}
	if c.Direction == "" {
		c.fault("direction", "", "is required: kinesis-to-kafka or kafka-to-kinesis")
	}
	switch topic := c.Kafka.Topic; {
	case topic == "":
		c.fault("kafka.topic", "", "is required")
	case !topicName.MatchString(topic) || topic == "." || topic == "..":
		c.fault("kafka.topic", "", "%q is not a topic name", topic)
	case c.ownTopic(topic):
		c.fault("kafka.topic", "", "%q is among the workflow's own topics", topic)
	}
}

func (c *checker) kinesis() {
	k := &c.Kinesis
	switch {
	case c.broken["kinesis.stream"] || c.broken["kinesis.stream_arn"]:
	case k.Stream == "" && k.StreamARN == "":
		c.fault("kinesis.stream", "", "is required, or kinesis.stream_arn")
	case k.Stream != "" && k.StreamARN != "":
		c.fault("kinesis.stream_arn", "", "cannot stand beside kinesis.stream; give one of them")
	}
	if k.Stream != "" && !streamName.MatchString(k.Stream) {
		c.fault("kinesis.stream", "", "%q is not a stream name", k.Stream)
	}
	if k.Region != "" && !regionName.MatchString(k.Region) {
		c.fault("kinesis.region", "", "%q is not a region such as us-east-1", k.Region)
	}
	if k.StreamARN != "" {
		m := streamARN.FindStringSubmatch(k.StreamARN)
		switch {
		case m == nil:
			c.fault("kinesis.stream_arn", "", "%q is not the ARN of a stream", k.StreamARN)
		case k.Region == "":
			k.Region = m[1]
			c.origins["kinesis.region"] = c.origins["kinesis.stream_arn"]
		case k.Region != m[1]:
			c.fault("kinesis.region", "", "is %s, but the stream is in %s", k.Region, m[1])
		}
	}
	if k.EndpointURL != "" {
		if err := checkURL(k.EndpointURL); err != nil {
			c.fault("kinesis.endpoint_url", "", "%v", err)
		}
	}
	if k.RoleARN != "" && !roleARN.MatchString(k.RoleARN) {
		c.fault("kinesis.role_arn", "", "%q is not the ARN of a role", k.RoleARN)
	}
}

func (c *checker) create() {
	k := c.Kinesis.Create
	switch {
	case k.Mode == "provisioned" && k.Shards == 0:
		c.fault("kinesis.create.shards", "", "is required for mode provisioned")
	case k.Mode == "on-demand" && k.Shards != 0:
		c.fault("kinesis.create.shards", "", "is for mode provisioned only")
	}
	if time.Duration(k.Retention)%time.Hour != 0 {
		c.fault("kinesis.create.retention", "", "%s is not a whole number of hours", k.Retention)
	}
	if k.MaxRecordSize%1024 != 0 {
		c.fault("kinesis.create.max_record_size", "", "%d is not a whole number of KiB", int64(k.MaxRecordSize))
	}
}

func (c *checker) brokers() {
	k := &c.Kafka
	switch {
	case c.broken["kafka.brokers"], c.broken["kafka.msk_cluster_arn"], c.broken["kafka.client_properties"]:
	case len(k.Brokers) == 0 && k.MSKClusterARN == "":
		c.fault("kafka.brokers", "", "is required, or kafka.msk_cluster_arn, or bootstrap.servers in kafka.client_properties")
	case len(k.Brokers) != 0 && k.MSKClusterARN != "":
		c.fault("kafka.msk_cluster_arn", "", "cannot stand beside addresses of brokers; give one of them")
	}
	for _, b := range k.Brokers {
		host, port, err := net.SplitHostPort(b)
		if n, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || host == "" || n == 0 {
			c.fault("kafka.brokers", "", "%q is not an address host:port", b)
		}
	}
	if k.MSKClusterARN != "" && !clusterARN.MatchString(k.MSKClusterARN) {
		c.fault("kafka.msk_cluster_arn", "", "%q is not the ARN of an MSK cluster", k.MSKClusterARN)
	}
	if k.MinInsyncReplicas == 0 {
		k.MinInsyncReplicas = min(2, k.ReplicationFactor)
		c.origins["kafka.min_insync_replicas"] = originDefault
	}
	switch {
	case k.MinInsyncReplicas > k.ReplicationFactor:
		c.fault("kafka.min_insync_replicas", "", "%d is more than replication_factor %d", k.MinInsyncReplicas, k.ReplicationFactor)
	case k.MinInsyncReplicas < 2 && k.ReplicationFactor > 1:
		c.fault("kafka.min_insync_replicas", "2 keeps what was acknowledged when one broker is lost", "1 loses acknowledged records with one broker")
	}
}

func (c *checker) security() {
	s := c.Kafka.Security
	sasl := strings.HasPrefix(s.Protocol, "sasl_")
	for _, r := range []struct {
		path  string
		given bool
		fits  bool
		with  string
	}{
		{"username", s.Username != "", sasl, "the sasl_ protocols"},
		{"password", s.Password != "", sasl, "the sasl_ protocols"},
		{"allow_plaintext", s.AllowPlaintext, sasl, "the sasl_ protocols"},
		{"ca_file", s.CAFile != "", s.Protocol != "none" && !s.AllowPlaintext, "TLS"},
		{"server_name", s.ServerName != "", s.Protocol != "none" && !s.AllowPlaintext, "TLS"},
		{"cert_file", s.CertFile != "", s.Protocol != "none" && !s.AllowPlaintext, "TLS"},
		{"key_file", s.KeyFile != "", s.Protocol != "none" && !s.AllowPlaintext, "TLS"},
	} {
		if r.given && !r.fits && !c.broken["kafka.security.protocol"] {
			c.fault("kafka.security."+r.path, "", "needs %s, but protocol is %s", r.with, s.Protocol)
		}
	}
	if sasl && s.Username == "" {
		c.fault("kafka.security.username", "", "is required for protocol %s", s.Protocol)
	}
	if sasl && s.Password == "" {
		c.fault("kafka.security.password", "", "is required for protocol %s; write ${env:NAME} or ${file:PATH}", s.Protocol)
	}
	if (s.CertFile == "") != (s.KeyFile == "") {
		c.fault("kafka.security.cert_file", "", "and key_file belong together; one is missing")
	}
}

func (c *checker) places() {
	kind, rest, ok := cutPlace(c.State)
	switch {
	case c.State == "" || kind == "file" && ok:
	case kind == "dynamodb" && tableName.MatchString(rest):
	default:
		c.fault("state", "", "%q is not file: and a directory, such as file:.bridge, or dynamodb: and the name of a table", c.State)
	}
}

// deadLetters judges the place of dead letters.
func (c *checker) deadLetters() {
	if c.DeadLetters == "" && c.Kafka.Topic != "" {
		c.DeadLetters = "topic:" + c.Kafka.Topic + ".DLQ"
		c.origins["dead_letters"] = originDefault
		return
	}
	kind, name, ok := cutPlace(c.DeadLetters)
	bucket, _, _ := strings.Cut(name, "/")
	const path = "dead_letters"
	switch {
	case c.DeadLetters == "":
	case !ok || !slices.Contains([]string{"topic", "stream", "s3", "file"}, kind):
		c.fault(path, "", "%q is not topic:NAME, stream:NAME, s3:BUCKET/PREFIX or file:PATH", c.DeadLetters)
	case kind == "topic" && (!topicName.MatchString(name) || name == c.Kafka.Topic || c.ownTopic(name)):
		c.fault(path, "", "%q is not the name of another topic", name)
	case kind == "stream" && (!streamName.MatchString(name) || name == c.Kinesis.Stream || strings.HasSuffix(c.Kinesis.StreamARN, ":stream/"+name)):
		c.fault(path, "", "%q is not the name of another stream", name)
	case kind == "s3" && !bucketName.MatchString(bucket):
		c.fault(path, "", "%q is not the name of a bucket", bucket)
	}
}

func (c *checker) ownTopic(name string) bool {
	return c.Workflow != "" && strings.HasPrefix(name, "bridge."+c.Workflow+".")
}

// direction judges what one of the two directions needs.
func (c *checker) direction() {
	if c.Direction == "" || c.broken["direction"] {
		return
	}
	oldest := "trim-horizon"
	if c.Direction == kafkaToKinesis {
		oldest = "earliest"
	}
	if c.Start == "" {
		c.Start = oldest
		c.origins["start"] = originDefault
	}
	if _, err := time.Parse(time.RFC3339, c.Start); err != nil && c.Start != oldest && c.Start != "latest" {
		c.fault("start", "", "%q is not %s, latest or a time such as 2026-01-31T00:00:00Z", c.Start, oldest)
	}
	if c.Kinesis.Aggregate == aggregateShard && (c.Direction != kafkaToKinesis || c.Kinesis.Format != string(kinesisstream.KPL)) {
		c.fault("kinesis.aggregate", "", "shard is for kafka-to-kinesis with kinesis.format kpl only")
	}
	if c.Direction != kafkaToKinesis {
		// Any number of partitions will do to see whether the words are right.
		if _, err := parseKeymap(c.Keymap, max(c.Kafka.Partitions, 1)); err != nil {
			c.fault("keymap", "", "%v", err)
		}
		return
	}
	if c.Kinesis.Format == "" {
		c.fault("kinesis.format", "raw writes key and value, one Kinesis record each; kpl is for consumers built on the KCL; envelope carries everything, for readers that know it", "is required for kafka-to-kinesis and has no default")
	}
	if c.Kinesis.Format == "raw" && !slices.Contains(c.AcceptLoss, "timestamp") {
		c.fault("accept_loss", "write accept_loss: [timestamp]; Kinesis sets the time of arrival itself",
			"format raw cannot carry the record's timestamp, and that loss was not accepted")
	}
}

// startTime is the time that start names, zero for words.
func (l *loaded) startTime() time.Time {
	t, err := time.Parse(time.RFC3339, l.Start)
	if err != nil {
		return time.Time{}
	}
	return t
}

// warnings are things that are allowed but that a person should know each time.
func (l *loaded) warnings() []string {
	var out []string
	if !l.encrypted() {
		for _, b := range l.Kafka.Brokers {
			if host, _, _ := net.SplitHostPort(b); !loopback(host) {
				out = append(out, "the connection to broker "+b+" is not encrypted")
				break
			}
		}
	}
	if e := l.Kinesis.EndpointURL; strings.HasPrefix(e, "http://") {
		host := strings.TrimPrefix(e, "http://")
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		if !loopback(strings.Trim(host, "/")) {
			out = append(out, "the connection to "+e+" is not encrypted")
		}
	}
	if l.client != nil {
		if l.client.NameUnchecked {
			out = append(out, l.Kafka.ClientProperties+": names in certificates are not checked")
		}
		for _, name := range l.client.Ignored {
			out = append(out, l.Kafka.ClientProperties+": "+name+" has no effect here")
		}
	}
	return out
}

func loopback(host string) bool {
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
