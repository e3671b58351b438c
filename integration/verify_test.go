//go:build integration

package integration

import (
	"bufio"
	"context"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kinesis-msk-bridge/bridge/integration/checker"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
)

// What a continuous run is given, and what follows of it.
const (
	verifySettle = 2 * time.Second
	verifyWindow = 8 * time.Second
	// comeBack is how long a mirror that was killed takes to write again: it waits put_timeout,
	// and looks for what it had under way.
	comeBack = 4 * time.Second
	mostLag  = verifySettle + 2*verifyWindow + comeBack
)

// A verified is what verify run and verify show print.
type verified struct {
	Result struct {
		Run     string `json:"run"`
		Verdict string `json:"verdict"`
		State   string `json:"state"`
		Totals  struct {
			Source  string `json:"source_records"`
			Target  string `json:"target_records"`
			Repeats string `json:"repeats"`
			Balance string `json:"balance"`
		} `json:"totals"`
		Findings map[string]int64 `json:"findings"`
		Samples  []struct {
			Class  string `json:"class"`
			Reason string `json:"reason"`
			Source struct {
				Partition string `json:"partition"`
				Position  string `json:"position"`
			} `json:"source"`
		} `json:"samples"`
		Coverage struct {
			Percent float64 `json:"percent"`
		} `json:"coverage"`
		Order struct {
			Coverage string `json:"coverage"`
		} `json:"order"`
		Root string `json:"root"`
	} `json:"result"`
}

func (c *child) verified() (v verified) {
	c.t.Helper()
	if err := json.Unmarshal(c.out.Bytes(), &v); err != nil {
		c.t.Fatalf("the result is not JSON: %v\n%s\n%s", err, c.out.String(), c.stderr())
	}
	return v
}

// A scraper asks a verify run for its metrics.
type scraper struct {
	c   *child
	url string
}

var metricsURL = regexp.MustCompile(`"metrics":"(http://[^"]+)"`)

func scrapes(c *child) *scraper {
	s := &scraper{c: c}
	waitFor(c.t, "address of the metrics", func() bool {
		if m := metricsURL.FindStringSubmatch(c.stderr()); m != nil {
			s.url = m[1]
		}
		return s.url != ""
	})
	return s
}

// values are the samples of a metric, by the last of their labels.
func (s *scraper) values(ctx context.Context, name string) map[string]float64 {
	out := map[string]float64{}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		s.c.t.Error(err)
		return out
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		if ctx.Err() == nil {
			s.c.t.Errorf("scrape: %v\n%s", err, s.c.stderr())
		}
		return out
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		line := lines.Text()
		if !strings.HasPrefix(line, name+"{") {
			continue
		}
		at := strings.LastIndex(line, "} ")
		label := ""
		for _, l := range strings.Split(line[len(name)+1:at], ",") {
			if k, v, _ := strings.Cut(l, "="); k == "partition" || k == "class" || k == "side" {
				label = strings.Trim(v, `"`)
			}
		}
		if out[label], err = strconv.ParseFloat(line[at+2:], 64); err != nil {
			s.c.t.Error(err)
		}
	}
	return out
}

// differences adds up the classes that make a run inconsistent.
func (s *scraper) differences(ctx context.Context) (n float64) {
	f := s.values(ctx, "bridge_verify_findings")
	for _, class := range []string{"missing", "extra", "corrupt", "reordered", "misrouted"} {
		n += f[class]
	}
	return n
}

// lags samples how far the watermarks are behind, until stop is called.
func (s *scraper) lags(ctx context.Context) (stop func() (n int, worst time.Duration)) {
	ctx, cancel := context.WithCancel(ctx)
	var sampling sync.WaitGroup
	n, worst := 0, time.Duration(0)
	sampling.Go(func() {
		tick := time.NewTicker(250 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			for _, v := range s.values(ctx, "bridge_verify_lag_seconds") {
				n++
				worst = max(worst, time.Duration(v*float64(time.Second)))
			}
			if d := s.differences(ctx); d > 0 {
				s.c.t.Errorf("a false alarm: %v differences", d)
				return
			}
		}
	})
	return func() (int, time.Duration) {
		cancel()
		sampling.Wait()
		return n, worst
	}
}

