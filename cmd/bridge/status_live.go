package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/kinesis-msk-bridge/bridge/metrics"
)

const (
	liveTimeout = 2 * time.Second
	maxLive     = 32 << 20 // of an answer; 20,000 shards take 4 MiB
)

// readLive asks a mirror on this machine how far it is.
func readLive(ctx context.Context, address, workflow string) (l metrics.Live, err error) {
	if address == "" {
		return l, errors.New("only checkpoints are seen: metrics.listen is not set")
	}
	ctx, cancel := context.WithTimeout(ctx, liveTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/progress", nil)
	if err != nil {
		return l, err
	}
	// It is an address of this machine: no proxy, and nothing to keep open.
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return l, fmt.Errorf("only checkpoints are seen: nothing answers on this machine at %s", address)
	}
	defer func() { err = errors.Join(err, res.Body.Close()) }()
	if res.StatusCode != http.StatusOK {
		return l, fmt.Errorf("only checkpoints are seen: %s answers %s", address, res.Status)
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, maxLive)).Decode(&l); err != nil {
		return l, fmt.Errorf("only checkpoints are seen: %s does not answer as a mirror does", address)
	}
	if l.Workflow != workflow {
		return metrics.Live{}, fmt.Errorf("only checkpoints are seen: %s shows another workflow", address)
	}
	return l, nil
}

// addLive puts what a running mirror says of itself over what its checkpoint says.
func (s *statusResult) addLive(l metrics.Live, err error) {
	parts := map[string]*metrics.LivePart{}
	if err != nil {
		s.NotLive = err.Error()
	} else if len(l.Partitions) > 0 {
		s.Live, s.NotLive = true, ""
		s.Counts, s.Balanced = l.Counts, l.Counts.Balanced()
	} else {
		s.NotLive = "the mirror is only starting"
	}
	for i := range l.Partitions {
		parts[l.Partitions[i].Partition] = &l.Partitions[i]
	}
	paused := s.paused(l.Paused)
	for i := range s.Partitions {
		row := &s.Partitions[i]
		live := parts[row.Partition]
		if live != nil && live.Ended {
			row.Ended = true
		}
		row.explain(live, l.RetentionSeconds, paused)
		delete(parts, row.Partition)
	}
	for _, live := range l.Partitions {
		if parts[live.Partition] == nil {
			continue // was in the checkpoint
		}
		row := partitionRow{Partition: live.Partition, Ended: live.Ended}
		row.explain(&live, l.RetentionSeconds, paused)
		s.Partitions = append(s.Partitions, row)
	}
	s.addOutage()
	s.Worst = worst(s.Partitions)
}

// paused says that the intake is paused, and why; empty if it is not. A running mirror says so
// itself; of one that cannot be asked the state says what it did last.
func (s *statusResult) paused(live bool) string {
	if s.Live && !live || !s.Live && s.Actual.Doing != doingPaused {
		return ""
	}
	return "paused" + because(orWord(s.Wanted.Reason, s.Actual.Reason))
}

// addOutage says of partitions of which only the checkpoint is known what the mirror noted
// of all of them.
func (s *statusResult) addOutage() {
	if s.Actual.Outage == "" || s.Live {
		return
	}
	for i := range s.Partitions {
		if row := &s.Partitions[i]; !row.Ended {
			row.rank, row.Why = rankTrouble, s.Actual.Outage
		}
	}
}
