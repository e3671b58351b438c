package report_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/keymap"
	"github.com/kinesis-msk-bridge/bridge/report"
	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
	"github.com/kinesis-msk-bridge/bridge/verify"
)

const (
	canaryKey   = "canary-key-7c9e6679"
	canaryValue = "canary-value-3f2504e0"
)

var canaryWorkflow = bridge.WorkflowKey{7, 7, 7}

// onePartition sends every key to partition 0.
type onePartition struct{}

func (onePartition) Name() string { return "one" }
func (onePartition) Route(r *bridge.Record) (keymap.Route, error) {
	return keymap.Route{Key: r.Key, Partition: "0"}, nil
}

// lossy verifies a source of canaries against a target that has none of them, but one that
// nobody mirrored. What was logged comes with the result.
func lossy(t *testing.T) (res *verify.Result, log string) {
	var logged bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		src := memstream.New(memstream.Config{Flavour: memstream.Kinesis, Name: "source", Partitions: 1, Retention: time.Hour * 1000})
		dst := memstream.New(memstream.Config{Flavour: memstream.Kafka, Name: "target", Partitions: 1, Retention: time.Hour * 1000})
		rec := bridge.Record{Key: []byte(canaryKey), Value: []byte(canaryValue), Headers: []bridge.Header{{Key: canaryKey, Value: []byte(canaryValue)}}}
		put := func(s *memstream.Stream, r bridge.Record) {
			for {
				acks, err := s.Put(t.Context(), r)
				if err == nil && acks[0].Err == nil {
					return
				}
				if err != nil && !bridge.Retryable(err) {
					t.Fatal(err)
				}
				<-time.After(10 * time.Millisecond)
			}
		}
		for range 5 {
			r := rec
			r.Headers = nil
			put(src, r)
		}
		rec.Partition, rec.Time = "0", time.Now()
		put(dst, rec)
		<-time.After(time.Hour)
		v := &verify.Verifier{
			Workflow: "wf", ID: "run", Direction: "kinesis-to-kafka", Format: "header", Key: canaryWorkflow,
			Source: src.Source("wf"), Target: dst.Source("wf"), Keys: onePartition{}, Keeps: verify.Keeps{Time: true, Headers: true, Nulls: true},
			Logger: slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug})),
		}
		ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
		defer cancel()
		var err error
		if res, err = v.Run(ctx); err != nil {
			t.Fatal(err)
		}
	})
	return res, logged.String()
}

// leaks names the ways in which a text could stand there: as it is, encoded, or as a hash
// that anybody can make.
func leaks(s string) map[string]string {
	sum, old := sha256.Sum256([]byte(s)), md5.Sum([]byte(s))
	return map[string]string{
		"clear": s, "hexadecimal": hex.EncodeToString([]byte(s)), "base64": strings.TrimRight(base64.StdEncoding.EncodeToString([]byte(s)), "=")[:16],
		"SHA-256": hex.EncodeToString(sum[:8]), "MD5": hex.EncodeToString(old[:8]), "bytes": strings.Trim(fmt.Sprint([]byte(s)), "[]"),
	}
}

// What really ran over records with a canary in key, value and header shows it nowhere.
func TestCanaryIsNowhere(t *testing.T) {
	res, log := lossy(t)
	if res.Findings.Missing != 5 || len(res.Samples) < 5 || res.Samples[0].Key == "" {
		t.Fatalf("the run found %+v with %d samples", res.Findings, len(res.Samples))
	}
	asIs, err := json.Marshal(res)
	if err != nil {
		t.Fatal(err)
	}
	outputs := map[string]string{"log": log, "result": string(asIs)}
	r, err := report.New(*res, facts())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range report.Forms() {
		outputs[string(f)] = string(render(t, r, f))
	}
	for _, canary := range []string{canaryKey, canaryValue} {
		for how, text := range leaks(canary) {
			for where, out := range outputs {
				if strings.Contains(strings.ToLower(out), strings.ToLower(text)) {
					t.Errorf("the %s holds %s in %s", where, canary, how)
				}
			}
		}
	}
	// The same samples with the key named: this is what the test would catch.
	f := facts()
	f.Keys = map[string]string{verify.KeyHasher(canaryWorkflow)([]byte(canaryKey)): canaryKey}
	if r, err = report.New(*res, f); err != nil {
		t.Fatal(err)
	}
	if !r.KeysRevealed {
		t.Error("the report does not say that keys were revealed")
	}
	for _, f := range report.Forms() {
		out := string(render(t, r, f))
		if !strings.Contains(out, canaryKey) || strings.Contains(out, canaryValue) {
			t.Errorf("%s does not hold the key that was revealed, or holds the value", f)
		}
	}
}