// verifyBeside starts a continuous run.
func (j *job) verifyBeside() (*child, *scraper) {
	c := j.start("verify", "run", "--continuous", "--config", j.config("state"), "--settle", verifySettle.String(), "--window", verifyWindow.String(),
		"--sweep-every", "6s", "--listen", "127.0.0.1:0", "--progress-interval", "200ms")
	return c, scrapes(c)
}

// until waits for as much as the figures of a run say.
func (s *scraper) until(what string, patience time.Duration, reached func() bool) {
	s.c.t.Helper()
	limit := time.After(patience)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for !reached() {
		select {
		case <-tick.C:
		case <-s.c.done:
			s.c.t.Fatalf("verify ended (%d) before %s\n%s", s.c.code, what, s.c.stderr())
		case <-limit:
			s.c.t.Fatalf("no %s in %s\n%s", what, patience, s.c.stderr())
		}
	}
}

// Beside a mirror at full speed, whose source or target is split and that is killed with
// -9, a continuous run raises no alarm, and its watermarks keep up.
func TestIntegrationVerifyBesideAMirrorToKafka(t *testing.T) {
	f, _, rng := prove(t, "splits and kill -9 of the mirror beside verify run --continuous, kinesis to kafka", 1, 81)
	srv := newKinesis(t, noRates)
	s, err := srv.CreateStream("source", 2)
	if err != nil {
		t.Fatal(err)
	}
	j := newJob(t, toKafka, srv, "source", unique("beside"))
	b := beside{t: t, j: j, rng: rng, reshard: &resharding{t: t, rng: rng, srv: srv, s: s}}
	j.more += "checkpoint_interval: 200ms\n"
	b.whileFed(func(ctx context.Context) int { return feed(ctx, t, s, besideRows(t), besideRate) })
	b.kept(f)
}

// The same to Kinesis; and then a record is lost behind the watermark of the run, and
// another one before it was read: both are told, by their coordinates.
func TestIntegrationVerifyBesideAMirrorToKinesis(t *testing.T) {
	f, _, rng := prove(t, "the same, kafka to kinesis, and two records lost, one behind the watermark", 1, 82)
	srv := newKinesis(t, noRates)
	topic := unique("beside")
	createTopic(t, bench.kafka.Brokers(), topic, 6)
	j := newJob(t, toKinesis, srv, "target", topic)
	j.more += "checkpoint_interval: 200ms\n"
	b := beside{t: t, j: j, rng: rng}
	b.created = func() {
		b.reshard = &resharding{t: t, rng: rng, srv: srv, s: srv.Stream("target")}
	}
	b.whileFed(func(ctx context.Context) int {
		return produce(ctx, t, bench.kafka.Brokers(), topic, besideRows(t), 6, besideRate)
	})
	b.kept(f)
	lost := []string{b.loseAhead(srv.Stream("target"), topic), b.loseBehind(srv.Stream("target"))}
	began := time.Now()
	b.see.until("word of both losses", time.Minute, func() bool { return b.see.values(t.Context(), "bridge_verify_findings")["missing"] == 2 })
	f.print("both losses told after %s", time.Since(began).Round(100*time.Millisecond))
	b.mirror.drain()
	b.verify.drain()
	res := b.verify.verified().Result
	if res.Verdict != "inconsistent" || len(res.Samples) < 2 {
		t.Fatalf("%s, told %+v", res.Verdict, res.Samples)
	}
	for _, value := range lost {
		found := false
		for _, sample := range res.Samples {
			found = found || sample.Class == "missing" && valueAt(t, topic, sample.Source.Partition, sample.Source.Position) == value
		}
		if !found {
			t.Errorf("a lost record is not told by its coordinate: %+v", res.Samples)
		}
	}
}

// besideRate is about what a mirror does here beside brokers, verify and the test.
const besideRate = 1500

// besideRows are more rows than a test lasts.
func besideRows(t *testing.T) []checker.Row { return slices.Repeat(rowsOf(t, 20_000), 20) }

// A beside is a mirror and a verify run that goes on beside it.
type beside struct {
	t       *testing.T
	j       *job
	rng     *rand.Rand
	reshard *resharding
	created func() // once the mirror has made its target
	mirror  *child
	verify  *child
	see     *scraper
	fed     int
	kills   int
	samples int
	worst   time.Duration
}

