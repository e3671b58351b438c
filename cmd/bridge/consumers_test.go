package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/kinesis-msk-bridge/bridge/internal/dynamotest"
)

// cmdDynamo is the DynamoDB of a script, with the lease tables of KCL applications:
//
//	dynamo start                        $DYNAMO is its address
//	dynamo create TABLE                 an empty lease table
//	dynamo consumed TABLE STREAM SHARD N   its application has consumed N records, or "end", LATEST
//	dynamo says TABLE SHARD CHECKPOINT [ITEM]   the lease says so; STREAM/SHARD/N is the number of the N-th record; ITEM is more of the item
//	dynamo lease TABLE SHARD CHECKPOINT SUB   fails unless the table says so
//	dynamo leases TABLE N               fails unless it holds that many leases; "absent"
//	dynamo run TABLE                    the application renews its leases from now on
//	dynamo stop TABLE                   until now
//	dynamo wake TABLE                   it renews them between the next look at one and its write
//	dynamo meanwhile TABLE GROUP TOPIC PARTITION OFFSET   while the table is watched, the group commits that
//	dynamo watch TABLE                  then
//	dynamo watched TABLE                returns once somebody has looked at the table since
//	dynamo writes N                     fails unless that many writes were made so far
//	dynamo deny OPERATION               "none" ends that
//	dynamo cut TABLE N                  writes to the table from now on fail, but for the first N
func cmdDynamo(ts *testscript.TestScript, neg bool, args []string) {
	s := serversOf(ts)
	if neg || len(args) == 0 || len(args) > 1 && s.dynamo == nil {
		ts.Fatalf("usage: dynamo start, then dynamo VERB [args...]")
	}
	switch verb := args[0]; verb {
	case "start":
		startDynamo(ts, s)
	case "create":
		s.dynamo.Create(args[1], "leaseKey")
	case "consumed":
		consumed(ts, s, args)
	case "says":
		leaseSays(ts, s, args)
	case "lease":
		want := fmt.Sprintf(`"checkpoint":{"S":%q},"checkpointSubSequenceNumber":{"N":%q}`, args[3], args[4])
		if args[3] == "record" { // lease TABLE SHARD record STREAM N SUB: AT the N-th record of the stream's shard
			records, err := s.kinesis.Stream(args[4]).Records(args[2])
			ts.Check(err)
			want = fmt.Sprintf(`"checkpoint":{"S":%q},"checkpointSubSequenceNumber":{"N":%q}`, records[number(ts, args, 5)].SequenceNumber, args[6])
		}
		lines := strings.Split(s.dynamo.Items(args[1]), "\n")
		if !slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, args[2]) && strings.Contains(l, want) }) {
			ts.Fatalf("no lease of %s with %s in\n%s", args[2], want, s.dynamo.Items(args[1]))
		}
	case "leases":
		have := strconv.Itoa(strings.Count(s.dynamo.Items(args[1]), `"leaseKey"`))
		if s.dynamo.Items(args[1]) == "" {
			have = "absent"
		}
		if have != args[2] {
			ts.Fatalf("table %s: %s leases, want %s\n%s", args[1], have, args[2], s.dynamo.Items(args[1]))
		}
	case "run":
		s.background(args[1], func() { renew(s.dynamo, args[1]) })
	case "stop":
		s.stop[args[1]]()
	case "wake":
		var once sync.Once
		s.dynamo.SetHook(func(op string, body []byte) dynamotest.Fault {
			if op == "PutItem" && bytes.Contains(body, []byte(strconv.Quote(args[1]))) {
				once.Do(func() { renew(s.dynamo, args[1]) })
			}
			return dynamotest.None
		})
	case "watch":
		looked := make(chan struct{})
		s.looked = looked
		var once sync.Once
		s.dynamo.SetHook(func(op string, _ []byte) dynamotest.Fault {
			if op == "Scan" {
				once.Do(func() { close(looked) })
			}
			return dynamotest.None
		})
	case "watched":
		select {
		case <-s.looked:
		case <-time.After(storyPatience):
			ts.Fatalf("nobody looked at %s", args[1])
		}
	case "meanwhile":
		meanwhile(ts, s, args)
	case "writes":
		if got := s.dynamo.Writes(); got != number(ts, args, 1) {
			ts.Fatalf("%d writes, want %s", got, args[1])
		}
	case "deny":
		s.dynamo.SetHook(func(op string, _ []byte) dynamotest.Fault {
			if op == args[1] {
				return dynamotest.Denied
			}
			return dynamotest.None
		})
	case "cut":
		left, table := number(ts, args, 2), []byte(strconv.Quote(args[1]))
		s.dynamo.SetHook(func(op string, body []byte) dynamotest.Fault {
			if (op == "PutItem" || op == "DeleteItem") && bytes.Contains(body, table) {
				if left--; left < 0 {
					return dynamotest.Denied
				}
			}
			return dynamotest.None
		})
	default:
		ts.Fatalf("dynamo has no verb %s", verb)
	}
}

