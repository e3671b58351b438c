package dynamo

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/internal/awsapi"
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
	conf, err := awsapi.Load(ctx, awsapi.Config{Region: c.Region, Profile: c.Profile, RoleARN: c.RoleARN})
	if err != nil {
		return nil, err
	}
	if conf.Region == "" {
		return nil, bridge.WithHint(fmt.Errorf("no AWS region is set: %w", bridge.ErrRefused), "set dynamodb.region, kinesis.region, --region or AWS_REGION")
	}
	return dynamodb.NewFromConfig(conf, func(o *dynamodb.Options) {
		if c.EndpointURL != "" {
			o.BaseEndpoint = &c.EndpointURL
		}
	}), nil
}
