package kinesistest

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Config says how a server behaves. The zero Config is a service with all its limits, on a
// free port of the loopback interface, on the wall clock.
type Config struct {
	// Addr is the address to listen on; "127.0.0.1:0" if it is empty.
	Addr string
	// Region and Account stand in ARNs: "us-east-1" and "000000000000" if empty.
	Region, Account string
	// StrictRegion refuses requests whose signature is scoped to another region.
	StrictRegion bool
	// Clock tells the time; time.Now if nil. Retention, throttling, the life of iterators
	// and tokens, and arrival times follow it. It is called concurrently.
	Clock func() time.Time
	// After waits on the same clock, for the delays of faults; time.After if nil.
	After func(time.Duration) <-chan time.Time
	// StatusDelay is how long a stream is CREATING, UPDATING or DELETING. Zero makes every
	// change at once.
	StatusDelay time.Duration
	// Latency is the least time between the arrival of a request and its answer, on the
	// wall clock.
	Latency time.Duration
	// Limits are the service's rates and quotas.
	Limits Limits
	// EndWithRecords puts the null iterator of a closed shard into the answer with the
	// shard's last records. Without it, one more empty answer follows those. The service
	// does both.
	EndWithRecords bool
	// Fault decides what goes wrong with a call; nil for nothing. See Server.SetFault.
	Fault FaultFunc
	// Deny refuses calls with AccessDeniedException; nil for none. See Server.SetDeny.
	Deny func(Call) bool
	// LogSize is how many events Server.Log keeps: 10,000 if zero.
	LogSize int
	// SpillDir is a directory for a file that takes keys and data of records, but for the
	// last ones of each shard, out of memory, until Close removes it. What looks at or
	// damages what is stored brings those of its shard back. If it is empty all stay.
	SpillDir string
	// Logger gets one debug line a request, without keys and data; nil for none.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	c.Addr = cmp.Or(c.Addr, "127.0.0.1:0")
	c.Region = cmp.Or(c.Region, "us-east-1")
	c.Account = cmp.Or(c.Account, "000000000000")
	c.LogSize = cmp.Or(c.LogSize, 10_000)
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.After == nil {
		c.After = time.After
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Limits = c.Limits.withDefaults()
	return c
}

// A Server is a Kinesis service on a socket. It is safe for concurrent use.
type Server struct {
	cfg    Config
	url    string
	http   *http.Server
	served chan struct{}  // closed when the listener's goroutine has returned
	calls  sync.WaitGroup // requests being handled
	closed chan struct{}  // closed by Close, to free held calls
	secret [32]byte       // signs iterators and tokens
	events events
	spill  *spill // nil keeps all in memory
	// buffers recycles bodies and answers, puts decoded puts, pages lists of views.
	buffers, puts, pages sync.Pool

	mu       sync.RWMutex // guards what follows; never taken while a stream's lock is held
	streams  map[string]*Stream
	last     map[string]int64 // creation time of the last stream of a name
	fault    FaultFunc
	deny     func(Call) bool
	control  map[string]*bucket // rates of the control plane
	marks    uint8              // streams made so far, as far as it counts
	isClosed bool
}

// Start starts a server. Its error is that of listening, or of Config.SpillDir.
func Start(cfg Config) (*Server, error) {
	cfg = cfg.withDefaults()
	away, err := newSpill(cfg.SpillDir)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", cfg.Addr)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen for kinesis on %s: %w", cfg.Addr, err), away.close())
	}
	s := &Server{
		cfg: cfg, spill: away, url: "http://" + l.Addr().String(),
		served: make(chan struct{}), closed: make(chan struct{}),
		streams: map[string]*Stream{}, last: map[string]int64{}, control: map[string]*bucket{},
		fault: cfg.Fault, deny: cfg.Deny,
		events: events{size: cfg.LogSize, counts: map[string]*Counts{}, calls: map[string]int{}},
	}
	if _, err := rand.Read(s.secret[:]); err != nil {
		return nil, fmt.Errorf("make the key of iterators: %w", err)
	}
	s.http = &http.Server{
		Handler:  s,
		ErrorLog: slog.NewLogLogger(cfg.Logger.Handler(), slog.LevelDebug),
	}
	go func() {
		defer close(s.served)
		if err := s.http.Serve(l); err != nil && err != http.ErrServerClosed {
			cfg.Logger.Error("serve kinesis", "error", err)
		}
	}()
	return s, nil
}

