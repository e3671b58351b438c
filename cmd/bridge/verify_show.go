package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/verify"
)

func (a *app) verifyStopCommand() *cli.Command {
	return command(cli.Command{
		Name: "stop", ArgsUsage: "[RUN]", Usage: "ask a run to stop; it can be resumed",
		Description: "Leaves word for the process of the run, the newest one or RUN, which saves what it knows\nand ends. A run that is not running is left as it is.\n\nExamples:\n   bridge verify stop",
	}, func(c *cli.Context) error {
		d, err := a.chosenRun(c)
		if err != nil {
			return err
		}
		release, err := d.lock(c.Context)
		if err == nil {
			a.answer = &answer{result: map[string]any{"run": d.id, "stopped": true, "already": true}, text: says("%s is not running\n", d.id)}
			return release()
		}
		if !errors.Is(err, bridge.ErrLocked) {
			return err
		}
		a.answer = &answer{result: map[string]any{"run": d.id, "stopped": true, "already": false}, text: says("%s will stop\n", d.id), nextSteps: []string{"bridge verify resume " + d.id}}
		return d.askStop()
	})
}

func (a *app) verifyShowCommand() *cli.Command {
	return command(cli.Command{
		Name: "show", ArgsUsage: "[RUN]", Usage: "show what a run has found",
		Description: "Shows verdict, coverage, the arithmetic and every range that was not judged, of the newest\nrun or RUN. The exit code is that of its verdict.\n\nExamples:\n   bridge verify show\n   bridge verify show --output json",
	}, func(c *cli.Context) error {
		d, err := a.chosenRun(c)
		if err != nil {
			return err
		}
		res, ok, err := d.result()
		if err != nil {
			return err
		}
		var p verify.Progress
		going, err := d.readJSON(fileProgress, &p)
		switch {
		case err != nil:
			return err
		case !ok && !going:
			return nothingSaid(d)
		case !ok:
			a.answer = &answer{result: map[string]any{"run": d.id, "progress": &p}, text: says("run %s has no verdict yet: %s\n", d.id, progressText(&p))}
			return classed{fmt.Errorf("inconclusive: the run is not finished"), errInconclusive}
		}
		killed, err := d.killed(c.Context, res)
		if err != nil {
			return err
		}
		if killed {
			res.State = unfinished
		}
		a.answer = resultAnswer(res)
		if going && res.State == "running" {
			whole := a.answer.text
			a.answer.text = func(w io.Writer) error { return errors.Join(whole(w), says("progress %s\n", progressText(&p))(w)) }
		}
		return verdictError(res)
	})
}

func nothingSaid(d *runDir) error {
	return usageHint(fmt.Errorf("run %s has not said anything yet", d.id), "bridge verify resume "+d.id)
}

// progressText is how far a run is, for people.
func progressText(p *verify.Progress) string {
	text := fmt.Sprintf("%s and %s records, %s and %s bytes were read of source and target", grouped(p.SourceRecords), grouped(p.TargetRecords), grouped(p.SourceBytes), grouped(p.TargetBytes))
	if p.SourceLeft >= 0 && p.TargetLeft >= 0 {
		text += fmt.Sprintf("; about %s and %s bytes are left", grouped(p.SourceLeft), grouped(p.TargetLeft))
	}
	if p.Left > 0 {
		text += ", which takes " + age(p.Left.Seconds())
	}
	if p.Stalled != "" {
		text += fmt.Sprintf("; %d partitions have given nothing for a while, among them %s", p.Stalls, p.Stalled)
	}
	return text
}

func (a *app) verifyListCommand() *cli.Command {
	return command(cli.Command{
		Name: "list", Usage: "list the runs of the workflow",
		Description: "Lists all runs, the oldest first, with what each has found.\n\nExamples:\n   bridge verify list",
	}, a.verifyList)
}

// A runRow is one line of verify list.
type runRow struct {
	Run       string         `json:"run"`
	Kind      string         `json:"kind,omitempty"`
	State     string         `json:"state"` // running, stopped, done or unfinished
	Verdict   verify.Verdict `json:"verdict,omitempty"`
	Percent   float64        `json:"coverage_percent"`
	Records   int64          `json:"source_records"`
	StartedAt time.Time      `json:"started_at,omitzero"`
}

func (a *app) verifyList(c *cli.Context) error {
	_, l, err := a.begun(c)
	if err != nil {
		return err
	}
	ids, err := listRuns(l)
	if err != nil {
		return err
	}
	rows := []runRow{}
	for _, id := range ids {
		row, err := rowOfRun(c, &runDir{path: filepath.Join(l.runsDir(), id), id: id})
		if err != nil {
			return err
		}
		rows = append(rows, row)
	}
	a.answer = &answer{result: map[string]any{"runs": rows}, text: func(w io.Writer) error {
		for _, r := range rows {
			if _, err := fmt.Fprintf(w, "%-22s %-10s %-10s %-13s %6.2f %% %s\n", r.Run, r.Kind, r.State, r.Verdict, r.Percent, grouped(r.Records)); err != nil {
				return err
			}
		}
		return nil
	}}
	return nil
}

func rowOfRun(c *cli.Context, d *runDir) (runRow, error) {
	row := runRow{Run: d.id, State: unfinished}
	res, ok, err := d.result()
	if err != nil {
		return row, err
	}
	if ok {
		row.Kind, row.State, row.Verdict, row.Percent, row.Records, row.StartedAt = res.Kind, res.State, res.Verdict, res.Coverage.Percent, res.Totals.SourceRecords, res.StartedAt
	}
	if _, err := os.Stat(filepath.Join(d.path, "run.lock")); err != nil && row.State != "running" {
		return row, nil
	}
	going, err := d.going(c.Context)
	switch {
	case going:
		row.State = "running"
	case row.State == "running":
		row.State = unfinished
	}
	return row, err
}

