package awsapi

import (
	"sync"
	"time"
)

const (
	// graceTime is for how long credentials that worked may fail before that is final. A
	// role's trust policy, an identity provider or a rotation mends within minutes.
	graceTime = 10 * time.Minute
	// graceGap separates two periods of failures: while calls fail, they are repeated
	// every few seconds.
	graceGap = 2 * time.Minute
)

// A Grace decides whether a failure of credentials may pass: it does for some minutes if
// they worked before in this process. The zero Grace is of credentials that never worked.
// It is safe for concurrent use.
type Grace struct {
	mu          sync.Mutex
	worked      bool
	first, last time.Time // of the failures without a gap
}

// Worked notes that the credentials were accepted.
func (g *Grace) Worked() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.worked = true
}

// Passes notes a failure at a time, and reports whether it may pass.
func (g *Grace) Passes(now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.worked {
		return false
	}
	if now.Sub(g.last) > graceGap {
		g.first = now
	}
	g.last = now
	return now.Sub(g.first) < graceTime
}
