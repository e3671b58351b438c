// Package proxy stands between Kafka clients and one broker and drops answers: the
// broker appended, and nobody is told. It reads the frames of Kafka's protocol, so that
// it can choose answers to produce requests, or cut at any request that a test chooses.
package proxy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// produceKey is the api key of Produce requests.
const produceKey = 0

// A Proxy listens on the loopback interface. It is safe for concurrent use.
type Proxy struct {
	listener net.Listener
	target   atomic.Pointer[string]
	// dropEvery is which answers to produce requests are dropped: every n-th, 0 none.
	dropEvery atomic.Int64
	produced  atomic.Int64
	dropped   atomic.Int64
	watch     atomic.Pointer[func(api int, answered bool) bool]

	mu    sync.Mutex
	conns map[net.Conn]struct{}
	gone  bool
	group sync.WaitGroup
}

// Listen starts a proxy; Forward says where to.
func Listen() (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{listener: l, conns: map[net.Conn]struct{}{}}
	p.group.Go(p.accept)
	return p, nil
}

// Addr is what clients dial.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Forward sends new connections to a broker.
func (p *Proxy) Forward(addr string) { p.target.Store(&addr) }

// DropEvery drops every n-th answer to a produce request from now on, and the connection
// with it; 0 drops none.
func (p *Proxy) DropEvery(n int) { p.dropEvery.Store(int64(n)) }

// Watch has fn asked about every request, by its api key, before it is passed on, and again
// before its answer is; false cuts the connection instead. nil ends that.
func (p *Proxy) Watch(fn func(api int, answered bool) bool) {
	if fn == nil {
		fn = func(int, bool) bool { return true }
	}
	p.watch.Store(&fn)
}

func (p *Proxy) passes(api int, answered bool) bool {
	fn := p.watch.Load()
	return fn == nil || (*fn)(api, answered)
}

// Counts says how many produce requests were answered by the broker, and how many of
// these answers were dropped.
func (p *Proxy) Counts() (produced, dropped int64) { return p.produced.Load(), p.dropped.Load() }

// Close cuts all connections.
func (p *Proxy) Close() error {
	err := p.listener.Close()
	p.mu.Lock()
	p.gone = true
	for c := range p.conns {
		c.Close()
	}
	p.mu.Unlock()
	p.group.Wait()
	return err
}

func (p *Proxy) accept() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.group.Go(func() { p.serve(c) })
	}
}

func (p *Proxy) hold(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone {
		c.Close()
		return false
	}
	p.conns[c] = struct{}{}
	return true
}

func (p *Proxy) release(c net.Conn) {
	c.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

// serve carries one connection until either side ends it.
func (p *Proxy) serve(client net.Conn) {
	target := p.target.Load()
	if target == nil || !p.hold(client) {
		client.Close()
		return
	}
	defer p.release(client)
	broker, err := net.Dial("tcp", *target)
	if err != nil || !p.hold(broker) {
		return
	}
	defer p.release(broker)
	var pending sync.Map // api keys by the correlation ids of requests
	var both sync.WaitGroup
	both.Go(func() {
		defer broker.Close()
		_ = frames(client, broker, func(f []byte) bool {
			if len(f) < 8 {
				return true
			}
			api := int(binary.BigEndian.Uint16(f))
			pending.Store(binary.BigEndian.Uint32(f[4:]), api)
			return p.passes(api, false)
		})
	})
	both.Go(func() {
		defer client.Close()
		_ = frames(broker, client, func(f []byte) bool {
			if len(f) < 4 {
				return true
			}
			api, ok := pending.LoadAndDelete(binary.BigEndian.Uint32(f))
			return !ok || (api != produceKey || p.keep()) && p.passes(api.(int), true)
		})
	})
	both.Wait()
}

// keep reports whether the next answer to a produce request is to be delivered.
func (p *Proxy) keep() bool {
	n, every := p.produced.Add(1), p.dropEvery.Load()
	if every == 0 || n%every != 0 {
		return true
	}
	p.dropped.Add(1)
	return false
}

var errDropped = errors.New("dropped")

// maxFrame bounds what is held in memory of one request or answer.
const maxFrame = 128 << 20

// frames copies length-prefixed frames while look agrees.
func frames(from io.Reader, to io.Writer, look func(frame []byte) bool) error {
	var size [4]byte
	for {
		if _, err := io.ReadFull(from, size[:]); err != nil {
			return err
		}
		n := binary.BigEndian.Uint32(size[:])
		if n > maxFrame {
			return fmt.Errorf("a frame of %d bytes", n)
		}
		frame := make([]byte, n)
		if _, err := io.ReadFull(from, frame); err != nil {
			return err
		}
		if !look(frame) {
			return errDropped
		}
		if _, err := to.Write(append(size[:], frame...)); err != nil {
			return err
		}
	}
}
