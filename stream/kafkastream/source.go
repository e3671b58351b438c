package kafkastream

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"

	"github.com/kinesis-msk-bridge/bridge"
)

// A SourceConfig says what to read.
type SourceConfig struct {
	Client *Client
	Topic  string
	// Partitions is the number of partitions that the topic must have; zero takes what it
	// has now. From then on another number is ErrChanged.
	Partitions int
	// ID is the topic id that the topic must have; empty takes what it has now.
	ID string
	// Stamp judges provenance headers. If nil, records are read as nobody's own.
	Stamp *bridge.Stamp
	// KeepCopied leaves a provenance header whose tag does not hold among the headers, for
	// a witness who wants to know what it claims.
	KeepCopied bool
	// FetchBytes is how much is asked for at once and, unless one batch is larger, how
	// much a Read returns at most, compressed; 4 MiB if zero.
	FetchBytes int
	// Records is about how many records a Read should bring at most: more is asked for or
	// less, within FetchBytes, as they turn out to be small or large; 4,000 if zero.
	Records int
	// Recheck is how often readers make sure that the topic is still the same one; 5 s if
	// zero.
	Recheck time.Duration
}

const defaultRecheck = 5 * time.Second

// A Source reads a topic without the records of aborted transactions. It waits at the last
// stable offset while a transaction is open there, and says so: the topic ends at the high
// watermark. It implements bridge.Source and bridge.Ender.
type Source struct {
	client  *Client
	topic   Topic
	stamp   *bridge.Stamp
	bytes   int32
	records int
	recheck time.Duration
	copied  bool // keep copied provenance
	// checked is when the topic was last seen unchanged, in nanoseconds since began.
	checked atomic.Int64
	began   time.Time
}

var (
	_ bridge.Source = (*Source)(nil)
	_ bridge.Ender  = (*Source)(nil)
)

// NewSource looks the topic up. It wraps ErrMissing if there is none, and ErrChanged if it
// is not the one that the configuration names.
func NewSource(ctx context.Context, c SourceConfig) (*Source, error) {
	t, err := c.Client.lookup(ctx, c.Topic)
	if err != nil {
		return nil, err
	}
	want := t
	if c.Partitions != 0 {
		want.Partitions = c.Partitions
	}
	if c.ID != "" {
		want.ID = c.ID
	}
	s := &Source{
		client: c.Client, topic: want, stamp: c.Stamp, copied: c.KeepCopied,
		bytes: int32(c.FetchBytes), records: cmpInt(c.Records, mostRecords), recheck: cmpOr(c.Recheck, defaultRecheck), began: time.Now(),
	}
	if s.bytes <= 0 {
		s.bytes = defaultFetchBytes
	}
	return s, s.same(t)
}

// Identity asks the cluster, and does not mind if the topic is another one by now.
func (s *Source) Identity(ctx context.Context) (bridge.Identity, error) {
	t, err := s.client.lookup(ctx, s.topic.Name)
	if err != nil {
		return bridge.Identity{}, err
	}
	return t.Identity(), nil
}

// Partitions lists the partitions in their order. It wraps ErrChanged if the topic is not
// the one that the Source was made for.
func (s *Source) Partitions(ctx context.Context) ([]bridge.Partition, error) {
	if err := s.check(ctx); err != nil {
		return nil, err
	}
	out := make([]bridge.Partition, s.topic.Partitions)
	for i := range out {
		out[i].ID = strconv.Itoa(i)
	}
	return out, nil
}

