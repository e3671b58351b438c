// Package deploy_test holds alarms.yaml and dashboard.json against what the program
// exports: each name, each label and each value of a label that they count on is one of a
// real registry, and each alarm fires on the history that it is for and on no healthy one.
package deploy_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/metrics"
	"github.com/kinesis-msk-bridge/bridge/mirror"
	"github.com/kinesis-msk-bridge/bridge/verify"
)

// ends are the labels that every metric of a workflow has.
var ends = metrics.Config{Direction: "kinesis-to-kafka", Stream: "orders", Topic: "orders-v2", Version: "v1"}

// A series is a metric that is exported: its kind, and the values of each label that were seen.
type series struct {
	kind   dto.MetricType
	labels map[string][]string
}

// open are labels of which any value can come; of all others those that were seen are all.
var open = []string{"direction", "stream", "topic", "partition", "version", "goversion", "job", "instance", "le"}

// informed are a mirror and a verify run that know all there is to know.
func informed() []prometheus.Collector {
	now := time.Now()
	e := metrics.New(ends)
	e.KeepsFor(24 * time.Hour)
	e.Hooks().Checkpoint(bridge.Checkpoint{At: now})
	e.Follow(func() mirror.Progress {
		return mirror.Progress{Source: bridge.Identity{Name: "orders"}, Partitions: []mirror.PartitionProgress{
			{Row: bridge.Row{Partition: "0"}, Asked: now},
		}}
	})
	w := metrics.NewWitness(ends)
	w.Note(verify.Progress{
		Left: time.Minute, Sweep: &verify.Sweep{EndedAt: now}, Through: []verify.Through{{Partition: "0", Time: now}},
	})
	return []prometheus.Collector{e, w}
}

// exported is all that a mirror and a verify run export, by name.
func exported(t *testing.T) map[string]series {
	t.Helper()
	out := map[string]series{}
	for _, c := range informed() {
		families := gather(t, c)
		described := make(chan *prometheus.Desc, 100)
		c.Describe(described)
		if len(families) != len(described) {
			t.Fatalf("%T shows %d of %d metrics: its state here does not know all there is to know", c, len(families), len(described))
		}
		for _, f := range families {
			note(out, f)
		}
	}
	return out
}

