package kafkastream

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/kinesis-msk-bridge/bridge"
)

const (
	defaultFetchBytes = 4 << 20
	// largestFetch is the most that is asked for when a batch does not fit; sarama takes
	// no answer above 100 MiB.
	largestFetch = 96 << 20
	// fetchWait is how long a broker may hold back an answer that holds nothing.
	fetchWait = 500 * time.Millisecond
)

// mostDecompressed is the largest batch that is unpacked: a few KiB on the wire can become
// gigabytes. It is larger than any batch that is sent as it is.
const mostDecompressed = 128 << 20

// bound sets that once for the process, as sarama knows it.
var bound = sync.OnceFunc(func() { sarama.MaxDecompressedBatchSize = mostDecompressed })

// A batch is one record batch of a partition's log, the unit of transactions. A message
// of the format before Kafka 0.11 is a batch of one.
type batch struct {
	*sarama.RecordBatch
	aborted bool // the broker says that its transaction was aborted
	// first is the base of its record times if that is not what sarama read; see base.
	first int64
	based bool
}

// marker reports whether the batch ends a transaction of its producer, and how.
func (b *batch) marker() (commit, ok bool) {
	if !b.Control || len(b.Records) == 0 || len(b.Records[0].Key) < 4 {
		return false, false
	}
	// Key of a control record: version and type, two bytes each; 0 aborts, 1 commits.
	kind := binary.BigEndian.Uint16(b.Records[0].Key[2:])
	return kind == 1, kind <= 1
}

// A fetched is the answer to one fetch.
type fetched struct {
	batches []batch
	// next is the offset behind all that was seen: a batch can end behind its last record,
	// and all records of a batch can have been compacted away.
	next          int64
	highWatermark int64
	lastStable    int64
	small         bool // the first batch did not fit
}

// A cursor reads one partition from next on, over a connection of its own. It is used by
// one goroutine.
type cursor struct {
	client    *Client
	topic     string
	partition int32
	isolation sarama.IsolationLevel
	next      int64
	bytes     int32

	link  *link
	epoch int32          // of the leader that link leads to
	last  bridge.BatchID // the last batch that was read; the log is proved to hold it
}

func (c *Client) cursor(topic string, partition int32, from int64, isolation sarama.IsolationLevel) *cursor {
	return &cursor{client: c, topic: topic, partition: partition, next: from, isolation: isolation, bytes: defaultFetchBytes}
}

// read fetches once and moves on. After an error it stands where it stood, and a
// retryable one may be gone with the next call: it will look for the leader anew. What is
// gone from the log is a *bridge.GapError.
func (k *cursor) read(ctx context.Context, wait time.Duration) (fetched, error) {
	for {
		f, err := k.fetch(ctx, wait)
		if err != nil {
			return fetched{}, k.failed(ctx, err)
		}
		if !f.small {
			k.next = f.next
			if n := len(f.batches); n > 0 {
				k.last = f.batches[n-1].id()
			}
			return f, nil
		}
		if k.bytes >= largestFetch {
			return fetched{}, bridge.WithHint(
				fmt.Errorf("read %s partition %d at offset %d: the batch there cannot be read whole: %w", k.topic, k.partition, k.next, bridge.ErrUndecodable),
				"check the broker's log segment with kafka-dump-log")
		}
		k.bytes = min(2*k.bytes, largestFetch)
	}
}

// fetch asks for what comes next. A new connection may lead to another log: the batch that
// was read last must stand in it.
func (k *cursor) fetch(ctx context.Context, wait time.Duration) (fetched, error) {
	if k.link == nil {
		if err := k.connect(ctx); err != nil {
			return fetched{}, err
		}
		if err := k.prove(ctx); err != nil {
			return fetched{}, err
		}
	}
	block, err := k.request(ctx, k.isolation, k.next, k.bytes, wait)
	if err != nil {
		return fetched{}, err
	}
	return unpack(block, k.next, k.isolation), nil
}

func (k *cursor) connect(ctx context.Context) error {
	b, epoch, err := k.client.leaderEpoch(ctx, k.topic, k.partition)
	if err != nil {
		return err
	}
	k.epoch = epoch
	k.link, err = k.client.connect(ctx, b.Addr())
	return err
}

