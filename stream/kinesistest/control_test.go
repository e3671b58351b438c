package kinesistest_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
)

// summary is DescribeStreamSummary.
func summary(t testing.TB, client *kinesis.Client, stream string) *types.StreamDescriptionSummary {
	t.Helper()
	out, err := client.DescribeStreamSummary(context.Background(), &kinesis.DescribeStreamSummaryInput{StreamName: &stream})
	if err != nil {
		t.Fatal(err)
	}
	return out.StreamDescriptionSummary
}

// TestStatusDelay follows a stream through its states by the clock.
func TestStatusDelay(t *testing.T) {
	clock := kinesistest.NewClock(birth)
	srv, client := start(t, kinesistest.Config{Clock: clock.Now, StatusDelay: 10 * time.Second, Limits: kinesistest.Limits{Off: true}})
	ctx := context.Background()
	if _, err := client.CreateStream(ctx, &kinesis.CreateStreamInput{StreamName: aws.String("s"), ShardCount: aws.Int32(1)}); err != nil {
		t.Fatal(err)
	}
	if got := summary(t, client, "s"); got.StreamStatus != "CREATING" || *got.OpenShardCount != 0 {
		t.Errorf("created: got %s, %d shards", got.StreamStatus, *got.OpenShardCount)
	}
	if _, err := putLetters(client, "a"); code(err) != "ResourceNotFoundException" {
		t.Errorf("put while creating: got %v", err)
	}
	clock.Advance(9999 * time.Millisecond)
	if got := summary(t, client, "s").StreamStatus; got != "CREATING" {
		t.Errorf("just before: got %s", got)
	}
	clock.Advance(time.Millisecond)
	if got := summary(t, client, "s").StreamStatus; got != "ACTIVE" {
		t.Errorf("after the delay: got %s", got)
	}
	split := func() error {
		_, err := client.SplitShard(ctx, &kinesis.SplitShardInput{StreamName: aws.String("s"), ShardToSplit: aws.String(first), NewStartingHashKey: aws.String("1000")})
		return err
	}
	if err := split(); err != nil {
		t.Fatal(err)
	}
	if got := summary(t, client, "s"); got.StreamStatus != "UPDATING" || *got.OpenShardCount != 1 {
		t.Errorf("split: got %s, %d shards", got.StreamStatus, *got.OpenShardCount)
	}
	if code(split()) != "ResourceInUseException" {
		t.Error("split again while updating was taken")
	}
	if _, err := putLetters(client, "b"); err != nil {
		t.Errorf("put while updating: %v", err)
	}
	clock.Advance(10 * time.Second)
	if got := ids(list(t, client, nil)); got != "0 1 2" {
		t.Errorf("shards after the delay: %s", got)
	}
	if got := stored(t, srv); got != "b" {
		t.Errorf("the parent holds %q", got)
	}
	if _, err := client.DeleteStream(ctx, &kinesis.DeleteStreamInput{StreamName: aws.String("s")}); err != nil {
		t.Fatal(err)
	}
	if got := summary(t, client, "s").StreamStatus; got != "DELETING" {
		t.Errorf("deleted: got %s", got)
	}
	clock.Advance(10 * time.Second)
	if _, err := client.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: aws.String("s")}); code(err) != "ResourceNotFoundException" {
		t.Errorf("after the delay: got %v", err)
	}
}

