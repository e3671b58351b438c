package kafkastream

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/kinesis-msk-bridge/bridge"
)

// errLostTrack is what a producer ends with when the broker no longer agrees with it about
// what was appended. Only a scan of the target can tell; nobody else need have taken over.
var errLostTrack = fmt.Errorf("the broker lost track of this producer: %w", bridge.ErrLostTrack)

// A partitionID is one partition of one topic.
type partitionID struct {
	topic string
	n     int32
}

// An entry is one record to be appended, with its time in whole milliseconds.
type entry struct {
	sarama.Record
	time time.Time
}

// A piece is what one caller wants appended to one partition, in order. The producer owns
// it until done is closed; then offsets[i] is where entries[i] stands, or -1 if it was not
// appended: entries[refused] was refused with err, and the later ones were held back.
type piece struct {
	to      partitionID
	entries []entry
	offsets []int64
	err     error
	refused int
	next    int // the first entry that is in no batch yet
	left    int // entries without a fate
	done    chan struct{}
}

func newPiece(to partitionID, entries []entry) *piece {
	return &piece{to: to, entries: entries, offsets: make([]int64, len(entries)), left: len(entries), done: make(chan struct{})}
}

// A part is what one batch took from one piece.
type part struct {
	*piece
	from, to int
}

// A frozen batch has its sequence number and does not change until its fate is known:
// the broker recognises it by that however often it is sent.
type frozen struct {
	parts []part
	batch *sarama.RecordBatch
	size  int // in bytes, uncompressed
}

// A line is what waits for one partition, and the one batch that is on its way to it.
type line struct {
	to       partitionID
	queue    []*piece
	frozen   *frozen
	sending  bool
	sequence int32 // of the next batch
	leader   led
	known    bool // leader is
	// acked is the last batch that was acknowledged, nil if none was by this producer. Before
	// more is sent to a leader of another epoch, its log is proved to hold that batch.
	acked        *mark
	limit        int  // bytes of a batch
	recompressed bool // brokers compress what is sent again, and then take no time before 1970
	most         int  // records of a batch; less after one was refused, to find out which
	failures     int
	resumeAt     time.Time
}

// A producer appends to partitions of any topics in the name of one producer id. At most
// one batch is under way for each partition, and it is sent until the broker's answer is
// known. What waits for a partition meanwhile goes into the next one. It is safe for
// concurrent use.
type producer struct {
	transport transport
	id        int64
	epoch     int16
	codec     sarama.CompressionCodec
	watch     *bridge.Watch

	mu    sync.Mutex
	lines map[partitionID]*line
	busy  map[int32]bool // brokers that have a request under way
	// looking: leaders are being looked for
	looking bool
	fatal   error
	dead    chan struct{} // closed with fatal
	wake    chan struct{}
}

// An addressed batch is one with the partition that it goes to.
type addressed struct {
	to    partitionID
	batch *sarama.RecordBatch
}

// A led partition has this broker as its leader, of this epoch.
type led struct{ broker, epoch int32 }

// A transport brings requests to brokers.
type transport interface {
	// leaderOf returns the broker that leads a partition; anew asks the cluster.
	leaderOf(ctx context.Context, to partitionID, anew bool) (led, error)
	// holds is a *bridge.GapError if a partition no longer holds a batch that it acknowledged.
	holds(ctx context.Context, to partitionID, m mark) error
	// send brings batches to a broker in one request and returns its answer. After an error
	// the request may have been carried out, or may yet be.
	send(ctx context.Context, broker int32, batches []addressed) (*sarama.ProduceResponse, error)
	// gone says why a topic that a broker does not know is not there, nil if it is.
	gone(ctx context.Context, topic string) error
}

const (
	defaultBatchBytes = 1_000_000 // below max.message.bytes as Kafka comes, 1,048,588
	batchOverhead     = 61        // bytes of a record batch of version 2 without its records
	maxRequestBytes   = 32 << 20
	produceTimeout    = 30_000 // milliseconds that a leader waits for its followers
)

func newProducer(t transport, id int64, epoch int16) *producer {
	return &producer{
		transport: t, id: id, epoch: epoch,
		lines: map[partitionID]*line{},
		busy:  map[int32]bool{},
		dead:  make(chan struct{}),
		wake:  make(chan struct{}, 1),
	}
}

