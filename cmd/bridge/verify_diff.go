package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/kinesis-msk-bridge/bridge/verify"
)

func (a *app) verifyDiffCommand() *cli.Command {
	return command(cli.Command{
		Name: "diff", ArgsUsage: "[RUN]", Usage: "show each difference of a run, one character a record",
		Description: `Prints one line for each difference of the newest run or RUN, and one for each window
without any. The first character says what it is:

   =  a window whose records match     +  missing on the target
   -  on the target only               *  changed
   ~  out of order                     2  there again
   >  in the wrong partition           !  not judged

The exit code is that of the verdict.

Examples:
   bridge verify diff
   bridge verify diff --output json`,
	}, func(c *cli.Context) error {
		_, res, err := a.chosenResult(c)
		if err != nil {
			return err
		}
		a.answer = diffAnswer(res, time.Now())
		return verdictError(res)
	})
}

// signs are the characters of the classes.
var signs = map[verify.Class]string{
	verify.Missing: "+", verify.Extra: "-", verify.Corrupt: "*", verify.Reordered: "~", verify.Duplicate: "2",
	verify.Rewind: "2", verify.Misrouted: ">", verify.Unread: "!", verify.Unverifiable: "!",
}

// A diffLine is one line of a diff.
type diffLine struct {
	Sign string `json:"sign"`
	verify.Finding
}

func diffAnswer(res *verify.Result, at time.Time) *answer {
	lines := []diffLine{}
	for _, f := range res.Samples {
		lines = append(lines, diffLine{signs[f.Class], f})
	}
	return &answer{result: map[string]any{"run": res.Run, "verdict": res.Verdict, "differences": lines}, text: func(w io.Writer) error {
		var b strings.Builder
		for _, win := range res.Windows {
			if win.Verdict == verify.Consistent {
				fmt.Fprintf(&b, "= %s behind %s up to %s, %s records\n", win.Partition, win.After, win.Through, grouped(win.Source.Count))
			}
		}
		for _, l := range lines {
			b.WriteString(l.text(at))
		}
		for _, u := range res.Coverage.Uncovered {
			fmt.Fprintf(&b, "! %s %s behind %s up to %s: %s\n", u.Side, u.Partition, u.After, u.Through, u.Reason)
		}
		_, err := io.WriteString(w, b.String())
		return err
	}}
}

func (l diffLine) text(at time.Time) string {
	var b strings.Builder
	b.WriteString(l.Sign)
	if !l.Source.IsZero() {
		fmt.Fprintf(&b, " %s:%s", l.Source.Partition, l.Source.Position)
	}
	if !l.Target.IsZero() {
		fmt.Fprintf(&b, " at %s:%s", l.Target.Partition, l.Target.Position)
	}
	if !l.Other.IsZero() {
		fmt.Fprintf(&b, " after %s:%s", l.Other.Partition, l.Other.Position)
	}
	if l.Key != "" {
		fmt.Fprintf(&b, " key=%s", l.Key)
	}
	if l.Records > 1 {
		fmt.Fprintf(&b, " records=%d", l.Records)
	}
	if len(l.What) > 0 {
		fmt.Fprintf(&b, " differs in %s", strings.Join(l.What, ", "))
	}
	if l.Expected != "" && (l.Class == verify.Missing || l.Class == verify.Misrouted) {
		fmt.Fprintf(&b, " expected partition %s", l.Expected)
	}
	fmt.Fprintf(&b, " age=%s", age(at.Sub(l.First).Seconds()))
	if l.Reason != "" {
		b.WriteString(" (" + l.Reason + ")")
	}
	return b.String() + "\n"
}
