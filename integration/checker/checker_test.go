package checker_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/kinesis-msk-bridge/bridge/integration/checker"
)

// The vectors are Kafka's own, of its Java client.
func TestPartition(t *testing.T) {
	for key, want := range map[string]int{"": 9, "21": 0, "foobar": 6, "abc": 3, "user-123": 8} {
		if got := checker.Partition([]byte(key), 12); got != want {
			t.Errorf("partition of %q is %d, want %d", key, got, want)
		}
	}
}

func rows() []checker.Row {
	var out []checker.Row
	for i := range 60 {
		out = append(out, checker.Row{N: i, Key: fmt.Sprint("k", i%5), Value: fmt.Append(nil, "v", i), Time: time.UnixMilli(int64(i))})
	}
	out = append(out, checker.Row{N: 60, Null: true, Value: []byte("null")})
	return out
}

func copies(rows []checker.Row) []checker.Copy {
	var out []checker.Copy
	for _, r := range rows {
		out = append(out, checker.Copy{Where: fmt.Sprint("row ", r.N), Key: r.Key, Null: r.Null, Value: r.Value, Time: r.Time,
			Partition: checker.Partition([]byte(r.Key), 3), Partitions: 3})
	}
	return out
}

func TestCleanIsSilent(t *testing.T) {
	if v := checker.Judge(rows(), copies(rows())); !v.Clean() || v.Records != 61 {
		t.Errorf("a clean target: %s", v)
	}
	c := copies(rows())
	c[3], c[4] = c[4], c[3] // other keys: no order between them
	if v := checker.Judge(rows(), c); !v.Clean() {
		t.Errorf("two keys swapped: %s", v)
	}
}

// Each damage must be named, and by its own name.
func TestEveryDamageIsNamed(t *testing.T) {
	type copiesOf = []checker.Copy
	at := func(i int, damage func(*checker.Copy)) func(copiesOf) copiesOf {
		return func(c copiesOf) copiesOf { damage(&c[i]); return c }
	}
	drop := func(i, j int) func(copiesOf) copiesOf {
		return func(c copiesOf) copiesOf { return slices.Delete(c, i, j) }
	}
	swap := func(i, j int) func(copiesOf) copiesOf {
		return func(c copiesOf) copiesOf { c[i], c[j] = c[j], c[i]; return c }
	}
	for _, d := range []struct {
		name   string
		damage func(copiesOf) copiesOf
		want   string // of the verdict's first line, what is not 0
	}{
		{"first dropped", drop(0, 1), "lost 1"},
		{"last of a key dropped", drop(59, 60), "lost 1"},
		{"null key dropped", drop(60, 61), "lost 1"},
		{"run dropped", drop(10, 20), "lost 10"},
		{"tail cut", drop(50, 61), "lost 11"},
		{"everything dropped", drop(0, 61), "lost 61"},
		{"duplicated at once", func(c copiesOf) copiesOf { return slices.Insert(c, 8, c[7]) }, "duplicated 1"},
		{"duplicated at the end", func(c copiesOf) copiesOf { return append(c, c[7]) }, "duplicated 1"},
		{"run replayed", func(c copiesOf) copiesOf { return append(c, c[20:40]...) }, "duplicated 20"},
		{"null key duplicated", func(c copiesOf) copiesOf { return append(c, c[60]) }, "duplicated 1"},
		{"neighbours of a key swapped", swap(10, 15), "reordered 1"},
		{"first and last of a key swapped", swap(0, 55), "reordered 11"},
		{"record moved to the front", func(c copiesOf) copiesOf { return append(copiesOf{c[57]}, slices.Delete(c, 57, 58)...) }, "reordered 11"},
		{"bit of a value flipped", at(5, func(c *checker.Copy) { c.Value = []byte{c.Value[0] ^ 1, c.Value[1]} }), "changed 1"},
		{"value cut", at(5, func(c *checker.Copy) { c.Value = c.Value[:1] }), "changed 1"},
		{"value emptied", at(5, func(c *checker.Copy) { c.Value = nil }), "changed 1"},
		{"key changed", at(5, func(c *checker.Copy) { c.Key = "k4" }), "changed 1"},
		{"key made null", at(5, func(c *checker.Copy) { c.Key, c.Null = "", true }), "changed 1"},
		{"null key made empty", at(60, func(c *checker.Copy) { c.Null = false }), "changed 1"},
		{"record invented", func(c copiesOf) copiesOf { return append(c, checker.Copy{Key: "k1", Value: []byte("new")}) }, "changed 1"},
		{"misrouted", at(5, func(c *checker.Copy) { c.Partition = (c.Partition + 1) % 3 }), "misplaced 1"},
		{"wrong time", at(5, func(c *checker.Copy) { c.Time = c.Time.Add(time.Millisecond) }), "wrong time 1"},
		{"time lost", at(5, func(c *checker.Copy) { c.Time = time.Time{} }), "wrong time 1"},
		{"values of a key exchanged", func(c copiesOf) copiesOf { c[0].Value, c[5].Value = c[5].Value, c[0].Value; return c }, "wrong time 2"},
	} {
		v := checker.Judge(rows(), d.damage(copies(rows())))
		if v.Clean() || !slices.Contains(split(v.String()), d.want) {
			t.Errorf("%s: %s; want %q", d.name, v, d.want)
		}
	}
}

// Equal values are told apart by how many there are.
func TestEqualValuesAreCounted(t *testing.T) {
	twins := []checker.Row{{N: 1, Key: "k", Value: []byte("v")}, {N: 2, Key: "k", Value: []byte("v")}, {N: 3, Key: "l", Value: []byte("v")}}
	all := []checker.Copy{{Key: "k", Value: []byte("v")}, {Key: "k", Value: []byte("v")}, {Key: "l", Value: []byte("v")}}
	if v := checker.Judge(twins, all); !v.Clean() {
		t.Errorf("all there: %s", v)
	}
	if v := checker.Judge(twins, all[1:]); v.Lost != 1 {
		t.Errorf("one missing: %s", v)
	}
	if v := checker.Judge(twins, append(all, all[0])); v.Duplicated != 1 {
		t.Errorf("one too many: %s", v)
	}
}

func TestLate(t *testing.T) {
	who := []checker.Append{{Epoch: 1}, {Epoch: 2, Marker: true}, {Epoch: 2}, {Epoch: 2, Partition: 1}}
	if n := checker.Late(who); n != 0 {
		t.Errorf("%d of no late ones", n)
	}
	if n := checker.Late(append(who, checker.Append{Epoch: 1}, checker.Append{Epoch: 1, ProducerID: 9}, checker.Append{Epoch: 1, Marker: true})); n != 1 {
		t.Errorf("%d of one late record", n)
	}
	if n := checker.Late([]checker.Append{{Epoch: 2, Marker: true}, {Epoch: 1}}); n != 1 {
		t.Error("a record behind a marker alone is not late")
	}
}

func split(s string) []string {
	var out []string
	for i := 0; ; {
		j := i
		for j < len(s) && s[j] != ',' && s[j] != '\n' {
			j++
		}
		out = append(out, trim(s[i:j]))
		if j >= len(s) || s[j] == '\n' {
			return out
		}
		i = j + 1
	}
}

func trim(s string) string {
	for len(s) > 0 && s[0] == ' ' {
		s = s[1:]
	}
	return s
}
