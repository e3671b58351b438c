package envelope_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/envelope"
	"github.com/kinesis-msk-bridge/bridge/internal/memtest"
)

// The bytes of version 1 are stored in people's streams.
func TestGolden(t *testing.T) {
	recs := []envelope.Record{
		{Provenance: []byte{9, 9}, Headers: []bridge.Header{{Key: "a", Value: []byte("b")}, {Key: "n"}, {Key: "", Value: []byte{}}}, Value: []byte("one")},
		{Provenance: []byte{}},
		{Provenance: []byte{}, Value: []byte{}},
	}
	const golden = "c5425247" + "01" + "03" +
		"00" + "020909" + "03" + "01610262" + "016e00" + "0001" + "036f6e65" +
		"01" + "00" + "00" + "00" +
		"00" + "00" + "00" + "00"
	data := envelope.Append(nil, recs)
	if got := hex.EncodeToString(data[:len(data)-4]); got != golden {
		t.Errorf("bytes\n%s, want\n%s", got, golden)
	}
	got, err := envelope.Decode(data)
	if err != nil || !reflect.DeepEqual(got, recs) {
		t.Errorf("decoded %#v, %v", got, err)
	}
	size := envelope.Overhead(len(recs))
	for i := range recs {
		size += recs[i].Size()
	}
	if size != len(data) {
		t.Errorf("size %d, want %d", size, len(data))
	}
}

func random(rng *rand.Rand) []envelope.Record {
	some := func(null bool) []byte {
		if null && rng.IntN(4) == 0 {
			return nil
		}
		b := make([]byte, rng.IntN(20))
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		return b
	}
	recs := make([]envelope.Record, 1+rng.IntN(4))
	for i := range recs {
		recs[i] = envelope.Record{Provenance: some(false), Value: some(true)}
		for range rng.IntN(3) {
			recs[i].Headers = append(recs[i].Headers, bridge.Header{Key: string(some(false)), Value: some(true)})
		}
	}
	return recs
}

// Whatever went in comes out, and one flipped bit never comes out as something else.
func TestRoundTrip(t *testing.T) {
	const seed = 11
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for i := range 50_000 {
		recs := random(rng)
		data := envelope.Append([]byte{1}, recs)[1:]
		got, err := envelope.Decode(data)
		if err != nil || !reflect.DeepEqual(got, recs) {
			t.Fatalf("case %d: %#v came back as %#v, %v", i, recs, got, err)
		}
		data[rng.IntN(len(data))] ^= 1 << rng.IntN(8)
		if _, err := envelope.Decode(data); !errors.Is(err, envelope.ErrPlain) && !errors.Is(err, bridge.ErrUndecodable) {
			t.Fatalf("case %d: a flipped bit: %v", i, err)
		}
	}
}

// FuzzDecode holds that nothing panics, that memory is bounded, and that what is read is
// read again from what is written of it.
func FuzzDecode(f *testing.F) {
	f.Add(envelope.Append(nil, []envelope.Record{{Value: []byte("v"), Headers: []bridge.Header{{Key: "k"}}}}))
	f.Add([]byte("\xc5BRG\x01\xff\xff\xff\xff\x0f"))
	rng := rand.New(rand.NewPCG(12, 0))
	for range 40 {
		data := envelope.Append(nil, random(rng))
		f.Add(data)
		f.Add(append(data[:len(data)-4:len(data)-4], "sum!"...))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if bytes.HasSuffix(data, []byte("sum!")) { // else the checksum keeps everything out
			body := data[:len(data)-4]
			data = binary.BigEndian.AppendUint32(slices.Clip(body), crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)))
		}
		var recs []envelope.Record
		var err error
		memtest.Bounded(t, len(data), 64, func() { recs, err = envelope.Decode(data) })
		if err != nil {
			if !errors.Is(err, envelope.ErrPlain) && !errors.Is(err, bridge.ErrUndecodable) {
				t.Fatal(err)
			}
			return
		}
		again, err := envelope.Decode(envelope.Append(nil, recs))
		if err != nil || len(again) != len(recs) {
			t.Fatalf("encoded again: %v", err)
		}
		for i := range recs {
			if !bytes.Equal(again[i].Value, recs[i].Value) || (again[i].Value == nil) != (recs[i].Value == nil) {
				t.Fatal("the value differs")
			}
			if !bytes.Equal(again[i].Provenance, recs[i].Provenance) || !reflect.DeepEqual(again[i].Headers, recs[i].Headers) {
				t.Fatal("what stands beside the value differs")
			}
		}
	})
}
