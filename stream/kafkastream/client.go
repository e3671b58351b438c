package kafkastream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/internal/awsapi"
)

// A Config says how to reach a cluster. Only Brokers is needed; the rest of the zero
// Config is a plaintext connection.
type Config struct {
	// Brokers are host:port addresses to begin with; the cluster names the others.
	Brokers []string
	// ClientID is what brokers log; "bridge" if empty.
	ClientID string
	// TLS, if not nil, is used for every connection. See NewTLS. It is not changed.
	TLS *tls.Config
	// SASL says how to authenticate; the zero SASL does not.
	SASL SASL
	// Dial opens a connection; a net.Dialer's if nil.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// ConnectTimeout bounds one attempt to connect, 10 s if zero.
	ConnectTimeout time.Duration
	// AnswerTimeout bounds the wait for one answer, 30 s if zero. It must be longer than
	// half a second, for which a broker may hold back a fetch that finds nothing.
	AnswerTimeout time.Duration
}

const (
	defaultClientID       = "bridge"
	defaultConnectTimeout = 10 * time.Second
	defaultAnswerTimeout  = 30 * time.Second
)

// protocolVersion is the newest protocol that is spoken; each broker is asked what it
// knows, and older ones are met half-way. It is the first that gives all requests of this
// package in the form that both Kafka 2.8 and Kafka 4 understand.
var protocolVersion = sarama.V3_6_0_0

// A Client is a connection to one cluster. It is safe for concurrent use.
type Client struct {
	conf      *sarama.Config
	cl        sarama.Client
	admin     sarama.ClusterAdmin
	brokers   []string
	clusterID string

	// lifetime begins a context that ends with the Client.
	lifetime func() (context.Context, context.CancelFunc)
	stop     context.CancelFunc
	dial     func(ctx context.Context, network, addr string) (net.Conn, error)
	calls    sync.WaitGroup
	grace    awsapi.Grace // of the credentials that the brokers accepted

	mu      sync.Mutex
	closed  bool
	conns   map[*trackedConn]struct{}
	asked   *link           // for requests that any broker can answer
	produce map[int32]*link // for produce requests, by broker
}

// Dial connects to the first of c.Brokers that answers. It wraps ErrUnreachable if none
// does, ErrDenied if TLS or authentication fails, and ErrRefused if the brokers are too
// old or c is wrong. The context bounds the call, not the Client.
func Dial(ctx context.Context, c Config) (*Client, error) {
	if len(c.Brokers) == 0 {
		return nil, fmt.Errorf("connect to kafka: no brokers given: %w", bridge.ErrRefused)
	}
	bound()
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	k := &Client{
		brokers:  slices.Clone(c.Brokers),
		stop:     stop,
		dial:     c.Dial,
		lifetime: func() (context.Context, context.CancelFunc) { return context.WithCancel(life) },
		conns:    map[*trackedConn]struct{}{},
		produce:  map[int32]*link{},
	}
	if k.dial == nil {
		k.dial = (&net.Dialer{}).DialContext
	}
	err := k.open(ctx, life, c)
	if err != nil {
		return nil, errors.Join(err, k.Close())
	}
	k.grace.Worked()
	return k, nil
}

// open makes the first connection by itself, so that what goes wrong there is told by the
// broker concerned and not as "out of brokers".
func (c *Client) open(ctx, life context.Context, config Config) error {
	var err error
	if c.conf, err = c.saramaConfig(life, config); err != nil {
		return err
	}
	cluster, err := c.cluster(ctx)
	if err != nil {
		return fmt.Errorf("connect to kafka: %w", atStart(err, config))
	}
	c.clusterID = cluster.ClusterID
	if c.cl, err = sarama.NewClient(c.brokers, c.conf); err != nil {
		return fmt.Errorf("connect to kafka: %w", classify(err))
	}
	return c.openAdmin(ctx)
}

// controllerTries is how often the controller is asked for. A broker that has just come
// up, or lost touch with its quorum, cannot name it.
const controllerTries = 8

