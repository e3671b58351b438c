package kafkastream_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kinesis-msk-bridge/bridge/bridgetest"
	"github.com/kinesis-msk-bridge/bridge/stream/kafkastream"
)

// kfakeGaps is what the broker in this process does otherwise than Apache Kafka. A test
// that needs one of these runs on a real broker only. One that is closed fails the test,
// so that it is struck out here.
var kfakeGaps = []bridgetest.Gap{
	{Server: "kfake", Test: "log append time", Behaviour: "keeps the time of the producer although the topic is set to LogAppendTime", Version: kfakeVersion},
	{Server: "kfake", Test: "new epoch alone", Behaviour: "refuses the old epoch as soon as there is a new one; a real broker does so from the first marker or batch of the new one on", Version: kfakeVersion},
	{Server: "kfake", Test: "error of a wrong password", Behaviour: "closes the connection without an answer", Version: kfakeVersion},
}

const kfakeVersion = "v0.0.0-20260918054303-01f206a7e32c"

// A secure is a listener with SCRAM-SHA-512.
type secure struct {
	addrs []string
	ca    string // empty for one without TLS
}

// behaviours are what this package and its tests take a broker to do. A check returns how
// the broker differs, or nil.
func (b *bench) behaviours(s secure) map[string]func(t *testing.T) error {
	return map[string]func(t *testing.T) error{
		"log append time":           b.logAppendTime,
		"new epoch alone":           b.newEpoch,
		"error of a wrong password": func(*testing.T) error { return wrongPassword(s) },
	}
}

func (b *bench) logAppendTime(t *testing.T) error {
	name := topic(t, b.client, 1, map[string]string{"message.timestamp.type": "LogAppendTime"})
	produce(t, b.writer, &kgo.Record{Topic: name, Value: []byte("v"), Timestamp: time.UnixMilli(1)})
	for rec, err := range b.client.Scan(t.Context(), name, 0, 0, 1, kafkastream.ScanAll) {
		if err != nil {
			t.Fatal(err)
		}
		if rec.Time.Before(time.Now().Add(-time.Hour)) {
			return fmt.Errorf("the record has the time %s", rec.Time)
		}
	}
	return nil
}

// newEpoch asks for a producer id twice and appends in the name of the first answer.
func (b *bench) newEpoch(t *testing.T) error {
	name, id := topic(t, b.client, 1, nil), fmt.Sprint("behaviour-", workflows.Add(1))
	old := b.initProducer(t, id)
	b.initProducer(t, id)
	if err := kafkastream.AppendAs(t.Context(), b.client, name, old.ProducerID, old.ProducerEpoch, 0, []string{"old"}); err != nil {
		return fmt.Errorf("a batch of the old epoch, outside of transactions, was refused: %w", err)
	}
	return nil
}

// initProducer asks as long as the coordinator is still coming up.
func (b *bench) initProducer(t *testing.T, id string) *kmsg.InitProducerIDResponse {
	t.Helper()
	ask := kmsg.NewPtrInitProducerIDRequest()
	ask.TransactionalID, ask.TransactionTimeoutMillis = &id, 60_000
	ask.ProducerID, ask.ProducerEpoch = -1, -1
	for {
		got, err := ask.RequestWith(t.Context(), b.writer)
		if err == nil {
			err = kerr.ErrorForCode(got.ErrorCode)
		}
		if err == nil {
			return got
		}
		if !kerr.IsRetriable(err) {
			t.Fatal(err)
		}
	}
}

func wrongPassword(s secure) error {
	c := kafkastream.Config{Brokers: s.addrs, SASL: kafkastream.SASL{Mechanism: kafkastream.ScramSHA512, User: "bridge", Password: "wrong"}, AnswerTimeout: 5 * time.Second}
	if s.ca != "" {
		var err error
		if c.TLS, err = kafkastream.NewTLS(kafkastream.TLSFiles{CA: s.ca}); err != nil {
			return err
		}
	}
	client, err := kafkastream.Dial(context.Background(), c)
	if err == nil {
		return fmt.Errorf("let in: %w", client.Close())
	}
	if !strings.Contains(err.Error(), "SASL Authentication failed") {
		return err
	}
	return nil
}

// hold runs the checks on one server, whose known gaps must be there.
func hold(t *testing.T, server string, checks map[string]func(*testing.T) error) {
	for name, check := range checks {
		t.Run(name, func(t *testing.T) {
			differs := check(t)
			for _, gap := range kfakeGaps {
				if gap.Server != server || gap.Test != name {
					continue
				}
				if differs == nil {
					t.Errorf("known gap of %s %s is closed, strike it out: %s", gap.Server, gap.Version, gap.Behaviour)
				}
				t.Logf("known gap of %s %s: %s: %v", gap.Server, gap.Version, gap.Behaviour, differs)
				return
			}
			if differs != nil {
				t.Error(differs)
			}
		})
	}
}

func TestBehaviours(t *testing.T) {
	b := newBench(t, "kfake", brokers(t))
	hold(t, b.server, b.behaviours(secure{addrs: secured(t, kfake.EnableSASL(), kfake.Superuser(kafkastream.ScramSHA512, "bridge", "right"))}))
}
