package kinesisstream

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/keymap"
	"github.com/kinesis-msk-bridge/bridge/kpl"
)

var (
	topic  = bridge.Identity{Name: "kafka:c/t", Incarnation: "1"}
	target = bridge.Identity{Name: "kinesis:arn", Incarnation: "2"}
)

// A maker makes records of all kinds.
type maker struct {
	*rand.Rand
	offset int64
}

func (m *maker) bytes(n int) []byte {
	b := make([]byte, m.IntN(n+1))
	for i := range b {
		b[i] = byte(m.Uint32())
	}
	switch m.IntN(12) {
	case 0:
		copy(b, "\xf3\x89\x9a\xc2")
	case 1:
		copy(b, "\xc5BRG\x01")
	}
	return b
}

func (m *maker) maybe(n int) []byte {
	if m.IntN(5) == 0 {
		return nil
	}
	return m.bytes(n)
}

func (m *maker) record() bridge.Record {
	m.offset++
	r := bridge.Record{
		Key: m.maybe(40), Value: m.maybe(60), Time: time.UnixMilli(m.Int64N(2e12) - 1e10).UTC(),
		Partition: "3", Position: bridge.OffsetPosition(m.offset),
	}
	for range max(0, m.IntN(6)-2) {
		r.Headers = append(r.Headers, bridge.Header{Key: string(m.bytes(12)), Value: m.maybe(12)})
	}
	r.Origin = bridge.Coordinate{Stream: topic.String(), Partition: r.Partition, Position: r.Position}
	return r
}

// Every byte string of key, value and headers, every null and every time goes through each
// format and comes back as it was, or is refused by name; and what was packed together has
// one key.
func TestRoundTrip(t *testing.T) {
	const seed = 17
	for _, f := range []Format{Raw, KPL, Envelope} {
		t.Run(string(f), func(t *testing.T) { roundTrips(t, f, seed, Share(t, 1_000_000)) })
	}
}

func roundTrips(t *testing.T, f Format, seed uint64, cases int) {
	m := &maker{Rand: rand.New(rand.NewPCG(seed, 0))}
	stamp := bridge.NewStamp(bridge.StampConfig{Workflow: "w", Source: topic, Target: target})
	c, err := newCodec(&SinkConfig{Format: f, Stamp: stamp, Tagger: bridge.NewTagger(bridge.WorkflowKey{}, "x")})
	if err != nil {
		t.Fatal(err)
	}
	direct, err := keymap.New("murmur2", 8)
	if err != nil {
		t.Fatal(err)
	}
	keys, back := keymap.PartitionKeys(keymap.Spread), keymap.Restored(direct)
	refused, packed := 0, 0
	for done := 0; done < cases; {
		var was, recs []*bridge.Record
		first := m.record()
		for range 1 + m.IntN(4) {
			r := m.record()
			if first.Key != nil {
				r.Key = first.Key
			}
			route, err := keys.Route(&r)
			if err != nil {
				t.Fatal(err)
			}
			sent := r
			sent.Key = route.Key
			done++
			if err := c.check(&sent, 1<<20); err != nil {
				if refused++; !errors.Is(err, bridge.ErrUnmappable) || f != Raw || r.Value != nil && len(r.Headers) == 0 {
					t.Fatalf("%s refused: %v", show(&r), err)
				}
				continue
			}
			if was, recs = append(was, &r), append(recs, &sent); first.Key == nil {
				break // each null key has a partition key of its own
			}
		}
		for len(recs) > 0 {
			data, n := c.pack(recs, 600)
			packed = max(packed, n)
			u := unpacker{shard: "s", keys: kpl.FullRange(), conf: &SourceConfig{Stamp: stamp, Restore: f != Raw}}
			partitionKey, seq := string(recs[0].Key), "7"
			arrival := was[0].Time
			got := u.append(nil, &types.Record{PartitionKey: &partitionKey, SequenceNumber: &seq, Data: data, ApproximateArrivalTimestamp: &arrival})
			if len(got) != n {
				t.Fatalf("%d records came back as %d", n, len(got))
			}
			for i := range got {
				compare(t, f, was[i], &got[i], i, n, back)
			}
			was, recs = was[n:], recs[n:]
		}
	}
	t.Logf("seed %d: %d cases, %d refused by name, at most %d packed together", seed, cases, refused, packed)
	if (refused == 0) != (f != Raw) || (packed < 3) != (f == Raw) {
		t.Error("not exercised")
	}
}

func compare(t *testing.T, f Format, was, got *bridge.Record, sub, subs int, back keymap.Strategy) {
	t.Helper()
	route, err := back.Route(got)
	if err != nil {
		t.Fatal(err)
	}
	restored := *got
	restored.Key = route.Key
	if d := different(f, was, &restored); d != "" || got.Refused != nil {
		t.Fatalf("%s differs: sent %s, came back %s, %v", d, show(was), show(&restored), got.Refused)
	}
	if got.Position != (bridge.Position{Seq: "7", Sub: uint32(sub)}) || got.Subs != uint32(subs) {
		t.Fatalf("record %d of %d stands at %s of %d", sub, subs, got.Position, got.Subs)
	}
	if f != Raw && got.Origin != was.Origin {
		t.Fatalf("origin %s came back as %s", was.Origin, got.Origin)
	}
}

func different(f Format, a, b *bridge.Record) string {
	same := func(x, y []byte) bool { return bytes.Equal(x, y) && (x == nil) == (y == nil) }
	switch {
	case !same(a.Key, b.Key):
		return "key"
	case !same(a.Value, b.Value):
		return "value"
	case f == Raw:
		return ""
	case len(a.Headers) != len(b.Headers):
		return "number of headers"
	case !a.Time.Equal(b.Time):
		return "time"
	}
	for i := range a.Headers {
		if a.Headers[i].Key != b.Headers[i].Key || !same(a.Headers[i].Value, b.Headers[i].Value) {
			return "header " + strconv.Itoa(i)
		}
	}
	return ""
}

func show(r *bridge.Record) string {
	return fmt.Sprintf("%q=%q %q at %s", r.Key, r.Value, r.Headers, r.Time)
}

// What is refused as too large is what the stream's limit does not hold, to the byte.
func TestOversize(t *testing.T) {
	stamp := bridge.NewStamp(bridge.StampConfig{Workflow: "w", Source: topic, Target: target})
	for _, f := range []Format{Raw, KPL, Envelope} {
		c, err := newCodec(&SinkConfig{Format: f, Stamp: stamp, Tagger: bridge.NewTagger(bridge.WorkflowKey{}, "x")})
		if err != nil {
			t.Fatal(err)
		}
		for _, limit := range []int{1 << 20, 10 << 20} {
			r := bridge.Record{Key: []byte("k"), Value: make([]byte, limit), Time: time.UnixMilli(1)}
			r.Origin = bridge.Coordinate{Stream: topic.String(), Partition: "3", Position: bridge.OffsetPosition(1)}
			frame, _ := c.pack([]*bridge.Record{&r}, 0)
			over := len(r.Key) + len(frame) - limit
			for _, d := range []int{-1, 0, 1} {
				r.Value = make([]byte, limit-over+d)
				data, _ := c.pack([]*bridge.Record{&r}, 0)
				err := c.check(&r, limit)
				if fits := len(r.Key)+len(data) <= limit; fits != (err == nil) || (d == 1) == fits {
					t.Errorf("%s: %d bytes, limit %d: %v", f, len(r.Key)+len(data), limit, err)
				}
				if err != nil && !errors.Is(err, bridge.ErrOversize) {
					t.Errorf("%s: %v", f, err)
				}
			}
		}
	}
}
