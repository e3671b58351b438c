package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
)

// A step of a start waits for what may pass, as long as it is told to, says why, and ends
// with exit code 4. What is final ends it at once.
func TestStartIsPatient(t *testing.T) {
	for _, c := range []struct {
		class error
		waits bool
		code  int
	}{
		{bridge.ErrUnreachable, true, exitAccess}, {bridge.ErrThrottled, true, exitAccess}, {bridge.ErrTransient, true, exitAccess},
		{bridge.ErrDenied, false, exitAccess}, {bridge.ErrMissing, false, exitAccess}, {bridge.ErrRefused, false, exitAccess},
		{bridge.ErrChanged, false, exitGone}, {bridge.ErrState, false, exitUsage},
	} {
		for _, good := range []time.Duration{time.Hour, 90 * time.Second} {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				s := settings{Config: &loaded{}, Log: slog.New(slog.NewTextHandler(&log, nil))}
				s.Config.StartPatience = duration(2 * time.Minute)
				began := time.Now()
				_, err := patiently(t.Context(), s, "reach it", func() (int, error) {
					if time.Since(began) > good {
						return 0, nil
					}
					return 0, bridge.WithHint(fmt.Errorf("call: %w", c.class), "do this")
				})
				took := time.Since(began)
				switch {
				case !c.waits && (took > 0 || exitCode(startError{err}) != c.code || log.Len() > 0):
					t.Errorf("%v: took %v, code %d", c.class, took, exitCode(startError{err}))
				case c.waits && good == time.Hour && (took > 2*time.Minute || took < 110*time.Second || exitCode(startError{err}) != c.code || bridge.Hint(err) != "do this"):
					t.Errorf("%v: took %v, code %d: %v", c.class, took, exitCode(startError{err}), err)
				case c.waits && good < time.Hour && err != nil:
					t.Errorf("%v: %v though it passed", c.class, err)
				}
				if n := len(warnings(&log)); c.waits && n != 2+int(min(good, 2*time.Minute-1)/time.Minute)-map[bool]int{true: 1}[good == time.Hour] {
					t.Errorf("%v: told %d times:\n%s", c.class, n, log.String())
				}
			})
		}
	}
}

// Every verb that reaches for the stream bears that it asks for less, or fails, once at
// each of its calls.
func TestVerbsBearAHiccup(t *testing.T) {
	for _, fault := range []kinesistest.Fault{
		{Error: &kinesistest.Error{Status: 400, Type: "ThrottlingException", Message: "Rate exceeded"}},
		{Error: &kinesistest.Error{Status: 503, Type: "ServiceUnavailable", Message: "later"}},
		{Cut: true},
	} {
		p := newPairing(t, nil)
		p.records, p.config["BRIDGE_STATE"] = nil, "file:"+t.TempDir()
		for _, verb := range [][]string{
			{"plan"}, {"preflight"}, {"mirror", "run", "--until-caught-up"}, {"status"}, {"verify", "run"},
		} {
			var mu sync.Mutex
			failed := map[string]bool{}
			p.kinesis.SetFault(func(c kinesistest.Call) kinesistest.Fault {
				mu.Lock()
				defer mu.Unlock()
				if failed[c.Op] {
					return kinesistest.Fault{}
				}
				failed[c.Op] = true
				return fault
			})
			code, _, text := p.run(t, kinesisToKafka, verb...)
			if code != exitDone {
				t.Errorf("%v, %+v: exit code %d\n%s", verb, fault.Error, code, text)
			}
			if mu.Lock(); verb[0] != "status" && len(failed) == 0 {
				t.Errorf("%v asked for nothing", verb)
			}
			mu.Unlock()
		}
	}
}

// A signal ends a command that waits, whatever it waits for.
func TestSignalEndsAWait(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe.yaml")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"config", "show", "--config", pipe}, {"preflight", "--config", pipe}, {"mirror", "run", "--config", pipe}, {"verify", "run", "--config", pipe},
		{"preflight", "--config", emptyConfig(t)}, {"plan", "--config", emptyConfig(t)}, {"mirror", "run", "--config", emptyConfig(t)},
	} {
		env := map[string]string{
			"BRIDGE_WORKFLOW": "orders", "BRIDGE_DIRECTION": kinesisToKafka, "BRIDGE_KINESIS_STREAM": "orders", "BRIDGE_KINESIS_REGION": "us-east-1",
			"BRIDGE_KINESIS_ENDPOINT_URL": "http://127.0.0.1:1", "BRIDGE_KAFKA_TOPIC": "orders", "BRIDGE_KAFKA_BROKERS": "127.0.0.1:1", "BRIDGE_STATE": "file:" + t.TempDir(),
		}
		signals := make(chan os.Signal, 2)
		signals <- syscall.SIGTERM
		var stdout, stderr bytes.Buffer
		a := &app{stdout: &stdout, stderr: &stderr, signals: signals, adapters: realAdapters(), env: func(name string) (string, bool) { v, ok := env[name]; return v, ok }}
		if code := a.run(t.Context(), args); code != exitSignal+int(syscall.SIGTERM) {
			t.Errorf("%v: exit code %d, want 143\n%s", args, code, stderr.String())
		}
	}
}
