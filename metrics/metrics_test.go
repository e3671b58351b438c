package metrics_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	dto "github.com/prometheus/client_model/go"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/keymap"
	"github.com/kinesis-msk-bridge/bridge/metrics"
	"github.com/kinesis-msk-bridge/bridge/mirror"
	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
)

// names are all that is exported; dashboards and alarms count on them.
var names = []string{
	"bridge_build_info", "bridge_lag_seconds", "bridge_lag_records", "bridge_end_to_end_lag_seconds", "bridge_records_total", "bridge_dead_letter_total", "bridge_bytes_total",
	"bridge_inflight_records", "bridge_duplicates_suppressed_total", "bridge_checkpoint_age_seconds", "bridge_retries_total",
	"bridge_throttle_seconds_total", "bridge_retention_headroom_seconds", "bridge_blocking_parents", "bridge_waiting_partitions",
	"bridge_stalled_lanes", "bridge_partitions", "bridge_paused", "bridge_limit_records_per_second", "bridge_limit_bytes_per_second",
}

// witnessNames are those of a verify run.
var witnessNames = []string{
	"bridge_build_info", "bridge_verify_through_timestamp_seconds", "bridge_verify_lag_seconds", "bridge_verify_findings",
	"bridge_verify_records_total", "bridge_verify_bytes_total", "bridge_verify_left_bytes", "bridge_verify_left_seconds",
	"bridge_verify_stalled_partitions", "bridge_verify_sweeps_total", "bridge_verify_sweep_end_timestamp_seconds",
}

func get(e *metrics.Exporter, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	e.Handler("orders").ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://127.0.0.1:9464"+path, nil))
	return w
}

// scrape returns what is exported, and the text that Prometheus got.
func scrape(t *testing.T, e *metrics.Exporter) (map[string]*dto.MetricFamily, string) {
	t.Helper()
	return families(t, get(e, "/metrics"))
}

func families(t *testing.T, w *httptest.ResponseRecorder) (map[string]*dto.MetricFamily, string) {
	t.Helper()
	if w.Code != http.StatusOK {
		t.Fatalf("/metrics answers %d: %s", w.Code, w.Body)
	}
	text := w.Body.String()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatalf("/metrics is not what Prometheus reads: %v", err)
	}
	return families, text
}

