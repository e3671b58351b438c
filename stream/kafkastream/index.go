package kafkastream

import (
	"context"
	"fmt"
	"time"

	"github.com/IBM/sarama"

	"github.com/kinesis-msk-bridge/bridge"
)

// putIndex appends entries of the position index, in one batch. The key of each is the
// target partition that it speaks of.
func (s *Session) putIndex(ctx context.Context, entries []bridge.IndexEntry) error {
	if len(entries) == 0 {
		return nil
	}
	recs := make([]entry, len(entries))
	now := time.Now().Truncate(time.Millisecond)
	for i, e := range entries {
		value, err := s.seal("index", e)
		if err != nil {
			return err
		}
		recs[i] = entry{Record: sarama.Record{Key: []byte(e.Partition), Value: value}, time: now}
	}
	pc := newPiece(partitionID{s.own.index, int32(s.conf.Task)}, recs)
	if err := s.producer.append(ctx, pc); err != nil {
		return err
	}
	if pc.err != nil {
		return fmt.Errorf("store index entries: %w", pc.err)
	}
	return nil
}
