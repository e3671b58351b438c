package kinesistest_test

import (
	"context"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
)

// start runs a server and a client without retries until the test ends.
func start(t testing.TB, cfg kinesistest.Config) (*kinesistest.Server, *kinesis.Client) {
	t.Helper()
	srv, err := kinesistest.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	hc := srv.HTTPClient()
	t.Cleanup(func() {
		hc.CloseIdleConnections()
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
	})
	client := kinesis.New(kinesis.Options{
		BaseEndpoint: aws.String(srv.URL()),
		Region:       srv.Region(),
		Credentials:  credentials.NewStaticCredentialsProvider("test", "test", ""),
		HTTPClient:   hc,
		Retryer:      aws.NopRetryer{},
	})
	return srv, client
}

// drain reads a shard from the oldest record until nothing is left or it has ended.
func drain(t testing.TB, client *kinesis.Client, stream, shard string) []types.Record {
	t.Helper()
	ctx := context.Background()
	it, err := client.GetShardIterator(ctx, &kinesis.GetShardIteratorInput{
		StreamName: &stream, ShardId: &shard, ShardIteratorType: types.ShardIteratorTypeTrimHorizon,
	})
	if err != nil {
		t.Fatal(err)
	}
	var all []types.Record
	for next := it.ShardIterator; next != nil; {
		page, err := client.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: next})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, page.Records...)
		if next = page.NextShardIterator; next != nil && *page.MillisBehindLatest == 0 {
			break
		}
	}
	return all
}

func TestRoundTrip(t *testing.T) {
	srv, client := start(t, kinesistest.Config{})
	ctx := context.Background()
	if _, err := client.CreateStream(ctx, &kinesis.CreateStreamInput{StreamName: aws.String("orders"), ShardCount: aws.Int32(2)}); err != nil {
		t.Fatal(err)
	}
	sum, err := client.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: aws.String("orders")})
	if err != nil {
		t.Fatal(err)
	}
	if got := *sum.StreamDescriptionSummary.OpenShardCount; got != 2 {
		t.Fatalf("open shards: got %d, want 2", got)
	}
	put, err := client.PutRecords(ctx, &kinesis.PutRecordsInput{StreamName: aws.String("orders"), Records: []types.PutRecordsRequestEntry{
		{PartitionKey: aws.String("a"), Data: []byte("one")},
		{PartitionKey: aws.String("user-123"), Data: []byte("two")},
		{PartitionKey: aws.String("quo\"te\\ü\n"), Data: []byte{}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if *put.FailedRecordCount != 0 {
		t.Fatalf("failed: %d", *put.FailedRecordCount)
	}
	st := srv.Stream("orders")
	for _, sh := range st.Shards() {
		stored, err := st.Records(sh.ID)
		if err != nil {
			t.Fatal(err)
		}
		read := drain(t, client, "orders", sh.ID)
		if len(read) != len(stored) {
			t.Fatalf("shard %s: read %d, stored %d", sh.ID, len(read), len(stored))
		}
		for i := range read {
			if *read[i].SequenceNumber != stored[i].SequenceNumber || *read[i].PartitionKey != stored[i].Key ||
				string(read[i].Data) != string(stored[i].Data) || !read[i].ApproximateArrivalTimestamp.Equal(stored[i].Arrival) {
				t.Errorf("shard %s record %d: read %v, stored %v", sh.ID, i, read[i], stored[i])
			}
		}
		t.Log(sh.ID, len(read), sh.FirstHash, sh.LastHash)
	}
	if _, err := client.SplitShard(ctx, &kinesis.SplitShardInput{StreamName: aws.String("orders"), ShardToSplit: aws.String("shardId-000000000000"), NewStartingHashKey: aws.String("1000")}); err != nil {
		t.Fatal(err)
	}
	if got := drain(t, client, "orders", "shardId-000000000000"); len(got) != 2 {
		t.Fatalf("closed parent: got %d records, want 2", len(got))
	}
	if _, err := client.MergeShards(ctx, &kinesis.MergeShardsInput{StreamName: aws.String("orders"), ShardToMerge: aws.String("shardId-000000000002"), AdjacentShardToMerge: aws.String("shardId-000000000003")}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.DeleteStream(ctx, &kinesis.DeleteStreamInput{StreamName: aws.String("orders")}); err != nil {
		t.Fatal(err)
	}
}
