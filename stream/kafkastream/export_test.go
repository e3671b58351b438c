package kafkastream

import (
	"context"
	"iter"
	"log/slog"
	"slices"
	"time"

	"github.com/IBM/sarama"

	"github.com/kinesis-msk-bridge/bridge"
)

// What the tests of this package see of its inside.

type (
	FetchedRecord = fetchedRecord
	ScanMode      = scanMode
	Fate          = fate
)

const (
	ScanAll       = scanAll
	ScanCommitted = scanCommitted
	Committed     = committed
	Undecided     = undecided
)

func (c *Client) Scan(ctx context.Context, topic string, partition int32, from, to int64, mode ScanMode) iter.Seq2[FetchedRecord, error] {
	return c.scan(ctx, topic, partition, from, to, mode)
}

func (c *Client) Offsets(ctx context.Context, topic string, partition int32) (first, highWatermark, lastStable int64, err error) {
	return c.offsets(ctx, topic, partition)
}

func (c *Client) ProduceBroker(ctx context.Context, id int32) (*sarama.Broker, error) {
	return c.produceBroker(ctx, id)
}

func (c *Client) DropProduceBroker(id int32, b *sarama.Broker) { c.dropProduceBroker(id, b) }

func (c *Client) Leader(ctx context.Context, topic string, partition int32) (*sarama.Broker, error) {
	return c.leader(ctx, topic, partition)
}

func (c *Client) Sarama() sarama.Client { return c.cl }

func Classify(err error) error { return classify(err) }

func EmptyUpTo(b *sarama.FetchResponseBlock) int64 { return emptyUpTo(b) }

// IAMTokens is the token provider that Dial would give to sarama.
func IAMTokens(ctx context.Context, s SASL) (sarama.AccessTokenProvider, error) {
	conf := sarama.NewConfig()
	conf.Net.TLS.Enable = true
	err := s.apply(ctx, conf)
	return conf.Net.SASL.TokenProvider, err
}

// Records is what a Read makes of the batches in an answer.
func Records(block *sarama.FetchResponseBlock, stamp *bridge.Stamp) func() []bridge.Record {
	f := unpack(block, 0, sarama.ReadCommitted)
	r := &reader{source: &Source{stamp: stamp}, partition: "0", cursor: &cursor{next: f.next}}
	return func() []bridge.Record { return r.records(f.batches, 0) }
}

// AppendFrom appends values to partition 0 of a topic, three a batch, in the name of a
// producer id without history, beginning with a sequence number.
func AppendFrom(ctx context.Context, c *Client, topic string, sequence int32, values []string) error {
	id, epoch, err := (&Session{client: c, log: slog.New(slog.DiscardHandler)}).initPlain(ctx)
	if err != nil {
		return err
	}
	return AppendAs(ctx, c, topic, id, epoch, sequence, values)
}

// AppendAs is AppendFrom in the name of a given producer.
func AppendAs(ctx context.Context, c *Client, topic string, id int64, epoch int16, sequence int32, values []string) error {
	p := newProducer(wire{c}, id, epoch)
	to := partitionID{topic, 0}
	p.lineTo(to).sequence = sequence
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- p.run(ctx) }()
	for batch := range slices.Chunk(values, 3) {
		var entries []entry
		for _, v := range batch {
			entries = append(entries, entry{Record: sarama.Record{Value: []byte(v)}, time: time.UnixMilli(1)})
		}
		pc := newPiece(to, entries)
		if err := p.append(ctx, pc); err != nil {
			return err
		}
		if pc.err != nil {
			return pc.err
		}
	}
	stop()
	return <-ended
}

// Misremember makes a session believe that the last batch which a topic acknowledged was
// another one, as if the cluster had lost that since.
func (s *Session) Misremember(topic string) {
	s.producer.mu.Lock()
	defer s.producer.mu.Unlock()
	for to, l := range s.producer.lines {
		if to.topic == topic && l.acked != nil {
			m := *l.acked
			m.Sequence, m.Leader = m.Sequence+7, m.Leader-1
			l.acked = &m
		}
	}
}
