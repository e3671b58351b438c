package main

import (
	"cmp"
	"context"

	"github.com/kinesis-msk-bridge/bridge/internal/dynamo"
)

// dynamo makes a client for lease tables and for state: dynamodb:. It uses the same
// credentials as Kinesis, and its region unless dynamodb.region names another.
func (l *loaded) dynamo(ctx context.Context) (*dynamo.Client, error) {
	return dynamo.Dial(ctx, dynamo.Config{
		Region: cmp.Or(l.DynamoDB.Region, l.Kinesis.Region), Profile: l.Kinesis.Profile,
		EndpointURL: l.DynamoDB.EndpointURL, RoleARN: l.Kinesis.RoleARN,
	})
}
