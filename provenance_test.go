package bridge_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
)

func testKey() (k bridge.WorkflowKey) {
	for i := range k {
		k[i] = byte(i)
	}
	return k
}

var (
	source = bridge.Identity{Name: "kinesis:arn:aws:kinesis:us-east-1:123456789012:stream/orders", Incarnation: "1700000000000"}
	target = bridge.Identity{Name: "kafka:cluster/orders", Incarnation: "AAAA"}
)

func testStamp() *bridge.Stamp {
	return bridge.NewStamp(bridge.StampConfig{Workflow: "orders", Key: testKey(), Source: source, Target: target})
}

func stamped(partition, seq string, sub, subs uint32) *bridge.Record {
	return &bridge.Record{
		Key: []byte("N14228"), Value: []byte(`{"row":1}`),
		Time: time.UnixMilli(1357034400123), Subs: subs,
		Origin: bridge.Coordinate{Stream: source.String(), Partition: partition, Position: bridge.Position{Seq: seq, Sub: sub}},
	}
}

// The bytes of version 1 are stored in people's topics: they may never change.
func TestHeaderGolden(t *testing.T) {
	for _, c := range []struct {
		name, want string
		rec        *bridge.Record
	}{
		{"kinesis", golden["kinesis"], stamped("shardId-000000000012", "49590338271490256608559692538361571095921575989136588898", 0, 1)},
		{"aggregate", golden["aggregate"], stamped("shardId-000000000000", "49590338271490256608559692538361571095921575989136588898", 3, 10)},
		{"kafka", golden["kafka"], stamped("7", "336776", 0, 1)},
		{"text partition", golden["text partition"], stamped("shardId-12", "007", 0, 1)},
	} {
		if got := hex.EncodeToString(testStamp().Append(nil, c.rec)); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}

func TestHeaderRoundTrip(t *testing.T) {
	const seed = 2
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	stamp := testStamp()
	for range 20_000 {
		seq := fmt.Sprintf("%d%d%d", rng.Uint64N(1e18), rng.Uint64(), rng.Uint64())
		if rng.IntN(2) == 0 {
			seq = fmt.Sprint(rng.Int64())
		}
		part := []string{"", "0", "12", "012", "shardId-000000000007", "shardId-7", "shardId-00000000000x", "18446744073709551616", "Ωmega"}[rng.IntN(9)]
		rec := stamped(part, seq, rng.Uint32(), 1+rng.Uint32N(1000))
		rec.Time = time.UnixMilli(rng.Int64N(1<<42) - 1<<40)
		h := stamp.Append([]byte("before"), rec)[len("before"):]
		c, p, mark := stamp.Judge(h, rec.Key, rec.Value)
		if mark != bridge.Ours || c != rec.Origin || p.Subs != rec.Subs || !p.Time.Equal(rec.Time) {
			t.Fatalf("%+v came back as %v %+v, mark %d", rec.Origin, c, p, mark)
		}
	}
}

func TestOnlyTheVeryRecordIsOurs(t *testing.T) {
	rec := stamped("shardId-000000000012", "49590338271490256608559692538361571095921575989136588898", 0, 1)
	stamp := testStamp()
	h := stamp.Append(nil, rec)
	elsewhere := bridge.NewStamp(bridge.StampConfig{Workflow: "orders", Key: testKey(), Source: source, Target: bridge.Identity{Name: "kafka:cluster/other", Incarnation: "B"}})
	stranger := bridge.NewStamp(bridge.StampConfig{Workflow: "other", Key: testKey(), Source: source, Target: target})
	forger := bridge.NewStamp(bridge.StampConfig{Workflow: "orders", Source: source, Target: target})
	for _, c := range []struct {
		name       string
		stamp      *bridge.Stamp
		key, value []byte
		want       bridge.Mark
	}{
		{"itself", stamp, rec.Key, rec.Value, bridge.Ours},
		{"other value", stamp, rec.Key, []byte(`{"row":2}`), bridge.Copied},
		{"tombstone", stamp, rec.Key, nil, bridge.Copied},
		{"other key", stamp, []byte("N14229"), rec.Value, bridge.Copied},
		{"null key", stamp, nil, rec.Value, bridge.Copied},
		{"byte moved from key to value", stamp, rec.Key[:5], append([]byte("8"), rec.Value...), bridge.Copied},
		{"other topic", elsewhere, rec.Key, rec.Value, bridge.Copied},
		{"other workflow", stranger, rec.Key, rec.Value, bridge.OtherWorkflow},
		{"other key of the workflow", forger, rec.Key, rec.Value, bridge.Copied},
	} {
		if _, _, got := c.stamp.Judge(h, c.key, c.value); got != c.want {
			t.Errorf("%s: mark %d, want %d", c.name, got, c.want)
		}
	}
	for i := range h {
		for bit := range 8 {
			bad := bytes.Clone(h)
			bad[i] ^= 1 << bit
			if _, _, got := stamp.Judge(bad, rec.Key, rec.Value); got == bridge.Ours {
				t.Fatalf("byte %d bit %d flipped and still ours", i, bit)
			}
		}
	}
}

func TestEmptyAndNilDiffer(t *testing.T) {
	tg := bridge.NewTagger(testKey(), "test")
	seen := map[uint64]string{}
	for _, c := range []struct {
		name string
		k, v []byte
	}{{"nil nil", nil, nil}, {"nil empty", nil, []byte{}}, {"empty nil", []byte{}, nil}, {"empty empty", []byte{}, []byte{}}, {"zero", []byte{0}, nil}, {"zeros", []byte{0, 0}, nil}} {
		d := tg.Digest(c.k, c.v)
		if other, ok := seen[d]; ok {
			t.Errorf("%s and %s have one digest", c.name, other)
		}
		seen[d] = c.name
	}
	if bridge.NewTagger(testKey(), "a").Sum(nil) == bridge.NewTagger(testKey(), "b").Sum(nil) {
		t.Error("tags of different purposes agree")
	}
}

func TestKeyNeverPrints(t *testing.T) {
	k := testKey()
	for _, s := range []string{fmt.Sprint(k), fmt.Sprintf("%v %+v %s %x", k, k, k, k), fmt.Sprintf("%#v", k)} {
		if bytes.Contains([]byte(s), []byte("0102")) || bytes.Contains([]byte(s), []byte("1, 2")) {
			t.Errorf("the key printed as %s", s)
		}
	}
	back, err := bridge.ParseWorkflowKey(k.Reveal())
	if err != nil || back != k {
		t.Errorf("the key came back as %v, %v", back == k, err)
	}
	if _, err := bridge.ParseWorkflowKey("00"); !errors.Is(err, bridge.ErrState) {
		t.Errorf("a short key: %v", err)
	}
}

func FuzzDecodeProvenance(f *testing.F) {
	for _, h := range golden {
		b, _ := hex.DecodeString(h)
		f.Add(b)
	}
	stamp := testStamp()
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := bridge.DecodeProvenance(b)
		if err != nil {
			return
		}
		if _, err := bridge.ParsePosition(p.Position.String()); err != nil {
			t.Errorf("decoded a position that does not parse: %v", err)
		}
		stamp.Judge(b, nil, nil)
	})
}

func BenchmarkStamp1KB(b *testing.B) {
	rec := stamped("shardId-000000000012", "49590338271490256608559692538361571095921575989136588898", 0, 1)
	rec.Value = bytes.Repeat([]byte("x"), 1024)
	stamp, buf := testStamp(), make([]byte, 0, 128)
	b.ReportAllocs()
	for b.Loop() {
		buf = stamp.Append(buf[:0], rec)
	}
}

var golden = map[string]string{
	"kinesis":        "0134deaedd00bba07522020c38495903382714902566085596925383615710959215759891365888980001f6a5edd8fe4e6873b299f4143401",
	"aggregate":      "0134deaedd00bba0752202003849590338271490256608559692538361571095921575989136588898030af6a5edd8fe4efa3d523f2972f049",
	"kafka":          "0134deaedd00bba075220107063367760001f6a5edd8fe4eb76c39ecb3f5800b",
	"text partition": "0134deaedd00bba07522000a736861726449642d313203007f0001f6a5edd8fe4e0d48175f3fdb8b05",
}
