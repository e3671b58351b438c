//go:build integration

package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/kinesis-msk-bridge/bridge/integration/checker"
)

// A compared is what bench verify says of one run.
type compared struct {
	Result struct {
		Verdict string  `json:"verdict"`
		Ratio   float64 `json:"ratio"`
		CPU     float64 `json:"cpu_s_per_million"`
		RSS     float64 `json:"peak_rss_mib"`
		Source  int64   `json:"source_bytes_read,string"`
		Target  int64   `json:"target_bytes_read,string"`
		Totals  struct {
			Source int64 `json:"source_records,string"`
			Target int64 `json:"target_records,string"`
		} `json:"totals"`
	} `json:"result"`
}

// benchVerify verifies so many records of 100 bytes and 100,000 keys, with servers of their
// own.
func benchVerify(t *testing.T, direction string, records int) (c compared) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, bench.bin, "bench", "verify", "--output", "json", "--direction", direction,
		"--records", fmt.Sprint(records), "--size", "100").Output()
	if err != nil {
		t.Fatalf("%s, %d records: %v\n%s", direction, records, err, out)
	}
	if err := json.Unmarshal(out, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestIntegrationVerifyAtScale verifies ten million records in one run, each side read
// once, and holds that it needs no more memory for them than for a tenth. Where there are
// fewer records, the tables are still being filled, and there is slack.
func TestIntegrationVerifyAtScale(t *testing.T) {
	for _, direction := range []string{"kinesis-to-kafka", "kafka-to-kinesis"} {
		f, _, _ := prove(t, "nothing: "+direction+", verified in one run", 1, 0)
		n := scaled(10_000_000)
		base, all := benchVerify(t, direction, n/10), benchVerify(t, direction, n)
		r := all.Result
		if bytes := int64(n) * 110; r.Verdict != "consistent" || r.Totals.Source != int64(n) || r.Totals.Target != int64(n) || r.Source != bytes || r.Target != bytes {
			t.Errorf("%s: %+v; want %d records and %d bytes of each side", direction, r, n, bytes)
		}
		slack := 32.0 // MiB that the collector may let lie
		if n < 10_000_000 {
			slack = 64
		}
		if r.RSS > 1.1*base.Result.RSS+slack {
			t.Errorf("%s: %d records need %.0f MiB, %d need %.0f", direction, n/10, base.Result.RSS, n, r.RSS)
		}
		f.judged(checker.Verdict{Records: n})
		f.runs++
		f.print("%s: bytes read %d and %d, peak RSS %.0f MiB, %.0f of a tenth, %.2f CPU-seconds per million, %.2f times the bare reads",
			strings.ReplaceAll(direction, "-", " "), r.Source, r.Target, r.RSS, base.Result.RSS, r.CPU, r.Ratio)
	}
}
