package kinesisstream_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/kpl"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesisstream"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
)

// A rough stream is reshaped while puts are on their way, refuses some, and cuts answers.
type rough struct {
	t   *testing.T
	rng *rand.Rand
	srv *kinesistest.Server
	st  *kinesistest.Stream

	calls, reshards, refused, cut int
	die                           func() // of the life that is under way
	deadly                        int    // the call that kills it; 0 for none
}

// fault happens to one call. It runs in the server, one PutRecords at a time.
func (r *rough) fault(c kinesistest.Call) kinesistest.Fault {
	if c.Op != "PutRecords" {
		return kinesistest.Fault{}
	}
	r.calls++
	var f kinesistest.Fault
	if r.rng.IntN(3) == 0 {
		held := make(chan struct{})
		f.Wait = held // so that the call finds other shards than it was made for
		go func() {
			defer close(held)
			r.reshard()
		}()
	}
	switch {
	case r.calls == r.deadly:
		r.die()
		f.LateCut = r.rng.IntN(2) == 0
		f.Cut = !f.LateCut
		r.cut++
	case r.rng.IntN(4) == 0:
		f.FailEntries = map[int]string{r.rng.IntN(len(c.Entries)): ""}
		r.refused++
	case r.rng.IntN(10) == 0:
		f.LateCut = true
		r.cut++
	}
	return f
}

// reshard splits or merges.
func (r *rough) reshard() {
	var open []string
	for _, s := range r.st.Shards() {
		if !s.Closed {
			open = append(open, s.ID)
		}
	}
	r.reshards++
	if len(open) > 5 {
		for i := range open {
			for _, other := range open[:i] {
				if _, err := r.st.Merge(open[i], other); err == nil {
					return
				}
			}
		}
	}
	if _, _, err := r.st.Split(open[r.reshards%len(open)], ""); err != nil {
		r.t.Error(err)
	}
}

// Many keys in an aggregate, while shards split and merge under the puts, some are refused,
// answers are lost and the process dies: a reader on the KCL is given every record once,
// those of each key in order, and where the sink says that they stand.
func TestAggregatesOfAShard(t *testing.T) {
	misplaced, reshards, refused, cut, found, packed, kinesisRecords := 0, 0, 0, 0, 0, 0, 0
	const rounds = 6
	for seed := range uint64(rounds) {
		srv := fast(t)
		st := stream(t, srv, 2)
		r := &rough{t: t, rng: rand.New(rand.NewPCG(seed, 0)), srv: srv, st: st}
		srv.SetFault(r.fault)
		recs := records(1200, 60, distinct)
		log, client := memstream.NewLog(nil), dial(t, srv, st.Name())
		done := map[string]bool{}
		for life := 0; len(done) < len(recs); life++ {
			ctx, die := context.WithCancel(t.Context())
			w := open(ctx, t, client, log, kinesisstream.KPLShard, patience)
			for p, err := range w.sink.Tail(t.Context(), bridge.Floor{}) {
				if err != nil {
					t.Fatalf("seed %d life %d: %v", seed, life, err)
				}
				if at := p.Origin.Position.String(); !done[at] {
					found++
					done[at] = true
				}
			}
			left := slices.DeleteFunc(slices.Clone(recs), func(r bridge.Record) bool { return done[r.Origin.Position.String()] })
			r.die, r.deadly = die, 0
			if life < 3 {
				r.deadly = r.calls + 1 + r.rng.IntN(6)
			}
			acks, err := writeAcks(ctx, w.sink, left, 150)
			die()
			misplaced += int(w.misplaced.Load())
			w.sink.Close()
			if err != nil && life >= 3 {
				t.Fatalf("seed %d life %d: %v", seed, life, err)
			}
			acksHold(t, st, acks)
			for _, a := range acks {
				done[a.rec.Origin.Position.String()] = true
			}
		}
		expect(t, fmt.Sprint("seed ", seed), st, recs)
		for _, s := range st.Shards() {
			kinesisRecords += s.Records
		}
		packed += len(recs)
		reshards, refused, cut = reshards+r.reshards, refused+r.refused, cut+r.cut
	}
	t.Logf("%d rounds: %d records in %d Kinesis records, %d of them misplaced and put again; %d reshards under a put, %d refused, %d answers lost, %d found by a next life",
		rounds, packed, kinesisRecords, misplaced, reshards, refused, cut, found)
	if misplaced == 0 || found == 0 || refused == 0 || cut == 0 || kinesisRecords*2 > packed {
		t.Error("not exercised")
	}
}

// An acked record is one that the sink says is stored.
type acked struct {
	rec bridge.Record
	ack bridge.Ack
}

// writeAcks is writeAll that keeps what was acknowledged.
func writeAcks(ctx context.Context, sink bridge.Sink, all []bridge.Record, page int) (out []acked, err error) {
	for recs := range slices.Chunk(all, page) {
		for len(recs) > 0 {
			acks, err := sink.Write(ctx, recs)
			if err != nil {
				return out, err
			}
			var left []bridge.Record
			for i, a := range acks {
				switch {
				case a.Err == nil:
					out = append(out, acked{recs[i], a})
				case bridge.Retryable(a.Err):
					left = append(left, recs[i])
				default:
					return out, a.Err
				}
			}
			recs = left
		}
	}
	return out, nil
}

