package kafkastream

import (
	"context"
	"errors"
	"fmt"

	"github.com/IBM/sarama"

	"github.com/kinesis-msk-bridge/bridge"
)

// A wire is the transport of a Client. Every failure ends the connection, so that what is
// sent again travels on a new one and can meet nothing old on it.
type wire struct{ client *Client }

func (w wire) leaderOf(ctx context.Context, to partitionID, anew bool) (led, error) {
	if anew {
		if err := w.client.refresh(ctx, to.topic); err != nil {
			return led{}, err
		}
	}
	b, epoch, err := w.client.leaderEpoch(ctx, to.topic, to.n)
	if err != nil {
		return led{}, err
	}
	return led{b.ID(), epoch}, nil
}

func (w wire) holds(ctx context.Context, to partitionID, m mark) error {
	return w.client.holds(ctx, to, m)
}

func (w wire) send(ctx context.Context, broker int32, batches []addressed) (*sarama.ProduceResponse, error) {
	r := &sarama.ProduceRequest{RequiredAcks: sarama.WaitForAll, Timeout: produceTimeout, Version: 7}
	for _, a := range batches {
		r.AddBatch(a.to.topic, a.to.n, a.batch)
	}
	b, err := w.client.produceBroker(ctx, broker)
	if err != nil {
		return nil, err
	}
	answer, err := await(ctx, w.client, func() (*sarama.ProduceResponse, error) { return b.Produce(r) })
	if err != nil {
		w.client.dropProduceBroker(broker, b)
		return nil, err
	}
	return answer, nil
}

func (w wire) gone(ctx context.Context, topic string) error {
	if _, err := w.client.lookup(ctx, topic); errors.Is(err, bridge.ErrMissing) {
		return bridge.WithHint(fmt.Errorf("topic %s was deleted while it was written: %w", topic, bridge.ErrChanged),
			"its records are gone with it: begin a new workflow")
	}
	return nil
}
