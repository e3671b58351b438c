package kafkastream_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/stream/kafkastream"
)

// A wireBatch is a record batch as a log holds it. Offsets of its records count from
// first.
type wireBatch struct {
	first, last int64
	attributes  int16
	producer    int64
	maxTime     int64
	offsets     []int64
	damage      func([]byte) []byte // of the encoded records, before the checksum
}

const (
	attrLogAppendTime = 1 << 3
	attrGzip          = 1
)

func (w wireBatch) bytes() []byte {
	var records []byte
	for _, offset := range w.offsets {
		r := kmsg.Record{OffsetDelta: int32(offset - w.first), TimestampDelta64: offset - w.first, Value: []byte(strconv.FormatInt(offset, 10))}
		body := r.AppendTo(nil)[1:] // behind the length, which is 0 in one byte
		records = append(binary.AppendVarint(records, int64(len(body))), body...)
	}
	if w.damage != nil {
		records = w.damage(records)
	}
	b := kmsg.RecordBatch{
		FirstOffset: w.first, Magic: 2, PartitionLeaderEpoch: -1, Attributes: w.attributes, LastOffsetDelta: int32(w.last - w.first),
		FirstTimestamp: 1000, MaxTimestamp: w.maxTime, ProducerID: w.producer, ProducerEpoch: -1, FirstSequence: -1,
		NumRecords: int32(len(w.offsets)), Records: records,
	}
	raw := b.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[8:], uint32(len(raw)-12))
	binary.BigEndian.PutUint32(raw[17:], crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli)))
	return raw
}

// serve makes the broker answer fetches of partition 0 of "log", which ends at end, with
// what answer says.
func serve(t *testing.T, end int64, answer func(offset int64, maxBytes int32) []byte) *kafkastream.Client {
	t.Helper()
	fake, client := cluster(t, kfake.SeedTopics(1, "log"))
	fake.ControlKey(2, func(req kmsg.Request) (kmsg.Response, error, bool) {
		fake.KeepControl()
		q := req.(*kmsg.ListOffsetsRequest)
		resp := q.ResponseKind().(*kmsg.ListOffsetsResponse)
		p := kmsg.NewListOffsetsResponseTopicPartition()
		if q.Topics[0].Partitions[0].Timestamp != -2 {
			p.Offset = end
		} else {
			p.Offset = 0
		}
		topic := kmsg.NewListOffsetsResponseTopic()
		topic.Topic, topic.Partitions = "log", append(topic.Partitions, p)
		resp.Topics = append(resp.Topics, topic)
		return resp, nil, true
	})
	fake.ControlKey(1, func(req kmsg.Request) (kmsg.Response, error, bool) {
		fake.KeepControl()
		q := req.(*kmsg.FetchRequest)
		resp := q.ResponseKind().(*kmsg.FetchResponse)
		p := kmsg.NewFetchResponseTopicPartition()
		p.HighWatermark, p.LastStableOffset, p.LogStartOffset = end, end, 0
		asked := q.Topics[0].Partitions[0]
		p.RecordBatches = answer(asked.FetchOffset, asked.PartitionMaxBytes)
		topic := kmsg.NewFetchResponseTopic()
		topic.Topic, topic.Partitions = "log", append(topic.Partitions, p)
		resp.Topics = append(resp.Topics, topic)
		return resp, nil, true
	})
	return client
}

// whole answers as a broker does: from the batch that holds offset or is the next, up to
// maxBytes, the last one cut short; stop ends an answer behind that batch, as the end of a
// segment does.
func whole(log []wireBatch, stop int) func(int64, int32) []byte {
	return func(offset int64, maxBytes int32) []byte {
		var out []byte
		for i, b := range log {
			if b.last < offset {
				continue
			}
			out = append(out, b.bytes()...)
			if i == stop {
				break
			}
		}
		return out[:min(len(out), int(maxBytes))]
	}
}

func logSource(t *testing.T, client *kafkastream.Client, fetch int) bridge.Reader {
	t.Helper()
	return open(t, newSource(t, kafkastream.SourceConfig{Client: client, Topic: "log", FetchBytes: fetch}), "0", bridge.Start{})
}

