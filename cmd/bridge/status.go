package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/state"
	"github.com/kinesis-msk-bridge/bridge/verify"
)

// A sighting is what can be seen of a workflow from outside.
type sighting struct {
	Checkpoint bridge.Checkpoint // zero if none was saved yet
	// Fenced says that a second mirror could append nothing once another took over.
	Fenced bool
	// Unfenced says why not, as a clause; empty if Fenced.
	Unfenced string
	// Lags are known for partitions whose end the source can tell; nil if it cannot.
	Lags map[string]time.Duration
}

// A statusResult is what status prints.
type statusResult struct {
	Workflow  string          `json:"workflow"`
	Direction string          `json:"direction"`
	Phase     string          `json:"phase"` // "not started" before the first mirror run
	Since     time.Time       `json:"since,omitzero"`
	Wanted    state.Wanted    `json:"wanted,omitzero"`
	Actual    state.Actual    `json:"actual,omitzero"`
	Source    bridge.Identity `json:"source,omitzero"`
	Target    bridge.Identity `json:"target,omitzero"`
	Endpoint  string          `json:"endpoint_url,omitempty"`
	Keymap    string          `json:"keymap"`
	// Checkpoint is when progress was last made durable.
	Checkpoint        time.Time     `json:"checkpoint_at,omitzero"`
	CheckpointSeconds *float64      `json:"checkpoint_age_seconds"`
	Clean             bool          `json:"clean"`
	Fenced            bool          `json:"fenced"`
	Unfenced          string        `json:"unfenced_reason,omitempty"`
	DeadLetters       string        `json:"dead_letters"` // where they go
	Counts            bridge.Counts `json:"counts"`
	Balanced          bool          `json:"balanced"`
	// Live says that a running mirror was asked, and not only its last checkpoint;
	// NotLive says why not.
	Live    bool   `json:"live"`
	NotLive string `json:"not_live_reason,omitempty"`
	// Worst is the partition that is worst off, and why; empty if none is.
	Worst string `json:"worst,omitempty"`
	// Verified is the newest verify run that has said something; nil if none has.
	Verified *verifiedSeen `json:"verified,omitempty"`
	// Unmirrored is what the source holds behind the checkpoint, if no running mirror was
	// asked; nil if it is not known. UnmirroredReason says why the source could not be asked.
	Unmirrored       *verify.Beyond `json:"unmirrored,omitempty"`
	UnmirroredReason string         `json:"unmirrored_reason,omitempty"`

	Partitions []partitionRow `json:"partitions"`
}

// notStarted is the phase before the first mirror run.
const notStarted = "not started"

// minInterval bounds how often a live screen looks.
const minInterval = 100 * time.Millisecond

func (a *app) statusCommand() *cli.Command {
	return command(cli.Command{
		Name:  "status",
		Usage: "show how far the workflow is, on one screen",
		Description: `Shows what is wanted and what the mirror does, both ends, how far each partition is, and
what became of every record that was read; the partition that is worst off comes first. It
changes nothing. A workflow that was never started is shown without reaching for either end.

Where metrics.listen is set and the mirror runs on this machine, it is asked how far each
partition is behind and why; elsewhere only its last checkpoint is known, and the source is
asked how much it holds behind that. --watch draws one
screen again and again, or where there is no terminal one line, until Ctrl-C.

Examples:
   bridge status
   bridge status --watch
   bridge status --config orders.yaml --output json`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "watch", Usage: "show it again and again"},
			&cli.DurationFlag{Name: "interval", Value: 2 * time.Second, Usage: "how often --watch looks"},
		},
	}, a.status)
}

func (a *app) status(c *cli.Context) error {
	log, err := a.logger(c)
	if err != nil {
		return err
	}
	l, err := a.load(c)
	if err != nil {
		return err
	}
	l.StartPatience = min(l.StartPatience, duration(statusPatience))
	v := &viewer{settings: settings{Config: l, Log: log.With("workflow", l.Workflow)}, look: a.adapters.look, rest: a.adapters.rest, store: openState(l)}
	if c.Bool("watch") {
		if a.json {
			return usageHint(errors.New("--watch draws for people"), "run bridge status --output json as often as you need it")
		}
		if c.Duration("interval") < minInterval {
			return usage(fmt.Errorf("--interval is at least %s", minInterval))
		}
		return v.watch(c.Context, a.signals, c.Duration("interval"), a.stdout)
	}
	res, err := v.see(c.Context, 0)
	if err != nil {
		return startError{err}
	}
	if res.Phase == notStarted {
		a.answer = res.answer(screen, 0, "bridge mirror run")
		return nil
	}
	width, height := screen, 0
	if isTerminal(a.stdout) {
		width, height = screenSize(a.stdout)
		height-- // for the prompt
	}
	a.answer = res.answer(width, height)
	return nil
}

func (s *statusResult) fill(w state.Workflow, seen sighting, at time.Time) {
	cp := seen.Checkpoint
	s.Direction, s.Phase, s.Wanted, s.Actual = string(w.Direction), string(w.Phase), w.Wanted, w.Actual
	s.Source, s.Target, s.Keymap = w.Pinned.Source, w.Pinned.Target, w.Pinned.Keymap
	if len(w.Decisions) > 0 {
		s.Since = w.Decisions[0].At
	}
	s.Fenced, s.Unfenced = seen.Fenced, seen.Unfenced
	s.Counts, s.Balanced, s.Clean = cp.Counts, cp.Counts.Balanced(), cp.Clean
	if !cp.At.IsZero() {
		s.Checkpoint, s.CheckpointSeconds = cp.At, seconds(max(at.Sub(cp.At), 0))
	}
	for _, r := range cp.Rows {
		row := rowOf(r, at)
		if lag, ok := seen.Lags[r.Partition]; ok {
			row.LagSeconds = seconds(lag)
		}
		s.Partitions = append(s.Partitions, row)
	}
	slices.SortFunc(s.Partitions, func(a, b partitionRow) int {
		return cmp.Or(cmp.Compare(len(a.Partition), len(b.Partition)), cmp.Compare(a.Partition, b.Partition))
	})
}

