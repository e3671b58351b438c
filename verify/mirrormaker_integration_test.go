//go:build integration

package verify_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/integration/servers"
	"github.com/kinesis-msk-bridge/bridge/keymap"
	"github.com/kinesis-msk-bridge/bridge/stream/kafkastream"
	"github.com/kinesis-msk-bridge/bridge/verify"
)

const (
	othersPartitions = 4
	othersKeys       = 300
	othersRecords    = 12_000
)

// A topic that MirrorMaker 2 mirrored, whose records carry no coordinates, is consistent by
// content, in the order of all its keys; a copy of it that lacks a record, and in which two of
// a key have changed places, is told so.
func TestIntegrationMirrorMaker(t *testing.T) {
	k, err := servers.StartKafka(t.Context(), servers.KafkaConfig{Dir: t.TempDir()})
	check(t, err)
	t.Cleanup(k.Close)
	client, err := kgo.NewClient(kgo.SeedBrokers(k.Brokers()...), kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)))
	check(t, err)
	defer client.Close()
	admin := kadm.NewClient(client)
	for _, topic := range []string{"orders", "damaged"} {
		_, err = admin.CreateTopic(t.Context(), othersPartitions, 1, nil, topic)
		check(t, err)
	}
	var recs []*kgo.Record
	for i := range othersRecords {
		recs = append(recs, &kgo.Record{
			Topic: "orders", Key: fmt.Append(nil, "key-", i%othersKeys), Value: fmt.Append(nil, "value ", i),
			Headers: []kgo.RecordHeader{{Key: "h", Value: fmt.Append(nil, i%7)}},
		})
	}
	check(t, client.ProduceSync(t.Context(), recs...).FirstErr())
	mm, err := servers.StartMirrorMaker(t.Context(), t.TempDir(), k.Brokers(), k.Brokers(), "orders")
	check(t, err)
	defer mm.Close()
	copied := mirroredRecords(t, k.Brokers(), admin, mm)
	res := byContent(t, k.Brokers(), "src.orders")
	t.Logf("figures: MirrorMaker %s, %d records: %s, coverage %g %%, order of %s keys", servers.MirrorMakerVersion, othersRecords, res.Verdict, res.Coverage.Percent, res.Order.Coverage)
	if res.Verdict != verify.Consistent || res.Order.Coverage != "all" || res.Totals.SourceRecords != othersRecords {
		t.Errorf("%s, order coverage %s, %d records: %v", res.Verdict, res.Order.Coverage, res.Totals.SourceRecords, res.Reasons)
	}
	check(t, client.ProduceSync(t.Context(), damagedCopy(copied)...).FirstErr())
	res = byContent(t, k.Brokers(), "damaged")
	t.Logf("figures: a copy that lacks a record, and in which two changed places: %s: %v", res.Verdict, res.Reasons)
	if f := res.Findings; res.Verdict != verify.Inconsistent || f.Missing != 1 || f.Reordered < 1 || f.Extra+f.Corrupt+f.Duplicate+f.Misrouted != 0 {
		t.Errorf("%s: %+v", res.Verdict, f)
	}
}

// mirroredRecords waits until MirrorMaker is done, and returns what it wrote.
func mirroredRecords(t *testing.T, brokers []string, admin *kadm.Client, mm *servers.MirrorMaker) (out []*kgo.Record) {
	limit := time.After(2 * time.Minute)
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for n := int64(0); n < othersRecords; {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("MirrorMaker has written %d of %d records\n%s", n, othersRecords, mm.Log())
		}
		n = 0
		ends, err := admin.ListEndOffsets(t.Context(), "src.orders")
		if err == nil {
			ends.Each(func(o kadm.ListedOffset) { n += max(o.Offset, 0) })
		}
	}
	reader, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumeTopics("src.orders"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	check(t, err)
	defer reader.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for len(out) < othersRecords {
		f := reader.PollFetches(ctx)
		check(t, f.Err())
		out = append(out, f.Records()...)
	}
	return out
}

// damagedCopy leaves one record out, and lets two others of a key change places.
func damagedCopy(recs []*kgo.Record) (out []*kgo.Record) {
	last := map[string]int{} // of each key, in out
	swapped := false
	for i, r := range recs {
		if i == len(recs)/2 {
			continue
		}
		c := &kgo.Record{Topic: "damaged", Key: r.Key, Value: r.Value, Headers: r.Headers, Timestamp: r.Timestamp}
		out = append(out, c)
		if before, ok := last[string(r.Key)]; ok && !swapped && i > len(recs)*3/4 {
			out[before], out[len(out)-1] = c, out[before]
			swapped = true
		}
		last[string(r.Key)] = len(out) - 1
	}
	return out
}

// byContent compares the topic "orders" with another one.
func byContent(t *testing.T, brokers []string, target string) *verify.Result {
	t.Helper()
	client, err := kafkastream.Dial(t.Context(), kafkastream.Config{Brokers: brokers})
	check(t, err)
	defer func() { check(t, client.Close()) }()
	source := func(name string) bridge.Source {
		s, err := kafkastream.NewSource(t.Context(), kafkastream.SourceConfig{Client: client, Topic: name})
		check(t, err)
		return s
	}
	keys, err := keymap.New("murmur2", othersPartitions)
	check(t, err)
	v := &verify.Verifier{
		Source: source("orders"), Target: source(target), Keys: keys, Key: workflowKey, Content: true,
		Keeps: verify.Keeps{Time: true, Headers: true, Nulls: true}, Settle: time.Second, MaxSamples: 100,
	}
	res, err := v.Run(t.Context())
	check(t, err)
	return res
}
