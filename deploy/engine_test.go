package deploy_test

import (
	"context"
	"fmt"
	"maps"
	"math"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/template"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
)

// step is how often alarms are evaluated and metrics scraped here.
const step = time.Minute

// A sample is a value at a time, in milliseconds.
type sample struct {
	at int64
	v  float64
}

func (s sample) T() int64                      { return s.at }
func (s sample) ST() int64                     { return 0 }
func (s sample) F() float64                    { return s.v }
func (s sample) H() *histogram.Histogram       { return nil }
func (s sample) FH() *histogram.FloatHistogram { return nil }
func (s sample) Type() chunkenc.ValueType      { return chunkenc.ValFloat }
func (s sample) Copy() chunks.Sample           { return s }

// A history is what Prometheus stored of some series, by their labels as text.
type history map[string]*line

type line struct {
	labels  labels.Labels
	samples []chunks.Sample
}

func (h history) add(l labels.Labels, at time.Time, v float64) {
	if h[l.String()] == nil {
		h[l.String()] = &line{labels: l}
	}
	h[l.String()].samples = append(h[l.String()].samples, sample{at.UnixMilli(), v})
}

// count is how many values of a metric were stored.
func (h history) count(name string) (n int) {
	for _, l := range h {
		if l.labels.Get(labels.MetricName) == name {
			n += len(l.samples)
		}
	}
	return n
}

// scrape stores what c exports now, and of what it exported before and does not now that it
// is gone, as Prometheus does.
func (h history) scrape(t *testing.T, job string, c prometheus.Collector, now time.Time) {
	t.Helper()
	seen := map[string]bool{}
	put := func(name string, m *dto.Metric, v float64, more ...string) {
		b := labels.NewBuilder(labels.FromStrings(append(more, labels.MetricName, name, "job", job)...))
		for _, l := range m.GetLabel() {
			b.Set(l.GetName(), l.GetValue())
		}
		seen[b.Labels().String()] = true
		h.add(b.Labels(), now, v)
	}
	for _, f := range gather(t, c) {
		for _, m := range f.GetMetric() {
			if f.GetType() != dto.MetricType_HISTOGRAM {
				put(f.GetName(), m, m.GetGauge().GetValue()+m.GetCounter().GetValue())
			}
			for _, b := range m.GetHistogram().GetBucket() {
				put(f.GetName()+"_bucket", m, float64(b.GetCumulativeCount()), "le", fmt.Sprint(b.GetUpperBound()))
			}
		}
	}
	for key, l := range h {
		if !seen[key] && l.labels.Get("job") == job && !value.IsStaleNaN(l.samples[len(l.samples)-1].F()) {
			h.add(l.labels, now, math.Float64frombits(value.StaleNaN))
		}
	}
}

// write adds series in the notation of promtool, "name{labels} 0x10 1+2x5 _ stale", one value
// a step, with the labels that all have. One that is there already is replaced.
func (h history) write(t *testing.T, all map[string]series, begin time.Time, text ...string) {
	t.Helper()
	for _, s := range text {
		l, values, err := parser.ParseSeriesDesc(s)
		if err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		name, _, _ := strings.Cut(s, " ")
		if _, _, err := checkExpr(all, name); err != nil {
			t.Fatalf("a history of what is not exported: %v", err)
		}
		b := labels.NewBuilder(l)
		for name, v := range map[string]string{
			"direction": ends.Direction, "stream": ends.Stream, "topic": ends.Topic, "job": "bridge",
		} {
			b.Set(name, v)
		}
		delete(h, b.Labels().String())
		for i, v := range values {
			if !v.Omitted {
				h.add(b.Labels(), begin.Add(time.Duration(i)*step), v.Value)
			}
		}
	}
}

// Querier implements storage.Queryable.
func (h history) Querier(_, _ int64) (storage.Querier, error) {
	return &storage.MockQuerier{SelectMockFunction: func(_ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
		found := &set{at: -1}
		for _, key := range slices.Sorted(maps.Keys(h)) {
			l := h[key]
			if !slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return !m.Matches(l.labels.Get(m.Name)) }) {
				found.all = append(found.all, storage.NewListSeries(l.labels, l.samples))
			}
		}
		return found
	}}, nil
}

// query asks for a value at every step.
func (h history) query(t *testing.T, expr string, begin, end time.Time) promql.Matrix {
	t.Helper()
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 1e7, Timeout: time.Minute})
	q, err := engine.NewRangeQuery(t.Context(), h, nil, expr, begin, end, step)
	if err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	m, err := q.Exec(t.Context()).Matrix()
	if err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	return m
}

// A set is a storage.SeriesSet.
type set struct {
	all []storage.Series
	at  int
}

func (s *set) Next() bool                        { s.at++; return s.at < len(s.all) }
func (s *set) At() storage.Series                { return s.all[s.at] }
func (s *set) Err() error                        { return nil }
func (s *set) Warnings() annotations.Annotations { return nil }

// A firing is an alarm that went off: after how long, and what it was told then.
type firing struct {
	after  time.Duration
	labels labels.Labels
	value  float64
}

// evaluate runs alarms over a history as Prometheus does, every step, and returns for each
// that fired the first time that it did.
func evaluate(t *testing.T, h history, rules []rulefmt.Rule, begin, end time.Time) map[string]firing {
	t.Helper()
	out := map[string]firing{}
	for _, r := range rules {
		for _, s := range h.query(t, r.Expr, begin, end) {
			if p, ok := fires(s.Floats, time.Duration(r.For)); ok {
				f := firing{time.UnixMilli(p.T).Sub(begin), s.Metric, p.F}
				if first, known := out[r.Alert]; !known || f.after < first.after {
					out[r.Alert] = f
				}
			}
		}
	}
	return out
}

// fires is the first point of a series that has been there at every step for so long.
func fires(points []promql.FPoint, wait time.Duration) (promql.FPoint, bool) {
	for i, since := 0, 0; i < len(points); i++ {
		if i > 0 && points[i].T-points[i-1].T > step.Milliseconds() {
			since = i
		}
		if points[i].T-points[since].T >= wait.Milliseconds() {
			return points[i], true
		}
	}
	return promql.FPoint{}, false
}

// expand says what an alarm tells, as Prometheus does, but a label that it has not is an error.
func expand(ctx context.Context, r rulefmt.Rule, f firing) (string, error) {
	data := template.AlertTemplateData(f.labels.Map(), nil, "", promql.Sample{F: f.value})
	text := "{{ $labels := .Labels }}{{ $value := .Value }}" + r.Annotations["summary"] + "\n" + r.Annotations["description"]
	return template.NewTemplateExpander(ctx, text, r.Alert, data, 0, nil, &url.URL{}, []string{"missingkey=error"}).Expand()
}
