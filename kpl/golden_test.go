package kpl_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"unicode"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/kpl"
)

var update = flag.Bool("update", false, "write the golden inputs that the other libraries are to read; see testdata/README.md")

// A goldenCase is a line of the golden files.
type goldenCase struct {
	Name    string         `json:"name"`
	Start   string         `json:"start,omitempty"` // of the shard's range
	End     string         `json:"end,omitempty"`
	Data    []byte         `json:"data"`
	Plain   bool           `json:"plain,omitempty"`  // the library delivered the record as it was
	Logged  bool           `json:"logged,omitempty"` // the library logged an error
	Thrown  string         `json:"thrown,omitempty"`
	Records []goldenRecord `json:"records,omitempty"`
}

type goldenRecord struct {
	Sub  uint32      `json:"sub,omitempty"`
	Key  []byte      `json:"key"`
	EHK  []byte      `json:"ehk,omitempty"`
	Data []byte      `json:"data"`
	Tags []goldenTag `json:"tags,omitempty"`
}

type goldenTag struct {
	Key   []byte  `json:"key"`
	Value *[]byte `json:"value,omitempty"`
}

func (r *goldenRecord) tags() []kpl.Tag {
	var tags []kpl.Tag
	for _, t := range r.Tags {
		tag := kpl.Tag{Key: t.Key}
		if t.Value != nil {
			tag.Value = append([]byte{}, *t.Value...)
		}
		tags = append(tags, tag)
	}
	return tags
}

