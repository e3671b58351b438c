package dynamostate_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/internal/dynamotest"
	"github.com/kinesis-msk-bridge/bridge/state"
	"github.com/kinesis-msk-bridge/bridge/state/dynamostate"
	"github.com/kinesis-msk-bridge/bridge/state/statetest"
)

type backend struct {
	server *dynamotest.Server
	hold   time.Duration
}

func start(t *testing.T) *backend {
	t.Helper()
	s, err := dynamotest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return &backend{server: s}
}

func api(url string) func(context.Context) (*dynamodb.Client, error) {
	return func(context.Context) (*dynamodb.Client, error) {
		return dynamodb.New(dynamodb.Options{
			BaseEndpoint: aws.String(url), Region: "us-east-1",
			Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
		}), nil
	}
}

func (b *backend) Open(_ *testing.T, workflow string) state.Store {
	return dynamostate.New(dynamostate.Config{API: api(b.server.URL()), Table: "bridge", Workflow: workflow, LockFor: b.hold})
}

func (b *backend) Overwrite(t *testing.T, workflow string, raw []byte) {
	t.Helper()
	if b.server.Items("bridge") == "" {
		b.server.Create("bridge", "id")
	}
	it := fmt.Sprintf(`{"id":{"S":%q},"body":{"B":%q}}`, "workflow/"+url.PathEscape(workflow), base64.StdEncoding.EncodeToString(raw))
	if err := b.server.Put("bridge", it); err != nil {
		t.Fatal(err)
	}
}

func TestStore(t *testing.T) {
	statetest.Run(t, func(t *testing.T) statetest.Backend { return start(t) })
}

// A write whose answer was lost is not reported as somebody else's: it is unknown.
func TestLostAnswer(t *testing.T) {
	b := start(t)
	s := b.Open(t, "orders")
	if _, err := s.Swap(t.Context(), 0, statetest.Workflow("orders")); err != nil {
		t.Fatal(err)
	}
	b.server.SetHook(func(op string, _ []byte) dynamotest.Fault {
		if op == "PutItem" {
			return dynamotest.After
		}
		return dynamotest.None
	})
	_, err := s.Swap(t.Context(), 1, statetest.Workflow("orders"))
	if !bridge.Retryable(err) || errors.Is(err, bridge.ErrConflict) {
		t.Errorf("Swap whose answer was lost = %v, want a retryable error", err)
	}
	if _, version, err := s.Load(t.Context()); err != nil || version != 2 {
		t.Errorf("Load = version %d, %v; want 2", version, err)
	}
}

// The lock of a process that died ends by itself; one that lives keeps it.
func TestLockEnds(t *testing.T) {
	b := start(t)
	b.hold = 400 * time.Millisecond
	alive, err := b.Open(t, "orders").Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	until := time.Now().Add(3 * b.hold)
	for tries := 0; ; tries++ {
		_, err := b.Open(t, "orders").Lock(t.Context())
		if !errors.Is(err, bridge.ErrLocked) || !strings.Contains(bridge.Hint(err), "ends 2") {
			t.Fatalf("Lock after %d tries = %v (hint %q), want ErrLocked", tries, err, bridge.Hint(err))
		}
		if time.Now().After(until) {
			break
		}
	}
	if err := alive(); err != nil {
		t.Fatal(err)
	}
	dead := fmt.Sprintf(`{"id":{"S":"lock/orders"},"owner":{"S":"somebody"},"until":{"N":"%d"}}`, time.Now().Add(-time.Millisecond).UnixMilli())
	if err := b.server.Put("bridge", dead); err != nil {
		t.Fatal(err)
	}
	release, err := b.Open(t, "orders").Lock(t.Context())
	if err != nil {
		t.Fatalf("Lock after the holder died: %v", err)
	}
	// Taken over meanwhile: it is not ours to take away.
	if err := b.server.Put("bridge", strings.Replace(dead, "somebody", "somebody else", 1)); err != nil {
		t.Fatal(err)
	}
	if err := release(); err != nil || !strings.Contains(b.server.Items("bridge"), "somebody else") {
		t.Errorf("release of a lock that was lost: %v\n%s", err, b.server.Items("bridge"))
	}
}

func TestNotes(t *testing.T) {
	b := start(t)
	s := b.Open(t, "orders").(*dynamostate.Store)
	if got, err := s.Note(t.Context(), "billing"); err != nil || got != nil {
		t.Errorf("no note: %q, %v", got, err)
	}
	for i, step := range []struct {
		before, next string
		want         error
	}{{"", "one", nil}, {"", "two", bridge.ErrConflict}, {"one", "two", nil}, {"one", "three", bridge.ErrConflict}} {
		var before []byte
		if step.before != "" {
			before = []byte(step.before)
		}
		if err := s.SetNote(t.Context(), "billing", before, []byte(step.next)); !errors.Is(err, step.want) {
			t.Errorf("step %d: %v, want %v", i, err, step.want)
		}
	}
	if got, err := s.Note(t.Context(), "billing"); err != nil || string(got) != "two" {
		t.Errorf("note: %q, %v", got, err)
	}
}