// append puts pieces in line and returns when the fate of every entry is known. An error
// is fatal for the producer and says nothing of the entries.
func (p *producer) append(ctx context.Context, pieces ...*piece) error {
	p.mu.Lock()
	if p.fatal != nil {
		p.mu.Unlock()
		return p.fatal
	}
	for _, pc := range pieces {
		l := p.lineTo(pc.to)
		if pc.trim(l.recompressed); len(pc.entries) == 0 {
			close(pc.done)
			continue
		}
		l.queue = append(l.queue, pc)
	}
	p.mu.Unlock()
	p.poke()
	for _, pc := range pieces {
		select {
		case <-pc.done:
		case <-p.dead:
			return p.fatal
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (p *producer) lineTo(to partitionID) *line {
	l := p.lines[to]
	if l == nil {
		l = &line{to: to, limit: defaultBatchBytes}
		p.lines[to] = l
	}
	return l
}

// setLimit bounds the batches of a partition, in bytes.
func (p *producer) setLimit(to partitionID, bytes int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lineTo(to).limit = max(bytes, 1)
}

func (p *producer) poke() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// fail ends the producer: nothing is sent any more.
func (p *producer) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fatal == nil {
		p.fatal = err
		close(p.dead)
	}
}

// run sends what is in line until ctx ends or something fatal happens, and returns that.
func (p *producer) run(ctx context.Context) error {
	var rounds sync.WaitGroup
	defer rounds.Wait()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		p.findLeaders(ctx, &rounds)
		requests, next := p.collect()
		for broker, lines := range requests {
			rounds.Go(func() {
				p.round(ctx, broker, lines)
				p.poke()
			})
		}
		timer.Reset(next)
		select {
		case <-ctx.Done():
			p.fail(ctx.Err())
			return nil
		case <-p.dead:
			return p.fatal
		case <-p.wake:
		case <-timer.C:
		}
	}
}

// marks returns the last batch that each partition acknowledged.
func (p *producer) marks() map[partitionID]mark {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := map[partitionID]mark{}
	for to, l := range p.lines {
		if l.acked != nil {
			out[to] = *l.acked
		}
	}
	return out
}

// collect takes for each broker without a request under way all lines that are ready, so
// that one request carries them all. It returns how long to wait at most.
func (p *producer) collect() (map[int32][]*line, time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	requests, next := map[int32][]*line{}, time.Hour
	now := time.Now()
	for _, l := range p.lines {
		if l.sending || l.frozen == nil && len(l.queue) == 0 {
			continue
		}
		if d := l.resumeAt.Sub(now); d > 0 {
			next = min(next, d)
			continue
		}
		if !l.known || p.busy[l.leader.broker] {
			continue
		}
		if l.frozen == nil {
			p.freeze(l)
		}
		l.sending = true
		requests[l.leader.broker] = append(requests[l.leader.broker], l)
	}
	for broker := range requests {
		p.busy[broker] = true
	}
	return requests, next
}

// findLeaders begins to look for the leaders of lines that need one, unless that is under
// way: a broker that does not answer must not hold up what goes to the others.
func (p *producer) findLeaders(ctx context.Context, background *sync.WaitGroup) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.looking {
		return
	}
	var need []*line
	now := time.Now()
	for _, l := range p.lines {
		if !l.known && !l.sending && !now.Before(l.resumeAt) && (l.frozen != nil || len(l.queue) > 0) {
			need = append(need, l)
		}
	}
	if len(need) == 0 {
		return
	}
	p.looking = true
	background.Go(func() {
		p.look(ctx, need)
		p.mu.Lock()
		p.looking = false
		p.mu.Unlock()
		p.poke()
	})
}

// look finds leaders, and asks the cluster once for each topic that has a line whose last
// try failed.
func (p *producer) look(ctx context.Context, need []*line) {
	asked := map[string]bool{}
	for _, l := range need {
		p.mu.Lock()
		anew, failures := l.failures > 0 && !asked[l.to.topic], l.failures
		was, acked := l.leader, l.acked
		p.mu.Unlock()
		leader, err := p.transport.leaderOf(ctx, l.to, anew)
		if err != nil && failures > 5 {
			if gone := p.transport.gone(ctx, l.to.topic); gone != nil {
				p.fail(gone)
			}
		}
		found := err == nil
		if found && acked != nil && leader.epoch != was.epoch {
			err = p.transport.holds(ctx, l.to, *acked)
		}
		p.mu.Lock()
		if err == nil {
			l.leader, l.known = leader, true
		} else {
			p.postpone(l)
		}
		p.mu.Unlock()
		asked[l.to.topic] = asked[l.to.topic] || anew && found
		if err != nil && (errors.Is(err, bridge.ErrDenied) || errors.Is(err, bridge.ErrGap)) {
			p.fail(err)
		}
	}
}

