package main

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/kinesis-msk-bridge/bridge"
)

// dynamo makes a client for lease tables and for state: dynamodb:. It uses the same
// credentials as Kinesis, and its region unless dynamodb.region names another.
func (l *loaded) dynamo(ctx context.Context) (*dynamodb.Client, error) {
	region := l.DynamoDB.Region
	if region == "" {
		region = l.Kinesis.Region
	}
	var options []func(*awsconfig.LoadOptions) error
	if region != "" {
		options = append(options, awsconfig.WithRegion(region))
	}
	if l.Kinesis.Profile != "" {
		options = append(options, awsconfig.WithSharedConfigProfile(l.Kinesis.Profile))
	}
	conf, err := awsconfig.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("load the AWS configuration: %w", err)
	}
	if conf.Region == "" {
		return nil, bridge.WithHint(fmt.Errorf("no AWS region is set: %w", bridge.ErrRefused), "set dynamodb.region, kinesis.region, --region or AWS_REGION")
	}
	if l.Kinesis.RoleARN != "" {
		conf.Credentials = aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(sts.NewFromConfig(conf), l.Kinesis.RoleARN))
	}
	return dynamodb.NewFromConfig(conf, func(o *dynamodb.Options) {
		if l.DynamoDB.EndpointURL != "" {
			o.BaseEndpoint = &l.DynamoDB.EndpointURL
		}
	}), nil
}
