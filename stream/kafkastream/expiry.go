package kafkastream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/IBM/sarama"

	"github.com/kinesis-msk-bridge/bridge"
)

// idExpiry is the broker setting after which a transactional id is forgotten that no
// transaction has used.
const idExpiry = "transactional.id.expiration.ms"

// refreshesPerExpiry is how many refreshes of the id must fit in, so that one that comes
// late or fails does no harm.
const refreshesPerExpiry = 3

// checkExpiry refuses a cluster that forgets transactional ids too soon: the next owner of
// a forgotten one gets another producer id, and its markers fence nobody. A cluster that
// does not tell is not refused.
func (s *Session) checkExpiry(ctx context.Context) error {
	least := refreshesPerExpiry * cmpOr(s.conf.RefreshEvery, defaultRefresh)
	expiry, err := s.client.expiryOfIDs(ctx)
	switch {
	case errors.Is(err, bridge.ErrDenied) || err == nil && expiry <= 0:
		s.log.Debug("the cluster does not say when it forgets transactional ids", "error", err)
		return nil
	case err != nil:
		return fmt.Errorf("read %s: %w", idExpiry, err)
	case expiry < least:
		err := fmt.Errorf("the cluster forgets transactional ids after %s, which is less than %s: %w", expiry, least, bridge.ErrRefused)
		return bridge.WithHint(err, fmt.Sprintf("set %s of the brokers to %d or more; an older worker could not be fenced otherwise", idExpiry, least.Milliseconds()))
	}
	return nil
}

// expiryOfIDs is 0 if the broker has no such setting. Each broker shows its own settings
// only; the first that answers is taken.
func (c *Client) expiryOfIDs(ctx context.Context) (time.Duration, error) {
	cluster, err := c.cluster(ctx)
	if err != nil {
		return 0, err
	}
	for _, b := range cluster.Brokers {
		var entries []*sarama.ConfigEntry
		if entries, err = c.brokerSettings(ctx, b, idExpiry); broken(err) && ctx.Err() == nil {
			continue
		}
		for _, e := range entries {
			if e.Name == idExpiry {
				ms, _ := strconv.ParseInt(e.Value, 10, 64) // 0 is not known
				return time.Duration(ms) * time.Millisecond, nil
			}
		}
		return 0, err
	}
	return 0, err
}

// brokerSettings asks a broker for some of its own settings.
func (c *Client) brokerSettings(ctx context.Context, b *sarama.DescribeClusterBroker, names ...string) ([]*sarama.ConfigEntry, error) {
	l, err := c.connect(ctx, addrOf(b))
	if err != nil {
		return nil, err
	}
	defer l.close()
	id := strconv.Itoa(int(b.BrokerID))
	var answer *sarama.DescribeConfigsResponse
	err = l.do(ctx, func() (err error) {
		answer, err = l.broker.DescribeConfigs(configsRequest(&sarama.ConfigResource{Type: sarama.BrokerResource, Name: id, ConfigNames: names}))
		return err
	})
	if err != nil {
		return nil, err
	}
	return entriesOf(answer, id)
}

// ExpiryOfIDs is after how long without a transaction the cluster forgets a transactional
// id; 0 if it does not say. It wraps ErrDenied if this principal may not ask.
func (c *Client) ExpiryOfIDs(ctx context.Context) (time.Duration, error) { return c.expiryOfIDs(ctx) }

// MayTransact asks whether this principal may use the transactional ids of a workflow. It
// does so with an id of its own, which fences nobody, and wraps ErrDenied if not.
func (c *Client) MayTransact(ctx context.Context, workflow string) error {
	s := &Session{client: c, txID: "bridge." + workflow + ".preflight", log: slog.New(slog.DiscardHandler)}
	_, _, err := s.initProducer(ctx, -1, -1)
	return err
}
