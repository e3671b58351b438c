package metrics_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/kinesis-msk-bridge/bridge/metrics"
	"github.com/kinesis-msk-bridge/bridge/verify"
)

func witnessed(t *testing.T, w *metrics.Witness, host string) (map[string]*dto.MetricFamily, int) {
	t.Helper()
	out := httptest.NewRecorder()
	w.Handler().ServeHTTP(out, httptest.NewRequest(http.MethodGet, "http://"+host+"/metrics", nil))
	if out.Code != http.StatusOK {
		return nil, out.Code
	}
	f, _ := families(t, out)
	return f, out.Code
}

// A verify run exports each name of the list and no other, with what it said of itself.
func TestWitness(t *testing.T) {
	w := metrics.NewWitness(metrics.Config{Direction: "kinesis-to-kafka", Stream: "orders", Topic: "orders", Version: "v1"})
	now := time.Now()
	w.Note(verify.Progress{
		SourceRecords: 20, TargetRecords: 19, SourceBytes: 200, TargetBytes: 190, SourceLeft: 50, TargetLeft: -1, Left: 3 * time.Second, Stalls: 2,
		Findings: verify.Findings{Missing: 4}, Sweep: &verify.Sweep{Rounds: 5, EndedAt: now},
		Through: []verify.Through{{Partition: "idle", Time: now.Add(-time.Hour)}, {Partition: "busy", Time: now.Add(-time.Minute), Oldest: now.Add(-30 * time.Second)}},
	})
	f, _ := witnessed(t, w, "127.0.0.1:9465")
	for _, c := range []struct {
		name, label string
		low, high   float64
	}{
		{"bridge_verify_lag_seconds", "idle", 0, 0},
		{"bridge_verify_lag_seconds", "busy", 30, 40},
		{"bridge_verify_through_timestamp_seconds", "idle", float64(now.Unix()) - 3601, float64(now.Unix()) - 3599},
		{"bridge_verify_findings", "missing", 4, 4},
		{"bridge_verify_findings", "extra", 0, 0},
		{"bridge_verify_records_total", "target", 19, 19},
		{"bridge_verify_left_bytes", "source", 50, 50},
		{"bridge_verify_left_seconds", "", 3, 3},
		{"bridge_verify_stalled_partitions", "", 2, 2},
		{"bridge_verify_sweeps_total", "", 5, 5},
	} {
		if v := value(t, f, c.name, c.label); v < c.low || v > c.high {
			t.Errorf("%s %s is %g, want %g to %g", c.name, c.label, v, c.low, c.high)
		}
	}
	if n := len(f["bridge_verify_left_bytes"].GetMetric()); n != 1 {
		t.Errorf("%d sides say what is left, want the one that knows", n)
	}
	sameNames(t, f, witnessNames)
	if _, code := witnessed(t, w, "rebound.example.com"); code != http.StatusForbidden {
		t.Errorf("a request to another host is answered with %d", code)
	}
}