func startDynamo(ts *testscript.TestScript, s *servers) {
	var err error
	s.dynamo, err = dynamotest.Start()
	ts.Check(err)
	ts.Defer(func() { ts.Check(s.dynamo.Close()) })
	for name, value := range map[string]string{
		"DYNAMO": s.dynamo.URL(), "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true",
	} {
		ts.Setenv(name, value)
	}
}

// consumed writes the lease of an application that has consumed n records of a shard.
func consumed(ts *testscript.TestScript, s *servers, args []string) {
	if len(args) != 5 {
		ts.Fatalf("usage: dynamo consumed TABLE STREAM SHARD N")
	}
	checkpoint := map[string]string{"end": "SHARD_END", "0": "TRIM_HORIZON", "LATEST": "LATEST"}[args[4]]
	if checkpoint == "" {
		records, err := s.kinesis.Stream(args[2]).Records(args[3])
		ts.Check(err)
		checkpoint = records[number(ts, args, 4)-1].SequenceNumber
	}
	parents := ""
	for _, shard := range s.kinesis.Stream(args[2]).Shards() {
		if shard.ID == args[3] && len(shard.Parents) > 0 {
			parents = fmt.Sprintf(`,"parentShardId":{"SS":["%s"]}`, strings.Join(shard.Parents, `","`))
		}
	}
	ts.Check(s.dynamo.Put(args[1], fmt.Sprintf(
		`{"leaseKey":{"S":%q},"leaseOwner":{"S":"w1"},"leaseCounter":{"N":"7"},"ownerSwitchesSinceCheckpoint":{"N":"0"},"checkpoint":{"S":%q},"checkpointSubSequenceNumber":{"N":"0"}%s}`,
		args[3], checkpoint, parents)))
}

// leaseSays writes the lease of a shard with a checkpoint of any kind.
func leaseSays(ts *testscript.TestScript, s *servers, args []string) {
	checkpoint, more := args[3], ""
	if place := strings.Split(checkpoint, "/"); len(place) == 3 {
		records, err := s.kinesis.Stream(place[0]).Records(place[1])
		ts.Check(err)
		n, err := strconv.Atoi(place[2])
		ts.Check(err)
		checkpoint = records[n-1].SequenceNumber
	}
	if len(args) > 4 {
		more = "," + args[4]
	}
	ts.Check(s.dynamo.Put(args[1], fmt.Sprintf(
		`{"leaseKey":{"S":%q},"leaseCounter":{"N":"7"},"checkpoint":{"S":%q},"checkpointSubSequenceNumber":{"N":"0"}%s}`, args[2], checkpoint, more)))
}

// meanwhile has somebody commit an offset between two looks at a lease table.
func meanwhile(ts *testscript.TestScript, s *servers, args []string) {
	var looks atomic.Int32
	s.dynamo.SetHook(func(op string, body []byte) dynamotest.Fault {
		if op == "Scan" && bytes.Contains(body, []byte(strconv.Quote(args[1]))) && looks.Add(1) == 2 {
			commitOffset(ts, s, args[2], kadm.Offset{Topic: args[3], Partition: int32(number(ts, args, 4)), At: int64(number(ts, args, 5)), LeaderEpoch: -1})
		}
		return dynamotest.None
	})
}

// commitOffset commits one offset, with what stands beside it, from outside of the group.
func commitOffset(ts *testscript.TestScript, s *servers, group string, o kadm.Offset) {
	ctx, cancel := context.WithTimeout(context.Background(), storyPatience)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(s.kafka.ListenAddrs()...))
	ts.Check(err)
	defer client.Close()
	var offsets kadm.Offsets
	offsets.Add(o)
	ts.Check(kadm.NewClient(client).CommitAllOffsets(ctx, group, offsets))
}