// Ends returns the position before the high watermark of each partition, which can be
// that of a transaction marker, or of a record that an open transaction keeps from being
// read: a Batch's Through reaches it once no transaction is open there. A partition that
// holds nothing has the zero Position.
func (s *Source) Ends(ctx context.Context) (map[string]bridge.Position, error) {
	if err := s.check(ctx); err != nil {
		return nil, err
	}
	all := s.topic.numbers()
	first, err := s.client.listOffsets(ctx, s.topic.Name, all, sarama.OffsetOldest, sarama.ReadUncommitted)
	if err != nil {
		return nil, err
	}
	next, err := s.client.listOffsets(ctx, s.topic.Name, all, sarama.OffsetNewest, sarama.ReadUncommitted)
	if err != nil {
		return nil, err
	}
	ends := make(map[string]bridge.Position, len(all))
	for _, p := range all {
		ends[strconv.Itoa(int(p))] = bridge.Position{}
		if next[p] > first[p] {
			ends[strconv.Itoa(int(p))] = bridge.OffsetPosition(next[p] - 1)
		}
	}
	return ends, nil
}

// missingTwice is how long after a broker said that there is no such topic it is asked
// again: one that has just started may not have heard of it yet.
const missingTwice = time.Second

// check asks whether the topic is still the one that the Source was made for.
func (s *Source) check(ctx context.Context) error {
	t, err := s.client.lookup(ctx, s.topic.Name)
	if errors.Is(err, bridge.ErrMissing) {
		if err := pause(ctx, missingTwice); err != nil {
			return err
		}
		t, err = s.client.lookup(ctx, s.topic.Name)
	}
	if err != nil {
		return err
	}
	if err := s.same(t); err != nil {
		return err
	}
	s.checked.Store(int64(time.Since(s.began)))
	return nil
}

func (s *Source) same(t Topic) error {
	switch {
	case t.ID != s.topic.ID:
		return bridge.WithHint(fmt.Errorf("topic %s was deleted and created anew (id %s, was %s): %w", t.Name, t.ID, s.topic.ID, bridge.ErrChanged),
			"its positions are those of the old topic: begin a new workflow")
	case t.Partitions != s.topic.Partitions:
		return bridge.WithHint(fmt.Errorf("topic %s has %d partitions, had %d: %w", t.Name, t.Partitions, s.topic.Partitions, bridge.ErrChanged),
			"keys are in other partitions than before: drain, and begin a new workflow")
	}
	return nil
}

// checkNow and then: one reader of many asks, when the last answer has become old. A topic
// that was recreated begins at offset 0, so that what a reader asks for is normally out of
// its range; this finds the one that has grown beyond it in the meantime.
func (s *Source) checkNowAndThen(ctx context.Context) error {
	last, now := s.checked.Load(), int64(time.Since(s.began))
	if time.Duration(now-last) < s.recheck || !s.checked.CompareAndSwap(last, now) {
		return nil
	}
	err := s.check(ctx)
	if err != nil {
		s.checked.CompareAndSwap(now, last) // the next reader finds it out, too
	}
	return err
}

// Open begins to read a partition. It wraps ErrChanged if the topic is not the one that
// the Source was made for, and is a *bridge.GapError if the log does not reach back to
// from.After, or no longer reaches up to it; if that is zero the same is true of from.First,
// and if that is zero, too, and from.Tip is not, of offset 0. That the log holds from.Batch is proved by the first Read, and that
// it holds the batch that was read last by every Read that has to connect again. A time later than all records begins with
// the next one to come.
func (s *Source) Open(ctx context.Context, partition string, from bridge.Start) (bridge.Reader, error) {
	n, err := strconv.ParseInt(partition, 10, 32)
	if err != nil || n < 0 || int(n) >= s.topic.Partitions || strconv.FormatInt(n, 10) != partition {
		return nil, fmt.Errorf("topic %s has no partition %q: %w", s.topic.Name, partition, bridge.ErrMissing)
	}
	after, err := from.After.Offset()
	if err == nil && from.After.Sub != 0 {
		err = fmt.Errorf("position %s has an index, offsets have none: %w", from.After, bridge.ErrForeignPosition)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s partition %s: %w", s.topic.Name, partition, err)
	}
	if err := s.check(ctx); err != nil {
		return nil, err
	}
	first, end, _, err := s.client.offsets(ctx, s.topic.Name, int32(n))
	if err != nil {
		return nil, fmt.Errorf("open %s partition %s: %w", s.topic.Name, partition, err)
	}
	r := &reader{source: s, partition: partition}
	next := after + 1
	if after < 0 && !from.First.IsZero() {
		if next, err = from.First.Offset(); err != nil {
			return nil, fmt.Errorf("open %s partition %s: %w", s.topic.Name, partition, err)
		}
	}
	switch {
	case !from.After.IsZero() || !from.First.IsZero() || !from.Tip.IsZero():
		// A partition that was seen to hold nothing has offset 0 still to come.
		// Where a log that is too short was cut back, the first Read finds out by the batch.
		if next <= end || !from.Batch.Known {
			err = gapAt(s.topic.Name, int32(n), next, first, end)
		}
	case !from.At.IsZero():
		next, err = s.since(ctx, int32(n), from.At, end)
	default:
		next, r.oldest = first, true
	}
	if err != nil {
		return nil, err
	}
	r.cursor = s.client.cursor(s.topic.Name, int32(n), next, sarama.ReadCommitted)
	r.cursor.bytes = min(s.bytes, firstFetch)
	r.idle = next >= end
	if !from.After.IsZero() {
		r.cursor.last = from.Batch
	}
	return r, nil
}

