package awsapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/kinesis-msk-bridge/bridge"
)

// A CredentialsError says that there was nothing to sign a request with, so that it was
// not sent. It wraps the class of the cause.
type CredentialsError struct {
	text  string
	cause error
	class error
}

func (e *CredentialsError) Error() string { return e.text }

// Unwrap lets errors.Is find the class and the cause.
func (e *CredentialsError) Unwrap() []error { return []error{e.class, e.cause} }

// Retrieve implements aws.CredentialsProvider. It says in one sentence why there are none.
func (a *account) Retrieve(ctx context.Context) (aws.Credentials, error) {
	c, err := a.from.Retrieve(ctx)
	switch {
	case err == nil:
		return c, nil
	case ctx.Err() != nil:
		return c, err
	}
	class := ClassOfCredentials(err)
	if errors.Is(class, bridge.ErrDenied) && a.grace.Passes(time.Now()) {
		class = bridge.ErrTransient
	}
	return c, &CredentialsError{a.sentence(err), err, class}
}

// ClassOfCredentials is what it means that there are no credentials for the reason err:
// retryable if that is known to pass, and else ErrDenied.
func ClassOfCredentials(err error) error {
	if class := classOf(err, nil); bridge.Retryable(class) || errors.Is(class, context.Canceled) {
		return class
	}
	return bridge.ErrDenied
}

func (a *account) sentence(err error) string {
	switch {
	case metadata(err) && !bridge.Retryable(Class(err)):
		return "no AWS credentials were found"
	case metadata(err):
		return "no AWS credentials were found, and the instance metadata service does not answer"
	case a.role != "":
		return fmt.Sprintf("assume role %s: %s", a.role, Plain(err))
	}
	return "get AWS credentials: " + Plain(err).Error()
}

// metadata reports whether err is of the instance metadata service, the last in the SDK's
// chain of places where credentials are looked for.
func metadata(err error) bool {
	var op *smithy.OperationError
	return errors.As(err, &op) && op.Service() == "ec2imds"
}

// classOfMetadata tells a metadata service that is not there, or has no role to offer,
// from one that does not answer for a moment.
func classOfMetadata(err error) error {
	var answer *smithyhttp.ResponseError
	if errors.As(err, &answer) {
		if passing(answer.HTTPStatusCode()) != nil || answer.HTTPStatusCode() == http.StatusUnauthorized {
			return bridge.ErrTransient // 401: the session's token has expired, and is renewed
		}
		return bridge.ErrDenied
	}
	if class := classOfNetwork(err, nil); class != nil {
		return class
	}
	var timeout interface{ Timeout() bool }
	if errors.As(err, &timeout) && timeout.Timeout() {
		return bridge.ErrTransient
	}
	return bridge.ErrDenied // it is switched off
}
