package s3letters

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/kinesis-msk-bridge/bridge"
)

// codes are the classes of what S3 answers.
var codes = map[string]error{
	"AccessDenied": bridge.ErrDenied, "InvalidAccessKeyId": bridge.ErrDenied, "SignatureDoesNotMatch": bridge.ErrDenied,
	"ExpiredToken": bridge.ErrDenied, "AllAccessDisabled": bridge.ErrDenied,
	"NoSuchBucket": bridge.ErrMissing, "NoSuchKey": bridge.ErrMissing,
	"EntityTooLarge": bridge.ErrOversize, "MaxMessageLengthExceeded": bridge.ErrOversize,
	"SlowDown": bridge.ErrThrottled, "RequestLimitExceeded": bridge.ErrThrottled, "Throttling": bridge.ErrThrottled,
	"RequestTimeout": bridge.ErrTransient,
}

// classify gives an error of the SDK its class, and a hint where there is one.
func (c Config) classify(op string, err error) error {
	err = fmt.Errorf("%s in bucket %s: %w: %w", op, c.Bucket, classOf(err), err)
	switch {
	case errors.Is(err, bridge.ErrMissing):
		return bridge.WithHint(err, "create the bucket, or name another place in dead_letters")
	case errors.Is(err, bridge.ErrDenied):
		return bridge.WithHint(err, "allow s3:ListBucket, s3:GetObject and s3:PutObject for the bucket and its prefix")
	}
	return err
}

func classOf(err error) error {
	if errors.Is(err, context.Canceled) {
		return context.Canceled
	}
	var api smithy.APIError
	if errors.As(err, &api) && codes[api.ErrorCode()] != nil {
		return codes[api.ErrorCode()]
	}
	var answer *smithyhttp.ResponseError
	if !errors.As(err, &answer) || answer.HTTPStatusCode() == 0 {
		return bridge.ErrUnreachable
	}
	switch status := answer.HTTPStatusCode(); {
	case status == http.StatusForbidden || status == http.StatusUnauthorized:
		return bridge.ErrDenied
	case status == http.StatusNotFound:
		return bridge.ErrMissing
	case status >= http.StatusInternalServerError:
		return bridge.ErrTransient
	}
	return bridge.ErrRefused
}
