package kinesistest_test

import (
	"context"
	"runtime"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
)

// TestUnanswered counts the records of a key whose answers are on their way: in puts of which
// each waits for the one before, in one put, and in two at one time.
func TestUnanswered(t *testing.T) {
	srv, client, _ := standing(t, 1, unlimited())
	st := srv.Stream("s")
	if got := st.MostUnanswered(); got != 0 {
		t.Errorf("%d before anything is counted", got)
	}
	put := func(keys ...string) {
		in := &kinesis.PutRecordsInput{StreamName: new("s")}
		for _, key := range keys {
			in.Records = append(in.Records, types.PutRecordsRequestEntry{PartitionKey: &key, Data: []byte("x")})
		}
		if _, err := client.PutRecords(context.Background(), in); err != nil {
			t.Error(err)
		}
	}
	count := func(want int, how string) {
		t.Helper()
		if got := st.MostUnanswered(); got != want {
			t.Errorf("%s: %d records of a key at one time, want %d", how, got, want)
		}
		st.CountUnanswered()
	}
	st.CountUnanswered()
	put("a", "b")
	put("b", "a")
	count(1, "one after another")
	put("b", "a", "a")
	count(2, "twice in one")

	wait, answered := make(chan struct{}), make(chan struct{})
	srv.SetFault(func(kinesistest.Call) kinesistest.Fault { return kinesistest.Fault{LateWait: wait} })
	go func() {
		defer close(answered)
		put("a", "b")
	}()
	for st.MostUnanswered() == 0 {
		runtime.Gosched()
	}
	srv.SetFault(nil)
	put("a")
	close(wait)
	<-answered
	count(2, "two at one time")
	put("a")
	count(1, "after all answers")
}
