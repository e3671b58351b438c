package awsapi_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/internal/awsapi"
)

// Credentials that worked may fail for ten minutes, counted anew after a pause.
func TestGraceEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g awsapi.Grace
		if g.Passes(time.Now()) {
			t.Error("credentials that never worked have a grace")
		}
		for period := range 2 {
			g.Worked()
			began := time.Now()
			for g.Passes(time.Now()) {
				time.Sleep(5 * time.Second)
			}
			if took := time.Since(began); took < 9*time.Minute || took > 11*time.Minute {
				t.Errorf("period %d lasted %v", period, took)
			}
			time.Sleep(time.Hour)
		}
	})
}

// load returns a configuration whose service answers as serve says.
func load(t *testing.T, creds aws.CredentialsProvider, serve http.HandlerFunc) *dynamodb.Client {
	t.Helper()
	server := httptest.NewServer(serve)
	t.Cleanup(server.Close)
	conf, err := awsapi.Load(t.Context(), awsapi.Config{Region: "us-east-1", Credentials: creds})
	if err != nil {
		t.Fatal(err)
	}
	return dynamodb.NewFromConfig(conf, func(o *dynamodb.Options) { o.BaseEndpoint, o.Retryer = &server.URL, aws.NopRetryer{} })
}

func fixed(context.Context) (aws.Credentials, error) {
	return aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "s", SessionToken: "t"}, nil
}

// A token that a service calls expired is final only if it never worked.
func TestRejectedAfterItWorked(t *testing.T) {
	var good atomic.Bool
	client := load(t, aws.CredentialsProviderFunc(fixed), func(w http.ResponseWriter, _ *http.Request) {
		if good.Load() {
			fmt.Fprint(w, "{}")
			return
		}
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"__type":"com.amazon.coral.service#ExpiredTokenException","message":"The security token included in the request is expired"}`)
	})
	list := func() error {
		_, err := client.ListTables(t.Context(), &dynamodb.ListTablesInput{})
		return err
	}
	if err := list(); !errors.Is(awsapi.Class(err), bridge.ErrDenied) {
		t.Errorf("at a start: %v is %v", err, awsapi.Class(err))
	}
	good.Store(true)
	if err := list(); err != nil {
		t.Fatal(err)
	}
	good.Store(false)
	if err := list(); err == nil || !bridge.Retryable(awsapi.Class(err)) {
		t.Errorf("after it worked: %v is %v", err, awsapi.Class(err))
	}
}

// Where credentials come from may fail for a moment, whatever it is that fails.
func TestCredentialsThatCannotBeHad(t *testing.T) {
	for _, c := range []struct {
		err   error
		first error // what it is if there never were any
	}{
		{&net.OpError{Op: "dial", Net: "tcp", Err: errors.New("169.254.169.254: i/o timeout")}, bridge.ErrUnreachable},
		{answer(400, "Throttling", "Rate exceeded"), bridge.ErrThrottled},
		{answer(400, "IDPCommunicationError", ""), bridge.ErrTransient},
		{answer(500, "InternalFailure", ""), bridge.ErrTransient},
		{answer(403, "AccessDenied", "not authorized to perform: sts:AssumeRole"), bridge.ErrDenied},
		{errors.New("the SSO session has expired or is invalid"), bridge.ErrDenied},
	} {
		var good atomic.Bool
		client := load(t, aws.CredentialsProviderFunc(func(ctx context.Context) (aws.Credentials, error) {
			if good.Load() {
				k, err := fixed(ctx)
				k.CanExpire, k.Expires = true, time.Now()
				return k, err
			}
			return aws.Credentials{}, c.err
		}), func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "{}") })
		list := func() error {
			_, err := client.ListTables(t.Context(), &dynamodb.ListTablesInput{})
			return err
		}
		if err := list(); !errors.Is(awsapi.Class(err), c.first) || !awsapi.Unsent(err) {
			t.Errorf("%v at a start is %v, want %v", err, awsapi.Class(err), c.first)
		} else if n := strings.Count(awsapi.Plain(err).Error(), "operation error"); n > 0 {
			t.Errorf("%v is no sentence", awsapi.Plain(err))
		}
		good.Store(true)
		if err := list(); err != nil {
			t.Fatal(err)
		}
		good.Store(false)
		if err := list(); err == nil || !bridge.Retryable(awsapi.Class(err)) {
			t.Errorf("%v after they worked is %v", err, awsapi.Class(err))
		}
	}
}

// Without any credentials one sentence says so, at once where nothing can answer.
func TestNoCredentialsAtAll(t *testing.T) {
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_CONFIG_FILE", t.TempDir()+"/none")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", t.TempDir()+"/none")
	for _, c := range []struct {
		disabled string
		serve    http.HandlerFunc
		want     error
		text     string
	}{
		{"true", nil, bridge.ErrDenied, "no AWS credentials were found"},
		{"false", http.NotFound, bridge.ErrDenied, "no AWS credentials were found"},
		{"false", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }, bridge.ErrTransient,
			"no AWS credentials were found, and the instance metadata service does not answer"},
	} {
		t.Setenv("AWS_EC2_METADATA_DISABLED", c.disabled)
		if c.serve != nil {
			imds := httptest.NewServer(c.serve)
			t.Cleanup(imds.Close)
			t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", imds.URL)
		}
		conf, err := awsapi.Load(t.Context(), awsapi.Config{Region: "us-east-1"})
		if err != nil {
			t.Fatal(err)
		}
		_, err = sts.NewFromConfig(conf).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
		if got := awsapi.Plain(err); !errors.Is(awsapi.Class(err), c.want) || got == nil || got.Error() != c.text {
			t.Errorf("disabled %s: %v, %v; want %v", c.disabled, got, awsapi.Class(err), c.want)
		}
	}
}
