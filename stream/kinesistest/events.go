package kinesistest

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// An Event is what the server did with one request.
type Event struct {
	// Time is when the request was answered, by the server's clock.
	Time time.Time
	// Op, N, Stream and Shard are those of the Call.
	Op            string
	N             int
	Stream, Shard string
	// Stored is how many records were stored.
	Stored int
	// Failed is how many entries of a PutRecords were refused, Throttled how many of them
	// by the rates of a shard.
	Failed, Throttled int
	// Served is how many records a GetRecords answered, Bytes how many bytes of keys and
	// values were stored or served.
	Served, Bytes int
	// Error is the type of the error that the operation itself or a fault answered; "" for
	// none.
	Error string
	// Faulted says that a fault function wanted something to go wrong, Cut that the
	// connection was closed without a whole answer, Late that the operation had been
	// carried out before an error or cut.
	Faulted, Cut, Late bool
	// Gone says that the client had hung up before the operation was carried out, as far as
	// the server had noticed.
	Gone bool
}

// Counts add up events; they are kept for the whole life of the server.
type Counts struct {
	Calls, Errors, Faulted, Cut, Late, Gone  int
	Stored, Failed, Throttled, Served        int
	Bytes                                    int64
	LateStored                               int // records stored by calls that were told of no success
	ThrottledCalls, ExpiredIterators, Denied int
}

func (c *Counts) add(e *Event) {
	c.Calls++
	c.Stored += e.Stored
	c.Failed += e.Failed
	c.Throttled += e.Throttled
	c.Served += e.Served
	c.Bytes += int64(e.Bytes)
	for _, f := range []struct {
		is bool
		n  *int
	}{
		{e.Error != "", &c.Errors}, {e.Faulted, &c.Faulted}, {e.Cut, &c.Cut}, {e.Late, &c.Late}, {e.Gone, &c.Gone},
		{e.Error == throughputExceeded || e.Error == "LimitExceededException", &c.ThrottledCalls},
		{e.Error == "ExpiredIteratorException", &c.ExpiredIterators},
		{e.Error == "AccessDeniedException", &c.Denied},
	} {
		if f.is {
			*f.n++
		}
	}
	if e.Late {
		c.LateStored += e.Stored
	}
}

// events keeps the last events and all counts.
type events struct {
	mu     sync.Mutex
	ring   []Event
	next   int // where the next event goes once the ring is full
	size   int
	counts map[string]*Counts
	calls  map[string]int
	total  int
	grown  chan struct{} // closed at the next event; nil while nobody waits
}

// begin numbers a call.
func (l *events) begin(op string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls[op]++
	return l.calls[op]
}

func (l *events) add(e Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.counts[e.Op]
	if c == nil {
		c = &Counts{}
		l.counts[e.Op] = c
	}
	c.add(&e)
	l.total++
	if l.grown != nil {
		close(l.grown)
		l.grown = nil
	}
	if len(l.ring) < l.size {
		l.ring = append(l.ring, e)
		return
	}
	l.ring[l.next] = e
	l.next = (l.next + 1) % l.size
}

// Log returns the last events (Config.LogSize), oldest first. An event is in the log before
// the client can have the answer.
func (s *Server) Log() []Event {
	l := &s.events
	l.mu.Lock()
	defer l.mu.Unlock()
	return append(append([]Event(nil), l.ring[l.next:]...), l.ring[:l.next]...)
}

// WaitLog waits until n requests have been finished since the server's start, and returns
// the log. A request is finished before its client has the answer; this is for requests
// whose client has gone. The error is that of ctx.
func (s *Server) WaitLog(ctx context.Context, n int) ([]Event, error) {
	l := &s.events
	for {
		l.mu.Lock()
		if l.total >= n {
			l.mu.Unlock()
			return s.Log(), nil
		}
		if l.grown == nil {
			l.grown = make(chan struct{})
		}
		grown, total := l.grown, l.total
		l.mu.Unlock()
		select {
		case <-grown:
		case <-ctx.Done():
			return s.Log(), fmt.Errorf("wait for %d requests, %d are finished: %w", n, total, ctx.Err())
		}
	}
}

// Counts returns what the server did with an operation, or with all of them for "".
func (s *Server) Counts(op string) Counts {
	l := &s.events
	l.mu.Lock()
	defer l.mu.Unlock()
	if c := l.counts[op]; c != nil {
		return *c
	}
	var sum Counts
	if op != "" {
		return sum
	}
	for _, c := range l.counts {
		sum.merge(c)
	}
	return sum
}

func (c *Counts) merge(o *Counts) {
	c.Calls += o.Calls
	c.Errors += o.Errors
	c.Faulted += o.Faulted
	c.Cut += o.Cut
	c.Late += o.Late
	c.Gone += o.Gone
	c.Stored += o.Stored
	c.Failed += o.Failed
	c.Throttled += o.Throttled
	c.Served += o.Served
	c.Bytes += o.Bytes
	c.LateStored += o.LateStored
	c.ThrottledCalls += o.ThrottledCalls
	c.ExpiredIterators += o.ExpiredIterators
	c.Denied += o.Denied
}
