package kinesistest

import (
	"sync"
	"time"
)

// A Clock is a clock that a test owns: it stands still until it is told to move. Give its
// methods to a server as Config.Clock and Config.After. It is safe for concurrent use.
type Clock struct {
	mu      sync.Mutex
	now     time.Time
	sleeper []sleeper
	added   chan struct{} // closed at the next call of After; nil while nobody waits
}

type sleeper struct {
	until time.Time
	wake  chan time.Time
}

// NewClock returns a clock that shows start.
func NewClock(start time.Time) *Clock { return &Clock{now: start} }

// Now is the time that the clock shows.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the clock by d, backwards if d is negative, and wakes whoever waited for
// what is now past.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.set(c.now.Add(d))
}

// Set makes the clock show t.
func (c *Clock) Set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.set(t)
}

func (c *Clock) set(t time.Time) {
	c.now = t
	rest := c.sleeper[:0]
	for _, s := range c.sleeper {
		if s.until.After(t) {
			rest = append(rest, s)
			continue
		}
		s.wake <- t // buffered, and sent once
	}
	c.sleeper = rest
}

// After returns a channel that delivers the time once the clock has moved by d; at once if
// d is not positive.
func (c *Clock) After(d time.Duration) <-chan time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	wake := make(chan time.Time, 1)
	if d <= 0 {
		wake <- c.now
		return wake
	}
	c.sleeper = append(c.sleeper, sleeper{c.now.Add(d), wake})
	if c.added != nil {
		close(c.added)
		c.added = nil
	}
	return wake
}

// WaitFor blocks until n calls of After, or more, wait for the clock to move.
func (c *Clock) WaitFor(n int) {
	for {
		c.mu.Lock()
		if len(c.sleeper) >= n {
			c.mu.Unlock()
			return
		}
		if c.added == nil {
			c.added = make(chan struct{})
		}
		added := c.added
		c.mu.Unlock()
		<-added
	}
}
