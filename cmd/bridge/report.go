package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/kinesis-msk-bridge/bridge/report"
	"github.com/kinesis-msk-bridge/bridge/state"
)

func (a *app) reportCommand() *cli.Command {
	return group("report", "make, check and sign the report of a verification",
		command(cli.Command{
			Name:  "create",
			Usage: "make the report of a verification, as JSON, text, Markdown and HTML",
			Description: `Takes the result of a run of bridge verify, asks the workflow what it knows about itself,
and writes one report in four forms. The JSON file is the report; the others are made from
it. It changes neither system. Keys stand in it as keyed hashes, values not at all.

Examples:
   bridge report create
   bridge report create --run 20260131 --dir reports --name orders
   bridge report create --result run.json --form html
   bridge report create --reveal-keys keys.txt`,
			Flags: []cli.Flag{
				&cli.StringFlag{Name: "run", Usage: "`ID` of the run; without it the last one that is done"},
				&cli.StringFlag{Name: "result", Usage: "`FILE` with the result of the run, as verify run --output json prints it"},
				&cli.StringFlag{Name: "dir", Value: ".", Usage: "`DIRECTORY` to write to"},
				&cli.StringFlag{Name: "name", Usage: "`NAME` of the files, without an ending; without it the report's id"},
				&cli.StringFlag{Name: "form", Value: "all", Usage: "`FORM` beside JSON: text, markdown, html or all"},
				&cli.StringFlag{Name: "reveal-keys", Usage: "show those keys in clear that stand in `FILE`, one a line as on the target"},
				&cli.BoolFlag{Name: "replace", Usage: "replace a report of that name although somebody signed it"},
				&cli.DurationFlag{Name: "valid-for", Value: 24 * time.Hour, Usage: "how `LONG` after its fence the verdict may be acted upon"},
			},
		}, a.reportCreate),
		command(cli.Command{
			Name:      "check",
			ArgsUsage: "FILE",
			Usage:     "compute a report again from its file alone",
			Description: `Computes the digest of every part and the root again, the sums over all windows, the
verdict, and every signature. Text, Markdown and HTML files beside FILE are made again, too.
It ends with 0 if nothing was changed, whatever the verdict is, and with 5 if one byte is not
as it was written. With --recheck it needs the configuration and the workflow's state, and
reads a random share of the windows again on both sides: 5 if they are not as the report
says, 6 if they cannot be read any more.

Examples:
   bridge report check r-20260131-120000-7f3a.json
   bridge report check report.json --current --signed-by ops.pub
   bridge report check report.json --recheck 5`,
			Flags: []cli.Flag{
				&cli.Float64Flag{Name: "recheck", Usage: "read this `PERCENT` of the windows again, chosen at random"},
				&cli.Uint64Flag{Name: "seed", Usage: "choose as the run did that printed this `NUMBER`"},
				&cli.BoolFlag{Name: "current", Usage: "hold also that the verdict is consistent (else 5 or 6) and still valid (else 7)"},
				&cli.StringFlag{Name: "signed-by", Usage: "hold also that the key in `FILE` signed (else 7)"},
			},
		}, a.reportCheck),
		command(cli.Command{
			Name:      "sign",
			ArgsUsage: "FILE",
			Usage:     "put your signature under a report",
			Description: `Checks the report and adds an approval: a name, a time, and an ed25519 signature over the
root. Text, Markdown and HTML files beside FILE are made anew. A report that is not
consistent or no longer valid is signed only if its verdict is accepted by name.

Examples:
   bridge report sign report.json --key ops.key --by "Ada Byron"
   bridge report sign report.json --key ops.key --by "Ada Byron" --generate
   bridge report sign report.json --key ops.key --by "Ada Byron" --accept inconclusive --note "gap of 12 May is known"`,
			Flags: []cli.Flag{
				&cli.StringFlag{Name: "key", Usage: "`FILE` with the ed25519 key, PKCS #8 in PEM, as openssl genpkey makes it"},
				&cli.StringFlag{Name: "by", Usage: "`NAME` of the person"},
				&cli.StringFlag{Name: "note", Usage: "a `SENTENCE` that stands beside the name"},
				&cli.StringFlag{Name: "accept", Usage: "sign although the `VERDICT` is this: inconsistent, inconclusive or expired"},
				&cli.BoolFlag{Name: "generate", Usage: "make the key first; there must be no such file"},
			},
		}, a.reportSign),
	)
}

// A reportResult is what report create and report sign print.
type reportResult struct {
	Report     string            `json:"report"` // the JSON file
	Files      map[string]string `json:"files"`  // by form
	ID         string            `json:"id"`
	Verdict    string            `json:"verdict"`
	Root       string            `json:"root"`
	ValidUntil time.Time         `json:"valid_until"`
	Approvals  int               `json:"approvals"`
}

func (r reportResult) answer(next ...string) *answer {
	return &answer{result: r, nextSteps: next, text: func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%s\n%s, valid until %s\n%s\n", report.Plain(r.ID), report.Plain(r.Verdict), stamp(r.ValidUntil), r.Root)
		for _, f := range report.Forms() {
			if name, ok := r.Files[string(f)]; ok && err == nil {
				_, err = fmt.Fprintf(w, "%s\n", name)
			}
		}
		return err
	}}
}