// background runs something again and again until it is stopped by name.
func (s *servers) background(name string, do func()) {
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		t := time.NewTicker(50 * time.Millisecond)
		defer t.Stop()
		for ctx.Err() == nil {
			do()
			<-t.C
		}
	})
	if s.stop == nil {
		s.stop = map[string]func(){}
	}
	s.stop[name] = func() { stop(); running.Wait() }
}

// renew does what a worker of the KCL does every few seconds.
func renew(d *dynamotest.Server, table string) {
	d.Update(table, func(it dynamotest.Item) {
		if n, ok := it["leaseCounter"]["N"].(string); ok {
			i, err := strconv.Atoi(n)
			if err == nil {
				it["leaseCounter"] = map[string]any{"N": strconv.Itoa(i + 1)}
			}
		}
	})
}

// cmdGroup is what consumer groups of a script do:
//
//	group commit GROUP TOPIC PARTITION=OFFSET...
//	group committed GROUP TOPIC PARTITION=OFFSET...   fails unless exactly that is committed
//	group note GROUP TOPIC PARTITION OFFSET EPOCH METADATA
//	group noted GROUP TOPIC PARTITION OFFSET EPOCH METADATA   fails unless that stands there
//	group share GROUP TOPIC                           a share consumer joins and leaves
//	group stands GROUP TOPIC N                        fails unless N partitions have a committed offset
//	group join GROUP TOPIC                            a consumer runs from now on
//	group leave GROUP
//	group transact GROUP TOPIC PARTITION OFFSET       a transaction is open: it put a record, and commits the offset if it commits
//	group settle GROUP                                the transaction is aborted
func cmdGroup(ts *testscript.TestScript, neg bool, args []string) {
	s := serversOf(ts)
	if neg || len(args) < 2 || s.kafka == nil {
		ts.Fatalf("usage: group VERB GROUP [args...], after kafka start")
	}
	ctx, cancel := context.WithTimeout(context.Background(), storyPatience)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(s.kafka.ListenAddrs()...))
	ts.Check(err)
	defer client.Close()
	admin := kadm.NewClient(client)
	switch verb := args[0]; verb {
	case "commit":
		var offsets kadm.Offsets
		for _, arg := range args[3:] {
			p, at, _ := strings.Cut(arg, "=")
			partition, err1 := strconv.Atoi(p)
			offset, err2 := strconv.ParseInt(at, 10, 64)
			ts.Check(err1)
			ts.Check(err2)
			offsets.Add(kadm.Offset{Topic: args[2], Partition: int32(partition), At: offset, LeaderEpoch: -1})
		}
		ts.Check(admin.CommitAllOffsets(ctx, args[1], offsets))
	case "committed":
		got, err := admin.FetchOffsets(ctx, args[1])
		if !errors.Is(err, kerr.GroupIDNotFound) {
			ts.Check(err)
		}
		var have []string
		for _, o := range got.Offsets().Sorted() {
			if o.Topic == args[2] {
				have = append(have, fmt.Sprintf("%d=%d", o.Partition, o.At))
			}
		}
		if strings.Join(have, " ") != strings.Join(args[3:], " ") {
			ts.Fatalf("group %s has committed %s, want %s", args[1], strings.Join(have, " "), strings.Join(args[3:], " "))
		}
	case "stands":
		got, err := admin.FetchOffsets(ctx, args[1])
		ts.Check(err)
		if have := len(got[args[2]]); have != number(ts, args, 3) {
			ts.Fatalf("group %s has committed offsets for %d partitions, want %s", args[1], have, args[3])
		}
	case "note":
		commitOffset(ts, s, args[1], kadm.Offset{Topic: args[2], Partition: int32(number(ts, args, 3)), At: int64(number(ts, args, 4)), LeaderEpoch: int32(number(ts, args, 5)), Metadata: args[6]})
	case "noted":
		got, err := admin.FetchOffsets(ctx, args[1])
		ts.Check(err)
		o, _ := got.Lookup(args[2], int32(number(ts, args, 3)))
		if have := fmt.Sprint(o.At, " ", o.LeaderEpoch, " ", o.Metadata); have != strings.Join(args[4:], " ") {
			ts.Fatalf("group %s has committed %s", args[1], have)
		}
	case "share":
		req := kmsg.NewPtrShareGroupHeartbeatRequest()
		req.GroupID, req.MemberID, req.SubscribedTopicNames = args[1], "AAAAAAAAAAAAAAAAAAAAAQ", args[2:3]
		answer, err := req.RequestWith(ctx, client)
		ts.Check(err)
		ts.Check(kerr.ErrorForCode(answer.ErrorCode))
	case "join":
		join(ctx, ts, s, args[1], args[2])
	case "transact":
		transact(ctx, ts, s, args)
	case "leave", "settle":
		s.stop[args[1]]()
	default:
		ts.Fatalf("group has no verb %s", verb)
	}
}

