package kinesistest_test

import (
	"context"
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
)

// list is ListShards with paging by two.
func list(t testing.TB, client *kinesis.Client, filter *types.ShardFilter) []types.Shard {
	t.Helper()
	in := &kinesis.ListShardsInput{StreamName: aws.String("s"), ShardFilter: filter, MaxResults: aws.Int32(2)}
	var all []types.Shard
	for {
		out, err := client.ListShards(context.Background(), in)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, out.Shards...)
		if out.NextToken == nil {
			return all
		}
		in = &kinesis.ListShardsInput{NextToken: out.NextToken, MaxResults: aws.Int32(2)}
	}
}

func ids(shards []types.Shard) string {
	var out []string
	for _, s := range shards {
		out = append(out, strings.TrimLeft(strings.TrimPrefix(*s.ShardId, "shardId-"), "0"))
	}
	for i := range out {
		if out[i] == "" {
			out[i] = "0"
		}
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func shardName(i int) string { return fmt.Sprintf("shardId-%012d", i) }

// checkTiling makes sure that the open shards cover the hash space once, and that every
// shard's range is made of its parents'.
func checkTiling(t testing.TB, shards []types.Shard) {
	t.Helper()
	byID := map[string]types.Shard{}
	var open []types.Shard
	for _, s := range shards {
		byID[*s.ShardId] = s
		if s.SequenceNumberRange.EndingSequenceNumber == nil {
			open = append(open, s)
		}
	}
	slices.SortFunc(open, func(a, b types.Shard) int {
		return bigOf(t, *a.HashKeyRange.StartingHashKey).Cmp(bigOf(t, *b.HashKeyRange.StartingHashKey))
	})
	next := new(big.Int)
	for _, s := range open {
		if got := bigOf(t, *s.HashKeyRange.StartingHashKey); got.Cmp(next) != 0 {
			t.Fatalf("shard %s begins at %s, want %s", *s.ShardId, got, next)
		}
		next.Add(bigOf(t, *s.HashKeyRange.EndingHashKey), big.NewInt(1))
	}
	if next.Cmp(new(big.Int).Lsh(big.NewInt(1), 128)) != 0 {
		t.Fatalf("the open shards end at %s", next)
	}
	for _, s := range shards {
		for _, id := range []*string{s.ParentShardId, s.AdjacentParentShardId} {
			if id != nil {
				checkChild(t, byID[*id], s)
			}
		}
	}
}

// checkChild makes sure that a child overlaps its parent and numbers behind it.
func checkChild(t testing.TB, parent, child types.Shard) {
	t.Helper()
	if parent.ShardId == nil {
		t.Fatalf("a parent of %s is not listed", *child.ShardId)
	}
	end := parent.SequenceNumberRange.EndingSequenceNumber
	if end == nil {
		t.Fatalf("%s is open and has the child %s", *parent.ShardId, *child.ShardId)
	}
	if bigOf(t, *child.SequenceNumberRange.StartingSequenceNumber).Cmp(bigOf(t, *end)) <= 0 {
		t.Fatalf("%s starts at %s, not behind %s of %s", *child.ShardId, *child.SequenceNumberRange.StartingSequenceNumber, *end, *parent.ShardId)
	}
	if bigOf(t, *child.HashKeyRange.StartingHashKey).Cmp(bigOf(t, *parent.HashKeyRange.EndingHashKey)) > 0 ||
		bigOf(t, *child.HashKeyRange.EndingHashKey).Cmp(bigOf(t, *parent.HashKeyRange.StartingHashKey)) < 0 {
		t.Fatalf("%s has nothing of its parent %s", *child.ShardId, *parent.ShardId)
	}
}

// reshard does something at random through the service, and returns what.
func reshard(t testing.TB, r *rand.Rand, client *kinesis.Client, open []types.Shard) string {
	t.Helper()
	ctx := context.Background()
	s := open[r.IntN(len(open))]
	var what string
	var err error
	switch r.IntN(3) {
	case 0:
		lo, hi := bigOf(t, *s.HashKeyRange.StartingHashKey), bigOf(t, *s.HashKeyRange.EndingHashKey)
		at := new(big.Int).Rsh(new(big.Int).Sub(hi, lo), uint(1+r.IntN(5)))
		at.Add(at, lo)
		what = "split " + *s.ShardId + " at " + at.String()
		_, err = client.SplitShard(ctx, &kinesis.SplitShardInput{StreamName: aws.String("s"), ShardToSplit: s.ShardId, NewStartingHashKey: aws.String(at.String())})
	case 1:
		for _, o := range open {
			if new(big.Int).Add(bigOf(t, *s.HashKeyRange.EndingHashKey), big.NewInt(1)).Cmp(bigOf(t, *o.HashKeyRange.StartingHashKey)) == 0 {
				what = "merge " + *s.ShardId + " with " + *o.ShardId
				_, err = client.MergeShards(ctx, &kinesis.MergeShardsInput{StreamName: aws.String("s"), ShardToMerge: s.ShardId, AdjacentShardToMerge: o.ShardId})
			}
		}
	default:
		n := int32(len(open))
		target := (n+1)/2 + r.Int32N(2*n-(n+1)/2+1)
		if target == n {
			return "nothing"
		}
		what = fmt.Sprintf("scale from %d to %d", n, target)
		_, err = client.UpdateShardCount(ctx, &kinesis.UpdateShardCountInput{StreamName: aws.String("s"), TargetShardCount: &target, ScalingType: types.ScalingTypeUniformScaling})
	}
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	return what
}

// TestRandomReshards puts records between random splits, merges and scalings, and checks
// after each that the open shards tile the hash space; in the end that every record can be
// read, each key in order when parents are read before their children.
func TestRandomReshards(t *testing.T) {
	for range 4 {
		srv, client, clock := standing(t, 3, unlimited())
		r := seeded(t)
		st := srv.Stream("s")
		put := map[string]int{}
		for range 25 {
			var entries []kinesistest.Entry
			for range 40 {
				key := fmt.Sprintf("key-%d", r.IntN(30))
				entries = append(entries, kinesistest.Entry{Key: key, Data: fmt.Appendf(nil, "%d", put[key])})
				put[key]++
			}
			if err := st.Put(entries...); err != nil {
				t.Fatal(err)
			}
			if r.IntN(2) == 0 {
				clock.Advance(time.Duration(r.IntN(3000)) * time.Millisecond)
			}
			what := reshard(t, r, client, list(t, client, &types.ShardFilter{Type: types.ShardFilterTypeAtLatest}))
			all := list(t, client, nil)
			if len(all) > 120 {
				break
			}
			checkTiling(t, all)
			if t.Failed() {
				t.Fatal("after", what)
			}
		}
		read := map[string]int{}
		for _, s := range st.Shards() { // parents come before their children
			for _, rec := range drain(t, client, "s", s.ID) {
				if want := fmt.Sprint(read[*rec.PartitionKey]); string(rec.Data) != want {
					t.Fatalf("key %s in %s: got record %s, want %s", *rec.PartitionKey, s.ID, rec.Data, want)
				}
				read[*rec.PartitionKey]++
			}
		}
		for key, n := range put {
			if read[key] != n {
				t.Errorf("key %s: read %d of %d", key, read[key], n)
			}
		}
	}
}

// TestUniformScaling ends with equal shards whatever was there before.
func TestUniformScaling(t *testing.T) {
	srv, client, _ := standing(t, 5, unlimited())
	st := srv.Stream("s")
	r := seeded(t)
	for _, n := range []int{1, 7, 3, 100, 99, 2, 1 + r.IntN(200)} {
		if err := st.Scale(n); err != nil {
			t.Fatal(err)
		}
		open := list(t, client, &types.ShardFilter{Type: types.ShardFilterTypeAtLatest})
		if len(open) != n {
			t.Fatalf("scaled to %d: got %d open shards", n, len(open))
		}
		slices.SortFunc(open, func(a, b types.Shard) int {
			return bigOf(t, *a.HashKeyRange.StartingHashKey).Cmp(bigOf(t, *b.HashKeyRange.StartingHashKey))
		})
		for i, s := range open {
			if want := kinesistest.UniformStart(i, n); *s.HashKeyRange.StartingHashKey != want {
				t.Errorf("scaled to %d, shard %d: begins at %s, want %s", n, i, *s.HashKeyRange.StartingHashKey, want)
			}
		}
	}
	checkTiling(t, list(t, client, nil))
}

// TestEndOfShard reads a closed shard to its end, in both forms of the answer.
func TestEndOfShard(t *testing.T) {
	for _, with := range []bool{false, true} {
		t.Run(fmt.Sprint("end with records ", with), func(t *testing.T) {
			srv, client, clock := standing(t, 2, kinesistest.Config{EndWithRecords: with, Limits: kinesistest.Limits{Off: true}})
			st := srv.Stream("s")
			if err := st.Put(kinesistest.Entry{Key: "a", Data: []byte("x")}); err != nil {
				t.Fatal(err)
			}
			it := iteratorAt(t, client, types.ShardIteratorTypeTrimHorizon)
			latest := iteratorAt(t, client, types.ShardIteratorTypeLatest)
			if _, err := st.Merge(first, shardName(1)); err != nil {
				t.Fatal(err)
			}
			clock.Advance(time.Second)
			got, out := values(t, client, it)
			if got != "x" || (out.NextShardIterator == nil) != with || *out.MillisBehindLatest != 1000 {
				t.Fatalf("last records: got %q, next %v, behind %d", got, out.NextShardIterator, *out.MillisBehindLatest)
			}
			if !with {
				if len(out.ChildShards) != 0 {
					t.Errorf("children before the end: %v", out.ChildShards)
				}
				got, out = values(t, client, out.NextShardIterator)
				if got != "" {
					t.Errorf("behind the last record: got %q", got)
				}
			}
			for name, end := range map[string]*kinesis.GetRecordsOutput{"read": out, "latest": second(values(t, client, latest))} {
				if end.NextShardIterator != nil || len(end.ChildShards) != 1 {
					t.Fatalf("%s: next %v, children %v", name, end.NextShardIterator, end.ChildShards)
				}
				child := end.ChildShards[0]
				if *child.ShardId != shardName(2) || fmt.Sprint(child.ParentShards) != fmt.Sprint([]string{first, shardName(1)}) || *child.HashKeyRange.StartingHashKey != "0" {
					t.Errorf("%s: child %s of %v", name, *child.ShardId, child.ParentShards)
				}
			}
		})
	}
}

func second(_ string, out *kinesis.GetRecordsOutput) *kinesis.GetRecordsOutput { return out }

// TestShardFilters splits 0 after an hour, into 1 and 2, and merges them after two, into 3.
func TestShardFilters(t *testing.T) {
	srv, client, clock := standing(t, 1, unlimited())
	st := srv.Stream("s")
	clock.Advance(time.Hour)
	if _, _, err := st.Split(first, ""); err != nil {
		t.Fatal(err)
	}
	clock.Advance(time.Hour)
	if _, err := st.Merge(shardName(1), shardName(2)); err != nil {
		t.Fatal(err)
	}
	clock.Advance(time.Hour)
	at := func(d time.Duration) *time.Time { return aws.Time(birth.Add(d)) }
	check := func(name string, f *types.ShardFilter, want string) {
		t.Helper()
		if got := ids(list(t, client, f)); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	check("none", nil, "0 1 2 3")
	check("latest", &types.ShardFilter{Type: "AT_LATEST"}, "3")
	check("at trim horizon", &types.ShardFilter{Type: "AT_TRIM_HORIZON"}, "0")
	check("from trim horizon", &types.ShardFilter{Type: "FROM_TRIM_HORIZON"}, "0 1 2 3")
	check("after 1", &types.ShardFilter{Type: "AFTER_SHARD_ID", ShardId: aws.String(shardName(1))}, "2 3")
	check("at 0:30", &types.ShardFilter{Type: "AT_TIMESTAMP", Timestamp: at(30 * time.Minute)}, "0")
	check("at 1:00", &types.ShardFilter{Type: "AT_TIMESTAMP", Timestamp: at(time.Hour)}, "0 1 2")
	check("at 1:30", &types.ShardFilter{Type: "AT_TIMESTAMP", Timestamp: at(90 * time.Minute)}, "1 2")
	check("at 2:30", &types.ShardFilter{Type: "AT_TIMESTAMP", Timestamp: at(150 * time.Minute)}, "3")
	check("from 1:30", &types.ShardFilter{Type: "FROM_TIMESTAMP", Timestamp: at(90 * time.Minute)}, "1 2 3")
	check("from before", &types.ShardFilter{Type: "FROM_TIMESTAMP", Timestamp: at(-time.Hour)}, "0 1 2 3")

	clock.Set(birth.Add(25*time.Hour + time.Millisecond)) // 0 was closed more than 24 h ago
	check("none, 0 expired", nil, "1 2 3")
	check("at trim horizon, 0 expired", &types.ShardFilter{Type: "AT_TRIM_HORIZON"}, "1 2")
	if _, err := client.GetShardIterator(context.Background(), &kinesis.GetShardIteratorInput{StreamName: aws.String("s"), ShardId: aws.String(first),
		ShardIteratorType: types.ShardIteratorTypeTrimHorizon}); code(err) != "ResourceNotFoundException" {
		t.Errorf("iterator of an expired shard: got %v", err)
	}
	if _, err := client.IncreaseStreamRetentionPeriod(context.Background(), &kinesis.IncreaseStreamRetentionPeriodInput{StreamName: aws.String("s"), RetentionPeriodHours: aws.Int32(48)}); err != nil {
		t.Fatal(err)
	}
	check("none, after a longer retention", nil, "1 2 3")
	shards := list(t, client, nil)
	if *shards[0].ParentShardId != first {
		t.Errorf("parent of 1: got %s", *shards[0].ParentShardId)
	}
	clock.Set(birth.Add(100 * time.Hour))
	check("at trim horizon, all but 3 expired", &types.ShardFilter{Type: "AT_TRIM_HORIZON"}, "3")

	for name, f := range map[string]*types.ShardFilter{
		"no time": {Type: "AT_TIMESTAMP"}, "no shard": {Type: "AFTER_SHARD_ID"}, "time with latest": {Type: "AT_LATEST", Timestamp: at(0)},
		"future": {Type: "FROM_TIMESTAMP", Timestamp: at(200 * time.Hour)},
	} {
		_, err := client.ListShards(context.Background(), &kinesis.ListShardsInput{StreamName: aws.String("s"), ShardFilter: f})
		if code(err) != "InvalidArgumentException" {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestListShardsTokens(t *testing.T) {
	srv, client, clock := standing(t, 5, unlimited())
	ctx := context.Background()
	page, err := client.ListShards(ctx, &kinesis.ListShardsInput{StreamName: aws.String("s"), MaxResults: aws.Int32(2), ExclusiveStartShardId: aws.String(first)})
	if err != nil {
		t.Fatal(err)
	}
	if ids(page.Shards) != "1 2" || page.NextToken == nil {
		t.Fatalf("first page: got %s", ids(page.Shards))
	}
	if _, err := client.ListShards(ctx, &kinesis.ListShardsInput{NextToken: page.NextToken, StreamName: aws.String("s")}); code(err) != "InvalidArgumentException" {
		t.Errorf("token and name: got %v", err)
	}
	if _, err := client.ListShards(ctx, &kinesis.ListShardsInput{NextToken: aws.String("x")}); code(err) != "InvalidArgumentException" {
		t.Errorf("bogus token: got %v", err)
	}
	clock.Advance(300 * time.Second)
	rest, err := client.ListShards(ctx, &kinesis.ListShardsInput{NextToken: page.NextToken})
	if err != nil || ids(rest.Shards) != "3 4" || rest.NextToken != nil {
		t.Errorf("after 300 s: got %v (%v)", rest, err)
	}
	clock.Advance(time.Millisecond)
	if _, err := client.ListShards(ctx, &kinesis.ListShardsInput{NextToken: page.NextToken}); code(err) != "ExpiredNextTokenException" {
		t.Errorf("a millisecond later: got %v", err)
	}
	born := srv.Stream("s").Created()
	if _, err := client.ListShards(ctx, &kinesis.ListShardsInput{StreamName: aws.String("s"), StreamCreationTimestamp: &born}); err != nil {
		t.Errorf("with the creation time: %v", err)
	}
	if _, err := client.ListShards(ctx, &kinesis.ListShardsInput{StreamName: aws.String("s"), StreamCreationTimestamp: aws.Time(born.Add(time.Second))}); code(err) != "ResourceNotFoundException" {
		t.Errorf("with another creation time: got %v", err)
	}
	// A page that exactly fills is the last one.
	full, err := client.ListShards(ctx, &kinesis.ListShardsInput{StreamName: aws.String("s"), MaxResults: aws.Int32(5)})
	if err != nil || len(full.Shards) != 5 || full.NextToken != nil {
		t.Errorf("all on one page: got %v (%v)", full, err)
	}
}

func TestReshardRefusals(t *testing.T) {
	_, client, clock := standing(t, 3, kinesistest.Config{})
	ctx := context.Background()
	split := func(shard, at string) string {
		clock.Advance(time.Second)
		_, err := client.SplitShard(ctx, &kinesis.SplitShardInput{StreamName: aws.String("s"), ShardToSplit: &shard, NewStartingHashKey: &at})
		return code(err)
	}
	merge := func(a, b int) string {
		clock.Advance(time.Second)
		_, err := client.MergeShards(ctx, &kinesis.MergeShardsInput{StreamName: aws.String("s"), ShardToMerge: aws.String(shardName(a)), AdjacentShardToMerge: aws.String(shardName(b))})
		return code(err)
	}
	scale := func(n int32) string {
		clock.Advance(time.Second)
		_, err := client.UpdateShardCount(ctx, &kinesis.UpdateShardCountInput{StreamName: aws.String("s"), TargetShardCount: &n, ScalingType: types.ScalingTypeUniformScaling})
		return code(err)
	}
	for name, tc := range map[string]struct{ got, want string }{
		"split an unknown shard":   {split(shardName(9), "1000"), "ResourceNotFoundException"},
		"split at its start":       {split(first, "0"), "InvalidArgumentException"},
		"split one behind":         {split(first, "1"), "InvalidArgumentException"},
		"split outside":            {split(first, "340282366920938463463374607431768211455"), "InvalidArgumentException"},
		"split at no number":       {split(first, "x"), "ValidationException"},
		"merge what is not beside": {merge(0, 2), "InvalidArgumentException"},
		"merge with itself":        {merge(1, 1), "InvalidArgumentException"},
		"more than double":         {scale(7), "InvalidArgumentException"},
		"less than half":           {scale(1), "InvalidArgumentException"},
		"the same":                 {scale(3), "InvalidArgumentException"},
		"none":                     {scale(0), "ValidationException"},
		"split two behind":         {split(first, "2"), ""},
		"split a closed shard":     {split(first, "1000"), "InvalidArgumentException"},
		"merge a closed shard":     {merge(0, 1), "InvalidArgumentException"},
	} {
		if tc.got != tc.want {
			t.Errorf("%s: got %q, want %q", name, tc.got, tc.want)
		}
	}
	for i, n := range []int32{8, 4, 8, 4, 8, 4, 8, 4, 8, 4} {
		if got := scale(n); got != "" {
			t.Fatalf("scaling %d, to %d: %s", i, n, got)
		}
	}
	if got := scale(8); got != "LimitExceededException" {
		t.Errorf("eleventh scaling in a day: got %q", got)
	}
	clock.Advance(24 * time.Hour)
	if got := scale(8); got != "" {
		t.Errorf("a day later: got %q", got)
	}
}

// TestShardQuota keeps the account within its shards.
func TestShardQuota(t *testing.T) {
	_, client, _ := standing(t, 3, kinesistest.Config{Limits: kinesistest.Limits{Shards: 4}})
	ctx := context.Background()
	if _, err := client.CreateStream(ctx, &kinesis.CreateStreamInput{StreamName: aws.String("t"), ShardCount: aws.Int32(2)}); code(err) != "LimitExceededException" {
		t.Errorf("five shards: got %v", err)
	}
	if _, err := client.SplitShard(ctx, &kinesis.SplitShardInput{StreamName: aws.String("s"), ShardToSplit: aws.String(first), NewStartingHashKey: aws.String("1000")}); err != nil {
		t.Errorf("four shards: %v", err)
	}
	if _, err := client.SplitShard(ctx, &kinesis.SplitShardInput{StreamName: aws.String("s"), ShardToSplit: aws.String(shardName(1)), NewStartingHashKey: aws.String("170141183460469231731687303715884105728")}); code(err) != "LimitExceededException" {
		t.Errorf("five shards by a split: got %v", err)
	}
}