// TestRecreated makes a stream anew under its name, in the same instant: it is another one,
// and neither iterators nor numbers of the first are good for it.
func TestRecreated(t *testing.T) {
	srv, client, clock := standing(t, 1, unlimited())
	ctx := context.Background()
	putAt(t, srv, clock, "a")
	clock.Set(birth)
	old := srv.Stream("s")
	it := iteratorAt(t, client, types.ShardIteratorTypeTrimHorizon)
	number := records(t, srv, first)[0].SequenceNumber
	if _, err := client.DeleteStream(ctx, &kinesis.DeleteStreamInput{StreamName: aws.String("s")}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: it}); code(err) != "ResourceNotFoundException" {
		t.Errorf("iterator of a deleted stream: got %v", err)
	}
	if _, err := srv.CreateStream("s", 1); err != nil {
		t.Fatal(err)
	}
	if got := *summary(t, client, "s").StreamCreationTimestamp; !got.After(old.Created()) {
		t.Errorf("created at %v, the first one at %v", got, old.Created())
	}
	if _, err := client.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: it}); code(err) != "ResourceNotFoundException" {
		t.Errorf("iterator of the first stream: got %v", err)
	}
	if _, err := client.GetShardIterator(ctx, &kinesis.GetShardIteratorInput{StreamName: aws.String("s"), ShardId: aws.String(first),
		ShardIteratorType: types.ShardIteratorTypeAtSequenceNumber, StartingSequenceNumber: &number}); code(err) != "InvalidArgumentException" {
		t.Errorf("number of the first stream: got %v", err)
	}
	if r, err := old.Records(first); err != nil || len(r) != 1 {
		t.Errorf("the inside of the first stream: %v (%v)", r, err)
	}
	if _, err := srv.CreateStream("s", 1); err == nil {
		t.Error("a second stream of the same name was made")
	}
}

func TestDescribe(t *testing.T) {
	srv, client, _ := standing(t, 250, unlimited())
	ctx := context.Background()
	arn := srv.Stream("s").ARN()
	in := &kinesis.DescribeStreamInput{StreamARN: &arn}
	var seen []types.Shard
	for {
		out, err := client.DescribeStream(ctx, in)
		if err != nil {
			t.Fatal(err)
		}
		d := out.StreamDescription
		if *d.StreamName != "s" || *d.StreamARN != arn || d.StreamStatus != "ACTIVE" || *d.RetentionPeriodHours != 24 || !d.StreamCreationTimestamp.Equal(birth) ||
			d.EncryptionType != "NONE" || d.StreamModeDetails.StreamMode != "PROVISIONED" {
			t.Fatalf("got %+v", d)
		}
		seen = append(seen, d.Shards...)
		if !*d.HasMoreShards {
			break
		}
		in.ExclusiveStartShardId = d.Shards[len(d.Shards)-1].ShardId
	}
	if len(seen) != 250 {
		t.Errorf("described %d shards", len(seen))
	}
	checkTiling(t, seen)
	s := summary(t, client, "s")
	if *s.OpenShardCount != 250 || *s.MaxRecordSizeInKiB != 1024 || !s.StreamCreationTimestamp.Equal(birth) || s.RecordDistributionStrategy != "" {
		t.Errorf("summary: got %+v", s)
	}
	limits, err := client.DescribeLimits(ctx, &kinesis.DescribeLimitsInput{})
	if err != nil || *limits.OpenShardCount != 250 || *limits.ShardLimit != 20000 {
		t.Errorf("limits: got %+v (%v)", limits, err)
	}
}

