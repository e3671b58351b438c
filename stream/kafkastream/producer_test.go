package kafkastream

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/IBM/sarama"

	"github.com/kinesis-msk-bridge/bridge"
)

// A model is a cluster as a producer sees it: leaders that move, answers that are lost,
// requests that arrive late, and the broker's own check of sequence numbers.
type model struct {
	mu       sync.Mutex
	rng      *rand.Rand
	brokers  int32
	leader   map[partitionID]int32
	logs     map[partitionID]*modelLog
	max      int // bytes of a batch
	poison   string
	largest  int // bytes of one request
	met      map[string]int
	fencedBy int16
}

type modelLog struct {
	values []string
	next   int32        // sequence number
	epoch  int32        // of the leader
	last   []modelBatch // at most five
}

type modelBatch struct {
	sequence int32
	n        int
	offset   int64
}

func (m *model) log(to partitionID) *modelLog {
	l := m.logs[to]
	if l == nil {
		l = &modelLog{next: 1<<31 - 3}
		m.logs[to] = l
	}
	return l
}

func (m *model) leaderOf(_ context.Context, to partitionID, anew bool) (led, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if anew && m.rng.IntN(5) == 0 {
		m.met["no leader"]++
		return led{}, bridge.ErrTransient
	}
	for n := range int32(4) { // one answer tells of all partitions
		if at := (partitionID{to.topic, n}); anew || m.leader[at] == 0 {
			m.leader[at] = 1 + m.rng.Int32N(m.brokers)
			m.log(at).epoch++
		}
	}
	return led{m.leader[to], m.log(to).epoch}, nil
}

// holds finds the batch among the last ones, which are all that can be asked for here.
func (m *model) holds(_ context.Context, to partitionID, acked mark) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.met["proved"]++
	for _, b := range m.log(to).last {
		if b.offset == acked.Base && b.sequence == acked.Sequence {
			return nil
		}
	}
	return &bridge.GapError{Stream: to.topic, After: bridge.OffsetPosition(acked.Base - 1), Before: bridge.OffsetPosition(acked.Base + 1), Reason: "lost"}
}

func (m *model) gone(context.Context, string) error { return nil }

// send carries a request out, or does not, and answers, or does not.
func (m *model) send(ctx context.Context, broker int32, sent []addressed) (*sarama.ProduceResponse, error) {
	batches := asSent(sent)
	wait := time.NewTimer(time.Duration(m.draw(20)) * time.Millisecond)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	bytes := 0
	for _, b := range batches {
		bytes += b.bytes()
	}
	m.largest = max(m.largest, bytes)
	switch m.rng.IntN(8) {
	case 0:
		m.met["cut before"]++
		return nil, bridge.ErrTransient
	case 1:
		m.met["answer lost"]++
		m.carryOut(broker, batches)
		return nil, bridge.ErrTransient
	case 2:
		m.met["arrives late"]++
		time.AfterFunc(time.Duration(m.rng.IntN(3000))*time.Millisecond, func() {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.carryOut(broker, batches)
		})
		return nil, bridge.ErrTransient
	}
	return m.carryOut(broker, batches), nil
}

func (m *model) draw(n int) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.rng.IntN(n)
}

// A sentBatch is one batch of a request, as it was when it was sent.
type sentBatch struct {
	to       partitionID
	epoch    int16
	sequence int32
	values   []string
}

func (b sentBatch) bytes() (n int) {
	for _, v := range b.values {
		n += len(v)
	}
	return n
}

func asSent(batches []addressed) (out []sentBatch) {
	for _, a := range batches {
		s := sentBatch{to: a.to, epoch: a.batch.ProducerEpoch, sequence: a.batch.FirstSequence}
		for _, rec := range a.batch.Records {
			s.values = append(s.values, string(rec.Value))
		}
		out = append(out, s)
	}
	return out
}

func (m *model) carryOut(broker int32, batches []sentBatch) *sarama.ProduceResponse {
	answer := &sarama.ProduceResponse{Blocks: map[string]map[int32]*sarama.ProduceResponseBlock{}}
	for _, b := range batches {
		if answer.Blocks[b.to.topic] == nil {
			answer.Blocks[b.to.topic] = map[int32]*sarama.ProduceResponseBlock{}
		}
		code, offset := m.append(broker, b)
		answer.Blocks[b.to.topic][b.to.n] = &sarama.ProduceResponseBlock{Err: code, Offset: offset}
	}
	return answer
}

