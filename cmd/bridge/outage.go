package main

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/kinesis-msk-bridge/bridge/metrics"
	"github.com/kinesis-msk-bridge/bridge/mirror"
)

// remindEvery is how often an outage is told of that lasts.
const remindEvery = time.Minute

// An outage is something that does not work.
type outage struct {
	since      time.Time // zero is now
	why        string
	partitions int // how many it concerns; 0 if that makes no sense
	told       time.Time
}

// outages tell of what does not work: one warning when an outage begins, one a minute
// while it lasts, and one when it ends. They are safe for concurrent use.
type outages struct {
	log *slog.Logger

	mu   sync.Mutex
	open map[string]outage // by what does not work
}

func newOutages(log *slog.Logger) *outages {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &outages{log: log, open: map[string]outage{}}
}

// failed notes that something does not work.
func (o *outages) failed(what string, now time.Time, f outage) {
	o.mu.Lock()
	defer o.mu.Unlock()
	before, open := o.open[what]
	if open {
		f.since = before.since
	} else if f.since.IsZero() {
		f.since = now
	}
	f.told = before.told
	message := "does not work, and is tried again"
	if open {
		message = "still does not work"
	}
	if now.Sub(before.told) >= remindEvery {
		f.told = now
		args := []any{"what", what, "for", now.Sub(f.since).Round(time.Second).String(), "error", f.why}
		if f.partitions > 0 {
			args = append(args, "partitions", f.partitions)
		}
		o.log.Warn(message, args...)
	}
	o.open[what] = f
}

// ended notes that something works, again or as ever.
func (o *outages) ended(what string, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if f, open := o.open[what]; open {
		o.log.Warn("works again", "what", what, "after", now.Sub(f.since).Round(time.Second).String())
		delete(o.open, what)
	}
}

// paused forgets what does not work, because it is not tried while the mirror is paused.
func (o *outages) paused(what string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, open := o.open[what]; open {
		o.log.Info("is not tried while the mirror is paused", "what", what)
		delete(o.open, what)
	}
}

// What a mirror does with services, as outages are told of.
const (
	readingSource      = "read the source"
	writingTarget      = "write to the target"
	writingLetters     = "write dead letters"
	savingCheckpoints  = "save the checkpoint"
	outageAfter        = 10 * time.Second
	outageOfPaceAfter  = 30 * time.Second // of what may only be slow
	whyCarryingTooLong = "a page has had no answer yet"
)

// whatOf says what an operation of the mirror does.
var whatOf = map[string]string{
	"open": readingSource, "read": readingSource, "write": writingTarget, "dead letter": writingLetters, "checkpoint": savingCheckpoints,
}

// look finds the outages of a running mirror, tells of them, and returns them as a clause
// that stays the same while they last; empty if there are none.
func (o *outages) look(now time.Time, p mirror.Progress, troubles map[string]metrics.Trouble) string {
	found := map[string]outage{}
	note := func(what, why string, since time.Time) {
		f, known := found[what]
		if f.partitions++; !known || since.Before(f.since) {
			f.since, f.why = since, why
		}
		found[what] = f
	}
	for _, t := range troubles {
		if what := whatOf[t.Op]; what != "" && now.Sub(t.Since) >= patienceWith(t.Class) {
			note(what, t.Err.Error(), t.Since)
		}
	}
	for _, part := range p.Partitions {
		if _, told := troubles[part.Partition]; !told && !part.Carrying.IsZero() && now.Sub(part.Carrying) >= outageOfPaceAfter {
			note(writingTarget, whyCarryingTooLong, part.Carrying)
		}
	}
	var open []string
	for _, what := range []string{readingSource, writingTarget, writingLetters, savingCheckpoints} {
		f, failed := found[what]
		if !failed {
			o.ended(what, now)
			continue
		}
		o.failed(what, now, f)
		open = append(open, fmt.Sprintf("cannot %s since %s", what, stamp(f.since)))
	}
	return strings.Join(open, ", ")
}

// patienceWith is for how long an operation fails before that is an outage. What is
// throttled gets on, if slowly.
func patienceWith(class string) time.Duration {
	if class == "throttled" {
		return outageOfPaceAfter
	}
	return outageAfter
}
