//go:build integration

package integration

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/kinesis-msk-bridge/bridge/integration/checker"
	"github.com/kinesis-msk-bridge/bridge/integration/servers"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
)

// allFlights is how many rows the file of the whole year has.
const allFlights = 336_776

// All flights, and a set with a hot key, from 32 shards to real Kafka and back, against
// the limits of the service.
func TestIntegrationThereAndBack(t *testing.T) {
	for _, set := range []struct {
		name string
		seed uint64
		rows []checker.Row
	}{{"flights", 0, rowsOf(t, scaled(allFlights))}, {"Zipf 1.1, one key at 30 %", 7, zipf(7, scaled(allFlights))}} {
		t.Run(set.name, func(t *testing.T) {
			rows := set.rows
			k := newKinesis(t, kinesistest.Config{})
			source, err := k.CreateStream("source", 32)
			if err != nil {
				t.Fatal(err)
			}
			feed(t.Context(), t, source, rows, 0)
			arrivals(t, source, rows)
			topic := unique("there")
			f, _, _ := prove(t, "nothing: "+set.name+", kinesis to kafka", 1, set.seed)
			began := time.Now()
			there := newJob(t, toKafka, k, "source", topic).catchUp("state")
			f.runs++
			v, _ := judgeTopic(t, bench.kafka.Brokers(), topic, rows)
			f.judged(v)
			f.print("misplaced %d, wrong time %d, %.1f s, counts %+v", v.Misplaced, v.WrongTime, time.Since(began).Seconds(), there.Result.Counts)

			back := newJob(t, toKinesis, k, "back", topic)
			back.shards = 32 // the limits of the service hold for the target, too
			f, _, _ = prove(t, "nothing: "+set.name+", kafka to kinesis", 1, set.seed)
			began = time.Now()
			again := back.catchUp("state")
			for i := range rows {
				rows[i].Time = time.Time{} // raw does not carry it, and that was accepted
			}
			f.runs++
			f.judged(judgeStream(t, k.URL(), "back", rows))
			f.print("%.1f s, counts %+v", time.Since(began).Seconds(), again.Result.Counts)
		})
	}
}

// What the checker takes for the place of a key is what Kafka's Java client says, for every
// key of the sets and for random ones.
func TestIntegrationPlacementOfTheJavaClient(t *testing.T) {
	f, _, rng := prove(t, "nothing: place of each key against the Java client "+servers.KafkaVersion, 1, 41)
	seen := map[string]bool{}
	var keys []string
	for _, r := range append(rowsOf(t, allFlights), zipf(7, scaled(allFlights))...) {
		if !seen[r.Key] {
			seen[r.Key] = true
			keys = append(keys, r.Key)
		}
	}
	for range 2000 {
		key := make([]byte, 1+rng.IntN(40))
		for i := range key {
			key[i] = byte(rng.IntN(256))
		}
		keys = append(keys, string(key))
	}
	partitions := []int{1, 6, 12, 47}
	java, err := servers.JavaPartitions(t.Context(), keys, partitions)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range java {
		key, n := keys[i/len(partitions)], partitions[i%len(partitions)]
		if got := checker.Partition([]byte(key), n); got != want {
			t.Fatalf("key %q of %d partitions: %d, the Java client says %d", key, n, got, want)
		}
	}
	f.runs++
	f.print("keys %d, partitions 1, 6, 12 and 47, misplaced 0", len(keys))
}

// zipf makes a set with one key at 30 % and the others by Zipf 1.1.
func zipf(seed uint64, n int) []checker.Row {
	rng := rand.New(rand.NewPCG(seed, 0))
	z := rand.NewZipf(rng, 1.1, 1, 9999)
	var out []checker.Row
	for i := range n {
		key := "hot"
		if rng.IntN(10) >= 3 {
			key = fmt.Sprint("key-", z.Uint64())
		}
		out = append(out, checker.Row{N: i + 1, Key: key, Value: fmt.Appendf(nil, `{"row":%d,"key":%q}`, i+1, key)})
	}
	return out
}

// nullKeys gives rows without a tail number the null key that they have in runs that
// start from Kafka.
func nullKeys(rows []checker.Row) (nulls int) {
	for i := range rows {
		if rows[i].Key == "NA" {
			rows[i].Key, rows[i].Null = "", true
			nulls++
		}
	}
	return nulls
}

// A topic with null keys, keys that no partition key can be, and equal values in a row.
func TestIntegrationNullKeysToKinesis(t *testing.T) {
	f, _, _ := prove(t, "nothing: null, binary and long keys, equal values, kafka to kinesis", 1, 0)
	rows := rowsOf(t, scaled(allFlights))
	nulls := nullKeys(rows)
	n := len(rows)
	for i := range 300 {
		r := checker.Row{N: allFlights + 1 + i, Key: fmt.Sprintf("\xff\xfe%d", i%7), Value: []byte("binary key")}
		switch i % 3 {
		case 1:
			r.Key = fmt.Sprint("~b:a key like a code ", i%5)
		case 2:
			r.Key, r.Null = "", true // all of one value: each must arrive
		}
		rows = append(rows, r)
	}
	srv := newKinesis(t, noRates)
	topic := unique("nulls")
	createTopic(t, bench.kafka.Brokers(), topic, 6)
	produce(t.Context(), t, bench.kafka.Brokers(), topic, rows, 6, 0)
	r := newJob(t, toKinesis, srv, "target", topic).catchUp("state")
	copies := inStream(t, srv.URL(), "target")
	f.runs++
	f.judged(checker.Judge(rows, copies))

	// Each null key has become one partition key that names its own coordinate.
	at := map[string]bool{}
	for _, c := range inTopic(t, bench.kafka.Brokers(), topic) {
		if c.Null {
			where := strings.Fields(c.Where) // partition P offset O
			at["~b:n:"+where[1]+":"+where[3]] = true
		}
	}
	for _, c := range copies {
		if c.Null && !at[c.PartitionKey] {
			t.Fatalf("%s: the partition key %q names no null key of the topic, or one twice", c.Where, c.PartitionKey)
		}
		delete(at, c.PartitionKey)
	}
	if nulls == 0 || len(at) > 0 {
		t.Errorf("%d null keys in %d flights; %d have no record", nulls, n, len(at))
	}
	f.print("null keys %d, counts %+v", nulls+100, r.Result.Counts)
}