// append is what a leader does with one batch.
func (m *model) append(broker int32, b sentBatch) (sarama.KError, int64) {
	l := m.log(b.to)
	if m.rng.IntN(12) == 0 {
		m.met["moved"]++
		m.leader[b.to] = 0
	}
	switch {
	case m.leader[b.to] != broker:
		return sarama.ErrNotLeaderForPartition, -1
	case b.epoch < m.fencedBy:
		return sarama.ErrInvalidProducerEpoch, -1
	case b.bytes() > m.max:
		m.met["too large"]++
		return sarama.ErrMessageSizeTooLarge, -1
	case slices.Contains(b.values, m.poison):
		m.met["poison"]++
		return sarama.ErrInvalidRecord, -1
	}
	for _, was := range l.last {
		if was.sequence == b.sequence && was.n == len(b.values) {
			m.met["duplicate"]++
			return sarama.ErrNoError, was.offset
		}
	}
	if b.sequence != l.next {
		m.met["old copy"]++ // nobody waits for it, or the producer would have ended
		return sarama.ErrOutOfOrderSequenceNumber, -1
	}
	offset := int64(len(l.values))
	l.values = append(l.values, b.values...)
	l.next = int32((int64(l.next) + int64(len(b.values))) % (1 << 31))
	l.last = append(l.last, modelBatch{b.sequence, len(b.values), offset})
	l.last = l.last[max(0, len(l.last)-5):]
	return sarama.ErrNoError, offset
}

// Callers append at the same time through everything that a cluster does to them. Each
// record stands once, in its caller's order, where its ack says; one that cannot be
// appended is named alone, and holds back only what its caller gave behind it.
func TestProducerAgainstAModelOfBrokers(t *testing.T) {
	met := map[string]int{}
	records, seeds := 0, uint64(60)
	if p, err := strconv.Atoi(os.Getenv("RUNS")); err == nil {
		seeds = max(seeds, uint64(1000*p/100))
	}
	for seed := range seeds {
		synctest.Test(t, func(t *testing.T) { records += modelled(t, seed, met) })
		if t.Failed() {
			return
		}
	}
	t.Logf("seeds 0..%d: %d records; met %v; lost 0, doubled 0, reordered 0", seeds-1, records, met)
	for _, what := range []string{"cut before", "answer lost", "arrives late", "duplicate", "moved", "no leader", "proved", "too large", "poison"} {
		if met[what] == 0 {
			t.Errorf("not exercised: %s", what)
		}
	}
}

const tooLarge = "this record is larger than anything that the brokers of the model take, which is less than a hundred bytes"

func modelled(t *testing.T, seed uint64, met map[string]int) int {
	m := &model{
		rng: rand.New(rand.NewPCG(seed, 0)), brokers: 3, met: met, max: 90, poison: "poison",
		leader: map[partitionID]int32{}, logs: map[partitionID]*modelLog{},
	}
	p := newProducer(m, 1, 0)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	for n := range int32(4) {
		p.lineTo(partitionID{"t", n}).sequence = 1<<31 - 3 // it wraps on the way
		p.setLimit(partitionID{"t", n}, 100+int(seed%3)*200)
	}
	go func() { ended <- p.run(ctx) }()
	var callers sync.WaitGroup
	var mu sync.Mutex
	records := 0
	for caller := range 5 {
		rng := rand.New(rand.NewPCG(seed, uint64(caller)+1))
		callers.Go(func() {
			for call := range 12 {
				n := callOnce(t, ctx, p, m, rng, fmt.Sprintf("%d/%d", caller, call))
				mu.Lock()
				records += n
				mu.Unlock()
			}
		})
	}
	callers.Wait()
	stop()
	if err := <-ended; err != nil {
		t.Errorf("seed %d: the producer ended with %v", seed, err)
	}
	expectOrder(t, seed, m, records)
	return records
}

