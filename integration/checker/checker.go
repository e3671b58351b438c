// Package checker judges what a mirror made of a stream. It imports nothing of this
// module: Kafka is read by franz-go, Kinesis by plain HTTP, and partitions are computed
// from the public definition of Kafka's hash, so that a fault of the mirror cannot hide
// in what both share.
package checker

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Row is one record as its producer put it. Rows of one key may have equal values; their
// copies are then taken for those of the first, the second and so on.
type Row struct {
	N     int    // total order of the producer
	Key   string // order is promised among equal keys
	Null  bool   // the key is null, and carries no order
	Value []byte
	Time  time.Time // that the copy must carry; zero if any will do
}

// A Copy is one record as it was found on a target.
type Copy struct {
	Where string // partition or shard, and position, for people
	Key   string
	Null  bool
	Value []byte
	Time  time.Time
	// PartitionKey is the key as it stands in Kinesis, where a Key that Kinesis cannot hold
	// is coded.
	PartitionKey string
	// Partition is where it stands, and Partitions how many there are; both zero where the
	// place of a key is not judged.
	Partition, Partitions int
	ProducerID            int64    // of Kafka
	Headers               []string // names, of Kafka
}

// A Verdict counts what is wrong, and holds the first samples of each kind.
type Verdict struct {
	Records    int // on the target
	Lost       int
	Changed    int // the key, or a value that no row has
	Duplicated int
	Reordered  int // first occurrences of a key out of order
	Misplaced  int // not where Kafka's Java client would put the key
	WrongTime  int
	Samples    []string
}

const samples = 10

// Clean reports whether nothing is wrong.
func (v Verdict) Clean() bool {
	return v.Lost+v.Changed+v.Duplicated+v.Reordered+v.Misplaced+v.WrongTime == 0
}

// String is one line for the log of a test.
func (v Verdict) String() string {
	s := fmt.Sprintf("records %d, lost %d, changed %d, duplicated %d, reordered %d, misplaced %d, wrong time %d",
		v.Records, v.Lost, v.Changed, v.Duplicated, v.Reordered, v.Misplaced, v.WrongTime)
	if len(v.Samples) > 0 {
		s += "\n  " + strings.Join(v.Samples, "\n  ")
	}
	return s
}

// Judge compares the copies, in the order in which a reader meets those of each key, with
// the rows.
func Judge(rows []Row, copies []Copy) Verdict {
	j := judge{byValue: make(map[string][]*Row, len(rows)), seen: map[int]bool{}, last: map[string]int{}}
	for i := range rows {
		v := string(rows[i].Value)
		j.byValue[v] = append(j.byValue[v], &rows[i])
	}
	for i := range copies {
		j.take(&copies[i])
	}
	for i := range rows {
		if !j.seen[rows[i].N] {
			j.count(&j.Lost, "lost: row %d, key %q", rows[i].N, rows[i].Key)
		}
	}
	return j.Verdict
}

type judge struct {
	Verdict
	byValue map[string][]*Row
	seen    map[int]bool
	last    map[string]int
}

func (j *judge) count(n *int, format string, args ...any) {
	*n++
	if *n <= samples {
		j.Samples = append(j.Samples, fmt.Sprintf(format, args...))
	}
}

// rowOf is the first row of this key and value that was not seen yet, or else the last one.
func (j *judge) rowOf(c *Copy) (row *Row) {
	for _, r := range j.byValue[string(c.Value)] {
		if r.Key != c.Key || r.Null != c.Null {
			continue
		}
		if row = r; !j.seen[r.N] {
			return row
		}
	}
	return row
}

func (j *judge) take(c *Copy) {
	j.Records++
	row := j.rowOf(c)
	if row == nil {
		j.count(&j.Changed, "changed: %s, key %q, value %.80q", c.Where, c.Key, c.Value)
		return
	}
	if c.Partitions > 0 && !c.Null && Partition([]byte(c.Key), c.Partitions) != c.Partition {
		j.count(&j.Misplaced, "misplaced: %s, key %q belongs to partition %d", c.Where, c.Key, Partition([]byte(c.Key), c.Partitions))
	}
	if !row.Time.IsZero() && !row.Time.Equal(c.Time) {
		j.count(&j.WrongTime, "wrong time: %s has %s, row %d has %s", c.Where, c.Time, row.N, row.Time)
	}
	if j.seen[row.N] {
		j.count(&j.Duplicated, "duplicated: %s, row %d", c.Where, row.N)
		return
	}
	j.seen[row.N] = true
	if row.Null {
		return
	}
	if last, ok := j.last[row.Key]; ok && row.N < last {
		j.count(&j.Reordered, "reordered: %s, row %d of key %q stands behind row %d", c.Where, row.N, row.Key, last)
	}
	j.last[row.Key] = max(j.last[row.Key], row.N)
}

// Partition is where Kafka's Java client puts a key: murmur2 of its bytes, without the
// sign bit, modulo the number of partitions.
func Partition(key []byte, n int) int { return int(murmur2(key)&0x7fffffff) % n }

// murmur2 is MurmurHash2 by Austin Appleby, 32 bits, with the seed that Kafka uses.
func murmur2(b []byte) uint32 {
	const m, r = 0x5bd1e995, 24
	h := uint32(0x9747b28c) ^ uint32(len(b))
	for ; len(b) >= 4; b = b[4:] {
		k := uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
		k *= m
		k ^= k >> r
		k *= m
		h = h*m ^ k
	}
	for i := len(b) - 1; i >= 0; i-- {
		h ^= uint32(b[i]) << (8 * i)
	}
	if len(b) > 0 {
		h *= m
	}
	h ^= h >> 13
	h *= m
	return h ^ h>>15
}

// Add sums up the verdicts of several runs.
func (v *Verdict) Add(w Verdict) {
	v.Records += w.Records
	v.Lost += w.Lost
	v.Changed += w.Changed
	v.Duplicated += w.Duplicated
	v.Reordered += w.Reordered
	v.Misplaced += w.Misplaced
	v.WrongTime += w.WrongTime
	v.Samples = append(v.Samples, w.Samples...)
}

// decode says what Kafka key a partition key stands for: itself, or, behind a prefix, the
// base64 of the key ("~b:k:"), or none ("~b:n:").
func decode(partitionKey string) (key string, null bool) {
	if strings.HasPrefix(partitionKey, "~b:n:") {
		return "", true
	}
	if code, ok := strings.CutPrefix(partitionKey, "~b:k:"); ok {
		if b, err := base64.RawURLEncoding.DecodeString(code); err == nil {
			return string(b), false
		}
	}
	return partitionKey, false
}

// lineage sorts shards so that parents come before children.
func lineage(ids []string, parents map[string][]string) []string {
	var out []string
	var add func(id string)
	add = func(id string) {
		if slices.Contains(out, id) || !slices.Contains(ids, id) {
			return
		}
		for _, p := range parents[id] {
			add(p)
		}
		out = append(out, id)
	}
	for _, id := range ids {
		add(id)
	}
	return out
}
