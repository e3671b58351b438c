package kinesistest_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
)

// TestProducersAndReshards lets producers write with faults while an operator reshards.
// Each producer owns its keys and writes one call at a time, so that afterwards every
// acknowledged record must be there once, every other at most once, and each key in order
// when parents are read before their children.
func TestProducersAndReshards(t *testing.T) {
	cfg := unlimited()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	cfg.Fault = func(c kinesistest.Call) kinesistest.Fault {
		r := rand.New(rand.NewPCG(seed, uint64(c.N)))
		if c.Op != "PutRecords" || r.IntN(4) > 0 {
			return kinesistest.Fault{}
		}
		return []kinesistest.Fault{
			{Error: kinesistest.Throttled()}, {Cut: true}, {LateCut: true}, {LateError: kinesistest.InternalFailure()},
			{Truncate: true}, {FailEntries: map[int]string{r.IntN(4): ""}}, {Shuffle: r.Uint64()},
		}[r.IntN(7)]
	}
	srv, client := start(t, cfg)
	if _, err := srv.CreateStream("s", 2); err != nil {
		t.Fatal(err)
	}
	const producers, calls = 4, 60
	acked := make([]map[string]bool, producers)
	stop := make(chan struct{})
	var writers, operator sync.WaitGroup
	for p := range producers {
		acked[p] = map[string]bool{}
		writers.Go(func() { produce(t, client, p, calls, acked[p]) })
	}
	operator.Go(func() { reshardUntil(t, srv.Stream("s"), rand.New(rand.NewPCG(seed, 99)), stop) })
	writers.Wait()
	close(stop)
	operator.Wait()

	seen := map[string]int{}
	last := map[string]int{}
	for _, s := range srv.Stream("s").Shards() {
		for _, r := range drain(t, client, "s", s.ID) {
			seen[string(r.Data)]++
			n, err := strconv.Atoi(string(r.Data[len(r.Data)-4:]))
			if err != nil || n <= last[*r.PartitionKey] {
				t.Errorf("key %s: record %d after %d (%v)", *r.PartitionKey, n, last[*r.PartitionKey], err)
			}
			last[*r.PartitionKey] = n
		}
	}
	counts := srv.Counts("PutRecords")
	total := 0
	for _, mine := range acked {
		for id := range mine {
			if seen[id] != 1 {
				t.Errorf("record %s was acknowledged and stored %d times", id, seen[id])
			}
			total++
		}
	}
	for id, n := range seen {
		if n != 1 {
			t.Errorf("record %s is stored %d times", id, n)
		}
	}
	if len(seen) != counts.Stored || len(seen)-total != counts.LateStored {
		t.Errorf("%d stored and %d acknowledged; the server says %d stored, %d of them without an answer", len(seen), total, counts.Stored, counts.LateStored)
	}
	if counts.Cut == 0 || counts.Late == 0 || counts.Failed == 0 {
		t.Errorf("the faults were not met: %+v", counts)
	}
}

// produce writes four keys in turn, each call with a new record of each, and never twice.
func produce(t *testing.T, client *kinesis.Client, p, calls int, acked map[string]bool) {
	for n := 1; n <= calls; n++ {
		in := &kinesis.PutRecordsInput{StreamName: aws.String("s")}
		for k := range 4 {
			key := fmt.Sprintf("p%d-k%d", p, k)
			in.Records = append(in.Records, types.PutRecordsRequestEntry{PartitionKey: &key, Data: fmt.Appendf(nil, "%s-%04d", key, n)})
		}
		out, err := client.PutRecords(context.Background(), in)
		if err != nil {
			continue // whatever its fate, it is not sent again
		}
		for i, r := range out.Records {
			if r.SequenceNumber != nil {
				acked[string(in.Records[i].Data)] = true
			}
		}
	}
}

// reshardUntil splits and merges until it is told to stop.
func reshardUntil(t *testing.T, st *kinesistest.Stream, r *rand.Rand, stop chan struct{}) {
	for range 40 {
		select {
		case <-stop:
			return
		default:
		}
		if err := st.Scale(1 + r.IntN(6)); err != nil {
			t.Error(err)
		}
	}
}

// TestManyReaders reads one shard from many goroutines while it is written and damaged.
func TestManyReaders(t *testing.T) {
	srv, client := start(t, unlimited())
	st, err := srv.CreateStream("s", 1)
	if err != nil {
		t.Fatal(err)
	}
	fill(t, st, 200, 2000)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 10 {
				drain(t, client, "s", first)
			}
		})
	}
	wg.Go(func() {
		for i := range 200 {
			if err := st.Change(first, i%100, func(r *kinesistest.Record) { r.Data = make([]byte, i) }); err != nil {
				t.Error(err)
			}
			fill(t, st, 1, 2000)
			if err := st.Trim(first, 1); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
	if n := len(records(t, srv, first)); n != 200 {
		t.Errorf("got %d records, want 200", n)
	}
}
