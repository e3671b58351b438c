package dynamo

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/kinesis-msk-bridge/bridge"
)

// A Client is the SDK's.
type Client = dynamodb.Client

// A Config says where, and as whom. The zero Config is what the AWS configuration of the
// machine says.
type Config struct {
	Region, Profile string
	// EndpointURL replaces the endpoint of the region.
	EndpointURL string
	// RoleARN is assumed with the credentials that were found.
	RoleARN string
}

// Dial makes a client. It reaches for nothing yet.
func Dial(ctx context.Context, c Config) (*Client, error) {
	var options []func(*config.LoadOptions) error
	if c.Region != "" {
		options = append(options, config.WithRegion(c.Region))
	}
	if c.Profile != "" {
		options = append(options, config.WithSharedConfigProfile(c.Profile))
	}
	conf, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("load the AWS configuration: %w", classified{err, bridge.ErrRefused})
	}
	if conf.Region == "" {
		return nil, bridge.WithHint(fmt.Errorf("no AWS region is set: %w", bridge.ErrRefused), "set dynamodb.region, kinesis.region, --region or AWS_REGION")
	}
	if c.RoleARN != "" {
		conf.Credentials = aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(sts.NewFromConfig(conf), c.RoleARN))
	}
	return dynamodb.NewFromConfig(conf, func(o *dynamodb.Options) {
		if c.EndpointURL != "" {
			o.BaseEndpoint = &c.EndpointURL
		}
	}), nil
}
