package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/kinesis-msk-bridge/bridge/mirror"
)

// A bar is the last line of a terminal, below everything else that is written there
// through it. It is safe for concurrent use.
type bar struct {
	w io.Writer

	mu   sync.Mutex
	line string
}

// Write puts text above the bar; it must end its lines.
func (b *bar) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, err := io.WriteString(b.w, "\r"+restOfLine+string(p)+b.line); err != nil {
		return 0, err
	}
	return len(p), nil
}

// show draws over the bar; an empty line takes it away.
func (b *bar) show(line string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if line == b.line {
		return nil
	}
	b.line = line
	_, err := io.WriteString(b.w, "\r"+restOfLine+line)
	return err
}

// bar is for a terminal whose log is for people, and nil elsewhere.
func (a *app) bar(c *cli.Context) *bar {
	term, _ := a.env("TERM")
	if !isTerminal(a.stderr) || c.String(flagLogFormat) == "json" || term == "dumb" || c.Duration("progress-interval") == 0 {
		return nil
	}
	return &bar{w: a.stderr}
}

// barWidth is that of the bar itself, in columns.
const barWidth = 20

// barLine says how many partitions follow what comes, how fast records are read, and how
// far the one behind most is behind. It is never wider than width.
func barLine(p mirror.Progress, doing string, rate float64, width int) string {
	total, done := 0, 0
	lag := time.Duration(-1)
	for _, part := range p.Partitions {
		total++
		if part.Ended || part.Lag >= 0 && part.Lag <= tailLag && len(part.Waiting) == 0 {
			done++
		}
		if !part.Ended {
			lag = max(lag, part.Lag)
		}
	}
	full := 0
	if total > 0 {
		full = barWidth * done / total
	}
	text := fmt.Sprintf("[%s%s] %s: %s/%s follow, %s read, %s/s",
		strings.Repeat("#", full), strings.Repeat(".", barWidth-full), doing, grouped(int64(done)), grouped(int64(total)), grouped(p.Counts.Read), grouped(int64(rate)))
	if lag >= 0 {
		text += ", " + age(lag.Seconds()) + " behind"
	}
	return head(text, width-1)
}

// draw shows progress on a terminal; what was read before it was last drawn, and when,
// give the rate.
func (r *mirrorRun) draw(p mirror.Progress) {
	if r.bar == nil || p.Source.IsZero() {
		return
	}
	rate, now := 0.0, time.Now()
	if !r.drawnAt.IsZero() {
		if now.Sub(r.drawnAt) < time.Second {
			return
		}
		rate = float64(p.Counts.Read-r.drawn) / now.Sub(r.drawnAt).Seconds()
	}
	r.drawn, r.drawnAt = p.Counts.Read, now
	width, _ := screenSize(r.bar.w)
	doing, _ := r.doing()
	// A terminal that went away is no reason to stop.
	if err := r.bar.show(barLine(p, doing, rate, width)); err != nil {
		r.bar = nil
	}
}

// undraw leaves the terminal to what comes after.
func (r *mirrorRun) undraw() {
	if r.bar == nil {
		return
	}
	if err := r.bar.show(""); err != nil {
		r.bar = nil
	}
}