// whileFed lets records come, splits, and kills the mirror, and samples the watermarks.
func (b *beside) whileFed(rows func(context.Context) int) {
	b.t.Helper()
	b.mirror = b.j.mirror("state")
	b.mirror.until("the first word", func(p progress) bool { return p.Msg != "" })
	if b.created != nil {
		b.created()
	}
	ctx, enough := context.WithCancel(b.t.Context())
	var feeding sync.WaitGroup
	feeding.Go(func() { b.fed = rows(ctx) })
	defer feeding.Wait()
	defer enough()
	b.mirror.until("records", func(p progress) bool { return p.Read > 500 })
	b.verify, b.see = b.j.verifyBeside()
	b.see.until("the first watermark", time.Minute, func() bool { return len(b.see.values(b.t.Context(), "bridge_verify_through_timestamp_seconds")) > 0 })
	stop := b.see.lags(b.t.Context())
	for range 5 {
		at := b.mirror.at().Read
		b.mirror.until("more records", func(p progress) bool { return p.Read > at+2500 })
		b.reshard.once()
		at = b.mirror.at().Read
		b.mirror.until("more records", func(p progress) bool { return p.Read > at+700 })
		b.mirror.kill()
		b.kills++
		b.mirror = b.j.mirror("state")
	}
	b.samples, b.worst = stop()
}

// kept prints what was sampled and holds it against the bound.
func (b *beside) kept(f *figures) {
	b.t.Helper()
	f.runs++
	f.sum.Records += b.fed
	f.print("kills %d, reshards %d, %d samples of the lag, at most %s of %s, false alarms 0", b.kills, b.reshard.n, b.samples, b.worst.Round(100*time.Millisecond), mostLag)
	if b.worst > mostLag || b.samples < 40 {
		b.t.Errorf("the watermark was %s behind in %d samples, want at most %s", b.worst, b.samples, mostLag)
	}
}

// loseAhead lets a record vanish before verify has read it, and returns its value.
func (b *beside) loseAhead(s *kinesistest.Stream, topic string) string {
	b.t.Helper()
	b.verify.signal(syscall.SIGSTOP)
	defer b.verify.signal(syscall.SIGCONT)
	more := rowsOf(b.t, 200)
	for i := range more {
		more[i].Value = append([]byte("ahead "), more[i].Value...)
	}
	produce(b.t.Context(), b.t, bench.kafka.Brokers(), topic, more, 6, 0)
	lost := ""
	waitFor(b.t, "record that verify has not read", func() bool {
		for _, shard := range s.Shards() {
			list, err := s.Records(shard.ID)
			if err != nil {
				b.t.Fatal(err)
			}
			if n := len(list); n > 0 && strings.HasPrefix(string(list[n-1].Data), "ahead ") {
				lost = string(list[n-1].Data)
				if err := s.Drop(shard.ID, n-1); err != nil {
					b.t.Fatal(err)
				}
				return true
			}
		}
		return false
	})
	return lost
}

// loseBehind lets a record vanish that was verified long ago.
func (b *beside) loseBehind(s *kinesistest.Stream) string {
	b.t.Helper()
	for _, shard := range s.Shards() {
		list, err := s.Records(shard.ID)
		if err != nil {
			b.t.Fatal(err)
		}
		if len(list) < 100 || !shard.Closed {
			continue
		}
		if err := s.Drop(shard.ID, 50); err != nil {
			b.t.Fatal(err)
		}
		return string(list[50].Data)
	}
	b.t.Fatal("no closed shard with records")
	return ""
}

// valueAt reads one record of a topic by another client.
func valueAt(t *testing.T, topic, partition, position string) string {
	t.Helper()
	p, err1 := strconv.Atoi(partition)
	offset, err2 := strconv.ParseInt(position, 10, 64)
	if err1 != nil || err2 != nil {
		t.Fatalf("%s/%s is no place of a topic", partition, position)
	}
	c := dial(t, bench.kafka.Brokers(), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {int32(p): kgo.NewOffset().At(offset)}}))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		f := c.PollFetches(ctx)
		if err := f.Err(); err != nil {
			t.Fatal(err)
		}
		for it := f.RecordIter(); !it.Done(); {
			if r := it.Next(); r.Offset == offset {
				return string(r.Value)
			}
		}
	}
}