// acksHold fails unless a reader on the KCL is given each record where its ack says.
func acksHold(t *testing.T, st *kinesistest.Stream, list []acked) {
	t.Helper()
	there := map[string]string{}
	for _, shard := range st.Shards() {
		recs, err := st.Records(shard.ID)
		if err != nil {
			t.Fatal(err)
		}
		keys, err := kpl.ParseHashRange(shard.FirstHash, shard.LastHash)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range recs {
			for _, u := range users(t, keys, r) {
				there[fmt.Sprint(shard.ID, r.SequenceNumber, "/", u.Sub)] = string(u.Key) + string(u.Data)
			}
		}
	}
	for _, a := range list {
		at := fmt.Sprint(a.ack.Partition, a.ack.Position.Seq, "/", a.ack.Position.Sub)
		if want := string(a.rec.Key) + string(a.rec.Value); there[at] != want {
			t.Fatalf("%s holds %q, the sink says %q", at, there[at], want)
		}
	}
}

// An aggregate lies where none of its readers is given it, and the process dies before it
// puts it again: the next one does not take it for stored.
func TestMisplacedIsNotThere(t *testing.T) {
	srv := fast(t)
	st := stream(t, srv, 1)
	recs := records(40, 20, distinct)
	log, client := memstream.NewLog(nil), dial(t, srv, st.Name())
	ctx, die := context.WithCancel(t.Context())
	defer die()
	var calls atomic.Int64
	srv.SetFault(func(c kinesistest.Call) kinesistest.Fault {
		if c.Op != "PutRecords" {
			return kinesistest.Fault{}
		}
		switch calls.Add(1) {
		case 1:
			held := make(chan struct{})
			go func() {
				defer close(held)
				if _, _, err := st.Split(st.Shards()[0].ID, ""); err != nil {
					t.Error(err)
				}
			}()
			return kinesistest.Fault{Wait: held}
		case 2:
			die()
			return kinesistest.Fault{Cut: true}
		}
		return kinesistest.Fault{}
	})
	w := open(ctx, t, client, log, kinesisstream.KPLShard, patience)
	if err := writeAll(ctx, w.sink, recs, len(recs)); err == nil || w.misplaced.Load() != int64(len(recs)) {
		t.Fatalf("not exercised: %d records misplaced, %v", w.misplaced.Load(), err)
	}
	next := open(t.Context(), t, client, log, kinesisstream.KPLShard, patience)
	for p, err := range next.sink.Tail(t.Context(), bridge.Floor{}) {
		t.Errorf("found %+v, %v", p, err)
	}
	if n := compared(t, client, st); n != 0 {
		t.Errorf("who compares sees %d records", n)
	}
	if err := writeAll(t.Context(), next.sink, recs, len(recs)); err != nil {
		t.Fatal(err)
	}
	expect(t, "the next life", st, recs)
	if n := compared(t, client, st); n != len(recs) {
		t.Errorf("who compares sees %d records, want %d", n, len(recs))
	}
}

// compared counts the workflow's records as verify sees them.
func compared(t *testing.T, client *kinesisstream.Client, st *kinesistest.Stream) (n int) {
	t.Helper()
	id, err := client.Identity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	source := client.Source(kinesisstream.SourceConfig{
		Aggregation: kinesisstream.KPLShard.ReadBy(), Restore: true, KeepCopied: true, ManyKeys: true, NoRates: true,
		Stamp: bridge.NewStamp(bridge.StampConfig{Workflow: "w", Key: bridge.WorkflowKey{1}, Source: origin, Target: id}),
	})
	for _, s := range st.Shards() {
		r, err := source.Open(t.Context(), s.ID, bridge.Start{})
		if err != nil {
			t.Fatal(err)
		}
		for ended := false; !ended; {
			b, err := r.Read(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, rec := range b.Records {
				if rec.Origin.IsZero() || rec.Foreign || rec.Refused != nil {
					t.Errorf("%s %s is none of the workflow's: %v", s.ID, rec.Position, rec.Refused)
				}
				n++
			}
			ended = b.Ended || b.Behind == 0 && len(b.Records) == 0
		}
	}
	return n
}

// A stream that places records as it likes would have every aggregate put again for ever.
func TestAggregatesOfAShardNeedKeys(t *testing.T) {
	srv := fast(t)
	st := stream(t, srv, 4)
	client := dial(t, srv, st.Name())
	_, err := client.API().UpdateStreamMode(t.Context(), &kinesis.UpdateStreamModeInput{StreamARN: aws.String(st.ARN()), StreamModeDetails: &types.StreamModeDetails{StreamMode: types.StreamModeOnDemand}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.API().UpdateStreamRecordDistributionStrategy(t.Context(), &kinesis.UpdateStreamRecordDistributionStrategyInput{
		StreamARN: aws.String(st.ARN()), RecordDistributionStrategy: types.RecordDistributionStrategyAuto,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	w := open(ctx, t, client, memstream.NewLog(nil), kinesisstream.KPLShard, enough)
	err = writeAll(ctx, w.sink, records(400, 200, distinct), 50)
	if !errors.Is(err, bridge.ErrRefused) || !strings.Contains(bridge.Hint(err), "kinesis.aggregate") {
		t.Errorf("got %v (hint %q)", err, bridge.Hint(err))
	}
}
