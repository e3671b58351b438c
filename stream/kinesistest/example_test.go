package kinesistest_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
)

// connect makes a client of the AWS SDK for a server.
func connect(srv *kinesistest.Server) *kinesis.Client {
	return kinesis.New(kinesis.Options{
		BaseEndpoint: aws.String(srv.URL()),
		Region:       srv.Region(),
		Credentials:  credentials.NewStaticCredentialsProvider("test", "test", ""),
		HTTPClient:   srv.HTTPClient(),
		Retryer:      aws.NopRetryer{},
	})
}

func Example() {
	srv, err := kinesistest.Start(kinesistest.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()
	st, err := srv.CreateStream("orders", 2)
	if err != nil {
		fmt.Println(err)
		return
	}
	client := connect(srv)
	put, err := client.PutRecord(context.Background(), &kinesis.PutRecordInput{
		StreamName: aws.String("orders"), PartitionKey: aws.String("user-123"), Data: []byte("hello"),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	stored, err := st.Records(*put.ShardId)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(*put.ShardId, stored[0].Key, string(stored[0].Data), stored[0].SequenceNumber == *put.SequenceNumber)
	// Output: shardId-000000000001 user-123 hello true
}

// A put whose answer is lost: the record is stored, and the client cannot know.
func ExampleServer_SetFault() {
	srv, err := kinesistest.Start(kinesistest.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()
	st, err := srv.CreateStream("orders", 1)
	if err != nil {
		fmt.Println(err)
		return
	}
	srv.SetFault(kinesistest.Next("PutRecord", 1, kinesistest.Fault{LateCut: true}))
	_, err = connect(srv).PutRecord(context.Background(), &kinesis.PutRecordInput{
		StreamName: aws.String("orders"), PartitionKey: aws.String("k"), Data: []byte("hello"),
	})
	fmt.Println("told of a failure:", err != nil)
	fmt.Println("stored:", st.Shards()[0].Records)
	// Output:
	// told of a failure: true
	// stored: 1
}

// Time passes when the test says so.
func ExampleClock() {
	clock := kinesistest.NewClock(time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC))
	srv, err := kinesistest.Start(kinesistest.Config{Clock: clock.Now, After: clock.After})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()
	if _, err := srv.CreateStream("orders", 1); err != nil {
		fmt.Println(err)
		return
	}
	client := connect(srv)
	it, err := client.GetShardIterator(context.Background(), &kinesis.GetShardIteratorInput{
		StreamName: aws.String("orders"), ShardId: aws.String("shardId-000000000000"), ShardIteratorType: types.ShardIteratorTypeLatest,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	clock.Advance(5*time.Minute + time.Millisecond)
	_, err = client.GetRecords(context.Background(), &kinesis.GetRecordsInput{ShardIterator: it.ShardIterator})
	var expired *types.ExpiredIteratorException
	fmt.Println(errors.As(err, &expired))
	// Output: true
}

// Damage that the service would never do, for a tool that must find it.
func ExampleStream_Swap() {
	srv, err := kinesistest.Start(kinesistest.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()
	st, err := srv.CreateStream("orders", 1)
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := st.Put(kinesistest.Entry{Key: "k", Data: []byte("first")}, kinesistest.Entry{Key: "k", Data: []byte("second")}); err != nil {
		fmt.Println(err)
		return
	}
	if err := st.Swap("shardId-000000000000", 0, 1); err != nil {
		fmt.Println(err)
		return
	}
	records, err := st.Records("shardId-000000000000")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, r := range records {
		fmt.Println(string(r.Data))
	}
	// Output:
	// second
	// first
}
