package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/positions"
)

// offsetOptions are the flags of the offsets commands.
type offsetOptions struct {
	Consumer          string
	Back              bool
	LatestAs, Missing positions.As
	MissingOffset     bool // counts as nothing consumed
	AcceptDeadLetters bool
	AcceptOutOfRange  bool
	LatestValueOnly   bool
	AllowRewind       bool
	CountLimit        int64
	StillFor          time.Duration
	Plan              string
}

var (
	consumerFlag = &cli.StringFlag{Name: "consumer", Usage: "`NAME` of the consumer; may be left out if there is one"}
	rewindFlag   = &cli.BoolFlag{Name: "allow-rewind", Usage: "let positions go back, so that the consumer gets records again"}
	stillFlag    = &cli.DurationFlag{Name: "still-for", Value: time.Minute, Usage: "how long a lease table must not move to prove that its application is stopped; at least three times the application's failover time", EnvVars: []string{"BRIDGE_STILL_FOR"}}
)

func (a *app) offsetsCommand() *cli.Command {
	return group("offsets", "move a consumer's position to the other side",
		command(cli.Command{
			Name:  "plan",
			Usage: "find where a consumer goes on, and change nothing",
			Description: `Finds, for a consumer that is stopped, the positions on the other side from which it skips
nothing and gets again as little as there can be: from a KCL lease table to a consumer
group, or the other way. What cannot be translated exactly is refused, and said. The plan
is kept; apply takes its hash.

A consumer moves the way of the mirror; with --back it moves the other way.

Examples:
   bridge offsets plan
   bridge offsets plan --consumer billing --latest-as time:2026-01-31T00:00:00Z
   bridge offsets plan --consumer billing --back --output json`,
			Flags: []cli.Flag{
				consumerFlag,
				&cli.BoolFlag{Name: "back", Usage: "against the direction of the mirror: to where the consumer came from"},
				&cli.StringFlag{Name: "latest-as", Usage: "`WHAT` LATEST and AT_TIMESTAMP leases mean: start, end, or time:2026-01-31T00:00:00Z"},
				&cli.StringFlag{Name: "missing-as", Usage: "`WHAT` is consumed where the consumer has no position: nothing (start), or all of a shard that has expired (end)"},
				&cli.BoolFlag{Name: "accept-dead-letters", Usage: "the unconsumed dead letters reach the consumer in another way"},
				&cli.BoolFlag{Name: "accept-out-of-range", Usage: "the records that are gone from the topic that the consumer leaves are on the other side, or it does not need them"},
				&cli.BoolFlag{Name: "latest-value-only", Usage: "the consumer of a compacted topic needs the latest value of each key only"},
				rewindFlag,
				&cli.Int64Flag{Name: "count-limit", Value: 5_000_000, Usage: "`RECORDS` that are read only to count how many come again; -1 for all"},
			},
		}, a.offsetsPlan),
		command(cli.Command{
			Name:  "apply",
			Usage: "write the positions of a plan",
			Description: `Proves that the consumer is stopped on both sides and stands where it stood when the plan
was made, writes the new positions, and reads them back. If it was interrupted, run it
again: it finishes what it began. offsets undo takes it back.

Examples:
   bridge offsets apply --plan 3f2a9c1d
   bridge offsets apply --plan 3f2a9c1d --consumer billing --still-for 90s`,
			Flags: []cli.Flag{
				consumerFlag,
				&cli.StringFlag{Name: "plan", Usage: "`HASH` of the plan, as bridge offsets plan printed it"},
				stillFlag,
			},
		}, a.offsetsApply),
		command(cli.Command{
			Name:  "undo",
			Usage: "bring back what was there before apply",
			Description: `Restores the lease table or the group as it was before apply, if nobody has changed it
since. A consumer that has gone on from the new positions is moved with offsets plan --back
instead.

Examples:
   bridge offsets undo
   bridge offsets undo --consumer billing`,
			Flags: []cli.Flag{consumerFlag, rewindFlag, stillFlag},
		}, a.offsetsUndo),
	)
}

