package s3letters

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// Writable finds out whether letters can be listed and put, and leaves nothing behind: it
// begins the upload of an object in parts and gives it up. It wraps ErrMissing or ErrDenied
// if not.
func Writable(ctx context.Context, c Config) error {
	if _, err := Open(ctx, c); err != nil {
		return err
	}
	key := aws.String(c.root() + "preflight")
	begun, err := c.API.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: &c.Bucket, Key: key})
	if err != nil {
		return c.classify("CreateMultipartUpload", err)
	}
	if _, err := c.API.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &c.Bucket, Key: key, UploadId: begun.UploadId}); err != nil {
		return c.classify("AbortMultipartUpload", err)
	}
	return nil
}