// postpone waits before a line is tried again: 10 ms at first, 2 s at most, with jitter.
func (p *producer) postpone(l *line) {
	d := min(10*time.Millisecond<<min(l.failures, 8), 2*time.Second)
	l.failures++
	l.resumeAt = time.Now().Add(d/2 + rand.N(d/2+1))
}

// freeze makes a batch of what waits in line.
func (p *producer) freeze(l *line) {
	f := &frozen{batch: &sarama.RecordBatch{
		Version: 2, Codec: p.codec, ProducerID: p.id, ProducerEpoch: p.epoch, FirstSequence: l.sequence,
	}}
	b, size := f.batch, batchOverhead
	for _, pc := range l.queue {
		from := pc.next
		for pc.next < len(pc.entries) && len(b.Records) < cmpInt(l.most, 1<<20) {
			e := &pc.entries[pc.next]
			if len(b.Records) == 0 {
				b.FirstTimestamp = baseOf(e.time)
				b.MaxTimestamp = b.FirstTimestamp
			}
			var fits bool
			e.OffsetDelta = int64(len(b.Records))
			e.TimestampDelta, fits = deltaOf(e.time, b.FirstTimestamp)
			n := recordSize(&e.Record)
			if (size+n > l.limit || !fits) && len(b.Records) > 0 {
				break
			}
			size += n
			if at := baseOf(e.time); at.After(b.MaxTimestamp) {
				b.MaxTimestamp = at
			}
			b.Records = append(b.Records, &e.Record)
			pc.next++
		}
		if pc.next > from {
			f.parts = append(f.parts, part{pc, from, pc.next})
		}
		if pc.next < len(pc.entries) {
			break
		}
	}
	b.LastOffsetDelta, f.size = int32(len(b.Records)-1), size
	l.queue = slices.DeleteFunc(l.queue, func(pc *piece) bool { return pc.next == len(pc.entries) })
	l.frozen = f
}

func cmpInt(n, otherwise int) int {
	if n > 0 {
		return n
	}
	return otherwise
}

// round sends one request with the batches of lines and deals with the answer.
func (p *producer) round(ctx context.Context, broker int32, lines []*line) {
	defer func() {
		p.mu.Lock()
		delete(p.busy, broker)
		p.mu.Unlock()
	}()
	for len(lines) > 0 {
		n, size := 0, 0
		for n < len(lines) && (n == 0 || size+lines[n].frozen.size <= maxRequestBytes) {
			size += lines[n].frozen.size
			n++
		}
		p.exchange(ctx, broker, lines[:n])
		lines = lines[n:]
	}
}

func (p *producer) exchange(ctx context.Context, broker int32, lines []*line) {
	batches := make([]addressed, len(lines))
	for i, l := range lines {
		batches[i] = addressed{l.to, l.frozen.batch}
	}
	// The last look before anything leaves this process: one that stood still for longer
	// than its session may have lost its task.
	if err := p.watch.Alive(); err != nil {
		p.fail(err)
		return
	}
	answer, err := p.transport.send(ctx, broker, batches)
	if unencodable(err) && len(lines) > 1 {
		// Nothing was sent. Each batch by itself tells which one it is.
		for _, l := range lines {
			p.exchange(ctx, broker, []*line{l})
		}
		return
	}
	for _, l := range lines {
		code := sarama.ErrNoError
		offset := int64(-1)
		if err == nil {
			block := answer.GetBlock(l.to.topic, l.to.n)
			if block == nil {
				code = sarama.ErrNetworkException // the answer is cut: ask again
			} else {
				code, offset = block.Err, block.Offset
			}
		}
		p.answered(ctx, l, offset, code, err)
	}
}

