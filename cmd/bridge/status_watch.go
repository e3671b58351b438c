package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/state"
	"github.com/kinesis-msk-bridge/bridge/verify"
)

// A viewer looks at one workflow, once or again and again.
type viewer struct {
	settings
	look  func(ctx context.Context, s settings, w state.Workflow) (sighting, error)
	rest  func(ctx context.Context, s settings, w state.Workflow, cp bridge.Checkpoint) (verify.Beyond, error) // nil asks no source
	store state.Store

	seen   sighting // the last
	seenAt time.Time
	read   int64 // records, the last time
	readAt time.Time
}

// see looks at the state, at the checkpoint unless it was read within fresh, and at the
// running mirror if there is one on this machine.
func (v *viewer) see(ctx context.Context, fresh time.Duration) (statusResult, error) {
	l := v.Config
	res := statusResult{
		Workflow: l.Workflow, Direction: l.Direction, Phase: notStarted, Endpoint: l.Kinesis.EndpointURL,
		Keymap: l.Keymap, DeadLetters: l.DeadLetters, Partitions: []partitionRow{}, Balanced: true,
	}
	w, _, err := v.loadState(ctx, v.store)
	if err != nil || w.Name == "" {
		return res, err
	}
	if v.seenAt.IsZero() || time.Since(v.seenAt) >= fresh {
		if v.seen, err = v.look(ctx, v.settings, w); err != nil {
			return res, err
		}
		v.seenAt = time.Now()
	}
	res.fill(w, v.seen, time.Now())
	res.addLive(readLive(ctx, l.Metrics.Listen, l.Workflow))
	if fresh == 0 { // a live screen would read the source again and again
		v.addRest(ctx, &res, w)
	}
	res.Verified, err = lastVerified(ctx, l)
	return res, err
}

// rate is how many records were read in a second since the last call; negative if nobody
// knows.
func (v *viewer) rate(s *statusResult) float64 {
	last, at, now := v.read, v.readAt, time.Now()
	v.read, v.readAt = s.Counts.Read, now
	if at.IsZero() || s.Counts.Read < last || !s.Live {
		return -1
	}
	return float64(s.Counts.Read-last) / now.Sub(at).Seconds()
}

// lookAgain is how old the checkpoint may be that a live screen shows: to read it is to
// read a topic.
const lookAgain = 10 * time.Second

// watch shows the workflow every interval until a signal comes: on a terminal one screen
// that is drawn over in place, elsewhere one line each time.
func (v *viewer) watch(ctx context.Context, signals <-chan os.Signal, interval time.Duration, out io.Writer) (err error) {
	res, err := v.see(ctx, 0)
	if err != nil {
		return startError{err}
	}
	show := v.line
	if isTerminal(out) {
		show = v.screen
		if _, err := io.WriteString(out, enterScreen); err != nil {
			return err
		}
		defer func() {
			if _, failed := io.WriteString(out, leaveScreen); err == nil {
				err = failed
			}
		}()
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		if err := show(out, res); err != nil {
			return err
		}
		select {
		case sig := <-signals:
			return interrupted{sig}
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		next, err := v.see(ctx, lookAgain)
		if err != nil {
			res.NotLive = "cannot look: " + err.Error()
			continue
		}
		res = next
	}
}

// Sequences of every terminal since the VT100; the other screen keeps what was there.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l"
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	homeScreen  = "\x1b[H"
	restOfLine  = "\x1b[K"
	restBelow   = "\x1b[J"
)

// screen draws over what it drew before. What was made of names and answers is cleaned
// before sequences are added.
func (v *viewer) screen(out io.Writer, s statusResult) error {
	width, height := screenSize(out)
	text, err := v.draw(s, width, height)
	if err != nil {
		return err
	}
	_, err = io.WriteString(out, text)
	return err
}

// draw makes one screen, with what draws it over the last one.
func (v *viewer) draw(s statusResult, width, height int) (string, error) {
	var b strings.Builder
	head := stamp(time.Now())
	if r := v.rate(&s); r >= 0 {
		head += fmt.Sprintf(", %s records a second", grouped(int64(r)))
	}
	fmt.Fprintf(&b, "%s, Ctrl-C ends\n", head)
	if err := s.writeFor(&b, nil, width, height-1); err != nil {
		return "", err
	}
	lines := strings.Split(strings.TrimSuffix(clean(b.String()), "\n"), "\n")
	lines = lines[:min(len(lines), height)]
	return homeScreen + strings.Join(lines, restOfLine+"\r\n") + restOfLine + restBelow, nil
}

// line says the most important in one line.
func (v *viewer) line(out io.Writer, s statusResult) error {
	text := fmt.Sprintf("%s %s: %s, %s; read %s", stamp(time.Now()), s.Workflow, s.Phase, orWord(s.Actual.Doing, "never ran")+because(s.Actual.Reason), grouped(s.Counts.Read))
	if r := v.rate(&s); r >= 0 {
		text += fmt.Sprintf(" (%s a second)", grouped(int64(r)))
	}
	text += "; partitions " + census(s.Partitions)
	if s.Worst != "" {
		text += "; worst " + s.Worst
	}
	if s.NotLive != "" {
		text += "; " + s.NotLive
	}
	_, err := io.WriteString(out, clean(text)+"\n")
	return err
}

// screenSize is that of a terminal, and 80 by 24 elsewhere.
func screenSize(out io.Writer) (width, height int) {
	if f, ok := out.(*os.File); ok && isTerminal(out) {
		if w, h, err := term.GetSize(int(f.Fd())); err == nil && w > 0 && h > 0 {
			return max(w, 40), max(h, 10)
		}
	}
	return screen, 24
}
