package kinesisstream

import (
	"context"
	"errors"
	"fmt"
	"net"

	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/internal/awsapi"
)

// codes says what errors mean that Kinesis alone answers with, or means otherwise. The
// names are those of the API reference.
var codes = awsapi.Codes{
	"ResourceNotFoundException": bridge.ErrMissing,
	"ResourceInUseException":    bridge.ErrTransient,
	"KMSAccessDeniedException":  bridge.ErrDenied,
	"KMSDisabledException":      bridge.ErrDenied,
	"KMSInvalidStateException":  bridge.ErrDenied,
	"KMSNotFoundException":      bridge.ErrDenied,
	"KMSOptInRequired":          bridge.ErrDenied,
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
	what := fmt.Errorf("%s on stream %s in %s: %w", op, c.name(), c.region, awsapi.Plain(err))
	if errors.Is(err, context.Canceled) {
		return what
	}
	class := awsapi.Class(err, codes)
	if c.noRegion(err) {
		class = bridge.ErrRefused
	}
	return bridge.WithHint(&classified{what, class}, c.hint(class, err))
}

// noRegion reports whether the name of the service is not known in a region of which this
// client has not heard yet: there is no such region.
func (c *Client) noRegion(err error) bool {
	var dns *net.DNSError
	return errors.As(err, &dns) && dns.IsNotFound && c.conf.EndpointURL == "" && c.Info().ARN == ""
}

func (c *Client) hint(class, err error) string {
	switch {
	case errors.Is(class, bridge.ErrMissing):
		return "check the name of the stream and the region: " + c.where()
	case errors.Is(class, bridge.ErrDenied):
		return "check the credentials, the region and the rights of this principal on the stream: " + c.where()
	case c.noRegion(err):
		return "check the name of the region: " + c.where()
	case errors.Is(class, bridge.ErrUnreachable):
		return "check the address and the network: " + c.where()
	}
	return ""
}

// uncertain reports whether a PutRecords that failed with err may have stored something,
// or may yet: everything but a request that was not sent, and an answer that says that it
// was not carried out.
func uncertain(err error) bool {
	if awsapi.Unsent(err) {
		return false
	}
	var answer *smithyhttp.ResponseError
	if awsapi.Code(err) == "" || !errors.As(err, &answer) {
		return true
	}
	return answer.HTTPStatusCode() >= 500 || answer.HTTPStatusCode() < 400
}

func isCode(err error, code string) bool { return awsapi.Code(err) == code }