// Begin returns the offset of the first record that arrived at that time or later, or where the
// log begins if the time is zero. Where there is no record yet that is the next offset.
func (s *Source) Begin(ctx context.Context, partition string, at time.Time) (bridge.Position, time.Time, error) {
	n, err := strconv.ParseInt(partition, 10, 32)
	if err != nil {
		return bridge.Position{}, time.Time{}, fmt.Errorf("topic %s has no partition %q: %w", s.topic.Name, partition, bridge.ErrMissing)
	}
	first, end, _, err := s.client.offsets(ctx, s.topic.Name, int32(n))
	if err == nil && !at.IsZero() {
		first, err = s.since(ctx, int32(n), at, end)
	}
	if err != nil {
		return bridge.Position{}, time.Time{}, fmt.Errorf("ask where %s partition %s begins: %w", s.topic.Name, partition, err)
	}
	return bridge.OffsetPosition(first), time.Time{}, nil
}

// since is the offset of the first record at or behind t, or end if there is none: end was
// asked for before, so that everything below it is older.
func (s *Source) since(ctx context.Context, partition int32, t time.Time, end int64) (int64, error) {
	at, err := s.client.listOffsets(ctx, s.topic.Name, []int32{partition}, max(t.UnixMilli(), 0), sarama.ReadUncommitted)
	if err != nil {
		return 0, err
	}
	if at[partition] < 0 {
		return end, nil
	}
	return at[partition], nil
}

var _ bridge.Waiter = (*reader)(nil)

// A reader reads one partition.
type reader struct {
	source    *Source
	partition string
	cursor    *cursor
	// oldest: nothing was read yet, and where reading begins is wherever the log does.
	oldest bool
	hold   holdUp
	idle   bool     // the next answer is likely to be empty
	polled *polled  // what Wait brought, for the next Read
	names  []string // header names of the last record, which are mostly those of the next
}

// Read returns what one fetch brought, after at most half a second if that is nothing.
// The records share the memory of that answer.
func (r *reader) Read(ctx context.Context) (bridge.Batch, error) {
	if err := r.source.checkNowAndThen(ctx); err != nil {
		return bridge.Batch{}, err
	}
	p := r.take(ctx)
	asked, from, f, err := p.asked, p.from, p.fetched, p.err
	var gap *bridge.GapError
	if errors.As(err, &gap) && r.oldest {
		// Retention moved the beginning while nobody had read yet: begin where it is now.
		if r.cursor.next, err = gap.Before.Offset(); err == nil {
			err = fmt.Errorf("read %s partition %s: its beginning moved: %w", r.source.topic.Name, r.partition, bridge.ErrTransient)
		}
	}
	if err != nil {
		return bridge.Batch{}, r.changed(ctx, err)
	}
	r.oldest = r.oldest && f.next == from
	r.idle = len(f.batches) == 0 || f.next >= f.highWatermark
	records := r.records(f.batches, from)
	r.adapt(len(records))
	b := bridge.Batch{
		Records: records,
		Through: bridge.OffsetPosition(f.next - 1),
		Behind:  behind(records, asked),
		Asked:   asked,
		End:     bridge.OffsetPosition(f.highWatermark - 1),
		Open:    r.hold.see(ctx, r, &f),
		Last:    r.cursor.last,
	}
	switch {
	case b.Open != nil:
		b.Behind = heldBack(b.Open, asked)
	case f.next >= f.highWatermark:
		b.Behind = 0
	}
	return b, nil
}

