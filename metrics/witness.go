package metrics

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kinesis-msk-bridge/bridge/verify"
)

// A Witness shows a verify run to Prometheus. It is a prometheus.Collector and safe for
// concurrent use.
type Witness struct {
	config Config
	descs  witnessDescs

	mu   sync.Mutex
	last verify.Progress
}

// A witnessDescs has every metric of a verify run.
type witnessDescs struct {
	build, verified, lag, findings, records, bytes, left, eta, stalled, sweeps, sweepEnd *prometheus.Desc
}

// NewWitness returns a Witness of a run that has read nothing yet. Of c only the names and
// the version are used.
func NewWitness(c Config) *Witness {
	ends := prometheus.Labels{"direction": c.Direction, "stream": c.Stream, "topic": c.Topic}
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, ends)
	}
	return &Witness{config: c, descs: witnessDescs{
		build:    prometheus.NewDesc("bridge_build_info", "1, with the version of the program.", []string{"version", "goversion"}, nil),
		verified: desc("bridge_verify_through_timestamp_seconds", "Time of the record up to which all of a source partition is verified. Continuous runs only; absent before the first.", "partition"),
		lag:      desc("bridge_verify_lag_seconds", "Age of the oldest record of a source partition that is not verified; 0 if all are. Continuous runs only.", "partition"),
		findings: desc("bridge_verify_findings", "Differences that were confirmed so far.", "class"),
		records:  desc("bridge_verify_records_total", "Records that were read, since the run began.", "side"),
		bytes:    desc("bridge_verify_bytes_total", "Bytes of keys, values and headers that were read, second looks and sweeps included, since the run began.", "side"),
		left:     desc("bridge_verify_left_bytes", "About how much is still to be read. Absent where nobody can tell.", "side"),
		eta:      desc("bridge_verify_left_seconds", "How long that takes at the rate so far. Absent where nobody can tell."),
		stalled:  desc("bridge_verify_stalled_partitions", "Partitions of either side that have given nothing for a minute although they are not at their end."),
		sweeps:   desc("bridge_verify_sweeps_total", "How often all that was verified was read again. Continuous runs only."),
		sweepEnd: desc("bridge_verify_sweep_end_timestamp_seconds", "When the last sweep ended. Absent before the first."),
	}}
}

// Note takes what the run says of itself.
func (w *Witness) Note(p verify.Progress) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last = p
}

// Describe implements prometheus.Collector.
func (w *Witness) Describe(ch chan<- *prometheus.Desc) {
	d := &w.descs
	for _, desc := range []*prometheus.Desc{d.build, d.verified, d.lag, d.findings, d.records, d.bytes, d.left, d.eta, d.stalled, d.sweeps, d.sweepEnd} {
		ch <- desc
	}
}

// Collect implements prometheus.Collector.
func (w *Witness) Collect(ch chan<- prometheus.Metric) {
	w.mu.Lock()
	p := w.last
	w.mu.Unlock()
	d, now := &w.descs, time.Now()
	gauge := func(desc *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, v, labels...)
	}
	counter := func(desc *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, v, labels...)
	}
	gauge(d.build, 1, w.config.Version, runtime.Version())
	for class, n := range p.Findings.ByClass() {
		gauge(d.findings, float64(n), string(class))
	}
	for _, s := range []struct {
		side                 string
		records, bytes, left int64
	}{{"source", p.SourceRecords, p.SourceBytes, p.SourceLeft}, {"target", p.TargetRecords, p.TargetBytes, p.TargetLeft}} {
		counter(d.records, float64(s.records), s.side)
		counter(d.bytes, float64(s.bytes), s.side)
		if s.left >= 0 {
			gauge(d.left, float64(s.left), s.side)
		}
	}
	if p.Left > 0 {
		gauge(d.eta, p.Left.Seconds())
	}
	gauge(d.stalled, float64(p.Stalls))
	for i := range p.Through {
		t := &p.Through[i]
		gauge(d.lag, t.Lag(now).Seconds(), t.Partition)
		if !t.Time.IsZero() {
			gauge(d.verified, seconds(t.Time), t.Partition)
		}
	}
	if p.Sweep == nil {
		return
	}
	counter(d.sweeps, float64(p.Sweep.Rounds))
	if !p.Sweep.EndedAt.IsZero() {
		gauge(d.sweepEnd, seconds(p.Sweep.EndedAt))
	}
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

// Serve answers /metrics and /healthz on this machine only. It begins to listen and
// returns at once. Close must be called.
func (w *Witness) Serve(ctx context.Context, address string) (*Server, error) {
	return serve(ctx, address, w.Handler())
}

// Handler answers what a Server answers.
func (w *Witness) Handler() http.Handler {
	mux := newMux(w)
	mux.HandleFunc("GET /healthz", func(out http.ResponseWriter, _ *http.Request) { fmt.Fprintln(out, "ok") })
	return guarded(mux)
}