func readLines[T any](t testing.TB, name string) []T {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", "golden", name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []T
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 32<<20)
	for lines.Scan() {
		var v T
		if err := json.Unmarshal(lines.Bytes(), &v); err != nil {
			t.Fatalf("%s, line %d: %v", name, len(all)+1, err)
		}
		all = append(all, v)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

func writeLines(t testing.TB, name string, cases []goldenCase) {
	t.Helper()
	var b bytes.Buffer
	for i := range cases {
		line, err := json.Marshal(&cases[i])
		if err != nil {
			t.Fatal(err)
		}
		b.Write(append(line, '\n'))
	}
	if err := os.WriteFile(filepath.Join("testdata", "golden", name), b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

func sameRecord(got kpl.UserRecord, want goldenRecord) error {
	switch {
	case got.Sub != want.Sub:
		return fmt.Errorf("sub %d, want %d", got.Sub, want.Sub)
	case !bytes.Equal(got.Key, want.Key):
		return fmt.Errorf("key %q, want %q", got.Key, want.Key)
	case !bytes.Equal(got.ExplicitHashKey, want.EHK) || (got.ExplicitHashKey == nil) != (want.EHK == nil):
		return fmt.Errorf("explicit hash key %q, want %q", got.ExplicitHashKey, want.EHK)
	case !bytes.Equal(got.Data, want.Data):
		return fmt.Errorf("data %x, want %x", got.Data, want.Data)
	}
	return nil
}

func sameTags(got, want []kpl.Tag) error {
	if len(got) != len(want) {
		return fmt.Errorf("%d tags, want %d", len(got), len(want))
	}
	for i, w := range want {
		if g := got[i]; !bytes.Equal(g.Key, w.Key) || !bytes.Equal(g.Value, w.Value) || (g.Value == nil) != (w.Value == nil) {
			return fmt.Errorf("tag %d is %q, want %q", i, g, w)
		}
	}
	return nil
}

// Aggregates that other libraries made hold here what they put in, and the builder makes
// the same bytes out of it.
func TestMadeByOthers(t *testing.T) {
	for _, file := range []string{"kcl-made.jsonl", "js-made.jsonl", "py-made.jsonl"} {
		t.Run(file, func(t *testing.T) {
			cases := readLines[goldenCase](t, file)
			if len(cases) < 50 {
				t.Fatalf("only %d cases", len(cases))
			}
			for _, c := range cases {
				a, err := kpl.Decode(c.Data, kpl.Limits{})
				if err != nil || a.Len() != len(c.Records) {
					t.Fatalf("%s: %d records, %v; want %d", c.Name, a.Len(), err, len(c.Records))
				}
				var b kpl.Builder
				for i, want := range c.Records {
					got, err := a.Record(i)
					want.Sub = uint32(i)
					err = errors.Join(err, sameRecord(got, want), sameTags(got.Tags, want.tags()))
					if err != nil || got.Subs != uint32(a.Len()) {
						t.Fatalf("%s, record %d of %d: %v", c.Name, i, got.Subs, err)
					}
					if err := b.Add(want.Key, want.EHK, want.Data, want.tags()); err != nil {
						t.Fatalf("%s, record %d: %v", c.Name, i, err)
					}
				}
				if got := b.Finish(nil); !bytes.Equal(got, c.Data) {
					t.Fatalf("%s: the builder makes\n%x, want\n%x", c.Name, got, c.Data)
				}
			}
		})
	}
}

// What the KCL makes of damaged aggregates is what this package makes of them.
func TestMutantsLikeKCL(t *testing.T) {
	if *update {
		writeLines(t, "mutants.jsonl", mutants(20260131, 2400))
		return
	}
	cases := readLines[goldenCase](t, "mutants.jsonl")
	if len(cases) < 2000 {
		t.Fatalf("only %d cases", len(cases))
	}
	var count struct{ plain, damaged, logged, dropped, whole int }
	var d kpl.Decoder
	for _, c := range cases {
		x, err := likeKCL(t, &d, c)
		switch {
		case c.Plain && kpl.HasMagic(c.Data):
			count.damaged++
		case c.Plain:
			count.plain++
		case err != nil:
			count.logged++
		case len(x.Drops) > 0:
			count.dropped++
		default:
			count.whole++
		}
	}
	t.Logf("%d cases: %+v", len(cases), count)
	// A corpus of one kind only would prove little.
	for _, n := range []int{count.damaged, count.logged, count.dropped, count.whole} {
		if n < 100 {
			t.Errorf("the corpus is one-sided: %+v", count)
		}
	}
}

// likeKCL compares with what the library answered, and returns what this package did.
func likeKCL(t *testing.T, d *kpl.Decoder, c goldenCase) (kpl.Expansion, error) {
	t.Helper()
	shard, err := kpl.ParseHashRange(c.Start, c.End)
	if err != nil || c.Thrown != "" {
		t.Fatalf("%s: %v %s", c.Name, err, c.Thrown)
	}
	x, err := d.Expand(kpl.KCL, shard, []byte("outer"), c.Data)
	if x.Aggregated == c.Plain || kpl.IsAggregate(c.Data) == c.Plain || errors.Is(x.Plain, kpl.ErrPlain) != c.Plain {
		t.Fatalf("%s: aggregated %t (%v), KCL delivers plain %t", c.Name, x.Aggregated, x.Plain, c.Plain)
	}
	if (err != nil) != c.Logged || c.Logged && !errors.Is(err, bridge.ErrUndecodable) {
		t.Fatalf("%s: error %v, KCL logged %t", c.Name, err, c.Logged)
	}
	if c.Plain {
		c.Records = []goldenRecord{{Key: []byte("outer"), Data: c.Data}}
	}
	if len(x.Records) != len(c.Records) {
		t.Fatalf("%s: %d records, KCL has %d", c.Name, len(x.Records), len(c.Records))
	}
	for i, want := range c.Records {
		if err := sameRecord(x.Records[i], want); err != nil {
			t.Fatalf("%s, record %d: %v", c.Name, i, err)
		}
	}
	return x, err
}

// Bytes that are not UTF-8 and numbers that are none are read as Java reads them.
func TestTextLikeJava(t *testing.T) {
	lines := readLines[struct {
		Zeros  string  `json:"zeros"`
		Bytes  []byte  `json:"bytes"`
		String []byte  `json:"string"`
		Text   *[]byte `json:"text"`
		Number *string `json:"number"`
	}](t, "java-text.jsonl")
	if len(lines) < 3000 {
		t.Fatalf("only %d lines", len(lines))
	}
	for _, l := range lines {
		switch {
		case l.Zeros != "":
			digitsLikeJava(t, l.Zeros)
		case l.Bytes != nil:
			if got := kpl.JavaString(l.Bytes); !bytes.Equal(got, l.String) {
				t.Errorf("%x reads %x, in Java %x", l.Bytes, got, l.String)
			}
		default:
			numberLikeJava(t, *l.Text, l.Number)
		}
	}
}

func digitsLikeJava(t *testing.T, zeros string) {
	value := map[rune]uint64{}
	for _, zero := range zeros {
		for i := range rune(10) {
			value[zero+i] = uint64(i)
		}
	}
	for c := range rune(unicode.MaxRune + 1) {
		h, _, ok := kpl.ParseInteger([]byte(string(c)))
		if want, isDigit := value[c]; ok != isDigit || h.Lo != want {
			t.Errorf("%U reads as digit %d %t, in Java %d %t", c, h.Lo, ok, want, isDigit)
		}
	}
}

func numberLikeJava(t *testing.T, text []byte, want *string) {
	h, size, ok := kpl.ParseInteger(text)
	if ok != (want != nil) {
		t.Errorf("%q is a number: %t, in Java %t", text, ok, !ok)
		return
	}
	if !ok {
		return
	}
	n, _ := new(big.Int).SetString(*want, 10)
	wantSize := n.Sign()
	if n.Sign() >= 0 && n.BitLen() <= 128 {
		wantSize = 0
	}
	if size != wantSize || size == 0 && h.String() != n.String() {
		t.Errorf("%q reads as %s (size %d), in Java %s", text, h, size, n)
	}
}