func TestFetchOddLogs(t *testing.T) {
	tests := []struct {
		name  string
		log   []wireBatch
		stop  int
		fetch int
		want  []string
	}{
		{"holes inside and behind", []wireBatch{
			{first: 0, last: 9, offsets: []int64{0, 3, 7}},
			{first: 20, last: 29, offsets: []int64{21}},
		}, -1, 0, []string{"0", "3", "7", "21"}},
		{"a segment that ends with batches of nothing", []wireBatch{
			{first: 0, last: 9, offsets: []int64{0}},
			{first: 10, last: 14}, {first: 15, last: 19},
			{first: 20, last: 29, offsets: []int64{29}},
		}, 2, 0, []string{"0", "29"}},
		{"a log that ends with a batch of nothing", []wireBatch{
			{first: 0, last: 9, offsets: []int64{0}},
			{first: 10, last: 29},
		}, -1, 0, []string{"0"}},
		{"batches cut short", []wireBatch{
			{first: 0, last: 9, offsets: []int64{0, 1, 2, 3, 4, 5}},
			{first: 10, last: 29, offsets: []int64{10, 11, 12, 13, 14, 15}},
		}, -1, 70, []string{"0", "1", "2", "3", "4", "5", "10", "11", "12", "13", "14", "15"}},
		{"cut short inside a batch header", []wireBatch{
			{first: 0, last: 29, offsets: []int64{0, 29}},
		}, -1, 7, []string{"0", "29"}},
		{"a batch of nothing, then one cut short", []wireBatch{
			{first: 0, last: 9},
			{first: 10, last: 29, offsets: []int64{10, 11, 12}},
		}, -1, 62, []string{"10", "11", "12"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			client := serve(t, 30, whole(tt.log, tt.stop))
			got, through := drain(t, logSource(t, client, tt.fetch))
			if diff := cmp.Diff(tt.want, offsetsOf(got)); diff != "" {
				t.Errorf("positions (-want +got):\n%s", diff)
			}
			if through != bridge.OffsetPosition(29) {
				t.Errorf("Through = %s, want 29", through)
			}
		})
	}
}

// A broker that answers nothing because of a quota must not be taken for one that has
// nothing.
// TestFetchOfSmallRecords reads a log of many small records, then large ones: a read does
// not go on bringing more than it should, and grows again.
func TestFetchOfSmallRecords(t *testing.T) {
	var log []wireBatch
	next := int64(0)
	for range 300 {
		b := wireBatch{first: next, last: next + 499}
		for ; next <= b.last; next++ {
			b.offsets = append(b.offsets, next)
		}
		log = append(log, b)
	}
	client := serve(t, next, whole(log, -1))
	r := logSource(t, client, 768<<10)
	var sizes []int
	at := int64(0)
	for at < next {
		b, err := r.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, rec := range b.Records {
			if rec.Position != bridge.OffsetPosition(at) {
				t.Fatalf("got offset %s, want %d", rec.Position, at)
			}
			at++
		}
		sizes = append(sizes, len(b.Records))
	}
	t.Logf("reads brought %v records", sizes)
	if len(sizes) < 8 || sizes[0] < 20_000 {
		t.Fatalf("%d reads, the first of %d records: not exercised", len(sizes), sizes[0])
	}
	for _, n := range sizes[4:] {
		if n > 20_000 {
			t.Errorf("a read brought %d records", n)
		}
	}
}

func TestFetchThrottled(t *testing.T) {
	var calls atomic.Int32
	log := whole([]wireBatch{{first: 0, last: 29, offsets: []int64{0}}}, -1)
	client := serve(t, 30, func(offset int64, n int32) []byte {
		if calls.Add(1) < 3 {
			return nil
		}
		return log(offset, n)
	})
	r := logSource(t, client, 0)
	for range 2 {
		b, err := r.Read(t.Context())
		if err != nil || len(b.Records) != 0 || b.Behind == 0 || !b.Through.IsZero() {
			t.Errorf("Read of an empty answer below the end = %+v, %v", b, err)
		}
	}
	if got, _ := drain(t, r); len(got) != 1 {
		t.Errorf("read %v afterwards, want the record at 0", offsetsOf(got))
	}
}

