package memstream_test

import (
	"context"
	"testing"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/bridgetest"
	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
)

var flavours = []struct {
	name    string
	flavour memstream.Flavour
	carries bridgetest.Carries
}{
	{"kinesis", memstream.Kinesis, bridgetest.Carries{}},
	{"kafka", memstream.Kafka, bridgetest.Carries{NullKeys: true, NullValues: true, Headers: true, Time: true}},
}

func newStream(f memstream.Flavour, calm bool) *memstream.Stream {
	return memstream.New(memstream.Config{Flavour: f, Partitions: 3, Page: 9, Wait: 2 * time.Millisecond, Calm: calm, Seed: 5})
}

func putOne(s *memstream.Stream) func(context.Context, bridge.Record) (bridge.Ack, error) {
	return func(ctx context.Context, r bridge.Record) (bridge.Ack, error) {
		acks, err := s.Put(ctx, r)
		if err != nil {
			return bridge.Ack{}, err
		}
		return acks[0], acks[0].Err
	}
}

func TestSource(t *testing.T) {
	for _, f := range flavours {
		for name, calm := range map[string]bool{"": false, " calm": true} {
			t.Run(f.name+name, func(t *testing.T) {
				bridgetest.TestSource(t, bridgetest.SourceHarness{
					Server:  "memstream",
					Carries: f.carries,
					New: func(t testing.TB) bridgetest.SourceServer {
						s := newStream(f.flavour, calm)
						server := bridgetest.SourceServer{
							Source: s.Source(bridgetest.Workflow),
							Put:    putOne(s),
						}
						server.Trim = func(_ context.Context, p string, upTo bridge.Position) error { return s.Trim(p, upTo) }
						if f.flavour == memstream.Kinesis {
							server.Split = func(_ context.Context, shard string) error {
								_, _, err := s.Split(shard)
								return err
							}
						}
						return server
					},
				})
			})
		}
	}
}