// answered deals with what the broker said of one batch.
func (p *producer) answered(ctx context.Context, l *line, offset int64, code sarama.KError, err error) {
	var gone error
	if err == nil && code == sarama.ErrUnknownTopicOrPartition && l.failures > 5 {
		gone = p.transport.gone(ctx, l.to.topic)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	l.sending = false
	if err == nil && code == sarama.ErrNoError {
		p.appended(l, offset)
		return
	}
	verdict := p.judge(l, code, err)
	if gone != nil {
		verdict = gone
	}
	switch {
	case verdict == nil: // sent again as it is, by a new leader perhaps
		l.known = false
		p.postpone(l)
	case errors.Is(verdict, errShrink):
		p.thaw(l)
	case errors.Is(verdict, bridge.ErrOversize) || errors.Is(verdict, bridge.ErrUnmappable):
		p.refuse(l, verdict)
	case p.fatal == nil:
		p.fatal = fmt.Errorf("append to %s partition %d: %w", l.to.topic, l.to.n, verdict)
		close(p.dead)
	}
}

// errShrink says that a batch was refused, certainly not appended, and may pass in parts.
var errShrink = errors.New("batch refused as a whole")

// judge returns nil if the batch must be sent again.
func (p *producer) judge(l *line, code sarama.KError, err error) error {
	if unencodable(err) {
		return p.whole(l, fmt.Errorf("the record cannot be encoded: %w: %w", err, bridge.ErrUnmappable))
	}
	if err != nil {
		if errors.Is(err, bridge.ErrDenied) || errors.Is(err, bridge.ErrFenced) {
			return err
		}
		return nil
	}
	whole := fmt.Errorf("%s: %w", code.Error(), bridge.ErrUnmappable)
	switch code {
	case sarama.ErrMessageSizeTooLarge, sarama.ErrMessageSetSizeTooLarge:
		whole = classify(code)
	case sarama.ErrInvalidRecord, sarama.ErrInvalidTimestamp, sarama.ErrUnsupportedForMessageFormat:
	case sarama.ErrOutOfOrderSequenceNumber, sarama.ErrUnknownProducerID, sarama.ErrInvalidProducerIDMapping, sarama.ErrDuplicateSequenceNumber:
		return fmt.Errorf("%w (%s)", errLostTrack, code.Error())
	default:
		if e := classify(code); !errors.Is(e, bridge.ErrMissing) && !bridge.Retryable(e) {
			return e
		}
		return nil
	}
	return p.whole(l, whole)
}

// whole is what became of a batch that was certainly not appended: its one record is
// refused with err, or it is sent in parts.
func (p *producer) whole(l *line, err error) error {
	if len(l.frozen.batch.Records) > 1 {
		return errShrink
	}
	return err
}

// appended gives the entries of the batch their offsets and lets the next batch go.
func (p *producer) appended(l *line, base int64) {
	n := int64(0)
	for _, pt := range l.frozen.parts {
		for i := pt.from; i < pt.to; i++ {
			pt.offsets[i] = base + n
			n++
		}
		pt.settle(pt.to - pt.from)
	}
	b := l.frozen.batch
	l.acked = &mark{Base: base, Producer: b.ProducerID, Epoch: b.ProducerEpoch, Sequence: b.FirstSequence, Leader: l.leader.epoch}
	l.sequence = nextSequence(l.sequence, len(b.Records))
	l.frozen, l.failures, l.most, l.resumeAt = nil, 0, 0, time.Time{}
}

// nextSequence counts modulo 2^31, as brokers do.
func nextSequence(first int32, n int) int32 {
	return int32((int64(first) + int64(n)) & (1<<31 - 1))
}

// thaw puts a batch that was refused back in line, to be sent in halves.
func (p *producer) thaw(l *line) {
	var back []*piece
	for _, pt := range l.frozen.parts {
		pt.next = pt.from
		back = append(back, pt.piece)
	}
	back = append(back, slices.DeleteFunc(l.queue, func(pc *piece) bool { return slices.Contains(back, pc) })...)
	l.most = max(len(l.frozen.batch.Records)/2, 1)
	l.queue, l.frozen = back, nil
}

// refuse gives up the one record of a batch, and with it the rest of its piece, which
// must not overtake it.
func (p *producer) refuse(l *line, err error) {
	pt := l.frozen.parts[0]
	pt.err, pt.refused = err, pt.from
	for i := pt.from; i < len(pt.entries); i++ {
		pt.offsets[i] = -1
	}
	l.queue = slices.DeleteFunc(l.queue, func(pc *piece) bool { return pc == pt.piece })
	l.frozen, l.failures, l.most = nil, 0, 0
	pt.settle(len(pt.entries) - pt.from)
}

func (pc *piece) settle(n int) {
	pc.left -= n
	if pc.left == 0 {
		close(pc.done)
	}
}

// recordSize is the exact size of a record in a batch of version 2, uncompressed.
func recordSize(r *sarama.Record) int {
	n := 1 + varint(int64(r.TimestampDelta/time.Millisecond)) + varint(r.OffsetDelta) +
		lenBytes(r.Key) + lenBytes(r.Value) + varint(int64(len(r.Headers)))
	for _, h := range r.Headers {
		n += lenBytes(h.Key) + lenBytes(h.Value)
	}
	return n + varint(int64(n))
}

func lenBytes(b []byte) int {
	if b == nil {
		return 1
	}
	return varint(int64(len(b))) + len(b)
}

// varint is the length of n in zigzag form.
func varint(n int64) int {
	u, size := uint64(n<<1)^uint64(n>>63), 1
	for ; u >= 0x80; u >>= 7 {
		size++
	}
	return size
}
