package bridgetest

import (
	"bytes"
	"crypto/md5"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/kinesis-msk-bridge/bridge"
)

// seed is that of everything that tests make up. It is fixed: what varies is the server.
const seed = 20261124

// keysFor makes up n keys that are placed in a partition: on Kinesis those whose hash it
// holds, on Kafka any.
func keysFor(p bridge.Partition, n int) []string {
	var keys []string
	for i := 0; len(keys) < n; i++ {
		key := fmt.Sprintf("key-%d", i)
		if holds(p, key) {
			keys = append(keys, key)
		}
	}
	return keys
}

func holds(p bridge.Partition, key string) bool {
	if p.FirstHash == "" {
		return true
	}
	sum := md5.Sum([]byte(key))
	h := new(big.Int).SetBytes(sum[:])
	first, ok := new(big.Int).SetString(p.FirstHash, 10)
	last, ok2 := new(big.Int).SetString(p.LastHash, 10)
	return ok && ok2 && first.Cmp(h) <= 0 && h.Cmp(last) <= 0
}

// wanted is the partition to ask for: Kinesis places by the key alone.
func wanted(p bridge.Partition) string {
	if p.FirstHash != "" {
		return ""
	}
	return p.ID
}

// make makes up n records for a partition, over a handful of keys, with values from empty
// to a few kilobytes, and whatever else the stream carries.
func (c Carries) make(p bridge.Partition, n int) []bridge.Record {
	rng := rand.New(rand.NewPCG(seed, uint64(n)))
	keys := keysFor(p, 7)
	base := time.Now().Add(-time.Hour).Truncate(time.Millisecond)
	recs := make([]bridge.Record, n)
	for i := range recs {
		r := bridge.Record{
			Key:       []byte(keys[rng.IntN(len(keys))]),
			Value:     noise(rng, []int{0, 1, 50, 3000}[rng.IntN(4)]),
			Partition: wanted(p),
			Subs:      1,
		}
		if c.Time {
			r.Time = base.Add(time.Duration(i) * time.Millisecond)
		}
		if c.Headers && i%3 > 0 {
			r.Headers = headers(rng)
		}
		if c.NullKeys && i%11 == 5 {
			r.Key = nil
		}
		if c.NullValues && i%7 == 3 {
			r.Value = nil
		}
		recs[i] = r
	}
	return recs
}

// headers has two of one name, an empty value, and a nil one.
func headers(rng *rand.Rand) []bridge.Header {
	return []bridge.Header{
		{Key: "a", Value: noise(rng, 5)},
		{Key: "b", Value: []byte{}},
		{Key: "a", Value: noise(rng, 5)},
		{Key: "nil"},
	}
}

func noise(rng *rand.Rand, n int) []byte {
	b := make([]byte, 0, n+8)
	for len(b) < n {
		b = binary.LittleEndian.AppendUint64(b, rng.Uint64())
	}
	return b[:n]
}

// same says how a record that was read differs from the one that was put; empty if in
// nothing that the stream carries.
func (c Carries) same(got, put *bridge.Record) string {
	switch {
	case !sameBytes(got.Key, put.Key):
		return fmt.Sprintf("key %s, put %s", show(got.Key), show(put.Key))
	case !sameBytes(got.Value, put.Value):
		return fmt.Sprintf("value %s, put %s", show(got.Value), show(put.Value))
	case !slices.EqualFunc(got.Headers, put.Headers, func(a, b bridge.Header) bool {
		return a.Key == b.Key && sameBytes(a.Value, b.Value)
	}):
		return fmt.Sprintf("headers %v, put %v", got.Headers, put.Headers)
	case c.Time && !got.Time.Equal(put.Time):
		return fmt.Sprintf("time %v, put %v", got.Time, put.Time)
	}
	return ""
}

// sameBytes tells nil from empty.
func sameBytes(a, b []byte) bool { return bytes.Equal(a, b) && (a == nil) == (b == nil) }

func show(b []byte) string {
	if b == nil {
		return "nil"
	}
	if len(b) > 32 {
		return fmt.Sprintf("%q… (%d bytes)", b[:32], len(b))
	}
	return fmt.Sprintf("%q", b)
}

// partitions lists the partitions that still take records.
func (t *env) partitions(s bridge.Stream) []bridge.Partition {
	t.Helper()
	list := retry(t, "list the partitions", func() ([]bridge.Partition, error) { return s.Partitions(t.ctx) })
	return slices.DeleteFunc(list, func(p bridge.Partition) bool { return p.Closed })
}

