//go:build integration

package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kinesis-msk-bridge/bridge/integration/checker"
	"github.com/kinesis-msk-bridge/bridge/internal/dynamotest"
)

// The position index that a mirror leaves is as dense as the bound of plan's reading rests
// on: of no partition of the topic do more than 1,000 records stand between two entries.
// And plan reads no more than that.
func TestIntegrationIndexIsDense(t *testing.T) {
	const partitions, most = 12, 1000
	rows := many(t, scaled(2_000_000))
	srv := newKinesis(t, noRates)
	s, err := srv.CreateStream("source", 12)
	if err != nil {
		t.Fatal(err)
	}
	feed(t.Context(), t, s, rows, 0)
	j := newJob(t, toKafka, srv, "source", unique("dense"))
	d, err := dynamotest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	m := &moving{t: t, j: j, app: unique("app"), group: unique("group")}
	j.more = fmt.Sprintf("dynamodb: {endpoint_url: \"%s\"}\nconsumers:\n- {name: billing, kcl_application: %s, group: %s}\n", d.URL(), m.app, m.group)
	// Halves of it are carried by two processes, of which the first is stopped as people do.
	c := j.mirror("state")
	c.until("the first half", func(p progress) bool { return p.Written >= int64(len(rows)/2) })
	c.drain()
	j.catchUp("state")
	entries, widest := m.spacing()
	m.halfConsumed(d, s)
	began := time.Now()
	p := m.offsets(0, "plan", "--count-limit", "0")
	t.Logf("figures: position index of %d records, 12 shards, %d partitions, one restart: %d entries, at most %d records of a partition between two; plan read %d records to find the positions (bound %d) in %s",
		len(rows), partitions, entries, widest, p.Result.Read, partitions*(most+40), time.Since(began).Round(time.Millisecond))
	if widest > most || p.Result.Read > partitions*(most+40) {
		t.Errorf("%d records between two entries, %d read by plan", widest, p.Result.Read)
	}
	m.withoutIndex(len(rows), p.Result.New)
}

// withoutIndex makes the plan again with no index: it is the same, and says how much it is
// going to read before it does.
func (m *moving) withoutIndex(records int, want any) {
	m.t.Helper()
	if _, err := kadm.NewClient(dial(m.t, m.j.brokers)).DeleteTopics(m.t.Context(), "bridge."+m.j.workflow+".index"); err != nil {
		m.t.Fatal(err)
	}
	c := m.j.start("offsets", "plan", "--config", m.j.config("state"), "--count-limit", "0")
	if code := c.wait(2 * time.Minute); code != 0 {
		m.t.Fatalf("exit %d\n%s", code, c.stderr())
	}
	var p planned
	var said struct {
		AtMost int64 `json:"records_at_most"`
		Index  int   `json:"index_entries"`
	}
	for line := range strings.Lines(c.stderr()) {
		if strings.Contains(line, "records_at_most") && json.Unmarshal([]byte(line), &said) != nil {
			m.t.Fatal(line)
		}
	}
	if err := json.Unmarshal(c.out.Bytes(), &p); err != nil {
		m.t.Fatal(err)
	}
	m.t.Logf("without the index: said that it reads at most %d records, and read %d", said.AtMost, p.Result.Read)
	if said.AtMost < p.Result.Read || said.AtMost < int64(records) || said.AtMost > int64(records)*11/10 || fmt.Sprint(p.Result.New) != fmt.Sprint(want) {
		m.t.Errorf("said at most %d, read %d; positions\n%v, want\n%v", said.AtMost, p.Result.Read, p.Result.New, want)
	}
}

// many are n rows with flights' keys and short values.
func many(t *testing.T, n int) []checker.Row {
	t.Helper()
	out := make([]checker.Row, n)
	keys := rowsOf(t, 5000)
	for i := range out {
		out[i] = checker.Row{N: i, Key: keys[i%len(keys)].Key, Value: strconv.AppendInt(nil, int64(i), 10)}
	}
	return out
}

// spacing reads the index with a client of its own: how many entries it has, and how many
// records at most stand between two of one partition, the beginning of the partition or
// its end.
func (m *moving) spacing() (entries int, widest int64) {
	m.t.Helper()
	places := map[string][]int64{}
	c := dial(m.t, m.j.brokers, kgo.ConsumeTopics("bridge."+m.j.workflow+".index"), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())
	adm := kadm.NewClient(c)
	ends, err := adm.ListCommittedOffsets(m.t.Context(), "bridge."+m.j.workflow+".index", m.j.topic)
	if err != nil {
		m.t.Fatal(err)
	}
	end, _ := ends.Lookup("bridge."+m.j.workflow+".index", 0)
	ctx, cancel := context.WithTimeout(m.t.Context(), time.Minute)
	defer cancel()
	for at := int64(-1); at < end.Offset-1; {
		f := c.PollFetches(ctx)
		if err := f.Err(); err != nil {
			m.t.Fatal(err)
		}
		f.EachRecord(func(r *kgo.Record) {
			at = r.Offset
			if r.Attrs.IsControl() {
				return
			}
			var e struct {
				Body struct{ Partition, Position string } `json:"body"`
			}
			if err := json.Unmarshal(r.Value, &e); err != nil {
				m.t.Fatal(err)
			}
			n, err := strconv.ParseInt(e.Body.Position, 10, 64)
			if err != nil {
				m.t.Fatal(err)
			}
			entries++
			places[e.Body.Partition] = append(places[e.Body.Partition], n)
		})
	}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Topic != m.j.topic {
			return
		}
		list := append(places[strconv.Itoa(int(o.Partition))], o.Offset-1)
		slices.Sort(list)
		last := int64(-1)
		for _, at := range list {
			widest, last = max(widest, at-last), at
		}
	})
	return entries, widest
}
