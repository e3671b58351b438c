package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kinesis-msk-bridge/bridge/internal/flights"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesistest"
)

// What compares the streams shares nothing with what mirrored them: it knows the rows
// that the producer put, reads Kafka with another client, and looks at what the Kinesis
// server really stored.

// A comparison says what is wrong with a copy of the rows.
type comparison struct {
	Records    int `json:"records"`
	Lost       int `json:"lost"`
	Changed    int `json:"changed"`
	Duplicated int `json:"duplicated"`
	Reordered  int `json:"reordered"`
}

func (c comparison) clean() bool { return c == comparison{Records: c.Records} }

// A judge takes the records of a copy, each key's in their order.
type judge struct {
	comparison
	want map[string][]int // rows of each key that are still to come, in order
	rows []flights.Row
	seen map[int]bool
	last map[string]int
}

func newJudge(rows []flights.Row) *judge {
	return &judge{rows: rows, seen: map[int]bool{}, last: map[string]int{}}
}

// take judges one record. Its row number is looked for in the value; a value that is not
// that of its row has changed.
func (j *judge) take(key string, value []byte) {
	j.Records++
	var n int
	if _, err := fmt.Sscanf(string(value), `{"row":%d,`, &n); err != nil || n < 1 || n > len(j.rows) {
		j.Changed++
		return
	}
	row := j.rows[n-1]
	switch {
	case row.Tail != key || !bytes.Equal(row.Value, value):
		j.Changed++
	case j.seen[n]:
		j.Duplicated++
	case n < j.last[key]:
		j.Reordered++
	}
	j.seen[n] = true
	j.last[key] = max(j.last[key], n)
}

func (j *judge) verdict() comparison {
	j.Lost = len(j.rows) - len(j.seen)
	return j.comparison
}

func (d *demo) compare(ctx context.Context) error {
	topic := newJudge(d.rows)
	if err := d.readTopic(ctx, topic); err != nil {
		return fmt.Errorf("read the topic to compare: %w", err)
	}
	d.there = topic.verdict()
	back := newJudge(d.rows)
	// A shard comes after its parents, so each key is met in its order.
	stream := d.kinesis.Stream(demoBack)
	for _, shard := range stream.Shards() {
		recs, err := stream.Records(shard.ID)
		if err != nil {
			return fmt.Errorf("read %s to compare: %w", shard.ID, err)
		}
		for _, r := range recs {
			back.take(r.Key, r.Data)
		}
	}
	d.again = back.verdict()
	return nil
}

func (d *demo) readTopic(ctx context.Context, j *judge) error {
	offsets, left := map[int32]kgo.Offset{}, map[int32]int64{}
	for _, p := range d.kafka.PartitionInfos(demoTopic) {
		offsets[p.Partition] = kgo.NewOffset().AtStart()
		if p.HighWatermark > 0 {
			left[p.Partition] = p.HighWatermark
		}
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(d.kafka.ListenAddrs()...), kgo.KeepControlRecords(),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{demoTopic: offsets}))
	if err != nil {
		return err
	}
	defer client.Close()
	for len(left) > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return err
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Offset >= left[r.Partition]-1 {
				delete(left, r.Partition)
			}
			if !r.Attrs.IsControl() {
				j.take(string(r.Key), r.Value)
			}
		})
	}
	return nil
}

// A demoResult is what the demo prints.
type demoResult struct {
	Consistent bool       `json:"consistent"`
	Seconds    float64    `json:"seconds"`
	Seed       uint64     `json:"seed"`
	Keys       int        `json:"keys"`
	Reshards   []string   `json:"reshards"`
	Faults     int64      `json:"faults"`
	Forward    comparison `json:"forward"`
	Back       comparison `json:"back"`
	Lost       int        `json:"lost"`
	Changed    int        `json:"changed"`
	Duplicated int        `json:"duplicated"`
	Reordered  int        `json:"reordered"`
	Report     demoReport `json:"report"`      // of Kinesis → Kafka
	ReportBack demoReport `json:"report_back"` // of Kafka → Kinesis
}

func (d *demo) result() demoResult {
	keys := map[string]bool{}
	for _, r := range d.rows {
		keys[r.Tail] = true
	}
	return demoResult{
		Consistent: d.there.clean() && d.again.clean() && d.there.Records == d.n && d.again.Records == d.n &&
			d.signed.there.clean() && d.signed.again.clean(),
		Seconds: d.took.Round(100 * time.Millisecond).Seconds(), Seed: d.seed, Keys: len(keys), Reshards: d.reshards,
		Faults: faulted(d.kinesis), Forward: d.there, Back: d.again,
		Lost: d.there.Lost + d.again.Lost, Changed: d.there.Changed + d.again.Changed,
		Duplicated: d.there.Duplicated + d.again.Duplicated, Reordered: d.there.Reordered + d.again.Reordered,
		Report: d.signed.there, ReportBack: d.signed.again,
	}
}

func faulted(s *kinesistest.Server) (n int64) {
	for _, op := range []string{"GetRecords", "PutRecords"} {
		n += int64(s.Counts(op).Faulted)
	}
	return n
}

func (d *demo) print(w io.Writer) error {
	r := d.result()
	if d.live {
		fmt.Fprint(d.talk, "\r\x1b[K")
	}
	fmt.Fprintf(w, "%s flights of January 2013, put by a producer while they were mirrored\n\n", grouped(int64(d.n)))
	fmt.Fprintf(w, "  Kinesis %-15s ──►  Kafka %-11s ──►  Kinesis %s\n", demoStream, demoTopic, demoBack)
	fmt.Fprintf(w, "  %-23s      %-17s      %d shards at the end\n\n", "4 shards at the start", "12 partitions", openShards(d.kinesis.Stream(demoBack)))
	meanwhile := r.Reshards
	if r.Faults > 0 {
		meanwhile = append(meanwhile, grouped(r.Faults)+" calls were throttled, refused, failed or cut")
	}
	label := "meanwhile"
	for _, s := range meanwhile {
		fmt.Fprintf(w, "  %-11s %s\n", label, s)
		label = ""
	}
	fmt.Fprintf(w, "\n  Compared record by record, by code that shares nothing with the mirror:\n\n")
	fmt.Fprintf(w, "  %-22s %10s %6s %8s %11s %10s\n", "", "records", "lost", "changed", "duplicated", "reordered")
	for _, c := range []struct {
		name string
		comparison
	}{{"Kinesis → Kafka", r.Forward}, {"  → Kinesis again", r.Back}} {
		fmt.Fprintf(w, "  %-22s %10s %6d %8d %11d %10d\n", c.name, grouped(int64(c.Records)), c.Lost, c.Changed, c.Duplicated, c.Reordered)
	}
	verdict := fmt.Sprintf("Every record arrived, unchanged, once, and in the order of its key\n  (%s aircraft), %.0f seconds after the start.", grouped(int64(r.Keys)), r.Seconds)
	if !r.Consistent {
		verdict = fmt.Sprintf("THE STREAMS DIFFER. See whether it happens again: bridge demo --seed %d", d.seed)
	}
	fmt.Fprintf(w, "\n  %s\n", verdict)
	_, err := fmt.Fprintf(w, "  bridge verify: %s there, %s back. The reports:\n  %s\n  %s\n", r.Report.Verdict, r.ReportBack.Verdict, r.Report.HTML, r.ReportBack.HTML)
	return err
}

func openShards(s *kinesistest.Stream) (n int) {
	for _, i := range s.Shards() {
		if !i.Closed {
			n++
		}
	}
	return n
}
