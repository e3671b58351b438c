package awsapi_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/internal/awsapi"
)

// answer is an error as the SDK returns it: a code and a message under a status.
func answer(status int, code, message string) error {
	var err error = &smithy.GenericAPIError{Code: code, Message: message}
	if code == "" {
		err = errors.New(message)
	}
	return &smithy.OperationError{ServiceID: "Kinesis", OperationName: "ListShards", Err: &smithyhttp.ResponseError{
		Response: &smithyhttp.Response{Response: &http.Response{StatusCode: status}}, Err: err,
	}}
}

// sent is an error of a request on its way.
func sent(err error) error {
	return &smithy.OperationError{ServiceID: "Kinesis", OperationName: "ListShards", Err: &smithyhttp.RequestSendError{Err: err}}
}

// Whatever the SDK would try again can be tried again here.
func TestWhatTheSDKRetriesIsRetryable(t *testing.T) {
	standard := retry.NewStandard()
	all := []error{
		answer(500, "", "x"), answer(502, "Whatever", "x"), answer(503, "", ""), answer(504, "AccessDeniedish", ""), answer(429, "", ""), answer(429, "Unheard", ""),
	}
	for _, codes := range []map[string]struct{}{retry.DefaultThrottleErrorCodes, retry.DefaultRetryableErrorCodes} {
		for code := range codes {
			all = append(all, answer(400, code, "slow down"))
		}
	}
	for _, cause := range []error{
		io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE, syscall.ECONNREFUSED, net.ErrClosed, &net.OpError{Op: "read", Err: syscall.ECONNRESET},
		&net.OpError{Op: "write", Err: syscall.EPIPE}, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, &net.OpError{Op: "read", Err: net.ErrClosed},
		&net.DNSError{Err: "server misbehaving", IsTemporary: true}, &net.DNSError{Err: "timeout", IsTimeout: true}, context.DeadlineExceeded,
	} {
		all = append(all, sent(cause), fmt.Errorf("read the answer: %w", cause))
	}
	for _, err := range all {
		class := awsapi.Class(err)
		if !bridge.Retryable(class) {
			t.Errorf("%v is %v: not retryable", err, class)
		}
		throttled := false
		for code := range retry.DefaultThrottleErrorCodes {
			throttled = throttled || awsapi.Code(err) == code
		}
		if throttled != errors.Is(class, bridge.ErrThrottled) && !strings.Contains(err.Error(), "StatusCode: 429") {
			t.Errorf("%v is %v", err, class)
		}
		if !standard.IsErrorRetryable(err) && strings.Contains(err.Error(), "slow down") {
			t.Errorf("the SDK does not retry %v: the test is wrong", err)
		}
	}
}

func TestClass(t *testing.T) {
	for _, c := range []struct {
		err  error
		want error
	}{
		{answer(400, "RequestExpired", ""), bridge.ErrTransient},
		{answer(403, "RequestTimeTooSkewed", ""), bridge.ErrTransient},
		{answer(400, "ExpiredNextTokenException", ""), bridge.ErrTransient},
		{answer(400, "InvalidSignatureException", "Signature expired: 20260101T000000Z is now earlier than 20260101T001000Z"), bridge.ErrTransient},
		{answer(400, "InvalidSignatureException", "Signature not yet current: 20260101T000000Z"), bridge.ErrTransient},
		{answer(400, "InvalidSignatureException", "does not match"), bridge.ErrDenied},
		{answer(400, "ExpiredTokenException", "expired"), bridge.ErrDenied}, // they never worked
		{answer(400, "UnrecognizedClientException", ""), bridge.ErrDenied},
		{answer(400, "AccessDeniedException", ""), bridge.ErrDenied},
		{answer(403, "Unheard", ""), bridge.ErrDenied},
		{answer(401, "", ""), bridge.ErrDenied},
		{answer(400, "ValidationException", ""), bridge.ErrRefused},
		{answer(400, "InvalidArgumentException", ""), bridge.ErrRefused},
		{answer(408, "", ""), bridge.ErrTransient},
		{answer(400, "InternalFailure", ""), bridge.ErrTransient},
		{answer(400, "KMSThrottlingException", ""), bridge.ErrThrottled},
		{sent(&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}), bridge.ErrUnreachable},
		{sent(&net.DNSError{Err: "no such host", IsNotFound: true}), bridge.ErrUnreachable},
		{sent(io.EOF), bridge.ErrTransient},
		{&aws.MissingRegionError{}, bridge.ErrRefused},
		{errors.New("anything else"), bridge.ErrTransient},
		{fmt.Errorf("call: %w", context.Canceled), context.Canceled},
	} {
		if got := awsapi.Class(c.err); !errors.Is(got, c.want) {
			t.Errorf("%v is %v, want %v", c.err, got, c.want)
		}
	}
	special := awsapi.Codes{"LimitExceededException": bridge.ErrRefused}
	if got := awsapi.Class(answer(400, "LimitExceededException", ""), special); !errors.Is(got, bridge.ErrRefused) {
		t.Errorf("the service's own meaning of a code is lost: %v", got)
	}
}

// A message of a service is one line without the secrets that the service repeats.
func TestMessagesHoldNoSecrets(t *testing.T) {
	const token, key = "IQoJb3JpZ2luX2VjSECRETSESSIONTOKEN", "wJalrXUtnFEMISECRETKEYEXAMPLE"
	long := strings.Repeat("QkxBSEJMQUg", 40)
	for _, message := range []string{
		"The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method.\n\nThe Canonical String for this request should have been\n'POST\n/\n\nhost:kinesis.us-east-1.amazonaws.com\nx-amz-security-token:" + token + "\n'",
		"x-amz-security-token: " + token + " is not valid",
		`{"SessionToken": "` + token + `", "SecretAccessKey":"` + key + `"}`,
		"bad request POST /?X-Amz-Security-Token=" + token + "&X-Amz-Signature=" + key,
		"Authorization: AWS4-HMAC-SHA256 Credential=" + key + ", Signature=" + token,
		"the security token " + long + " is not valid",
		"password=" + key,
	} {
		for _, err := range []error{answer(403, "InvalidSignatureException", message), sent(errors.New(message)), errors.New(message)} {
			got := fmt.Sprintf("%v", fmt.Errorf("call: %w", awsapi.Plain(err)))
			if strings.Contains(got, token) || strings.Contains(got, key) || strings.Contains(got, long) || strings.ContainsAny(got, "\n\r") {
				t.Errorf("a secret or a line end is left in %q", got)
			}
		}
	}
	for _, message := range []string{
		"The security token included in the request is invalid.",
		"Credential should be scoped to a valid region, not 'us-east-1'.",
		"User: arn:aws:sts::123456789012:assumed-role/mirror/session-1 is not authorized to perform: kinesis:PutRecords on resource: arn:aws:kinesis:us-east-1:123456789012:stream/" + strings.Repeat("s", 100),
	} {
		if got := awsapi.Scrub(message); got != message {
			t.Errorf("%q became %q", message, got)
		}
	}
	if got := awsapi.Scrub(strings.Repeat("word ", 10_000)); len(got) > 700 {
		t.Errorf("a message of %d bytes is left", len(got))
	}
}