// How far a read is behind goes by the last record's time while more is there, is 0 at the
// end, and is not known of an answer without records; a time to come is not the end.
func TestFetchBehind(t *testing.T) {
	var calls atomic.Int32
	tomorrow := time.Now().Add(24 * time.Hour).UnixMilli()
	log := []wireBatch{
		{first: 0, last: 1, offsets: []int64{0, 1}},
		{first: 2, last: 2, attributes: attrLogAppendTime, maxTime: tomorrow, offsets: []int64{2}},
		{first: 3, last: 3, offsets: []int64{3}},
	}
	client := serve(t, 4, func(offset int64, n int32) []byte {
		if calls.Add(1) == 1 {
			return nil
		}
		return whole(log, max(int(offset)-1, 0))(offset, n) // one batch at a time
	})
	r := logSource(t, client, 0)
	for i, want := range []func(b bridge.Batch) bool{
		func(b bridge.Batch) bool { return len(b.Records) == 0 && b.Behind < 0 },
		func(b bridge.Batch) bool {
			return len(b.Records) == 2 && b.Behind == b.Asked.Sub(b.Records[1].Time) && b.Behind > time.Hour
		},
		func(b bridge.Batch) bool { return len(b.Records) == 1 && b.Behind == time.Millisecond },
		func(b bridge.Batch) bool { return len(b.Records) == 1 && b.Behind == 0 },
	} {
		if b, err := r.Read(t.Context()); err != nil || !want(b) {
			t.Errorf("read %d: %+v, %v", i, b, err)
		}
	}
}

func TestFetchUndecodable(t *testing.T) {
	whole := wireBatch{first: 0, last: 29, offsets: []int64{0, 1, 2}}
	short := whole
	short.damage = func(b []byte) []byte { return b[:len(b)-3] } // a record goes on behind the batch
	flipped := whole.bytes()
	flipped[len(flipped)-2] ^= 1
	tests := map[string][]byte{"a checksum that does not hold": flipped, "a record that goes on behind its batch": short.bytes()}
	for name, raw := range tests {
		t.Run(name, func(t *testing.T) {
			client := serve(t, 30, func(int64, int32) []byte { return raw })
			_, err := logSource(t, client, 0).Read(t.Context())
			if !errors.Is(err, bridge.ErrUndecodable) || bridge.Retryable(err) {
				t.Errorf("Read = %v, want ErrUndecodable", err)
			}
		})
	}
}

func TestFetchLogAppendTime(t *testing.T) {
	client := serve(t, 30, whole([]wireBatch{
		{first: 0, last: 9, offsets: []int64{0, 5}},
		{first: 10, last: 29, offsets: []int64{12}, attributes: attrLogAppendTime, maxTime: 987654},
	}, -1))
	got, _ := drain(t, logSource(t, client, 0))
	var times []int64
	for _, r := range got {
		times = append(times, r.Time.UnixMilli())
	}
	if diff := cmp.Diff([]int64{1000, 1005, 987654}, times); diff != "" {
		t.Errorf("times (-want +got):\n%s", diff)
	}
}

// message encodes one message of a format before Kafka 0.11.
func message(magic int8, offset int64, attributes int8, value []byte) []byte {
	var body []byte
	body = append(body, byte(magic), byte(attributes))
	if magic == 1 {
		body = binary.BigEndian.AppendUint64(body, uint64(5000+offset))
	}
	body = binary.BigEndian.AppendUint32(body, 0xffffffff) // null key
	body = binary.BigEndian.AppendUint32(body, uint32(len(value)))
	body = append(body, value...)
	out := binary.BigEndian.AppendUint64(nil, uint64(offset))
	out = binary.BigEndian.AppendUint32(out, uint32(len(body)+4))
	out = binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(body))
	return append(out, body...)
}

