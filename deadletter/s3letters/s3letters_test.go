package s3letters_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/bridgetest"
	"github.com/kinesis-msk-bridge/bridge/deadletter/s3letters"
)

var source = bridge.Identity{Name: "kinesis:arn:aws:kinesis:us-east-1:123456789012:stream/origin", Incarnation: "1769862615000"}

// A server is an S3 in this process with one bucket, "letters". Before each request the
// fault is asked for a status to answer instead; 0 is none.
type server struct {
	api   *s3.Client
	fault atomic.Pointer[func(*http.Request) int]
}

func start(t testing.TB) *server {
	s := &server{}
	fake := gofakes3.New(s3mem.New()).Server()
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f := s.fault.Load(); f != nil {
			if status := (*f)(r); status != 0 {
				w.WriteHeader(status)
				return
			}
		}
		fake.ServeHTTP(w, r)
	}))
	t.Cleanup(web.Close)
	s.api = s3letters.NewClient(aws.Config{
		Region: "us-east-1", BaseEndpoint: &web.URL, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider("id", "secret", ""),
	})
	if _, err := s.api.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("letters")}); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *server) config(workflow string) s3letters.Config {
	return s3letters.Config{
		API: s.api, Bucket: "letters", Prefix: "of/streams", Workflow: workflow, Source: source,
		Codec: bridge.NewLetterCodec(workflow, bridge.WorkflowKey{5}),
	}
}

func (s *server) removeAll(ctx context.Context) error {
	list, err := s.api.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: aws.String("letters")})
	if err != nil {
		return err
	}
	for _, o := range list.Contents {
		if _, err := s.api.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: aws.String("letters"), Key: o.Key}); err != nil {
			return err
		}
	}
	return nil
}

func TestLettersKeepTheContract(t *testing.T) {
	bridgetest.TestDeadLetters(t, bridgetest.DeadLettersHarness{
		Server: "gofakes3",
		New: func(t testing.TB) bridgetest.LettersPlace {
			s := start(t)
			return bridgetest.LettersPlace{
				Open: func(ctx context.Context, workflow string) (bridge.DeadLetters, error) {
					return s3letters.Open(ctx, s.config(workflow))
				},
				Read: func(ctx context.Context, workflow string) iter.Seq2[bridge.DeadLetter, error] {
					return s3letters.Read(ctx, s.config(workflow))
				},
				Remove: s.removeAll,
			}
		},
	})
}

// Names sort as positions do, whatever the length of the numbers; more letters are found
// than one page of a listing holds, and none twice.
func TestTailOfManyPages(t *testing.T) {
	s := start(t)
	l, err := s3letters.Open(t.Context(), s.config("w"))
	if err != nil {
		t.Fatal(err)
	}
	const all = 1207
	var letters []bridge.DeadLetter
	for n := range all {
		letters = append(letters, bridge.DeadLetter{
			Origin: bridge.Coordinate{Stream: source.String(), Partition: "a/b %", Position: bridge.Position{Seq: fmt.Sprint(n * 9), Sub: uint32(n % 2)}},
			Class:  bridge.ClassOversize,
		})
	}
	acks, err := l.Put(t.Context(), letters)
	if err != nil {
		t.Fatal(err)
	}
	for _, after := range []int{-1, 0, 11, 12, 111, 112, all - 1} {
		var from bridge.Floor
		if after >= 0 {
			from.Partitions = map[string]bridge.Position{acks[after].Partition: acks[after].Position}
		}
		next := after + 1
		for p, err := range l.Tail(t.Context(), from) {
			if err != nil {
				t.Fatal(err)
			}
			if p.Origin != letters[next].Origin {
				t.Fatalf("behind %d: %s, want %s", after, p.Origin, letters[next].Origin)
			}
			next++
		}
		if next != all {
			t.Errorf("behind %d: ended before %d of %d", after, next, all)
		}
	}
}

// An object whose name was made up is no letter of this workflow.
func TestForgedNames(t *testing.T) {
	s := start(t)
	l, err := s3letters.Open(t.Context(), s.config("w"))
	if err != nil {
		t.Fatal(err)
	}
	letter := bridge.DeadLetter{Origin: bridge.Coordinate{Stream: source.String(), Partition: "0", Position: bridge.Position{Seq: "41"}}}
	if _, err := l.Put(t.Context(), []bridge.DeadLetter{letter}); err != nil {
		t.Fatal(err)
	}
	list, err := s.api.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String("letters")})
	if err != nil || len(list.Contents) != 1 {
		t.Fatal(list, err)
	}
	forged := strings.Replace(*list.Contents[0].Key, "-41-", "-42-", 1)
	_, err = s.api.CopyObject(t.Context(), &s3.CopyObjectInput{
		Bucket: aws.String("letters"), Key: &forged, CopySource: aws.String("letters/" + *list.Contents[0].Key),
	})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for p, err := range l.Tail(t.Context(), bridge.Floor{}) {
		if n++; err != nil || p.Origin != letter.Origin {
			t.Errorf("%+v, %v", p, err)
		}
	}
	if n != 1 {
		t.Errorf("%d letters, want the one that was put", n)
	}
}

// Writable tells who may list from who may put, and leaves nothing.
func TestWritable(t *testing.T) {
	s := start(t)
	check := func() error { return s3letters.Writable(t.Context(), s.config("w")) }
	if err := check(); err != nil {
		t.Error(err)
	}
	objects, err1 := s.api.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String("letters")})
	uploads, err2 := s.api.ListMultipartUploads(t.Context(), &s3.ListMultipartUploadsInput{Bucket: aws.String("letters")})
	if err := errors.Join(err1, err2); err != nil || len(objects.Contents)+len(uploads.Uploads) > 0 {
		t.Errorf("left %v, %v, %v", objects, uploads, err)
	}
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodDelete} {
		deny := func(r *http.Request) int {
			if r.Method == method {
				return http.StatusForbidden
			}
			return 0
		}
		s.fault.Store(&deny)
		if err := check(); !errors.Is(err, bridge.ErrDenied) || bridge.Hint(err) == "" {
			t.Errorf("%s denied: %v", method, err)
		}
	}
}

func TestErrors(t *testing.T) {
	s := start(t)
	c := s.config("w")
	c.Bucket = "nowhere"
	if _, err := s3letters.Open(t.Context(), c); !errors.Is(err, bridge.ErrMissing) || bridge.Hint(err) == "" {
		t.Errorf("no bucket: %v, want ErrMissing with a hint", err)
	}
	for status, want := range map[int]error{403: bridge.ErrDenied, 503: bridge.ErrTransient, 400: bridge.ErrRefused} {
		fail := func(*http.Request) int { return status }
		s.fault.Store(&fail)
		if _, err := s3letters.Open(t.Context(), s.config("w")); !errors.Is(err, want) {
			t.Errorf("status %d: %v, want %v", status, err, want)
		}
	}
	c.API = s3letters.NewClient(aws.Config{
		Region: "us-east-1", BaseEndpoint: aws.String("http://127.0.0.1:1"), RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider("id", "secret", ""),
	})
	if _, err := s3letters.Open(t.Context(), c); !errors.Is(err, bridge.ErrUnreachable) {
		t.Errorf("nobody there: %v, want ErrUnreachable", err)
	}
}
