package kafkastream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"

	"github.com/IBM/sarama"

	"github.com/kinesis-msk-bridge/bridge"
)

// A link is one connection of its own to one broker. sarama holds a broker's lock while it
// waits for an answer, so what may wait long, as a fetch does, cannot share one.
type link struct {
	addr   string
	client *Client
	broker *sarama.Broker
	cancel context.CancelFunc

	mu   sync.Mutex
	conn net.Conn
	dead bool
}

// connect opens a link and returns once it is authenticated. Many TLS failures show only
// with the first request.
func (c *Client) connect(ctx context.Context, addr string) (*link, error) {
	return c.connectFor(ctx, addr, protocolVersion)
}

// connectFor opens a link for requests that protocol knows. What the broker does not is
// refused with the request.
func (c *Client) connectFor(ctx context.Context, addr string, protocol sarama.KafkaVersion) (*link, error) {
	life, cancel := c.lifetime()
	l := &link{addr: addr, client: c, cancel: cancel, broker: sarama.NewBroker(addr)}
	conf := *c.conf
	conf.Version = protocol
	conf.Net.Proxy.Dialer = dialFunc(func(network, addr string) (net.Conn, error) {
		conn, err := c.connection(life, conf.Net.DialTimeout, network, addr)
		if err != nil {
			return nil, err
		}
		return conn, l.hold(conn)
	})
	err := l.do(ctx, func() error {
		if err := l.broker.Open(&conf); err != nil {
			return err
		}
		ok, err := l.broker.Connected()
		if err == nil && !ok {
			err = sarama.ErrNotConnected
		}
		return err
	})
	if err != nil {
		l.close()
		return nil, fmt.Errorf("connect to broker %s: %w", addr, err)
	}
	return l, nil
}

// hold remembers the connection, so that it can be cut while sarama waits on it.
func (l *link) hold(conn net.Conn) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead {
		_ = conn.Close()
		return net.ErrClosed
	}
	l.conn = conn
	return nil
}

// do runs one exchange; if ctx ends first it cuts the link, which is then of no more use.
func (l *link) do(ctx context.Context, exchange func() error) error {
	stop := context.AfterFunc(ctx, l.cut)
	err := exchange()
	stop()
	if cause := ctx.Err(); cause != nil {
		l.cut()
		return cause
	}
	return l.client.classify(err)
}

func (l *link) cut() {
	l.cancel()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dead = true
	if l.conn != nil {
		_ = l.conn.Close()
	}
}

// alive reports whether the link may be used again.
func (l *link) alive() bool {
	l.mu.Lock()
	dead := l.dead
	l.mu.Unlock()
	return !dead
}

// close cuts the link and waits until sarama has noticed. A nil link is closed.
func (l *link) close() {
	if l == nil {
		return
	}
	l.cut()
	_ = l.broker.Close() // says only that it was closed already
}

// ask has any one broker answer. It tries each address that it knows once, and tells of
// the last that did not answer.
func (c *Client) ask(ctx context.Context, exchange func(*sarama.Broker) error) error {
	c.mu.Lock()
	l := c.asked
	c.mu.Unlock()
	if l != nil && l.alive() {
		err := l.do(ctx, func() error { return exchange(l.broker) })
		if !broken(err) {
			return err
		}
		l.close()
	}
	var last error
	for _, addr := range c.addresses() {
		l, err := c.connect(ctx, addr)
		if err == nil {
			err = l.do(ctx, func() error { return exchange(l.broker) })
			if !broken(err) {
				c.keepAsked(l)
				return err
			}
			l.close()
		}
		if last = moreTelling(last, err); ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return last
}

func (c *Client) keepAsked(l *link) {
	c.mu.Lock()
	old := c.asked
	c.asked = l
	closed := c.closed
	c.mu.Unlock()
	if old != l {
		old.close()
	}
	if closed {
		l.close()
	}
}

// addresses are those of the brokers known by now, then those of the configuration.
func (c *Client) addresses() []string {
	var all []string
	if c.cl != nil {
		for _, b := range c.cl.Brokers() {
			all = append(all, b.Addr())
		}
	}
	for _, addr := range c.brokers {
		if !slices.Contains(all, addr) {
			all = append(all, addr)
		}
	}
	return all
}

// broken reports whether err says that the connection failed, rather than that a broker
// answered with an error.
func broken(err error) bool {
	_, answered := kerror(err)
	return err != nil && !answered && !errors.Is(err, bridge.ErrRefused)
}

// moreTelling prefers, of what several brokers said, that somebody refused over that
// nobody answered.
func moreTelling(a, b error) error {
	if a != nil && errors.Is(a, bridge.ErrDenied) {
		return a
	}
	return b
}

// produceBroker is a connection to broker id that carries produce requests only: behind a
// fetch that waits for data they would wait as long. Whoever meets an error on it calls
// dropProduceBroker, so that the next call connects anew.
func (c *Client) produceBroker(ctx context.Context, id int32) (*sarama.Broker, error) {
	c.mu.Lock()
	l := c.produce[id]
	c.mu.Unlock()
	if l != nil && l.alive() {
		return l.broker, nil
	}
	addr, err := c.brokerAddr(ctx, id)
	if err != nil {
		return nil, err
	}
	if l, err = c.connect(ctx, addr); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if other := c.produce[id]; other != nil && other.alive() || c.closed {
		c.calls.Go(l.close)
		if c.closed {
			return nil, fmt.Errorf("kafka client is closed: %w", bridge.ErrRefused)
		}
		return other.broker, nil
	}
	c.produce[id] = l
	return l.broker, nil
}

// dropProduceBroker closes what produceBroker returned. Requests under way on it end with
// an error. It must not be called from a callback of AsyncProduce.
func (c *Client) dropProduceBroker(id int32, b *sarama.Broker) {
	c.mu.Lock()
	l := c.produce[id]
	if l == nil || l.broker != b {
		c.mu.Unlock()
		return
	}
	delete(c.produce, id)
	c.mu.Unlock()
	l.close()
}

func (c *Client) brokerAddr(ctx context.Context, id int32) (string, error) {
	for _, b := range c.cl.Brokers() {
		if b.ID() == id {
			return b.Addr(), nil
		}
	}
	cluster, err := c.cluster(ctx)
	if err != nil {
		return "", fmt.Errorf("look for broker %d: %w", id, err)
	}
	for _, b := range cluster.Brokers {
		if b.BrokerID == id {
			return addrOf(b), nil
		}
	}
	return "", fmt.Errorf("broker %d is not in the cluster: %w", id, bridge.ErrTransient)
}

// cluster asks for the cluster's id and its brokers.
func (c *Client) cluster(ctx context.Context) (*sarama.DescribeClusterResponse, error) {
	var answer *sarama.DescribeClusterResponse
	err := c.ask(ctx, func(b *sarama.Broker) error {
		r, err := b.DescribeCluster(sarama.NewDescribeClusterRequest(protocolVersion))
		if errors.Is(err, sarama.ErrUnsupportedVersion) {
			return bridge.WithHint(fmt.Errorf("the brokers are older than Kafka 2.8 and give topics no id: %w", bridge.ErrRefused),
				"upgrade the cluster to 2.8 or later")
		}
		if err == nil && r.Err != sarama.ErrNoError {
			err = r.Err
		}
		answer = r
		return err
	})
	return answer, err
}