func TestFetchOldFormats(t *testing.T) {
	var inner bytes.Buffer
	z := gzip.NewWriter(&inner)
	for i := range int64(3) {
		z.Write(message(1, i, 0, []byte(fmt.Sprint("inner ", i))))
	}
	z.Close()
	var log []byte
	log = append(log, message(0, 4, 0, []byte("v0"))...)
	log = append(log, message(1, 7, 0, []byte("v1"))...)
	log = append(log, message(1, 12, attrGzip, inner.Bytes())...) // the last of three: 10, 11, 12
	client := serve(t, 13, func(int64, int32) []byte { return log })
	got, through := drain(t, logSource(t, client, 0))
	var have []string
	for _, r := range got {
		have = append(have, r.Position.String()+" "+string(r.Value))
	}
	if diff := cmp.Diff([]string{"4 v0", "7 v1", "10 inner 0", "11 inner 1", "12 inner 2"}, have); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	if through != bridge.OffsetPosition(12) || len(got) == 5 && (!got[0].Time.IsZero() || got[1].Time.UnixMilli() != 5007) {
		t.Errorf("Through %s, times %v", through, got)
	}
}

// sarama keeps where batches without records end in a field of its own, which the reader
// reads by its name.
func TestEmptyBatchFieldIsThere(t *testing.T) {
	if got := kafkastream.EmptyUpTo(&sarama.FetchResponseBlock{}); got != 0 {
		t.Errorf("EmptyUpTo of nothing = %d", got)
	}
	client := serve(t, 30, whole([]wireBatch{{first: 0, last: 29}}, -1))
	b, err := logSource(t, client, 0).Read(t.Context())
	if err != nil || b.Through != bridge.OffsetPosition(29) {
		t.Fatalf("Read of a batch without records: %+v, %v; want Through 29: has sarama renamed recordsNextOffset?", b, err)
	}
}

// A told record is what the model of a scan knows.
type told struct {
	offset int64
	fate   kafkastream.Fate
	value  string
}

// A history writes transactions and plain records to one partition and remembers what
// became of them.
type history struct {
	t       *testing.T
	client  *kafkastream.Client
	topic   string
	addrs   []string
	plain   *kgo.Client
	end     int64 // of the log
	records []*told
	markers map[*told]int64
	open    map[string]*txn
	pool    map[string]*kgo.Client
}

type txn struct {
	producer *kgo.Client
	records  []*told
}

func (h *history) write(p *kgo.Client) *told {
	r := &kgo.Record{Topic: h.topic, Value: []byte(fmt.Sprint("v", len(h.records)))}
	produce(h.t, p, r)
	h.end = r.Offset + 1
	one := &told{offset: r.Offset, value: string(r.Value)}
	h.records = append(h.records, one)
	return one
}

func (h *history) step(rng *rand.Rand) {
	id := fmt.Sprint(h.topic, "-", rng.IntN(3))
	tx := h.open[id]
	switch roll := rng.IntN(10); {
	case roll < 3:
		h.write(h.plain)
	case tx == nil:
		p := h.pool[id]
		if p == nil {
			p = producer(h.t, h.addrs, kgo.TransactionalID(id))
			h.pool[id] = p
		}
		if err := p.BeginTransaction(); err != nil {
			h.t.Fatal(err)
		}
		h.open[id] = &txn{producer: p}
	case roll < 8:
		tx.records = append(tx.records, h.write(tx.producer))
	default:
		h.finish(id, tx, rng.IntN(2) == 0)
	}
}

// finish ends a transaction and waits for its marker, which comes after the answer.
func (h *history) finish(id string, tx *txn, commit bool) {
	delete(h.open, id)
	if err := tx.producer.EndTransaction(h.t.Context(), kgo.TransactionEndTry(commit)); err != nil {
		h.t.Fatal(err)
	}
	if len(tx.records) == 0 {
		return // nothing was written, so nothing is marked
	}
	for end := h.end; h.end == end; {
		_, hw, _, err := h.client.Offsets(h.t.Context(), h.topic, 0)
		if err != nil {
			h.t.Fatal(err)
		}
		h.end = hw
	}
	for _, r := range tx.records {
		h.markers[r] = h.end - 1
		if commit {
			r.fate = kafkastream.Committed
		} else {
			r.fate = kafkastream.Undecided + 1
		}
	}
}

// want is what a scan of [from, to) has to yield while the last stable offset is stable.
func (h *history) want(from, to, stable int64) []told {
	var out []told
	inTxn := map[*told]bool{}
	for _, tx := range h.open {
		for _, r := range tx.records {
			inTxn[r] = true
		}
	}
	for _, r := range h.records {
		marker, marked := h.markers[r]
		switch {
		case r.offset < from || r.offset >= to:
		case inTxn[r], marked && r.offset >= stable && marker >= to:
			out = append(out, told{r.offset, kafkastream.Undecided, r.value})
		case r.fate == kafkastream.Committed:
			out = append(out, *r)
		}
	}
	return out
}

