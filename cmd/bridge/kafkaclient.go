package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/stream/kafkastream"
)

// clientProperties reads the Java client.properties that the configuration names, if it
// names one. Addresses of the configuration go before those of the file; security
// settings stand in one of the two, since half of each would be a guess.
func (l *loaded) clientProperties() []fault {
	const path = "kafka.client_properties"
	if l.Kafka.ClientProperties == "" {
		return nil
	}
	var faults []fault
	for _, f := range l.fields {
		if from, set := l.origins[f.path]; set && from != originDefault && strings.HasPrefix(f.path, "kafka.security.") {
			faults = append(faults, l.at(f.path, "cannot stand beside "+path+"; put it there", ""))
		}
	}
	text, err := os.ReadFile(l.Kafka.ClientProperties)
	if err != nil {
		return append(faults, l.at(path, "cannot be read: "+err.Error(), ""))
	}
	var read kafkastream.ClientProperties
	properties, err := kafkastream.ParseProperties(text)
	if err == nil {
		read, err = kafkastream.FromProperties(properties)
	}
	if err != nil {
		return append(faults, l.at(path, err.Error(), bridge.Hint(err)))
	}
	l.client = &read
	if len(l.Kafka.Brokers) == 0 && l.Kafka.MSKClusterARN == "" && len(read.Config.Brokers) > 0 {
		l.Kafka.Brokers = read.Config.Brokers
		l.origins["kafka.brokers"] = origin(l.Kafka.ClientProperties)
	}
	return faults
}

// kafkaClient says how to reach the brokers. For msk_iam the caller adds credentials, and
// for msk_cluster_arn the addresses.
func (l *loaded) kafkaClient() (kafkastream.Config, error) {
	if l.client != nil {
		c := l.client.Config
		c.Brokers = slices.Clone(l.Kafka.Brokers)
		return c, nil
	}
	s := l.Kafka.Security
	c := kafkastream.Config{Brokers: slices.Clone(l.Kafka.Brokers)}
	if s.Protocol != "none" && !s.AllowPlaintext {
		var err error
		c.TLS, err = kafkastream.NewTLS(kafkastream.TLSFiles{CA: s.CAFile, Cert: s.CertFile, Key: s.KeyFile, ServerName: s.ServerName})
		if err != nil {
			return c, fmt.Errorf("kafka.security: %w", err)
		}
	}
	switch s.Protocol {
	case "sasl_plain":
		c.SASL = kafkastream.SASL{Mechanism: kafkastream.Plain, User: s.Username, Password: s.Password}
	case "sasl_scram_sha_256":
		c.SASL = kafkastream.SASL{Mechanism: kafkastream.ScramSHA256, User: s.Username, Password: s.Password}
	case "sasl_scram_sha_512":
		c.SASL = kafkastream.SASL{Mechanism: kafkastream.ScramSHA512, User: s.Username, Password: s.Password}
	case "msk_iam":
		c.SASL = kafkastream.SASL{Mechanism: kafkastream.MSKIAM, Region: l.brokerRegion()}
	}
	return c, nil
}

// brokerRegion is the region of the MSK cluster: that of its ARN, of a broker's name, or
// of the stream.
func (l *loaded) brokerRegion() string {
	if m := clusterARN.FindStringSubmatch(l.Kafka.MSKClusterARN); m != nil {
		return m[1]
	}
	for _, b := range l.Kafka.Brokers {
		if r := kafkastream.BrokerRegion(b); r != "" {
			return r
		}
	}
	return l.Kinesis.Region
}

// encrypted reports whether connections to brokers use TLS.
func (l *loaded) encrypted() bool {
	if l.client != nil {
		return l.client.Config.TLS != nil
	}
	return l.Kafka.Security.Protocol != "none" && !l.Kafka.Security.AllowPlaintext
}
