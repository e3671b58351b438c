package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/report"
	"github.com/kinesis-msk-bridge/bridge/verify"
)

// A recheck reads a random share of the windows of a report again, on both sides.
type recheck struct {
	report  *report.Report
	percent float64
	seed    uint64
	open    func(context.Context) (*witness, error)
	settle  time.Duration
}

// newRecheck reads the flags; it is nil if nothing is to be read again.
func (a *app) newRecheck(c *cli.Context, r *report.Report) (*recheck, error) {
	if !c.IsSet("recheck") {
		if c.IsSet("seed") {
			return nil, usage(errors.New("--seed goes with --recheck"))
		}
		return nil, nil
	}
	k := &recheck{report: r, percent: c.Float64("recheck"), seed: c.Uint64("seed")}
	if !c.IsSet("seed") {
		k.seed = rand.Uint64() >> 16 // short enough to be typed
	}
	switch {
	case !(k.percent > 0 && k.percent <= 100):
		return nil, usage(fmt.Errorf("--recheck %v is not a percentage above 0 and at most 100", k.percent))
	case r.Run.Mode != "coordinate" || r.Run.Kind == "quick":
		return nil, usageHint(errors.New("a run of content mode, or a quick one, has no windows that could be read again"), "bridge verify run compares everything anew")
	case r.Scope.Keys > 0:
		return nil, usageHint(errors.New("a run of chosen keys cannot be read again: which they are stands nowhere"), "bridge verify run --key compares them anew")
	}
	log, l, err := a.begun(c)
	if err != nil {
		return nil, err
	}
	if l.Workflow != r.Workflow {
		return nil, usage(fmt.Errorf("the report is of workflow %q and not of %q", r.Workflow, l.Workflow))
	}
	s := settings{Config: l, Log: log}
	w, err := s.workflow(c.Context)
	if err != nil {
		return nil, err
	}
	k.settle = time.Duration(l.Verify.Settle)
	k.open = func(ctx context.Context) (*witness, error) { return a.adapters.witness(ctx, s, w) }
	return k, nil
}

// chosen are the windows to read again, in passes of at most one a partition: what is read
// of the target is read once a pass.
func (k *recheck) chosen() (passes []map[string]verify.Window, n int) {
	all := k.report.Windows
	n = int(math.Ceil(k.percent / 100 * float64(len(all))))
	rng := rand.New(rand.NewPCG(k.seed, 0))
	for _, i := range rng.Perm(len(all))[:n] {
		w := all[i]
		pass := 0
		for pass < len(passes) && passes[pass][w.Partition].Partition != "" {
			pass++
		}
		if pass == len(passes) {
			passes = append(passes, map[string]verify.Window{})
		}
		passes[pass][w.Partition] = w
	}
	return passes, n
}

// run compares the windows that were chosen with what stands there now. An error that wraps
// errInconclusive says that something could not be read again.
func (k *recheck) run(ctx context.Context) (report.Control, error) {
	passes, n := k.chosen()
	c := report.Control{Name: "recheck", Pass: true, Message: fmt.Sprintf(
		"%d of %d windows were read again on both sides (%v %%, --seed %d) and have the sums that the report says", n, len(k.report.Windows), k.percent, k.seed)}
	for _, pass := range passes {
		res, err := k.compare(ctx, pass)
		if err != nil {
			return c, err
		}
		if u := res.Coverage.Uncovered; len(u) > 0 {
			return c, classed{bridge.WithHint(fmt.Errorf("read windows again (--seed %d): %s %s: %s", k.seed, u[0].Side, u[0].Partition, u[0].Reason),
				"what is gone cannot be read again; the report itself is intact"), errInconclusive}
		}
		why, err := k.judge(pass, res)
		if err != nil {
			return c, err
		}
		if why != "" {
			c.Pass, c.Message = false, why
			return c, nil
		}
	}
	return c, nil
}

// judge names a window of a pass that is not as the report says.
func (k *recheck) judge(pass map[string]verify.Window, res *verify.Result) (string, error) {
	for _, id := range slices.Sorted(maps.Keys(pass)) {
		w := pass[id]
		why, err := windowChanged(w, res)
		if err != nil || why != "" {
			return fmt.Sprintf("%s behind %s up to %s, read again (--seed %d): %s", id, w.After, w.Through, k.seed, why), err
		}
	}
	return "", nil
}

// compare reads one window of each partition again.
func (k *recheck) compare(ctx context.Context, pass map[string]verify.Window) (*verify.Result, error) {
	ends, err := k.open(ctx)
	if err != nil {
		return nil, startError{err}
	}
	v := ends.verifier
	v.Settle = k.settle
	v.ID = k.report.Run.ID
	v.Select = verify.Selection{After: map[string]bridge.Position{}, Through: map[string]bridge.Position{}}
	for id, w := range pass {
		v.Select.Partitions = append(v.Select.Partitions, id)
		if !w.After.IsZero() {
			v.Select.After[id] = w.After
		}
		v.Select.Through[id] = w.Through
	}
	res, err := v.Run(ctx)
	return res, errors.Join(err, ends.close())
}

// windowChanged says what of a window is not as the report says; empty if nothing is. Repeats may
// have come since.
func windowChanged(w verify.Window, res *verify.Result) (string, error) {
	var source, firsts, dead verify.Sum
	dropped := int64(0)
	for _, now := range res.Windows {
		if now.Partition != w.Partition {
			continue
		}
		var errs [3]error
		source, errs[0] = source.Plus(now.Source)
		firsts, errs[1] = firsts.Plus(now.Firsts)
		dead, errs[2] = dead.Plus(now.DeadLetters)
		dropped += now.Dropped
		if err := errors.Join(errs[:]...); err != nil {
			return "", err
		}
	}
	for _, part := range []struct {
		name      string
		said, now verify.Sum
	}{{"the source", w.Source, source}, {"first occurrences on the target", w.Firsts, firsts}, {"dead letters", w.DeadLetters, dead}} {
		said, err := part.said.Plus(verify.Sum{})
		if err != nil {
			return "", err
		}
		now, err := part.now.Plus(verify.Sum{})
		if err != nil {
			return "", err
		}
		switch {
		case said.Count != now.Count:
			return fmt.Sprintf("%s: the report says %s records, there are %s", part.name, grouped(said.Count), grouped(now.Count)), nil
		case said != now:
			return fmt.Sprintf("%s: %s records as the report says, and they are not the same", part.name, grouped(said.Count)), nil
		}
	}
	if dropped != w.Dropped {
		return fmt.Sprintf("the report says %s declared drops, there are %s", grouped(w.Dropped), grouped(dropped)), nil
	}
	return "", nil
}
