package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/report"
)

// A checkResult is what report check prints.
type checkResult struct {
	Report     string           `json:"report"`
	ID         string           `json:"id"`
	Workflow   string           `json:"workflow"`
	Verdict    string           `json:"verdict"`
	Root       string           `json:"root"`
	ValidUntil time.Time        `json:"valid_until"`
	Valid      bool             `json:"valid_now"`
	Intact     bool             `json:"intact"`
	Approvals  []string         `json:"approvals"` // names, as far as their signatures hold
	Controls   []report.Control `json:"controls"`
	Seed       *uint64          `json:"seed,omitempty"` // of the windows that were read again
}

func (a *app) reportCheck(c *cli.Context) error {
	file := c.Args().First()
	var want string
	if name := c.String("signed-by"); name != "" {
		key, err := readPublicKey(name)
		if err != nil {
			return err
		}
		want = report.KeyText(key)
	}
	r, err := openReport(file)
	if err != nil {
		return err
	}
	again, err := a.newRecheck(c, r)
	if err != nil {
		return err
	}
	res, err := checkReport(file, r)
	if err != nil {
		return err
	}
	if again != nil && res.Intact {
		if err := a.readAgain(c.Context, again, &res); err != nil {
			return err
		}
	}
	a.answer = res.answer()
	if n := len(res.Controls); n > 0 && res.Intact && res.Controls[n-1].Failed() {
		return classed{bridge.WithHint(errors.New(res.Controls[n-1].Message),
			"the report is intact, and source or target changed since: bridge verify run makes a new one"), errInconsistent}
	}
	if !res.Intact {
		return classed{bridge.WithHint(fmt.Errorf("%s is not as it was made", file),
			"nobody should act on this file; ask for it again where it was made"), errInconsistent}
	}
	if want != "" && !signedBy(r, want) {
		return classed{fmt.Errorf("the key in %s did not sign this report", c.String("signed-by")), errGate}
	}
	if c.Bool("current") {
		return stillGood(r, time.Now())
	}
	return nil
}

// readAgain adds what became of the windows that were read again. The report stays intact
// whatever that is.
func (a *app) readAgain(ctx context.Context, k *recheck, res *checkResult) error {
	stop := a.stopper(ctx, time.Second)
	defer stop.done()
	control, err := k.run(stop.drain)
	if cause := context.Cause(stop.drain); cause != nil && err != nil {
		return cause
	}
	if err != nil {
		return err
	}
	res.Controls = append(res.Controls, control)
	res.Seed = &k.seed
	return nil
}

// createHint says where reports come from.
const createHint = "bridge report create makes a report and says which files it wrote"

// openReport reads a report from a file, which must be what was written, byte for byte.
func openReport(file string) (*report.Report, error) {
	if !strings.HasSuffix(file, report.JSON.Extension()) {
		return nil, usageHint(fmt.Errorf("%s is not a JSON file", file), "name the JSON form; the others beside it are checked with it")
	}
	b, err := readNamed(file)
	if _, missing := os.Stat(file); errors.Is(missing, fs.ErrNotExist) {
		err = bridge.WithHint(err, createHint)
	}
	if err != nil {
		return nil, err
	}
	r, err := report.Decode(b)
	if err != nil {
		return nil, reportError(fmt.Errorf("%s: %w", file, err))
	}
	return r, nil
}

// checkReport computes the report again, and its renderings that stand beside it.
func checkReport(file string, r *report.Report) (checkResult, error) {
	res := checkResult{Report: file, ID: r.ID, Workflow: r.Workflow, Verdict: string(r.Verdict), Root: r.Root,
		ValidUntil: r.ValidUntil, Valid: time.Now().Before(r.ValidUntil), Intact: true, Approvals: []string{}}
	var err error
	if res.Controls, err = r.Check(); err != nil {
		return res, err
	}
	more, err := checkRenderings(file, r, thisTool())
	if err != nil {
		return res, err
	}
	res.Controls = append(res.Controls, more...)
	for _, c := range res.Controls {
		res.Intact = res.Intact && !c.Failed()
	}
	if res.Intact {
		for _, a := range r.Approvals {
			res.Approvals = append(res.Approvals, a.By)
		}
	}
	return res, nil
}

// checkRenderings judges the forms beside a report; tool is this program.
func checkRenderings(file string, r *report.Report, tool string) ([]report.Control, error) {
	var out []report.Control
	for _, f := range report.Forms() {
		name := beside(file, f)
		got, err := os.ReadFile(name)
		if f == report.JSON || errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, usage(err)
		}
		var want bytes.Buffer
		if err := report.Write(&want, r, f); err != nil {
			return nil, err
		}
		out = append(out, checkRendering(name, f, bytes.Equal(got, want.Bytes()), r.RenderedBy(), tool))
	}
	return out, nil
}

// checkRendering judges one form that stands beside a report: equal if this program makes
// the same of the report. If it differs and another program made it, nobody can tell here
// whether somebody changed it: versions differ in their words.
func checkRendering(name string, f report.Form, equal bool, madeBy, tool string) report.Control {
	c := report.Control{Name: string(f), Pass: equal, Message: name + " says the same"}
	switch {
	case equal:
	case madeBy == tool:
		c.Message = name + " is not what this program makes of the report"
	default:
		c.NotChecked = true
		c.Message = name + " was not checked: another version made it, and versions differ in their words (" + orWord(madeBy, "one that did not note its name") + ")"
	}
	return c
}

func signedBy(r *report.Report, key string) bool {
	for _, a := range r.Approvals {
		if a.Key == key {
			return true
		}
	}
	return false
}

// stillGood holds that somebody may act on the verdict now.
func stillGood(r *report.Report, at time.Time) error {
	switch {
	case r.ExitCode == exitInconsistent:
		return classed{errors.New("the verdict is inconsistent"), errInconsistent}
	case r.ExitCode == exitInconclusive:
		return classed{errors.New("the verdict is inconclusive"), errInconclusive}
	case !at.Before(r.ValidUntil):
		return classed{bridge.WithHint(fmt.Errorf("the verdict was valid until %s", stamp(r.ValidUntil)),
			"bridge verify run makes a new one"), errGate}
	}
	return nil
}

func (r checkResult) answer() *answer {
	return &answer{result: r, text: func(w io.Writer) error {
		word := "intact"
		if !r.Intact {
			word = "ALTERED"
		}
		if _, err := fmt.Fprintf(w, "%s: %s\n", report.Plain(r.ID), word); err != nil {
			return err
		}
		for _, c := range r.Controls {
			sign := "ok  "
			switch {
			case c.NotChecked:
				sign = "skip"
			case !c.Pass:
				sign = "NOT "
			}
			if _, err := fmt.Fprintf(w, "%s %-10s %s\n", sign, c.Name, report.Plain(c.Message)); err != nil {
				return err
			}
		}
		if !r.Intact {
			return nil
		}
		_, err := fmt.Fprintf(w, "verdict %s, valid until %s\n%s\n", report.Plain(r.Verdict), stamp(r.ValidUntil), report.Plain(r.Root))
		return err
	}}
}