// A polled answer is one that a reader asked for before its Read.
type polled struct {
	fetched
	err   error
	asked time.Time
	from  int64
}

func (r *reader) poll(ctx context.Context) *polled {
	p := &polled{asked: time.Now(), from: r.cursor.next}
	p.fetched, p.err = r.cursor.read(ctx, fetchWait)
	return p
}

// Wait returns when there is something to read, or the broker has held an empty answer back
// for as long as it may. It asks for one batch, which the next Read returns, so that a
// partition that nothing comes to takes no room for a whole answer. Behind an answer that
// left something to read it returns at once.
func (r *reader) Wait(ctx context.Context) error {
	if !r.idle || r.polled != nil {
		return nil
	}
	bytes := r.cursor.bytes
	r.cursor.bytes = 1
	r.polled = r.poll(ctx)
	r.cursor.bytes = bytes
	if err := ctx.Err(); err != nil {
		r.polled = nil
		return err
	}
	return nil
}

// take returns what Wait brought, or asks.
func (r *reader) take(ctx context.Context) *polled {
	if p := r.polled; p != nil {
		r.polled = nil
		return p
	}
	return r.poll(ctx)
}

// behind is how much older than now the last of records is, by its time of arrival, or by
// its own time where the service does not say: the newest record of the partition cannot
// be further ahead of it. It is negative if there is no record that says it.
func behind(records []bridge.Record, asked time.Time) time.Duration {
	if len(records) == 0 {
		return -1
	}
	last := &records[len(records)-1]
	at := last.Arrived
	if at.IsZero() {
		at = last.Time
	}
	return max(asked.Sub(at), time.Millisecond)
}

// mostRecords is about how many records a read brings if nobody says otherwise: enough for
// eight PutRecords. What a record takes beside its bytes, here and where it goes, is more than
// small ones have.
const mostRecords = 4_000

// firstFetch bounds what is asked for before it is known how large records are.
const firstFetch = 1 << 20

// adapt asks for less next time if a fetch brought more records than a read should, and
// for more again if it brought far fewer.
func (r *reader) adapt(n int) {
	switch {
	case n > r.source.records:
		r.cursor.bytes = max(r.cursor.bytes/2, r.source.bytes/64)
	case n < r.source.records/4 && r.cursor.bytes < r.source.bytes:
		r.cursor.bytes *= 2
	}
}

// changed prefers, over an error of a read, that the topic is another one or is gone:
// that is how a reader mostly learns of it.
func (r *reader) changed(ctx context.Context, err error) error {
	if !errors.Is(err, bridge.ErrGap) && !errors.Is(err, bridge.ErrMissing) {
		return err
	}
	now := r.source.check(ctx)
	if errors.Is(now, bridge.ErrChanged) || errors.Is(now, bridge.ErrMissing) {
		return now
	}
	if errors.Is(err, bridge.ErrMissing) {
		// A broker that has just been given the partition does not know it yet.
		return &reclassified{err, bridge.ErrTransient}
	}
	return err
}

// Close ends the reader's connection.
func (r *reader) Close() error {
	r.cursor.close()
	return nil
}

