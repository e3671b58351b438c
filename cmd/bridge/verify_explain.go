package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/verify"
)

func (a *app) verifyExplainCommand() *cli.Command {
	return command(cli.Command{
		Name: "explain", ArgsUsage: "KEY|PARTITION:POSITION", Usage: "show a record on both sides, and every place where it was seen",
		Description: `Reads both sides and shows every record of a key, or the one record that stands at a place
of the source, with all places where it stands on the target. Contents are shown as keyed
hashes only. It reads everything there is and compares the key as verify run does, which
takes up to twice as long as a verify run. The marks are those of verify diff; = is a record
that is equal on both sides and in order.

Examples:
   bridge verify explain user-123
   bridge verify explain shardId-000000000003:49668899...`,
		Flags: []cli.Flag{&cli.IntFlag{Name: "limit", Value: 100, Usage: "show at most so many records"}},
	}, a.verifyExplain)
}

func (a *app) verifyExplain(c *cli.Context) (err error) {
	log, l, err := a.begun(c)
	if err != nil {
		return err
	}
	if c.NArg() != 1 || c.Int("limit") < 1 {
		return usage(errors.New("verify explain takes one KEY or PARTITION:POSITION, and a positive --limit"))
	}
	s := settings{Config: l, Log: log}
	w, err := s.workflow(c.Context)
	if err != nil {
		return err
	}
	ends, err := a.adapters.witness(c.Context, s, w)
	if err != nil {
		return startError{err}
	}
	defer func() { err = errors.Join(err, ends.close()) }()
	ends.verifier.MaxSamples = c.Int("limit")
	stop := a.stopper(c.Context, 0)
	defer stop.done()
	e, err := ends.verifier.Explain(stop.drain, questionOf(c.Args().First()))
	if err != nil {
		return err
	}
	a.answer = &answer{result: e, text: func(w io.Writer) error { return writeExplanation(w, e) }}
	return nil
}

// questionOf reads KEY or PARTITION:POSITION. What could be either is a key unless the
// part behind the colon is a position and the part before it names a partition.
func questionOf(text string) verify.Question {
	i := strings.LastIndex(text, ":")
	if i <= 0 {
		return verify.Question{Key: []byte(text)}
	}
	partition := text[:i]
	p, err := bridge.ParsePosition(text[i+1:])
	number := strings.Trim(partition, "0123456789") == ""
	if err != nil || p.IsZero() || !number && !strings.HasPrefix(partition, "shardId-") {
		return verify.Question{Key: []byte(text)}
	}
	return verify.Question{Partition: partition, Position: p}
}

func writeExplanation(w io.Writer, e *verify.Explanation) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%d records on the source, %d places on the target\n", e.OnSource, e.OnTarget)
	if e.Expected != "" {
		fmt.Fprintf(&b, "the key belongs into partition %s of the target\n", e.Expected)
	}
	for _, r := range e.Records {
		place := r.Source.Partition + ":" + r.Source.Position.String()
		if r.Source.IsZero() {
			place = "no record of the source"
		}
		fmt.Fprintf(&b, "%s %s", signOf(r), place)
		if !r.Source.Time.IsZero() {
			fmt.Fprintf(&b, " %s", stamp(r.Source.Time))
		}
		if r.Content != "" {
			fmt.Fprintf(&b, " content=%s", r.Content)
		}
		b.WriteString("\n")
		for _, t := range r.Target {
			fmt.Fprintf(&b, "    at %s:%s", t.Partition, t.Position)
			if t.Content != "" {
				fmt.Fprintf(&b, " content=%s", t.Content)
			}
			fmt.Fprintf(&b, " %s\n", t.Note)
		}
		for _, n := range r.Notes {
			fmt.Fprintf(&b, "    %s\n", n)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func signOf(r verify.Explained) string {
	if r.Class == "" {
		return "="
	}
	return signs[r.Class]
}
