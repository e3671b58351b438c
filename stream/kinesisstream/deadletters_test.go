package kinesisstream_test

import (
	"context"
	"iter"
	"testing"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/bridgetest"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesisstream"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
)

// lettersHarness leads to dead letters in streams that open makes, whose puts have so long.
func lettersHarness(server string, put time.Duration, open func(testing.TB) *kinesisstream.Client) bridgetest.DeadLettersHarness {
	return bridgetest.DeadLettersHarness{
		Server: server, TooLarge: 1 << 20,
		New: func(t testing.TB) bridgetest.LettersPlace {
			client := open(t)
			codec := func(workflow string) *bridge.LetterCodec {
				return bridge.NewLetterCodec(workflow, bridge.WorkflowKey{9})
			}
			return bridgetest.LettersPlace{
				Open: func(_ context.Context, workflow string) (bridge.DeadLetters, error) {
					return client.DeadLetters(kinesisstream.LetterConfig{Codec: codec(workflow), PutTimeout: put}), nil
				},
				Read: func(ctx context.Context, workflow string) iter.Seq2[bridge.DeadLetter, error] {
					return kinesisstream.ReadDeadLetters(ctx, client, codec(workflow))
				},
			}
		},
	}
}

func TestDeadLettersInAStream(t *testing.T) {
	bridgetest.TestDeadLetters(t, lettersHarness("kinesistest", 20*time.Millisecond, func(t testing.TB) *kinesisstream.Client {
		srv := fast(t)
		return dial(t, srv, stream(t, srv, 3).Name())
	}))
}

// Records of a call that are refused for now are put again, and those that were stored are
// not; a shard that is split keeps what it has.
func TestDeadLettersRefusedForNow(t *testing.T) {
	srv := fast(t)
	st := stream(t, srv, 2)
	client := dial(t, srv, st.Name())
	d := client.DeadLetters(kinesisstream.LetterConfig{Codec: bridge.NewLetterCodec("w", bridge.WorkflowKey{9}), PutTimeout: time.Second})
	refused := 0
	srv.SetFault(func(c kinesistest.Call) kinesistest.Fault {
		if c.Op != "PutRecords" || c.N%2 == 0 {
			return kinesistest.Fault{}
		}
		refused++
		return kinesistest.Fault{FailEntries: map[int]string{0: "", 7: "InternalFailure", 31: ""}}
	})
	var letters []bridge.DeadLetter
	for n := range 700 {
		letters = append(letters, bridge.DeadLetter{
			Origin: bridge.Coordinate{Stream: "s@1", Partition: "0", Position: bridge.OffsetPosition(int64(n))}, Class: bridge.ClassOversize,
		})
	}
	if _, err := d.Put(t.Context(), letters[:600]); err != nil {
		t.Fatal(err)
	}
	if _, _, err := st.Split(st.Shards()[0].ID, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Put(t.Context(), letters[600:]); err != nil {
		t.Fatal(err)
	}
	srv.SetFault(nil)
	if refused < 2 {
		t.Errorf("not exercised: %d calls were refused in part", refused)
	}
	seen := map[bridge.Coordinate]int{}
	for p, err := range d.Tail(t.Context(), bridge.Floor{}) {
		if err != nil {
			t.Fatal(err)
		}
		seen[p.Origin]++
	}
	for _, l := range letters {
		if seen[l.Origin] != 1 {
			t.Fatalf("%s is there %d times", l.Origin, seen[l.Origin])
		}
	}
}
