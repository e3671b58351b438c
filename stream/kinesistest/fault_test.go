package kinesistest_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
)

// putLetters sends one entry for each byte of data.
func putLetters(client *kinesis.Client, data string) (*kinesis.PutRecordsOutput, error) {
	in := &kinesis.PutRecordsInput{StreamName: aws.String("s")}
	for i := range len(data) {
		in.Records = append(in.Records, types.PutRecordsRequestEntry{PartitionKey: aws.String("k" + data[i:i+1]), Data: []byte(data[i : i+1])})
	}
	return client.PutRecords(context.Background(), in)
}

// stored is what the only shard of "s" holds, joined.
func stored(t testing.TB, srv *kinesistest.Server) string {
	t.Helper()
	var b strings.Builder
	for _, r := range records(t, srv, first) {
		b.Write(r.Data)
	}
	return b.String()
}

// TestPutFaults breaks one PutRecords in every way, and looks at what the client is told,
// what is stored, and what the server says it did.
func TestPutFaults(t *testing.T) {
	for _, tc := range []struct {
		name   string
		fault  kinesistest.Fault
		err    string // a part of the error; "" for none
		stored string
		want   kinesistest.Counts
	}{
		{"throttled", kinesistest.Fault{Error: kinesistest.Throttled()}, throttled, "",
			kinesistest.Counts{Calls: 1, Errors: 1, Faulted: 1, ThrottledCalls: 1}},
		{"failed before", kinesistest.Fault{Error: kinesistest.InternalFailure()}, "InternalFailure", "",
			kinesistest.Counts{Calls: 1, Errors: 1, Faulted: 1}},
		{"failed after", kinesistest.Fault{LateError: kinesistest.InternalFailure()}, "InternalFailure", "abc",
			kinesistest.Counts{Calls: 1, Errors: 1, Faulted: 1, Late: 1, Stored: 3, Bytes: 9, LateStored: 3}},
		{"unavailable after", kinesistest.Fault{LateError: kinesistest.Unavailable()}, "ServiceUnavailable", "abc",
			kinesistest.Counts{Calls: 1, Errors: 1, Faulted: 1, Late: 1, Stored: 3, Bytes: 9, LateStored: 3}},
		{"cut before", kinesistest.Fault{Cut: true}, "request send failed", "",
			kinesistest.Counts{Calls: 1, Faulted: 1, Cut: 1}},
		{"cut after", kinesistest.Fault{LateCut: true}, "request send failed", "abc",
			kinesistest.Counts{Calls: 1, Faulted: 1, Cut: 1, Late: 1, Stored: 3, Bytes: 9, LateStored: 3}},
		{"truncated", kinesistest.Fault{Truncate: true}, "deserialization failed", "abc",
			kinesistest.Counts{Calls: 1, Faulted: 1, Cut: 1, Late: 1, Stored: 3, Bytes: 9, LateStored: 3}},
		{"none", kinesistest.Fault{}, "", "abc", kinesistest.Counts{Calls: 1, Stored: 3, Bytes: 9}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			srv, client, _ := standing(t, 1, unlimited())
			srv.SetFault(kinesistest.OnNth("PutRecords", 1, tc.fault))
			_, err := putLetters(client, "abc")
			if (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
				t.Errorf("error: got %v, want %q", err, tc.err)
			}
			if got := stored(t, srv); got != tc.stored {
				t.Errorf("stored: got %q, want %q", got, tc.stored)
			}
			if _, err := putLetters(client, "d"); err != nil {
				t.Errorf("next call: %v", err)
			}
			log := srv.Log()
			if log[0].Stream != "s" || log[0].N != 1 || !log[0].Time.Equal(birth) {
				t.Errorf("event: got %+v", log[0])
			}
			tc.want.Calls++
			tc.want.Stored++
			tc.want.Bytes += 3
			if got := srv.Counts("PutRecords"); got != tc.want || srv.Counts("") != tc.want {
				t.Errorf("counts: got %+v, want %+v", got, tc.want)
			}
		})
	}
}

