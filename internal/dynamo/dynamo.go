// Package dynamo makes DynamoDB clients, and gives the errors of DynamoDB the classes that the rest of the module
// asks for.
package dynamo

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/kinesis-msk-bridge/bridge"
)

// The codes that DynamoDB gives refusals without a type of their own.
var (
	denied = []string{
		"AccessDeniedException", "UnrecognizedClientException", "MissingAuthenticationTokenException",
		"IncompleteSignatureException", "InvalidSignatureException", "ExpiredTokenException", "NotAuthorized",
	}
	throttled = []string{"ThrottlingException", "RequestLimitExceeded", "ProvisionedThroughputExceededException", "LimitExceededException"}
)

// A classified error reads as what happened and is what it means.
type classified struct {
	error
	class error
}

func (c classified) Unwrap() []error { return []error{c.error, c.class} }

// Classify wraps one of the classes of package bridge: ErrConflict for a condition that
// does not hold, ErrMissing for a table that is not there, and so on. It is nil for nil.
func Classify(err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	class := class(err)
	e := error(classified{err, class})
	switch class {
	case bridge.ErrDenied:
		e = bridge.WithHint(e, "check the credentials, and that they may use the table: dynamodb:DescribeTable, Scan, GetItem, PutItem, UpdateItem, DeleteItem, CreateTable")
	case bridge.ErrUnreachable:
		e = bridge.WithHint(e, "check dynamodb.region and dynamodb.endpoint_url, and the way there")
	}
	return e
}

func class(err error) error {
	var (
		condition *types.ConditionalCheckFailedException
		missing   *types.ResourceNotFoundException
		busy      *types.ResourceInUseException
		api       smithy.APIError
		answer    *smithyhttp.ResponseError
		dial      *net.OpError
		dns       *net.DNSError
	)
	switch {
	case errors.As(err, &condition):
		return bridge.ErrConflict
	case errors.As(err, &missing):
		return bridge.ErrMissing
	case errors.As(err, &busy):
		return bridge.ErrConflict
	case errors.As(err, &api) && slices.Contains(denied, api.ErrorCode()):
		return bridge.ErrDenied
	case errors.As(err, &api) && slices.Contains(throttled, api.ErrorCode()):
		return bridge.ErrThrottled
	case errors.As(err, &answer) && answer.HTTPStatusCode() >= http.StatusInternalServerError:
		return bridge.ErrTransient
	case errors.As(err, &api):
		return bridge.ErrRefused
	case errors.As(err, &dns), errors.As(err, &dial):
		return bridge.ErrUnreachable
	}
	return bridge.ErrTransient
}