// openAdmin makes the admin client, which must know the controller. sarama asks for that
// only together with some topic. Every cluster has heard of this one; whether it exists,
// or may be seen, does not matter.
func (c *Client) openAdmin(ctx context.Context) error {
	for n := 0; ; n++ {
		asked := c.refresh(ctx, "__consumer_offsets")
		admin, err := sarama.NewClusterAdminFromClient(c.cl)
		if err == nil {
			c.admin = admin
			return nil
		}
		unnamed := errors.Is(err, sarama.ErrNoTopicsToUpdateMetadata) || errors.Is(err, sarama.ErrControllerNotAvailable)
		if unnamed && asked != nil {
			err = asked
		}
		if !unnamed || n == controllerTries || pause(ctx, 10*time.Millisecond<<n) != nil {
			return fmt.Errorf("connect to kafka: ask for the controller: %w", classify(err))
		}
	}
}

// ClusterID is the cluster's own name for itself.
func (c *Client) ClusterID() string { return c.clusterID }

// Close ends all connections and everything that waits for them. It may be called twice.
func (c *Client) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	links := []*link{c.asked}
	for _, l := range c.produce {
		links = append(links, l)
	}
	conns := make([]*trackedConn, 0, len(c.conns))
	for conn := range c.conns {
		conns = append(conns, conn)
	}
	c.mu.Unlock()

	c.stop()
	for _, conn := range conns {
		_ = conn.Close() // what it has to say is of no use any more
	}
	for _, l := range links {
		l.close()
	}
	var err error
	if c.cl != nil {
		err = c.cl.Close()
	}
	c.calls.Wait()
	return err
}

func (c *Client) saramaConfig(life context.Context, config Config) (*sarama.Config, error) {
	s := sarama.NewConfig()
	s.Version = protocolVersion
	s.ClientID = config.ClientID
	if s.ClientID == "" {
		s.ClientID = defaultClientID
	}
	s.Net.DialTimeout = cmpOr(config.ConnectTimeout, defaultConnectTimeout)
	s.Net.ReadTimeout = cmpOr(config.AnswerTimeout, defaultAnswerTimeout)
	s.Net.WriteTimeout = s.Net.ReadTimeout
	s.Admin.Timeout = s.Net.ReadTimeout
	// Only the topics that were asked for: a cluster may have thousands of others, and
	// this principal need not be allowed to list them.
	s.Metadata.Full = false
	s.Metadata.AllowAutoTopicCreation = false
	s.Metadata.Retry.Max = 0 // who calls retries
	s.Metadata.Timeout = s.Net.DialTimeout + s.Net.ReadTimeout
	if config.TLS != nil {
		s.Net.TLS.Enable = true
		s.Net.TLS.Config = config.TLS.Clone()
	}
	if err := config.SASL.apply(life, s); err != nil {
		return nil, err
	}
	s.Net.Proxy.Enable = true
	s.Net.Proxy.Dialer = dialFunc(func(network, addr string) (net.Conn, error) {
		return c.connection(life, s.Net.DialTimeout, network, addr)
	})
	if err := s.Validate(); err != nil {
		return nil, fmt.Errorf("configure kafka: %w", classify(err))
	}
	return s, nil
}

func cmpOr(d, otherwise time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return otherwise
}

// dialFunc is what sarama takes for a proxy: the one place where it lets others open its
// connections.
type dialFunc func(network, addr string) (net.Conn, error)

func (f dialFunc) Dial(network, addr string) (net.Conn, error) { return f(network, addr) }

// connection opens a connection that Close knows of.
func (c *Client) connection(ctx context.Context, timeout time.Duration, network, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := c.dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	t := &trackedConn{Conn: conn, client: c}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		_ = conn.Close()
		return nil, net.ErrClosed
	}
	c.conns[t] = struct{}{}
	return t, nil
}

type trackedConn struct {
	net.Conn
	client *Client
}

func (t *trackedConn) Close() error {
	t.client.mu.Lock()
	delete(t.client.conns, t)
	t.client.mu.Unlock()
	return t.Conn.Close()
}

// await runs a call of sarama's that knows no context. If ctx ends first the call goes on
// until one of its own timeouts and is waited for by Close.
func await[T any](ctx context.Context, c *Client, call func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	var none T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return none, fmt.Errorf("kafka client is closed: %w", bridge.ErrRefused)
	}
	done := make(chan result, 1)
	c.calls.Go(func() {
		v, err := call()
		done <- result{v, err}
	})
	c.mu.Unlock()
	select {
	case <-ctx.Done():
		return none, ctx.Err()
	case r := <-done:
		return r.value, c.classify(r.err)
	}
}