// records makes the records of committed batches at or behind offset from. All of one
// answer share one slice of records, one of headers and one string of offsets.
func (r *reader) records(batches []batch, from int64) []bridge.Record {
	count, headers := 0, 0
	for i := range batches {
		if batches[i].readable() {
			count += len(batches[i].Records)
			for _, rec := range batches[i].Records {
				headers += len(rec.Headers)
			}
		}
	}
	if count == 0 {
		return nil
	}
	out := make([]bridge.Record, 0, count)
	arena := make([]bridge.Header, 0, headers)
	digits := make([]byte, 0, count*len(strconv.FormatInt(r.cursor.next, 10)))
	for i := range batches {
		b := &batches[i]
		if !b.readable() {
			continue
		}
		lost := b.timesLost()
		for _, rec := range b.Records {
			offset := b.FirstOffset + rec.OffsetDelta
			if offset < from {
				continue // a batch is handed out whole, wherever in it reading begins
			}
			record := bridge.Record{Key: rec.Key, Value: rec.Value, Time: b.time(rec), Partition: r.partition, Subs: 1}
			if b.LogAppendTime {
				record.Arrived = record.Time
			}
			if lost {
				record.Refused = errTimesLost
			}
			arena = r.headers(&record, rec.Headers, arena)
			digits = strconv.AppendInt(digits, offset, 10)
			out = append(out, record)
		}
	}
	place(out, string(digits), batches, from)
	return out
}

// place gives records their positions, as parts of one string that holds all offsets.
func place(out []bridge.Record, digits string, batches []batch, from int64) {
	at := 0
	for i := range batches {
		b := &batches[i]
		if !b.readable() {
			continue
		}
		for _, rec := range b.Records {
			offset := b.FirstOffset + rec.OffsetDelta
			if offset < from {
				continue
			}
			n := decimals(offset)
			out[at].Position = bridge.Position{Seq: digits[:n]}
			digits = digits[n:]
			at++
		}
	}
}

func decimals(n int64) int {
	d := 1
	for ; n >= 10; n /= 10 {
		d++
	}
	return d
}

func (b *batch) readable() bool { return !b.Control && !b.aborted }

// headers moves the headers of one record into arena and takes provenance out: the last
// header of that name, if it is provenance at all. It returns the grown arena.
func (r *reader) headers(record *bridge.Record, headers []*sarama.RecordHeader, arena []bridge.Header) []bridge.Header {
	if len(headers) == 0 {
		return arena
	}
	mine := r.provenance(record, headers)
	begin := len(arena)
	for i, h := range headers {
		if i != mine {
			arena = append(arena, bridge.Header{Key: r.name(i, h.Key), Value: h.Value})
		}
	}
	if len(arena) > begin {
		record.Headers = arena[begin:len(arena):len(arena)]
	}
	return arena
}

// provenance judges the last header of the provenance name, says on the record what it
// found, and returns which header is not to be copied on, -1 for none.
func (r *reader) provenance(record *bridge.Record, headers []*sarama.RecordHeader) int {
	last := len(headers) - 1
	for last >= 0 && string(headers[last].Key) != bridge.ProvenanceHeader {
		last--
	}
	if last < 0 {
		return -1
	}
	value := headers[last].Value
	if r.source.stamp == nil {
		if _, err := bridge.DecodeProvenance(value); err != nil {
			return -1
		}
		return last
	}
	origin, _, mark := r.source.stamp.Judge(value, record.Key, record.Value)
	switch mark {
	case bridge.NotProvenance:
		return -1
	case bridge.Ours:
		record.Origin = origin
	case bridge.Copied:
		record.Foreign = true
		if r.source.copied {
			return -1
		}
	}
	return last
}

// name is b as a string, without a copy if the header at that place had the same name in
// the record before.
func (r *reader) name(i int, b []byte) string {
	if i < len(r.names) {
		if r.names[i] != string(b) {
			r.names[i] = string(b)
		}
		return r.names[i]
	}
	s := string(b)
	if i == len(r.names) && i < 32 {
		r.names = append(r.names, s)
	}
	return s
}
