//go:build integration

package kinesisstream_test

import (
	"context"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/kinesis-msk-bridge/bridge/bridgetest"
	"github.com/kinesis-msk-bridge/bridge/integration/servers"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesisstream"
)

// gapsOf are what the servers do otherwise than the service. A closed one fails the test, so
// that it is struck out here. None of them throttles or trims on request: all that rests on
// this runs on kinesistest alone.
var gapsOf = map[string][]bridgetest.Gap{
	"kinesis-local": {
		{Test: "foreign position", Behaviour: "answers ResourceNotFoundException for a sequence number that is not of the shard"},
		{Test: "record limit", Behaviour: dataAlone},
		{Test: "records a call", Behaviour: "takes 501 records in a call"},
		{Test: "behind", Behaviour: "counts MillisBehindLatest from its last record, so that it is 0 although records are left"},
	},
	"kinesalite": {
		{Test: "record limit", Behaviour: dataAlone},
		{Test: "request limit", Behaviour: "refuses more than about 5 MiB a request, without saying so"},
		{Test: "behind", Behaviour: "always says 0 for MillisBehindLatest, so that a mirror takes itself for caught up too early"},
		{Test: "closed parent", Behaviour: "names no children at the end of a shard, and an empty one goes on for a while"},
	},
	"ministack": {
		{Test: "end", Behaviour: "deletes a shard that is split or merged, with its records"},
		{Test: "closed parent", Behaviour: "deletes a shard that is split or merged, with its records"},
		{Test: "record limit", Behaviour: dataAlone},
		{Test: "request limit", Behaviour: "refuses more than 5 MB a request"},
		{Test: "past the last hash key", Behaviour: "takes hash key 2^128"},
	},
}

const dataAlone = "does not count the partition key as a part of the record's size"

// Three servers by other people, the adapters in all formats, and what they take a Kinesis
// to do.
func TestIntegrationOtherServers(t *testing.T) {
	for _, start := range []servers.KinesisStart{servers.StartKinesisLocal, servers.StartKinesalite, servers.StartMinistack} {
		k, err := start(t.Context(), t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(k.Close)
		t.Run(k.Name, func(t *testing.T) {
			t.Parallel()
			p := newPlain(k.URL())
			known := gapsOf[k.Name]
			for i := range known {
				known[i].Server, known[i].Version = k.Name, k.Version
			}
			checks := p.behaviours()
			if k.Name == "kinesis-local" {
				delete(checks, "request limit") // it decodes half a MiB a second
			}
			p.hold(t, k.Name, known, checks)
			t.Run("source", func(t *testing.T) { bridgetest.TestSource(t, p.sourceHarness(k.Name, known)) })
			for _, format := range formats {
				t.Run(string(format), func(t *testing.T) {
					h := sinkHarness(k.Name, format, func(t testing.TB) (*kinesisstream.Client, putFunc) {
						name := p.stream(t)
						return p.dial(t, name), p.putOne(name)
					})
					h.Known = known
					bridgetest.TestSink(t, h)
					bridgetest.TestRecoverable(t, h)
				})
			}
			bridgetest.TestDeadLetters(t, lettersHarness(k.Name, time.Second, func(t testing.TB) *kinesisstream.Client { return p.dial(t, p.stream(t)) }))
		})
	}
}

func (p *plain) dial(t testing.TB, name string) *kinesisstream.Client {
	t.Helper()
	c, err := kinesisstream.Dial(context.WithoutCancel(t.Context()), kinesisstream.Config{
		Stream: name, Region: "us-east-1", EndpointURL: p.url, Timeout: 20 * time.Second,
		Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", ""),
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (p *plain) sourceHarness(server string, known []bridgetest.Gap) bridgetest.SourceHarness {
	return bridgetest.SourceHarness{
		Server: server, Known: known,
		New: func(t testing.TB) bridgetest.SourceServer {
			name := p.stream(t)
			return bridgetest.SourceServer{
				Source: p.dial(t, name).Source(kinesisstream.SourceConfig{}), Put: p.putOne(name),
				Split: func(ctx context.Context, shard string) error { return p.split(ctx, name, shard) },
			}
		},
	}
}