// finished waits for n finished requests, for clients that have gone.
func finished(t testing.TB, srv *kinesistest.Server, n int) []kinesistest.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	log, err := srv.WaitLog(ctx, n)
	if err != nil {
		t.Fatal(err)
	}
	return log
}

func TestFailEntries(t *testing.T) {
	srv, client, _ := standing(t, 1, unlimited())
	srv.SetFault(kinesistest.Next("PutRecords", 1, kinesistest.Fault{FailEntries: map[int]string{1: "", 3: "InternalFailure"}}))
	out, err := putLetters(client, "abcde")
	if err != nil {
		t.Fatal(err)
	}
	if got := stored(t, srv); got != "ace" || *out.FailedRecordCount != 2 {
		t.Errorf("stored %q, %d failed; want %q and 2", got, *out.FailedRecordCount, "ace")
	}
	for i, want := range []string{"", throttled, "", "InternalFailure", ""} {
		if got := aws.ToString(out.Records[i].ErrorCode); got != want || (out.Records[i].SequenceNumber == nil) != (want != "") {
			t.Errorf("entry %d: got %q, want %q", i, got, want)
		}
	}
	if _, err := putLetters(client, "b"); err != nil || stored(t, srv) != "aceb" {
		t.Errorf("again: %v, stored %q", err, stored(t, srv))
	}
	if log := srv.Log(); log[0].Failed != 2 || log[0].Throttled != 0 || !log[0].Faulted || log[1].Faulted {
		t.Errorf("log: got %+v", log)
	}
}

// TestShuffle stores the entries of one call in another order, told truly by their numbers.
func TestShuffle(t *testing.T) {
	srv, client, _ := standing(t, 1, unlimited())
	srv.SetFault(func(kinesistest.Call) kinesistest.Fault { return kinesistest.Fault{Shuffle: 7} })
	const letters = "abcdefghijklmnop"
	out, err := putLetters(client, letters)
	if err != nil {
		t.Fatal(err)
	}
	got := []byte(stored(t, srv))
	if string(got) == letters {
		t.Error("the order is that of the request")
	}
	for i, r := range records(t, srv, first) {
		if at := strings.IndexByte(letters, got[i]); *out.Records[at].SequenceNumber != r.SequenceNumber {
			t.Errorf("entry %d was told %s, and is stored as %s", at, *out.Records[at].SequenceNumber, r.SequenceNumber)
		}
	}
	if slices.Sort(got); string(got) != letters {
		t.Errorf("stored %q", got)
	}
}

