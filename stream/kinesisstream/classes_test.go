package kinesisstream_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/retry"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesisstream"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
)

// What passes may be tried again, whatever the service calls it.
func TestCodesThatPass(t *testing.T) {
	srv := fast(t)
	st := stream(t, srv, 1)
	c := dial(t, srv, st.Name())
	codes := []string{
		"ExpiredTokenException", "ExpiredToken", "UnrecognizedClientException", "RequestTimeTooSkewed", "RequestExpired", "ExpiredNextTokenException",
		"InternalFailure", "InternalFailureException", "ServiceUnavailable", "ServiceUnavailableException", "KMSThrottlingException", "ResourceInUseException",
	}
	for _, list := range []map[string]struct{}{retry.DefaultThrottleErrorCodes, retry.DefaultRetryableErrorCodes} {
		for code := range list {
			codes = append(codes, code)
		}
	}
	for _, code := range codes {
		srv.SetFault(kinesistest.Next("ListShards", 1, kinesistest.Fault{Error: &kinesistest.Error{Status: 400, Type: code, Message: "m"}}))
		if _, err := c.Partitions(t.Context()); err == nil || !bridge.Retryable(err) {
			t.Errorf("%s once: %v is final", code, err)
		}
	}
	for code, want := range map[string]error{
		"AccessDeniedException": bridge.ErrDenied, "KMSNotFoundException": bridge.ErrDenied, "ResourceNotFoundException": bridge.ErrMissing, "InvalidArgumentException": bridge.ErrRefused,
	} {
		srv.SetFault(kinesistest.Next("ListShards", 1, kinesistest.Fault{Error: &kinesistest.Error{Status: 400, Type: code, Message: "m"}}))
		if _, err := c.Partitions(t.Context()); !errors.Is(err, want) || bridge.Retryable(err) {
			t.Errorf("%s: %v, want %v", code, err, want)
		}
	}
}

// The service repeats the headers of a request whose signature it does not like.
func TestErrorsHoldNoToken(t *testing.T) {
	srv := fast(t)
	st := stream(t, srv, 1)
	c := dial(t, srv, st.Name())
	srv.SetFault(kinesistest.Next("ListShards", 1, kinesistest.Fault{Error: &kinesistest.Error{Status: 400, Type: "InvalidSignatureException",
		Message: "The request signature we calculated does not match the signature you provided.\n\nThe Canonical String for this request should have been\n'POST\n/\n\nx-amz-security-token:SESSIONTOKEN\n'"}}))
	_, err := c.Partitions(t.Context())
	if err == nil || strings.Contains(err.Error(), "SESSIONTOKEN") || strings.Contains(err.Error(), "\n") {
		t.Errorf("the error is %q", err)
	}
}

// A clock that is half an hour off is corrected by what the service says of its own.
func TestClockOfThisMachineIsOff(t *testing.T) {
	srv := fast(t)
	st := stream(t, srv, 1)
	to, err := url.Parse(srv.URL())
	if err != nil {
		t.Fatal(err)
	}
	for _, ahead := range []time.Duration{-30 * time.Minute, 30 * time.Minute} {
		for _, code := range []string{"InvalidSignatureException", "RequestTimeTooSkewed", "SignatureDoesNotMatch"} {
			proxy := httputil.NewSingleHostReverseProxy(to)
			theirs := func() time.Time { return time.Now().Add(ahead).UTC() }
			proxy.ModifyResponse = func(r *http.Response) error {
				r.Header.Set("Date", theirs().Format(http.TimeFormat))
				return nil
			}
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				signed, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
				if err != nil || signed.Sub(theirs()).Abs() > 5*time.Minute {
					w.Header().Set("Date", theirs().Format(http.TimeFormat))
					w.WriteHeader(http.StatusForbidden)
					fmt.Fprintf(w, `{"__type":%q,"message":"Signature expired"}`, code)
					return
				}
				proxy.ServeHTTP(w, r)
			}))
			t.Cleanup(server.Close)
			conf := config(srv, st.Name())
			conf.EndpointURL = server.URL
			client, err := kinesisstream.Dial(t.Context(), conf)
			if err != nil {
				t.Errorf("clock %v ahead, %s: %v", -ahead, code, err)
				continue
			}
			if _, err := client.Partitions(t.Context()); err != nil {
				t.Errorf("clock %v ahead, %s: list: %v", -ahead, code, err)
			}
		}
	}
}

// The role is renewed while the mirror runs, and STS does not answer as it should once.
func TestRoleIsRenewedLater(t *testing.T) {
	for _, c := range []struct {
		code   string
		status int
	}{{"Throttling", 400}, {"IDPCommunicationError", 400}, {"RequestTimeTooSkewed", 403}, {"InternalFailure", 500}, {"AccessDenied", 403}} {
		var failing atomic.Bool
		sts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/xml")
			if failing.Load() {
				w.WriteHeader(c.status)
				fmt.Fprintf(w, `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>%s</Code><Message>no</Message></Error></ErrorResponse>`, c.code)
				return
			}
			fmt.Fprintf(w, `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials><AccessKeyId>AKIDEXAMPLE</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken><Expiration>%s</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>`,
				time.Now().Add(-time.Second).UTC().Format(time.RFC3339)) // so that it is renewed with each call
		}))
		t.Cleanup(sts.Close)
		t.Setenv("AWS_ENDPOINT_URL_STS", sts.URL)
		srv := fast(t)
		st := stream(t, srv, 1)
		conf := config(srv, st.Name())
		conf.RoleARN = "arn:aws:iam::123456789012:role/mirror"
		client, err := kinesisstream.Dial(t.Context(), conf)
		if err != nil {
			t.Fatal(err)
		}
		failing.Store(true)
		if _, err = client.Partitions(t.Context()); err == nil || !bridge.Retryable(err) || !strings.Contains(err.Error(), "assume role arn:aws:iam::123456789012:role/mirror: "+c.code) {
			t.Errorf("%s: retryable %v: %v", c.code, bridge.Retryable(err), err)
		}
		failing.Store(false)
		if _, err := client.Partitions(t.Context()); err != nil {
			t.Errorf("%s: the call after it: %v", c.code, err)
		}
	}
}
