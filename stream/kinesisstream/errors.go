package kinesisstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	smithy "github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/kinesis-msk-bridge/bridge"
)

// codes says what an error of the service means to an engine. The names are those of the
// API reference and of AWS's common errors.
var codes = map[string]error{
	"ResourceNotFoundException":              bridge.ErrMissing,
	"AccessDeniedException":                  bridge.ErrDenied,
	"UnrecognizedClientException":            bridge.ErrDenied,
	"InvalidSignatureException":              bridge.ErrDenied,
	"SignatureDoesNotMatch":                  bridge.ErrDenied,
	"IncompleteSignature":                    bridge.ErrDenied,
	"ExpiredTokenException":                  bridge.ErrDenied,
	"InvalidClientTokenId":                   bridge.ErrDenied,
	"MissingAuthenticationToken":             bridge.ErrDenied,
	"MissingAuthenticationTokenException":    bridge.ErrDenied,
	"OptInRequired":                          bridge.ErrDenied,
	"KMSAccessDeniedException":               bridge.ErrDenied,
	"KMSDisabledException":                   bridge.ErrDenied,
	"KMSInvalidStateException":               bridge.ErrDenied,
	"KMSNotFoundException":                   bridge.ErrDenied,
	"KMSOptInRequired":                       bridge.ErrDenied,
	"KMSThrottlingException":                 bridge.ErrThrottled,
	"ProvisionedThroughputExceededException": bridge.ErrThrottled,
	"LimitExceededException":                 bridge.ErrThrottled,
	"ThrottlingException":                    bridge.ErrThrottled,
	"RequestLimitExceeded":                   bridge.ErrThrottled,
	"ResourceInUseException":                 bridge.ErrTransient,
	"InternalFailure":                        bridge.ErrTransient,
	"InternalFailureException":               bridge.ErrTransient,
	"ServiceUnavailable":                     bridge.ErrTransient,
}

// expiredIterator is the one code that only a reader knows what to do with.
const expiredIterator = "ExpiredIteratorException"

// A classified error reads as what happened and is what it means.
type classified struct {
	error
	class error
}

func (c *classified) Unwrap() []error { return []error{c.error, c.class} }

// classify gives an error of the SDK its class and, where there is one, a way out.
func (c *Client) classify(op string, err error) error {
	if err == nil {
		return nil
	}
	what := fmt.Errorf("%s on stream %s in %s: %w", op, c.name(), c.region, plain(err))
	if errors.Is(err, context.Canceled) {
		return what
	}
	class := classOf(err)
	return bridge.WithHint(&classified{what, class}, c.hint(class, err))
}

// plain takes off what the SDK wraps around an answer of the service: operation, status
// and request id say nothing to the one who must act.
func plain(err error) error {
	var api smithy.APIError
	if errors.As(err, &api) {
		return &terse{api, err}
	}
	var op *smithy.OperationError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

type terse struct {
	api smithy.APIError
	err error
}

func (t *terse) Error() string {
	if m := t.api.ErrorMessage(); m != "" {
		return t.api.ErrorCode() + ": " + m
	}
	return t.api.ErrorCode()
}

func (t *terse) Unwrap() error { return t.err }

func classOf(err error) error {
	var api smithy.APIError
	if errors.As(err, &api) {
		if class, ok := codes[api.ErrorCode()]; ok {
			return class
		}
	}
	var answer *smithyhttp.ResponseError
	if errors.As(err, &answer) {
		switch status := answer.HTTPStatusCode(); {
		case status >= 500:
			return bridge.ErrTransient
		case status == http.StatusTooManyRequests:
			return bridge.ErrThrottled
		case status == http.StatusForbidden || status == http.StatusUnauthorized:
			return bridge.ErrDenied
		case status >= 400:
			return bridge.ErrRefused
		}
	}
	var send *smithyhttp.RequestSendError
	var network *net.OpError
	var missing *aws.MissingRegionError
	switch {
	case errors.As(err, &network) && network.Op == "dial":
		return bridge.ErrUnreachable
	case errors.As(err, &send):
		return bridge.ErrTransient
	case errors.As(err, &missing):
		return bridge.ErrRefused
	case credentials(err):
		return bridge.ErrDenied
	}
	return bridge.ErrTransient
}

// credentials reports whether the SDK found nothing to sign with.
func credentials(err error) bool {
	var sign interface{ ServiceID() string }
	if errors.As(err, &sign) {
		var api smithy.APIError
		return !errors.As(err, &api) && containsAny(err.Error(), "get credentials", "failed to refresh cached credentials", "no EC2 IMDS role found")
	}
	return false
}

func (c *Client) hint(class, err error) string {
	switch {
	case errors.Is(class, bridge.ErrMissing):
		return "check the name of the stream and the region: " + c.where()
	case errors.Is(class, bridge.ErrDenied):
		return "check the credentials, the region and the rights of this principal on the stream: " + c.where()
	case errors.Is(class, bridge.ErrUnreachable):
		return "check the address and the network: " + c.where()
	}
	return ""
}

// uncertain reports whether a PutRecords that failed with err may have stored something,
// or may yet: everything but an answer that says that it was not carried out.
func uncertain(err error) bool {
	var api smithy.APIError
	var answer *smithyhttp.ResponseError
	if !errors.As(err, &api) || !errors.As(err, &answer) {
		return true
	}
	return answer.HTTPStatusCode() >= 500 || answer.HTTPStatusCode() < 400
}

func isCode(err error, code string) bool {
	var api smithy.APIError
	return errors.As(err, &api) && api.ErrorCode() == code
}