// parseAs reads start, end or time:….
func parseAs(flag, text string, times bool) (as positions.As, err error) {
	when, isTime := strings.CutPrefix(text, "time:")
	switch {
	case text == "":
	case text == "start":
		as.Start = true
	case text == "end":
		as.End = true
	case isTime && times:
		as.Time, err = time.Parse(time.RFC3339, when)
		if err != nil {
			err = usage(fmt.Errorf("--%s: %q is not a time such as 2026-01-31T00:00:00Z", flag, when))
		}
	default:
		err = usage(fmt.Errorf("--%s takes start, end%s, not %q", flag, map[bool]string{true: " or time:2026-01-31T00:00:00Z"}[times], text))
	}
	return as, err
}

func offsetOptionsOf(c *cli.Context) (offsetOptions, error) {
	o := offsetOptions{
		Consumer: c.String("consumer"), Back: c.Bool("back"), AcceptDeadLetters: c.Bool("accept-dead-letters"),
		AcceptOutOfRange: c.Bool("accept-out-of-range"),
		LatestValueOnly:  c.Bool("latest-value-only"), AllowRewind: c.Bool("allow-rewind"), CountLimit: c.Int64("count-limit"),
		StillFor: c.Duration("still-for"), Plan: c.String("plan"),
	}
	var err error
	if o.LatestAs, err = parseAs("latest-as", c.String("latest-as"), true); err != nil {
		return o, err
	}
	if o.Missing, err = parseAs("missing-as", c.String("missing-as"), false); err != nil {
		return o, err
	}
	o.MissingOffset = o.Missing.Start
	return o, nil
}

// consumer is the one that the flag names, or the only one.
func (l *loaded) consumer(name string) (consumerConfig, error) {
	var names []string
	for _, k := range l.Consumers {
		if k.Name == name || name == "" && len(l.Consumers) == 1 {
			return k, nil
		}
		names = append(names, k.Name)
	}
	switch {
	case len(names) == 0:
		return consumerConfig{}, usageHint(errors.New("the configuration names no consumers"),
			"add consumers: [{name: billing, kcl_application: billing-app, group: billing}]")
	case name == "":
		return consumerConfig{}, usageHint(errors.New("there are several consumers"), "choose one with --consumer: "+orList(names))
	}
	return consumerConfig{}, usageHint(fmt.Errorf("there is no consumer %q%s", name, suggest(name, names)), "the configuration names "+orList(names))
}

// begin does what all offsets commands begin with.
func (a *app) beginOffsets(c *cli.Context) (*relocation, error) {
	o, err := offsetOptionsOf(c)
	if err != nil {
		return nil, err
	}
	log, err := a.logger(c)
	if err != nil {
		return nil, err
	}
	l, err := a.load(c)
	if err != nil {
		return nil, err
	}
	k, err := l.consumer(o.Consumer)
	if err != nil {
		return nil, err
	}
	a.warn(l)
	r := &relocation{settings: settings{Config: l, Log: log.With("workflow", l.Workflow)}, options: o, consumer: k}
	r.shelf = shelfOf(l, k.Name)
	return r, r.open(c.Context)
}

func (a *app) offsetsPlan(c *cli.Context) (err error) {
	r, err := a.beginOffsets(c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	m, err := patiently(c.Context, r.settings, "read what is consumed", func() (*move, error) {
		r.warned = nil
		return r.plan(c.Context)
	})
	if err != nil {
		return startError{err}
	}
	if err := r.keepPlan(c.Context, m); err != nil {
		return err
	}
	a.answer = m.answer(r.warned)
	return m.refusal()
}

func (a *app) offsetsApply(c *cli.Context) (err error) {
	if c.String("plan") == "" {
		return usageHint(errors.New("offsets apply needs the hash of a plan"), "bridge offsets plan prints it; give it with --plan HASH")
	}
	r, err := a.beginOffsets(c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	m, err := r.apply(c.Context)
	if m != nil && err == nil {
		a.answer = m.applied()
	}
	return err
}

func (a *app) offsetsUndo(c *cli.Context) (err error) {
	r, err := a.beginOffsets(c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	m, err := r.undo(c.Context)
	if m != nil && err == nil {
		a.answer = m.undone()
	}
	return err
}

// gateRefused makes any error one of a gate: nothing was changed.
func gateRefused(err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	return bridge.WithHint(classed{plain{err}, errGate}, bridge.Hint(err))
}

// plain hides the class of an error.
type plain struct{ err error }

func (p plain) Error() string { return p.err.Error() }
