package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/kinesis-msk-bridge/bridge/report"
	"github.com/kinesis-msk-bridge/bridge/verify"
)

// demoSettle is how long a difference must last in the demo; nothing is under way then.
const demoSettle = time.Second

// report has both ways verified as bridge verify does, and keeps a report of each where
// the user can read it afterwards.
func (d *demo) report(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "bridge-demo-report-")
	if err != nil {
		return err
	}
	for _, way := range []struct {
		run *mirrorRun
		out *demoReport
	}{{d.forward, &d.signed.there}, {d.back, &d.signed.again}} {
		if *way.out, err = reportOf(ctx, way.run, dir); err != nil {
			return fmt.Errorf("verify %s: %w", way.run.Config.Workflow, err)
		}
	}
	return nil
}

// A demoReport says what bridge verify found, and where its report is, by form.
type demoReport struct {
	Verdict  string `json:"verdict"`
	JSON     string `json:"json"`
	HTML     string `json:"html"`
	Markdown string `json:"markdown"`
	Text     string `json:"text"`
}

func reportOf(ctx context.Context, m *mirrorRun, dir string) (out demoReport, err error) {
	w, _, err := m.store.Load(ctx)
	if err != nil {
		return out, err
	}
	ends, err := witnessOf(ctx, m.settings, w)
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, ends.close()) }()
	v := ends.verifier
	v.ID, v.Settle = "demo", demoSettle
	res, err := v.Run(ctx)
	if err != nil {
		return out, err
	}
	f := report.Facts{Tool: thisTool(), Config: m.Config.hash(), Now: time.Now(),
		Rollback: report.Rollback{Reason: "this is a demo"}, Remarks: []string{"both systems were servers in the demo's own process"}}
	if seen, err := lookAt(ctx, m.settings, w); err == nil {
		f.Mirror = mirrorAccount(w, seen)
	}
	r, err := report.New(*res, f)
	if err != nil {
		return out, err
	}
	files, err := writeReport(filepath.Join(dir, m.Config.Workflow+report.JSON.Extension()), r, report.Forms())
	return demoReport{Verdict: string(r.Verdict), JSON: files.Report, HTML: files.Files[string(report.HTML)],
		Markdown: files.Files[string(report.Markdown)], Text: files.Files[string(report.Text)]}, err
}

func (r demoReport) clean() bool { return r.Verdict == string(verify.Consistent) }
