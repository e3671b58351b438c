package bench

import (
	"crypto/md5"
	"fmt"
	"math/big"
	"math/rand"
	"slices"
	"strings"
	"time"
)

// A Load is what a benchmark moves: rows numbered from 0, each with a key and a value
// that follow from its number, in every process.
type Load struct {
	Records    int           `json:"records"`
	Size       int           `json:"size"` // bytes of a value
	Shards     int           `json:"shards"`
	Partitions int           `json:"partitions"`
	Page       int           `json:"page"` // records of a GetRecords at most
	Keys       int           `json:"keys"`
	Hot        int           `json:"hot"`     // percent of the rows that have the first key
	Zipf       float64       `json:"zipf"`    // exponent above 1 of the keys' frequencies; 0 for equal ones
	Latency    time.Duration `json:"latency"` // of each answer of Kinesis at least
}

// rowDigits is how many digits of its row a value begins with, behind `{"row":`.
const rowDigits = 10

const (
	rowPrefix = `{"row":`
	rowHeader = len(rowPrefix) + rowDigits + 1
	fillers   = 64
)

// Check says what of a load makes no sense.
func (l Load) Check() error {
	for _, c := range []struct {
		name      string
		n         int
		low, high int
	}{
		{"records", l.Records, 1, 1_000_000_000}, {"size", l.Size, rowHeader + 1, 1 << 20}, {"shards", l.Shards, 1, 1000},
		{"partitions", l.Partitions, 1, 1000}, {"page", l.Page, 1, 10_000}, {"keys", l.Keys, l.Shards, 10_000_000}, {"hot", l.Hot, 0, 100},
	} {
		if c.n < c.low || c.n > c.high {
			return fmt.Errorf("--%s %d is not in the range %d to %d", c.name, c.n, c.low, c.high)
		}
	}
	if l.Zipf != 0 && (l.Zipf <= 1 || l.Zipf > 10) {
		return fmt.Errorf("--zipf %v is not 0 or in the range above 1 to 10", l.Zipf)
	}
	if l.Latency < 0 || l.Latency > time.Minute {
		return fmt.Errorf("--latency %s is not in the range 0s to 1m", l.Latency)
	}
	return nil
}

// Rows are the rows of a load, worked out. They are safe for concurrent use.
type Rows struct {
	Load
	keys   []string
	filler []string
	zipf   []int32 // a sample of the keys that stands for all
}

// Rows works a load out.
func (l Load) Rows() *Rows {
	r := &Rows{Load: l, keys: make([]string, l.Keys)}
	for i := range r.keys {
		r.keys[i] = fmt.Sprintf("key-%06d", i)
	}
	rng := rand.New(rand.NewSource(1))
	const words = `"tail":"N14228","origin":"EWR","dest":"IAH","carrier":"UA","delay":11,"distance":1400,`
	for range fillers {
		var b strings.Builder
		for b.Len() < l.Size {
			fmt.Fprintf(&b, `%s"seen":%d,`, words[:rng.Intn(len(words))], rng.Int63())
		}
		r.filler = append(r.filler, b.String()[:l.Size-rowHeader])
	}
	if l.Zipf > 1 {
		z := rand.NewZipf(rng, l.Zipf, 1, uint64(l.Keys-1))
		r.zipf = make([]int32, 1<<16)
		for i := range r.zipf {
			r.zipf[i] = int32(z.Uint64())
		}
	}
	return r
}

// mix scatters a row's number, as SplitMix64 does.
func mix(row int) uint64 {
	z := (uint64(row) + 1) * 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// KeyOf is the index of a row's key.
func (r *Rows) KeyOf(row int) int {
	z := mix(row)
	switch {
	case int(z>>32%100) < r.Hot:
		return 0
	case r.zipf != nil:
		return int(r.zipf[z&0xffff])
	}
	return int(z % uint64(r.Keys))
}

// Key is the key of a row.
func (r *Rows) Key(row int) string { return r.keys[r.KeyOf(row)] }

// AppendValue appends the value of a row to b.
func (r *Rows) AppendValue(b []byte, row int) []byte {
	b = append(b, rowPrefix...)
	b = append(b, "0000000000,"...)
	for i, n := len(b)-2, row; n > 0; i, n = i-1, n/10 {
		b[i] = '0' + byte(n%10)
	}
	return append(b, r.filler[row%fillers]...)
}

// RowOf reads the number off a value; it is -1 if that is of no row.
func RowOf(value []byte) int {
	if len(value) < rowHeader || string(value[:len(rowPrefix)]) != rowPrefix {
		return -1
	}
	row := 0
	for _, c := range value[len(rowPrefix) : len(rowPrefix)+rowDigits] {
		if c < '0' || c > '9' {
			return -1
		}
		row = row*10 + int(c-'0')
	}
	return row
}

// byShard lists the rows of each shard, in order, where shards divide the keys' hashes
// evenly and are numbered by them.
func (r *Rows) byShard() [][]int32 {
	shardOf := make([]int32, r.Keys)
	for i, k := range r.keys {
		sum := md5.Sum([]byte(k))
		h := new(big.Int).SetBytes(sum[:])
		shardOf[i] = int32(h.Mul(h, big.NewInt(int64(r.Shards))).Rsh(h, 128).Int64())
	}
	rows := make([][]int32, r.Shards)
	for row := range r.Records {
		s := shardOf[r.KeyOf(row)]
		rows[s] = append(rows[s], int32(row))
	}
	for i := range rows {
		rows[i] = slices.Clip(rows[i])
	}
	return rows
}
