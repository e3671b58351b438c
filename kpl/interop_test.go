package kpl_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/kinesis-msk-bridge/bridge/kpl"
)

// ours makes the aggregates that the other libraries were given to read.
func ours(t *testing.T) []goldenCase {
	t.Helper()
	rng := rand.New(rand.NewPCG(20260131, 1))
	var cases []goldenCase
	full := kpl.FullRange()
	for n := range 50 {
		c := goldenCase{Name: fmt.Sprintf("bridge %d", n), Start: full.Start.String(), End: full.End.String()}
		var b kpl.Builder
		for i := range 1 + rng.IntN(1+n) {
			r := randomRecord(rng, n, i)
			if err := b.Add(r.Key, r.EHK, r.Data, r.tags()); err != nil {
				t.Fatal(err)
			}
			c.Records = append(c.Records, r)
		}
		c.Data = b.Finish(nil)
		cases = append(cases, c)
	}
	return cases
}

// randomRecord makes record i of an aggregate: of one key in every third one, with
// explicit hash keys in every fourth, with tags in every second.
func randomRecord(rng *rand.Rand, n, i int) goldenRecord {
	tails := []string{"", "é", "日本", "😀", "\t"}
	k := rng.IntN(1 + n%3*20)
	r := goldenRecord{Sub: uint32(i), Key: fmt.Appendf(nil, "%d%s", k, tails[k%len(tails)]), Data: make([]byte, rng.IntN(60))}
	if n%20 == 9 && i == 1 { // a length of three bytes
		r.Data = make([]byte, 17_000)
	}
	for j := range r.Data {
		r.Data[j] = byte(rng.Uint32())
	}
	if n%4 == 1 && rng.IntN(2) == 0 {
		r.EHK = []byte(kpl.HashKey{Hi: rng.Uint64() >> rng.IntN(64), Lo: rng.Uint64N(3)}.String())
	}
	for j := range n % 2 * rng.IntN(4) {
		tag := goldenTag{Key: fmt.Appendf(nil, "tag %d", j)}
		if rng.IntN(3) > 0 {
			value := kpl.AppendTagBytes(nil, r.Data[:min(len(r.Data), rng.IntN(9))])
			tag.Value = &value
		}
		r.Tags = append(r.Tags, tag)
	}
	return r
}

// What the builder makes is, byte by byte, what the other libraries were given.
func TestBuilderGoldenBytes(t *testing.T) {
	made := ours(t)
	if *update {
		writeLines(t, "bridge-made.jsonl", made)
		return
	}
	want := readLines[goldenCase](t, "bridge-made.jsonl")
	if len(want) != len(made) {
		t.Fatalf("%d cases, want %d", len(made), len(want))
	}
	for i := range made {
		if !bytes.Equal(made[i].Data, want[i].Data) {
			t.Errorf("%s: made\n%x, want\n%x", made[i].Name, made[i].Data, want[i].Data)
		}
	}
}

// What the builder makes is read by other libraries as what was put in.
func TestReadByOthers(t *testing.T) {
	for _, file := range []string{"bridge-made.kcl.jsonl", "bridge-made.js.jsonl", "bridge-made.py.jsonl"} {
		t.Run(file, func(t *testing.T) {
			want := ours(t)
			got := readLines[goldenCase](t, file)
			if len(got) != len(want) {
				t.Fatalf("%d cases, want %d", len(got), len(want))
			}
			for i, w := range want {
				if file != "bridge-made.kcl.jsonl" {
					firstHashKeyForAll(w.Records)
				}
				if err := sameCase(got[i], w); err != nil {
					t.Errorf("%s: %v", w.Name, err)
				}
			}
		})
	}
}

func sameCase(got, want goldenCase) error {
	if got.Plain || got.Logged || got.Thrown != "" || len(got.Records) != len(want.Records) {
		return fmt.Errorf("%d records, want %d; plain %t, logged %t, thrown %q", len(got.Records), len(want.Records), got.Plain, got.Logged, got.Thrown)
	}
	for i, g := range got.Records {
		u := kpl.UserRecord{Sub: g.Sub, Key: g.Key, ExplicitHashKey: g.EHK, Data: g.Data}
		if err := sameRecord(u, want.Records[i]); err != nil {
			return errors.Join(fmt.Errorf("record %d", i), err)
		}
	}
	return nil
}

// firstHashKeyForAll does what the libraries for JavaScript and Python do: a record without
// an explicit hash key gets the first one of the table.
func firstHashKeyForAll(records []goldenRecord) {
	var first []byte
	for i := range records {
		if first == nil {
			first = records[i].EHK
		}
	}
	for i := range records {
		if records[i].EHK == nil {
			records[i].EHK = first
		}
	}
}