func TestListStreams(t *testing.T) {
	srv, client, _ := standing(t, 1, unlimited())
	want := []string{"s"}
	for i := range 250 {
		name := fmt.Sprintf("n%03d", i)
		if _, err := srv.CreateStream(name, 1); err != nil {
			t.Fatal(err)
		}
		want = append(want, name)
	}
	slices.Sort(want)
	var got []string
	for p := kinesis.NewListStreamsPaginator(client, &kinesis.ListStreamsInput{}); p.HasMorePages(); {
		out, err := p.NextPage(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if len(out.StreamNames) > 100 || *out.StreamSummaries[0].StreamName != out.StreamNames[0] {
			t.Fatalf("page of %d", len(out.StreamNames))
		}
		got = append(got, out.StreamNames...)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %d names, want %d", len(got), len(want))
	}
	out, err := client.ListStreams(context.Background(), &kinesis.ListStreamsInput{ExclusiveStartStreamName: aws.String("n248"), Limit: aws.Int32(1)})
	if err != nil || len(out.StreamNames) != 1 || out.StreamNames[0] != "n249" || !*out.HasMoreStreams {
		t.Errorf("after n248: got %v (%v)", out, err)
	}
}

func TestCreateRefused(t *testing.T) {
	_, client, clock := standing(t, 1, kinesistest.Config{})
	for name, tc := range map[string]struct {
		in   kinesis.CreateStreamInput
		want string
	}{
		"taken":               {kinesis.CreateStreamInput{StreamName: aws.String("s"), ShardCount: aws.Int32(1)}, "ResourceInUseException"},
		"no shards":           {kinesis.CreateStreamInput{StreamName: aws.String("t"), ShardCount: aws.Int32(0)}, "ValidationException"},
		"no count":            {kinesis.CreateStreamInput{StreamName: aws.String("t")}, "ValidationException"},
		"bad name":            {kinesis.CreateStreamInput{StreamName: aws.String("a b"), ShardCount: aws.Int32(1)}, "ValidationException"},
		"long name":           {kinesis.CreateStreamInput{StreamName: aws.String(strings.Repeat("a", 129)), ShardCount: aws.Int32(1)}, "ValidationException"},
		"too many":            {kinesis.CreateStreamInput{StreamName: aws.String("t"), ShardCount: aws.Int32(20000)}, "LimitExceededException"},
		"on demand and count": {kinesis.CreateStreamInput{StreamName: aws.String("t"), ShardCount: aws.Int32(1), StreamModeDetails: &types.StreamModeDetails{StreamMode: "ON_DEMAND"}}, "ValidationException"},
		"unknown mode":        {kinesis.CreateStreamInput{StreamName: aws.String("t"), StreamModeDetails: &types.StreamModeDetails{StreamMode: "FREE"}}, "ValidationException"},
		"small records":       {kinesis.CreateStreamInput{StreamName: aws.String("t"), ShardCount: aws.Int32(1), MaxRecordSizeInKiB: aws.Int32(1023)}, "ValidationException"},
		"large records":       {kinesis.CreateStreamInput{StreamName: aws.String("t"), ShardCount: aws.Int32(1), MaxRecordSizeInKiB: aws.Int32(10241)}, "ValidationException"},
		"AUTO, provisioned":   {kinesis.CreateStreamInput{StreamName: aws.String("t"), ShardCount: aws.Int32(1), RecordDistributionStrategy: "AUTO"}, "InvalidArgumentException"},
	} {
		clock.Advance(time.Second)
		if _, err := client.CreateStream(context.Background(), &tc.in); code(err) != tc.want {
			t.Errorf("%s: got %v, want %s", name, err, tc.want)
		}
	}
}

// TestOnDemand cannot be resharded by its owner, and reshards by itself.
func TestOnDemand(t *testing.T) {
	srv, client, _ := standing(t, 1, unlimited())
	ctx := context.Background()
	if _, err := client.CreateStream(ctx, &kinesis.CreateStreamInput{StreamName: aws.String("d"), StreamModeDetails: &types.StreamModeDetails{StreamMode: "ON_DEMAND"},
		MaxRecordSizeInKiB: aws.Int32(2048)}); err != nil {
		t.Fatal(err)
	}
	got := summary(t, client, "d")
	if *got.OpenShardCount != 4 || got.StreamModeDetails.StreamMode != "ON_DEMAND" || got.RecordDistributionStrategy != "USER_PARTITION_KEY" || *got.MaxRecordSizeInKiB != 2048 {
		t.Errorf("summary: got %+v", got)
	}
	_, err := client.SplitShard(ctx, &kinesis.SplitShardInput{StreamName: aws.String("d"), ShardToSplit: aws.String(first), NewStartingHashKey: aws.String("1000")})
	if code(err) != "ValidationException" {
		t.Errorf("split: got %v", err)
	}
	if err := srv.Stream("d").Scale(8); err != nil {
		t.Fatal(err)
	}
	if got := *summary(t, client, "d").OpenShardCount; got != 8 {
		t.Errorf("open shards: got %d", got)
	}
}

// TestAuto spreads records of one key over all shards, and takes records without a key.
func TestAuto(t *testing.T) {
	srv, client, _ := standing(t, 1, unlimited())
	ctx := context.Background()
	if _, err := client.CreateStream(ctx, &kinesis.CreateStreamInput{StreamName: aws.String("d"), StreamModeDetails: &types.StreamModeDetails{StreamMode: "ON_DEMAND"},
		RecordDistributionStrategy: "AUTO"}); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		if _, err := client.PutRecord(ctx, &kinesis.PutRecordInput{StreamName: aws.String("d"), Data: []byte("x")}); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range srv.Stream("d").Shards() {
		recs := drain(t, client, "d", s.ID)
		if len(recs) != 1 || recs[0].PartitionKey != nil {
			t.Errorf("%s: got %v", s.ID, recs)
		}
	}
	_, err := client.PutRecord(ctx, &kinesis.PutRecordInput{StreamName: aws.String("d"), PartitionKey: aws.String("k"), Data: []byte("x"),
		SequenceNumberForOrdering: aws.String("1")})
	if code(err) != "InvalidArgumentException" {
		t.Errorf("with an order: got %v", err)
	}
	arn := srv.Stream("d").ARN()
	if _, err := client.UpdateStreamRecordDistributionStrategy(ctx, &kinesis.UpdateStreamRecordDistributionStrategyInput{StreamARN: &arn, RecordDistributionStrategy: "USER_PARTITION_KEY"}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.PutRecord(ctx, &kinesis.PutRecordInput{StreamName: aws.String("d"), Data: []byte("x")}); code(err) != "ValidationException" {
		t.Errorf("no key: got %v", err)
	}
}

func TestModeAndEncryption(t *testing.T) {
	srv, client, clock := standing(t, 1, kinesistest.Config{})
	ctx := context.Background()
	arn := srv.Stream("s").ARN()
	mode := func(m types.StreamMode) string {
		_, err := client.UpdateStreamMode(ctx, &kinesis.UpdateStreamModeInput{StreamARN: &arn, StreamModeDetails: &types.StreamModeDetails{StreamMode: m}})
		return code(err)
	}
	for i, step := range []struct {
		mode types.StreamMode
		want string
	}{{"PROVISIONED", "ResourceInUseException"}, {"ON_DEMAND", ""}, {"PROVISIONED", ""}, {"ON_DEMAND", "LimitExceededException"}} {
		if got := mode(step.mode); got != step.want {
			t.Errorf("change %d, to %s: got %q, want %q", i, step.mode, got, step.want)
		}
	}
	clock.Advance(24 * time.Hour)
	if got := mode("ON_DEMAND"); got != "" {
		t.Errorf("a day later: got %q", got)
	}

	key := aws.String("alias/aws/kinesis")
	if _, err := client.StartStreamEncryption(ctx, &kinesis.StartStreamEncryptionInput{StreamARN: &arn, EncryptionType: "KMS", KeyId: key}); err != nil {
		t.Fatal(err)
	}
	if got := summary(t, client, "s"); got.EncryptionType != "KMS" || *got.KeyId != *key {
		t.Errorf("summary: got %+v", got)
	}
	out, err := putLetters(client, "a")
	if err != nil || out.EncryptionType != "KMS" {
		t.Errorf("put: got %v (%v)", out, err)
	}
	if _, err := client.StopStreamEncryption(ctx, &kinesis.StopStreamEncryptionInput{StreamARN: &arn, EncryptionType: "KMS", KeyId: key}); err != nil {
		t.Fatal(err)
	}
	if _, err := putLetters(client, "b"); err != nil {
		t.Fatal(err)
	}
	recs := drain(t, client, "s", first)
	if len(recs) != 2 || recs[0].EncryptionType != "KMS" || recs[1].EncryptionType != "" {
		t.Errorf("records: got %v", recs)
	}
}

func TestTags(t *testing.T) {
	srv, client, _ := standing(t, 1, unlimited())
	ctx := context.Background()
	name, arn := aws.String("s"), srv.Stream("s").ARN()
	tags := map[string]string{}
	for i := range 50 {
		tags[fmt.Sprintf("t%02d", i)] = "v"
	}
	if _, err := client.TagResource(ctx, &kinesis.TagResourceInput{ResourceARN: &arn, Tags: tags}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.AddTagsToStream(ctx, &kinesis.AddTagsToStreamInput{StreamName: name, Tags: map[string]string{"t00": "w"}}); err != nil {
		t.Errorf("overwriting one of 50: %v", err)
	}
	if _, err := client.AddTagsToStream(ctx, &kinesis.AddTagsToStreamInput{StreamName: name, Tags: map[string]string{"more": "w"}}); code(err) != "InvalidArgumentException" {
		t.Errorf("the 51st: got %v", err)
	}
	if _, err := client.RemoveTagsFromStream(ctx, &kinesis.RemoveTagsFromStreamInput{StreamName: name, TagKeys: []string{"t01", "none"}}); err != nil {
		t.Error(err)
	}
	if _, err := client.UntagResource(ctx, &kinesis.UntagResourceInput{ResourceARN: &arn, TagKeys: []string{"t02"}}); err != nil {
		t.Error(err)
	}
	page, err := client.ListTagsForStream(ctx, &kinesis.ListTagsForStreamInput{StreamName: name, Limit: aws.Int32(2)})
	if err != nil || len(page.Tags) != 2 || !*page.HasMoreTags || *page.Tags[0].Key != "t00" || *page.Tags[0].Value != "w" || *page.Tags[1].Key != "t03" {
		t.Errorf("first page: got %v (%v)", page, err)
	}
	page, err = client.ListTagsForStream(ctx, &kinesis.ListTagsForStreamInput{StreamName: name, ExclusiveStartTagKey: aws.String("t03")})
	if err != nil || len(page.Tags) != 46 || *page.HasMoreTags {
		t.Errorf("the rest: got %v (%v)", page, err)
	}
	all, err := client.ListTagsForResource(ctx, &kinesis.ListTagsForResourceInput{ResourceARN: &arn})
	if err != nil || len(all.Tags) != 48 {
		t.Errorf("of the resource: got %v (%v)", all, err)
	}
}

func TestAddressing(t *testing.T) {
	_, client, _ := standing(t, 1, unlimited())
	for _, tc := range []struct{ name, stream, arn, want string }{
		{"name", "s", "", ""},
		{"ARN", "", "arn:aws:kinesis:us-east-1:000000000000:stream/s", ""},
		{"both", "s", "arn:aws:kinesis:us-east-1:000000000000:stream/s", ""},
		{"both, unlike", "t", "arn:aws:kinesis:us-east-1:000000000000:stream/s", "InvalidArgumentException"},
		{"another region", "", "arn:aws:kinesis:eu-west-1:000000000000:stream/s", "InvalidArgumentException"},
		{"another account", "", "arn:aws:kinesis:us-east-1:111111111111:stream/s", "AccessDeniedException"},
		{"another resource", "", "arn:aws:sqs:us-east-1:000000000000:s", "ValidationException"},
		{"unknown", "", "arn:aws:kinesis:us-east-1:000000000000:stream/t", "ResourceNotFoundException"},
	} {
		in := &kinesis.ListShardsInput{}
		if tc.stream != "" {
			in.StreamName = &tc.stream
		}
		if tc.arn != "" {
			in.StreamARN = &tc.arn
		}
		if _, err := client.ListShards(context.Background(), in); code(err) != tc.want {
			t.Errorf("%s: got %v, want %q", tc.name, err, tc.want)
		}
	}
}

// TestDryRun says that a call would succeed, and does nothing.
func TestDryRun(t *testing.T) {
	srv, client, _ := standing(t, 1, unlimited())
	ctx := context.Background()
	it := iteratorAt(t, client, types.ShardIteratorTypeLatest)
	for name, call := range map[string]func() error{
		"PutRecord": func() error {
			_, err := client.PutRecord(ctx, &kinesis.PutRecordInput{StreamName: aws.String("s"), PartitionKey: aws.String("k"), Data: []byte("x"), DryRun: aws.Bool(true)})
			return err
		},
		"PutRecords": func() error {
			_, err := client.PutRecords(ctx, &kinesis.PutRecordsInput{StreamName: aws.String("s"), DryRun: aws.Bool(true),
				Records: []types.PutRecordsRequestEntry{{PartitionKey: aws.String("k"), Data: []byte("x")}}})
			return err
		},
		"GetRecords": func() error {
			_, err := client.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: it, DryRun: aws.Bool(true)})
			return err
		},
		"GetShardIterator": func() error {
			_, err := client.GetShardIterator(ctx, &kinesis.GetShardIteratorInput{StreamName: aws.String("s"), ShardId: aws.String(first), ShardIteratorType: "LATEST", DryRun: aws.Bool(true)})
			return err
		},
	} {
		if got := code(call()); got != "DryRunOperationException" {
			t.Errorf("%s: got %q", name, got)
		}
	}
	if got := stored(t, srv); got != "" {
		t.Errorf("stored %q", got)
	}
}