// callOnce appends one piece to each of some partitions and checks the fate of each entry.
func callOnce(t *testing.T, ctx context.Context, p *producer, m *model, rng *rand.Rand, name string) (appended int) {
	var pieces []*piece
	for _, n := range rng.Perm(4)[:1+rng.IntN(3)] {
		var entries []entry
		for i := range 1 + rng.IntN(9) {
			value := fmt.Sprintf("%s/%d/%03d", name, n, i)
			switch rng.IntN(60) {
			case 0:
				value = "poison"
			case 1:
				value = tooLarge
			}
			entries = append(entries, entry{Record: sarama.Record{Value: []byte(value)}, time: time.UnixMilli(int64(rng.IntN(1000)))})
		}
		pieces = append(pieces, newPiece(partitionID{"t", int32(n)}, entries))
	}
	if err := p.append(ctx, pieces...); err != nil {
		t.Errorf("%s: %v", name, err)
		return 0
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, pc := range pieces {
		appended += checkFates(t, name, pc, m.log(pc.to).values)
	}
	return appended
}

func checkFates(t *testing.T, name string, pc *piece, log []string) (appended int) {
	bad := slices.IndexFunc(pc.entries, func(e entry) bool { return string(e.Value) == "poison" || string(e.Value) == tooLarge })
	for i, e := range pc.entries {
		value, offset := string(e.Value), pc.offsets[i]
		switch held := bad >= 0 && i >= bad; {
		case held && offset != -1:
			t.Errorf("%s: %q is at %d, behind one that was refused", name, value, offset)
		case held:
		case offset < 0 || log[offset] != value:
			t.Errorf("%s: %q is not at %d", name, value, offset)
		default:
			appended++
		}
	}
	if bad < 0 {
		return appended
	}
	want := bridge.ErrUnmappable
	if string(pc.entries[bad].Value) == tooLarge {
		want = bridge.ErrOversize
	}
	if pc.refused != bad || !errors.Is(pc.err, want) {
		t.Errorf("%s: refused entry %d with %v, want %d with %v", name, pc.refused, pc.err, bad, want)
	}
	return appended
}

// expectOrder: everything once, and what one caller gave to one partition in its order.
func expectOrder(t *testing.T, seed uint64, m *model, records int) {
	total := 0
	for to, l := range m.logs {
		last := map[string]string{}
		seen := map[string]bool{}
		for _, v := range l.values {
			caller := v[:1]
			if seen[v] {
				t.Errorf("seed %d: %q stands twice in %v", seed, v, to)
			}
			if len(v) == len(last[caller]) && v < last[caller] {
				t.Errorf("seed %d: %q stands behind %q in %v", seed, v, last[caller], to)
			}
			seen[v], last[caller] = true, v
			total++
		}
	}
	if total != records {
		t.Errorf("seed %d: %d records in the logs, %d acknowledged", seed, total, records)
	}
}

// Nobody answers who leads one partition: the others are written all the same.
func TestSilentBrokerStallsItsOwnPartitionsOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &silent{model: model{
			rng: rand.New(rand.NewPCG(1, 0)), brokers: 1, met: map[string]int{}, max: 1000, poison: "poison",
			leader: map[partitionID]int32{}, logs: map[partitionID]*modelLog{},
		}, about: partitionID{"t", 3}}
		p := newProducer(m, 1, 0)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		for n := range int32(4) {
			p.lineTo(partitionID{"t", n}).sequence = 1<<31 - 3
		}
		go func() { ended <- p.run(ctx) }()
		value := func(n int32) *piece {
			return newPiece(partitionID{"t", n}, []entry{{Record: sarama.Record{Value: []byte("v")}, time: time.UnixMilli(1)}})
		}
		for n := range int32(3) {
			if err := p.append(ctx, value(n)); err != nil { // their leaders are known now
				t.Fatal(err)
			}
		}
		stuck := make(chan error, 1)
		go func() { stuck <- p.append(ctx, value(3)) }()
		synctest.Wait()
		began := time.Now()
		for n := range int32(3) {
			if err := p.append(ctx, value(n)); err != nil {
				t.Fatal(err)
			}
		}
		if d := time.Since(began); d > 30*time.Second {
			t.Errorf("the other partitions waited for %s", d)
		}
		if err := <-stuck; err != nil || time.Since(began) < time.Hour {
			t.Errorf("not exercised: the silent partition was written after %s, %v", time.Since(began), err)
		}
		stop()
		<-ended
	})
}

// A silent cluster says only after an hour who leads one partition.
type silent struct {
	model
	about partitionID
}

func (s *silent) leaderOf(ctx context.Context, to partitionID, _ bool) (led, error) {
	if to == s.about {
		<-time.After(time.Hour) // of fake time
	}
	return s.model.leaderOf(ctx, to, false)
}

// A leader of another epoch that has lost an acknowledged batch, and has not even heard of
// the producer, is sent nothing more.
func TestProducerFindsACutLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &model{
			rng: rand.New(rand.NewPCG(1, 0)), brokers: 1, met: map[string]int{}, max: 1000, poison: "poison",
			leader: map[partitionID]int32{}, logs: map[partitionID]*modelLog{},
		}
		to := partitionID{"t", 0}
		p := newProducer(m, 1, 0)
		p.lineTo(to).sequence = 1<<31 - 3
		ended := make(chan error, 1)
		go func() { ended <- p.run(t.Context()) }()
		value := func(v string) *piece {
			return newPiece(to, []entry{{Record: sarama.Record{Value: []byte(v)}, time: time.UnixMilli(1)}})
		}
		for range 5 {
			if err := p.append(t.Context(), value("kept")); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait() // the producer is idle, and its lines are nobody's
		m.mu.Lock()
		l := m.log(to)
		l.values, l.last, l.next = l.values[:3], l.last[:3], p.lineTo(to).sequence
		m.leader[to] = 0
		l.epoch++
		m.mu.Unlock()
		err := p.append(t.Context(), value("new"))
		if !errors.Is(err, bridge.ErrGap) || !errors.Is(<-ended, bridge.ErrGap) || len(l.values) != 3 {
			t.Errorf("append to a log that was cut back: %v, %d records there; want a gap and 3", err, len(l.values))
		}
	})
}

