package verify_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/keymap"
	"github.com/kinesis-msk-bridge/bridge/verify"
)

// A made stream makes its records when they are read, so that a test measures what the
// engine holds. Its target side holds what a mirror would have made of its source side.
type made struct {
	name    string
	records int // of each partition
	parts   int
	keys    int
	size    int
	origin  string // of the stream that the records came from; empty for the source
	shards  bool   // places by hash, as Kinesis does
	page    int
	read    func() // after each page
}

const madeTime = 1_700_000_000_000

func (m *made) Identity(context.Context) (bridge.Identity, error) {
	return bridge.Identity{Name: m.name, Incarnation: "1"}, nil
}

func (m *made) Partitions(context.Context) ([]bridge.Partition, error) {
	out := make([]bridge.Partition, m.parts)
	for i := range out {
		out[i].ID = strconv.Itoa(i)
		if m.shards {
			out[i].FirstHash, out[i].LastHash = "0", "340282366920938463463374607431768211455"
		}
	}
	return out, nil
}

// Ends is for the side whose positions are offsets.
func (m *madeTopic) Ends(context.Context) (map[string]bridge.Position, error) {
	out := map[string]bridge.Position{}
	for i := range m.parts {
		out[strconv.Itoa(i)] = bridge.OffsetPosition(int64(m.records) - 1)
	}
	return out, nil
}

type madeTopic struct{ *made }

func (m *made) Open(_ context.Context, partition string, from bridge.Start) (bridge.Reader, error) {
	n, err := from.After.Offset()
	return &madeReader{m: m, partition: partition, next: n + 1}, err
}

type madeReader struct {
	m         *made
	partition string
	next      int64
}

func (r *madeReader) Close() error { return nil }

func (r *madeReader) Read(context.Context) (bridge.Batch, error) {
	m := r.m
	b := bridge.Batch{Asked: time.Now(), Behind: time.Second}
	for r.next < int64(m.records) && len(b.Records) < m.page {
		b.Records = append(b.Records, m.record(r.partition, r.next))
		r.next++
	}
	b.Through = bridge.OffsetPosition(r.next - 1)
	if r.next == int64(m.records) {
		b.Behind = 0
	}
	if m.read != nil {
		m.read()
	}
	return b, nil
}

func (m *made) Begin(context.Context, string, time.Time) (bridge.Position, time.Time, error) {
	return bridge.OffsetPosition(0), time.Time{}, nil
}

func (m *made) record(partition string, n int64) bridge.Record {
	p, _ := strconv.Atoi(partition)
	value := make([]byte, m.size)
	binary.BigEndian.PutUint64(value, uint64(n))
	r := bridge.Record{
		Key:   strconv.AppendInt([]byte("key-"), (n*7919+int64(p))%int64(m.keys), 10),
		Value: value, Partition: partition, Position: bridge.OffsetPosition(n), Time: time.UnixMilli(madeTime + n), Subs: 1,
	}
	if m.origin != "" {
		r.Origin = bridge.Coordinate{Stream: m.origin, Partition: partition, Position: r.Position}
	}
	return r
}

// asIs leaves every record in its partition.
type asIs struct{ placed bool }

func (asIs) Name() string { return "as-is" }
func (a asIs) Route(r *bridge.Record) (keymap.Route, error) {
	if a.placed {
		return keymap.Route{Key: r.Key}, nil
	}
	return keymap.Route{Key: r.Key, Partition: r.Partition}, nil
}

// compared runs over n records and returns the result.
func compared(t testing.TB, n, size int, shards bool, read func()) *verify.Result {
	t.Helper()
	parts := 4
	src := &made{name: "source", records: n / parts, parts: parts, keys: 100_000, size: size, page: 2000, read: read}
	dst := *src
	dst.name, dst.origin, dst.shards = "target", "source@1", shards
	v := &verify.Verifier{Source: madeTopic{src}, Target: &dst, Keys: asIs{placed: shards}, Key: workflowKey, Settle: time.Millisecond}
	if !shards {
		v.Source, v.Target = src, madeTopic{&dst}
	}
	res, err := v.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if res.Verdict != verify.Consistent || res.Totals.SourceRecords != int64(n) {
		t.Fatalf("%s: %v, %+v", res.Verdict, res.Reasons, res.Totals)
	}
	return res
}

// What a run holds does not grow with the number of records.
func TestMemoryIsConstant(t *testing.T) {
	base := runs(24_000, 1_000_000)
	for _, shards := range []bool{false, true} {
		peak := func(n int) uint64 {
			var mu sync.Mutex
			var most uint64
			pages := 0
			compared(t, n, 100, shards, func() {
				mu.Lock()
				defer mu.Unlock()
				if pages++; pages%max(n/2000/8, 1) == 0 {
					runtime.GC()
					var m runtime.MemStats
					runtime.ReadMemStats(&m)
					most = max(most, m.HeapAlloc)
				}
			})
			return most
		}
		small, large := peak(base), peak(4*base)
		t.Logf("placed by hash: %t: %d records %.1f MiB, %d records %.1f MiB", shards, base, float64(small)/(1<<20), 4*base, float64(large)/(1<<20))
		// Where there are few records, the tables are still being filled.
		slack := 0.0
		if base < 1_000_000 {
			slack = 12 << 20
		}
		if float64(large) > 1.1*float64(small)+slack {
			t.Errorf("%d records need %d bytes, %d need %d", base, small, 4*base, large)
		}
	}
}

// The engine's own work on a record of both sides, without any reading.
func BenchmarkVerify(b *testing.B) {
	for _, size := range []int{100, 1024} {
		for _, shards := range []bool{false, true} {
			b.Run(fmt.Sprintf("%dB/placed-by-hash=%t", size, shards), func(b *testing.B) {
				b.SetBytes(int64(2 * size))
				compared(b, max(b.N, 8000)/8000*8000, size, shards, nil)
			})
		}
	}
}