func gather(t *testing.T, c prometheus.Collector) []*dto.MetricFamily {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(c)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// note adds a family under the names of its series; those of a histogram are three.
func note(out map[string]series, f *dto.MetricFamily) {
	s := series{f.GetType(), map[string][]string{"job": nil, "instance": nil}}
	for _, m := range f.GetMetric() {
		for _, l := range m.GetLabel() {
			s.labels[l.GetName()] = append(s.labels[l.GetName()], l.GetValue())
		}
	}
	if s.kind != dto.MetricType_HISTOGRAM {
		out[f.GetName()] = s
		return
	}
	for _, suffix := range []string{"_sum", "_count"} {
		out[f.GetName()+suffix] = s
	}
	with := series{s.kind, map[string][]string{"le": nil}}
	for name, values := range s.labels {
		with.labels[name] = values
	}
	out[f.GetName()+"_bucket"] = with
}

// checkExpr parses an expression and returns the metrics that it asks for and the labels
// that any of them has.
func checkExpr(all map[string]series, expr string) (names []string, known map[string]bool, err error) {
	e, err := parser.ParseExpr(expr)
	if err != nil {
		return nil, nil, err
	}
	var faults []string
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	names, known = under(all, e)
	parser.Inspect(e, func(n parser.Node, _ []parser.Node) error {
		switch n := n.(type) {
		case *parser.VectorSelector:
			checkSelector(all, n.LabelMatchers, fault)
		case *parser.AggregateExpr:
			checkLabels(all, n.Expr, n.Grouping, fault)
		case *parser.BinaryExpr:
			if n.VectorMatching != nil {
				checkLabels(all, n, append(slices.Clone(n.VectorMatching.MatchingLabels), n.VectorMatching.Include...), fault)
			}
		case *parser.Call:
			checkCall(all, n, fault)
		}
		return nil
	})
	if len(names) == 0 {
		fault("asks for no metric")
	}
	if len(faults) > 0 {
		return names, known, fmt.Errorf("%s", strings.Join(faults, "; "))
	}
	return names, known, nil
}

// under are the metrics that a part of an expression asks for, and their labels.
func under(all map[string]series, n parser.Node) (names []string, known map[string]bool) {
	known = map[string]bool{}
	parser.Inspect(n, func(n parser.Node, _ []parser.Node) error {
		if v, ok := n.(*parser.VectorSelector); ok {
			name := nameOf(v.LabelMatchers)
			names = append(names, name)
			for label := range all[name].labels {
				known[label] = true
			}
		}
		return nil
	})
	return names, known
}

func nameOf(matchers []*labels.Matcher) string {
	for _, m := range matchers {
		if m.Name == labels.MetricName && m.Type == labels.MatchEqual {
			return m.Value
		}
	}
	return ""
}

func checkSelector(all map[string]series, matchers []*labels.Matcher, fault func(string, ...any)) {
	name := nameOf(matchers)
	s, ok := all[name]
	if !ok {
		fault("nothing exports %q", name)
		return
	}
	for _, m := range matchers {
		values, ok := s.labels[m.Name]
		switch {
		case m.Name == labels.MetricName:
		case !ok:
			fault("%s has no label %s", name, m.Name)
		case !slices.Contains(open, m.Name):
			for _, v := range strings.Split(m.Value, "|") {
				if !slices.Contains(values, v) {
					fault("%s is never exported with %s=%q", name, m.Name, v)
				}
			}
		}
	}
}

func checkLabels(all map[string]series, n parser.Node, names []string, fault func(string, ...any)) {
	_, known := under(all, n)
	for _, name := range names {
		if !known[name] {
			fault("nothing in %s has the label %s", n, name)
		}
	}
}

// checkCall holds that only what counts up is asked for its rate.
func checkCall(all map[string]series, c *parser.Call, fault func(string, ...any)) {
	if c.Func.Name != "rate" && c.Func.Name != "increase" {
		return
	}
	names, _ := under(all, c)
	for _, name := range names {
		if kind := all[name].kind; kind != dto.MetricType_COUNTER && kind != dto.MetricType_HISTOGRAM {
			fault("%s of %s, which is a %s", c.Func.Name, name, kind)
		}
	}
}

// What is wrong with an expression is said; otherwise no other test here is worth anything.
func TestFaultsAreFound(t *testing.T) {
	all := exported(t)
	for expr, want := range map[string]string{
		`bridge_stalled_lane > 0`:                             `nothing exports "bridge_stalled_lane"`,
		`bridge_records_total{shard="1"}`:                     `bridge_records_total has no label shard`,
		`bridge_records_total{outcome="read|writen"}`:         `bridge_records_total is never exported with outcome="writen"`,
		`sum by (op) (bridge_bytes_total)`:                    `nothing in bridge_bytes_total has the label op`,
		`bridge_paused == on (shard) bridge_partitions`:       `has the label shard`,
		`rate(bridge_paused[5m])`:                             `rate of bridge_paused, which is a GAUGE`,
		`bridge_end_to_end_lag_seconds > 1`:                   `nothing exports "bridge_end_to_end_lag_seconds"`,
		`rate(bridge_end_to_end_lag_seconds_sum{le="1"}[5m])`: `bridge_end_to_end_lag_seconds_sum has no label le`,
		`vector(1)`:                      `asks for no metric`,
		`bridge_paused >`:                `unexpected end of input`,
		`{direction="kinesis-to-kafka"}`: `nothing exports ""`,
		`increase(bridge_dead_letter_total{reason="too large"}[1h])`: `bridge_dead_letter_total is never exported with reason="too large"`,
	} {
		if _, _, err := checkExpr(all, expr); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", expr, err, want)
		}
	}
}

// Every expression of both files asks for what is exported, by labels that it has.
func TestExpressions(t *testing.T) {
	all := exported(t)
	for _, r := range alarms(t) {
		if _, _, err := checkExpr(all, r.Expr); err != nil {
			t.Errorf("%s: %v", r.Alert, err)
		}
	}
	shown := map[string]bool{"bridge_build_info": true}
	legend := regexp.MustCompile(`\{\{ *(\w+) *\}\}`)
	for _, p := range dashboard(t).Panels {
		for _, target := range p.Targets {
			names, known, err := checkExpr(all, strings.ReplaceAll(target.Expr, "$__rate_interval", "5m"))
			if err != nil {
				t.Errorf("%s: %v", p.Title, err)
			}
			for _, name := range names {
				shown[name] = true
			}
			for _, m := range legend.FindAllStringSubmatch(target.Legend, -1) {
				if !known[m[1]] {
					t.Errorf("%s: the legend names %s, which %s has not", p.Title, m[1], target.Expr)
				}
			}
		}
	}
	for name, s := range all {
		if !shown[name] && s.kind != dto.MetricType_HISTOGRAM {
			t.Errorf("no panel shows %s", name)
		}
	}
}