// unfinished is the state of a run whose process is gone.
const unfinished = "unfinished"

// going reports whether a process is at work on the run.
func (d *runDir) going(ctx context.Context) (bool, error) {
	release, err := d.lock(ctx)
	if errors.Is(err, bridge.ErrLocked) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	return false, release()
}

// killed reports whether a result says that its run goes on, and no process does.
func (d *runDir) killed(ctx context.Context, res *verify.Result) (bool, error) {
	if res.State != "running" {
		return false, nil
	}
	going, err := d.going(ctx)
	return !going && err == nil, err
}

// chosenRun is the run that the argument names.
func (a *app) chosenRun(c *cli.Context) (*runDir, error) {
	_, l, err := a.begun(c)
	if err != nil {
		return nil, err
	}
	return openRun(l, c.Args().First())
}

func (a *app) chosenResult(c *cli.Context) (*runDir, *verify.Result, error) {
	d, err := a.chosenRun(c)
	if err != nil {
		return nil, nil, err
	}
	res, ok, err := d.result()
	if err == nil && !ok {
		err = nothingSaid(d)
	}
	return d, res, err
}

func says(format string, args ...any) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := fmt.Fprintf(w, format, args...)
		return err
	}
}

// resultAnswer is a result in either form.
func resultAnswer(res *verify.Result) *answer {
	next := []string{}
	if res.State == "stopped" || res.State == unfinished {
		next = append(next, "bridge verify resume "+res.Run)
	} else if res.Verdict == verify.Inconsistent {
		next = append(next, "bridge verify diff "+res.Run)
	}
	return &answer{result: res, nextSteps: next, text: func(w io.Writer) error { return writeResult(w, res) }}
}

// sweepText says when what was verified was last read again.
func sweepText(s *verify.Sweep) string {
	text := "nothing was read again yet"
	if s.Rounds > 0 {
		text = fmt.Sprintf("%d times, last from %s to %s: %s records", s.Rounds, stamp(s.Since), stamp(s.EndedAt), grouped(s.Records))
	}
	if !s.BeganAt.IsZero() {
		text += "; again since " + stamp(s.BeganAt)
	}
	if s.Found > 0 {
		text += fmt.Sprintf("; %s differences were found so", grouped(s.Found))
	}
	return text
}

// scopeText says what part of the source a run looked at, and what lies beyond.
func scopeText(res *verify.Result) string {
	n := res.Totals.SourceRecords
	if res.Kind == kindQuick {
		n = -1
	}
	text := res.Coverage.Beyond.Sentence(n)
	if s := res.Scope; !s.Start.IsZero() {
		text += "; the workflow began to read at " + stamp(s.Start) + ", what is older is out of scope"
	}
	if n := res.Coverage.BeforeStart; n > 0 {
		text += fmt.Sprintf(" (%s such records stand on the target)", grouped(n))
	}
	return text
}

// maxLines bounds the lists of a result as text.
const maxLines = 20

func writeResult(w io.Writer, res *verify.Result) error {
	var b strings.Builder
	line := func(label, text string) { writeWrapped(&b, label, text) }
	fmt.Fprintf(&b, "VERDICT %s\n\n", res.Verdict)
	line("scope", scopeText(res))
	for i, why := range res.Reasons {
		if i == maxLines {
			fmt.Fprintf(&b, "  and %d more reasons\n", len(res.Reasons)-i)
			break
		}
		fmt.Fprintf(&b, "  %s\n", why)
	}
	line("run", fmt.Sprintf("%s, %s, %s, %s mode", res.Run, res.Kind, res.State, res.Mode))
	line("source", res.Scope.Source.String())
	line("target", res.Scope.Target.String())
	c := res.Coverage
	line("coverage", fmt.Sprintf("%.2f %%: %d windows, %d consistent, %d inconsistent, %d inconclusive", c.Percent, c.Windows, c.Consistent, c.Inconsistent, c.Inconclusive))
	line("records", res.Totals.Balance)
	line("repeats", fmt.Sprintf("%s records on the target are there again", grouped(res.Totals.Repeats)))
	f := res.Findings
	line("findings", fmt.Sprintf("missing %d, extra %d, corrupt %d, reordered %d, misrouted %d, duplicate %d, rewind %d, unread %d, unverifiable %d",
		f.Missing, f.Extra, f.Corrupt, f.Reordered, f.Misrouted, f.Duplicate, f.Rewind, f.Unread, f.Unverifiable))
	line("order", res.Order.Method+"; coverage "+res.Order.Coverage)
	line("drilled", fmt.Sprintf("%d of %d cells", res.Algorithm.Drilled, res.Algorithm.Cells))
	for i, u := range c.Uncovered {
		if i == maxLines {
			fmt.Fprintf(&b, "and %d more ranges that were not judged\n", len(c.Uncovered)-i)
			break
		}
		line("not judged", fmt.Sprintf("%s %s behind %s up to %s: %s", u.Side, u.Partition, u.After, u.Through, u.Reason))
	}
	for _, t := range res.Through {
		line("verified", fmt.Sprintf("%s through %s", t.Partition, t.Position))
	}
	if res.Sweep != nil {
		line("swept", sweepText(res.Sweep))
	}
	line("root", res.Root)
	_, err := io.WriteString(w, b.String())
	return err
}
