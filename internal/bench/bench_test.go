package bench_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/envelope"
	"github.com/kinesis-msk-bridge/bridge/internal/bench"
)

func load() bench.Load {
	return bench.Load{Records: 5000, Size: 100, Shards: 4, Partitions: 4, Page: 100, Keys: 50}
}

// record is what is on the target.
type record struct {
	key   string
	value []byte
}

func all(rows *bench.Rows) (out []record) {
	for row := range rows.Records {
		out = append(out, record{rows.Key(row), rows.AppendValue(nil, row)})
	}
	return out
}

// TestProofNamesEveryDamage damages what arrived in each way.
func TestProofNamesEveryDamage(t *testing.T) {
	rows := load().Rows()
	sameKey := func(i int) int {
		for j := i + 1; ; j++ {
			if rows.KeyOf(j) == rows.KeyOf(i) {
				return j
			}
		}
	}
	for _, c := range []struct {
		name   string
		damage func([]record) []record
		want   bench.Verdict
	}{
		{"none", func(r []record) []record { return r }, bench.Verdict{Distinct: 5000}},
		{"other keys in another order", func(r []record) []record {
			i := 7
			for rows.KeyOf(i) == rows.KeyOf(i+1) {
				i++
			}
			r[i], r[i+1] = r[i+1], r[i]
			return r
		}, bench.Verdict{Distinct: 5000}},
		{"missing", func(r []record) []record { return append(r[:100], r[101:]...) }, bench.Verdict{Distinct: 4999, Missing: 1}},
		{"last one missing", func(r []record) []record { return r[:4999] }, bench.Verdict{Distinct: 4999, Missing: 1}},
		{"twice", func(r []record) []record { return append(r, r[17]) }, bench.Verdict{Distinct: 5000, Repeated: 1}},
		{"two of a key exchanged", func(r []record) []record {
			j := sameKey(17)
			r[17], r[j] = r[j], r[17]
			return r
		}, bench.Verdict{Distinct: 5000, Reordered: 1}},
		{"a byte of a value", func(r []record) []record { r[3].value[60] ^= 1; return r }, bench.Verdict{Distinct: 4999, Changed: 1, Missing: 1}},
		{"the row of a value", func(r []record) []record { r[3].value[10] = 'x'; return r }, bench.Verdict{Distinct: 4999, Changed: 1, Missing: 1}},
		{"cut", func(r []record) []record { r[3].value = r[3].value[:99]; return r }, bench.Verdict{Distinct: 4999, Changed: 1, Missing: 1}},
		{"another key", func(r []record) []record { r[3].key += "x"; return r }, bench.Verdict{Distinct: 4999, Changed: 1, Missing: 1}},
		{"nobody's", func(r []record) []record { return append(r, record{"k", []byte("v")}) }, bench.Verdict{Distinct: 5000, Changed: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := bench.NewProof(rows)
			for _, r := range c.damage(all(rows)) {
				p.Add(r.key, r.value)
			}
			got := p.Verdict()
			if got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
			if whole := (bench.Verdict{Distinct: 5000}) == c.want; (got.Err() == nil) != whole {
				t.Errorf("error %v", got.Err())
			}
		})
	}
}

func TestProofTakesEnvelopesApart(t *testing.T) {
	rows := load().Rows()
	p := bench.NewProof(rows)
	packed := map[string][]envelope.Record{}
	for _, r := range all(rows) {
		packed[r.key] = append(packed[r.key], envelope.Record{Value: r.value, Headers: []bridge.Header{{Key: "h"}}})
	}
	for key, rest := range packed {
		p.AddPacked(key, envelope.Append(nil, rest))
	}
	if v := p.Verdict(); v.Err() != nil {
		t.Errorf("got %+v", v)
	}
}

// TestKeysHaveTheirFrequencies counts the rows of the first keys.
func TestKeysHaveTheirFrequencies(t *testing.T) {
	count := func(change func(*bench.Load)) []int {
		l := load()
		l.Records = 100_000
		change(&l)
		rows, n := l.Rows(), make([]int, l.Keys)
		for row := range l.Records {
			n[rows.KeyOf(row)]++
		}
		return n
	}
	near := func(what string, got int, want float64) {
		if math.Abs(float64(got)-want) > 0.1*want {
			t.Errorf("%s: %d rows, want about %.0f", what, got, want)
		}
	}
	for i, n := range count(func(*bench.Load) {}) {
		near(fmt.Sprint("equal keys, key ", i), n, 2000)
	}
	near("half of all", count(func(l *bench.Load) { l.Hot = 50 })[0], 50_000+1000)
	zipf := count(func(l *bench.Load) { l.Zipf = 2 })
	near("Zipf 2, second key to the first", zipf[1]*4, float64(zipf[0]))
}

func TestLoadsThatMakeNoSense(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*bench.Load)
	}{
		{"records", func(l *bench.Load) { l.Records = 0 }}, {"size", func(l *bench.Load) { l.Size = 3 }},
		{"shards", func(l *bench.Load) { l.Shards = 0 }}, {"page", func(l *bench.Load) { l.Page = 10_001 }},
		{"keys", func(l *bench.Load) { l.Keys = 1 }}, {"hot", func(l *bench.Load) { l.Hot = 101 }},
		{"zipf", func(l *bench.Load) { l.Zipf = 1 }}, {"latency", func(l *bench.Load) { l.Latency = -1 }},
	} {
		l := load()
		c.change(&l)
		if err := l.Check(); err == nil || !strings.Contains(err.Error(), "--"+c.name+" ") {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if err := load().Check(); err != nil {
		t.Error(err)
	}
}
