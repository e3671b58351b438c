package awsapi

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/kinesis-msk-bridge/bridge"
)

// Codes says what codes of one service mean. They go before what codes mean in general.
type Codes map[string]error

// common says what codes mean that any service may answer with, beside those that the SDK
// lists itself. The names are those of AWS's common errors and of its older services.
var common = Codes{
	// The request was too long on its way, or the clock is wrong, which the SDK corrects
	// with the next call.
	"RequestTimeTooSkewed": bridge.ErrTransient,
	"RequestExpired":       bridge.ErrTransient,
	"RequestInTheFuture":   bridge.ErrTransient,
	// A listing took too long, and begins again.
	"ExpiredNextTokenException":    bridge.ErrTransient,
	"IDPCommunicationError":        bridge.ErrTransient,
	"InternalFailure":              bridge.ErrTransient,
	"InternalFailureException":     bridge.ErrTransient,
	"InternalError":                bridge.ErrTransient,
	"InternalServerError":          bridge.ErrTransient,
	"InternalServerException":      bridge.ErrTransient,
	"InternalServerErrorException": bridge.ErrTransient,
	"ServerException":              bridge.ErrTransient,
	"ServiceUnavailable":           bridge.ErrTransient,
	"ServiceUnavailableError":      bridge.ErrTransient,
	"ServiceUnavailableException":  bridge.ErrTransient,
	"OperationAborted":             bridge.ErrTransient,
	"KMSThrottlingException":       bridge.ErrThrottled,
	"TooManyRequests":              bridge.ErrThrottled,

	"AccessDenied":          bridge.ErrDenied,
	"AccessDeniedException": bridge.ErrDenied,
	"AllAccessDisabled":     bridge.ErrDenied,
	"ForbiddenException":    bridge.ErrDenied,
	"NotAuthorized":         bridge.ErrDenied,
	"OptInRequired":         bridge.ErrDenied,
	"UnauthorizedException": bridge.ErrDenied,
}

// rejected are the codes of requests whose credentials or signature a service does not
// accept. Credentials that worked are renewed.
var rejected = map[string]bool{
	"AuthFailure": true, "ExpiredToken": true, "ExpiredTokenException": true, "IncompleteSignature": true,
	"IncompleteSignatureException": true, "InvalidAccessKeyId": true, "InvalidClientTokenId": true,
	"InvalidSignatureException": true, "InvalidToken": true, "MissingAuthenticationToken": true,
	"MissingAuthenticationTokenException": true, "SignatureDoesNotMatch": true, "TokenRefreshRequired": true,
	"UnrecognizedClientException": true,
}

// Class is what an error of the SDK means to an engine: one of the classes of package
// bridge, or context.Canceled. Whatever the SDK would try again is retryable. So is for some
// minutes that credentials are rejected which worked before, if the client was made from
// what Load returned.
func Class(err error, services ...Codes) error {
	if class := classOf(err, services); class != nil {
		return class
	}
	return bridge.ErrTransient // an answer that was cut off, or that is none
}

// classOf is nil for an error that no rule knows.
func classOf(err error, services []Codes) error {
	var creds *CredentialsError
	var region *aws.MissingRegionError
	var params *smithy.InvalidParamsError
	switch {
	case errors.As(err, new(*graced)):
		return bridge.ErrTransient
	case errors.As(err, &creds):
		return creds.class
	case errors.Is(err, context.Canceled):
		return context.Canceled
	case metadata(err):
		return classOfMetadata(err)
	case errors.As(err, &region), errors.As(err, &params):
		return bridge.ErrRefused
	}
	for _, rule := range []func(error, []Codes) error{classOfCode, classOfStatus, classOfNetwork} {
		if class := rule(err, services); class != nil {
			return class
		}
	}
	if retry.IsErrorRetryables(retry.DefaultRetryables).IsErrorRetryable(err) == aws.TrueTernary {
		return bridge.ErrTransient
	}
	return nil
}

// classOfCode judges what a service answered by its code.
func classOfCode(err error, services []Codes) error {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return nil
	}
	code := api.ErrorCode()
	for _, codes := range services {
		if class, ok := codes[code]; ok {
			return class
		}
	}
	if Skewed(err) || late(api) {
		return bridge.ErrTransient
	}
	if retry.IsErrorThrottles(retry.DefaultThrottles).IsErrorThrottle(err) == aws.TrueTernary {
		return bridge.ErrThrottled
	}
	if _, passes := retry.DefaultRetryableErrorCodes[code]; passes {
		return bridge.ErrTransient
	}
	if rejected[code] {
		return bridge.ErrDenied
	}
	if class, ok := common[code]; ok || errors.As(err, new(*smithyhttp.ResponseError)) {
		return class
	}
	if api.ErrorFault() == smithy.FaultServer {
		return bridge.ErrTransient
	}
	return bridge.ErrRefused
}

// Skewed reports whether a service refused a request because this machine's clock is wrong.
// The SDK has found out by how much, and the next request of the same client is signed with
// the right time. Codes that mean a refusal otherwise are meant, too.
func Skewed(err error) bool {
	return (retry.RetryableError{}).IsErrorRetryable(err) == aws.TrueTernary
}

// late reports whether a service refused a signature because of its time alone: the request
// was signed too long before it arrived.
func late(api smithy.APIError) bool {
	m := strings.TrimSpace(api.ErrorMessage())
	return rejected[api.ErrorCode()] && (strings.HasPrefix(m, "Signature expired") || strings.HasPrefix(m, "Signature not yet current"))
}

// classOfStatus judges an answer whose code says nothing.
func classOfStatus(err error, _ []Codes) error {
	var answer *smithyhttp.ResponseError
	if !errors.As(err, &answer) {
		return nil
	}
	switch status := answer.HTTPStatusCode(); {
	case passing(status) != nil:
		return passing(status)
	case status == http.StatusForbidden || status == http.StatusUnauthorized:
		return bridge.ErrDenied
	case status >= http.StatusBadRequest:
		return bridge.ErrRefused
	}
	return nil
}

// passing is the class of a status that passes, nil of one that does not.
func passing(status int) error {
	switch {
	case status == http.StatusTooManyRequests:
		return bridge.ErrThrottled
	case status >= http.StatusInternalServerError, status == http.StatusRequestTimeout:
		return bridge.ErrTransient
	}
	return nil
}

// classOfNetwork tells a service that nobody reaches from a connection that was cut.
func classOfNetwork(err error, _ []Codes) error {
	var (
		dns  *net.DNSError
		op   *net.OpError
		some net.Error
		send *smithyhttp.RequestSendError
	)
	switch {
	case errors.As(err, &dns), errors.As(err, &op) && op.Op == "dial":
		return bridge.ErrUnreachable
	case errors.As(err, &op), errors.As(err, &some), errors.As(err, &send),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.ErrClosedPipe), errors.Is(err, net.ErrClosed),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return bridge.ErrTransient
	}
	return nil
}

// Unsent reports whether err says that a request did not leave this machine: there was
// nothing to sign it with, or no connection.
func Unsent(err error) bool {
	var creds *CredentialsError
	var op *net.OpError
	return errors.As(err, &creds) || errors.As(err, &op) && op.Op == "dial"
}

// Code is the code that a service answered with, empty if it did not answer.
func Code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}