// TestHeldPut lets the client give up, and stores its record afterwards.
func TestHeldPut(t *testing.T) {
	srv, client, _ := standing(t, 1, unlimited())
	gate, held := make(chan struct{}), make(chan struct{})
	srv.SetFault(func(c kinesistest.Call) kinesistest.Fault {
		if c.Op != "PutRecord" {
			return kinesistest.Fault{}
		}
		close(held)
		return kinesistest.Fault{Wait: gate}
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() {
		_, err := client.PutRecord(ctx, &kinesis.PutRecordInput{StreamName: aws.String("s"), PartitionKey: aws.String("k"), Data: []byte("late")})
		done <- err
	}()
	<-held
	cancel()
	if err := <-done; err == nil {
		t.Fatal("the call that was given up returned no error")
	}
	if got := stored(t, srv); got != "" {
		t.Fatalf("stored %q while held", got)
	}
	close(gate)
	finished(t, srv, 1)
	if got := stored(t, srv); got != "late" {
		t.Errorf("stored %q after the gate was opened, want %q", got, "late")
	}
}

// TestDelayByTheClock holds an answer until the test's clock has moved.
func TestDelayByTheClock(t *testing.T) {
	srv, client, clock := standing(t, 1, unlimited())
	srv.SetFault(func(c kinesistest.Call) kinesistest.Fault {
		return kinesistest.Fault{Delay: time.Minute, LateDelay: time.Hour}
	})
	done := make(chan error, 1)
	go func() {
		_, err := putLetters(client, "a")
		done <- err
	}()
	clock.WaitFor(1)
	if got := stored(t, srv); got != "" {
		t.Errorf("stored %q before the delay", got)
	}
	clock.Advance(time.Minute)
	clock.WaitFor(1)
	if got := stored(t, srv); got != "a" {
		t.Errorf("stored %q behind the delay", got)
	}
	select {
	case err := <-done:
		t.Errorf("answered before the late delay: %v", err)
	default:
	}
	clock.Advance(time.Hour)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestCloseFreesHeldCalls ends a server while it holds a call: nothing is stored after.
func TestCloseFreesHeldCalls(t *testing.T) {
	srv, client, _ := standing(t, 1, unlimited())
	st := srv.Stream("s")
	held := make(chan struct{})
	srv.SetFault(func(kinesistest.Call) kinesistest.Fault {
		close(held)
		return kinesistest.Fault{Wait: make(chan struct{})}
	})
	done := make(chan error)
	go func() {
		_, err := putLetters(client, "a")
		done <- err
	}()
	<-held
	if err := srv.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; err == nil {
		t.Error("the held call was answered")
	}
	if got, err := st.Records(first); err != nil || len(got) != 0 {
		t.Errorf("stored %v (%v)", got, err)
	}
}

// TestCloseWaits carries out what was under way before Close returns, and nothing later.
func TestCloseWaits(t *testing.T) {
	srv, client, _ := standing(t, 1, unlimited())
	st := srv.Stream("s")
	asked, release, closed := make(chan struct{}), make(chan struct{}), make(chan struct{})
	srv.SetFault(func(kinesistest.Call) kinesistest.Fault {
		close(asked)
		<-release
		return kinesistest.Fault{}
	})
	done := make(chan error)
	go func() {
		_, err := putLetters(client, "a")
		done <- err
	}()
	<-asked
	go func() {
		defer close(closed)
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
	}()
	if err := <-done; err == nil { // Close has cut the connection
		t.Error("the call was answered")
	}
	close(release)
	<-closed
	if got, err := st.Records(first); err != nil || len(got) != 1 {
		t.Errorf("stored %v (%v), want one record", got, err)
	}
}

// TestReadFaults breaks GetRecords.
func TestReadFaults(t *testing.T) {
	srv, client, clock := standing(t, 1, unlimited())
	putAt(t, srv, clock, "abc")
	it := iteratorAt(t, client, types.ShardIteratorTypeTrimHorizon)
	srv.SetFault(kinesistest.Next("GetRecords", 1, kinesistest.Fault{Empty: true}))
	got, out := values(t, client, it)
	if got != "" || out.NextShardIterator == nil || *out.MillisBehindLatest != 3000 {
		t.Errorf("empty page: got %q, %d ms behind", got, *out.MillisBehindLatest)
	}
	if got, _ := values(t, client, out.NextShardIterator); got != "abc" {
		t.Errorf("the page behind it: got %q, want %q", got, "abc")
	}
	for name, f := range map[string]kinesistest.Fault{"truncated": {Truncate: true}, "cut": {LateCut: true}} {
		srv.SetFault(kinesistest.Next("GetRecords", 1, f))
		if _, err := client.GetRecords(context.Background(), &kinesis.GetRecordsInput{ShardIterator: it}); err == nil {
			t.Errorf("%s: no error", name)
		}
		if got, _ := values(t, client, it); got != "abc" {
			t.Errorf("%s, again: got %q", name, got)
		}
	}
}

// TestCallTellsWhat gives a fault function all that it may want to decide by.
func TestCallTellsWhat(t *testing.T) {
	var calls []kinesistest.Call
	cfg := unlimited()
	cfg.Fault = func(c kinesistest.Call) kinesistest.Fault {
		for i, e := range c.Entries { // they are the server's
			c.Entries[i].Data = slices.Clone(e.Data)
		}
		calls = append(calls, c)
		return kinesistest.Fault{}
	}
	srv, client, _ := standing(t, 1, cfg)
	if _, err := putLetters(client, "ab"); err != nil {
		t.Fatal(err)
	}
	arn := srv.Stream("s").ARN()
	if _, err := client.PutRecord(context.Background(), &kinesis.PutRecordInput{StreamARN: &arn, PartitionKey: aws.String("k"), Data: []byte("c"), ExplicitHashKey: aws.String("7")}); err != nil {
		t.Fatal(err)
	}
	if got, _ := values(t, client, iteratorAt(t, client, types.ShardIteratorTypeTrimHorizon)); got != "abc" {
		t.Errorf("read %q", got)
	}
	want := []kinesistest.Call{
		{Op: "PutRecords", N: 1, Stream: "s", Entries: []kinesistest.Entry{{Key: "ka", Data: []byte("a")}, {Key: "kb", Data: []byte("b")}}},
		{Op: "PutRecord", N: 1, Stream: "s", Entries: []kinesistest.Entry{{Key: "k", Data: []byte("c"), ExplicitHashKey: "7"}}},
		{Op: "GetShardIterator", N: 1, Stream: "s", Shard: first},
		{Op: "GetRecords", N: 1, Stream: "s", Shard: first},
	}
	if len(calls) != len(want) {
		t.Fatalf("got %d calls, want %d", len(calls), len(want))
	}
	for i, w := range want {
		got := calls[i]
		if got.Op != w.Op || got.N != w.N || got.Stream != w.Stream || got.Shard != w.Shard || got.AccessKeyID != "test" || got.Region != "us-east-1" || len(got.Entries) != len(w.Entries) {
			t.Errorf("call %d: got %+v, want %+v", i, got, w)
		}
		for j, e := range w.Entries {
			if g := got.Entries[j]; g.Key != e.Key || string(g.Data) != string(e.Data) || g.ExplicitHashKey != e.ExplicitHashKey {
				t.Errorf("call %d, entry %d: got %+v, want %+v", i, j, g, e)
			}
		}
	}
}

func TestDeny(t *testing.T) {
	srv, client, _ := standing(t, 1, unlimited())
	srv.SetDeny(func(c kinesistest.Call) bool { return c.Op == "PutRecords" && c.AccessKeyID == "test" })
	_, err := putLetters(client, "a")
	if code(err) != "AccessDeniedException" || !strings.Contains(err.Error(), "kinesis:PutRecords on resource: arn:aws:kinesis:us-east-1:000000000000:stream/s") {
		t.Errorf("denied call: got %v", err)
	}
	if _, err := client.ListShards(context.Background(), &kinesis.ListShardsInput{StreamName: aws.String("s")}); err != nil {
		t.Errorf("another call: %v", err)
	}
	srv.SetDeny(nil)
	if _, err := putLetters(client, "b"); err != nil || stored(t, srv) != "b" {
		t.Errorf("allowed again: %v", err)
	}
	if got := srv.Counts("PutRecords").Denied; got != 1 {
		t.Errorf("denied: counted %d, want 1", got)
	}
}

func TestStrictRegion(t *testing.T) {
	cfg := unlimited()
	cfg.Region, cfg.StrictRegion = "eu-west-1", true
	srv, client, _ := standing(t, 1, cfg)
	if _, err := putLetters(client, "a"); err != nil {
		t.Error(err)
	}
	_, err := client.ListShards(context.Background(), &kinesis.ListShardsInput{StreamName: aws.String("s")}, func(o *kinesis.Options) { o.Region = "us-east-1" })
	if code(err) != "InvalidSignatureException" || !strings.Contains(err.Error(), "'us-east-1'") {
		t.Errorf("another region: got %v", err)
	}
	if got := srv.Stream("s").ARN(); got != "arn:aws:kinesis:eu-west-1:000000000000:stream/s" {
		t.Errorf("ARN: got %s", got)
	}
}

// TestLogIsBounded keeps the newest events, oldest first.
func TestLogIsBounded(t *testing.T) {
	cfg := unlimited()
	cfg.LogSize = 3
	srv, client, _ := standing(t, 1, cfg)
	for range 5 {
		if _, err := putLetters(client, "a"); err != nil {
			t.Fatal(err)
		}
	}
	log := srv.Log()
	if len(log) != 3 || log[0].N != 3 || log[2].N != 5 {
		t.Errorf("log: got %+v", log)
	}
	if got := srv.Counts("PutRecords").Calls; got != 5 {
		t.Errorf("calls: got %d, want 5", got)
	}
}
