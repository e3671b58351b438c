package s3letters

import (
	"errors"
	"fmt"
	"net/http"

	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/internal/awsapi"
)

// codes says what errors mean that S3 alone answers with.
var codes = awsapi.Codes{
	"NoSuchBucket": bridge.ErrMissing, "NoSuchKey": bridge.ErrMissing, "NotFound": bridge.ErrMissing,
	"EntityTooLarge": bridge.ErrOversize, "MaxMessageLengthExceeded": bridge.ErrOversize,
}

// classify gives an error of the SDK its class, and a hint where there is one.
func (c Config) classify(op string, err error) error {
	class := awsapi.Class(err, codes)
	var answer *smithyhttp.ResponseError
	if errors.Is(class, bridge.ErrRefused) && errors.As(err, &answer) && answer.HTTPStatusCode() == http.StatusNotFound {
		class = bridge.ErrMissing
	}
	err = fmt.Errorf("%s in bucket %s: %w: %w", op, c.Bucket, class, awsapi.Plain(err))
	switch {
	case errors.Is(class, bridge.ErrMissing):
		return bridge.WithHint(err, "create the bucket, or name another place in dead_letters")
	case errors.Is(class, bridge.ErrDenied):
		return bridge.WithHint(err, "allow s3:ListBucket, s3:GetObject and s3:PutObject for the bucket and its prefix")
	}
	return err
}