// transact opens a transaction that puts a record and commits an offset.
func transact(ctx context.Context, ts *testscript.TestScript, s *servers, args []string) {
	c, err := kgo.NewClient(kgo.SeedBrokers(s.kafka.ListenAddrs()...), kgo.TransactionalID("tx-"+args[1]),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MaxVersions(kversion.V3_6_0()))
	ts.Check(err)
	ts.Check(c.BeginTransaction())
	partition := int32(number(ts, args, 3))
	ts.Check(c.ProduceSync(ctx, &kgo.Record{Topic: args[2], Partition: partition, Value: []byte("undecided")}).FirstErr())
	id, epoch, err := c.ProducerID(ctx)
	ts.Check(err)
	add := kmsg.NewPtrAddOffsetsToTxnRequest()
	add.TransactionalID, add.ProducerID, add.ProducerEpoch, add.Group = "tx-"+args[1], id, epoch, args[1]
	added, err := add.RequestWith(ctx, c)
	ts.Check(err)
	ts.Check(kerr.ErrorForCode(added.ErrorCode))
	commit := kmsg.NewPtrTxnOffsetCommitRequest()
	commit.TransactionalID, commit.Group, commit.ProducerID, commit.ProducerEpoch, commit.Generation = "tx-"+args[1], args[1], id, epoch, -1
	topic, at := kmsg.NewTxnOffsetCommitRequestTopic(), kmsg.NewTxnOffsetCommitRequestTopicPartition()
	at.Partition, at.Offset = partition, int64(number(ts, args, 4))
	topic.Topic, topic.Partitions = args[2], append(topic.Partitions, at)
	commit.Topics = append(commit.Topics, topic)
	committed, err := commit.RequestWith(ctx, c)
	ts.Check(err)
	ts.Check(kerr.ErrorForCode(committed.Topics[0].Partitions[0].ErrorCode))
	if s.stop == nil {
		s.stop = map[string]func(){}
	}
	s.stop[args[1]] = sync.OnceFunc(func() {
		ctx, cancel := context.WithTimeout(context.Background(), storyPatience)
		defer cancel()
		ts.Check(c.EndTransaction(ctx, kgo.TryAbort))
		c.Close()
	})
	ts.Defer(c.Close)
}

// join consumes as a member of a group, and returns once it is one.
func join(ctx context.Context, ts *testscript.TestScript, s *servers, group, topic string) {
	assigned := make(chan struct{})
	member, err := kgo.NewClient(kgo.SeedBrokers(s.kafka.ListenAddrs()...), kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(),
		kgo.OnPartitionsAssigned(func(context.Context, *kgo.Client, map[string][]int32) { close(assigned) }))
	ts.Check(err)
	life, end := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		for life.Err() == nil {
			member.PollFetches(life)
		}
	})
	if s.stop == nil {
		s.stop = map[string]func(){}
	}
	s.stop[group] = sync.OnceFunc(func() { end(); running.Wait(); member.Close() })
	ts.Defer(s.stop[group])
	select {
	case <-assigned:
	case <-ctx.Done():
		ts.Fatalf("group %s was not assigned anything", group)
	}
}

// cmdExpand puts the script's variables into a file:
//
//	expand FILE
func cmdExpand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: expand FILE")
	}
	file := ts.MkAbs(args[0])
	ts.Check(os.WriteFile(file, []byte(os.Expand(ts.ReadFile(args[0]), ts.Getenv)), 0o644))
}

// cmdHash puts the hash of the plan that was printed as JSON into $PLAN.
func cmdHash(ts *testscript.TestScript, neg bool, args []string) {
	var out struct{ Result struct{ Plan string } }
	if err := json.Unmarshal([]byte(ts.ReadFile("stdout")), &out); err != nil || out.Result.Plan == "" || neg || len(args) != 0 {
		ts.Fatalf("no plan was printed: %v", err)
	}
	ts.Setenv("PLAN", out.Result.Plan)
}
