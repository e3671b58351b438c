package verify_test

import (
	"crypto/md5"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/stream/memstream"
	"github.com/kinesis-msk-bridge/bridge/verify"
)

// On the way to Kinesis, where one put in twenty is refused and other keys overtake, the
// run looks again at next to nothing. Without the bitmap it looks at nearly everything,
// so this test can fail.
func TestFewCellsAreDrilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, seed: 1, from: memstream.Kafka, to: memstream.Kinesis, cps: memstream.NewCheckpoints(nil), keys: byHash(0)}
		w.src = memstream.New(memstream.Config{Name: "source", Partitions: 4, Calm: true, Page: 500})
		w.dst = memstream.New(memstream.Config{Flavour: memstream.Kinesis, Name: "target", Partitions: 8, Seed: 1, Calm: true, Faults: refuse, Retention: 1000 * time.Hour})
		w.source, _ = w.src.Identity(t.Context())
		n := 1000 * runs(12, 200)
		for from := 0; from < n; from += 500 {
			recs := make([]bridge.Record, 500)
			for i := range recs {
				recs[i] = bridge.Record{Key: fmt.Appendf(nil, "key-%d", (from+i)*7919%4000), Value: fmt.Append(nil, from+i)}
				route, _ := byHash(4).Route(&recs[i])
				recs[i].Partition = route.Partition
			}
			if _, err := w.src.Put(t.Context(), recs...); err != nil {
				t.Fatal(err)
			}
		}
		w.catchUp()
		share := func(change func(*verify.Verifier)) float64 {
			v := w.verifier(w.dst)
			v.WindowRecords = 1 << 20
			change(v)
			res := w.run(v)
			if res.Verdict != verify.Consistent || res.Totals.SourceRecords != int64(n) {
				t.Fatalf("%s: %v; %d records", res.Verdict, res.Reasons, res.Totals.SourceRecords)
			}
			return 100 * float64(res.Algorithm.Drilled) / float64(res.Algorithm.Cells)
		}
		with, without := share(func(*verify.Verifier) {}), share((*verify.Verifier).WithoutBitmap)
		t.Logf("%d records, 4,000 keys, 5 %% of the puts refused: %.2f %% of the cells drilled; %.1f %% without the bitmap", n, with, without)
		if with > 1 || without < 5 {
			t.Errorf("want at most 1 %% with the bitmap and at least 5 %% without it")
		}
	})
}

// refuse refuses one put in twenty.
func refuse(op memstream.Op) memstream.Fault {
	h := md5.Sum(fmt.Append(nil, op.Kind, op.Partition, op.N))
	if op.Kind == memstream.OpPutRecord && h[0] < 13 {
		return memstream.Fault{Err: bridge.ErrThrottled}
	}
	return memstream.Fault{}
}
