package kinesisstream_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/kinesis-msk-bridge/bridge/stream/kinesisstream"
)

// A slowReader answers before it has read all, as a server may, and reads on afterwards.
type slowReader struct {
	calls   atomic.Int64
	reading sync.WaitGroup
	mixed   atomic.Int64
	whole   atomic.Int64 // bodies of which a key was read
}

func (s *slowReader) Do(r *http.Request) (*http.Response, error) {
	n := s.calls.Add(1)
	for range 50 {
		runtime.Gosched() // others fill their bodies meanwhile
	}
	head := make([]byte, 600)
	if _, err := io.ReadFull(r.Body, head); err != nil {
		return nil, err
	}
	s.reading.Go(func() {
		// Whatever is still read is of this body: its keys are all the same.
		rest, err := io.ReadAll(r.Body)
		keys := map[string]bool{}
		for i, part := range bytes.Split(append(head, rest...), []byte(`"PartitionKey":"`)) {
			if key, _, whole := bytes.Cut(part, []byte(`"`)); i > 0 && whole {
				keys[string(key)] = true
			}
		}
		if err != nil || len(keys) > 1 {
			s.mixed.Add(1)
		}
		if len(keys) == 1 {
			s.whole.Add(1)
		}
	})
	body, status := `{"FailedRecordCount":0,"Records":[]}`, 200
	if n%3 == 0 {
		body, status = `{"__type":"InternalFailure"}`, 500
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, ContentLength: int64(len(body)), Body: io.NopCloser(bytes.NewReader([]byte(body)))}, nil
}

// TestPutBodiesAreNotMixed uses the memory of bodies again while servers are slow, calls
// are many, and some are tried again by a client that does so.
func TestPutBodiesAreNotMixed(t *testing.T) {
	server := &slowReader{}
	client := kinesis.New(kinesis.Options{
		Region: "us-east-1", Credentials: credentials.NewStaticCredentialsProvider("a", "b", ""), HTTPClient: server,
		Retryer: retry.NewStandard(func(o *retry.StandardOptions) {
			o.MaxAttempts = 5_000 // callers share the failures, and one may get many in a row
			o.Backoff = retry.BackoffDelayerFunc(noDelay)
			o.RateLimiter = noRateLimit{}
		}),
	}, func(o *kinesis.Options) {
		if err := kinesisstream.CodecJSON.Plug(o); err != nil {
			t.Fatal(err)
		}
	})
	var callers sync.WaitGroup
	for c := range 4 {
		callers.Go(func() {
			for i := range 200 {
				in := aPut(20, 64*(1+i%5))
				for j := range in.Records {
					in.Records[j].PartitionKey = aws.String(fmt.Sprintf("%d-%06d", c, i))
				}
				if _, err := client.PutRecords(t.Context(), in); err != nil {
					t.Error(err)
				}
			}
		})
	}
	callers.Wait()
	server.reading.Wait()
	calls := server.calls.Load()
	t.Logf("%d calls, of %d bodies a key was read", calls, server.whole.Load())
	if server.mixed.Load() != 0 || calls <= 800 || server.whole.Load() == 0 {
		t.Errorf("%d of %d bodies were mixed with others", server.mixed.Load(), calls)
	}
}

// A nesting client makes a put of its own before it reads the body of the one it is to send.
type nesting struct {
	put   func(key string) error
	depth int
	mixed int
}

func (n *nesting) Do(r *http.Request) (*http.Response, error) {
	if n.depth++; n.depth == 1 {
		if err := n.put("inner"); err != nil {
			return nil, err
		}
	}
	want := "inner"
	if n.depth--; n.depth == 0 {
		want = "outer"
	}
	sent, err := io.ReadAll(r.Body)
	if err != nil || bytes.Count(sent, []byte(`"`+want+`"`)) != 20 {
		n.mixed++
	}
	body := `{"FailedRecordCount":0,"Records":[]}`
	return &http.Response{StatusCode: 200, Header: http.Header{}, ContentLength: int64(len(body)), Body: io.NopCloser(bytes.NewReader([]byte(body)))}, nil
}

// The memory of a body is not lent again while it is sent.
func TestPutBodyIsNotLentTwice(t *testing.T) {
	n := &nesting{}
	client := kinesis.New(kinesis.Options{
		Region: "us-east-1", Credentials: credentials.NewStaticCredentialsProvider("a", "b", ""), HTTPClient: n, Retryer: aws.NopRetryer{},
	}, func(o *kinesis.Options) {
		if err := kinesisstream.CodecJSON.Plug(o); err != nil {
			t.Fatal(err)
		}
	})
	n.put = func(key string) error {
		in := aPut(20, 64)
		for i := range in.Records {
			in.Records[i].PartitionKey = &key
		}
		_, err := client.PutRecords(t.Context(), in)
		return err
	}
	for range 50 {
		if err := n.put("outer"); err != nil {
			t.Fatal(err)
		}
	}
	if n.mixed > 0 {
		t.Errorf("%d of 100 bodies were not as they were put", n.mixed)
	}
}

func noDelay(int, error) (d time.Duration, err error) { return 0, nil }

type noRateLimit struct{}

func (noRateLimit) GetToken(context.Context, uint) (func() error, error) {
	return func() error { return nil }, nil
}
func (noRateLimit) AddTokens(uint) error { return nil }
