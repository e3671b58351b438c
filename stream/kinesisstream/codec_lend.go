package kinesisstream

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/smithy-go/middleware"
)

// lent is memory for the body of one PutRecords. It belongs to the operation until that
// has returned: by then the SDK has closed the body that it gave to net/http, so that
// nothing reads it any more, and no attempt follows.
type lent struct{ b []byte }

type lentKey struct{}

// lend gives each PutRecords memory for its body.
func (p *protocol) lend(stack *middleware.Stack) error {
	return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("LendBody", func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
		if _, ok := in.Parameters.(*kinesis.PutRecordsInput); !ok {
			return next.HandleInitialize(ctx, in)
		}
		l, ok := p.bodies.Get().(*lent)
		if !ok {
			l = &lent{}
		}
		defer p.bodies.Put(l)
		return next.HandleInitialize(context.WithValue(ctx, lentKey{}, l), in)
	}), middleware.Before)
}

// lentTo is the memory that ctx carries, or some that nobody lent.
func lentTo(ctx context.Context) *lent {
	if l, ok := ctx.Value(lentKey{}).(*lent); ok {
		return l
	}
	return &lent{}
}