// request fetches from an offset on, from a leader of the epoch that the cursor knows.
func (k *cursor) request(ctx context.Context, isolation sarama.IsolationLevel, from int64, bytes int32, wait time.Duration) (*sarama.FetchResponseBlock, error) {
	// Version 12 is the newest that sarama speaks; an older broker gets what it knows. It
	// is also the first that answers a whole batch even if that is above the limit.
	q := &sarama.FetchRequest{
		Version: 12, MaxWaitTime: int32(wait.Milliseconds()), MinBytes: 1,
		MaxBytes: bytes, Isolation: isolation, SessionEpoch: -1,
	}
	q.AddBlock(k.topic, k.partition, from, bytes, k.epoch)
	var answer *sarama.FetchResponse
	err := k.link.do(ctx, func() (err error) {
		answer, err = k.link.broker.Fetch(q)
		return err
	})
	if err != nil {
		return nil, undecodable(err)
	}
	if code := sarama.KError(answer.ErrorCode); code != sarama.ErrNoError {
		return nil, classify(code)
	}
	block := answer.GetBlock(k.topic, k.partition)
	if block == nil {
		return nil, classify(sarama.ErrIncompleteResponse)
	}
	if block.Err != sarama.ErrNoError {
		return nil, classify(block.Err)
	}
	return block, nil
}

// undecodable makes an error of sarama's decoder final: the log holds the same bytes the
// next time, too.
func undecodable(err error) error {
	var decode sarama.PacketDecodingError
	switch {
	case errors.Is(err, sarama.ErrDecompressedBatchTooLarge):
		return bridge.WithHint(&reclassified{err, bridge.ErrUndecodable}, "a producer wrote a batch that is not read whole: look at it with kafka-dump-log, and delete it, or begin behind it")
	case errors.As(err, &decode):
		return &reclassified{err, bridge.ErrUndecodable}
	}
	return err
}

// failed says what err means for the reader, and forgets the connection unless the broker
// can be asked again on it.
func (k *cursor) failed(ctx context.Context, err error) error {
	k.close()
	if cause := ctx.Err(); cause != nil {
		return cause
	}
	if errors.Is(err, sarama.ErrOffsetOutOfRange) {
		err = k.gap(ctx)
	}
	return k.client.stale(ctx, k.topic, fmt.Errorf("read %s partition %d at offset %d: %w", k.topic, k.partition, k.next, err))
}

// gap tells what of the log is gone, after the broker said that next is not in it.
func (k *cursor) gap(ctx context.Context) error {
	first, end, _, err := k.client.offsets(ctx, k.topic, k.partition)
	if err != nil {
		return err
	}
	if gap := gapAt(k.topic, k.partition, k.next, first, end); gap != nil {
		return gap
	}
	return fmt.Errorf("the log has moved: %w", bridge.ErrTransient)
}

const (
	trimmedHint = "raise retention.ms of the topic; bring what is gone in from elsewhere, and begin a new workflow for what is left"
	lostHint    = "look for an unclean leader election or a restored backup before going on"
)

// gapAt is a *bridge.GapError with a hint if a log that holds [first, end) cannot be read from next
// on, else nil.
func gapAt(topic string, partition int32, next, first, end int64) error {
	gap := &bridge.GapError{Stream: topic, Partition: strconv.Itoa(int(partition))}
	switch {
	case next < first:
		gap.After, gap.Before = bridge.OffsetPosition(next-1), bridge.OffsetPosition(first)
		gap.Reason = "the log begins later: retention or a deletion removed records that were still needed"
		return bridge.WithHint(gap, trimmedHint)
	case next > end:
		gap.After, gap.Before = bridge.OffsetPosition(end-1), bridge.OffsetPosition(next)
		gap.Reason = "the log ends before the position: the cluster lost records that it had acknowledged"
		return bridge.WithHint(gap, lostHint)
	}
	return nil
}

func (k *cursor) close() {
	k.link.close()
	k.link = nil
}