// open opens a reader that is closed with the test.
func (t *env) open(s bridge.Source, partition string, from bridge.Start) bridge.Reader {
	t.Helper()
	r := retry(t, "open partition "+partition, func() (bridge.Reader, error) { return s.Open(t.ctx, partition, from) })
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// next reads one batch and checks what holds for every batch.
func (t *env) next(r bridge.Reader, partition string) bridge.Batch {
	t.Helper()
	b := retry(t, "read partition "+partition, func() (bridge.Batch, error) { return r.Read(t.ctx) })
	t.checkBatch(&b, partition)
	return b
}

func (t *env) checkBatch(b *bridge.Batch, partition string) {
	t.Helper()
	if b.Behind != 0 && !b.Ended && !b.End.IsZero() && !b.End.After(b.Through) {
		t.Errorf("a batch through %s says that more stands behind it, and that its partition ends at %s", b.Through, b.End)
	}
	for i := range b.Records {
		r := &b.Records[i]
		if r.Partition != partition {
			t.Errorf("record %s of partition %s says partition %q", r.Position, partition, r.Partition)
		}
		if r.Position.After(b.Through) {
			t.Errorf("record %s is behind Through %s of its batch", r.Position, b.Through)
		}
		if i > 0 && !r.Position.After(b.Records[i-1].Position) {
			t.Errorf("record %s stands behind %s", r.Position, b.Records[i-1].Position)
		}
		if !r.Time.Equal(r.Time.Truncate(time.Millisecond)) {
			t.Errorf("record %s: time %v is not whole milliseconds", r.Position, r.Time)
		}
		if r.Subs < 1 || r.Position.Sub >= r.Subs {
			t.Errorf("record %s: it is one of %d", r.Position, r.Subs)
		}
	}
	if b.Asked.IsZero() {
		t.Errorf("partition %s: Asked is not set", partition)
	}
}

// read reads until n records were seen, or the partition ended. It never takes more than
// it needs, so a surplus shows in drain alone.
func (t *env) read(r bridge.Reader, partition string, n int) []bridge.Record {
	t.Helper()
	var all []bridge.Record
	for len(all) < n {
		b := t.next(r, partition)
		all = append(all, b.Records...)
		if b.Ended {
			break
		}
	}
	if len(all) != n {
		t.Fatalf("partition %s: %d records, want %d", partition, len(all), n)
	}
	return all
}

// idle reads until the service says that nothing more is there, and returns what came and
// how far it was seen. A service that does not say is asked until three answers in a row
// were empty.
func (t *env) idle(r bridge.Reader, partition string) (all []bridge.Record, through bridge.Position) {
	t.Helper()
	for empty := 0; empty < 3; {
		b := t.next(r, partition)
		all = append(all, b.Records...)
		through = b.Through
		if b.Behind == 0 || b.Ended {
			return all, through
		}
		empty++
		if b.Behind > 0 || len(b.Records) > 0 {
			empty = 0
		}
	}
	return all, through
}

// expect compares what was read with what was put, in order.
func (t *env) expect(c Carries, got, put []bridge.Record, acks []bridge.Ack) {
	t.Helper()
	if len(got) != len(put) {
		t.Fatalf("%d records read, %d put", len(got), len(put))
	}
	for i := range got {
		if d := c.same(&got[i], &put[i]); d != "" {
			t.Fatalf("record %d: read %s", i, d)
		}
		if got[i].Position != acks[i].Position || got[i].Partition != acks[i].Partition {
			t.Fatalf("record %d: stands at %s %s, acknowledged at %s %s", i,
				got[i].Partition, got[i].Position, acks[i].Partition, acks[i].Position)
		}
	}
}

// gapOf opens a partition and reads until that fails for good. It returns the gap, or nil
// and what was read if it is idle without one.
func (t *env) gapOf(s bridge.Source, partition string, from bridge.Start) (*bridge.GapError, []bridge.Record) {
	t.Helper()
	r, err := try(t, func() (bridge.Reader, error) { return s.Open(t.ctx, partition, from) })
	var all []bridge.Record
	if err == nil {
		defer r.Close()
		all, err = t.readOn(r)
	}
	if err == nil {
		return nil, all
	}
	var gap *bridge.GapError
	if !errors.As(err, &gap) || !errors.Is(err, bridge.ErrGap) {
		t.Fatalf("open partition %s behind %s: got %v, want a gap", partition, from.After, err)
	}
	return gap, all
}

// readOn reads until the tip, the end, or an error that stays.
func (t *env) readOn(r bridge.Reader) (all []bridge.Record, err error) {
	for empty := 0; empty < 3; {
		b, err := try(t, func() (bridge.Batch, error) { return r.Read(t.ctx) })
		if err != nil {
			return all, err
		}
		all = append(all, b.Records...)
		if b.Behind == 0 || b.Ended {
			return all, nil
		}
		empty++
		if b.Behind > 0 || len(b.Records) > 0 {
			empty = 0
		}
	}
	return all, nil
}
