// Package awsapi makes the AWS configurations that clients are made from, and gives the
// errors of AWS services the classes that the rest of the module asks for. It is the one
// place where a message of a service becomes an error, and takes secrets out of it.
package awsapi

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/logging"
	"github.com/aws/smithy-go/middleware"

	"github.com/kinesis-msk-bridge/bridge"
)

// A Config says where, and as whom. The zero Config is what the AWS configuration of the
// machine says.
type Config struct {
	Region, Profile string
	// RoleARN is assumed with the credentials that were found.
	RoleARN string
	// Credentials replace the chain of the SDK, in tests.
	Credentials aws.CredentialsProvider
	// Timeout bounds one call, 30 s if zero.
	Timeout time.Duration
}

const defaultTimeout = 30 * time.Second

// Load reads the AWS configuration that clients are made from. It asks no service. The
// region may be empty. Clients made from the result remember whether their credentials
// worked: see Class.
func Load(ctx context.Context, c Config) (aws.Config, error) {
	timeout := c.Timeout
	if timeout == 0 {
		timeout = defaultTimeout
	}
	options := []func(*config.LoadOptions) error{
		config.WithHTTPClient(awshttp.NewBuildableClient().WithTimeout(timeout)),
		// Lines of the SDK would stand unformatted among those of the program's log.
		config.WithLogger(logging.Nop{}),
	}
	if c.Region != "" {
		options = append(options, config.WithRegion(c.Region))
	}
	if c.Profile != "" {
		options = append(options, config.WithSharedConfigProfile(c.Profile))
	}
	if c.Credentials != nil {
		options = append(options, config.WithCredentialsProvider(c.Credentials))
	}
	conf, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return conf, fmt.Errorf("load the AWS configuration: %w", &classified{Plain(err), bridge.ErrRefused})
	}
	if c.RoleARN != "" {
		// STS is asked with the retries of the SDK: no order depends on it.
		conf.Credentials = aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(sts.NewFromConfig(conf), c.RoleARN))
	}
	a := &account{from: conf.Credentials, role: c.RoleARN}
	conf.Credentials = a
	conf.APIOptions = append(conf.APIOptions, a.watch)
	return conf, nil
}

// An account is the credentials of one configuration, and the memory of whether they
// worked. It is the aws.CredentialsProvider of its clients.
type account struct {
	from  aws.CredentialsProvider
	role  string
	grace Grace
}

// watch adds to each call of a client that its end is noted.
func (a *account) watch(stack *middleware.Stack) error {
	return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("CredentialsGrace",
		func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (out middleware.InitializeOutput, meta middleware.Metadata, err error) {
			out, meta, err = next.HandleInitialize(ctx, in)
			return out, meta, a.judge(err)
		}), middleware.Before)
}

// judge notes that the credentials were accepted. If they were rejected, the next call
// fetches new ones; if they worked before, that is worth a try.
func (a *account) judge(err error) error {
	if err == nil {
		a.grace.Worked()
		return nil
	}
	if !rejected[Code(err)] || errors.As(err, new(*CredentialsError)) {
		return err
	}
	if cache, ok := a.from.(*aws.CredentialsCache); ok {
		cache.Invalidate()
	}
	if a.grace.Passes(time.Now()) {
		return &graced{err}
	}
	return err
}

// A graced error is a rejection that may pass.
type graced struct{ error }

func (g *graced) Unwrap() error { return g.error }
