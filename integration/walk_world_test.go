//go:build integration

package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kinesis-msk-bridge/bridge/integration/checker"
	"github.com/kinesis-msk-bridge/bridge/integration/proxy"
	"github.com/kinesis-msk-bridge/bridge/integration/servers"
	"github.com/kinesis-msk-bridge/bridge/kpl"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
)

// walkCluster are three brokers behind proxies, which all walks share. Who stops one holds
// steps alone.
type walkCluster struct {
	kafka   *servers.Kafka
	proxies []*proxy.Proxy
	steps   sync.RWMutex
}

func startWalkCluster(t *testing.T) *walkCluster {
	b := &walkCluster{}
	for range 3 {
		p, err := proxy.Listen()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.Close() })
		b.proxies = append(b.proxies, p)
	}
	var err error
	b.kafka, err = servers.StartKafka(t.Context(), servers.KafkaConfig{
		Dir: t.TempDir(), Nodes: 3,
		Advertise: func(node int, own string) string { b.proxies[node].Forward(own); return b.proxies[node].Addr() },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.kafka.Close)
	return b
}

// cut has every request to the brokers fail, or none answered while hole is open.
func (b *walkCluster) cut(hole chan struct{}) (refused *atomic.Int64) {
	refused = &atomic.Int64{}
	for _, p := range b.proxies {
		p.Watch(func(int, bool) bool {
			refused.Add(1)
			if hole != nil {
				<-hole
				return true
			}
			return false
		})
	}
	return refused
}

func (b *walkCluster) mend() {
	for _, p := range b.proxies {
		p.Watch(nil)
	}
}

// A walkKinesis is a Kinesis of one walk, whose clock can be put forward and whose calls can
// be made to fail.
type walkKinesis struct {
	*kinesistest.Server
	ahead atomic.Int64 // of this machine's clock
	rough atomic.Int64 // how many of a hundred calls fail
	away  atomic.Bool  // every connection is closed
	hole  atomic.Pointer[chan struct{}]
	hit   atomic.Int64 // calls that were away or in the hole

	mu  sync.Mutex
	rng *rand.Rand
}

func newWalkKinesis(t *testing.T, seed uint64, limits bool, ahead time.Duration) *walkKinesis {
	k := &walkKinesis{rng: rand.New(rand.NewPCG(seed, 3))}
	k.ahead.Store(int64(ahead))
	k.Server = newKinesis(t, kinesistest.Config{
		Limits: kinesistest.Limits{Off: !limits}, Fault: k.fault,
		Clock: func() time.Time { return time.Now().Add(time.Duration(k.ahead.Load())) },
	})
	return k
}

// calm ends everything that goes wrong.
func (k *walkKinesis) calm() {
	k.rough.Store(0)
	k.away.Store(false)
	if hole := k.hole.Swap(nil); hole != nil {
		close(*hole)
	}
}

func (k *walkKinesis) fault(c kinesistest.Call) kinesistest.Fault {
	if hole := k.hole.Load(); hole != nil {
		k.hit.Add(1)
		return kinesistest.Fault{Wait: *hole}
	}
	if k.away.Load() {
		k.hit.Add(1)
		return kinesistest.Fault{Cut: true}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.rng.Int64N(100) >= k.rough.Load() {
		return kinesistest.Fault{}
	}
	switch k.rng.IntN(6) {
	case 0:
		return kinesistest.Fault{Error: &kinesistest.Error{Status: 400, Type: "ProvisionedThroughputExceededException", Message: "slow down"}}
	case 1:
		return kinesistest.Fault{Error: &kinesistest.Error{Status: 503, Type: "ServiceUnavailable", Message: "later"}}
	case 2:
		return kinesistest.Fault{Cut: true}
	case 3:
		return kinesistest.Fault{LateCut: true}
	case 4:
		return kinesistest.Fault{FailEntries: map[int]string{k.rng.IntN(5): "", k.rng.IntN(20): ""}, Empty: true}
	}
	return kinesistest.Fault{Delay: time.Duration(k.rng.IntN(1500)) * time.Millisecond}
}

// drop deletes a stream as its owner does.
func (k *walkKinesis) drop(ctx context.Context, stream string) error {
	body, err := json.Marshal(map[string]any{"StreamName": stream})
	if err != nil {
		return err
	}
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, k.URL(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	q.Header.Set("Content-Type", "application/x-amz-json-1.1")
	q.Header.Set("X-Amz-Target", "Kinesis_20131202.DeleteStream")
	q.Header.Set("X-Amz-Date", "20260101T000000Z")
	q.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=owner/20260101/us-east-1/kinesis/aws4_request, SignedHeaders=host, Signature=0")
	r, err := http.DefaultClient.Do(q)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(r.Body)
		return fmt.Errorf("DeleteStream: %s: %s", r.Status, text)
	}
	return nil
}

// An openTransaction is one that a producer has begun on the source topic.
type openTransaction struct {
	client *kgo.Client
	rows   []*walkRow
}

const walkKeys = 7

// newRow is the next row.
func (w *realWalk) newRow() *walkRow {
	n := len(w.rows)
	r := &walkRow{Row: checker.Row{N: n, Key: fmt.Sprint("key-", w.rng.IntN(walkKeys)), Value: fmt.Appendf(nil, "row %d of walk %d", n, w.seed)}}
	if !w.toKafka && w.rng.IntN(8) == 0 {
		r.Key, r.Null = "", true
	}
	w.rows = append(w.rows, r)
	return r
}

// put has a producer put n rows, and returns when all are acknowledged.
func (w *realWalk) put(n int) {
	var rows []*walkRow
	for range n {
		rows = append(rows, w.newRow())
	}
	if w.toKafka {
		w.putToStream(rows)
	} else {
		w.produce(w.producer(), rows)
	}
	for _, r := range rows {
		r.at = time.Now()
	}
}

// putToStream puts rows one by one, or, where producers aggregate, some in one record.
func (w *realWalk) putToStream(rows []*walkRow) {
	st := w.kinesis.Stream(w.stream)
	for len(rows) > 0 {
		n, data := 1, rows[0].Value
		if w.packed && w.rng.IntN(3) == 0 {
			n = min(1+w.rng.IntN(5), len(rows))
			var b kpl.Builder
			for _, r := range rows[:n] {
				r.Key = rows[0].Key
				if err := b.Add([]byte(r.Key), nil, r.Value, nil); err != nil {
					w.t.Fatal(err)
				}
			}
			data = b.Finish(nil)
		}
		if err := st.Put(kinesistest.Entry{Key: rows[0].Key, Data: data}); err != nil {
			w.t.Fatal(err)
		}
		rows = rows[n:]
	}
}

// producer is a new idempotent producer for the source topic.
func (w *realWalk) producer(more ...kgo.Opt) *kgo.Client {
	return dial(w.t, w.direct, append(more, kgo.MetadataMinAge(250*time.Millisecond))...)
}

// produce puts rows where Java's client would, some with times behind or ahead.
func (w *realWalk) produce(c *kgo.Client, rows []*walkRow) {
	var recs []*kgo.Record
	for _, r := range rows {
		rec := &kgo.Record{Topic: w.topic, Value: r.Value, Partition: int32(r.N % w.parts)}
		if !r.Null {
			rec.Key = []byte(r.Key)
			rec.Partition = int32(checker.Partition(rec.Key, w.parts))
		}
		if w.hazards["times"] && w.rng.IntN(4) == 0 {
			rec.Timestamp = time.Now().Add(time.Duration(w.rng.IntN(170)-120) * time.Minute).Truncate(time.Millisecond)
		}
		recs = append(recs, rec)
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), 2*time.Minute)
	defer cancel()
	if err := c.ProduceSync(ctx, recs...).FirstErr(); err != nil {
		w.t.Fatalf("seed %d: put into the source: %v", w.seed, err)
	}
}