// A broker that has seen a newer epoch ends the producer for good, and one whose memory
// of it is gone ends it with another class: only a look at the target can tell.
func TestProducerEnds(t *testing.T) {
	to := partitionID{"t", 0}
	for _, c := range []struct {
		name  string
		spoil func(*model)
		want  error
	}{
		{"fenced", func(m *model) { m.fencedBy = 1 }, bridge.ErrFenced},
		{"forgotten", func(m *model) { m.log(to).next = 7 }, bridge.ErrLostTrack},
	} {
		synctest.Test(t, func(t *testing.T) {
			m := &model{
				rng: rand.New(rand.NewPCG(1, 0)), brokers: 1, met: map[string]int{}, max: 1000, poison: "poison",
				leader: map[partitionID]int32{}, logs: map[partitionID]*modelLog{},
			}
			c.spoil(m)
			p := newProducer(m, 1, 0)
			ended := make(chan error, 1)
			go func() { ended <- p.run(t.Context()) }()
			pc := newPiece(to, []entry{{Record: sarama.Record{Value: []byte("v")}, time: time.UnixMilli(1)}})
			err := p.append(t.Context(), pc)
			again := p.append(t.Context(), newPiece(to, pc.entries))
			if !errors.Is(err, c.want) || !errors.Is(again, c.want) || !errors.Is(<-ended, c.want) || bridge.Retryable(err) {
				t.Errorf("%s: %v, then %v; want %v, final", c.name, err, again, c.want)
			}
		})
	}
}

// Records that each fill a batch do not all go into one request: brokers refuse one above
// 100 MiB, and the client does not even encode it.
func TestRequestsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &model{
			rng: rand.New(rand.NewPCG(1, 0)), brokers: 1, met: map[string]int{}, max: 11 << 20, poison: "poison",
			leader: map[partitionID]int32{}, logs: map[partitionID]*modelLog{},
		}
		p := newProducer(m, 1, 0)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		large := make([]byte, 10<<20)
		var pieces []*piece
		for n := range int32(24) {
			p.lineTo(partitionID{"t", n}).sequence = 1<<31 - 3
			pieces = append(pieces, newPiece(partitionID{"t", n}, []entry{{Record: sarama.Record{Value: large}, time: time.UnixMilli(1)}}))
		}
		go func() { ended <- p.run(ctx) }()
		if err := p.append(ctx, pieces...); err != nil {
			t.Fatal(err)
		}
		stop()
		<-ended
		if m.largest > maxRequestBytes {
			t.Errorf("one request carried %d bytes, want at most %d", m.largest, maxRequestBytes)
		}
	})
}

// A process that stood still for longer than its session sends nothing when it goes on,
// neither what it is given then nor what it had frozen before.
func TestStoppedProcessSendsNothing(t *testing.T) {
	for _, frozen := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			m := &model{
				rng: rand.New(rand.NewPCG(1, 0)), brokers: 1, met: map[string]int{}, max: 1000, poison: "poison",
				leader: map[partitionID]int32{}, logs: map[partitionID]*modelLog{},
			}
			to := partitionID{"t", 0}
			p := newProducer(m, 1, 0)
			p.lineTo(to).sequence = 1<<31 - 3
			p.watch = bridge.NewWatch(time.Minute)
			ended := make(chan error, 1)
			value := func(v string) *piece {
				return newPiece(to, []entry{{Record: sarama.Record{Value: []byte(v)}, time: time.UnixMilli(1)}})
			}
			if frozen {
				p.mu.Lock()
				l := p.lineTo(to)
				l.queue = append(l.queue, value("frozen"))
				p.freeze(l)
				p.mu.Unlock()
			}
			<-time.After(2 * time.Minute) // of fake time: nothing ran meanwhile
			ctx, stop := context.WithCancel(t.Context())
			go func() { ended <- p.run(ctx) }()
			if err := p.append(ctx, value("late")); !errors.Is(err, bridge.ErrFenced) {
				t.Errorf("frozen %v: append: %v, want ErrFenced", frozen, err)
			}
			stop()
			if err := <-ended; !errors.Is(err, bridge.ErrFenced) || len(m.log(to).values) > 0 {
				t.Errorf("frozen %v: the producer ended with %v, and the log holds %v", frozen, err, m.log(to).values)
			}
		})
	}
}