// Close cuts all connections, frees calls that a fault holds, and waits for them, so that
// nothing is stored after it has returned. It is safe to call it twice.
func (s *Server) Close() error {
	s.mu.Lock()
	if !s.isClosed {
		s.isClosed = true
		close(s.closed)
	}
	s.mu.Unlock()
	err := s.http.Close()
	<-s.served
	s.calls.Wait()
	return errors.Join(err, s.spill.close())
}

// URL is the endpoint to give to a client, such as "http://127.0.0.1:40123".
func (s *Server) URL() string { return s.url }

// Region is the region that the server is in.
func (s *Server) Region() string { return s.cfg.Region }

// Now is the time by the server's clock.
func (s *Server) Now() time.Time { return s.cfg.Clock() }

func (s *Server) nowMs() int64 { return s.cfg.Clock().UnixMilli() }

// SetFault sets the function that decides what goes wrong, in place of Config.Fault or an
// earlier one; nil for nothing. Calls that have already been asked about are not affected.
func (s *Server) SetFault(f FaultFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// SetDeny sets the function that refuses calls, in place of Config.Deny or an earlier one;
// nil for none.
func (s *Server) SetDeny(f func(Call) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deny = f
}

func (s *Server) hooks() (FaultFunc, func(Call) bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.fault, s.deny
}

// Stream returns the inside of a stream, or nil if there is none of that name.
func (s *Server) Stream(name string) *Stream { return s.stream(name, s.nowMs()) }

// Streams returns the insides of all streams, by name.
func (s *Server) Streams() []*Stream { return s.all(s.nowMs()) }

// stream finds a stream and brings it up to date; nil if there is none.
func (s *Server) stream(name string, now int64) *Stream {
	s.mu.RLock()
	st := s.streams[name]
	s.mu.RUnlock()
	if st == nil {
		return nil
	}
	st.settle(now)
	st.mu.RLock()
	gone := st.gone
	st.mu.RUnlock()
	if !gone {
		return st
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.streams[name] == st {
		delete(s.streams, name)
	}
	return nil
}

// all are the streams that exist, by name.
func (s *Server) all(now int64) []*Stream {
	s.mu.RLock()
	var names []string
	for name := range s.streams {
		names = append(names, name)
	}
	s.mu.RUnlock()
	slices.Sort(names)
	var all []*Stream
	for _, name := range names {
		if st := s.stream(name, now); st != nil {
			all = append(all, st)
		}
	}
	return all
}

// CreateStream makes a stream in provisioned mode that is active at once: the short way
// for a test. The name must be free.
func (s *Server) CreateStream(name string, shards int) (*Stream, error) {
	in := &createStreamInput{StreamName: name, ShardCount: &shards}
	if err := in.check(); err != nil {
		return nil, fmt.Errorf("create stream %s: %w", name, err)
	}
	now := s.nowMs()
	st, err := s.register(in, now)
	if err != nil {
		return nil, fmt.Errorf("create stream %s: %w", name, err)
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	st.populate(now, shards)
	return st, nil
}

// hold waits for a delay and a channel, whichever are set. It returns false if the server
// was closed meanwhile.
func (s *Server) hold(delay time.Duration, wait <-chan struct{}) bool {
	if delay > 0 {
		select {
		case <-s.cfg.After(delay):
		case <-s.closed:
			return false
		}
	}
	if wait != nil {
		select {
		case <-wait:
		case <-s.closed:
			return false
		}
	}
	return true
}

// enter counts a request in, unless the server is closing.
func (s *Server) enter() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.isClosed {
		return false
	}
	s.calls.Add(1)
	return true
}

// controlLimit charges a call of the control plane, and says whether it is within the rate.
func (s *Server) controlLimit(op, stream string, now int64) bool {
	rate := controlRate(op)
	if rate == 0 || s.cfg.Limits.Off {
		return true
	}
	key := op
	if op == "ListShards" { // limited per stream, not per account
		key += "/" + stream
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.control[key]
	if b == nil {
		b = &bucket{}
		s.control[key] = b
	}
	if b.left(now, rate) < 1 {
		return false
	}
	b.take(1)
	return true
}

// latency sleeps until the server may answer a request that came at begin.
func (s *Server) latency(ctx context.Context, begin time.Time) {
	rest := s.cfg.Latency - time.Since(begin)
	if s.cfg.Latency == 0 || rest <= 0 {
		return
	}
	t := time.NewTimer(rest)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	case <-s.closed:
	}
}