// value is the one sample of a metric whose labels hold the value label, or any.
func value(t *testing.T, families map[string]*dto.MetricFamily, name, label string) float64 {
	t.Helper()
	for _, m := range families[name].GetMetric() {
		match := label == ""
		for _, l := range m.GetLabel() {
			match = match || l.GetValue() == label
		}
		if match {
			return m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	t.Errorf("there is no %s with %q", name, label)
	return -1
}

type byKey struct{}

func (byKey) Name() string { return "test" }
func (byKey) Route(r *bridge.Record) (keymap.Route, error) {
	return keymap.Route{Key: r.Key, Partition: fmt.Sprint(len(r.Key) % 2)}, nil
}

const canary = "canary-5f1c"

// mirrored runs a real mirror in fake time over records that hold the canary everywhere.
func mirrored(t *testing.T, see func(e *metrics.Exporter, m *mirror.Mirror, src *memstream.Stream)) {
	mirroredOf(t, memstream.Kinesis, func(r *ride) { see(r.e, r.m, r.src) })
}

// A ride is what mirroredOf runs.
type ride struct {
	e        *metrics.Exporter
	m        *mirror.Mirror
	src, dst *memstream.Stream
}

// mirroredOf is mirrored for a source of three partitions of a flavour, in pages of ten at
// most; all records of a Kafka are in one of them.
func mirroredOf(t *testing.T, flavour memstream.Flavour, see func(*ride)) {
	synctest.Test(t, func(t *testing.T) {
		src := memstream.New(memstream.Config{Flavour: flavour, Name: "source", Partitions: 3, Calm: true})
		dst := memstream.New(memstream.Config{Flavour: memstream.Kafka, Name: "target", Partitions: 2, Calm: true})
		for i := range 50 {
			rec := bridge.Record{Key: fmt.Appendf(nil, "%s-%d", canary, i), Value: []byte(canary)}
			if flavour == memstream.Kafka {
				rec.Partition = "1"
			}
			if _, err := src.Put(t.Context(), rec); err != nil {
				t.Fatal(err)
			}
		}
		src.SetFaults(tens)
		gate := &mirror.Gate{}
		e := metrics.New(metrics.Config{Direction: "kinesis-to-kafka", Stream: "orders", Topic: "orders", Gate: gate, Version: "v1"})
		m := &mirror.Mirror{
			Source: src.Source("wf"), Sink: dst.Sink(memstream.SinkConfig{Workflow: "wf", Worker: "w"}), Gate: gate,
			Checkpoints: memstream.NewCheckpoints(nil).Open(), Keys: byKey{}, Hooks: e.Hooks(),
		}
		if flavour == memstream.Kafka {
			gate.Set(mirror.Limits{RecordsPerSecond: 1})
		}
		<-time.After(10 * time.Minute)
		done := make(chan error, 1)
		go func() { done <- m.Run(t.Context()) }()
		<-time.After(30 * time.Second)
		e.Follow(m.Progress)
		e.KeepsFor(24 * time.Hour)
		see(&ride{e, m, src, dst})
		m.Drain()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
}

// tens makes pages of ten records.
func tens(memstream.Op) memstream.Fault { return memstream.Fault{Most: 10} }

// Every name that is exported is in the list and in the documentation, and every one of
// those is exported.
func TestNames(t *testing.T) {
	mirrored(t, func(e *metrics.Exporter, _ *mirror.Mirror, _ *memstream.Stream) {
		families, _ := scrape(t, e)
		page, err := os.ReadFile("../docs/metrics.md")
		if err != nil {
			t.Fatal(err)
		}
		var documented []string
		for _, m := range regexp.MustCompile("`(bridge_[a-z_]+)`").FindAllStringSubmatch(string(page), -1) {
			documented = append(documented, m[1])
		}
		for _, name := range append(documented, names...) {
			if !slices.Contains(documented, name) || !slices.Contains(names, name) {
				t.Errorf("%s is not in both the documentation and the list", name)
			}
		}
		sameNames(t, families, names)
	})
}

func sameNames(t *testing.T, families map[string]*dto.MetricFamily, names []string) {
	t.Helper()
	for _, name := range names {
		if families[name] == nil {
			t.Errorf("%s is not exported", name)
		}
		delete(families, name)
	}
	for name, f := range families {
		if !strings.HasPrefix(name, "go_") && !strings.HasPrefix(name, "process_") {
			t.Errorf("%s is exported and not in the list: %s", name, f.GetHelp())
		}
	}
}

func TestValues(t *testing.T) {
	mirrored(t, func(e *metrics.Exporter, m *mirror.Mirror, _ *memstream.Stream) {
		f, _ := scrape(t, e)
		for _, c := range []struct {
			name, label string
			low, high   float64
		}{
			{"bridge_records_total", "read", 50, 50},
			{"bridge_records_total", "written", 50, 50},
			{"bridge_records_total", "dead_lettered", 0, 0},
			{"bridge_bytes_total", "", 50 * float64(len(canary)*2+2), 50 * float64(len(canary)*2+4)},
			{"bridge_partitions", "", 3, 3},
			{"bridge_stalled_lanes", "", 0, 0},
			{"bridge_checkpoint_age_seconds", "", 1, 30},
			{"bridge_retention_headroom_seconds", "", 24*3600 - 30, 24 * 3600},
			{"bridge_paused", "", 0, 0},
		} {
			if v := value(t, f, c.name, c.label); v < c.low || v > c.high {
				t.Errorf("%s %s is %g, want %g to %g", c.name, c.label, v, c.low, c.high)
			}
		}
		h := f["bridge_end_to_end_lag_seconds"].GetMetric()[0].GetHistogram()
		if mean := h.GetSampleSum() / float64(h.GetSampleCount()); h.GetSampleCount() != 50 || mean < 600 || mean > 630 {
			t.Errorf("%d records were 10 minutes late and %g s in the mean", h.GetSampleCount(), mean)
		}
		for _, b := range h.GetBucket() {
			want := uint64(0)
			if b.GetUpperBound() > 600 {
				want = 50
			}
			if b.GetCumulativeCount() != want {
				t.Errorf("%d records within %g s, want %d", b.GetCumulativeCount(), b.GetUpperBound(), want)
			}
		}
	})
}

// A pause shows, is no stall, and the headroom shrinks while it lasts.
func TestPauseShows(t *testing.T) {
	mirrored(t, func(e *metrics.Exporter, m *mirror.Mirror, _ *memstream.Stream) {
		m.Gate.Set(mirror.Limits{Paused: true})
		<-time.After(time.Hour)
		f, _ := scrape(t, e)
		if value(t, f, "bridge_paused", "") != 1 || value(t, f, "bridge_stalled_lanes", "") != 0 {
			t.Error("a pause does not show, or counts as a stall")
		}
		if v := value(t, f, "bridge_retention_headroom_seconds", ""); v > 23*3600 || v < 23*3600-60 {
			t.Errorf("after an hour of pause the headroom is %g s of 24 hours", v)
		}
	})
}

// A source that can tell says how many records are left; a bound that lets ten records
// through in ten seconds is no stall, however long it takes.
func TestRecordsLeft(t *testing.T) {
	mirroredOf(t, memstream.Kafka, func(r *ride) {
		<-time.After(5 * time.Second) // between two pages
		f, _ := scrape(t, r.e)
		written := value(t, f, "bridge_records_total", "written")
		if left := value(t, f, "bridge_lag_records", "1"); written < 10 || written > 40 || left != 50-written {
			t.Errorf("%g records are left of 50, %g are written", left, written)
		}
		if p := r.e.Live("orders").Partitions[1]; p.BehindRecords == nil || *p.BehindRecords != 50-int64(written) {
			t.Errorf("partition %s says %v records behind, %g are written", p.Partition, p.BehindRecords, written)
		}
		r.m.Gate.Set(mirror.Limits{BytesPerSecond: 1})
		for range 20 {
			<-time.After(time.Minute)
			f, _ := scrape(t, r.e)
			if n := value(t, f, "bridge_stalled_lanes", ""); n != 0 {
				t.Fatalf("%g lanes count as stalled that a bound holds back", n)
			}
		}
		r.m.Gate.Set(mirror.Limits{})
		<-time.After(time.Minute)
		f, _ = scrape(t, r.e)
		for _, partition := range []string{"0", "1"} {
			if left := value(t, f, "bridge_lag_records", partition); left != 0 {
				t.Errorf("%g records are left of partition %s, which was read to its end", left, partition)
			}
		}
	})
}

// A bound or a pause explains that nothing is read, and nothing else: a source that does not
// answer and a target that takes nothing show all the same.
func TestBoundHidesNoStall(t *testing.T) {
	for _, limits := range []mirror.Limits{{RecordsPerSecond: 1}, {BytesPerSecond: 100}, {RecordsPerSecond: 1_000_000}} {
		mirroredOf(t, memstream.Kinesis, func(r *ride) {
			r.m.Gate.Set(limits)
			for i := range 2000 { // so that the bound holds back
				if _, err := r.src.Put(t.Context(), bridge.Record{Key: fmt.Append(nil, canary, i), Value: []byte(canary)}); err != nil {
					t.Fatal(err)
				}
			}
			silent := r.e.Live("").Partitions[1].Partition
			r.src.SetFaults(func(op memstream.Op) memstream.Fault {
				if op.Kind == memstream.OpRead && op.Partition == silent {
					return memstream.Fault{Err: bridge.ErrUnreachable}
				}
				return memstream.Fault{Most: 10}
			})
			<-time.After(10 * time.Minute)
			f, _ := scrape(t, r.e)
			if n := value(t, f, "bridge_stalled_lanes", ""); n != 1 {
				t.Errorf("bound by %+v: %g stalled lanes, one does not answer", limits, n)
			}
		})
	}
	for _, limits := range []mirror.Limits{{RecordsPerSecond: 1}, {Paused: true}} {
		mirroredOf(t, memstream.Kinesis, func(r *ride) {
			r.dst.SetFaults(func(op memstream.Op) memstream.Fault {
				if op.Kind == memstream.OpAppend {
					return memstream.Fault{Err: bridge.ErrTransient}
				}
				return memstream.Fault{}
			})
			if _, err := r.src.Put(t.Context(), bridge.Record{Key: []byte(canary), Value: []byte(canary)}); err != nil {
				t.Fatal(err)
			}
			<-time.After(10 * time.Second) // for it to be read
			r.m.Gate.Set(limits)
			<-time.After(2 * time.Minute)
			f, _ := scrape(t, r.e)
			if n := value(t, f, "bridge_stalled_lanes", ""); n != 1 {
				t.Errorf("held back by %+v: %g stalled lanes, of one the target takes nothing", limits, n)
			}
			for _, p := range r.e.Live("orders").Partitions {
				if p.Stalled && (p.CarryingSeconds < 60 || p.Trouble == nil || p.Trouble.Op != "write") {
					t.Errorf("a stalled partition is shown as %+v, %+v", p, p.Trouble)
				}
			}
			r.dst.SetFaults(nil)
			r.m.Gate.Set(mirror.Limits{})
		})
	}
}

// Dead letters count by why, and nothing of them shows.
func TestDeadLettersShow(t *testing.T) {
	e := metrics.New(metrics.Config{})
	for _, class := range []string{bridge.ClassOversize, bridge.ClassUndecodable, bridge.ClassUndecodable} {
		e.Hooks().DeadLettered(bridge.DeadLetter{Class: class, Key: []byte(canary), Reason: canary})
	}
	f, text := scrape(t, e)
	for class, want := range map[string]float64{bridge.ClassOversize: 1, bridge.ClassUndecodable: 2, bridge.ClassUnmappable: 0} {
		if n := value(t, f, "bridge_dead_letter_total", class); n != want {
			t.Errorf("%g dead letters %s, want %g", n, class, want)
		}
	}
	if strings.Contains(text, canary) {
		t.Error("a dead letter shows in the metrics")
	}
}

// A source that does not answer makes stalled lanes, with a word for why.
func TestStallShows(t *testing.T) {
	mirrored(t, func(e *metrics.Exporter, _ *mirror.Mirror, src *memstream.Stream) {
		src.SetFaults(func(op memstream.Op) memstream.Fault {
			if op.Kind == memstream.OpRead {
				return memstream.Fault{Err: bridge.ErrThrottled}
			}
			return memstream.Fault{}
		})
		<-time.After(2 * time.Minute)
		f, _ := scrape(t, e)
		if n := value(t, f, "bridge_stalled_lanes", ""); n != 3 {
			t.Errorf("%g stalled lanes of a source that throttles everything, want 3", n)
		}
		if value(t, f, "bridge_retries_total", "read") < 3 || value(t, f, "bridge_throttle_seconds_total", "") < 60 {
			t.Error("throttled reads do not show")
		}
		l := e.Live("orders")
		if p := l.Partitions[0]; !p.Stalled || p.Trouble == nil || p.Trouble.Op != "read" || p.Trouble.Class != "throttled" {
			t.Errorf("a stalled partition is shown as %+v, %+v", p, p.Trouble)
		}
		src.SetFaults(nil)
		<-time.After(10 * time.Second)
		f, _ = scrape(t, e)
		if n := value(t, f, "bridge_stalled_lanes", ""); n != 0 || len(e.Troubles()) != 0 {
			t.Errorf("%g stalled lanes once the source answers, and troubles %v", n, e.Troubles())
		}
	})
}

// Children that wait for their parent show, and so does the parent.
func TestParentsShow(t *testing.T) {
	e := metrics.New(metrics.Config{})
	e.Follow(func() mirror.Progress {
		return mirror.Progress{Source: bridge.Identity{Name: "s"}, Partitions: []mirror.PartitionProgress{
			{Row: bridge.Row{Partition: "0"}, Lag: -1},
			{Row: bridge.Row{Partition: "1"}, Lag: -1, Waiting: []string{"0"}},
			{Row: bridge.Row{Partition: "2"}, Lag: -1, Waiting: []string{"0"}},
			{Row: bridge.Row{Partition: "3", Ended: true}, Lag: -1},
		}}
	})
	f, _ := scrape(t, e)
	if b, w, n := value(t, f, "bridge_blocking_parents", ""), value(t, f, "bridge_waiting_partitions", ""), value(t, f, "bridge_partitions", ""); b != 1 || w != 2 || n != 3 {
		t.Errorf("%g parents block %g of %g partitions, want 1, 2 and 3", b, w, n)
	}
	if f["bridge_lag_seconds"] != nil {
		t.Error("a lag is exported that nobody knows")
	}
}

// No key and no value shows up, wherever one looks.
func TestCanary(t *testing.T) {
	mirrored(t, func(e *metrics.Exporter, _ *mirror.Mirror, src *memstream.Stream) {
		e.Hooks().Retry("write", "shard-0", fmt.Errorf("record %s: %w", canary, bridge.ErrTransient), time.Second)
		for _, path := range []string{"/metrics", "/progress", "/healthz", "/readyz"} {
			w := get(e, path)
			if w.Code != http.StatusOK || w.Body.Len() == 0 || strings.Contains(w.Body.String(), canary) {
				t.Errorf("%s answers %d and shows a record: %s", path, w.Code, w.Body)
			}
		}
		if len(e.Troubles()) != 1 {
			t.Error("the planted trouble is not seen at all")
		}
	})
}

func TestReady(t *testing.T) {
	e := metrics.New(metrics.Config{})
	if w := get(e, "/readyz"); w.Code != http.StatusServiceUnavailable {
		t.Errorf("a mirror that has not begun is ready: %d", w.Code)
	}
	if w := get(e, "/healthz"); w.Code != http.StatusOK {
		t.Errorf("a mirror that has not begun is not alive: %d", w.Code)
	}
	if f, _ := scrape(t, e); f["bridge_records_total"] != nil || f["bridge_duplicates_suppressed_total"] != nil || f["bridge_partitions"] == nil {
		t.Error("a mirror that has not read its checkpoint counts from zero, or shows nothing")
	}
	e.Follow(func() mirror.Progress { return mirror.Progress{Source: bridge.Identity{Name: "s"}} })
	if f, _ := scrape(t, e); len(f["bridge_records_total"].GetMetric()) != 8 || f["bridge_duplicates_suppressed_total"] == nil {
		t.Error("a mirror that has carried nothing yet does not say so")
	}
	if w := get(e, "/readyz"); w.Code != http.StatusOK {
		t.Errorf("a mirror that runs is not ready: %d %s", w.Code, w.Body)
	}
	synctest.Test(t, func(t *testing.T) {
		stuck := make(chan struct{})
		e := metrics.New(metrics.Config{})
		e.Follow(func() mirror.Progress { <-stuck; return mirror.Progress{} })
		if w := get(e, "/healthz"); w.Code != http.StatusServiceUnavailable {
			t.Errorf("a mirror that does not say how far it is counts as alive: %d", w.Code)
		}
		close(stuck)
	})
}

func TestOnlyThisMachine(t *testing.T) {
	for address, ok := range map[string]bool{
		"127.0.0.1:9464": true, "127.1.2.3:0": true, "[::1]:9464": true, "localhost:9464": true,
		"0.0.0.0:9464": false, ":9464": false, "[::]:9464": false, "10.0.0.1:9464": false, "example.com:80": false,
		"127.0.0.1": false, "127.0.0.1:http": false, "127.0.0.1:65536": false, "127.0.0.1:+1": false, "": false, "localhost.example.com:1": false,
	} {
		if err := metrics.CheckAddress(address); (err == nil) != ok {
			t.Errorf("%q gives %v, want ok %t", address, err, ok)
		}
		if ok {
			continue
		}
		if s, err := metrics.New(metrics.Config{}).Serve(t.Context(), address, "orders"); err == nil {
			t.Errorf("listens at %s for %q", s.Address(), address)
		}
	}
}

func TestServe(t *testing.T) {
	e := metrics.New(metrics.Config{})
	s, err := e.Serve(t.Context(), "127.0.0.1:0", "orders")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		host string
		want int
	}{{s.Address(), 200}, {"localhost", 200}, {"rebound.example.com", 403}, {"10.0.0.1:9464", 403}} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Address()+"/healthz", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = c.host
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, res.Body); err != nil || res.Body.Close() != nil || res.StatusCode != c.want {
			t.Errorf("a request to %q is answered with %d (%v), want %d", c.host, res.StatusCode, err, c.want)
		}
	}
	if other, err := e.Serve(t.Context(), s.Address(), "orders"); err == nil || bridge.Hint(err) == "" {
		t.Errorf("two servers have one address: %v, %v", other, err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
