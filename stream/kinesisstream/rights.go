package kinesisstream

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/internal/awsapi"
)

// A Right is whether this principal may do one action on the stream.
type Right struct {
	Action string // of IAM, such as kinesis:PutRecords
	Host   string // that was called; empty if none was
	Err    error  // why the action is refused
	// Unknown says why the action could not be tried; empty if it was.
	Unknown string
}

// dryRunAllowed is the error with which the service answers a dry run that would succeed.
const dryRunAllowed = "DryRunOperationException"

// Rights finds out whether this principal may read the stream, and whether it may write to
// it if writes is set. It asks for an iterator, and then by dry runs, which store nothing
// and take nothing from the limits of consumers. An endpoint that the configuration sets may
// belong to a server that does not know dry runs: such a server stores the record, so
// PutRecords is not tried there.
func (c *Client) Rights(ctx context.Context, writes bool) ([]Right, error) {
	shard, err := c.openShard(ctx)
	if err != nil {
		return nil, err
	}
	name, arn := c.ids()
	iterator, err := call(ctx, c, c.api.GetShardIterator, &kinesis.GetShardIteratorInput{
		StreamName: name, StreamARN: arn, ShardId: &shard, ShardIteratorType: types.ShardIteratorTypeLatest,
	})
	first, err := c.right("GetShardIterator", err)
	if err != nil {
		return nil, err
	}
	out := []Right{first, {Action: "kinesis:GetRecords", Unknown: "it needs an iterator, which " + first.Action + " gives"}}
	if first.Err == nil {
		if out[1], err = c.mayRead(ctx, iterator.ShardIterator); err != nil {
			return nil, err
		}
	}
	if writes {
		put, err := c.mayPut(ctx)
		if err != nil {
			return nil, err
		}
		out = append(out, put)
	}
	return out, nil
}

func (c *Client) mayRead(ctx context.Context, iterator *string) (Right, error) {
	_, arn := c.ids()
	_, err := call(ctx, c, c.api.GetRecords, &kinesis.GetRecordsInput{
		ShardIterator: iterator, StreamARN: arn, Limit: aws.Int32(1), DryRun: aws.Bool(true),
	})
	return c.right("GetRecords", err)
}

func (c *Client) mayPut(ctx context.Context) (Right, error) {
	if c.custom() {
		return Right{Action: "kinesis:PutRecords", Unknown: "only a dry run shows it, and a server at an endpoint of your own may store the record"}, nil
	}
	name, arn := c.ids()
	_, err := call(ctx, c, c.api.PutRecords, &kinesis.PutRecordsInput{
		StreamName: name, StreamARN: arn, DryRun: aws.Bool(true),
		Records: []types.PutRecordsRequestEntry{{PartitionKey: aws.String("bridge-dry-run"), Data: []byte("bridge: dry run")}},
	})
	if err == nil {
		return Right{Action: "kinesis:PutRecords", Host: c.Host(), Err: bridge.WithHint(
			fmt.Errorf("%s ignored the dry run and stored a record with the partition key bridge-dry-run: %w", c.Host(), bridge.ErrRefused),
			"this is no host of AWS: set kinesis.endpoint_url, and no dry run is tried")}, nil
	}
	return c.right("PutRecords", err)
}

// right judges the answer to a dry run; what may pass is an error.
func (c *Client) right(op string, answer error) (Right, error) {
	r := Right{Action: "kinesis:" + op, Host: c.Host()}
	if answer == nil || isCode(answer, dryRunAllowed) {
		return r, nil
	}
	err := c.classify(op, answer)
	if !errors.Is(err, bridge.ErrDenied) {
		return r, err
	}
	hint := fmt.Sprintf("allow this principal %s on %s", r.Action, c.Info().ARN)
	if strings.HasPrefix(awsapi.Code(answer), "KMS") {
		hint = "enable the KMS key of the stream, and allow this principal kms:GenerateDataKey and kms:Decrypt with it"
	}
	r.Err = bridge.WithHint(err, hint)
	return r, nil
}

// custom reports whether the configuration sets an endpoint, here, in the environment or in
// the shared AWS configuration.
func (c *Client) custom() bool { return c.api.Options().BaseEndpoint != nil }

// openShard is any shard that takes records.
func (c *Client) openShard(ctx context.Context) (string, error) {
	shards, err := c.Partitions(ctx)
	if err != nil {
		return "", err
	}
	for _, s := range shards {
		if !s.Closed {
			return s.ID, nil
		}
	}
	return "", fmt.Errorf("stream %s lists no open shard: %w", c.name(), bridge.ErrTransient)
}