func (a *app) reportCreate(c *cli.Context) error {
	l, err := a.load(c)
	if err != nil {
		return err
	}
	forms, err := formsOf(c.String("form"))
	if err != nil {
		return err
	}
	if c.Duration("valid-for") <= 0 {
		return usage(fmt.Errorf("--valid-for %s is not a time ahead", c.Duration("valid-for")))
	}
	w, _, err := settings{Config: l}.loadState(c.Context, openState(l))
	if err != nil {
		return startError{err}
	}
	res, err := findResult(c, l)
	if err != nil {
		return err
	}
	if res.Workflow != l.Workflow {
		return usage(fmt.Errorf("the result is of workflow %q and not of %q", res.Workflow, l.Workflow))
	}
	f := a.reportFacts(c, l, w)
	if f.Keys, err = revealed(c.String("reveal-keys"), w); err != nil {
		return err
	}
	r, err := report.New(res, f)
	if err != nil {
		return reportError(err)
	}
	name := cmp.Or(c.String("name"), safeName(r.ID))
	if name != filepath.Base(name) || strings.HasPrefix(name, ".") {
		return usageHint(fmt.Errorf("--name %q is not the name of a file", name), "--dir names the directory")
	}
	file := filepath.Join(c.String("dir"), name+report.JSON.Extension())
	unlock, err := lockReport(c.Context, file)
	if err != nil {
		return err
	}
	defer unlock()
	if err := replaceable(file, c.Bool("replace")); err != nil {
		return err
	}
	out, err := writeReport(file, r, forms)
	if err != nil {
		return err
	}
	a.answer = out.answer("bridge report check "+out.Report, "bridge report sign "+out.Report+" --key FILE --by NAME")
	return nil
}

// formsOf reads --form; JSON is always among them.
func formsOf(name string) ([]report.Form, error) {
	switch f := report.Form(name); f {
	case "all":
		return report.Forms(), nil
	case report.JSON:
		return []report.Form{report.JSON}, nil
	case report.Text, report.Markdown, report.HTML:
		return []report.Form{report.JSON, f}, nil
	}
	return nil, usage(fmt.Errorf("--form %q is not text, markdown, html or all", name))
}

// lookPatience bounds how long a report waits for the mirror's own account, which it can
// do without.
const lookPatience = 10 * time.Second

// reportFacts is what the workflow knows beside the result.
func (a *app) reportFacts(c *cli.Context, l *loaded, w state.Workflow) report.Facts {
	f := report.Facts{
		Tool: thisTool(), Config: l.hash(), Now: time.Now(), ValidFor: c.Duration("valid-for"),
		DeadLetters: report.DeadLetters{Place: l.DeadLetters, Policy: l.policies()},
		Remarks:     l.warnings(),
		Waivers:     l.acceptedLosses(),
	}
	f.Translations = a.translations(c.Context, l)
	f.Rollback = wayBack(f.Translations)
	if e := l.Kinesis.EndpointURL; e != "" {
		f.Remarks = append(f.Remarks, "Kinesis was reached at "+e+", which is not AWS's own address")
	}
	if a.adapters.look == nil || w.Name == "" {
		return f
	}
	log, err := a.logger(c)
	if err != nil {
		f.Remarks = append(f.Remarks, err.Error())
		return f
	}
	ctx, cancel := context.WithTimeout(c.Context, lookPatience)
	defer cancel()
	seen, err := a.adapters.look(ctx, settings{Config: l, Log: log.With("workflow", l.Workflow)}, w)
	if err != nil {
		f.Remarks = append(f.Remarks, "the mirror's own account could not be read: "+err.Error())
		return f
	}
	f.Mirror = mirrorAccount(w, seen)
	if a.adapters.keeps != nil {
		if f.Retention, err = a.adapters.keeps(ctx, settings{Config: l, Log: log.With("workflow", l.Workflow)}); err != nil {
			f.Remarks = append(f.Remarks, "how long the source keeps records could not be found out: "+err.Error())
		}
	}
	if !seen.Fenced {
		f.Remarks = append(f.Remarks, "the mirror ran without a fence: "+seen.Unfenced)
	}
	return f
}

func mirrorAccount(w state.Workflow, seen sighting) report.Mirror {
	m := report.Mirror{
		Known: true, Phase: string(w.Phase), Counts: seen.Checkpoint.Counts, Balanced: seen.Checkpoint.Counts.Balanced(),
		CheckpointAt: seen.Checkpoint.At.UTC(), Fenced: seen.Fenced, Unfenced: seen.Unfenced,
	}
	for _, lag := range seen.Lags {
		if s := lag.Seconds(); m.LagSeconds == nil || s > *m.LagSeconds {
			m.LagSeconds = &s
		}
	}
	return m
}

// policies names what becomes of records that the target cannot take.
func (c *config) policies() string {
	return strings.Join([]string{
		"oversize: " + c.Policy.Oversize, "undecodable: " + c.Policy.Undecodable, "unmappable: " + c.Policy.Unmappable,
	}, ", ")
}