// unpack makes batches of an answer to a fetch at offset from.
func unpack(block *sarama.FetchResponseBlock, from int64, isolation sarama.IsolationLevel) fetched {
	f := fetched{next: from, highWatermark: block.HighWaterMarkOffset, lastStable: block.LastStableOffset}
	for _, records := range block.RecordsSet {
		switch {
		case records.MsgSet != nil:
			f.batches = append(f.batches, legacy(records.MsgSet)...)
		case records.RecordBatch.PartialTrailingRecord:
			// Only a first batch is handed out cut short. What stands before it is empty.
			f.next = max(f.next, records.RecordBatch.FirstOffset)
			f.small = f.next == from
		default:
			f.batches = append(f.batches, batch{RecordBatch: records.RecordBatch})
		}
	}
	for _, b := range f.batches {
		f.next = max(f.next, b.LastOffset()+1)
	}
	switch {
	case block.Partial && f.next == from:
		f.small = true
	case len(block.RecordsSet) == 0:
		f.next = max(f.next, emptyUpTo(block))
	}
	if isolation == sarama.ReadCommitted {
		markAborted(f.batches, block.AbortedTransactions)
	}
	return f
}

// emptyUpTo is the offset behind the batches without records in an answer that holds no
// others, 0 if there are none. Compaction keeps the frame of a producer's last batch; a
// segment that ends with one would stop the reader for ever. sarama leaves those batches
// out and keeps where they end to itself, hence the reflection.
func emptyUpTo(block *sarama.FetchResponseBlock) int64 {
	next := reflect.ValueOf(block).Elem().FieldByName("recordsNextOffset")
	if !next.IsValid() || next.Kind() != reflect.Pointer || next.IsNil() {
		return 0
	}
	return next.Elem().Int()
}

// legacy makes batches of messages in the formats before Kafka 0.11, where the offsets
// inside a compressed message count from its first one.
func legacy(set *sarama.MessageSet) []batch {
	var out []batch
	for _, block := range set.Messages {
		inner := block.Messages()
		for _, m := range inner {
			offset, at := m.Offset, m.Msg.Timestamp
			if m.Msg.Version >= 1 && block.Msg.Set != nil {
				offset += block.Offset - inner[len(inner)-1].Offset
				if block.Msg.LogAppendTime {
					at = block.Msg.Timestamp
				}
			}
			out = append(out, batch{RecordBatch: &sarama.RecordBatch{
				FirstOffset: offset, FirstTimestamp: at, MaxTimestamp: at, ProducerID: -1, ProducerEpoch: -1,
				Records: []*sarama.Record{{Key: m.Msg.Key, Value: m.Msg.Value}},
			}})
		}
	}
	return out
}

// markAborted marks the batches of aborted transactions, of which the broker gives
// producer and first offset. A transaction ends at its marker, so that the next one of the
// same producer is judged by itself.
func markAborted(batches []batch, aborted []*sarama.AbortedTransaction) {
	slices.SortFunc(aborted, func(a, b *sarama.AbortedTransaction) int { return int(a.FirstOffset - b.FirstOffset) })
	begun := map[int64]bool{}
	for i := range batches {
		b := &batches[i]
		for len(aborted) > 0 && aborted[0].FirstOffset <= b.LastOffset() {
			begun[aborted[0].ProducerID] = true
			aborted = aborted[1:]
		}
		if commit, ok := b.marker(); ok && !commit {
			delete(begun, b.ProducerID)
		}
		b.aborted = b.IsTransactional && !b.Control && begun[b.ProducerID]
	}
}

// A fate is what became of the transaction that a record belongs to.
type fate int

const (
	committed fate = iota // or written without a transaction
	undecided             // no marker was met
	aborted
)

// A fetchedRecord is one data record of a log. Its slices share the memory of the answer
// that brought it.
type fetchedRecord struct {
	Offset        int64
	Time          time.Time
	Key, Value    []byte // nil and empty differ
	Headers       []*sarama.RecordHeader
	ProducerID    int64 // -1 without one
	Epoch         int16
	Transactional bool
	Fate          fate
}

// A scanMode says which records a scan yields.
type scanMode int

const (
	// scanAll yields every record. Transactions are not judged: their records are
	// undecided.
	scanAll scanMode = iota
	// scanCommitted leaves out the records of aborted transactions. Above the last stable
	// offset a transaction whose marker does not stand before the end of the scan is
	// undecided.
	scanCommitted
)

// scanPatience is how many times in a row a scan tries again without getting on.
const scanPatience = 6