func TestScanJudgesTransactions(t *testing.T) {
	runs := 6
	if s := os.Getenv("RUNS"); s != "" {
		runs, _ = strconv.Atoi(s)
	}
	addrs := brokers(t)
	client := dial(t, kafkastream.Config{Brokers: addrs})
	for range runs {
		seed := uint64(time.Now().UnixNano())
		rng := rand.New(rand.NewPCG(seed, 0))
		h := &history{
			t: t, client: client, addrs: addrs, topic: topic(t, client, 1, nil), plain: producer(t, addrs),
			markers: map[*told]int64{}, open: map[string]*txn{}, pool: map[string]*kgo.Client{},
		}
		for range 60 {
			h.step(rng)
		}
		_, hw, stable, err := client.Offsets(t.Context(), h.topic, 0)
		if err != nil {
			t.Fatal(err)
		}
		for try := range 12 {
			from, to := int64(-1), hw
			if try > 0 {
				from = rng.Int64N(hw + 1)
				to = from + rng.Int64N(hw-from+1)
			}
			got := scanned(t, client, h.topic, from, to, kafkastream.ScanCommitted)
			if diff := cmp.Diff(h.want(from, to, stable), got, cmp.AllowUnexported(told{})); diff != "" {
				t.Fatalf("seed %d: scan of [%d, %d), stable up to %d (-want +got):\n%s", seed, from, to, stable, diff)
			}
			if all := scanned(t, client, h.topic, from, to, kafkastream.ScanAll); len(all) < len(got) {
				t.Fatalf("seed %d: scan of all yields %d, less than the committed %d", seed, len(all), len(got))
			}
		}
		for id, tx := range h.open { // so that the next run is not held up
			h.finish(id, tx, false)
		}
	}
}

func scanned(t *testing.T, client *kafkastream.Client, topic string, from, to int64, mode kafkastream.ScanMode) []told {
	t.Helper()
	var out []told
	for r, err := range client.Scan(t.Context(), topic, 0, from, to, mode) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, told{r.Offset, r.Fate, string(r.Value)})
	}
	return out
}

func TestScanTellsGaps(t *testing.T) {
	addrs := brokers(t)
	client := dial(t, kafkastream.Config{Brokers: addrs})
	name := topic(t, client, 1, nil)
	fill(t, addrs, name, 10, time.Now())
	trim(t, addrs, name, 6)
	tests := []struct{ from, to, after, before int64 }{
		{2, 10, 1, 6},
		{7, 12, 9, 12},
		{12, 13, 9, 12},
	}
	for _, tt := range tests {
		var last error
		for _, err := range client.Scan(t.Context(), name, 0, tt.from, tt.to, kafkastream.ScanCommitted) {
			last = err
		}
		var gap *bridge.GapError
		if !errors.As(last, &gap) || gap.After != bridge.OffsetPosition(tt.after) || gap.Before != bridge.OffsetPosition(tt.before) {
			t.Errorf("scan of [%d, %d) of a log [6, 10): %v, want a gap behind %d up to %d", tt.from, tt.to, last, tt.after, tt.before)
		}
	}
	if got := scanned(t, client, name, -1, 10, kafkastream.ScanAll); len(got) != 4 {
		t.Errorf("scan from the beginning: %d records, want 4", len(got))
	}
	if got := scanned(t, client, name, 10, 10, kafkastream.ScanCommitted); len(got) != 0 {
		t.Errorf("scan of nothing: %v", got)
	}
}

func TestScanStopsWhenAsked(t *testing.T) {
	addrs := brokers(t)
	client := dial(t, kafkastream.Config{Brokers: addrs})
	name := topic(t, client, 1, nil)
	fill(t, addrs, name, 10, time.Now())
	seen := 0
	for _, err := range client.Scan(t.Context(), name, 0, 0, 10, kafkastream.ScanAll) {
		if err != nil {
			t.Fatal(err)
		}
		if seen++; seen == 3 {
			break
		}
	}
	if seen != 3 {
		t.Errorf("saw %d records, want 3", seen)
	}
}