func (s statusResult) answer(width, height int, next ...string) *answer {
	return &answer{result: s, nextSteps: next, text: func(w io.Writer) error { return s.writeFor(w, next, width, height) }}
}

// screen is how wide a line of status is where nobody says how wide it may be.
const screen = 80

// fewRows is how many partitions are shown of more than fit on a small screen; JSON has
// all of them.
const fewRows = 10

// maxRows is how many partitions fit on the screen; JSON has all of them.
const maxRows = 40

// writeFor writes for a screen of that many columns and lines; 0 lines are as many as a
// small screen has.
func (s statusResult) writeFor(w io.Writer, next []string, width, height int) error {
	var b strings.Builder
	line := func(label, text string) { writeWrappedTo(&b, label, text, width) }
	line(s.Workflow, s.Direction+", "+s.Phase)
	if s.Phase == notStarted {
		line("next", strings.Join(next, ", "))
		_, err := io.WriteString(w, b.String())
		return err
	}
	line("wanted", wantedText(s.Wanted))
	line("actual", s.Actual.Doing+because(s.Actual.Reason)+", since "+stamp(s.Actual.At))
	if s.Actual.Outage != "" {
		line("outage", s.Actual.Outage)
	}
	line("source", s.Source.String())
	line("target", s.Target.String())
	if s.Endpoint != "" {
		line("endpoint", s.Endpoint)
	}
	line("keymap", s.Keymap)
	line("checkpoint", s.checkpoint())
	line("fence", s.fence())
	line("records", strings.ReplaceAll(arithmetic(s.Counts), "\n ", ""))
	if s.Counts.Foreign > 0 || s.Counts.Rewind > 0 {
		line("", fmt.Sprintf("foreign provenance %s, rewinds %s", grouped(s.Counts.Foreign), grouped(s.Counts.Rewind)))
	}
	if n := s.Counts.DeadLettered; n > 0 {
		line("letters", grouped(n)+" in "+s.DeadLetters)
	}
	if s.Verified != nil {
		line("verified", s.Verified.text(time.Now()))
	}
	if text := s.unmirroredText(); text != "" {
		line("unmirrored", text)
	}
	line("partitions", census(s.Partitions))
	if s.Worst != "" {
		line("worst", s.Worst)
	}
	if s.NotLive != "" {
		line("live", "no ("+s.NotLive+")")
	}
	most := fewRows
	if height > 0 {
		most = max(height-strings.Count(b.String(), "\n")-3, 1) // a blank line, a header, and one for the rest
	}
	b.WriteString("\n" + layout{width, most, s.Live}.table(s.Partitions) + "\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func (s statusResult) checkpoint() string {
	if s.CheckpointSeconds == nil {
		return "none yet"
	}
	text := age(*s.CheckpointSeconds) + " ago"
	if s.Clean {
		text += ", clean: nothing was under way"
	}
	return text
}

func (s statusResult) fence() string {
	if s.Fenced {
		return "yes: a mirror that lost its task can append nothing more"
	}
	return "no" + because(s.Unfenced)
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return " (" + reason + ")"
}

// stamp is a time to the second, as the state keeps it in UTC.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }

// age is a number of seconds for people: 0.4s, 12s, 3m20s, 2h5m.
func age(s float64) string {
	d := time.Duration(s * float64(time.Second))
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Hour:
		return duration(d.Round(time.Second)).String()
	}
	return duration(d.Round(time.Minute)).String()
}

// shorten keeps the end of a long text: the digits there are the ones that differ.
func shorten(s string, width int) string {
	if len(s) <= width {
		return s
	}
	return "…" + s[len(s)-width+1:]
}

// joint is where a long word of more than fit bytes is broken: behind the last sign that
// parts a name, if that leaves half of the line or more, or else anywhere.
func joint(word string, fit int) int {
	if i := strings.LastIndexAny(word[:fit], "/@:,"); i >= fit/2 {
		return i + 1
	}
	return fit
}

// writeWrapped writes a label and a text that is broken at blanks, or where there is
// none at a joint, to fit the screen.
func writeWrapped(b *strings.Builder, label, text string) { writeWrappedTo(b, label, text, screen) }

func writeWrappedTo(b *strings.Builder, label, text string, screen int) {
	const indent = 12
	line := fmt.Sprintf("%-*s", indent-1, label)
	used := max(len(line), indent-1)
	b.WriteString(line)
	for _, word := range strings.Fields(text) {
		if used+1+len(word) > screen && used > indent {
			b.WriteString("\n" + strings.Repeat(" ", indent-1))
			used = indent - 1
		}
		for used+1+len(word) > screen {
			fit := joint(word, screen-used-1)
			b.WriteString(" " + word[:fit] + "\n" + strings.Repeat(" ", indent-1))
			word, used = word[fit:], indent-1
		}
		b.WriteString(" " + word)
		used += 1 + len(word)
	}
	b.WriteString("\n")
}
