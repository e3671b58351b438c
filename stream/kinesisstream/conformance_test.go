package kinesisstream_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/bridgetest"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesisstream"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
)

var origin = bridge.Identity{Name: "kafka:origin/topic", Incarnation: "1"}

// fast is a server without rates, so that tests do not wait for them.
func fast(t testing.TB) *kinesistest.Server {
	return start(t, kinesistest.Config{Limits: kinesistest.Limits{Off: true}})
}

func start(t testing.TB, c kinesistest.Config) *kinesistest.Server {
	t.Helper()
	srv, err := kinesistest.Start(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	return srv
}

var streams atomic.Int64

func stream(t testing.TB, srv *kinesistest.Server, shards int) *kinesistest.Stream {
	t.Helper()
	st, err := srv.CreateStream(fmt.Sprint("s-", streams.Add(1)), shards)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func dial(t testing.TB, srv *kinesistest.Server, name string) *kinesisstream.Client {
	t.Helper()
	c, err := kinesisstream.Dial(context.WithoutCancel(t.Context()), config(srv, name))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func config(srv *kinesistest.Server, name string) kinesisstream.Config {
	return kinesisstream.Config{
		Stream: name, Region: srv.Region(), EndpointURL: srv.URL(), Timeout: 5 * time.Second,
		Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", ""),
	}
}

func putOne(st *kinesistest.Stream) putFunc {
	return func(_ context.Context, r bridge.Record) (bridge.Ack, error) {
		key := string(r.Key)
		if err := st.Put(kinesistest.Entry{Key: key, Data: r.Value}); err != nil {
			return bridge.Ack{}, err
		}
		shard := st.ShardFor(key)
		recs, err := st.Records(shard)
		if err != nil {
			return bridge.Ack{}, err
		}
		return bridge.Ack{Partition: shard, Position: bridge.Position{Seq: recs[len(recs)-1].SequenceNumber}}, nil
	}
}

func trim(st *kinesistest.Stream) func(context.Context, string, bridge.Position) error {
	return func(_ context.Context, shard string, upTo bridge.Position) error {
		recs, err := st.Records(shard)
		n := 0
		for n < len(recs) && !(bridge.Position{Seq: recs[n].SequenceNumber}).After(upTo) {
			n++
		}
		if err != nil {
			return err
		}
		return st.Trim(shard, n)
	}
}

func TestSourceContract(t *testing.T) {
	bridgetest.TestSource(t, bridgetest.SourceHarness{
		Server: "kinesistest",
		New: func(t testing.TB) bridgetest.SourceServer {
			var ahead atomic.Int64
			clock := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
			srv := start(t, kinesistest.Config{Clock: clock, Limits: kinesistest.Limits{Off: true}})
			st := stream(t, srv, 2)
			return bridgetest.SourceServer{
				Source:  dial(t, srv, st.Name()).Source(kinesisstream.SourceConfig{}),
				Put:     putOne(st),
				Advance: func(d time.Duration) { ahead.Add(int64(d)) },
				Damage:  bridgetest.Damage{Trim: trim(st)},
				Split: func(_ context.Context, shard string) error {
					_, _, err := st.Split(shard, middle(t, st, shard))
					return err
				},
			}
		},
	})
}

// A putFunc is a producer of one record.
type putFunc func(context.Context, bridge.Record) (bridge.Ack, error)

// sinkHarness leads to the sink of a format over streams of two shards that open makes.
func sinkHarness(server string, format kinesisstream.Format, open func(t testing.TB) (*kinesisstream.Client, putFunc)) bridgetest.SinkHarness {
	carries := bridgetest.Carries{}
	if format != kinesisstream.Raw {
		carries = bridgetest.Carries{NullValues: true, Headers: true, Time: true, Origin: true}
	}
	return bridgetest.SinkHarness{
		Server: server, Origin: origin, TooLarge: 1<<20 + 1, Fences: true, Carries: carries,
		New: func(t testing.TB) bridgetest.SinkServer {
			client, put := open(t)
			id, err := client.Identity(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			log := memstream.NewLog(nil)
			stamp := func(workflow string) *bridge.Stamp {
				return bridge.NewStamp(bridge.StampConfig{Workflow: workflow, Key: bridge.WorkflowKey{1}, Source: origin, Target: id})
			}
			return bridgetest.SinkServer{
				Open: func(ctx context.Context) (bridge.Sink, error) {
					return client.Sink(ctx, kinesisstream.SinkConfig{
						Format: format, Stamp: stamp(bridgetest.Workflow),
						Ledger: log.Open(), Tagger: bridge.NewTagger(bridge.WorkflowKey{1}, "ledger"), PutTimeout: 200 * time.Millisecond, ReadDelay: time.Millisecond,
					})
				},
				Source: func(workflow string) bridge.Source {
					return client.Source(kinesisstream.SourceConfig{Stamp: stamp(workflow), Restore: format != kinesisstream.Raw})
				},
				Put: put,
				// No Trim: what the ledger says was stored is there, or has expired there since.
			}
		},
	}
}

func TestSinkContract(t *testing.T) {
	srv := fast(t)
	for _, format := range formats {
		t.Run(string(format), func(t *testing.T) {
			h := sinkHarness("kinesistest", format, func(t testing.TB) (*kinesisstream.Client, putFunc) {
				st := stream(t, srv, 2)
				return dial(t, srv, st.Name()), putOne(st)
			})
			bridgetest.TestSink(t, h)
			bridgetest.TestRecoverable(t, h)
		})
	}
}
