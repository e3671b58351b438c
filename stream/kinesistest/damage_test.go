package kinesistest_test

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
)

// TestDamage changes what is stored and reads it through the service.
func TestDamage(t *testing.T) {
	for _, tc := range []struct {
		name   string
		damage func(*kinesistest.Stream) error
		want   string
	}{
		{"drop the first", func(s *kinesistest.Stream) error { return s.Drop(first, 0) }, "bcde"},
		{"drop one", func(s *kinesistest.Stream) error { return s.Drop(first, 2) }, "abde"},
		{"drop the last", func(s *kinesistest.Stream) error { return s.Drop(first, 4) }, "abcd"},
		{"change one", func(s *kinesistest.Stream) error {
			return s.Change(first, 1, func(r *kinesistest.Record) { r.Data = []byte("BBB") })
		}, "aBBBcde"},
		{"insert in front", func(s *kinesistest.Stream) error {
			return s.Insert(first, 0, kinesistest.Record{Key: "k", Data: []byte("x")})
		}, "xabcde"},
		{"insert in between", func(s *kinesistest.Stream) error {
			return s.Insert(first, 3, kinesistest.Record{Key: "k", Data: []byte("x")})
		}, "abcxde"},
		{"insert behind", func(s *kinesistest.Stream) error {
			return s.Insert(first, 5, kinesistest.Record{Key: "k", Data: []byte("x")})
		}, "abcdex"},
		{"swap two", func(s *kinesistest.Stream) error { return s.Swap(first, 1, 3) }, "adcbe"},
		{"swap one with itself", func(s *kinesistest.Stream) error { return s.Swap(first, 2, 2) }, "abcde"},
		{"trim two", func(s *kinesistest.Stream) error { return s.Trim(first, 2) }, "cde"},
		{"trim more than there are", func(s *kinesistest.Stream) error { return s.Trim(first, 9) }, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			srv, client, clock := standing(t, 1, unlimited())
			putAt(t, srv, clock, "abcde")
			st := srv.Stream("s")
			if err := tc.damage(st); err != nil {
				t.Fatal(err)
			}
			if got, _ := values(t, client, iteratorAt(t, client, types.ShardIteratorTypeTrimHorizon)); got != tc.want {
				t.Errorf("read %q, want %q", got, tc.want)
			}
			size := 0
			all := records(t, srv, first)
			for i, r := range all {
				size += len(r.Key) + len(r.Data)
				if i > 0 && bigOf(t, r.SequenceNumber).Cmp(bigOf(t, all[i-1].SequenceNumber)) <= 0 {
					t.Errorf("record %d has number %s, after %s", i, r.SequenceNumber, all[i-1].SequenceNumber)
				}
			}
			if info := st.Shards()[0]; info.Records != len(all) || info.Bytes != int64(size) {
				t.Errorf("info: got %+v, want %d records of %d bytes", info, len(all), size)
			}
			// The shard goes on as before.
			putAt(t, srv, clock, "f")
			if got := stored(t, srv); got != tc.want+"f" {
				t.Errorf("and one more: got %q", got)
			}
		})
	}
}

func TestDamageRefused(t *testing.T) {
	srv, _, clock := standing(t, 1, unlimited())
	putAt(t, srv, clock, "ab")
	st := srv.Stream("s")
	small := kinesistest.Record{Key: "k"}
	for name, err := range map[string]error{
		"drop behind":       st.Drop(first, 2),
		"drop before":       st.Drop(first, -1),
		"swap behind":       st.Swap(first, 0, 2),
		"insert behind":     st.Insert(first, 3, small),
		"unknown shard":     st.Trim(shardName(1), 1),
		"too large":         st.Insert(first, 0, kinesistest.Record{Key: strings.Repeat("k", 2000)}),
		"change to a giant": st.Change(first, 0, func(r *kinesistest.Record) { r.Key = strings.Repeat("k", 2000) }),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	n := 2
	for ; n < 100; n++ {
		if err := st.Insert(first, 1, small); err != nil {
			if !strings.Contains(err.Error(), "no sequence number is free") {
				t.Error(err)
			}
			break
		}
	}
	if n == 2 || n == 100 {
		t.Errorf("%d inserts fitted in between two numbers", n-2)
	}
	if got := stored(t, srv); got != "ab" {
		t.Errorf("stored %q", got)
	}
}

// TestChangedArrival lets time run backwards in a shard, as the service may: reading at a
// time begins at the first record, in order of numbers, that is not older.
func TestChangedArrival(t *testing.T) {
	srv, client, clock := standing(t, 1, unlimited())
	putAt(t, srv, clock, "abcd")
	if err := srv.Stream("s").Change(first, 1, func(r *kinesistest.Record) { r.Arrival = birth.Add(3500 * time.Millisecond) }); err != nil {
		t.Fatal(err)
	}
	it := iteratorSince(t, client, birth.Add(2*time.Second))
	got, out := values(t, client, it)
	if got != "bcd" || !out.Records[0].ApproximateArrivalTimestamp.Equal(birth.Add(3500*time.Millisecond)) {
		t.Errorf("read %q", got)
	}
}

// TestClockBackwards stores a record that is older than the one before it.
func TestClockBackwards(t *testing.T) {
	srv, client, clock := standing(t, 1, unlimited())
	clock.Set(birth.Add(10 * time.Second))
	putAt(t, srv, clock, "a")
	clock.Set(birth.Add(5 * time.Second))
	putAt(t, srv, clock, "b")
	clock.Set(birth.Add(20 * time.Second))
	for at, want := range map[time.Duration]string{5: "ab", 8: "ab", 10: "ab", 11: ""} {
		if got, _ := values(t, client, iteratorSince(t, client, birth.Add(at*time.Second))); got != want {
			t.Errorf("at %d s: got %q, want %q", at, got, want)
		}
	}
}

// TestDamageAcrossBlocks damages a shard of several blocks at random, beside a plain list.
func TestDamageAcrossBlocks(t *testing.T) {
	srv, _, _ := standing(t, 1, unlimited())
	r := seeded(t)
	st := srv.Stream("s")
	var model []string
	text := func() string { return strings.Repeat(string(rune('a'+r.IntN(26))), 1+r.IntN(900)) }
	for range 3000 {
		d := text()
		if err := st.Put(kinesistest.Entry{Key: "k", Data: []byte(d)}); err != nil {
			t.Fatal(err)
		}
		model = append(model, d)
	}
	for step := range 2500 {
		i, j := r.IntN(len(model)), r.IntN(len(model))
		var err error
		switch r.IntN(5) {
		case 0:
			err = st.Drop(first, i)
			model = append(model[:i], model[i+1:]...)
		case 1:
			d := text()
			err = st.Change(first, i, func(r *kinesistest.Record) { r.Data = []byte(d) })
			model[i] = d
		case 2:
			err = st.Swap(first, i, j)
			model[i], model[j] = model[j], model[i]
		case 3:
			d := text()
			if err = st.Insert(first, i, kinesistest.Record{Key: "k", Data: []byte(d)}); err == nil {
				model = append(model[:i], append([]string{d}, model[i:]...)...)
			}
			err = nil // the gap may be used up
		default:
			err = st.Trim(first, 1)
			model = model[1:]
		}
		if err != nil {
			t.Fatalf("step %d: %v", step, err)
		}
	}
	got := records(t, srv, first)
	if len(got) != len(model) {
		t.Fatalf("got %d records, want %d", len(got), len(model))
	}
	for i, rec := range got {
		if string(rec.Data) != model[i] {
			t.Fatalf("record %d: got %.20q, want %.20q", i, rec.Data, model[i])
		}
	}
}
