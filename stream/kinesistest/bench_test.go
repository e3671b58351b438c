package kinesistest_test

import (
	"encoding/base64"
	"fmt"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
)

// putBody is a PutRecords of n records of size bytes.
func putBody(n, size int) string {
	data := base64.StdEncoding.EncodeToString(make([]byte, size))
	var b strings.Builder
	b.WriteString(`{"StreamName":"s","Records":[`)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"Data":%q,"PartitionKey":"key-%06d"}`, data, i)
	}
	b.WriteString(`]}`)
	return b.String()
}

// serve runs one request through the server's handler, without a socket.
func serve(b testing.TB, srv *kinesistest.Server, op, body string) string {
	b.Helper()
	req := httptest.NewRequest("POST", "/", strings.NewReader(body))
	req.Header.Set("Content-Type", jsonType)
	req.Header.Set("X-Amz-Target", "Kinesis_20131202."+op)
	req.Header.Set("Authorization", signature)
	w := httptest.NewRecorder()
	srv.ServeHTTP(w, req)
	if w.Code != 200 {
		b.Fatalf("%s: %d %s", op, w.Code, w.Body)
	}
	return w.Body.String()
}

func BenchmarkPutRecords(b *testing.B) {
	for _, size := range []int{100, 1024} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			srv, _ := start(b, unlimited())
			st, err := srv.CreateStream("s", 4)
			if err != nil {
				b.Fatal(err)
			}
			body := putBody(500, size)
			b.SetBytes(int64(500 * size))
			for i := 0; b.Loop(); i++ {
				serve(b, srv, "PutRecords", body)
				if i%100 == 0 {
					for _, s := range st.Shards() {
						if err := st.Trim(s.ID, s.Records); err != nil {
							b.Fatal(err)
						}
					}
				}
			}
			b.ReportMetric(float64(b.N*500)/b.Elapsed().Seconds(), "rec/s")
		})
	}
}

func BenchmarkGetRecords(b *testing.B) {
	for _, size := range []int{100, 1024} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			srv, _ := start(b, unlimited())
			st, err := srv.CreateStream("s", 1)
			if err != nil {
				b.Fatal(err)
			}
			fill(b, st, 400, size)
			it := strings.Split(serve(b, srv, "GetShardIterator", `{"StreamName":"s","ShardId":"`+first+`","ShardIteratorType":"TRIM_HORIZON"}`), `"`)[3]
			body := `{"ShardIterator":"` + it + `"}`
			b.SetBytes(int64(400 * size))
			for b.Loop() {
				serve(b, srv, "GetRecords", body)
			}
			b.ReportMetric(float64(b.N*400)/b.Elapsed().Seconds(), "rec/s")
		})
	}
}

// TestMemoryPerRecord keeps the store compact: at most 48 bytes a record beside its bytes,
// and an eighth of those for what blocks leave free.
func TestMemoryPerRecord(t *testing.T) {
	srv, _ := start(t, unlimited())
	st, err := srv.CreateStream("s", 32)
	if err != nil {
		t.Fatal(err)
	}
	const n, size = 300_000, 300
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	data := make([]byte, size)
	for i := range n {
		if err := st.Put(kinesistest.Entry{Key: fmt.Sprintf("N%05dXX", i%5000), Data: data}); err != nil {
			t.Fatal(err)
		}
	}
	grown := heap() - before
	const limit = n * (48 + (size+8)*9/8)
	t.Logf("%d bytes a record of %d", grown/n, size+8)
	if grown > limit {
		t.Errorf("%d records of %d bytes take %d bytes, more than %d", n, size+8, grown, int64(limit))
	}
	runtime.KeepAlive(st)
}

// TestAllocations keeps the cost of the two large calls from growing with their records.
func TestAllocations(t *testing.T) {
	srv, _ := start(t, unlimited())
	st, err := srv.CreateStream("s", 1)
	if err != nil {
		t.Fatal(err)
	}
	allocs := func(n int) (put, get float64) {
		body := putBody(n, 100)
		put = testing.AllocsPerRun(20, func() {
			serve(t, srv, "PutRecords", body)
			if err := st.Trim(first, n); err != nil {
				t.Fatal(err)
			}
		})
		fill(t, st, n, 100)
		it := strings.Split(serve(t, srv, "GetShardIterator", `{"StreamName":"s","ShardId":"`+first+`","ShardIteratorType":"TRIM_HORIZON"}`), `"`)[3]
		get = testing.AllocsPerRun(20, func() { serve(t, srv, "GetRecords", `{"ShardIterator":"`+it+`"}`) })
		if err := st.Trim(first, n); err != nil {
			t.Fatal(err)
		}
		return put, get
	}
	smallPut, smallGet := allocs(5)
	largePut, largeGet := allocs(500)
	t.Logf("PutRecords: %.0f allocations for 5 records, %.0f for 500; GetRecords: %.0f, %.0f", smallPut, largePut, smallGet, largeGet)
	if largePut > smallPut+40 || largeGet > smallGet+40 {
		t.Errorf("allocations grow with the records")
	}
}