// begin draws what kind of walk this is, and makes its source.
func (w *realWalk) begin() {
	w.hazards = map[string]bool{}
	for _, h := range sortedKeys(walkHazards) {
		w.hazards[h] = w.rng.IntN(walkHazards[h]) == 0
	}
	w.toKafka = w.rng.IntN(2) == 0
	ahead := time.Duration(0)
	if w.hazards["skew"] {
		ahead = time.Duration(w.rng.IntN(60)-30) * time.Minute
	}
	limits := w.rng.IntN(3) == 0
	w.kinesis = newWalkKinesis(w.t, w.seed, limits, ahead)
	w.parts = 1 + w.rng.IntN(4)
	direction, format := toKinesis, []string{"raw", "kpl", "envelope"}[w.rng.IntN(3)]
	if w.toKafka {
		direction, format = toKafka, ""
		w.packed = w.rng.IntN(2) == 0
	}
	w.job = newJob(w.t, direction, w.kinesis, "stream", unique("walk"))
	w.brokers, w.direct = w.cluster.kafka.Brokers(), w.cluster.kafka.Internal()
	w.format, w.shards, w.partitions, w.replicas = format, 1+w.rng.IntN(3), w.parts, 3
	w.more = fmt.Sprintf("checkpoint_interval: %s\nverify: {settle: 1s}\n", []string{"100ms", "1s", "5s"}[w.rng.IntN(3)])
	if w.rng.IntN(3) == 0 && !w.toKafka {
		w.more += "null_keys: partition-order\n"
	}
	drawn := slices.DeleteFunc(sortedKeys(w.hazards), func(h string) bool { return !w.hazards[h] })
	w.note("seed %d: %s, format %q, aggregated %t, %d partitions, hazards %v, limits %t, service clock %s ahead, %q", w.seed, direction, format, w.packed, w.parts, drawn, limits, ahead, w.more)
	w.makeSource()
	w.put(20 + w.rng.IntN(200))
}

// makeSource creates the stream, or the topic; one that is to be truncated stands on two
// brokers, either of which may lead it whatever it lacks.
func (w *realWalk) makeSource() {
	switch {
	case w.toKafka:
		if _, err := w.kinesis.CreateStream(w.stream, 1+w.rng.IntN(3)); err != nil {
			w.t.Fatal(err)
		}
		w.makeTopic()
	case w.hazards["truncate"]:
		w.parts = 1
		uncleanTopic(w.t, w.direct, w.topic)
	default:
		w.makeTopic()
	}
}

// makeTopic creates the topic. It takes records of the future: the service's clock may be days
// ahead of this machine's, by which the brokers go.
func (w *realWalk) makeTopic() {
	createTopic(w.t, w.direct, w.topic, w.parts, "message.timestamp.after.max.ms=9223372036854775807", "retention.ms=-1")
}

// tidy removes the topics of the walk, so that brokers that restart have less to do.
func (w *realWalk) tidy() {
	adm := kadm.NewClient(dial(w.t, w.direct))
	topics := []string{w.topic}
	for _, own := range []string{"checkpoints", "ledger", "index"} {
		topics = append(topics, fmt.Sprintf("bridge.%s.%s", w.workflow, own))
	}
	if _, err := adm.DeleteTopics(w.t.Context(), topics...); err != nil {
		w.note("delete the topics: %v", err)
	}
}
