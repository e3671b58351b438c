// Package dynamo makes DynamoDB clients, and gives the errors of DynamoDB the classes that the rest of the module
// asks for.
package dynamo

import (
	"context"
	"errors"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/internal/awsapi"
)

// codes says what errors mean that DynamoDB alone answers with, or means otherwise.
var codes = awsapi.Codes{
	"ConditionalCheckFailedException": bridge.ErrConflict,
	"ResourceNotFoundException":       bridge.ErrMissing,
	"ResourceInUseException":          bridge.ErrConflict,
}

// A classified error reads as what happened and is what it means.
type classified struct {
	error
	class error
}

func (c classified) Unwrap() []error { return []error{c.error, c.class} }

// Classify wraps one of the classes of package bridge: ErrConflict for a condition that
// does not hold, ErrMissing for a table that is not there, and so on. It is nil for nil,
// and returns the end of the caller's context as it is.
func Classify(err error) error {
	var ended interface{ CanceledError() bool }
	if err == nil || errors.Is(err, context.Canceled) || errors.As(err, &ended) && ended.CanceledError() {
		return err
	}
	class := awsapi.Class(err, codes)
	e := error(classified{awsapi.Plain(err), class})
	switch class {
	case bridge.ErrDenied:
		e = bridge.WithHint(e, "check the credentials, and that they may use the table: dynamodb:DescribeTable, Scan, GetItem, PutItem, UpdateItem, DeleteItem, CreateTable")
	case bridge.ErrUnreachable:
		e = bridge.WithHint(e, "check dynamodb.region and dynamodb.endpoint_url, and the way there")
	}
	return e
}