// scan yields the records at offsets from ≤ offset < to, in order. A negative from is the
// beginning of the log; to must not be above the high watermark. Offsets may have holes.
// It ends with a *bridge.GapError if the log does not reach from from to to. A connection
// or leader that fails is tried again a few times before it is an error.
//
// Above the last stable offset the broker does not say which transactions were aborted.
// There the log is read twice, first for the markers: to hold back records until their
// marker is met could take as much memory as a forgotten transaction holds back.
func (c *Client) scan(ctx context.Context, topic string, partition int32, from, to int64, mode scanMode) iter.Seq2[fetchedRecord, error] {
	return func(yield func(fetchedRecord, error) bool) {
		first, end, stable, err := c.offsets(ctx, topic, partition)
		if err == nil {
			if from < 0 {
				from = first
			}
			err = gapAt(topic, partition, from, first, end)
		}
		if err == nil && to > end {
			err = gapAt(topic, partition, to, first, end)
		}
		if err != nil {
			yield(fetchedRecord{}, fmt.Errorf("scan %s partition %d: %w", topic, partition, err))
			return
		}
		s := scanner{c.cursor(topic, partition, from, sarama.ReadUncommitted), yield}
		defer s.close()
		if mode == scanAll {
			s.run(ctx, to, fateUnjudged)
			return
		}
		s.isolation = sarama.ReadCommitted
		if !s.run(ctx, max(from, min(stable, to)), fateByBroker) {
			return
		}
		s.isolation = sarama.ReadUncommitted
		judge, ok := s.markers(ctx, to)
		if ok {
			s.run(ctx, to, judge)
		}
	}
}

func fateUnjudged(b *batch) fate {
	if b.IsTransactional {
		return undecided
	}
	return committed
}

func fateByBroker(b *batch) fate {
	if b.aborted {
		return aborted
	}
	return committed
}

// A scanner is a cursor under way to a fixed end.
type scanner struct {
	*cursor
	yield func(fetchedRecord, error) bool
}

// markers reads from where the scanner stands to to, comes back, and says what it learned
// of each producer's transactions.
func (s *scanner) markers(ctx context.Context, to int64) (func(*batch) fate, bool) {
	type mark struct {
		offset int64
		commit bool
	}
	marks := map[int64][]mark{}
	from := s.next
	ok := s.each(ctx, to, func(b *batch) bool {
		if commit, ok := b.marker(); ok {
			marks[b.ProducerID] = append(marks[b.ProducerID], mark{b.FirstOffset, commit})
		}
		return true
	})
	s.next = from
	return func(b *batch) fate {
		if !b.IsTransactional {
			return committed
		}
		for _, m := range marks[b.ProducerID] {
			switch {
			case m.offset < b.FirstOffset:
			case m.commit:
				return committed
			default:
				return aborted
			}
		}
		return undecided
	}, ok
}

// run yields the data records before to that were not aborted. It is false if the scan is
// over, because of an error or because nobody wants more.
func (s *scanner) run(ctx context.Context, to int64, judge func(*batch) fate) bool {
	from := s.next
	return s.each(ctx, to, func(b *batch) bool {
		fate := judge(b)
		if b.Control || fate == aborted {
			return true
		}
		for _, r := range b.Records {
			offset := b.FirstOffset + r.OffsetDelta
			if offset < from || offset >= to {
				continue
			}
			record := fetchedRecord{
				Offset: offset, Time: b.time(r), Key: r.Key, Value: r.Value, Headers: r.Headers,
				ProducerID: b.ProducerID, Epoch: b.ProducerEpoch, Transactional: b.IsTransactional, Fate: fate,
			}
			if !s.yield(record, nil) {
				return false
			}
		}
		return true
	})
}

// each calls take for every batch until the cursor has passed to.
func (s *scanner) each(ctx context.Context, to int64, take func(*batch) bool) bool {
	tries, wait := 0, 50*time.Millisecond
	for s.next < to {
		f, err := s.read(ctx, fetchWait)
		switch {
		case err == nil && len(f.batches) == 0 && f.highWatermark < to:
			err = gapAt(s.topic, s.partition, to, 0, f.highWatermark)
		case err != nil && bridge.Retryable(err) && tries < scanPatience:
			tries++
			if err = pause(ctx, wait<<tries); err == nil {
				continue
			}
		}
		if err != nil {
			s.yield(fetchedRecord{}, fmt.Errorf("scan %s partition %d: %w", s.topic, s.partition, err))
			return false
		}
		tries = 0
		for i := range f.batches {
			if f.batches[i].FirstOffset < to && !take(&f.batches[i]) {
				return false
			}
		}
	}
	s.next = min(s.next, to) // what lies behind to is for whoever goes on from there
	return true
}
