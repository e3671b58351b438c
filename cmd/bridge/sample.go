package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/kpl"
	"github.com/kinesis-msk-bridge/bridge/mirror"
)

// A sample is what some records of each source partition look like.
type sample struct {
	Records    int64 `json:"records"`
	Bytes      int64 `json:"bytes"` // keys, values and headers
	Partitions int   `json:"partitions"`
	Largest    int   `json:"largest_bytes"`
	Median     int   `json:"median_bytes"`
	P99        int   `json:"p99_bytes"`
	// Seconds is the time from the oldest to the newest of them.
	Seconds     float64 `json:"seconds"`
	Keys        int     `json:"keys"`
	HottestKey  int64   `json:"hottest_key_records"`
	NullKeys    int64   `json:"null_keys"`
	BinaryKeys  int64   `json:"keys_not_utf8"`
	Tombstones  int64   `json:"tombstones"`
	WithHeaders int64   `json:"with_headers"`
	Magic       int64   `json:"values_like_aggregates"`
	Aggregated  int64   `json:"aggregated"` // user records that came in aggregates
	Dropped     int64   `json:"dropped_by_aggregation"`
	Undecodable int64   `json:"undecodable"`
	// ExplicitHash counts records whose key does not hash into their shard.
	ExplicitHash int64     `json:"explicit_hash_keys"`
	Oldest       time.Time `json:"oldest,omitzero"`

	newest time.Time
	byKey  map[string]int64
	sizes  []int
}

// hottestShare is the part of the sampled records that one key has.
func (s *sample) hottestShare() float64 { return float64(s.HottestKey) / float64(max(s.Records, 1)) }

// rate is records a second in the sample.
func (s *sample) rate() float64 { return float64(s.Records) / max(s.Seconds, 1) }

const (
	samplePartitions = 64
	samplePatience   = 10 * time.Second
)

// take reads up to each records from the beginning of some of the partitions.
func (s *sample) take(ctx context.Context, src bridge.Source, start time.Time, each int) error {
	s.byKey = map[string]int64{}
	parts, err := src.Partitions(ctx)
	if err != nil {
		return fmt.Errorf("list the source's partitions: %w", err)
	}
	until, stop := context.WithTimeout(ctx, samplePatience)
	defer stop()
	for _, p := range parts[:min(len(parts), samplePartitions)] {
		err := s.read(until, src, p.ID, start, each)
		if until.Err() != nil && ctx.Err() == nil {
			break // what was read is a sample, too
		}
		if err != nil && !errors.Is(err, bridge.ErrGap) {
			return fmt.Errorf("read a sample of %s: %w", p.ID, err)
		}
		s.Partitions++
	}
	s.conclude()
	return ctx.Err()
}

func (s *sample) read(ctx context.Context, src bridge.Source, partition string, start time.Time, each int) error {
	r, err := src.Open(ctx, partition, bridge.Start{At: start})
	if err != nil {
		return err
	}
	defer r.Close()
	wait := mirror.NewBackOff()
	for n := 0; n < each; {
		b, err := r.Read(ctx)
		if err != nil && bridge.Retryable(err) && rest(ctx, wait.NextBackOff()) == nil {
			continue
		}
		if err != nil {
			return err
		}
		wait.Reset()
		for i := range b.Records[:min(len(b.Records), each-n)] {
			s.see(&b.Records[i])
		}
		if n += len(b.Records); b.Ended || b.Behind == 0 {
			return nil
		}
	}
	return nil
}

func (s *sample) see(r *bridge.Record) {
	s.Records++
	size := r.Size()
	s.Bytes += int64(size)
	s.Largest = max(s.Largest, size)
	s.sizes = append(s.sizes, size)
	s.byKey[string(r.Key)]++
	if s.Oldest.IsZero() || r.Time.Before(s.Oldest) {
		s.Oldest = r.Time
	}
	if r.Time.After(s.newest) {
		s.newest = r.Time
	}
	for _, c := range []struct {
		count *int64
		is    bool
	}{
		{&s.NullKeys, r.Key == nil},
		{&s.BinaryKeys, !utf8.Valid(r.Key)},
		{&s.Tombstones, r.Value == nil},
		{&s.WithHeaders, len(r.Headers) > 0},
		{&s.Magic, kpl.HasMagic(r.Value)},
		{&s.Aggregated, r.Subs > 1},
		{&s.Dropped, errors.Is(r.Refused, bridge.ErrDropped)},
		{&s.Undecodable, errors.Is(r.Refused, bridge.ErrUndecodable)},
	} {
		if c.is {
			*c.count++
		}
	}
}

func (s *sample) conclude() {
	s.Keys = len(s.byKey)
	for key, n := range s.byKey {
		if key != "" || s.NullKeys == 0 {
			s.HottestKey = max(s.HottestKey, n)
		}
	}
	s.Seconds = s.newest.Sub(s.Oldest).Seconds()
	slices.SortFunc(s.sizes, cmp.Compare[int])
	if n := len(s.sizes); n > 0 {
		s.Median, s.P99 = s.sizes[n/2], s.sizes[n*99/100]
	}
}
